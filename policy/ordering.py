"""The life of an order step by step: draft, hand in, request now or later, agreement, cancel, try again.

For clients that take their time (REST, the command line). What is judged when, and how it is signed, is the business of
`placing` and `fulfilment`: here is only what happens between. A request that comes before its order is ready is kept,
and the certificate is made as soon as nothing is owed any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from ca_core.clock import Clock
from ca_core.crmf import read_recorded
from ca_core.csr import CertificationRequest
from policy.approval import Approval
from policy.audit import AuditEvent, AuditTag
from policy.authentication import standing_in
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.dossier import Agreement, Dossier, carried, completed
from policy.fulfilment import Fulfilment, placed_event
from policy.guards import GUARD_PROBLEMS
from policy.ids import OrderId, new_id
from policy.order import (
    Identifier,
    NewOrder,
    Order,
    OrderEvent,
    OrderStatus,
    StoredProblem,
    advance,
    amend,
)
from policy.placing import Placing, dossier_for
from policy.problems import (
    AccountUnknown,
    Internal,
    Malformed,
    NotReady,
    OrderConflict,
    Problem,
    RateLimited,
    Unavailable,
    UnknownOrder,
)
from policy.recovery import Recovery
from policy.refusals import Refusals
from policy.requirements import Requirement, requirements
from policy.rules import Case, judge
from policy.rules.standard import ON_REQUEST
from policy.sealing import fingerprint
from policy.store import ACCOUNT, CREDENTIAL, ORDER, Conflict, Store, Unit, translate_conflict
from policy.waiting import FINISH_JOB, WaitingOrders

DRAFT_LIFETIME = timedelta(days=30)
"""How long a draft is kept; handing it in gives the order its own time."""
FINISH_SECONDS = 60
"""After this long the worker finishes what the process that should have done it has left."""

_LATER = (Unavailable, Internal, RateLimited, OrderConflict)
"""Troubles that pass: an order whose request is kept is tried again, not ended."""


class Ordering:
    """Leads orders from draft to certificate. Whose order it is has been checked by whoever calls."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        placing: Placing,
        fulfilment: Fulfilment,
        approval: Approval,
        recovery: Recovery,
        waiting: WaitingOrders,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._placing = placing
        self._fulfilment = fulfilment
        self._approval = approval
        self._recovery = recovery
        self._waiting = waiting
        self._refusals = refusals
        self._clock = clock

    # ----------------------------------------------------------------- drafts

    async def draft(self, principal: Principal, new: NewOrder) -> Order:
        """Begin an order that is handed in later. Judged then; here only the product is chosen.

        Raises UnknownProduct, RateLimited, Forbidden.
        """
        async with self._refusals.noted(principal):
            known = await self._placing.known(principal, new)
            if known is not None:
                return known
            order = await self._drafted(principal, new)
            unit = Unit()
            self._placing.guard(principal, new, unit)
            unit.insert(order)
            unit.audit(self._event(AuditTag.ORDER_DRAFTED, order, str(principal.requester), product=order.product))
            await self._commit(unit)
            return order

    async def _drafted(self, principal: Principal, new: NewOrder) -> Order:
        now = self._clock()
        identifiers = _identifiers(new)
        product = await self._placing.product(principal, new, identifiers)
        return Order(
            id=OrderId(new_id()),
            owner=principal.owner,
            credential=principal.credential.id,
            requester=str(principal.requester),
            mount=principal.mount,
            product=product.name,
            product_version=product.version,
            kind=new.kind,
            status=OrderStatus.DRAFT,
            identifiers=identifiers,
            created=now,
            updated=now,
            expires=now + DRAFT_LIFETIME,
            account=principal.account.id if principal.account else None,
            profile=new.product,
            reference=new.reference,
            csr=new.request.der if new.request else None,
            key_type=new.request.key_type if new.request else None,
            not_before=new.not_before,
            not_after=new.not_after,
            replaces=new.replaces,
            predecessor=new.predecessor,
            dossier=dossier_for(product, new.dossier),
        )

    async def change(self, principal: Principal, order: Order, new: NewOrder) -> Order:
        """Put this in the place of what a draft says. Raises NotReady when it was handed in, UnknownProduct."""
        if order.status is not OrderStatus.DRAFT:
            raise NotReady(f'the order is "{order.status}": only a draft can be changed')
        fresh = await self._drafted(principal, new)
        dossier = fresh.dossier
        if order.dossier is not None and dossier is not None:
            dossier = carried(order.dossier, dossier, same=_wanted(fresh) == _wanted(order))
        changed = replace(
            fresh,
            id=order.id,
            created=order.created,
            expires=order.expires,
            reference=order.reference,
            version=order.version + 1,
            dossier=dossier,
        )
        unit = Unit()
        unit.save(changed)
        unit.audit(self._event(AuditTag.ORDER_CHANGED, changed, str(principal.requester), product=changed.product))
        await self._commit(unit)
        return changed

    async def submit(self, principal: Principal, order: Order) -> Order:
        """Hand in a draft: it is judged like an order placed now, and goes on by itself where nothing is owed.

        Raises NotReady for what is no draft, and what RegistrationAuthority.place raises.
        """
        async with self._refusals.noted(principal):
            if order.status is not OrderStatus.DRAFT:
                raise NotReady(f'the order is "{order.status}": it was handed in already')
            if order.expires <= self._clock():
                raise NotReady("the draft has expired: begin a new one")
            new = replace(as_new(order), reference=None)
            unit = Unit()
            self._placing.guard(principal, new, unit)
            fresh = await self._placing.draft(principal, new, unit)
            if new.request is not None:
                await self._judge(principal, fresh, new.request)
            now = self._clock()
            placed = advance(
                order,
                OrderEvent.SUBMIT,
                now,
                product=fresh.product,
                product_version=fresh.product_version,
                identifiers=fresh.identifiers,
                expires=fresh.expires,
                authorizations=fresh.authorizations,
                trace=fresh.trace,
                dossier=fresh.dossier,
            )
            unit.audit(placed_event(placed, new, principal))
            return await self._settled(placed, unit)

    # ----------------------------------------------------------------- in one call

    async def place(self, principal: Principal, new: NewOrder) -> Order:
        """An order, with its request where it has one: issued at once when nothing is owed, else it goes on later.

        The same `reference` gives the same order again. Raises what RegistrationAuthority.place and `enroll` raise.
        """
        async with self._refusals.noted(principal):
            known = await self._placing.known(principal, new)
            if known is not None:
                return known
            try:
                return await self._place(principal, new)
            except OrderConflict:
                # The same reference came twice at the same moment: the other one made the order.
                known = await self._placing.known(principal, new)
                if known is None:
                    raise
                return known

    async def _place(self, principal: Principal, new: NewOrder) -> Order:
        unit = Unit()
        self._placing.guard(principal, new, unit)
        request = new.request
        order = await self._placing.draft(principal, new, unit, judged=request is None)
        placed = placed_event(order, new, principal)
        at_once = order.status is OrderStatus.READY and not order.authorizations and new.replaces is None
        if request is not None and at_once:
            return await self._fulfilment.fulfil(principal, order, request, placed=placed)
        if request is not None:
            await self._judge(principal, order, request)
            order = replace(order, csr=request.der, key_type=request.key_type)
        unit.insert(order)
        unit.audit(placed)
        if request is not None and order.status is OrderStatus.READY:
            unit.schedule(FINISH_JOB, order.id, self._in(FINISH_SECONDS))
        await self._commit(unit)
        return await self.finish(order)

    async def hand_in(self, principal: Principal, order: Order, request: CertificationRequest) -> Order:
        """The certification request: issues an order that is ready, else it is kept until nothing is owed.

        Raises NotReady for an order that has ended, BadCSR and its kind; the order stays as it was then.
        """
        async with self._refusals.noted(principal):
            if order.status not in (OrderStatus.DRAFT, OrderStatus.PENDING):
                return await self._fulfilment.fulfil(principal, order, request)
            if order.status is OrderStatus.PENDING:
                await self._judge(principal, order, request)
            unit = Unit()
            unit.credential_active(order.credential, self._clock())
            digest = fingerprint(request.der)
            actor = str(principal.requester)
            unit.audit(self._event(AuditTag.ORDER_REQUEST_KEPT, order, actor, sha256=digest))
            return await self.settle(order, unit, csr=request.der, key_type=request.key_type)

    async def _judge(self, principal: Principal, order: Order, request: CertificationRequest) -> None:
        """What the rules object to in a request, told when it comes and not when it is needed."""
        product = await self._catalogue.product_version(order.product, order.product_version)
        groups = await self._catalogue.lineage(principal.credential.group)
        judge(Case(product, principal.credential, order.identifiers, groups, request), ON_REQUEST)

    async def agree(self, principal: Principal, order: Order, signer: str) -> Order:
        """Agree to the terms of the order's product, in somebody's name. Raises NotReady when there are none."""
        dossier = order.dossier
        if dossier is None or dossier.terms is None:
            raise NotReady("nobody has to agree to anything for this order")
        if not signer.strip():
            raise Malformed("say who agrees")
        if not dossier.owes_agreement:
            return order
        now, actor = self._clock(), str(principal.requester)
        agreement = Agreement(dossier.terms, signer.strip(), now, actor, principal.address)
        detail = {"terms": agreement.terms, "signer": agreement.signer, "address": agreement.address}
        unit = Unit()
        unit.audit(self._event(AuditTag.ORDER_AGREED, order, actor, **detail))
        return await self.settle(order, unit, dossier=completed(replace(dossier, agreement=agreement)))

    async def cancel(self, principal: Principal, order: Order, why: str) -> Order:
        """Withdraw an order that is not being signed. Raises NotReady, OrderConflict."""
        return await self._approval.withdraw(order, str(principal.requester), why)

    async def again(self, principal: Principal, order: Order) -> Order:
        """Try once more: go on with an order that is stuck, or place anew one that ended without a certificate.

        A status never changes back, so the second case gives a new order. Raises NotReady, and what `place` raises.
        """
        if order.status is OrderStatus.PROCESSING:
            await self._recovery.finish_order(order.id)
            return await self.current(order.id)
        if order.status is OrderStatus.READY and order.csr is not None:
            return await self.finish(order)
        if order.status not in (OrderStatus.INVALID, OrderStatus.CANCELLED):
            raise NotReady(f'the order is "{order.status}": there is nothing to try again')
        dossier = order.dossier
        if dossier is not None:
            dossier = Dossier(tags=dossier.tags, automatic=dossier.automatic, retire=dossier.retire)
        return await self.place(principal, replace(as_new(order), reference=None, dossier=dossier))

    # ----------------------------------------------------------------- going on

    async def current(self, order_id: str) -> Order:
        """The order as it is stored now. Raises UnknownOrder."""
        found = await self._store.one(ORDER, order_id)
        if found is None:
            raise UnknownOrder(f"there is no order {order_id}")
        return found

    async def owed(self, order: Order) -> tuple[Requirement, ...]:
        """What the order still owes."""
        product = await self._catalogue.product_version(order.product, order.product_version)
        return requirements(order, product, await self._waiting.read(order.authorizations), self._clock())

    async def settle(self, order: Order, unit: Unit, **changes: Any) -> Order:
        """Write these changes of an open order; it moves on, up to its certificate, when nothing is owed now.

        Raises NotReady for an order that has ended, OrderConflict when somebody else changed it meanwhile.
        """
        return await self._settled(amend(order, self._clock(), **changes), unit)

    async def _settled(self, changed: Order, unit: Unit) -> Order:
        unit.save(changed)
        await self._commit(unit)
        if changed.status is OrderStatus.PENDING and changed.complete:
            await self._waiting.look_at(changed)
            changed = await self.current(changed.id)
        return await self.finish(changed)

    async def finish(self, order: Order) -> Order:
        """Issue an order that is ready and whose request is kept; any other one stays as it is.

        Nobody waits for the answer who could mend the order: what the rules refuse now ends it. What is trouble of ours
        leaves it to the worker.
        """
        if order.status is not OrderStatus.READY or order.csr is None:
            return order
        try:
            return await self._finish(order, read_recorded(order.csr))
        except _LATER:
            return await self.current(order.id)
        except Problem as problem:
            return await self._fail(order, problem)

    async def _finish(self, order: Order, request: CertificationRequest) -> Order:
        credential = await self._store.one(CREDENTIAL, order.credential)
        if credential is None:
            raise AccountUnknown("the credential of the order is gone")
        account = await self._store.one(ACCOUNT, order.account or "")
        principal = standing_in(credential, order.mount, order.requester, account)
        return await self._fulfilment.fulfil(principal, order, request)

    async def finish_later(self, order_id: str) -> int | None:
        """The worker's part of `finish`: the seconds after which to look again, None when it is done."""
        order = await self.finish(await self.current(order_id))
        return FINISH_SECONDS if order.status is OrderStatus.READY and order.csr is not None else None

    async def _fail(self, order: Order, problem: Problem) -> Order:
        now = self._clock()
        failed = advance(order, OrderEvent.FAIL, now, problem=StoredProblem.of(problem))
        unit = Unit()
        unit.save(failed)
        detail = {"problem": problem.kind, "detail": problem.detail}
        unit.audit(self._event(AuditTag.ORDER_FAILED, failed, order.requester, **detail))
        try:
            await self._store.commit(unit)
        except Conflict:
            return await self.current(order.id)
        return failed

    async def _commit(self, unit: Unit) -> None:
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise translate_conflict(conflict, GUARD_PROBLEMS) from conflict

    def _event(self, tag: AuditTag, order: Order, actor: str, **detail: Any) -> AuditEvent:
        return AuditEvent(tag, self._clock(), actor, f"order:{order.id}", detail)

    def _in(self, seconds: int) -> datetime:
        return self._clock() + timedelta(seconds=seconds)


def _identifiers(new: NewOrder) -> tuple[Identifier, ...]:
    return tuple(dict.fromkeys(new.identifiers or (new.request.names if new.request else ())))


def _wanted(order: Order) -> tuple[object, ...]:
    """What a certificate would say, as far as an order says it."""
    return order.product, order.identifiers, order.csr, order.not_before, order.not_after


def as_new(order: Order) -> NewOrder:
    """What would have to be handed in to get this order again."""
    return NewOrder(
        kind=order.kind,
        product=order.product,
        identifiers=order.identifiers,
        request=read_recorded(order.csr) if order.csr is not None else None,
        not_before=order.not_before,
        not_after=order.not_after,
        reference=order.reference,
        replaces=order.replaces,
        predecessor=order.predecessor,
        dossier=order.dossier,
    )
