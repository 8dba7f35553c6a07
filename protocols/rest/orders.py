"""Orders: place one with its certification request, and see what became of it."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from ca_core.csr import CertificationRequest, read_csr, read_pem_or_der
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import BadCSR, Malformed
from protocols.rest.certificates import CertificateView, Name, view_of
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.schema import Body, View, moment

RETRY_SECONDS = 5
HELD_RETRY_SECONDS = 60


class OrderBody(Body, frozen=True, kw_only=True):
    """A certificate wanted."""

    csr: Annotated[
        str,
        Meta(
            min_length=1, max_length=40_000, description="The certification request (PKCS #10): PEM, or base64 of DER."
        ),
    ]
    product: Annotated[str | None, Meta(description="The product; left out, the server selects one.")] = None
    not_before: datetime | None = None
    not_after: datetime | None = None


class OrderProblem(View, frozen=True, kw_only=True):
    """Why an order came to nothing."""

    code: str
    detail: str


class OrderView(View, frozen=True, kw_only=True):
    """An order. Its status goes draft, pending, ready, held, processing, then valid, invalid or cancelled."""

    id: str
    status: str
    kind: str
    product: str
    product_version: int
    names: tuple[Name, ...]
    created: str
    updated: str
    expires: str
    problem: OrderProblem | None = None
    certificate: CertificateView | None = None


async def create_order(call: Call, new: OrderBody) -> Reply:
    """POST /orders."""
    request = _request_of(new.csr)
    wanted = NewOrder(
        product=new.product,
        request=request,
        not_before=new.not_before,
        not_after=new.not_after,
        reference=call.reference,
    )
    order = await call.door.ra.enroll(call.principal, wanted)
    call.request.event["order"] = order.id
    done = order.status is OrderStatus.VALID
    return Reply(
        await _view(call, order),
        status=201 if done else 202,
        version=order.version,
        location=f"/orders/{order.id}",
        retry_after=_retry_after(order),
    )


async def get_order(call: Call) -> Reply:
    """GET /orders/{id}."""
    order = await call.door.ra.order(call.principal, call.path("id"))
    return Reply(await _view(call, order), version=order.version, retry_after=_retry_after(order))


def _retry_after(order: Order) -> int | None:
    if order.status is OrderStatus.HELD:
        return HELD_RETRY_SECONDS
    return RETRY_SECONDS if order.status is OrderStatus.PROCESSING else None


def _request_of(text: str) -> CertificationRequest:
    """The request in a text: PEM, or base64 of its DER. Raises BadCSR and its kind."""
    try:
        if "-----BEGIN" in text:
            return read_csr(read_pem_or_der(text.encode()))
        return read_csr(b64decode("".join(text.split()), validate=True))
    except Malformed as fault:
        raise BadCSR(fault.detail) from fault
    except ValueError as fault:
        raise BadCSR("the certification request is neither PEM nor base64 of DER") from fault


async def _view(call: Call, order: Order) -> OrderView:
    found = await call.door.ra.certificate_of(order) if order.status is OrderStatus.VALID else None
    return OrderView(
        id=order.id,
        status=order.status.value,
        kind=order.kind.value,
        product=order.product,
        product_version=order.product_version,
        names=tuple(Name(type=one.type.value, value=one.value) for one in order.identifiers),
        created=moment(order.created),
        updated=moment(order.updated),
        expires=moment(order.expires),
        problem=None if order.problem is None else OrderProblem(code=order.problem.kind, detail=order.problem.detail),
        certificate=None if found is None else view_of(found),
    )


OPERATIONS = (
    Operation(
        "POST",
        "/orders",
        "create-order",
        "Order a certificate with its certification request",
        "order:place",
        create_order,
        body=OrderBody,
        answer=OrderView,
        status=201,
        statuses={202: "Not decided yet: ask again at the Location, after Retry-After."},
        pointers={
            "bad-csr": "/csr",
            "bad-proof-of-possession": "/csr",
            "bad-public-key": "/csr",
            "bad-algorithm": "/csr",
            "rejected-identifier": "/csr",
            "unsupported-identifier": "/csr",
            "unknown-product": "/product",
            "bad-time": "/not_after",
        },
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
)
