"""Commands about certificates that follow others, tags, blocks, and changes of many certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ca_core.status import RevocationReason
from gateway.commands.certificates import certificate_value, revocation_reason
from gateway.commands.order_steps import names_of, request_of, told
from gateway.commands.plain import moment, page_size, read_moment
from policy.access import Actor
from policy.authentication import standing_in
from policy.blocking import read_subject
from policy.bulk import BulkAction
from policy.inventory import Block, Bulk, CertificateFilter
from policy.problems import Malformed
from policy.succession import Successor

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


async def follow(
    core: Core,
    *,
    serial: str,
    actor: Actor,
    csr: str | None = None,
    names: list[str] | None = None,
    new_key: bool = False,
    retire: str | None = None,
    automatic: bool | None = None,
) -> dict[str, Any]:
    """Renew or reissue a certificate: the order of its successor. Raises Forbidden, AlreadyReplaced."""
    one = await core.lifecycle.certificate("certificate:renew", serial, actor)
    credential = await core.administration.credential(one.stored.credential)
    wanted = Successor(
        request=request_of(csr),
        identifiers=names_of(names) if names else None,
        new_key=new_key,
        retire=None if retire is None else revocation_reason(retire),
        automatic=automatic,
    )
    acting = standing_in(credential, one.stored.mount, actor.name)
    return await told(core, await core.lifecycle.succession.follow(acting, one.stored, wanted))


async def tag(core: Core, *, serial: str, tags: list[str], actor: Actor) -> dict[str, Any]:
    """Give a certificate these tags and no others."""
    return {"serial": serial, "tags": list(await core.inventory.tag(serial, tags, actor))}


# --------------------------------------------------------------------------- blocks


def _block(core: Core, one: Block) -> dict[str, Any]:
    return {
        "id": one.id,
        "subject": one.subject,
        "status": one.said(core.clock()),
        "why": one.why,
        "actor": one.actor,
        "at": moment(one.at),
        "until": moment(one.until),
        "certificate": one.certificate,
    }


async def block_add(
    core: Core, *, kind: str, value: str, actor: Actor, why: str = "", until: str | None = None
) -> dict[str, Any]:
    """Block a name, domain or key. Raises Malformed."""
    subject = read_subject(kind, value)
    made = await core.lifecycle.blocking.block(subject, why or "no reason was given", actor, read_moment(until))
    return _block(core, made)


async def block_lift(core: Core, *, id: str, actor: Actor, why: str = "") -> dict[str, Any]:
    """Let it be certified again. Raises UnknownOrder, OrderConflict."""
    return _block(core, await core.lifecycle.blocking.lift(id, actor, why))


async def block_page(
    core: Core, *, actor: Actor, after: str = "", limit: int = 500, status: str = "", text: str = ""
) -> dict[str, Any]:
    """Blocks, newest first."""
    actor.check("block:read")
    size = page_size(limit)
    found = await core.lifecycle.blocking.page(after, size, status=status, text=text)
    return {"items": [_block(core, one) for one in found], "next": found[-1].id if len(found) == size else ""}


# --------------------------------------------------------------------------- many certificates


def _filter(filter: dict[str, str]) -> CertificateFilter:
    values: dict[str, Any] = {key: value for key, value in filter.items() if value}
    for key in ("expires_before", "expires_from"):
        if key in values:
            values[key] = read_moment(values[key])
    if "group" in values:
        values["groups"] = (values.pop("group"),)
    try:
        return CertificateFilter(**values)
    except TypeError as fault:
        raise Malformed(f"no such filter: {fault}") from fault


def _action(name: str) -> BulkAction:
    try:
        return BulkAction(name)
    except ValueError as fault:
        raise Malformed(f'"{name}" is nothing that can be done to many; what can: {", ".join(BulkAction)}') from fault


def _bulk(one: Bulk) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return {key: value for key, value in plain.items() if key not in ("newest", "after", "version")}


async def bulk_preview(core: Core, *, action: str, filter: dict[str, str], actor: Actor) -> dict[str, Any]:
    """What a change of many certificates would come to. Raises Malformed, Forbidden."""
    seen = await core.lifecycle.bulks.preview(_action(action), _filter(filter), actor)
    now = core.clock()
    return {
        "matched": seen.matched,
        "changed": seen.changed,
        "passed": seen.passed,
        "products": seen.products,
        "sample": [certificate_value(one, now) for one in seen.sample],
    }


async def bulk_begin(
    core: Core, *, action: str, filter: dict[str, str], expected: int, actor: Actor, reason: str | None = None
) -> dict[str, Any]:
    """Have it done, by the running server. Raises OrderConflict when it is not as many as expected."""
    why: RevocationReason | None = None if reason is None else revocation_reason(reason)
    return _bulk(await core.lifecycle.bulks.begin(_action(action), _filter(filter), expected, actor, why))


async def bulk_show(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """How far a change has come."""
    return _bulk(await core.lifecycle.bulks.find(id, actor))


async def bulk_page(core: Core, *, actor: Actor, after: str = "", limit: int = 500) -> dict[str, Any]:
    """Changes, newest first."""
    size = page_size(limit)
    found = await core.lifecycle.bulks.page(actor, after, size)
    return {"items": [_bulk(one) for one in found], "next": found[-1].id if len(found) == size else ""}


COMMANDS: dict[str, Command] = {
    "cert.follow": follow,
    "cert.tag": tag,
    "block.add": block_add,
    "block.lift": block_lift,
    "block.page": block_page,
    "bulk.preview": bulk_preview,
    "bulk.begin": bulk_begin,
    "bulk.show": bulk_show,
    "bulk.page": bulk_page,
}
