"""The resolver of validation: A, AAAA, TXT and CAA, asked over UDP with TCP behind it; the climb for CAA.

It is a stub: it asks one recursive resolver (or those of the system, in turn) and believes its answers, so
that resolver is where DNSSEC is validated; a bogus answer arrives here as SERVFAIL, an authenticated one with
the AD bit, which is worth as much as the way to that resolver. Every exchange has a socket of its own,
connected, with a source port that the kernel picks at random, and random identifiers (RFC 5452 section 9). Not
being able to learn something is never taken for its absence: only NOERROR and NXDOMAIN are answers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Literal

from gateway.validators.dnsexchange import SILENT, UNREACHABLE, Exchange, Failure, ask_tcp
from gateway.validators.dnswire import (
    MAX_ALIASES,
    Answer,
    BadName,
    RecordType,
    ResponseCode,
    to_address,
    to_caa,
    write_name,
    write_question,
)
from policy.problems import ValidationDNS
from policy.validation.caa import CAASet

MAX_CACHE_SECONDS = 300
"""No CAA set of a parent is remembered longer, whatever its TTL: who changes it wants to see the effect."""
UNSAID_TTL_SECONDS = 10
"""For an absence without an SOA. RFC 2308 section 5 says not to cache these, lest two caches feed each
other for ever; nobody asks this one, and ten seconds spare a small resolver the same question for every
name of a zone."""
MAX_QUESTIONS = 16
"""Questions in one exchange; the climb for a name with more labels takes several."""
MAX_EXCHANGES = 100
"""Exchanges at one time, each with a socket; more of them wait. Their queries together still fit the receive
buffer that a name server on Linux has by default; what is lost there costs a second try."""
AHEAD_SECONDS = 2.0
"""How long addresses that came along with a CAA look-up may wait for the connection that they were asked for."""
MAX_AHEAD = 1000
"""Names whose addresses wait like that; beyond, the oldest are asked for anew."""

DNSSEC = Literal["off", "opportunistic", "required"]
"""What is demanded of answers: nothing; nothing, yet the resolver is asked to say; or that they are authenticated."""


class Resolver:
    """Asks DNS for what validation needs.

    `server` is the recursive resolver as (host, port), or None for those of the system; a host name is
    looked up once, here. `timeout_seconds` is what a try has on average, and once more over TCP. With `dnssec`
    "required", what comes without the AD bit counts as no answer, absences included.
    """

    def __init__(
        self,
        server: tuple[str, int] | None = None,
        *,
        timeout_seconds: float = 1.5,
        attempts: int = 3,
        cache_entries: int = 4096,
        dnssec: DNSSEC = "off",
    ) -> None:
        self._dnssec = dnssec
        self._servers = (_located(server),) if server else system_servers()
        self._timeout = timeout_seconds
        self._attempts = max(attempts, len(self._servers))
        self._cache = _Cache(cache_entries)
        self._ahead: dict[str, tuple[float, list[Answer | Failure]]] = {}
        self._free = asyncio.Semaphore(MAX_EXCHANGES)

    async def addresses(self, name: str) -> tuple[str, ...]:
        """IPv6 addresses, then IPv4 ones; at least one. Raises ValidationDNS.

        When one of the two questions fails, the addresses of the other are used.
        """
        results = self._taken_ahead(name.lower())
        if results is None:
            results = await self._ask(_address_questions(_to_wire(name)))
        found = [to_address(data) for result in results if isinstance(result, Answer) for data in result.records]
        if found:
            return tuple(found)
        for result, kind in zip(results, ("AAAA", "A"), strict=True):
            if not isinstance(result, Answer):
                raise _failed(kind, name, result)
        if all(isinstance(result, Answer) and result.code == ResponseCode.NXDOMAIN for result in results):
            raise _no_such_name(name)
        raise ValidationDNS(f"{name} has neither an A nor an AAAA record")

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """The TXT records of a name, each with its strings joined; none if it has none. Raises
        ValidationDNS."""
        [result] = await self._ask([write_question(_to_wire(name), RecordType.TXT)])
        if not isinstance(result, Answer):
            raise _failed("TXT", name, result)
        if result.code == ResponseCode.NXDOMAIN:
            raise _no_such_name(name)
        return result.records

    def _taken_ahead(self, name: str) -> list[Answer | Failure] | None:
        """What a CAA look-up learned of the addresses of this name a moment ago; each serves one connection."""
        at, results = self._ahead.pop(name, (0.0, None))
        return results if results is not None and asyncio.get_running_loop().time() - at <= AHEAD_SECONDS else None

    async def caa(self, domain: str, *, addresses: bool = False) -> CAASet:
        """The first CAA set from `domain` upwards, the root left out (RFC 8659 section 3). Raises
        ValidationDNS.

        The name itself is always asked; answers about its parents are remembered for as long as they said. With
        `addresses`, a connection to the domain follows: its addresses are asked for in the same exchange.
        """
        wire = _to_wire(domain)
        domain = domain.lower()
        labels = domain.split(".")
        names = [".".join(labels[depth:]) for depth in range(len(labels))]
        ahead = _address_questions(wire) if addresses else []
        for first in range(0, len(names), MAX_QUESTIONS):
            level = names[first : first + MAX_QUESTIONS]
            sets = await self._caa_level(level, ahead if first == 0 else [], fresh=domain)
            for name in level:
                # In order: a failure above the first set found does not matter, one below it does.
                found = sets[name]
                if isinstance(found, Failure):
                    raise _failed("CAA", name, found)
                if found.records:
                    return found
        return CAASet(None)

    async def _caa_level(self, names: Sequence[str], ahead: list[bytes], *, fresh: str) -> dict[str, CAASet | Failure]:
        now = asyncio.get_running_loop().time()
        sets: dict[str, CAASet | Failure] = {}
        missing = []
        for name in names:
            if name != fresh and (known := self._cache.get(name, now)) is not None:
                sets[name] = known
            else:
                missing.append(name)
        if not missing:
            return sets
        questions = [write_question(_to_wire(name), RecordType.CAA) for name in missing]
        results = await self._ask(questions + ahead)
        if ahead:
            while len(self._ahead) >= MAX_AHEAD:
                del self._ahead[next(iter(self._ahead))]
            self._ahead[fresh] = (asyncio.get_running_loop().time(), results[len(missing) :])
        for name, result in zip(missing, results[: len(missing)], strict=True):
            if not isinstance(result, Answer):
                sets[name] = result
                continue
            found = CAASet(name, tuple([to_caa(data) for data in result.records])) if result.records else _NOTHING
            sets[name] = found
            if name != fresh:
                ttl = UNSAID_TTL_SECONDS if result.ttl is None else min(result.ttl, MAX_CACHE_SECONDS)
                self._cache.put(name, found, now, ttl)
        return sets

    async def _ask(self, questions: list[bytes]) -> list[Answer | Failure]:
        """One result per question, aliases followed to their end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._attempts * self._timeout
        results = await self._ask_once(questions)
        for place, result in enumerate(results):
            # A recursive resolver gives the whole chain. Where one does not, the rest is asked for.
            steps = 0
            while isinstance(result, Answer) and _is_unfinished(result):
                if (steps := steps + result.aliases) > MAX_ALIASES:
                    result = f"met a chain of CNAME records that is a loop or longer than {MAX_ALIASES}"
                elif loop.time() > deadline:
                    result = SILENT
                else:
                    [result] = await self._ask_once([result.name + questions[place][-4:]])
            results[place] = result
        return results

    async def _ask_once(self, questions: list[bytes]) -> list[Answer | Failure]:
        results: list[Answer | Failure] = [_UNASKED] * len(questions)
        plain: set[int] = set()
        open_places = list(range(len(questions)))
        async with self._free:
            for attempt in range(self._attempts):
                server = self._servers[attempt % len(self._servers)]
                asked = [(place, questions[place], place not in plain) for place in open_places]
                # The first try is the shortest: a lost datagram is the usual reason for silence.
                await self._attempt(server, asked, results, self._timeout * 2 * (attempt + 1) / (self._attempts + 1))
                for place in open_places:
                    result = results[place]
                    if isinstance(result, Answer) and result.code in (
                        ResponseCode.FORMERR,
                        ResponseCode.NOTIMP,
                    ):
                        plain.add(place)  # a resolver from before EDNS (RFC 6891 section 7)
                open_places = [place for place in open_places if self._again(results[place], attempt)]
                if not open_places:
                    break
        return [_settled(result, self._dnssec == "required") for result in results]

    def _again(self, result: Answer | Failure, attempt: int) -> bool:
        """Whether another try may do better: no answer, a query not understood, or a server not yet asked."""
        if not isinstance(result, Answer):
            return True
        if result.code in (ResponseCode.NOERROR, ResponseCode.NXDOMAIN):
            return False
        return result.code in (ResponseCode.FORMERR, ResponseCode.NOTIMP) or attempt + 1 < len(self._servers)

    async def _attempt(
        self,
        server: tuple[str, int],
        asked: list[tuple[int, bytes, bool]],
        results: list[Answer | Failure],
        timeout: float,
    ) -> None:
        try:
            exchange = Exchange(server, asked, self._dnssec != "off")
        except OSError:
            for place, _, _ in asked:
                results[place] = UNREACHABLE
            return
        got = await exchange.run(timeout)
        cut = []
        for place, question, _ in asked:
            results[place] = result = got.get(place, SILENT)
            if isinstance(result, Answer) and result.truncated:
                cut.append((place, question))
        if cut:
            secure = self._dnssec != "off"
            whole = await asyncio.gather(*[ask_tcp(server, question, self._timeout, secure) for _, question in cut])
            for (place, _), result in zip(cut, whole, strict=True):
                results[place] = result


