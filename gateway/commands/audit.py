"""Commands about the audit log: read, verify, export, sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.commands.plain import event_value, moment, page_size
from gateway.commands.telling import telling
from policy.access import NOBODY, Actor
from policy.audit import Checkpoint, Frontier, leaf, leaf_hash, note
from policy.sealer import ORIGIN
from policy.store import CHECKPOINT

if TYPE_CHECKING:
    from gateway.admin import Progress
    from gateway.app import Core
    from gateway.commands import Command


async def page(core: Core, *, actor: Actor, after: int = 0, limit: int = 500) -> dict[str, Any]:
    """Events in their order after the one with this number, and where the next page begins (0 at the end).

    `leaf_hash` is the hash of the event's place in the Merkle tree; the leaf itself is the canonical JSON of the
    other members but `seq`.
    """
    actor.check("audit:read", NOBODY)
    size = page_size(limit)
    found = await core.inventory.audit_page(after, size)
    items = [{"seq": seq, **event_value(event), "leaf_hash": leaf_hash(leaf(event)).hex()} for seq, event in found]
    return {"items": items, "next": found[-1][0] if len(found) == size else 0}


async def size(core: Core, *, actor: Actor) -> dict[str, Any]:
    """How many events there are, and up to which one they are sealed."""
    actor.check("audit:read", NOBODY)
    last = await core.store.one(CHECKPOINT)
    return {"size": await core.inventory.audit_size(), "sealed": last.size if last is not None else 0}


async def show(
    core: Core, *, actor: Actor, after: int | None = None, limit: int = 20, object: str = ""
) -> list[dict[str, Any]]:
    """The newest events; or those after a number; or those of one object ("order:…"). In their order."""
    actor.check("audit:read", NOBODY)
    if object:
        return [event_value(event) for event in (await core.inventory.events(object))[-limit:]]
    if after is None:
        after = max(0, await core.inventory.audit_size() - limit)
    found = await core.inventory.audit_page(after, page_size(limit))
    return [{"seq": seq, **event_value(event)} for seq, event in found]


async def verify(core: Core, *, actor: Actor, progress: Progress) -> dict[str, Any]:
    """Read the whole log and compare it with its checkpoints, and the certificates with their events."""
    actor.check("audit:read", NOBODY)
    total, done = await core.inventory.audit_size(), 0

    def note_progress(events: int) -> None:
        nonlocal done
        done = events

    def said() -> str:
        return f"{done} of {total} events verified"

    async with telling(progress, said):
        found = await core.sealer.verify(note_progress)
    return {
        "events": found.events,
        "checkpoints": found.checkpoints,
        "sealed": found.sealed,
        "problems": found.problems,
    }


async def checkpoint(core: Core, *, actor: Actor) -> dict[str, Any] | None:
    """Sign the log as it stands, and give the newest checkpoint; None for an empty log."""
    actor.check("audit:seal", NOBODY)
    await core.sealer.seal()
    last = await core.store.one(CHECKPOINT)
    return None if last is None else checkpoint_value(last)


def checkpoint_value(one: Checkpoint) -> dict[str, Any]:
    """A checkpoint: `note` is what the signature is over."""
    frontier = Frontier(one.size, one.roots)
    return {
        "size": one.size,
        "root": one.root.hex(),
        "at": moment(one.at),
        "key_id": one.key_id,
        "note": note(ORIGIN, frontier, one.at).decode(),
        "signature": one.signature.hex(),
    }


COMMANDS: dict[str, Command] = {
    "audit.page": page,
    "audit.size": size,
    "audit.show": show,
    "audit.verify": verify,
    "audit.checkpoint": checkpoint,
}
