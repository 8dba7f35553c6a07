"""DNSSEC with unbound between us and the zones: signed, forged and unsigned ones, all on 127.0.0.1.

The zones are top-level names that do not exist elsewhere, each with a trust anchor of its own in unbound, so that
no question ever leaves this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import cast

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.validators.dns import DNSSEC, Resolver
from policy.problems import ValidationDNS
from policy.validation.caa import CAASet
from tests.clients.gate import free_ports

pytestmark = pytest.mark.client

ZONE = """
@ 300 SOA ns admin 1 7200 900 1209600 60
@ 300 NS ns
ns 300 A 127.0.0.1
host 300 A 192.0.2.1
host 300 AAAA 2001:db8::1
host 300 CAA 0 issue "ca.example"
_acme-challenge.host 300 TXT "proof"
alias 300 CNAME host
"""
ALGORITHM = "ECDSAP256SHA256"


@dataclass
class Zone:
    """A zone, with the trust anchor that unbound is given for it."""

    name: str
    origin: dns.name.Name
    zone: dns.zone.Zone
    anchor: str | None


def signed(name: str, *, forged: bool = False) -> Zone:
    """A signed zone; `forged` changes a record after it was signed, as an attacker in between would."""
    zone = dns.zone.from_text(ZONE, origin=f"{name}.", relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(key.public_key(), ALGORITHM, flags=257)
    dns.dnssec.sign_zone(zone, keys=[(key, public)], lifetime=3600)
    if forged:
        for kind, text in (("A", "192.0.2.66"), ("TXT", '"forged"'), ("CAA", '0 issue "evil.example"')):
            owner = "_acme-challenge.host" if kind == "TXT" else "host"
            zone.replace_rdataset(f"{owner}.{name}.", dns.rdataset.from_text("IN", kind, 300, text))
    return Zone(
        name, dns.name.from_text(name), zone, f"{name}. DS {dns.dnssec.make_ds(f'{name}.', public, 'SHA256').to_text()}"
    )


def unsigned(name: str) -> Zone:
    zone = dns.zone.from_text(ZONE, origin=f"{name}.", relativize=False)
    return Zone(name, dns.name.from_text(name), zone, None)


ZONES = (signed("signedzone"), signed("forgedzone", forged=True), unsigned("plainzone"))


def answer(query: dns.message.Message) -> dns.message.Message:
    """What an authoritative server of these zones says, signatures and proofs of absence included."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    question = query.question[0]
    ours = next((one for one in ZONES if question.name.is_subdomain(one.origin)), None)
    if ours is None:
        response.set_rcode(dns.rcode.REFUSED)
        return response
    node = ours.zone.get_node(question.name)
    for kind in (dns.rdatatype.CNAME, question.rdtype):
        if node is not None and add(response.answer, question.name, node, kind):
            return response
    response.set_rcode(dns.rcode.NOERROR if node is not None else dns.rcode.NXDOMAIN)
    add(response.authority, ours.origin, ours.zone[ours.origin], dns.rdatatype.SOA)
    for owner in ours.zone.nodes:
        # All of them: which one proves it is the validator's to find.
        add(response.authority, owner, ours.zone[owner], dns.rdatatype.NSEC)
    return response


def add(
    section: list[dns.rrset.RRset], owner: dns.name.Name, node: dns.node.Node, kind: dns.rdatatype.RdataType
) -> bool:
    """Add the records of this type with their signatures; whether there are any."""
    found = node.get_rdataset(dns.rdataclass.IN, kind)
    if found is None:
        return False
    signatures = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.RRSIG, kind)
    for each in filter(None, (found, signatures)):
        section.append(dns.rrset.from_rdata_list(owner, each.ttl, list(each)))
    return True


