"""Documents of orders: handed in, downloaded, accepted or rejected."""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated

from msgspec import Meta

from policy.dossier import Document, Dossier
from policy.problems import Malformed
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.order_views import OrderView, reached, reply
from protocols.rest.orders import Why
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body, View, moment

MAX_BODY_BYTES = 12 * 1024 * 1024
"""Base64 of the largest document that a product may sensibly ask for; each type has its own, smaller limit."""


class DocumentBody(Body, frozen=True, kw_only=True):
    """A document for an order."""

    type: Annotated[str, Meta(min_length=1, max_length=64, description="One of the types that the product names.")]
    name: Annotated[str, Meta(min_length=1, max_length=200, description="File name.")]
    media_type: Annotated[str, Meta(min_length=3, max_length=100)]
    content: Annotated[str, Meta(min_length=1, description="Base64.")]


class DocumentView(View, frozen=True, kw_only=True):
    """A document, and what a reviewer said of it."""

    id: str
    type: str
    name: str
    media_type: str
    size: int
    sha256: str
    received: str
    by: str
    status: Annotated[str, Meta(description="waiting, accepted or rejected.")]
    reviewer: str | None
    reviewed: str | None
    why: str | None


class DocumentList(View, frozen=True, kw_only=True):
    """The documents of an order."""

    items: tuple[DocumentView, ...]


class ReviewBody(Body, frozen=True, kw_only=True):
    """What a reviewer says."""

    why: Why = ""


def _view(one: Document) -> DocumentView:
    return DocumentView(
        id=one.id,
        type=one.type,
        name=one.name,
        media_type=one.media_type,
        size=one.size,
        sha256=one.sha256,
        received=moment(one.at),
        by=one.by,
        status=one.status.value,
        reviewer=one.reviewer,
        reviewed=None if one.reviewed is None else moment(one.reviewed),
        why=one.why,
    )


async def add_document(call: Call, given: DocumentBody) -> Reply:
    """POST /orders/{id}/documents."""
    order = await reached(call, "order:change")
    try:
        content = b64decode(given.content, validate=True)
    except ValueError as fault:
        raise Invalid(FieldError("/content", "base64", "it is not base64 (RFC 4648 section 4)")) from fault
    lifecycle = call.door.lifecycle
    acting = await lifecycle.acting(call.principal, call.actor, order.credential, order.mount)
    try:
        _, document = await lifecycle.documents.receive(
            acting, order, given.type, given.name, given.media_type, content
        )
    except Malformed as problem:
        if type(problem) is Malformed:
            problem.context["pointer"] = "/type"
        raise
    return Reply(_view(document), status=201, location=f"/orders/{order.id}/documents/{document.id}")


async def list_documents(call: Call) -> Reply:
    """GET /orders/{id}/documents."""
    order = await reached(call, "order:read")
    return Reply(DocumentList(items=tuple(map(_view, (order.dossier or Dossier()).documents))), version=order.version)


async def get_document(call: Call) -> Reply:
    """GET /orders/{id}/documents/{document}."""
    document, content = await call.door.lifecycle.documents.content(
        await reached(call, "order:read"), call.path("document")
    )
    # It is what a stranger sent: a browser is to save it, never to show or run it.
    headers = (
        ("Content-Disposition", f'attachment; filename="{document.id}"'),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox"),
    )
    return Reply(body=content, content_type=document.media_type, headers=headers)


async def accept_document(call: Call, given: ReviewBody) -> Reply:
    """POST /orders/{id}/documents/{document}/accept."""
    return await _review(call, given.why, accept=True)


async def reject_document(call: Call, given: ReviewBody) -> Reply:
    """POST /orders/{id}/documents/{document}/reject."""
    if not given.why.strip():
        raise Invalid(FieldError("/why", "required", "say why the document is rejected"))
    return await _review(call, given.why, accept=False)


async def _review(call: Call, why: str, *, accept: bool) -> Reply:
    order = await reached(call, "order:review")
    documents = call.door.lifecycle.documents
    return await reply(call, await documents.review(order, call.path("document"), call.actor, accept=accept, why=why))


_ONE = "/orders/{id}/documents/{document}"

OPERATIONS = (
    Operation(
        "POST",
        "/orders/{id}/documents",
        "add-document",
        "Hand in a document",
        "order:change",
        add_document,
        body=DocumentBody,
        answer=DocumentView,
        status=201,
        pointers={"too-large": "/content", "unsupported-media": "/media_type"},
        max_body_bytes=MAX_BODY_BYTES,
    ),
    Operation(
        "GET",
        "/orders/{id}/documents",
        "list-documents",
        "The documents of an order",
        "order:read",
        list_documents,
        answer=DocumentList,
    ),
    Operation("GET", _ONE, "get-document", "A document as it was handed in", "order:read", get_document),
    Operation(
        "POST",
        f"{_ONE}/accept",
        "accept-document",
        "Accept a document; nobody accepts their own",
        "order:review",
        accept_document,
        body=ReviewBody,
        answer=OrderView,
        example={"why": "signed by the owner"},
    ),
    Operation(
        "POST",
        f"{_ONE}/reject",
        "reject-document",
        "Reject a document, with the reason",
        "order:review",
        reject_document,
        body=ReviewBody,
        answer=OrderView,
        example={"why": "the signature is missing"},
    ),
)
