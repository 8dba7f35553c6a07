"""Downloads: other chains, and where the issuer is (A9, RFC 8555 sections 7.4.2 and 9.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ca_core.ceremony import certify_issuing, create_root
from ca_core.clock import FixedClock
from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from policy.acting import operator
from policy.authorities import Authorities
from policy.problems import Malformed, OrderConflict
from policy.store import AUDIT, StoredAuthority
from tests.protocols.acme.client import Client
from tests.protocols.acme.world import NOON, STATUS_URL, World, make_world


@dataclass
class Crossed:
    """A server whose issuing CA a second root has certified, too."""

    world: World
    own: bytes
    crossed: bytes
    keystore: SoftwareKeyStore


@pytest.fixture
async def two_roots(acme_ca: tuple[SoftwareKeyStore, Issuer], tmp_path: Path) -> AsyncIterator[Crossed]:
    """See Crossed."""
    keystore, issuer = acme_ca
    clock = FixedClock(NOON - timedelta(days=1))
    other = SoftwareKeyStore(tmp_path / "keys", b"a passphrase for tests")
    root = await create_root(other, "other", (("CN", "Other Root"),), "ec-p256", timedelta(days=7300), clock)
    above = Issuer("other", root.certificate_der, root.signer, status_url=STATUS_URL, root_der=root.certificate_der)
    subject = (("CN", "Test Issuing CA"),)
    made = await certify_issuing(issuer.signer, subject, timedelta(days=3000), clock, above, crl=True)
    crossed = made.certificate_der
    both = Issuer(
        "issuing",
        issuer.certificate_der,
        issuer.signer,
        status_url=STATUS_URL,
        root_der=issuer.root_der,
        alternates_der=((crossed,),),
    )
    world = await make_world(keystore, both)
    yield Crossed(world, issuer.certificate_der, crossed, keystore)
    await world.store.close()


async def test_a9_another_chain_is_offered_and_served(two_roots: Crossed) -> None:
    """Link rel="alternate" leads from each chain to the others; the leaf is the same, the last issuer another.

    Rows: C14, A9.
    """
    client = Client(two_roots.world)
    await client.register()
    order = await client.issue()
    first = await client.post(order.json["certificate"])
    (other,) = first.links("alternate")
    assert other == order.json["certificate"] + "/1"
    second = await client.post(other)
    assert second.links("alternate") == [order.json["certificate"]]
    chains = [x509.load_pem_x509_certificates(answer.body) for answer in (first, second)]
    assert chains[0][0] == chains[1][0]
    assert [one.public_bytes(Encoding.DER) for one in (chains[0][1], chains[1][1])] == [
        two_roots.own,
        two_roots.crossed,
    ]
    assert chains[1][-1].issuer.rfc4514_string() == "CN=Other Root"
    for chain in chains:
        chain[0].verify_directly_issued_by(chain[1])
    packed = await client.post(other, accept="application/pkcs7-mime")
    assert set(chains[1]) == set(pkcs7.load_der_pkcs7_certificates(packed.body))


@pytest.mark.parametrize("chain", ["0", "2", "01", "x", "-1", "100", "¹"])
async def test_a9_chains_that_there_are_not(two_roots: Crossed, chain: str) -> None:
    """Each chain has one URL."""
    client = Client(two_roots.world)
    await client.register()
    order = await client.issue()
    assert (await client.post(f"{order.json['certificate']}/{chain}")).problem() == (404, "malformed")


async def test_other_chains_are_the_owners_only(two_roots: Crossed) -> None:
    """Trap T-18. Rows: T-18."""
    client, other = Client(two_roots.world), Client(two_roots.world)
    await client.register()
    await other.register()
    order = await client.issue()
    assert (await other.post(order.json["certificate"] + "/1")).problem() == (404, "malformed")


async def test_a9_a_single_certificate_says_where_its_issuer_is(member: Client) -> None:
    """RFC 8555 section 7.4.2: Link rel="up" with application/pkix-cert; a chain needs none."""
    order = await member.issue()
    single = await member.post(order.json["certificate"], accept="application/pkix-cert")
    (up,) = single.links("up")
    issuer = member.world.parts.ca.issuer("issuing")
    assert up == f"{STATUS_URL}/ca/{issuer.id}.cer"
    assert not (await member.post(order.json["certificate"])).links("up")
    assert not (await member.post(order.json["certificate"])).links("alternate")


async def test_a_chain_is_added_once_and_only_of_the_same_key(two_roots: Crossed) -> None:
    """What the server could not use at its next start is refused now."""
    store, keystore = two_roots.world.store, two_roots.keystore
    authorities = Authorities(store, keystore, two_roots.world.clock, STATUS_URL)
    issuer = two_roots.world.parts.ca.issuer("issuing")
    stored = StoredAuthority("issuing", "issuing", issuer.certificate_der, (), issuer.root_der or b"", 1, NOON, {})
    await two_roots.world.insert(stored)
    with pytest.raises(Malformed, match="name and key"):
        await authorities.add_chain("issuing", (issuer.root_der or b"",), operator("user:x"))
    with pytest.raises(Malformed, match="no CA"):
        await authorities.add_chain("nothing", (two_roots.crossed,), operator("user:x"))
    changed = await authorities.add_chain("issuing", (two_roots.crossed,), operator("user:x"))
    assert changed.alternates == ((two_roots.crossed,),)
    with pytest.raises(OrderConflict):
        await authorities.add_chain("issuing", (two_roots.crossed,), operator("user:x"))
    assert (await authorities.load())["issuing"].alternates_der == ((two_roots.crossed,),)
    tags = [row.leaf for row in await store.many(AUDIT, 0, 100)]
    assert sum(b"ca:authority:chain-added" in leaf for leaf in tags) == 1
