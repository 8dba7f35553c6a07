"""Orders as clients send and see them, and who may see which."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from msgspec import Meta

from ca_core.csr import CertificationRequest, read_csr, read_pem_or_der
from ca_core.names import Identifier, read_name
from policy.order import Order, OrderStatus
from policy.problems import BadCSR, Malformed, Problem, RejectedIdentifier, UnsupportedIdentifier
from policy.requirements import Requirement
from protocols.rest.certificates import CertificateView, Name, view_of
from protocols.rest.operation import Call, Reply
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import View, moment

RETRY_SECONDS = 5
HELD_RETRY_SECONDS = 60

CSR = Annotated[
    str,
    Meta(min_length=1, max_length=40_000, description="The certification request (PKCS #10): PEM, or base64 of DER."),
]
Names = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=1000)], ...],
    Meta(max_length=1000, description='Names as "www.example.org", "ip:192.0.2.1" or "email:someone@example.org".'),
]

POINTERS = {
    "bad-csr": "/csr",
    "bad-proof-of-possession": "/csr",
    "bad-public-key": "/csr",
    "bad-algorithm": "/csr",
    "rejected-identifier": "/csr",
    "unsupported-identifier": "/csr",
    "unknown-product": "/product",
    "bad-time": "/not_after",
}
"""Which field problems of an order are about; names that were sent by themselves are named by their place."""


class RequirementView(View, frozen=True, kw_only=True):
    """One thing that is owed before the order can be issued."""

    kind: Annotated[str, Meta(description="submission, validation, document, review, agreement, request or approval.")]
    detail: str
    about: str
    id: Annotated[str, Meta(description="The validation or document to act upon, where there is one.")]


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
    requester: str
    replaces: Annotated[str | None, Meta(description="The serial of the certificate whose place this one takes.")]
    tags: tuple[str, ...]
    automatic_renewal: bool
    requirements: Annotated[tuple[RequirementView, ...], Meta(description="Everything that is owed now.")]
    problem: OrderProblem | None = None
    certificate: CertificateView | None = None


def said(owed: Sequence[Requirement]) -> tuple[RequirementView, ...]:
    """What is owed, as clients see it."""
    return tuple(RequirementView(kind=one.kind.value, detail=one.detail, about=one.about, id=one.id) for one in owed)


async def view(call: Call, order: Order) -> OrderView:
    """An order as clients see it, with its certificate once there is one."""
    valid = order.status is OrderStatus.VALID
    found = await call.door.ra.certificate_of(order) if valid else None
    owed = () if valid else await call.door.lifecycle.ordering.owed(order)
    dossier = order.dossier
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
        requester=order.requester,
        replaces=order.replaces,
        tags=() if dossier is None else dossier.tags,
        automatic_renewal=dossier is not None and dossier.automatic,
        requirements=said(owed),
        problem=None if order.problem is None else OrderProblem(code=order.problem.kind, detail=order.problem.detail),
        certificate=None if found is None else view_of(found),
    )


async def reply(call: Call, order: Order, *, created: bool = False) -> Reply:
    """The answer that shows an order; 201 or 202 with its address for one that was made by this request."""
    call.request.event["order"] = order.id
    whole = await view(call, order)
    status = None
    if created:
        status = 201 if order.status in (OrderStatus.VALID, OrderStatus.DRAFT) else 202
    location = f"/orders/{order.id}" if created else None
    return Reply(whole, status=status, version=order.version, location=location, retry_after=_retry_after(order))


def _retry_after(order: Order) -> int | None:
    if order.status is OrderStatus.HELD:
        return HELD_RETRY_SECONDS
    return RETRY_SECONDS if order.status is OrderStatus.PROCESSING else None


async def reached(call: Call, permission: str) -> Order:
    """The order in the path, when the caller may do this with it; looks at If-Match. Raises UnknownOrder, Forbidden."""
    order = await call.door.lifecycle.order(permission, call.path("id"), call.actor)
    call.request.event["order"] = order.id
    if call.request.method != "GET":
        call.match(order.version)
    return order


def read_names(texts: Sequence[str], pointer: str = "/names") -> tuple[Identifier, ...]:
    """The identifiers that names mean. Raises Invalid with every mistake."""
    found: list[Identifier] = []
    wrong: list[FieldError] = []
    for place, text in enumerate(texts):
        try:
            found.append(read_name(text))
        except (RejectedIdentifier, UnsupportedIdentifier) as problem:
            wrong.append(FieldError(f"{pointer}/{place}", problem.kind, problem.detail))
    if wrong:
        raise Invalid(*wrong)
    return tuple(found)


def request_of(text: str | None) -> CertificationRequest | None:
    """The request in a text: PEM, or base64 of its DER. Raises BadCSR and its kind."""
    if text is None:
        return None
    try:
        if "-----BEGIN" in text:
            return read_csr(read_pem_or_der(text.encode()))
        return read_csr(b64decode("".join(text.split()), validate=True))
    except Malformed as fault:
        raise BadCSR(fault.detail) from fault
    except ValueError as fault:
        raise BadCSR("the certification request is neither PEM nor base64 of DER") from fault


@contextmanager
def pointing(identifiers: Sequence[Identifier]) -> Iterator[None]:
    """Within this, a problem about one of these names points to its place in the body."""
    try:
        yield
    except Problem as problem:
        for one in (problem, *problem.subproblems):
            identifier = one.context.get("identifier")
            if isinstance(identifier, Identifier) and identifier in identifiers:
                one.context["pointer"] = f"/names/{identifiers.index(identifier)}"
        raise
