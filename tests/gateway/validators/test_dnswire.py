"""The reader of DNS messages, held against dnspython's."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.validators import dnswire
from gateway.validators.dnswire import Answer, BadMessage, BadName, RecordType

KINDS = {
    RecordType.A: ["192.0.2.1", "192.0.2.2"],
    RecordType.AAAA: ["2001:db8::1", "::1"],
    RecordType.TXT: ['"one" "two"', '""', '"\\255\\000"'],
    RecordType.CAA: ['0 issue "ca.example"', '128 future ""', '0 iodef "mailto:a@example"'],
}
LABELS = st.text("abcXYZ019-_", min_size=1, max_size=12)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)


def question(name: str, kind: RecordType) -> bytes:
    return dnswire.write_question(dnswire.write_name(name), kind)


def respond(name: str, kind: RecordType, *records: tuple[str, int, str, str]) -> dns.message.Message:
    """A response with these records (owner, TTL, type, text), in order."""
    response = dns.message.make_response(dns.message.make_query(name, kind.name, use_edns=True))
    for owner, ttl, record_kind, text in records:
        section = response.authority if record_kind == "SOA" else response.answer
        section.append(dns.rrset.from_text(owner + ".", ttl, "IN", record_kind, text))
    return response


@given(NAMES, st.sampled_from(RecordType), st.integers(0, 65535), st.booleans())
def test_query_reads_as_the_question_it_asks(name: str, kind: RecordType, ident: int, edns: bool) -> None:
    """RFC 1035 section 4.1, RFC 6891 section 6.1; read by dnspython."""
    query = dns.message.from_wire(dnswire.write_query(ident, question(name, kind), edns=edns))
    assert query.id == ident
    assert query.flags == dns.flags.RD
    assert query.opcode() == 0
    assert [(item.name, int(item.rdtype)) for item in query.question] == [(dns.name.from_text(name), kind)]
    assert query.edns == (0 if edns else -1)
    if edns:
        assert query.payload == dnswire.UDP_PAYLOAD_BYTES
    assert query.to_wire() == dnswire.write_query(ident, question(name, kind), edns=edns)


@pytest.mark.parametrize("name", ["", ".", "a..b", "a.", "x" * 64, ".".join(["abcdefg"] * 32), "ä.example"])
def test_names_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(BadName):
        dnswire.write_name(name)


@given(NAMES, st.sampled_from(list(KINDS)), st.integers(0, 8), st.booleans(), st.data())
def test_answers_read_as_dnspython_reads_them(
    name: str, kind: RecordType, aliases: int, some: bool, data: st.DataObject
) -> None:
    """Chains of aliases of any length up to the limit, in any order, compressed as dnspython does it."""
    chain = [name] + [f"{number}.alias.test" for number in range(aliases)]
    records = [(owner, 100 + place, "CNAME", chain[place + 1] + ".") for place, owner in enumerate(chain[:-1])]
    if some:
        records += [(chain[-1], 50, kind.name, text) for text in KINDS[kind]]
    records.append(("other.test", 1, kind.name, KINDS[kind][0]))
    response = respond(name, kind, *data.draw(st.permutations(records)))
    wire = response.to_wire()
    assert dnswire.answers(wire, question(name, kind))
    answer = dnswire.read_answer(wire, question(name, kind))
    oracle = dns.message.from_wire(wire)
    assert isinstance(oracle, dns.message.QueryMessage)
    resolved = oracle.resolve_chaining()
    assert answer.aliases == aliases
    assert answer.name == dns.name.from_text(chain[-1]).to_digestable()
    if not some:
        assert answer.records == ()
        assert answer.ttl is None
        return
    assert resolved.answer is not None
    assert answer.ttl == 50
    assert set(answer.records) == {_data(rdata) for rdata in resolved.answer}


def _data(rdata: dns.rdata.Rdata) -> bytes:
    """What the reader gives for a record: the data, for TXT its strings joined."""
    strings: tuple[bytes, ...] | None = getattr(rdata, "strings", None)
    return rdata.to_wire() or b"" if strings is None else b"".join(strings)


def test_absence_is_held_for_what_the_soa_says() -> None:
    """RFC 2308 section 5: the lesser of the SOA's TTL and its last field; only the SOA of a zone above."""
    soa = "ns.test. admin.test. 1 7200 900 1209600 60"
    name = question("a.test", RecordType.CAA)
    for owner, ttl, expected in (
        ("test", 300, 60),
        ("test", 30, 30),
        ("a.test", 300, 60),
        ("b.test", 300, None),
    ):
        wire = respond("a.test", RecordType.CAA, (owner, ttl, "SOA", soa)).to_wire()
        assert dnswire.read_answer(wire, name).ttl == expected
    # Of a label that only ends like the zone, nothing follows.
    wire = respond("atest", RecordType.CAA, ("test", 300, "SOA", soa)).to_wire()
    assert dnswire.read_answer(wire, question("atest", RecordType.CAA)).ttl is None
    wire = respond("a.test", RecordType.CAA, ("a.test", 20, "CNAME", "b.test."), ("test", 300, "SOA", soa)).to_wire()
    assert dnswire.read_answer(wire, name).ttl == 20


