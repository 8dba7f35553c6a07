"""Orders: place one, step by step or in one call, and see what became of it."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from policy.credential import Principal
from policy.dossier import Dossier
from policy.inventory import OrderFilter, check_tags
from policy.lifecycle import reach_of
from policy.order import NewOrder, Order, OrderStatus
from policy.ordering import as_new
from policy.problems import Malformed
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.order_views import (
    CSR,
    POINTERS,
    Names,
    OrderView,
    pointing,
    reached,
    read_names,
    reply,
    request_of,
    view,
)
from protocols.rest.paging import Page, PageQuery
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body

Why = Annotated[str, Meta(max_length=1000, description="For the other side, and the audit log.")]
Tags = Annotated[tuple[str, ...], Meta(max_length=32, description="Words to find the certificate by.")]


class AgreementBody(Body, frozen=True, kw_only=True):
    """Somebody agrees to the terms of the order's product."""

    signer: Annotated[str, Meta(min_length=1, max_length=200, description="Who agrees.")]


class OrderBody(Body, frozen=True, kw_only=True):
    """A certificate wanted. The certification request may come later; without names those of the request count."""

    csr: CSR | None = None
    names: Names = ()
    product: Annotated[str | None, Meta(description="The product; left out, the server selects one.")] = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    draft: Annotated[bool, Meta(description="Only write it down; it is judged when it is submitted.")] = False
    tags: Tags = ()
    automatic_renewal: Annotated[bool, Meta(description="Renew the certificate when its window opens.")] = False
    agreement: AgreementBody | None = None


class OrderChange(Body, frozen=True, kw_only=True):
    """What to change of a draft; what is left out stays."""

    csr: CSR | msgspec.UnsetType | None = msgspec.UNSET
    names: Names | msgspec.UnsetType = msgspec.UNSET
    product: str | msgspec.UnsetType = msgspec.UNSET
    not_before: datetime | msgspec.UnsetType | None = msgspec.UNSET
    not_after: datetime | msgspec.UnsetType | None = msgspec.UNSET
    tags: Tags | msgspec.UnsetType = msgspec.UNSET
    automatic_renewal: bool | msgspec.UnsetType = msgspec.UNSET


class RequestBody(Body, frozen=True, kw_only=True):
    """The certification request of an order."""

    csr: CSR


class WhyBody(Body, frozen=True, kw_only=True):
    """A reason."""

    why: Why = ""


class OrderQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of orders; they can be combined."""

    status: Annotated[str, Meta(description="One of " + ", ".join(OrderStatus) + ".")] = ""
    credential: str = ""
    product: str = ""
    kind: str = ""
    text: Annotated[str, Meta(description="In a name.")] = ""
    placed_from: datetime | None = None
    placed_before: datetime | None = None


async def create_order(call: Call, new: OrderBody) -> Reply:
    """POST /orders."""
    names = read_names(new.names)
    if not names and new.csr is None and not new.draft:
        raise Invalid(FieldError("/csr", "required", "an order needs a certification request, or names"))
    wanted = NewOrder(
        product=new.product,
        identifiers=names,
        request=request_of(new.csr),
        not_before=new.not_before,
        not_after=new.not_after,
        reference=call.reference,
        dossier=_dossier(new.tags, automatic=new.automatic_renewal),
    )
    ordering = call.door.lifecycle.ordering
    principal = call.door.lifecycle.asking(call.principal, call.actor)
    with pointing(names):
        make = ordering.draft if new.draft else ordering.place
        order = await make(principal, wanted)
    if new.agreement is not None and order.dossier is not None and order.dossier.owes_agreement:
        order = await ordering.agree(principal, order, new.agreement.signer)
    return await reply(call, order, created=True)


def _dossier(tags: tuple[str, ...], *, automatic: bool) -> Dossier | None:
    if not tags and not automatic:
        return None
    try:
        return Dossier(tags=check_tags(tags), automatic=automatic)
    except Malformed as problem:
        raise Invalid(FieldError("/tags", "tag", problem.detail)) from problem


async def change_order(call: Call, change: OrderChange) -> Reply:
    """PATCH /orders/{id}."""
    order = await reached(call, "order:change")
    before = as_new(order)
    given: dict[str, Any] = {
        name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not msgspec.UNSET
    }
    if "names" in given:
        given["identifiers"] = read_names(given.pop("names"))
    if "csr" in given:
        given["request"] = request_of(given.pop("csr"))
    old = before.dossier or Dossier()
    tags, automatic = given.pop("tags", old.tags), given.pop("automatic_renewal", old.automatic)
    wanted = replace(before, **given, dossier=_dossier(tags, automatic=automatic))
    changed = await call.door.lifecycle.ordering.change(await _acting(call, order), order, wanted)
    return await reply(call, changed)


async def submit_order(call: Call) -> Reply:
    """POST /orders/{id}/submit."""
    order = await reached(call, "order:place")
    with pointing(order.identifiers):
        return await reply(call, await call.door.lifecycle.ordering.submit(await _acting(call, order), order))


async def put_request(call: Call, given: RequestBody) -> Reply:
    """PUT /orders/{id}/csr."""
    order = await reached(call, "order:place")
    request = request_of(given.csr)
    assert request is not None
    return await reply(call, await call.door.lifecycle.ordering.hand_in(await _acting(call, order), order, request))


async def agree(call: Call, given: AgreementBody) -> Reply:
    """POST /orders/{id}/agreement."""
    order = await reached(call, "order:change")
    acting = await _acting(call, order)
    return await reply(call, await call.door.lifecycle.ordering.agree(acting, order, given.signer))


async def cancel_order(call: Call, given: WhyBody) -> Reply:
    """POST /orders/{id}/cancel."""
    order = await reached(call, "order:cancel")
    return await reply(call, await call.door.lifecycle.approval.cancel(order.id, call.actor, given.why))


async def retry_order(call: Call) -> Reply:
    """POST /orders/{id}/retry."""
    order = await reached(call, "order:place")
    again = await call.door.lifecycle.ordering.again(await _acting(call, order), order)
    return await reply(call, again, created=again.id != order.id)


async def approve_order(call: Call) -> Reply:
    """POST /orders/{id}/approve."""
    order = await reached(call, "order:approve")
    return await reply(call, await call.door.lifecycle.approval.approve(order.id, call.actor))


async def reject_order(call: Call, given: WhyBody) -> Reply:
    """POST /orders/{id}/reject."""
    order = await reached(call, "order:approve")
    why = given.why or "no reason was given"
    return await reply(call, await call.door.lifecycle.approval.reject(order.id, call.actor, why))


async def _acting(call: Call, order: Order) -> Principal:
    return await call.door.lifecycle.acting(call.principal, call.actor, order.credential, order.mount)


async def get_order(call: Call) -> Reply:
    """GET /orders/{id}."""
    return await reply(call, await reached(call, "order:read"))


async def list_orders(call: Call, query: OrderQuery, after: str, limit: int) -> Page:
    """GET /orders."""
    if query.status and query.status not in list(OrderStatus):
        raise Invalid(FieldError("?status", "enum", f"it is one of {', '.join(OrderStatus)}", _near(query.status)))
    user, groups = reach_of(call.actor, "order:read")
    wanted = OrderFilter(
        user=user,
        status=query.status,
        credential=query.credential,
        groups=groups,
        product=query.product,
        kind=query.kind,
        text=query.text.lower(),
        placed_from=query.placed_from,
        placed_before=query.placed_before,
    )
    found = await call.door.inventory.find_orders(wanted, after, limit)
    items = tuple([await view(call, one) for one in found])
    return Page(items, found[-1].id if len(found) == limit else "")


def _near(status: str) -> str:
    return (difflib.get_close_matches(status, list(OrderStatus), 1, 0) or ["valid"])[0]


_LATER = {202: "Not decided yet: `requirements` says what is owed; ask again at the Location, after Retry-After."}

OPERATIONS = (
    Operation(
        "POST",
        "/orders",
        "create-order",
        "Order a certificate: with its certification request, or step by step",
        "order:place",
        create_order,
        body=OrderBody,
        answer=OrderView,
        status=201,
        statuses=_LATER,
        pointers=POINTERS,
    ),
    Operation(
        "GET",
        "/orders",
        "list-orders",
        "Orders, newest first, by any filter",
        "order:read",
        list_orders,
        query=OrderQuery,
        answer=OrderView,
    ),
    Operation(
        "GET",
        "/orders/{id}",
        "get-order",
        "An order, with its certificate once there is one",
        "order:read",
        get_order,
        answer=OrderView,
    ),
    Operation(
        "PATCH",
        "/orders/{id}",
        "change-order",
        "Change a draft",
        "order:change",
        change_order,
        body=OrderChange,
        answer=OrderView,
        pointers=POINTERS,
    ),
    Operation(
        "POST",
        "/orders/{id}/submit",
        "submit-order",
        "Hand in a draft: it is judged now",
        "order:place",
        submit_order,
        answer=OrderView,
        pointers=POINTERS,
    ),
    Operation(
        "PUT",
        "/orders/{id}/csr",
        "put-order-request",
        "Hand in the certification request: issues when nothing else is owed",
        "order:place",
        put_request,
        body=RequestBody,
        answer=OrderView,
        pointers=POINTERS,
    ),
    Operation(
        "POST",
        "/orders/{id}/agreement",
        "agree-to-order",
        "Agree to the terms of the order's product",
        "order:change",
        agree,
        body=AgreementBody,
        answer=OrderView,
        example={"signer": "Alice Example"},
    ),
    Operation(
        "POST",
        "/orders/{id}/cancel",
        "cancel-order",
        "Withdraw an order that is not being signed",
        "order:cancel",
        cancel_order,
        body=WhyBody,
        answer=OrderView,
        example={"why": "not needed any more"},
    ),
    Operation(
        "POST",
        "/orders/{id}/retry",
        "retry-order",
        "Go on with an order that is stuck, or place anew one that ended without a certificate",
        "order:place",
        retry_order,
        answer=OrderView,
        statuses={201: "A new order, with its certificate.", **_LATER},
        pointers=POINTERS,
    ),
    Operation(
        "POST",
        "/orders/{id}/approve",
        "approve-order",
        "Approve an order that is held; nobody approves their own",
        "order:approve",
        approve_order,
        answer=OrderView,
    ),
    Operation(
        "POST",
        "/orders/{id}/reject",
        "reject-order",
        "End an order that is held",
        "order:approve",
        reject_order,
        body=WhyBody,
        answer=OrderView,
        example={"why": "the department does not run this host"},
    ),
)
