"""DNS messages: the one form of query that validation sends, and a strict, bounded reader of answers. Pure.

Reading three answers with dnspython costs more than the rest of a validation together; the tests hold this
reader against dnspython's. It knows the records that validation needs (A, AAAA, TXT, CAA, CNAME, SOA) and
looks at nothing else. Names inside this module are in wire form, lower case. Sections: RFC 1035 4, RFC
6891, RFC 8659 4.1.
"""

from __future__ import annotations

import socket
from enum import IntEnum
from typing import NamedTuple

from policy.validation.caa import CAARecord

MAX_ALIASES = 8
"""CNAMEs followed for one question. Longer chains are mistakes or attacks; the big resolvers stop near here
too."""
MAX_SECTION_RECORDS = 200
"""Records in answer and authority together; a TCP message could hold thousands, each a walk through
pointers."""
UDP_PAYLOAD_BYTES = 1232
"""What an answer over UDP may have without being fragmented on any common path (DNS flag day 2020)."""

_IN = b"\x00\x01"
_OPT = b"\x00\x00\x29" + UDP_PAYLOAD_BYTES.to_bytes(2, "big") + bytes(6)


class RecordType(IntEnum):
    """The record types that validation asks for or follows."""

    A = 1
    CNAME = 5
    SOA = 6
    TXT = 16
    AAAA = 28
    CAA = 257


