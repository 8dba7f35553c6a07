"""Ready order -> rules -> signing core -> certificate, in two commits; finishes what a crash left.

    prepare (template, lints) → judge the to-be-signed bytes
      → commit 1: guards (credential, account, product, key), order `processing`, issuance reserved, audit
      → await the signature
      → commit 2: certificate, its state, order `valid`, audit

The guards of commit 1 are where a revocation bites: nothing begins to be signed after it. What
was past commit 1 when the process ended is signed again from its recorded bytes; signatures are deterministic, so it
is the identical certificate (policy/recovery.py).
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.crmf import read_recorded
from ca_core.csr import CertificationRequest
from ca_core.issuance import Decision, IssuedCertificate, Prepared
from ca_core.issuer import SignatureMismatch
from ca_core.ledger import IssuanceStage, serial_hex
from ca_core.status import CertificateState
from policy.audit import AuditEvent, AuditTag
from policy.authorizing import Authorizing
from policy.blocking import Blocking, asked_for
from policy.catalogue import Catalogue
from policy.credential import Credential, CredentialType, Principal
from policy.deciding import Deciding
from policy.dossier import Dossier
from policy.guards import GUARD_PROBLEMS
from policy.order import (
    NewOrder,
    Order,
    OrderEvent,
    OrderKind,
    OrderStatus,
    Step,
    StoredProblem,
    advance,
)
from policy.problems import (
    NotReady,
    Problem,
    Unavailable,
)
from policy.quotas import Quotas, spend
from policy.renaming import renamed
from policy.revocation import BLOCKED_KEY_JOB, CASCADE_JOB, CONFIRM_JOB
from policy.rules import Case
from policy.rules.approval import needs_approval
from policy.store import (
    CERTIFICATE,
    CREDENTIAL,
    ORDER,
    Conflict,
    Store,
    StoredCertificate,
    StoreUnavailable,
    Unit,
    stored_certificate,
    translate_conflict,
)
from policy.ticketing import Ticketing

_encode = msgspec.json.encode

RENEW_JOB = "renew"
"""The job of a certificate (serial) that the server renews by itself (policy.succession)."""
RETIRE_JOB = "retire"
"""The job of an order whose certificate takes the place of another one, which is revoked (policy.succession)."""

ERASE_KEY_JOB = "erase-key"
RECENT_CERTIFICATES = 1000
"""Certificates kept for the download that follows: their rows never change, so they cannot be stale."""
_log = structlog.get_logger("certgate.fulfilment")


class Fulfilment:
    """Takes an order from `ready` to its end."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        ca: CertificateAuthority,
        authorizing: Authorizing,
        quotas: Quotas,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._ca = ca
        self.deciding = Deciding(catalogue, ca, authorizing, Blocking(store, catalogue, clock), clock)
        self._ticketing = Ticketing(store, clock)
        self._quotas = quotas
        self._clock = clock
        self._recent: OrderedDict[str, tuple[StoredCertificate, bytes]] = OrderedDict()

    async def certificate(self, serial: str) -> tuple[StoredCertificate, bytes] | None:
        """A certificate by serial (hex); one that was issued here just now is not read from the store again."""
        known = self._recent.get(serial)
        if known is not None:
            return known
        return await self._store.one(CERTIFICATE, serial)

    def _remember(self, stored: StoredCertificate, der: bytes) -> None:
        self._recent[stored.serial] = stored, der
        if len(self._recent) > RECENT_CERTIFICATES:
            self._recent.popitem(last=False)

    # ----------------------------------------------------------------- the way of every order

    async def fulfil(
        self, principal: Principal, order: Order, request: CertificationRequest, *, placed: AuditEvent | None = None
    ) -> Order:
        """Judge, reserve, sign and record. The order comes back `valid`, `held`, or `processing` when signing waits.

        With `placed`, the order is a new one, not written yet (one-step protocols save a commit). Raises
        what the rules object to, NotReady, Forbidden; the stored order is then as it was.
        """
        fresh = placed is not None
        unit = Unit()
        now = self._clock()
        if order.status is not OrderStatus.READY:
            return self._again(order, request)
        if order.expires <= now:
            raise NotReady("the order has expired: place a new one")
        product = await self._catalogue.product_version(order.product, order.product_version)
        trace, prepared = await self.deciding.decide(principal.credential, order, product, request)
        if fresh and order.reference is not None:
            unit.reference_free(order.mount, order.credential, order.reference, now)
        if fresh and order.replaces is not None:
            unit.not_replaced(order.replaces)
        self._guard(unit, principal.credential, order, request, now, fresh=fresh)
        unit.code_spend(principal.code, order.id, now)
        await self._ticketing.use(order, unit, now)
        if placed is not None:
            unit.audit(placed)
        if fresh and order.sealed_key is not None:
            unit.schedule(ERASE_KEY_JOB, order.id, order.expires)
        why_held = needs_approval(Case(product, principal.credential, order.identifiers), order)
        if why_held and order.approved is None:
            whole = (*order.trace, *trace, Step("approval", "held", why_held))
            held = advance(order, OrderEvent.HOLD, now, csr=request.der, key_type=request.key_type, trace=whole)
            self._write(unit, held, fresh)
            unit.audit(_event(AuditTag.ORDER_HELD, now, str(principal.requester), order, {"why": why_held}))
            try:
                await self._store.commit(unit)
            except Conflict as conflict:
                return await self._conflicted(conflict, order, request)
            return held
        spend(unit, await self._catalogue.lineage(principal.credential.group), now)
        actor = str(principal.requester)
        return await self._issue(unit, order, OrderEvent.FINALIZE, request, prepared, trace, actor, fresh)

    async def approve(self, order: Order, approver: str) -> Order:
        """Issue a held order, after judging it again. Raises what the rules object to now, NotReady."""
        credential = await self._store.one(CREDENTIAL, order.credential)
        if order.status is not OrderStatus.HELD or order.csr is None or credential is None:
            raise NotReady(f'the order is "{order.status}": there is nothing to approve')
        if order.expires <= self._clock():
            raise NotReady("the order expired before anybody decided: it has to be placed anew")
        product = await self._catalogue.product_version(order.product, order.product_version)
        # Possession of the key was proven when the order was held; the bytes are the same.
        request = read_recorded(order.csr)
        if order.kind is not OrderKind.ENROLL and order.replaces is None:
            request = renamed(request)  # as it was judged when its holder renewed it; a successor has names of its own
        trace, prepared = await self.deciding.decide(credential, order, product, request)
        unit = Unit()
        self._guard(unit, credential, order, request, self._clock(), fresh=False)
        spend(unit, await self._catalogue.lineage(credential.group), self._clock())
        unit.audit(_event(AuditTag.ORDER_APPROVED, self._clock(), approver, order, {}))
        step = Step("approval", "approved", f"by {approver}")
        return await self._issue(unit, order, OrderEvent.APPROVE, request, prepared, (*trace, step), approver, False)

    def _again(self, order: Order, request: CertificationRequest) -> Order:
        """The same request for an order that is under way or done is the client asking again: it gets the order."""
        if order.csr == request.der and order.status in (
            OrderStatus.PROCESSING,
            OrderStatus.VALID,
            OrderStatus.HELD,
        ):
            return order
        owed = "" if order.status is not OrderStatus.PENDING else ": authorizations are still owed"
        raise NotReady(f'the order is "{order.status}", not "ready"{owed}')

    def _guard(
        self,
        unit: Unit,
        credential: Credential,
        order: Order,
        request: CertificationRequest,
        now: datetime,
        *,
        fresh: bool,
    ) -> None:
        """What has to hold inside the transaction of commit 1, however stale what was read before."""
        if credential.type is CredentialType.ACME or order.status is OrderStatus.HELD:
            # The uses of an ACME credential are its accounts; a held order was counted when it was held.
            unit.credential_active(credential.id, now)
        else:
            unit.credential_spend(credential.id, now)
        if order.account is not None:
            unit.account_valid(order.account)
            unit.not_account_key(request.spki)
        unit.authorizations_valid(order.authorizations if not fresh else (), now)
        if order.predecessor is not None:
            unit.certificate_valid(order.predecessor)
        unit.product_active(order.product)
        unit.mount_active(order.mount)
        unit.key_not_blocked(request.spki)
        unit.not_blocked(asked_for(order.identifiers, request), now)

    async def _issue(
        self,
        unit: Unit,
        order: Order,
        event: OrderEvent,
        request: CertificationRequest,
        prepared: Prepared,
        trace: tuple[Step, ...],
        actor: str,
        fresh: bool,
    ) -> Order:
        now = self._clock()
        if order.replaces is None and order.predecessor is None:
            self._quotas.take(order.identifiers)
        processing = advance(
            order, event, now, csr=request.der, key_type=request.key_type, trace=(*order.trace, *trace)
        )
        decision = Decision(order.id, prepared.digest, _encode(trace))
        token = self._ca.reserve(prepared, decision, unit)
        self._write(unit, processing, fresh)
        unit.audit(_event(AuditTag.ORDER_PROCESSING, now, actor, order, {"serial": token.id}))
        try:
            receipt = await self._store.commit(unit)
        except Conflict as conflict:
            return await self._conflicted(conflict, order, request)
        try:
            issued = await self._ca.sign(token, receipt)
        except (Unavailable, SignatureMismatch) as fault:
            # The key is busy, away or not the right one: somebody can mend that, so nothing is decided. Recovery signs
            # what was recorded.
            _log.error("signing failed, will be tried again", order=order.id, issuance=token.id, fault=str(fault))
            return processing
        except Problem as problem:
            return await self.void(processing, token.id, problem, actor)
        return await self.record(processing, issued, request.key_type, actor)

    async def record(
        self, order: Order, issued: IssuedCertificate, key_type: str, actor: str, note: AuditEvent | None = None
    ) -> Order:
        """Commit 2, with a further event. When the store fails, the order stays `processing`; recovery finishes it."""
        now = self._clock()
        serial = serial_hex(issued.serial)
        valid = advance(order, OrderEvent.ISSUE, now, issuer_id=issued.issuer_id, serial=serial)
        stored = stored_certificate(valid, issued, key_type, order.credential)
        unit = Unit()
        if order.confirm_seconds is None:
            self._ca.record(issued, unit)
        else:
            self._ca.record(issued, unit, state=CertificateState.UNCONFIRMED)
            # A client that has to ask again for what a person approved asks when it likes.
            held = any(step.rule == "approval" for step in order.trace)
            unit.schedule(
                CONFIRM_JOB, order.id, order.expires if held else now + timedelta(seconds=order.confirm_seconds)
            )
        unit.certificate(stored, issued.der)
        unit.save(valid)
        if note is not None:
            unit.audit(note)
        detail = {
            "order": order.id,
            "credential": order.credential,
            "product": f"{order.product} v{order.product_version}",
            "issuer": issued.issuer,
            "sha256": stored.sha256,
            "names": [str(name) for name in stored.names],
            "not_after": issued.not_after,
        }
        # Blocked while this was being signed: the same write finds out, and has it revoked like its siblings.
        unit.schedule_if_blocked(BLOCKED_KEY_JOB, stored.spki_sha256, now)
        credential = await self._catalogue.credential(order.credential)
        if credential is not None and credential.cascade is not None:
            # Revoked while this was being signed: it is recorded, and revoked like its siblings.
            unit.schedule(CASCADE_JOB, order.credential, now)
        if valid.dossier is not None:
            await self._look_ahead(valid.dossier, stored, unit, now)
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_ISSUED, now, actor, f"certificate:{serial}", detail))
        try:
            await self._store.commit(unit)
        except Conflict:
            # Recovery, or another server object, finished it first: the recorded outcome counts.
            return await self._stored(order)
        except StoreUnavailable:
            return order
        self._remember(stored, issued.der)
        return valid

    async def _look_ahead(self, dossier: Dossier, stored: StoredCertificate, unit: Unit, now: datetime) -> None:
        """What was wished for with the order, and follows on its certificate."""
        if dossier.tags:
            unit.tag(stored.serial, dossier.tags)
        if dossier.retire is not None:
            unit.schedule(RETIRE_JOB, stored.order, now)
        if dossier.automatic:
            product = await self._catalogue.product(stored.product)
            fraction = product.renewal_fraction if product is not None else 2 / 3
            unit.schedule(
                RENEW_JOB, stored.serial, stored.not_before + (stored.not_after - stored.not_before) * fraction
            )

    # ----------------------------------------------------------------- when it does not go straight

    def _write(self, unit: Unit, order: Order, fresh: bool) -> None:
        if fresh:
            unit.insert(order)
        else:
            unit.save(order)

    async def _conflicted(self, conflict: Conflict, order: Order, request: CertificationRequest) -> Order:
        """A guard was missed: another finalize was first, or somebody was revoked meanwhile."""
        now_stored = await self._store.one(ORDER, order.id)
        if (
            now_stored is not None
            and now_stored.status is not order.status
            and not _RACED.isdisjoint((conflict.statement, conflict.index))
        ):
            return self._again(now_stored, request)
        raise translate_conflict(conflict, GUARD_PROBLEMS) from conflict

    async def _stored(self, order: Order) -> Order:
        found = await self._store.one(ORDER, order.id)
        return order if found is None else found

    async def void(self, order: Order, issuance: str, problem: Problem, actor: str) -> Order:
        """Signing failed for good: the serial is void, the order ends, and both are written down together."""
        now = self._clock()
        failed = advance(order, OrderEvent.FAIL, now, problem=StoredProblem.of(problem))
        unit = Unit()
        unit.finish_issuance(issuance, IssuanceStage.VOID)
        unit.save(failed)
        detail = {"problem": problem.kind, "detail": problem.detail}
        unit.audit(AuditEvent(AuditTag.ISSUANCE_VOIDED, now, actor, f"issuance:{issuance}", detail))
        unit.audit(_event(AuditTag.ORDER_FAILED, now, actor, order, detail))
        try:
            await self._store.commit(unit)
        except (Conflict, StoreUnavailable):
            return await self._stored(order)
        return failed


_RACED = frozenset({"order_save", "issuance_insert", "issuance_order", "order_reference"})


def _event(tag: AuditTag, at: datetime, actor: str, order: Order, detail: dict[str, Any]) -> AuditEvent:
    return AuditEvent(tag, at, actor, f"order:{order.id}", detail)


def placed_event(order: Order, new: NewOrder, principal: Principal) -> AuditEvent:
    """The event of an order's placing."""
    detail = {
        "credential": order.credential,
        "product": f"{order.product} v{order.product_version}",
        "mount": order.mount,
        "kind": new.kind,
        "identifiers": [str(one) for one in order.identifiers],
        "address": principal.address,
    }
    return _event(AuditTag.ORDER_PLACED, order.created, str(principal.requester), order, detail)
