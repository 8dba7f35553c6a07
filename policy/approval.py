"""Approve and reject held orders; nobody approves what they asked for."""

from __future__ import annotations

import re
from datetime import timedelta

from msgspec.structs import replace

from ca_core.clock import Clock
from policy.access import Actor, Owned
from policy.audit import AuditEvent, AuditTag, read_leaf
from policy.dossier import Dossier, Vote
from policy.fulfilment import Fulfilment
from policy.order import Order, OrderEvent, OrderStatus, Step, StoredProblem, advance, amend
from policy.people import owned_through
from policy.problems import Forbidden, NotReady, OrderConflict, UnknownOrder
from policy.product import Product
from policy.store import AUDIT_OF_OBJECT, ORDER, PRODUCT_VERSION, Conflict, Store, Unit

_HANDS = frozenset(
    {
        AuditTag.ORDER_DRAFTED,
        AuditTag.ORDER_CHANGED,
        AuditTag.ORDER_PLACED,
        AuditTag.ORDER_REQUEST_KEPT,
        AuditTag.ORDER_HELD,
        AuditTag.DOCUMENT_RECEIVED,
    }
)
"""Events of an order whose actor said what is wanted, or brought something for it."""
_EVENTS_AT_ONCE = 100


class Approval:
    """What a person decides about a held order."""

    def __init__(self, store: Store, fulfilment: Fulfilment, clock: Clock) -> None:
        self._store = store
        self._fulfilment = fulfilment
        self._clock = clock

    async def approve(self, order_id: str, actor: Actor) -> Order:
        """Issue a held order. Raises UnknownOrder, NotReady, Forbidden (its requester), what the rules object to.

        A ticket has no request yet: it is granted, and the client's next order for its names is issued.
        """
        order = await self._held(order_id, actor)
        if order.expires <= self._clock():
            raise NotReady("the order expired before anybody decided: it has to be placed anew")
        product = await self._store.one(PRODUCT_VERSION, order.product, order.product_version)
        if product is not None and product.approvers and actor.user not in product.approvers:
            raise Forbidden(f'orders of product "{order.product}" are approved by {", ".join(product.approvers)}')
        if product is not None and product.approvals > 1:
            order, enough = await self._vote(order, actor, product.approvals)
            if not enough:
                return order
        if order.csr is None and order.ticket:
            return await self._grant(order, product, actor.name)
        return await self._fulfilment.approve(order, actor.name)

    async def _vote(self, order: Order, actor: Actor, needed: int) -> tuple[Order, bool]:
        """The order with this person's vote, and whether that is enough. Voting twice counts once.

        The vote that makes enough of them is written with the approval that it leads to.
        """
        dossier = order.dossier or Dossier()
        voters = {one.approver for one in dossier.votes}
        voter = f"user:{actor.user}"
        if voter in voters:
            return order, False
        now = self._clock()
        step = Step("approval", "approved", f"by {actor.name}, {len(voters) + 1} of {needed}")
        voted = replace(dossier, votes=(*dossier.votes, Vote(voter, now)))
        order = replace(order, dossier=voted, trace=(*order.trace, step))
        if len(voters) + 1 >= needed:
            return order, True
        order = amend(order, now)
        unit = Unit()
        unit.save(order)
        detail = {"votes": len(voters) + 1, "needed": needed}
        unit.audit(AuditEvent(AuditTag.ORDER_VOTED, now, actor.name, f"order:{order.id}", detail))
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

    async def reject(self, order_id: str, actor: Actor, why: str) -> Order:
        """End a held order. Raises UnknownOrder, NotReady, OrderConflict."""
        order = await self._held(order_id, actor)
        now = self._clock()
        problem = StoredProblem.of(Forbidden(f"the order was rejected: {why}"))
        rejected = advance(order, OrderEvent.FAIL, now, problem=problem)
        unit = Unit()
        unit.save(rejected)
        unit.audit(AuditEvent(AuditTag.ORDER_FAILED, now, actor.name, f"order:{order.id}", {"rejected": why}))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the order was decided at the same time") from conflict
        return rejected

    async def cancel(self, order_id: str, actor: Actor, why: str) -> Order:
        """Withdraw an order that is not being signed. Raises UnknownOrder, NotReady, OrderConflict."""
        order, _ = await self._find("order:cancel", order_id, actor)
        return await self.withdraw(order, actor.name, why)

    async def withdraw(self, order: Order, actor: str, why: str) -> Order:
        """Withdraw an order in its owner's sight. Raises NotReady, OrderConflict."""
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

    async def _held(self, order_id: str, actor: Actor) -> Order:
        order, owned = await self._find("order:approve", order_id, actor)
        if order.status is not OrderStatus.HELD:
            raise NotReady(f'the order is "{order.status}": nothing waits for a decision')
        await check_foreign(self._store, order, owned, actor)
        return order

    async def _find(self, permission: str, order_id: str, actor: Actor) -> tuple[Order, Owned]:
        actor.check(permission)
        order = await self._store.one(ORDER, order_id)
        owned = await owned_through(self._store, None if order is None else order.credential)
        return actor.find(permission, order, owned, UnknownOrder(f"there is no order {order_id}")), owned


async def check_foreign(store: Store, order: Order, owned: Owned, actor: Actor) -> None:
    """That who decides about an order had no hand in it, and is nobody in another's name. Raises Forbidden.

    An order may be led on by others than its requester (an operator changes it, brings its request, renews for
    somebody), and a portal asks in the name of its users: the audit log has all of them.
    """
    if owned.user in actor.users or any(_is_one_of(actor.users, hand) for hand in await _hands(store, order)):
        raise Forbidden("nobody decides about their own order")
    if len(actor.users) > 1:
        raise Forbidden("nobody decides in the name of somebody else")


async def _hands(store: Store, order: Order) -> set[str]:
    """Everybody who had a hand in an order, as the audit log names them."""
    hands, after = {order.requester}, 0
    while rows := await store.many(AUDIT_OF_OBJECT, f"order:{order.id}", after, _EVENTS_AT_ONCE):
        hands |= {event.actor for event in (read_leaf(row.leaf) for row in rows) if event.tag in _HANDS}
        after = rows[-1].seq
    return hands


def _is_one_of(users: frozenset[str], hand: str) -> bool:
    """Whether "user:alice", "user:alice@key" or "user:alice by user:portal@key" is one of these users.

    A name may have an "@" of its own: where it cannot be told whose it is, it is theirs.
    """
    return any(re.search(rf"(?:^| by )user:{re.escape(one)}(?:$|[@ ])", hand) for one in users)