class ResponseCode(IntEnum):
    """The response codes that make a difference here (RFC 1035 section 4.1.1)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


class BadMessage(ValueError):
    """The message breaks the rules of DNS, or the limits of this reader; the text says where."""


class BadName(ValueError):
    """The text is not a name that DNS can carry."""


class Answer(NamedTuple):
    """What one message says about its question.

    `records` are the data of the wanted type at `name`, the end of the alias chain that began at the
    question after `aliases` steps. `ttl` holds for the records, or, without any, for their absence (RFC
    2308 section 5); it is None where the message gives none.
    """

    code: int
    truncated: bool
    name: bytes
    aliases: int
    records: tuple[bytes, ...]
    ttl: int | None
    authenticated: bool = False
    """The AD bit (RFC 4035 section 3.2.3): the resolver found the whole answer secure, an absence too."""


def write_name(name: str) -> bytes:
    """A host name in wire form. Raises BadName."""
    try:
        labels = name.lower().encode("ascii").split(b".")
    except UnicodeEncodeError as exc:
        raise BadName("has characters outside ASCII") from exc
    for label in labels:
        if not 0 < len(label) < 64:
            raise BadName("has an empty label or one of more than 63 characters")
    wire = b"".join([bytes((len(label),)) + label for label in labels]) + b"\x00"
    if len(wire) > 255:
        raise BadName("is longer than DNS names can be")
    return wire


def write_question(name: bytes, record_type: RecordType) -> bytes:
    """The question section for a name in wire form."""
    return name + record_type.to_bytes(2, "big") + _IN


def write_query(ident: int, question: bytes, *, edns: bool = True, dnssec: bool = False) -> bytes:
    """A query to a recursive resolver: RD set, one question, EDNS with a payload size and no options.

    `dnssec` sets AD, which asks for AD in the answer (RFC 6840 section 5.7). DO would bring the signatures as
    well; nobody here looks at them, and they would push many answers over to TCP.
    """
    flags = b"\x01\x20" if dnssec else b"\x01\x00"
    if edns:
        return ident.to_bytes(2, "big") + flags + b"\x00\x01\x00\x00\x00\x00\x00\x01" + question + _OPT
    return ident.to_bytes(2, "big") + flags + b"\x00\x01\x00\x00\x00\x00\x00\x00" + question


def answers(message: bytes, question: bytes) -> bool:
    """Whether this message is a response to this question. The identifier is for the caller to compare.

    A server that could not read the query may leave the question out; from any other it has to come back.
    """
    if len(message) < 12 or message[2] & 0xF8 != 0x80:
        return False
    if message[4:6] == b"\x00\x00":
        return message[3] & 0x0F in (ResponseCode.FORMERR, ResponseCode.NOTIMP)
    # No case games here: the query was lower case, and a server may answer in any.
    return message[4:6] == b"\x00\x01" and message[12 : 12 + len(question)].lower() == question


def read_answer(message: bytes, question: bytes) -> Answer:
    """Read a response for which `answers` holds. Raises BadMessage.

    Records that do not belong to the question or its alias chain are ignored, as is the additional section.
    """
    code = message[3] & 0x0F
    name = question[:-4]
    if message[2] & 0x02:
        return Answer(code, True, name, 0, (), None)
    if message[4:6] == b"\x00\x00":
        return Answer(code, False, name, 0, (), None)
    try:
        answer = _read_sections(message, question, code)
    except IndexError:
        raise BadMessage("the message ends in the middle of a record") from None
    return answer._replace(authenticated=True) if message[3] & 0x20 else answer


class _Record(NamedTuple):
    type: int
    ttl: int
    data: bytes


def _read_sections(message: bytes, question: bytes, code: int) -> Answer:
    name = question[:-4]
    wanted = int.from_bytes(question[-4:-2], "big")
    answer_count = message[6] << 8 | message[7]
    authority_count = message[8] << 8 | message[9]
    at = 12 + len(question)
    data: dict[bytes, list[_Record]] = {}
    aliases: dict[bytes, _Record] = {}
    if answer_count + authority_count > MAX_SECTION_RECORDS:
        raise BadMessage(f"the message has more than {MAX_SECTION_RECORDS} records")
    for _ in range(answer_count):
        owner, record, at = _read_record(message, at, name)
        if record is None:
            continue
        if record.type == wanted:
            data.setdefault(owner, []).append(record)
        elif record.type == RecordType.CNAME and aliases.setdefault(owner, record).data != record.data:
            raise BadMessage("the answer has two CNAME records at one name")
    steps, ttl = 0, None
    while name in aliases and name not in data:
        if (steps := steps + 1) > MAX_ALIASES:
            raise BadMessage(f"the chain of CNAME records is a loop or longer than {MAX_ALIASES}")
        ttl = _least(ttl, aliases[name].ttl)
        name = aliases[name].data
    if found := data.get(name):
        for record in found:
            ttl = _least(ttl, record.ttl)
        return Answer(code, False, name, steps, tuple([record.data for record in found]), ttl)
    absent = _negative_ttl(message, at, name, authority_count) if authority_count else None
    return Answer(code, False, name, steps, (), None if absent is None else _least(ttl, absent))


def _negative_ttl(message: bytes, at: int, name: bytes, count: int) -> int | None:
    """How long the absence of records may be remembered: the lesser of the SOA's TTL and its last field."""
    for _ in range(count):
        owner, record, at = _read_record(message, at, name)
        if record is not None and record.type == RecordType.SOA and (owner == b"\x00" or _below(name, owner)):
            return min(record.ttl, int.from_bytes(record.data[-4:], "big"))
    return None


def _below(name: bytes, zone: bytes) -> bool:
    """Whether a name is a zone's own or inside it, comparing whole labels."""
    at = 0
    while name[at]:
        if name[at:] == zone:
            return True
        at += name[at] + 1
    return False


