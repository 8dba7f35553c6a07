"""Blocks: names, domains and keys that are not certified (again) until the block is lifted."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from policy.blocking import BlockKind, read_subject
from policy.inventory import Block
from policy.problems import Malformed
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.orders import Why
from protocols.rest.paging import Page, PageQuery
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body, View, moment

STATES = ("active", "lifted", "expired")


class BlockBody(Body, frozen=True, kw_only=True):
    """What is not to be certified."""

    kind: BlockKind
    value: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=300,
            description='"dns:www.example.org" for an identity, a domain, or the SHA-256 of a public key.',
        ),
    ]
    why: Annotated[str, Meta(min_length=1, max_length=1000)]
    until: datetime | None = None


class LiftBody(Body, frozen=True, kw_only=True):
    """Why it may be certified again."""

    why: Why = ""


class BlockView(View, frozen=True, kw_only=True):
    """A block."""

    id: str
    subject: Annotated[str, Meta(description='Kind and value, as in "identity:dns:www.example.org".')]
    status: str
    why: str
    actor: str
    at: str
    until: str | None
    certificate: Annotated[str | None, Meta(description="The certificate with whose revocation it was made.")]
    lifted: str | None
    lifted_by: str | None


class BlockQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of blocks."""

    status: Annotated[str, Meta(description="active, lifted or expired.")] = ""
    text: Annotated[str, Meta(description="In the subject.")] = ""


def _view(one: Block, now: datetime) -> BlockView:
    return BlockView(
        id=one.id,
        subject=one.subject,
        status=one.said(now),
        why=one.why,
        actor=one.actor,
        at=moment(one.at),
        until=None if one.until is None else moment(one.until),
        certificate=one.certificate,
        lifted=None if one.lifted is None else moment(one.lifted),
        lifted_by=one.lifted_by,
    )


async def make_block(call: Call, given: BlockBody) -> Reply:
    """POST /blocks."""
    try:
        subject = read_subject(given.kind, given.value)
    except Malformed as problem:
        raise Invalid(FieldError("/value", "subject", problem.detail)) from problem
    made = await call.door.lifecycle.blocking.block(subject, given.why, call.actor, given.until)
    return Reply(_view(made, call.door.clock()), status=201, version=made.version, location=f"/blocks/{made.id}")


async def get_block(call: Call) -> Reply:
    """GET /blocks/{id}."""
    one = await call.door.lifecycle.blocking.get(call.path("id"))
    return Reply(_view(one, call.door.clock()), version=one.version)


async def lift_block(call: Call, given: LiftBody) -> Reply:
    """POST /blocks/{id}/lift."""
    blocking = call.door.lifecycle.blocking
    one = await blocking.get(call.path("id"))
    call.match(one.version)
    lifted = await blocking.lift(one.id, call.actor, given.why)
    return Reply(_view(lifted, call.door.clock()), version=lifted.version)


async def list_blocks(call: Call, query: BlockQuery, after: str, limit: int) -> Page:
    """GET /blocks."""
    if query.status and query.status not in STATES:
        near = (difflib.get_close_matches(query.status, STATES, 1, 0) or ["active"])[0]
        raise Invalid(FieldError("?status", "enum", f"it is one of {', '.join(STATES)}", near))
    found = await call.door.lifecycle.blocking.page(after, limit, status=query.status, text=query.text)
    now = call.door.clock()
    return Page(tuple(_view(one, now) for one in found), found[-1].id if len(found) == limit else "")


OPERATIONS = (
    Operation(
        "POST",
        "/blocks",
        "make-block",
        "Block a name, a domain or a key: it is not certified on any door",
        "block:change",
        make_block,
        body=BlockBody,
        answer=BlockView,
        status=201,
        pointers={"malformed": "/until"},
        example={"kind": "domain", "value": "retired.certgate.test", "why": "the service has ended"},
    ),
    Operation(
        "GET",
        "/blocks",
        "list-blocks",
        "Blocks, newest first",
        "block:read",
        list_blocks,
        query=BlockQuery,
        answer=BlockView,
    ),
    Operation("GET", "/blocks/{id}", "get-block", "A block", "block:read", get_block, answer=BlockView),
    Operation(
        "POST",
        "/blocks/{id}/lift",
        "lift-block",
        "Let it be certified again",
        "block:change",
        lift_block,
        body=LiftBody,
        answer=BlockView,
        example={"why": "the service is back"},
    ),
)
