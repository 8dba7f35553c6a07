"""Approve and reject held orders; nobody approves what they asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.dossier import Dossier, Vote
from policy.fulfilment import Fulfilment
from policy.order import Order, OrderEvent, OrderStatus, Step, StoredProblem, advance, amend
from policy.problems import Forbidden, NotReady, OrderConflict, UnknownOrder
from policy.product import Product
from policy.store import CREDENTIAL, ORDER, PRODUCT_VERSION, Conflict, Store, Unit


class Approval:
    """What a person decides about a held order."""

    def __init__(self, store: Store, fulfilment: Fulfilment, clock: Clock) -> None:
        self._store = store
        self._fulfilment = fulfilment
        self._clock = clock

    async def approve(self, order_id: str, approver: str) -> Order:
        """Issue a held order. Raises UnknownOrder, NotReady, Forbidden (its requester), what the rules object to.

        A ticket has no request yet: it is granted, and the client's next order for its names is issued.
        """
        order = await self._held(order_id, approver)
        if order.expires <= self._clock():
            raise NotReady("the order expired before anybody decided: it has to be placed anew")
        product = await self._store.one(PRODUCT_VERSION, order.product, order.product_version)
        if product is not None and product.approvers and _person(approver) not in _users(product.approvers):
            raise Forbidden(f'orders of product "{order.product}" are approved by {", ".join(product.approvers)}')
        if product is not None and product.approvals > 1:
            order, enough = await self._vote(order, approver, product.approvals)
            if not enough:
                return order
        if order.csr is None and order.ticket:
            return await self._grant(order, product, approver)
        return await self._fulfilment.approve(order, approver)

    async def _vote(self, order: Order, approver: str, needed: int) -> tuple[Order, bool]:
        """The order with this person's vote, and whether that is enough. Voting twice counts once.

        The vote that makes enough of them is written with the approval that it leads to.
        """
        dossier = order.dossier or Dossier()
        voters = {_person(one.approver) for one in dossier.votes}
        if _person(approver) in voters:
            return order, False
        now = self._clock()
        step = Step("approval", "approved", f"by {approver}, {len(voters) + 1} of {needed}")
        voted = replace(dossier, votes=(*dossier.votes, Vote(approver, now)))
        order = replace(order, dossier=voted, trace=(*order.trace, step))
        if len(voters) + 1 >= needed:
            return order, True
        order = amend(order, now)
        unit = Unit()
        unit.save(order)
        detail = {"votes": len(voters) + 1, "needed": needed}
        unit.audit(AuditEvent(AuditTag.ORDER_VOTED, now, approver, f"order:{order.id}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("somebody else decided at the same moment: vote again") from conflict
        return order, False

    async def _grant(self, ticket: Order, product: Product | None, approver: str) -> Order:
        now = self._clock()
        seconds = product.ticket_seconds if product is not None else 0
        step = Step("approval", "approved", f"by {approver}, as {ticket.id}")
        until = now + timedelta(seconds=seconds)
        granted = advance(ticket, OrderEvent.GRANT, now, expires=until, trace=(*ticket.trace, step))
        unit = Unit()
        unit.save(granted)
        detail = {"until": until}
        unit.audit(AuditEvent(AuditTag.ORDER_APPROVED, now, approver, f"order:{ticket.id}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the order was decided at the same time") from conflict
        return granted

    async def reject(self, order_id: str, approver: str, why: str) -> Order:
        """End a held order. Raises UnknownOrder, NotReady, OrderConflict."""
        order = await self._held(order_id, approver)
        now = self._clock()
        problem = StoredProblem.of(Forbidden(f"the order was rejected: {why}"))
        rejected = advance(order, OrderEvent.FAIL, now, problem=problem)
        unit = Unit()
        unit.save(rejected)
        unit.audit(AuditEvent(AuditTag.ORDER_FAILED, now, approver, f"order:{order.id}", {"rejected": why}))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the order was decided at the same time") from conflict
        return rejected

    async def cancel(self, order_id: str, actor: str, why: str) -> Order:
        """Withdraw an order that is not being signed. Raises UnknownOrder, NotReady, OrderConflict."""
        order = await self._store.one(ORDER, order_id)
        if order is None:
            raise UnknownOrder(f"there is no order {order_id}")
        now = self._clock()
        cancelled = advance(order, OrderEvent.CANCEL, now)
        unit = Unit()
        unit.save(cancelled)
        unit.audit(AuditEvent(AuditTag.ORDER_CANCELLED, now, actor, f"order:{order.id}", {"why": why}))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the order moved on at the same time") from conflict
        return cancelled

    async def _held(self, order_id: str, approver: str) -> Order:
        order = await self._store.one(ORDER, order_id)
        if order is None:
            raise UnknownOrder(f"there is no order {order_id}")
        if order.status is not OrderStatus.HELD:
            raise NotReady(f'the order is "{order.status}": nothing waits for a decision')
        await check_foreign(self._store, order, approver)
        return order


async def check_foreign(store: Store, order: Order, decider: str) -> None:
    """That who decides about an order is not who asked for it. Raises Forbidden."""
    credential = await store.one(CREDENTIAL, order.credential)
    theirs = {order.requester, f"user:{credential.user}" if credential is not None else ""}
    if _person(decider) in theirs:
        raise Forbidden("nobody decides about their own order")


def _users(names: tuple[str, ...]) -> set[str]:
    return {f"user:{one}" for one in names}


def _person(actor: str) -> str:
    """Who acts, whatever the way: "user:alice@cli" is the same alice as "user:alice"."""
    return actor.removesuffix("@cli")
