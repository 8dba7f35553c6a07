"""The audit log: canonical leaves, Merkle tree, checkpoints; every kind of tampering is found."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from ca_core.clock import FixedClock
from ca_core.keystores.software import SoftwareKey
from gateway.store import open_store
from policy.audit import AuditEvent, AuditTag, Checkpoint, Frontier, leaf_hash, node_hash
from policy.order import NewOrder
from policy.sealer import Sealer
from policy.store import CHECKPOINT, Unit
from tests.conftest import House
from tests.policy.making import est, request


def reference_root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash as RFC 9162 section 2.1.1 defines it, recursively."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(reference_root(leaves[:half]), reference_root(leaves[half:]))


@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_a_frontier_has_the_root_of_the_whole_tree_however_it_grew(leaves: list[bytes], cut: int) -> None:
    frontier = Frontier().extend(leaves[:cut]).extend(leaves[cut:])
    assert frontier.root() == reference_root(leaves)
    assert frontier.size == len(leaves)


@pytest.fixture
async def sealed(house: House) -> House:
    """A house with some certificates and a checkpoint over them."""
    principal = await est(house)
    for _ in range(3):
        await house.core.ra.enroll(principal, NewOrder(request=request("a.certgate.test")))
    assert await house.core.sealer.seal() is not None
    return house


async def test_an_untouched_log_is_whole(sealed: House) -> None:
    found = await sealed.core.sealer.verify()
    assert found.problems == []
    assert found.sealed == found.events > 10
    assert await sealed.core.sealer.seal() is None  # nothing new to sign


async def test_an_empty_log_has_nothing_to_seal(clock: FixedClock) -> None:
    """Nor does a checkpoint of it, should there be one, make the events after it suspicious."""
    store = await open_store("sqlite://", clock=clock)
    signer = SoftwareKey(ed25519.Ed25519PrivateKey.generate())
    sealer = Sealer(store, signer, clock)
    assert await sealer.seal() is None
    assert await store.one(CHECKPOINT) is None
    unit = Unit()
    unit.checkpoint(Checkpoint(0, Frontier().root(), (), clock(), "", b""))
    await store.commit(unit)
    for _ in range(3):
        unit = Unit()
        unit.audit(AuditEvent(AuditTag.SERVER_STARTED, clock(), "system:server", "process:1"))
        await store.commit(unit)
    assert await sealer.seal() is not None
    assert (await sealer.verify()).problems == []
    await store.close()


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), 'certgate', 'evilgate') AS BLOB)", "not those"),
        ("DELETE FROM audit WHERE seq = 5", "missing"),
        ("DELETE FROM audit WHERE seq > 8", "beyond the end"),
        ("DELETE FROM audit WHERE tag = 'ca:certificate:issued'", "missing"),
        ("UPDATE checkpoints SET body = replace(body, '2026', '2027')", "signature"),
    ],
)
async def test_tampering_is_found(sealed: House, tampering: str, found: str) -> None:
    execute(sealed, tampering)
    problems = (await sealed.core.sealer.verify()).problems
    assert any(found in one for one in problems), problems


async def test_a_certificate_without_its_event_is_found(sealed: House) -> None:
    """Renumbered so that no gap shows, with the checkpoints gone: the certificate itself tells."""
    execute(sealed, "DELETE FROM checkpoints")
    execute(sealed, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit WHERE tag = 'ca:certificate:issued')")
    execute(sealed, "UPDATE audit SET seq = -(SELECT count(*) FROM audit AS b WHERE b.seq <= audit.seq)")
    execute(sealed, "UPDATE audit SET seq = -seq")
    problems = (await sealed.core.sealer.verify()).problems
    assert len(problems) == 1
    assert 'no "issued" event' in problems[0]


def execute(house: House, statement: str) -> None:
    """As somebody would who has the database file."""
    store: Any = house.core.store
    connection = getattr(store, "_connection", None) or store._writer
    list(connection.execute(statement))