def test_caa_reads_as_dnspython_reads_it() -> None:
    """RFC 8659 section 4.1."""
    rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.CAA, '128 issuewild "ca.example; a=b"')
    record = dnswire.to_caa(rdata.to_wire() or b"")
    assert (record.flags, record.tag, record.value) == (128, "issuewild", "ca.example; a=b")


def _message(*parts: bytes, answers: int = 1, authority: int = 0) -> bytes:
    head = b"\x00\x01\x81\x80\x00\x01" + answers.to_bytes(2, "big") + authority.to_bytes(2, "big") + b"\x00\x00"
    return head + question("a.test", RecordType.TXT) + b"".join(parts)


def _record(kind: int, data: bytes, *, owner: bytes = b"\xc0\x0c", length: int | None = None, ttl: int = 60) -> bytes:
    size = len(data) if length is None else length
    return owner + kind.to_bytes(2, "big") + b"\x00\x01" + ttl.to_bytes(4, "big") + size.to_bytes(2, "big") + data


MALFORMED = {
    "nothing behind the question": _message(),
    "half a record": _message(b"\xc0\x0c\x00\x10"),
    "data shorter than said": _message(_record(16, b"\x01x", length=10)),
    "string longer than the data": _message(_record(16, b"\x05x")),
    "TXT without a string": _message(_record(16, b"")),
    "address of five octets": _message(_record(1, bytes(5))),
    "IPv6 address of four octets": _message(_record(28, bytes(4))),
    "CNAME with something behind": _message(_record(5, b"\x01b\x00\x00")),
    "two CNAMEs": _message(_record(5, b"\x01b\x00"), _record(5, b"\x01c\x00"), answers=2),
    "pointer to itself": _message(_record(16, b"\x01x", owner=b"\xc0\x18")),
    "pointer forward": _message(_record(16, b"\x01x", owner=b"\xc0\xff")),
    "pointer into the header": _message(_record(16, b"\x01x", owner=b"\xc0\x00")),
    "reserved label type": _message(_record(16, b"\x01x", owner=b"\x80x")),
    "name too long": _message(_record(16, b"\x01x", owner=(b"\x3f" + b"a" * 63) * 4 + b"\x00")),
    "cut in a label": _message(b"\x3fabc"),
    "too many records": _message(answers=60000),
    "CAA without a tag": _message(_record(257, b"\x00\x00x")),
    "CAA with too long a tag": _message(_record(257, b"\x00\x05abc")),
    "SOA too short": _message(_record(6, b"\x00\x00" + bytes(19)), answers=0, authority=1),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_messages_are_refused(message: bytes) -> None:
    with pytest.raises(BadMessage):
        dnswire.read_answer(message, question("a.test", RecordType.TXT))


def test_ttl_beyond_31_bits_is_zero() -> None:
    """RFC 2181 section 8."""
    message = _message(_record(16, b"\x01x", ttl=0x80000000))
    assert dnswire.read_answer(message, question("a.test", RecordType.TXT)).ttl == 0


def test_other_classes_and_types_are_passed_over() -> None:
    chaos = b"\xc0\x0c\x00\x10\x00\x03" + bytes(4) + b"\x00\x02\x01x"
    message = _message(chaos, _record(46, b"signature"), _record(16, b"\x01y"), answers=3)
    assert dnswire.read_answer(message, question("a.test", RecordType.TXT)).records == (b"y",)


def test_what_is_not_an_answer_to_the_question_is_told_apart() -> None:
    mine = question("a.test", RecordType.TXT)
    right = _message(_record(16, b"\x01x"))
    assert dnswire.answers(right, mine)
    assert not dnswire.answers(right, question("b.test", RecordType.TXT))
    assert not dnswire.answers(right, question("a.test", RecordType.A))
    assert not dnswire.answers(dnswire.write_query(1, mine), mine)  # a query
    assert not dnswire.answers(right[:11], mine)
    assert not dnswire.answers(right[:2] + b"\xa9\x80" + right[4:], mine)  # another opcode
    assert not dnswire.answers(b"\x00\x01\x81\x80" + bytes(8), mine)  # no question, and no reason for that
    assert dnswire.answers(b"\x00\x01\x81\x81" + bytes(8), mine)  # FORMERR may leave it out


def _mutated(draw: st.DrawFn) -> tuple[bytes, bytes]:
    name, kind = draw(NAMES), draw(st.sampled_from(list(KINDS)))
    records = [(name, 60, "CNAME", "b.test."), ("b.test", 60, kind.name, KINDS[kind][0])]
    records += [(name, 60, kind.name, text) for text in KINDS[kind]]
    records.append(("test", 60, "SOA", "ns.test. admin.test. 1 7200 900 1209600 60"))
    chosen = draw(st.lists(st.sampled_from(records), unique=True, max_size=5))
    wire = bytearray(respond(name, kind, *chosen).to_wire())
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(wire) - 1))
        wire[place] = draw(st.integers(0, 255))
    return bytes(wire[: draw(st.integers(len(wire) - 5, len(wire)))]), question(name, kind)