class Authority(asyncio.DatagramProtocol):
    """The authoritative server, over UDP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(answer(dns.message.from_wire(data)).to_wire(max_size=65535), addr)


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """Of unbound and of the authoritative server."""
    base = free_ports(2)
    return base, base + 1


@pytest.fixture(scope="module")
def unbound(
    need: Callable[..., None], ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """A validating unbound, in the foreground, without a folder or a user of its own."""
    need("unbound")
    folder = tmp_path_factory.mktemp("unbound")
    lines = [
        "server:",
        f"interface: 127.0.0.1@{ports[0]}",
        *('username: ""', 'chroot: ""', f'directory: "{folder}"', f'pidfile: "{folder}/pid"', "use-syslog: no"),
        *("do-daemonize: no", "do-ip6: no", "num-threads: 1", 'module-config: "validator iterator"'),
        *("do-not-query-localhost: no", "access-control: 127.0.0.0/8 allow", "qname-minimisation: no"),
        *("edns-buffer-size: 4096", "max-udp-size: 4096", "val-log-level: 2"),
        *(f'trust-anchor: "{zone.anchor}"' for zone in ZONES if zone.anchor),
    ]
    for zone in ZONES:
        lines += ["stub-zone:", f'name: "{zone.name}."', f"stub-addr: 127.0.0.1@{ports[1]}"]
    lines += ["remote-control:", "control-enable: no"]
    (folder / "unbound.conf").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unbound", "-d", "-c", str(folder / "unbound.conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield ports[0]
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def resolve(
    unbound: int, ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[DNSSEC], Resolver]]:
    """Resolvers of ours that ask it; it answers by now, and so does the authoritative server behind it."""
    loop = asyncio.get_running_loop()
    authority, _ = await loop.create_datagram_endpoint(Authority, ("127.0.0.1", ports[1]))

    def make(dnssec: DNSSEC) -> Resolver:
        return Resolver(("127.0.0.1", unbound), timeout_seconds=3, dnssec=dnssec)

    for _ in range(100):
        with contextlib.suppress(ValidationDNS):
            await Resolver(("127.0.0.1", unbound), timeout_seconds=0.5, attempts=1).addresses("host.plainzone")
            break
        await asyncio.sleep(0.1)
    yield make
    authority.close()
    await asyncio.sleep(0)


Make = Callable[[DNSSEC], Resolver]


@pytest.mark.parametrize("dnssec", ["off", "opportunistic", "required"])
async def test_a_signed_zone_is_believed(resolve: Make, dnssec: DNSSEC) -> None:
    """AD comes back for A, AAAA, TXT and CAA, through an alias too, and for what is proven absent."""
    resolver = resolve(dnssec)
    assert await resolver.addresses("host.signedzone") == ("2001:db8::1", "192.0.2.1")
    assert await resolver.addresses("alias.signedzone") == ("2001:db8::1", "192.0.2.1")
    assert await resolver.txt("_acme-challenge.host.signedzone") == (b"proof",)
    assert (await resolver.caa("host.signedzone")).records[0].value == "ca.example"
    assert await resolver.caa("ns.signedzone") == CAASet(None)
    assert await resolver.txt("host.signedzone") == ()
    with pytest.raises(ValidationDNS, match="NXDOMAIN"):
        await resolver.addresses("nobody.signedzone")


@pytest.mark.parametrize("dnssec", ["off", "opportunistic", "required"])
async def test_a_forged_zone_is_refused_whatever_is_configured(resolve: Make, dnssec: DNSSEC) -> None:
    """A signature that does not fit arrives as SERVFAIL, which is never taken for an answer or an absence."""
    resolver = resolve(dnssec)
    with pytest.raises(ValidationDNS, match="SERVFAIL"):
        await resolver.txt("_acme-challenge.host.forgedzone")
    with pytest.raises(ValidationDNS, match="SERVFAIL"):
        await resolver.caa("host.forgedzone")
    # The AAAA record was left as it was signed: only the forged one is not believed.
    assert await resolver.addresses("host.forgedzone") == ("2001:db8::1",)


async def test_an_unsigned_zone_is_refused_only_where_dnssec_is_required(resolve: Make) -> None:
    relaxed: tuple[DNSSEC, ...] = ("off", "opportunistic")
    for dnssec in relaxed:
        resolver = resolve(dnssec)
        assert await resolver.addresses("host.plainzone") == ("2001:db8::1", "192.0.2.1")
        assert await resolver.txt("_acme-challenge.host.plainzone") == (b"proof",)
        assert (await resolver.caa("host.plainzone")).found_at == "host.plainzone"
    required = resolve("required")
    for ask, name in (
        (required.addresses, "host.plainzone"),
        (required.txt, "_acme-challenge.host.plainzone"),
        (required.caa, "host.plainzone"),
        (required.caa, "ns.plainzone"),
        (required.txt, "nobody.plainzone"),
    ):
        with pytest.raises(ValidationDNS, match="DNSSEC does not authenticate"):
            await ask(name)
