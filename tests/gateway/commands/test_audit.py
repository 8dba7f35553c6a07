"""gateway.commands.audit: reading, verifying, exporting and signing the log."""

from __future__ import annotations

import asyncio

from gateway.commands import audit, telling
from policy.audit import Frontier, node_hash
from tests.conftest import House
from tests.gateway.commands.issuing import ACTOR, issued


async def told(_: object) -> None:
    """A listener who does not care."""


async def test_show_has_the_newest_events_in_their_order(house: House) -> None:
    order = await issued(house)
    events = await audit.show(house.core, actor=ACTOR, limit=3)
    size = (await audit.size(house.core, actor=ACTOR))["size"]
    assert [one["seq"] for one in events] == [size - 2, size - 1, size]
    assert events[-1]["object"] == f"certificate:{order.serial}"
    first = await audit.show(house.core, actor=ACTOR, after=0, limit=1)
    assert first[0]["tag"] == "ca:authority:created"


async def test_show_of_one_object(house: House) -> None:
    order = await issued(house)
    events = await audit.show(house.core, actor=ACTOR, object=f"order:{order.id}")
    assert events
    assert {one["object"] for one in events} == {f"order:{order.id}"}


async def test_verify_says_that_the_log_is_whole(house: House) -> None:
    await issued(house)
    await house.core.sealer.seal()
    found = await audit.verify(house.core, actor=ACTOR, progress=told)
    assert found["problems"] == []
    assert found["checkpoints"] == 1
    assert found["sealed"] == found["events"]


async def test_verify_finds_a_changed_event(house: House) -> None:
    """As somebody who can write to the store would change it."""
    await issued(house)
    await house.core.sealer.seal()
    change = "UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), 'tests', 'eve') AS BLOB) WHERE seq = 4"
    house.core.store._writer.execute(change)
    found = await audit.verify(house.core, actor=ACTOR, progress=told)
    assert found["problems"]


async def test_export_has_every_event_and_its_hash(house: House) -> None:
    """Whoever keeps a checkpoint can compute its root from an export alone."""
    await issued(house)
    sealed = await audit.checkpoint(house.core, actor=ACTOR)
    assert sealed is not None
    rows: list[dict[str, object]] = []
    after = 0
    while True:
        page = await audit.page(house.core, actor=ACTOR, after=after, limit=4)
        rows += page["items"]
        after = page["next"]
        if not after:
            break
    assert [row["seq"] for row in rows] == list(range(1, sealed["size"] + 1))
    assert _root([bytes.fromhex(str(row["leaf_hash"])) for row in rows]).hex() == sealed["root"]
    assert str(sealed["size"]) in sealed["note"].splitlines()


def _root(hashes: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, written down as it stands there."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(_root(hashes[:split]), _root(hashes[split:]))


async def test_checkpoint_of_an_unchanged_log_is_the_same(house: House) -> None:
    first = await audit.checkpoint(house.core, actor=ACTOR)
    assert first == await audit.checkpoint(house.core, actor=ACTOR)
    assert first is not None
    assert first["root"] != Frontier().root().hex()


async def test_progress_is_told_beside_the_work_and_stops_nothing() -> None:
    """Not even when whoever listened has gone."""
    heard: list[object] = []

    async def hear(value: object) -> None:
        heard.append(value)
        raise ConnectionResetError

    before, telling.TELL_SECONDS = telling.TELL_SECONDS, 0.001
    try:
        async with telling.telling(hear, lambda: "half of it"):
            await asyncio.sleep(0.05)
    finally:
        telling.TELL_SECONDS = before
    assert heard == ["half of it"]
