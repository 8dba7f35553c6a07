"""One change of many certificates: seen first, then done in the background."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from ca_core.status import RevocationReason
from policy.bulk import BulkAction
from policy.inventory import Bulk, CertificateFilter
from policy.problems import BadRevocationReason, Malformed
from protocols.rest.certificate_changes import Reason
from protocols.rest.certificates import STATES, ListedView, listed
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body, View, moment


class FilterBody(Body, frozen=True, kw_only=True):
    """Which certificates, by the filters of their list; everything that is said has to fit."""

    status: str = ""
    name: str = ""
    text: str = ""
    product: str = ""
    credential: str = ""
    issuer: str = ""
    key_type: str = ""
    tag: str = ""
    mount: str = ""
    spki_sha256: str = ""
    expires_before: datetime | None = None
    expires_from: datetime | None = None


class PreviewBody(Body, frozen=True, kw_only=True):
    """A change to look at."""

    action: BulkAction
    filter: FilterBody


class BulkBody(Body, frozen=True, kw_only=True):
    """A change to be done."""

    action: BulkAction
    filter: FilterBody
    expected: Annotated[int, Meta(ge=1, description="How many the preview would change.")]
    reason: Annotated[Reason | None, Meta(description="Why they are revoked.")] = None


class PreviewView(View, frozen=True, kw_only=True):
    """What a change would come to."""

    matched: int
    changed: int
    passed: Annotated[dict[str, int], Meta(description="Those that would stay as they are, by status.")]
    products: dict[str, int]
    sample: tuple[ListedView, ...]


class Failure(View, frozen=True, kw_only=True):
    """A certificate that could not be changed."""

    serial: str
    detail: str


class BulkView(View, frozen=True, kw_only=True):
    """A change and how far it has come."""

    id: str
    action: str
    actor: str
    created: str
    ended: str | None
    matched: int
    done: int
    passed: int
    failed: int
    failures: Annotated[tuple[Failure, ...], Meta(description="The first hundred.")]


class BulkQuery(PageQuery, frozen=True, kw_only=True):
    """The list has no filters."""


def _filter(given: FilterBody) -> CertificateFilter:
    if given.status and given.status not in STATES:
        raise Invalid(FieldError("/filter/status", "enum", f"it is one of {', '.join(STATES)}", "valid"))
    if given == FilterBody():
        raise Invalid(FieldError("/filter", "required", "say which certificates: all there are is never meant"))
    return CertificateFilter(
        credential=given.credential,
        text=given.text,
        status=given.status,
        product=given.product,
        issuer=given.issuer,
        key_type=given.key_type,
        tag=given.tag,
        name=given.name.lower(),
        expires_before=given.expires_before,
        expires_from=given.expires_from,
        spki_sha256=given.spki_sha256.lower(),
        mount=given.mount,
    )


def _view(bulk: Bulk) -> BulkView:
    return BulkView(
        id=bulk.id,
        action=bulk.action,
        actor=bulk.actor,
        created=moment(bulk.created),
        ended=None if bulk.ended is None else moment(bulk.ended),
        matched=bulk.matched,
        done=bulk.done,
        passed=bulk.skipped,
        failed=bulk.failures,
        failures=tuple(Failure(serial=serial, detail=detail) for serial, detail in bulk.failed),
    )


async def preview(call: Call, given: PreviewBody) -> Reply:
    """POST /bulk-changes/preview."""
    seen = await call.door.lifecycle.bulks.preview(given.action, _filter(given.filter), call.actor)
    now = call.door.clock()
    return Reply(
        PreviewView(
            matched=seen.matched,
            changed=seen.changed,
            passed=seen.passed,
            products=seen.products,
            sample=tuple(listed(one, (), now) for one in seen.sample),
        )
    )


async def begin(call: Call, given: BulkBody) -> Reply:
    """POST /bulk-changes."""
    reason = None if given.reason is None else RevocationReason(given.reason)
    wanted = _filter(given.filter)
    try:
        bulk = await call.door.lifecycle.bulks.begin(given.action, wanted, given.expected, call.actor, reason)
    except (Malformed, BadRevocationReason) as problem:
        if not isinstance(problem, Invalid):
            problem.context.setdefault("pointer", "/reason" if "reason" in problem.detail else "/filter")
        raise
    return Reply(_view(bulk), status=202, location=f"/bulk-changes/{bulk.id}")


async def get_bulk(call: Call) -> Reply:
    """GET /bulk-changes/{id}."""
    return Reply(_view(await call.door.lifecycle.bulks.find(call.path("id"), call.actor)))


async def list_bulks(call: Call, query: BulkQuery, after: str, limit: int) -> Page:
    """GET /bulk-changes."""
    found = await call.door.lifecycle.bulks.page(call.actor, after, limit)
    items = tuple(_view(one) for one in found)
    return Page(items, found[-1].id if len(found) == limit else "")


_EXAMPLE = {"action": "hold", "filter": {"name": ".certgate.test"}}

OPERATIONS = (
    Operation(
        "POST",
        "/bulk-changes/preview",
        "preview-bulk-change",
        "What a change of many certificates would come to",
        "certificate:read",
        preview,
        body=PreviewBody,
        answer=PreviewView,
        example=_EXAMPLE,
    ),
    Operation(
        "POST",
        "/bulk-changes",
        "begin-bulk-change",
        "Renew, rekey, hold, release or revoke all certificates of a filter, as many as were previewed",
        "certificate:read",
        begin,
        body=BulkBody,
        answer=BulkView,
        status=202,
        example={**_EXAMPLE, "expected": 1},
    ),
    Operation(
        "GET",
        "/bulk-changes",
        "list-bulk-changes",
        "Changes of many certificates, newest first",
        "certificate:read",
        list_bulks,
        query=BulkQuery,
        answer=BulkView,
    ),
    Operation(
        "GET",
        "/bulk-changes/{id}",
        "get-bulk-change",
        "A change of many certificates and how far it has come",
        "certificate:read",
        get_bulk,
        answer=BulkView,
    ),
)
