"""The resolver against a name server on loopback: what it learns, and what it does not take for an answer."""

from __future__ import annotations

import asyncio
import socket
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from gateway.validators.dns import DNSSEC, Resolver, system_servers
from policy.problems import ValidationDNS
from policy.validation.caa import CAARecord, CAASet
from tests.gateway.validators.servers import NameServer, free_port, name_server


async def test_addresses_come_with_ipv6_first(names: NameServer, resolver: Resolver) -> None:
    names.records = {
        ("a.example", "A"): ["192.0.2.1", "192.0.2.2"],
        ("a.example", "AAAA"): ["2001:db8::1"],
    }
    first, *rest = await resolver.addresses("A.example")
    assert first == "2001:db8::1"
    assert sorted(rest) == ["192.0.2.1", "192.0.2.2"]
    assert sorted(names.asked) == [("a.example", "A", "udp"), ("a.example", "AAAA", "udp")]


async def test_addresses_come_along_with_caa_for_one_connection(names: NameServer, resolver: Resolver) -> None:
    """One exchange instead of two; the next connection asks again, so that nobody is sent where the name was once."""
    names.records = {("a.example", "A"): ["192.0.2.1"]}
    assert await resolver.caa("A.example", addresses=True) == CAASet(None)
    assert sorted(names.asked) == sorted(
        [("a.example", kind, "udp") for kind in ("A", "AAAA", "CAA")] + [("example", "CAA", "udp")]
    )
    names.records = {("a.example", "A"): ["192.0.2.2"]}
    names.asked.clear()
    assert await resolver.addresses("a.example") == ("192.0.2.1",)
    assert names.asked == []
    assert await resolver.addresses("a.example") == ("192.0.2.2",)


async def test_addresses_that_came_along_do_not_keep(
    names: NameServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.validators.dns.AHEAD_SECONDS", -1.0)
    monkeypatch.setattr("gateway.validators.dns.MAX_AHEAD", 1)
    names.records = {("a.example", "A"): ["192.0.2.1"]}
    await resolver.caa("b.example", addresses=True)
    await resolver.caa("a.example", addresses=True)
    names.asked.clear()
    assert await resolver.addresses("a.example") == ("192.0.2.1",)
    assert ("a.example", "A", "udp") in names.asked


async def test_one_family_is_enough_when_the_other_fails(names: NameServer, resolver: Resolver) -> None:
    names.records = {("a.example", "A"): ["192.0.2.1"]}
    names.codes = {("a.example", "AAAA"): dns.rcode.SERVFAIL}
    assert await resolver.addresses("a.example") == ("192.0.2.1",)


async def test_no_address_is_a_problem_that_says_which(names: NameServer, resolver: Resolver) -> None:
    names.codes = {"gone.example": dns.rcode.NXDOMAIN, ("half.example", "AAAA"): dns.rcode.SERVFAIL}
    with pytest.raises(ValidationDNS, match="NXDOMAIN"):
        await resolver.addresses("gone.example")
    with pytest.raises(ValidationDNS, match="neither"):
        await resolver.addresses("empty.example")
    with pytest.raises(ValidationDNS, match=r"AAAA records of half\.example was answered SERVFAIL"):
        await resolver.addresses("half.example")


async def test_txt_joins_strings(names: NameServer, resolver: Resolver) -> None:
    names.records = {("t.example", "TXT"): ['"one" "two"', '"three"']}
    assert set(await resolver.txt("t.example")) == {b"onetwo", b"three"}
    assert await resolver.txt("none.example") == ()
    names.codes["gone.example"] = dns.rcode.NXDOMAIN
    with pytest.raises(ValidationDNS, match="NXDOMAIN"):
        await resolver.txt("gone.example")


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.FORMERR])
async def test_other_codes_are_failures_for_every_method(
    names: NameServer, resolver: Resolver, code: dns.rcode.Rcode
) -> None:
    """A bogus signature arrives as SERVFAIL: it must not look like an absence (F21)."""
    names.codes["a.example"] = code
    for method in (resolver.addresses, resolver.txt, resolver.caa):
        with pytest.raises(ValidationDNS, match="was answered"):
            await method("a.example")


async def test_silence_ends_in_time(names: NameServer, impatient: Resolver) -> None:
    names.answering = lambda query, tcp: None
    before = time.monotonic()
    with pytest.raises(ValidationDNS, match="no answer in time"):
        await impatient.caa("a.b.c.example")
    assert time.monotonic() - before < 2


