"""Transactions of several messages: what a client says of its certificate after it was issued (RFC 9810 section 5.3).

Until the client has accepted it, a certificate is `unconfirmed`: not listed, not "good", and good for nothing. A client
that rejects it, or says nothing in time, leaves no valid certificate behind. A reference names one transaction: what
is no order uses it up here, an order by itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.ledger import serial_hex
from ca_core.status import CertificateState, RevocationReason
from policy.audit import AuditEvent, AuditTag, read_leaf
from policy.credential import Principal
from policy.order import Order
from policy.problems import Forbidden, NotReady, OrderConflict, Problem, UnknownCertificate
from policy.refusals import Refusals
from policy.revocation import CONFIRM_JOB, CRL_JOB, Revocation
from policy.store import (
    AUDIT_OF_OBJECT,
    CERTIFICATE,
    CERTIFICATE_STATUS,
    ORDER,
    ORDER_BY_REFERENCE,
    ORDER_REPLACING,
    Conflict,
    Store,
    StoredCertificate,
    Unit,
)

SWEEPER = "system:confirmation"
EVENTS_AT_ONCE = 100
MAX_SERIAL = 1 << 160
"""RFC 5280 section 4.1.2.2: twenty octets."""


class Transactions:
    """Finds, confirms, rejects and ends transactions."""

    def __init__(
        self, store: Store, ca: CertificateAuthority, revocation: Revocation, refusals: Refusals, clock: Clock
    ) -> None:
        self._store = store
        self._ca = ca
        self._revocation = revocation
        self._refusals = refusals
        self._clock = clock

    # ----------------------------------------------------------------- orders and their certificates

    async def find(self, principal: Principal, reference: str) -> Order | None:
        """The order of this principal's credential that the reference names, open or within the replay window."""
        now = int(self._clock().timestamp())
        return await self._store.one(ORDER_BY_REFERENCE, principal.mount, principal.credential.id, reference, now)

    async def state(self, serial: str | None) -> CertificateState | None:
        """What became of a certificate; None when there is none."""
        status = await self._store.one(CERTIFICATE_STATUS, serial or "")
        return status.state if status is not None else None

    async def successor(self, serial: str) -> Order | None:
        """The order, open or valid, whose certificate replaces this one."""
        return await self._store.one(ORDER_REPLACING, serial)

    async def confirm(self, principal: Principal, order: Order) -> None:
        """The client accepted its certificate: it is valid from now on. Raises NotReady when it is not unconfirmed."""
        if order.serial is None or order.issuer_id is None:
            raise NotReady("the order has no certificate that could be confirmed")
        now, actor = self._clock(), str(principal.requester)
        unit = Unit()
        self._ca.confirm(order.issuer_id, int(order.serial, 16), now, unit)
        unit.schedule(CONFIRM_JOB, order.id, None)
        detail = {"order": order.id}
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_CONFIRMED, now, actor, f"certificate:{order.serial}", detail))
        await self._settle(unit)

    async def reject(self, principal: Principal, order: Order, why: str) -> None:
        """The client does not want its certificate: it is revoked. Raises NotReady when it is not unconfirmed."""
        await self._discard(order, why, str(principal.requester))

    async def sweep(self, order_id: str) -> None:
        """The time for accepting the certificate of this order is over."""
        order = await self._store.one(ORDER, order_id)
        if order is not None and await self.state(order.serial) is CertificateState.UNCONFIRMED:
            await self._discard(order, "not confirmed in time", SWEEPER)

    async def _discard(self, order: Order, why: str, actor: str) -> None:
        found = await self._store.one(CERTIFICATE, order.serial or "")
        if found is None:
            raise NotReady("the order has no certificate that could be rejected")
        stored, now = found[0], self._clock()
        unit = Unit()
        self._ca.discard(stored.issuer_id, int(stored.serial, 16), now, unit)
        unit.schedule(CONFIRM_JOB, order.id, None)
        unit.schedule(CRL_JOB, f"{stored.issuer_id}/{stored.shard}", now)
        if order.replaces is not None:
            # What it would have replaced has no successor: it may be renewed again.
            unit.save(replace(order, replaces=None, updated=now, version=order.version + 1))
        reason = RevocationReason.CESSATION_OF_OPERATION
        detail = {"reason": reason.value, "issuer": stored.issuer, "order": order.id, "why": why}
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_REVOKED, now, actor, f"certificate:{stored.serial}", detail))
        await self._settle(unit)

    async def _settle(self, unit: Unit) -> None:
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise NotReady("the certificate was confirmed or revoked already") from conflict

    async def remember(self, order: Order, transaction: dict[str, Any], *, delivered: bool) -> Order:
        """Keep what the door knows of the transaction now; with `delivered` the time for accepting begins.

        Raises OrderConflict when the order changed meanwhile.
        """
        now = self._clock()
        changed = replace(order, transaction=transaction, updated=now, version=order.version + 1)
        unit = Unit()
        unit.save(changed)
        if delivered and order.confirm_seconds is not None:
            unit.schedule(CONFIRM_JOB, order.id, now + timedelta(seconds=order.confirm_seconds))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the order changed at the same moment: ask again") from conflict
        return changed

    # ----------------------------------------------------------------- transactions without an order

    async def spend(
        self, principal: Principal, reference: str, until: datetime, refused: Problem | None = None
    ) -> None:
        """Use a reference up, with what the door refused in it. Raises OrderConflict when it was used before."""
        unit = Unit()
        self._spend(unit, principal, reference, until)
        if refused is not None:
            unit.audit(self._refusals.event(principal, refused))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the transaction is known already: begin a new one") from conflict

    def _spend(self, unit: Unit, principal: Principal, reference: str, until: datetime) -> None:
        """Guard that no order and nothing else used the reference, and use it up."""
        mount, credential, now = principal.mount, principal.credential.id, self._clock()
        unit.reference_free(mount, credential, reference, now)
        unit.once(f"{mount} {credential}", reference, now, until)

    async def certificate(self, serial: int) -> tuple[StoredCertificate, bytes] | None:
        """A certificate by serial number, whoever has it, with its DER."""
        if not 0 < serial < MAX_SERIAL:
            return None
        return await self._store.one(CERTIFICATE, serial_hex(serial))

    async def revoke(
        self, principal: Principal, stored: StoredCertificate, reason: RevocationReason, reference: str, until: datetime
    ) -> None:
        """Revoke, suspend or reinstate a certificate of the principal's credential, and use the reference up.

        Raises UnknownCertificate, AlreadyRevoked, OrderConflict (the reference was used, or the certificate is in
        another state), Forbidden: whoever holds a certificate ends only a suspension of its own.
        """
        async with self._refusals.noted(principal):
            if stored.credential != principal.credential.id:
                raise UnknownCertificate("the certificate is none of this credential's")
            unit, actor = Unit(), str(principal.requester)
            self._spend(unit, principal, reference, until)
            if reason is RevocationReason.CERTIFICATE_HOLD:
                await self._revocation.hold(stored, actor, unit)
            elif reason is RevocationReason.REMOVE_FROM_CRL:
                if principal.certificate == stored.serial and await self._held_by(stored.serial) != actor:
                    raise Forbidden("somebody else suspended the certificate: its holder cannot end that")
                await self._revocation.release(stored, actor, unit)
            else:
                await self._revocation.revoke(stored, reason, actor, unit=unit)

    async def _held_by(self, serial: str) -> str | None:
        """Who suspended a certificate last."""
        holder, after = None, ""
        while rows := await self._store.many(AUDIT_OF_OBJECT, f"certificate:{serial}", after, EVENTS_AT_ONCE):
            events = [read_leaf(row.leaf) for row in rows]
            holder = next((one.actor for one in reversed(events) if one.tag is AuditTag.CERTIFICATE_HELD), holder)
            after = str(rows[-1].seq)
        return holder