class _Cache:
    """CAA sets by name, each with its end; at most `entries`, the oldest leave first."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._sets: dict[str, tuple[float, CAASet]] = {}

    def get(self, name: str, now: float) -> CAASet | None:
        kept = self._sets.get(name)
        return kept[1] if kept is not None and kept[0] > now else None

    def put(self, name: str, found: CAASet, now: float, ttl: float) -> None:
        self._sets.pop(name, None)
        if ttl <= 0:
            return
        while len(self._sets) >= self._entries:
            del self._sets[next(iter(self._sets))]
        self._sets[name] = (now + ttl, found)


def system_servers() -> tuple[tuple[str, int], ...]:
    """The resolvers of this machine (/etc/resolv.conf), or the one on loopback where none is named."""
    import dns.resolver  # slow, and only needed where no resolver is configured

    try:
        found = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        found = []
    return tuple((str(server), 53) for server in found if isinstance(server, str))[:3] or (("127.0.0.1", 53),)


def _located(server: tuple[str, int]) -> tuple[str, int]:
    """A resolver's address. Raises OSError at start rather than at the first validation."""
    host = server[0].removeprefix("[").removesuffix("]")  # as host:port writes an IPv6 address
    address, port = socket.getaddrinfo(host, server[1], type=socket.SOCK_DGRAM)[0][4][:2]
    return str(address), int(port)