@given(st.composite(_mutated)())
@example((b"\x00\x01\x82\x00" + bytes(8), question("a.test", RecordType.A)))
def test_damaged_messages_give_an_answer_or_bad_message(case: tuple[bytes, bytes]) -> None:
    """Nothing but BadMessage; and where dnspython reads the message too, the records are the same."""
    wire, asked = case
    assume(dnswire.answers(wire, asked))
    try:
        answer = dnswire.read_answer(wire, asked)
    except BadMessage:
        return
    if answer.truncated:
        return
    try:
        oracle = dns.message.from_wire(wire, one_rr_per_rrset=True)
        wanted = oracle.question[0]
        records = {
            _data(rdata)
            for rrset in oracle.answer
            if rrset.rdtype == wanted.rdtype
            and rrset.rdclass == dns.rdataclass.IN
            and rrset.name.to_digestable() == answer.name
            for rdata in rrset
        }
    except (dns.exception.DNSException, ValueError):
        return
    assert set(answer.records) == records


@given(st.binary(max_size=300), st.sampled_from(list(KINDS)))
def test_any_bytes_behind_the_question_are_read_or_refused(tail: bytes, kind: RecordType) -> None:
    asked = question("a.test", kind)
    head = b"\x00\x01\x81\x80\x00\x01\x00\x03\x00\x02\x00\x00"
    try:
        answer = dnswire.read_answer(head + asked + tail, asked)
    except BadMessage:
        return
    assert isinstance(answer, Answer)
    assert len(answer.records) <= 3
