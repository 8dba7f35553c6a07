"""Tickets: the question to a person whether an account may have a certificate for these names, asked beforehand.

ACME clients do not wait for people: they stop after half a minute. So an order that needs approval is refused with
the address of its ticket, which is an order too (`held`, without a request); once somebody granted it (`pending`),
the next order of the account for the same names and product is issued without further questions, and ends the ticket.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.credential import Principal
from policy.ids import OrderId, new_id
from policy.order import (
    OPEN,
    TICKET_PREFIX,
    Identifier,
    Order,
    OrderEvent,
    OrderKind,
    OrderStatus,
    Step,
    StoredProblem,
    advance,
)
from policy.problems import ApprovalRequired, Forbidden, NotReady, OrderConflict
from policy.product import ApprovalMode, Product
from policy.store import ORDER, ORDER_BY_REFERENCE, Conflict, Store, Unit

QUESTION_LIFETIME = timedelta(days=7)
"""How long a ticket waits for somebody to decide."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a ticket is about."""

    principal: Principal
    product: Product
    identifiers: tuple[Identifier, ...]

    @property
    def reference(self) -> str:
        """The same for the same account, product and set of names, whatever their order."""
        names = "\n".join(sorted(str(one) for one in self.identifiers))
        text = f"{self.principal.owner}\n{self.product.name}\n{names}"
        return TICKET_PREFIX + hashlib.sha256(text.encode()).hexdigest()


def needs_ticket(product: Product, principal: Principal) -> bool:
    """Whether orders of this principal are approved before there is a request."""
    return product.approval and product.approval_over_acme is ApprovalMode.TICKET and principal.account is not None


class Ticketing:
    """Opens tickets, finds those that were granted, and ends them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def granted(self, wanted: Wanted) -> Order:
        """The ticket that allows this order. Raises ApprovalRequired (its `order` is the ticket), Forbidden."""
        found = await self._find(wanted)
        if found is None or found.status is OrderStatus.CANCELLED:
            found = await self._open(wanted)
        elif found.status in OPEN and found.expires <= self._clock():
            found = await self._open(wanted, over=found)
        if found.status is OrderStatus.PENDING:
            return found
        if found.status is OrderStatus.INVALID:
            raise Forbidden(found.problem.detail if found.problem else "the order was not approved")
        raise self._required(found)

    async def _find(self, wanted: Wanted) -> Order | None:
        """The ticket that is open, else the one that ended just now."""
        principal, now = wanted.principal, int(self._clock().timestamp())
        return await self._store.one(
            ORDER_BY_REFERENCE, principal.mount, principal.credential.id, wanted.reference, now
        )

    async def _open(self, wanted: Wanted, over: Order | None = None) -> Order:
        """A new ticket; the one before it, whose time is over, is ended in the same transaction."""
        ticket = self._drafted(wanted)
        why = f'product "{wanted.product.name}" wants approval'
        unit = Unit()
        unit.credential_active(ticket.credential, ticket.created)
        unit.account_valid(wanted.principal.owner)
        if over is not None:
            problem = StoredProblem.of(NotReady("the order expired before it was finished"))
            unit.save(advance(over, OrderEvent.FAIL, ticket.created, problem=problem))
            expired = {"problem": problem.kind, "detail": problem.detail}
            tag, of = AuditTag.ORDER_FAILED, f"order:{over.id}"
            unit.audit(AuditEvent(tag, ticket.created, "system:expiry", of, expired))
        unit.insert(ticket)
        detail = {"why": why, "identifiers": [str(one) for one in wanted.identifiers], "product": ticket.product}
        unit.audit(AuditEvent(AuditTag.ORDER_HELD, ticket.created, ticket.requester, f"order:{ticket.id}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            found = await self._find(wanted)  # somebody asked at the same moment
            if found is not None and found.status in OPEN:
                return found
            if conflict.statement in ("order_insert", "order_save"):
                raise OrderConflict("the approval that was asked for has just ended: order again") from conflict
            raise Forbidden("the credential or account is not valid any more") from conflict
        return ticket

    def _drafted(self, wanted: Wanted) -> Order:
        principal, product, now = wanted.principal, wanted.product, self._clock()
        return Order(
            id=OrderId(new_id()),
            owner=principal.owner,
            credential=principal.credential.id,
            requester=str(principal.requester),
            mount=principal.mount,
            product=product.name,
            product_version=product.version,
            kind=OrderKind.ENROLL,
            status=OrderStatus.HELD,
            identifiers=wanted.identifiers,
            created=now,
            updated=now,
            expires=now + QUESTION_LIFETIME,
            account=principal.owner,
            reference=wanted.reference,
            trace=(Step("approval", "held", f'product "{product.name}" wants approval before an order'),),
        )

    async def use(self, order: Order, unit: Unit, now: datetime) -> None:
        """End, in this unit, the ticket that an order was placed with. Raises ApprovalRequired when it is over."""
        if order.approved is None:
            return
        ticket = await self._store.one(ORDER, order.approved)
        if ticket is None or ticket.status is not OrderStatus.PENDING or ticket.expires <= now:
            raise ApprovalRequired(
                "the approval of this order was used, withdrawn or has expired: place a new order", order=order.approved
            )
        step = Step("approval", "used", f"by order {order.id}")
        unit.save(advance(ticket, OrderEvent.CANCEL, now, trace=(*ticket.trace, step)))

    def _required(self, ticket: Order) -> ApprovalRequired:
        names = ", ".join(one.value for one in ticket.identifiers[:5])
        return ApprovalRequired(
            f"a certificate for {names} has to be approved by a person first; the request is noted as {ticket.id}: "
            "order again when it was approved",
            order=ticket.id,
        )