_NOTHING = CAASet(None)
_UNASKED: Failure = "was not asked"
_UNSIGNED: Failure = "got an answer that DNSSEC does not authenticate, which this server demands"


def _is_unfinished(answer: Answer) -> bool:
    """An alias whose target's records are neither there nor denied."""
    return bool(answer.aliases) and not answer.records and answer.ttl is None and answer.code == ResponseCode.NOERROR


def _settled(result: Answer | Failure, secure: bool) -> Answer | Failure:
    if not isinstance(result, Answer):
        return result
    if result.code in (ResponseCode.NOERROR, ResponseCode.NXDOMAIN):
        return _UNSIGNED if secure and not result.authenticated else result
    try:
        return f"was answered {ResponseCode(result.code).name}"
    except ValueError:
        return f"was answered with response code {result.code}"


def _address_questions(wire: bytes) -> list[bytes]:
    return [write_question(wire, RecordType.AAAA), write_question(wire, RecordType.A)]


def _to_wire(name: str) -> bytes:
    try:
        return write_name(name)
    except BadName as exc:
        raise ValidationDNS(f'"{name[:300]}" cannot be asked for in DNS: it {exc}') from exc


def _failed(kind: str, name: str, failure: Failure) -> ValidationDNS:
    return ValidationDNS(f"the DNS query for {kind} records of {name} {failure}")


def _no_such_name(name: str) -> ValidationDNS:
    return ValidationDNS(f"DNS has no name {name} (NXDOMAIN)")