async def test_nobody_there_is_said_at_once() -> None:
    resolver = Resolver(("127.0.0.1", free_port()), timeout_seconds=5)
    before = time.monotonic()
    with pytest.raises(ValidationDNS, match="could not reach the resolver"):
        await resolver.addresses("a.example")
    assert time.monotonic() - before < 2


async def test_lost_datagram_is_asked_again(names: NameServer, impatient: Resolver) -> None:
    names.records = {("t.example", "TXT"): ['"x"']}
    lost: list[int] = []

    def lossy(query: dns.message.Message, tcp: bool) -> dns.message.Message | None:
        lost.append(query.id)
        return None if len(lost) == 1 else names.regular(query)

    names.answering = lossy
    assert await impatient.txt("t.example") == (b"x",)
    assert lost[0] != lost[1]


async def test_truncated_answer_goes_on_over_tcp(names: NameServer, resolver: Resolver) -> None:
    """RFC 7766; also a TXT set far larger than any datagram. Rows: A7."""
    names.records = {("t.example", "TXT"): [f'"{number:03}{"x" * 200}"' for number in range(100)]}
    assert len(await resolver.txt("t.example")) == 100
    assert names.asked[-1] == ("t.example", "TXT", "tcp")


async def test_truncated_over_tcp_too_is_a_failure(names: NameServer, resolver: Resolver) -> None:
    def truncated(query: dns.message.Message, tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response

    names.answering = truncated
    with pytest.raises(ValidationDNS, match="truncated answer over TCP"):
        await resolver.txt("t.example")


async def test_silence_on_tcp_ends_in_time(names: NameServer, impatient: Resolver) -> None:
    def stuck(query: dns.message.Message, tcp: bool) -> dns.message.Message | None:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return None if tcp else response

    names.answering = stuck
    with pytest.raises(ValidationDNS, match="no answer in time"):
        await impatient.txt("t.example")


async def test_too_many_records_are_a_failure(names: NameServer, resolver: Resolver) -> None:
    names.records = {("t.example", "TXT"): [f'"{number}"' for number in range(300)]}
    with pytest.raises(ValidationDNS, match="more than 200 records"):
        await resolver.txt("t.example")


async def test_aliases_are_followed(names: NameServer, resolver: Resolver) -> None:
    names.records = {
        ("_acme-challenge.a.example", "CNAME"): ["b.example."],
        ("b.example", "CNAME"): ["c.example."],
        ("c.example", "TXT"): ['"x"'],
    }
    assert await resolver.txt("_acme-challenge.a.example") == (b"x",)


async def test_alias_without_its_target_is_asked_on(names: NameServer, resolver: Resolver) -> None:
    """A server that answers like an authoritative one leaves the rest of the chain to the client."""
    names.soa = False
    targets = {f"{number}.example": f"{number + 1}.example" for number in range(4)}

    def one_step(query: dns.message.Message, tcp: bool) -> dns.message.Message:
        name = query.question[0].name.to_text(omit_final_dot=True)
        response = dns.message.make_response(query)
        if name in targets:
            response.answer.append(dns.rrset.from_text(name + ".", 60, "IN", "CNAME", targets[name] + "."))
        else:
            response.answer.append(dns.rrset.from_text(name + ".", 60, "IN", "TXT", '"x"'))
        return response

    names.answering = one_step
    assert await resolver.txt("0.example") == (b"x",)
    targets.clear()
    targets.update({f"{number}.example": f"{number + 1}.example" for number in range(20)})
    with pytest.raises(ValidationDNS, match="CNAME"):
        await resolver.txt("0.example")
    targets.clear()
    targets.update({"0.example": "1.example", "1.example": "0.example"})
    with pytest.raises(ValidationDNS, match="CNAME"):
        await resolver.txt("0.example")


@pytest.mark.parametrize("length", [8, 9, 20])
async def test_long_chains_are_refused(names: NameServer, resolver: Resolver, length: int) -> None:
    """At most eight aliases (F21)."""
    for number in range(length):
        names.records[f"{number}.example", "CNAME"] = [f"{number + 1}.example."]
    names.records[f"{length}.example", "TXT"] = ['"x"']
    names.udp_limit = 4000
    if length <= 8:
        assert await resolver.txt("0.example") == (b"x",)
    else:
        with pytest.raises(ValidationDNS, match="CNAME"):
            await resolver.txt("0.example")


async def test_alias_loop_is_refused(names: NameServer, resolver: Resolver) -> None:
    names.records = {("a.example", "CNAME"): ["b.example."], ("b.example", "CNAME"): ["a.example."]}
    for method in (resolver.addresses, resolver.txt, resolver.caa):
        with pytest.raises(ValidationDNS, match="CNAME"):
            await method("a.example")


async def test_records_of_other_names_are_ignored(names: NameServer, resolver: Resolver) -> None:
    """What was not asked for is not believed (F21)."""

    def poisoned(query: dns.message.Message, tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text("other.example.", 60, "IN", "TXT", '"planted"'))
        return response

    names.answering = poisoned
    assert await resolver.txt("t.example") == ()


async def test_forged_answers_are_waited_out(names: NameServer, resolver: Resolver) -> None:
    """Wrong identifier, wrong question, a query instead of an answer: the right one is still taken."""
    names.records = {("t.example", "TXT"): ['"right"']}

    def forged(query: dns.message.Message, tcp: bool) -> list[bytes]:
        right = names.regular(query).to_wire()
        wrong_id = bytes((right[0] ^ 0xFF,)) + right[1:]
        other = dns.message.make_query("other.example", "TXT")
        other.id = query.id
        wrong_question = dns.message.make_response(other).to_wire()
        return [b"", b"\x00", wrong_id, wrong_question, query.to_wire(), right]

    names.answering = forged
    assert await resolver.txt("t.example") == (b"right",)


async def test_answer_in_other_case_is_taken(names: NameServer, resolver: Resolver) -> None:
    def shouting(query: dns.message.Message, tcp: bool) -> list[bytes]:
        wire = names.regular(query).to_wire()
        return [wire.replace(b"example", b"EXAMPLE")]

    names.records = {("t.example", "TXT"): ['"x"']}
    names.answering = shouting
    assert await resolver.txt("t.example") == (b"x",)


async def test_malformed_answer_is_a_failure(names: NameServer, resolver: Resolver) -> None:
    names.answering = lambda query, tcp: [names.regular(query).to_wire()[:-15]]
    with pytest.raises(ValidationDNS, match="malformed"):
        await resolver.txt("t.example")


async def test_resolver_without_edns_is_asked_without(names: NameServer, resolver: Resolver) -> None:
    """RFC 6891 section 7: FORMERR or NOTIMP from servers older than EDNS."""
    names.records = {("t.example", "TXT"): ['"x"']}

    def old(query: dns.message.Message, tcp: bool) -> dns.message.Message | list[bytes]:
        if query.edns >= 0:
            return [query.to_wire()[:2] + b"\x80\x01" + bytes(8)]
        return names.regular(query)

    names.answering = old
    assert await resolver.txt("t.example") == (b"x",)


async def test_names_that_dns_cannot_carry_are_refused(resolver: Resolver) -> None:
    for name in ("", "a..example", "x" * 64 + ".example", ".".join(["abcdefg"] * 32), "ä.example"):
        with pytest.raises(ValidationDNS, match="cannot be asked for"):
            await resolver.txt(name)
        with pytest.raises(ValidationDNS, match="cannot be asked for"):
            await resolver.caa(name)


async def test_many_at_once(names: NameServer) -> None:
    """More than there may be sockets at one time: the rest waits its turn."""
    resolver = Resolver(("127.0.0.1", names.port))
    for number in range(400):
        names.records[f"{number}.example", "A"] = ["192.0.2.1"]
    found = await asyncio.gather(*[resolver.addresses(f"{number}.example") for number in range(400)])
    assert found == [("192.0.2.1",)] * 400


async def test_cancelled_question_leaves_nothing_behind(names: NameServer, resolver: Resolver) -> None:
    """An unclosed socket would be a warning, and so an error here."""
    names.answering = lambda query, tcp: None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.addresses("a.example")


class TestCAA:
    async def test_own_set_comes_first(self, names: NameServer, resolver: Resolver) -> None:
        """RFC 8659 section 3: the climb stops at the first set. Rows: R28."""
        names.records = {
            ("a.b.example", "CAA"): ['0 issue "ca.example"', '128 future "x"'],
            ("b.example", "CAA"): ['0 issue ";"'],
        }
        found = await resolver.caa("a.b.example")
        assert found.found_at == "a.b.example"
        assert set(found.records) == {CAARecord(0, "issue", "ca.example"), CAARecord(128, "future", "x")}

    async def test_climbs_to_the_first_parent_that_has_one(self, names: NameServer, resolver: Resolver) -> None:
        """Rows: R28."""
        names.records = {("example", "CAA"): ['0 issue "tld.example"'], ("b.example", "CAA"): ['0 issue ";"']}
        assert await resolver.caa("x.a.b.example") == CAASet("b.example", (CAARecord(0, "issue", ";"),))
        assert (await resolver.caa("c.example")).found_at == "example"

    async def test_absence_up_to_the_top_is_an_empty_set(self, names: NameServer, resolver: Resolver) -> None:
        """NXDOMAIN anywhere on the way is an absence like any other (F21)."""
        names.codes = dict.fromkeys(("a.b.example", "b.example", "example"), dns.rcode.NXDOMAIN)
        assert await resolver.caa("a.b.example") == CAASet(None)
        assert {name for name, _, _ in names.asked} == {"a.b.example", "b.example", "example"}

    async def test_alias_leads_to_the_targets_records_but_not_to_its_parents(
        self, names: NameServer, resolver: Resolver
    ) -> None:
        """RFC 8659 section 3: the climb goes on at the name asked for, not at the alias's target."""
        names.records = {
            ("a.example", "CNAME"): ["x.cdn.test."],
            ("x.cdn.test", "CAA"): ['0 issue "cdn.example"'],
            ("b.example", "CNAME"): ["y.cdn.test."],
            ("cdn.test", "CAA"): ['0 issue ";"'],
        }
        assert await resolver.caa("a.example") == CAASet("a.example", (CAARecord(0, "issue", "cdn.example"),))
        assert await resolver.caa("b.example") == CAASet(None)

    @pytest.mark.parametrize("failing", ["a.b.example", "b.example", "example"])
    async def test_failure_on_the_way_refuses(self, names: NameServer, resolver: Resolver, failing: str) -> None:
        """SERVFAIL is not permission. Rows: R28."""
        names.codes[failing] = dns.rcode.SERVFAIL
        with pytest.raises(ValidationDNS, match=f"CAA records of {failing}"):
            await resolver.caa("a.b.example")

    async def test_failure_above_the_set_does_not_matter(self, names: NameServer, resolver: Resolver) -> None:
        names.records = {("b.example", "CAA"): ['0 issue ";"']}
        names.codes["example"] = dns.rcode.SERVFAIL
        assert (await resolver.caa("a.b.example")).found_at == "b.example"

    async def test_parents_are_remembered_and_the_name_is_not(self, names: NameServer, resolver: Resolver) -> None:
        names.records = {("example", "CAA"): ['0 issue ";"']}
        await resolver.caa("a.b.example")
        names.asked.clear()
        assert (await resolver.caa("a.b.example")).found_at == "example"
        assert [name for name, _, _ in names.asked] == ["a.b.example"]

    async def test_failures_are_not_remembered(self, names: NameServer, resolver: Resolver) -> None:
        names.codes["example"] = dns.rcode.SERVFAIL
        with pytest.raises(ValidationDNS):
            await resolver.caa("a.example")
        names.codes.clear()
        assert await resolver.caa("a.example") == CAASet(None)

    async def test_ttl_zero_is_not_remembered(self, names: NameServer, resolver: Resolver) -> None:
        names.records = {("example", "CAA"): ['0 issue ";"']}
        names.ttl = 0
        await resolver.caa("a.example")
        names.asked.clear()
        await resolver.caa("a.example")
        assert {name for name, _, _ in names.asked} == {"a.example", "example"}

    async def test_memory_is_bounded_in_time_and_size(self, names: NameServer) -> None:
        names.ttl = 1_000_000
        resolver = Resolver(("127.0.0.1", names.port), cache_entries=4)
        for number in range(10):
            await resolver.caa(f"a.{number}.example")
        cache = resolver._cache
        assert len(cache._sets) == 4
        now = asyncio.get_running_loop().time()
        assert cache.get("9.example", now) is not None
        assert cache.get("9.example", now + 301) is None

    async def test_broken_record_refuses(self, names: NameServer, resolver: Resolver) -> None:
        """Left out silently, it would turn a restriction into a permission. Rows: A8."""

        def broken(query: dns.message.Message, tcp: bool) -> list[bytes]:
            wire = query.to_wire()
            question = wire[12 : wire.index(b"\x00", 12) + 5]
            head = wire[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
            return [head + question + b"\xc0\x0c\x01\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x00\x09is"]

        names.answering = broken
        with pytest.raises(ValidationDNS, match="malformed"):
            await resolver.caa("a.example")

    async def test_deep_names_are_climbed_to_the_top(self, names: NameServer, resolver: Resolver) -> None:
        names.records = {("example", "CAA"): ['0 issue ";"']}
        deep = ".".join(["a"] * 100) + ".example"
        assert (await resolver.caa(deep)).found_at == "example"


def test_system_servers_always_give_one() -> None:
    servers = system_servers()
    assert 1 <= len(servers) <= 3
    for host, port in servers:
        socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)


def test_resolver_address_may_stand_in_brackets() -> None:
    """As "host:port" writes an IPv6 address, whoever took that apart."""
    assert Resolver(("[::1]", 53))._servers == (("::1", 53),)


def test_unknown_resolver_host_is_refused_at_start() -> None:
    with pytest.raises(OSError, match=r".+"):
        Resolver(("no such host", 53))


# --------------------------------------------------------------------------- DNSSEC


def authenticating(names: NameServer, *secure: str) -> list[bool]:
    """Have the name server set AD for these names; the list tells of each query whether it asked for that."""
    asked: list[bool] = []

    def answer(query: dns.message.Message, tcp: bool) -> dns.message.Message:
        asked.append(bool(query.flags & dns.flags.AD))
        response = names.regular(query)
        if query.question[0].name.to_text(omit_final_dot=True) in secure:
            response.flags |= dns.flags.AD
        return response

    names.answering = answer
    return asked


@pytest.mark.parametrize(("dnssec", "asks"), [("off", False), ("opportunistic", True), ("required", True)])
async def test_ad_is_asked_for_as_configured(names: NameServer, dnssec: DNSSEC, asks: bool) -> None:
    """RFC 6840 section 5.7, over UDP and over TCP."""
    asked = authenticating(names, "t.example")
    names.records = {("t.example", "TXT"): ['"' + "x" * 250 + '"'] * 4}
    names.udp_limit = 200
    resolver = Resolver(("127.0.0.1", names.port), dnssec=dnssec)
    assert len(await resolver.txt("t.example")) >= 1
    assert asked == [asks, asks]


async def test_what_is_not_authenticated_is_no_answer_where_that_is_required(names: NameServer) -> None:
    """All four record types, absences included: a forged absence is worth as much as a forged record."""
    authenticating(names, "signed.example")
    for name in ("signed.example", "plain.example"):
        names.records |= {(name, "A"): ["192.0.2.1"], (name, "TXT"): ['"x"'], (name, "CAA"): ['0 issue "ca.example"']}
    required = Resolver(("127.0.0.1", names.port), dnssec="required")
    assert await required.addresses("signed.example") == ("192.0.2.1",)
    assert await required.txt("signed.example") == (b"x",)
    assert (await required.caa("signed.example")).found_at == "signed.example"
    names.records |= {("other.example", "A"): ["192.0.2.1"]}
    for ask in (required.addresses, required.txt, required.caa):
        for name in ("plain.example", "absent.example"):
            with pytest.raises(ValidationDNS, match="DNSSEC does not authenticate"):
                await ask(name)
    relaxed = Resolver(("127.0.0.1", names.port), dnssec="opportunistic")
    assert await relaxed.txt("plain.example") == (b"x",)


async def test_every_step_of_a_chain_has_to_be_authenticated(names: NameServer) -> None:
    """A resolver that leaves the rest of a chain to us: the AD bit of the first step says nothing of the next."""
    authenticating(names, "signed.example")
    names.records = {("signed.example", "CNAME"): ["plain.example."], ("plain.example", "TXT"): ['"x"']}
    names.soa = False
    regular = names.regular

    def first_step_only(query: dns.message.Message) -> dns.message.Message:
        response = regular(query)
        response.answer = response.answer[:1]
        return response

    names.regular = first_step_only  # type: ignore[method-assign]
    with pytest.raises(ValidationDNS, match="DNSSEC does not authenticate"):
        await Resolver(("127.0.0.1", names.port), dnssec="required").txt("signed.example")


async def test_two_resolvers_in_one_process_do_not_know_each_other(names: NameServer, resolver: Resolver) -> None:
    """Each asks its own name server, at the same time as the other; how the process looks up names stays as it is.

    Rows: T-5.
    """
    before = (socket.getaddrinfo, socket.create_connection, socket.socket.connect)
    names.records["a.example", "A"] = ["192.0.2.1"]
    async with name_server() as others:
        others.records["a.example", "A"] = ["192.0.2.2"]
        other = Resolver(("127.0.0.1", others.port), timeout_seconds=2, attempts=2)
        found = await asyncio.gather(*(one.addresses("a.example") for one in (resolver, other) * 10))
    assert found == [("192.0.2.1",), ("192.0.2.2",)] * 10
    assert (socket.getaddrinfo, socket.create_connection, socket.socket.connect) == before
