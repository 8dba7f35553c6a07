"""Commands about certificates: look at them, list and export them, revoke, hold and release."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ca_core.names import subject_text
from ca_core.status import CertificateState, RevocationReason
from gateway.commands.plain import event_value, moment, page_size, pem, read_moment
from policy.access import NOBODY, Actor
from policy.blocking import BlockKind
from policy.inventory import ListedCertificate
from policy.problems import BadRevocationReason, Malformed
from policy.store import SERVICE, Demand

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


def certificate_value(one: ListedCertificate, now: datetime) -> dict[str, Any]:
    """A certificate with its state; `revoked_at` and `reason` say since when and why it is not good."""
    stored, status = one.stored, one.status
    gone = status if status is not None and status.state is not CertificateState.VALID else None
    return {
        "serial": stored.serial,
        "status": one.said(now),
        "subject": subject_text(stored.subject),
        "names": [str(name) for name in stored.names],
        "not_before": moment(stored.not_before),
        "not_after": moment(stored.not_after),
        "issuer": stored.issuer,
        "issuer_id": stored.issuer_id,
        "product": stored.product,
        "profile": stored.profile,
        "profile_version": stored.profile_version,
        "key_type": stored.key_type,
        "credential": stored.credential,
        "owner": stored.owner,
        "mount": stored.mount,
        "order": stored.order,
        "replaces": stored.replaces,
        "revoked_at": moment(gone.at) if gone else None,
        "reason": gone.reason.value if gone and gone.reason else None,
        "sha256": stored.sha256,
        "spki_sha256": stored.spki_sha256,
        "pem": pem(one.der),
    }


async def show(core: Core, *, serial: str, actor: Actor) -> dict[str, Any]:
    """One certificate with its chain and everything that was written down about it. Raises UnknownCertificate."""
    actor.check("certificate:read", NOBODY)
    one = await core.inventory.certificate(serial)
    issuer = core.ca.issuer_by_id(one.stored.issuer_id)
    events = await core.inventory.events(f"certificate:{one.stored.serial}")
    return {
        **certificate_value(one, core.clock()),
        "credential_identifier": await _identifier(core, one.stored.credential),
        "chain": [pem(der) for der in issuer.chain_der] if issuer is not None else [],
        "events": [event_value(event) for event in events],
    }


async def _identifier(core: Core, credential: str) -> str | None:
    """What the credential is called; the service's own certificates have none."""
    return None if credential == SERVICE else (await core.administration.credential(credential)).identifier


async def page(
    core: Core, *, actor: Actor, after: str = "", limit: int = 500, credential: str = "", text: str = ""
) -> dict[str, Any]:
    """Certificates, newest first, and where the next page begins ("" at the end)."""
    actor.check("certificate:read", NOBODY)
    if credential and credential != SERVICE:
        credential = (await core.administration.credential(credential)).id
    size = page_size(limit)
    found = await core.inventory.certificate_page(after, size, credential=credential, text=text)
    now = core.clock()
    return {
        "items": [certificate_value(one, now) for one in found],
        "next": found[-1].stored.serial if len(found) == size else "",
    }


async def revoke(
    core: Core,
    *,
    serial: str,
    actor: Actor,
    reason: str = "unspecified",
    block: list[str] | None = None,
    invalidity_date: str | None = None,
) -> dict[str, Any]:
    """Revoke for good; `block` has kinds of blocks that keep it from being issued again.

    Raises UnknownCertificate, AlreadyRevoked, BadRevocationReason, Malformed.
    """
    actor.check("certificate:revoke")
    one = await core.inventory.certificate(serial)
    unknown = set(block or ()) - set(BlockKind)
    if unknown:
        raise Malformed(f"what can be blocked is {', '.join(BlockKind)}, not {', '.join(sorted(unknown))}")
    await core.supervision.revoke(
        one.stored.serial,
        revocation_reason(reason),
        actor,
        block=tuple(map(BlockKind, block or ())),
        invalidity_date=read_moment(invalidity_date),
    )
    return await _now(core, one)


async def hold(core: Core, *, serial: str, actor: Actor) -> dict[str, Any]:
    """Suspend. Raises UnknownCertificate, AlreadyRevoked, OrderConflict."""
    actor.check("certificate:hold")
    one = await core.inventory.certificate(serial)
    await core.supervision.hold(one.stored.serial, actor)
    return await _now(core, one)


async def release(core: Core, *, serial: str, actor: Actor) -> dict[str, Any]:
    """Reinstate a suspended certificate. Raises UnknownCertificate, AlreadyRevoked, OrderConflict."""
    actor.check("certificate:hold")
    one = await core.inventory.certificate(serial)
    await core.supervision.release(one.stored.serial, actor)
    return await _now(core, one)


async def renew_now(
    core: Core,
    *,
    actor: Actor,
    serials: list[str] | None = None,
    product: str | None = None,
    explanation_url: str | None = None,
    why: str = "",
) -> list[dict[str, Any]]:
    """Have certificates renewed before their time: these, or all of a product. Raises Malformed, UnknownCertificate."""
    made = await core.renewal.demand(
        actor,
        why=why or "no reason was given",
        serials=serials or (),
        product=product,
        explanation_url=explanation_url,
    )
    return [demand_value(one) for one in made]


async def renew_later(
    core: Core, *, actor: Actor, serials: list[str] | None = None, product: str | None = None
) -> list[dict[str, Any]]:
    """Take such demands back; what is left of them. Raises UnknownCertificate, OrderConflict."""
    await core.renewal.withdraw(actor, serials=serials or (), product=product)
    return await demands(core, actor=actor)


async def demands(core: Core, *, actor: Actor) -> list[dict[str, Any]]:
    """What is to be renewed before its time."""
    actor.check("certificate:read", NOBODY)
    return [demand_value(one) for one in await core.renewal.demands()]


def demand_value(one: Demand) -> dict[str, Any]:
    """A demand to renew."""
    return {
        "object": one.object,
        "at": moment(one.at),
        "why": one.why,
        "actor": one.actor,
        "explanation_url": one.explanation_url,
    }


async def _now(core: Core, one: ListedCertificate) -> dict[str, Any]:
    return certificate_value(await core.inventory.certificate(one.stored.serial), core.clock())


def revocation_reason(name: str) -> RevocationReason:
    """The reason with this name. Raises BadRevocationReason."""
    try:
        return RevocationReason(name)
    except ValueError as fault:
        known = ", ".join(RevocationReason)
        raise BadRevocationReason(f'"{name}" is no reason; there are {known}') from fault


def cascade_reason(name: str | None) -> RevocationReason | None:
    """The reason for which certificates are revoked along with their credential. Raises Malformed."""
    if name is None:
        return None
    reason = revocation_reason(name)
    if reason in (RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL):
        raise Malformed(f'"{name}" does not revoke a certificate')
    return reason


COMMANDS: dict[str, Command] = {
    "cert.show": show,
    "cert.page": page,
    "cert.revoke": revoke,
    "cert.hold": hold,
    "cert.release": release,
    "cert.renew-now": renew_now,
    "cert.renew-later": renew_later,
    "cert.demands": demands,
}