def _read_record(message: bytes, at: int, name: bytes) -> tuple[bytes, _Record | None, int]:
    """Owner, record (None when it is of a kind not needed here) and where the next one begins.

    A CNAME's data is its target in wire form. `name` is the name asked for, which stands right behind the
    header and to which most owners just point back.
    """
    if message[at] == 0xC0 and message[at + 1] == 12:
        owner, at = (
            name if message[12 : 12 + len(name)].lower() == name else _read_name(message, 12)[0],
            at + 2,
        )
    else:
        owner, at = _read_name(message, at)
    kind = message[at] << 8 | message[at + 1]
    start = at + 10
    end = start + (message[at + 8] << 8 | message[at + 9])
    if end > len(message):
        raise BadMessage("the message ends in the middle of a record")
    check = _DATA.get(kind)
    if check is None or message[at + 2 : at + 4] != _IN:
        return owner, None, end
    ttl = int.from_bytes(message[at + 4 : at + 8], "big")
    if ttl > 0x7FFFFFFF:
        ttl = 0  # RFC 2181 section 8
    return owner, _Record(kind, ttl, check(message, start, end)), end


def _read_name(message: bytes, at: int) -> tuple[bytes, int]:
    """The name at this place, lower case and without compression, and where it ends.

    Pointers lead to the front only (RFC 1035 section 4.1.4), each further than the one before: no loop is
    possible.
    """
    wire = b""
    end = 0
    limit = at
    while True:
        length = message[at]
        if length == 0:
            return wire.lower() + b"\x00", end or at + 1
        if length < 64:
            if at + length >= len(message):
                raise BadMessage("the message ends in the middle of a name")
            wire += message[at : at + length + 1]
            if len(wire) > 254:
                raise BadMessage("a name is longer than 255 octets")
            at += length + 1
        elif length >= 0xC0:
            target = (length & 0x3F) << 8 | message[at + 1]
            end = end or at + 2
            if target >= limit or target < 12:
                raise BadMessage("a compressed name points forward")
            at = limit = target
        else:
            raise BadMessage("a label is of a type that does not exist")


def _address(length: int, message: bytes, start: int, end: int) -> bytes:
    if end - start != length:
        raise BadMessage("an address record has the wrong length")
    return message[start:end]


def _a(message: bytes, start: int, end: int) -> bytes:
    return _address(4, message, start, end)


def _aaaa(message: bytes, start: int, end: int) -> bytes:
    return _address(16, message, start, end)


def _cname(message: bytes, start: int, end: int) -> bytes:
    target, after = _read_name(message, start)
    if after != end:
        raise BadMessage("a CNAME record has the wrong length")
    return target


def _soa(message: bytes, start: int, end: int) -> bytes:
    _, at = _read_name(message, start)
    _, at = _read_name(message, at)
    if at + 20 != end:
        raise BadMessage("an SOA record has the wrong length")
    return message[at:end]


def _txt(message: bytes, start: int, end: int) -> bytes:
    """The strings of a TXT record, joined (RFC 8555 section 8.4 by way of RFC 7208 section 3.3)."""
    if start == end:
        raise BadMessage("a TXT record has no string")
    parts = []
    while start < end:
        after = start + 1 + message[start]
        if after > end:
            raise BadMessage("a string of a TXT record is too long")
        parts.append(message[start + 1 : after])
        start = after
    return b"".join(parts)


def _caa(message: bytes, start: int, end: int) -> bytes:
    if end - start < 2 or not 0 < message[start + 1] <= end - start - 2:
        # Left out silently, a broken record would turn a restriction into a permission.
        raise BadMessage("a CAA record has no tag, or one that is too long")
    return message[start:end]


_DATA = {
    int(RecordType.A): _a,
    int(RecordType.AAAA): _aaaa,
    int(RecordType.CNAME): _cname,
    int(RecordType.SOA): _soa,
    int(RecordType.TXT): _txt,
    int(RecordType.CAA): _caa,
}


def to_address(data: bytes) -> str:
    """The text of an A or AAAA record's data."""
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def to_caa(data: bytes) -> CAARecord:
    """The value of a CAA record's data (RFC 8659 section 4.1)."""
    tag_ends = 2 + data[1]
    return CAARecord(data[0], data[2:tag_ends].decode("latin-1"), data[tag_ends:].decode("latin-1"))


def _least(one: int | None, other: int) -> int:
    return other if one is None or other < one else one
