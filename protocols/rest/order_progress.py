"""How an order comes along: proofs and their attempts, why it was decided so, and events as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from policy.audit import AuditEvent
from policy.lifecycle import Validation
from policy.order import TERMINAL, Order
from policy.problems import UnknownOrder
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.order_views import OrderProblem, RequirementView, reached, said
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body, View, moment

EVENT_STREAM = "text/event-stream"
POLL_SECONDS = 0.5
BEAT_SECONDS = 15
"""A comment so often keeps proxies from closing a silent stream."""
LONGEST_SECONDS = 600
"""After this long the stream ends; clients of server-sent events come back by themselves, with Last-Event-ID."""

_encode = msgspec.json.Encoder().encode


class Way(View, frozen=True, kw_only=True):
    """One way to prove a name: what has to be where."""

    method: Annotated[str, Meta(description="dns-01: a TXT record; http-01: a file.")]
    status: str
    place: Annotated[str, Meta(description="The name of the TXT record, or the address of the file.")]
    value: Annotated[str, Meta(description="The text of the record, or the content of the file.")]
    problem: str | None


class AttemptView(View, frozen=True, kw_only=True):
    """One look at a proof."""

    at: str
    outcome: Annotated[str, Meta(description="valid, invalid, retried or caa-checked.")]
    method: str | None
    detail: str | None
    diagnostics: Annotated[dict[str, Any], Meta(description="What each perspective saw, where several were asked.")]


class ValidationView(View, frozen=True, kw_only=True):
    """The proof of control of one name."""

    id: str
    name: str
    status: str
    expires: str
    domain: Annotated[str | None, Meta(description="The pre-validated domain that is the proof.")]
    ways: tuple[Way, ...]
    attempts: tuple[AttemptView, ...]


class ValidationList(View, frozen=True, kw_only=True):
    """Every proof that an order needs."""

    items: tuple[ValidationView, ...]


class VerifyBody(Body, frozen=True, kw_only=True):
    """Which way can be looked at now."""

    method: Literal["dns-01", "http-01"]


class StepView(View, frozen=True, kw_only=True):
    """One line of the decision: which rule looked at what, and what it decided."""

    rule: str
    outcome: str
    detail: str


class EventView(View, frozen=True, kw_only=True):
    """One thing that happened."""

    at: str
    event: str
    actor: str


class Explanation(View, frozen=True, kw_only=True):
    """Why an order is as it is: the decision line by line, what happened, what is owed, what was wrong."""

    id: str
    status: str
    decision: tuple[StepView, ...]
    events: tuple[EventView, ...]
    requirements: tuple[RequirementView, ...]
    problem: OrderProblem | None


def _attempt(event: AuditEvent) -> AttemptView:
    detail = event.detail
    told = {key: value for key in ("corroboration", "caa") if (value := detail.get(key))}
    return AttemptView(
        at=moment(event.at),
        outcome=event.tag.value.rpartition(":")[2].replace("checked", "caa-checked"),
        method=detail.get("method"),
        detail=detail.get("detail") or detail.get("evidence"),
        diagnostics=told,
    )


def _validation(one: Validation, now: datetime) -> ValidationView:
    authorization = one.authorization
    return ValidationView(
        id=authorization.id,
        name=("*." if authorization.wildcard else "") + authorization.identifier.value,
        status=authorization.at(now).value,
        expires=moment(authorization.expires),
        domain=authorization.domain,
        ways=tuple(
            Way(method=way.method, status=way.status.value, place=way.place, value=way.value, problem=way.problem)
            for way in one.methods
        ),
        attempts=tuple(map(_attempt, one.attempts)),
    )


async def list_validations(call: Call) -> Reply:
    """GET /orders/{id}/validations."""
    found = await call.door.lifecycle.validations(await reached(call, "order:read"))
    now = call.door.clock()
    return Reply(ValidationList(items=tuple(_validation(one, now) for one in found)))


async def verify(call: Call, given: VerifyBody) -> Reply:
    """POST /orders/{id}/validations/{validation}/verify."""
    order = await reached(call, "order:place")
    wanted = call.path("validation")
    if wanted not in order.authorizations:
        raise UnknownOrder("the order has no such validation")
    lifecycle = call.door.lifecycle
    ways = {
        one.type
        for each in await call.door.inventory.authorizations(order)
        if each.id == wanted
        for one in each.challenges
    }
    if given.method not in ways:
        raise Invalid(FieldError("/method", "enum", f"this name is proven by {', '.join(sorted(ways))}", min(ways)))
    acting = await lifecycle.acting(call.principal, call.actor, order.credential, order.mount)
    await call.door.ra.answer(acting, wanted, given.method)
    await lifecycle.ordering.finish(await lifecycle.ordering.current(order.id))
    (found,) = (one for one in await lifecycle.validations(order) if one.authorization.id == wanted)
    return Reply(_validation(found, call.door.clock()))


async def explain(call: Call) -> Reply:
    """GET /orders/{id}/explain."""
    order = await reached(call, "order:read")
    _, events = await call.door.inventory.order(order.id)
    owed = await call.door.lifecycle.ordering.owed(order)
    problem = order.problem
    return Reply(
        Explanation(
            id=order.id,
            status=order.status.value,
            decision=tuple(StepView(rule=one.rule, outcome=one.outcome, detail=one.detail) for one in order.trace),
            events=tuple(EventView(at=moment(one.at), event=one.tag.value, actor=one.actor) for one in events),
            requirements=said(owed),
            problem=None if problem is None else OrderProblem(code=problem.kind, detail=problem.detail),
        ),
        version=order.version,
    )


async def follow(call: Call) -> Reply:
    """GET /orders/{id}/events."""
    order = await reached(call, "order:read")
    given = call.request.headers.get("last-event-id", "0")
    last = int(given) if given.isdecimal() and len(given) < 19 else 0
    return Reply(body=_events(call, order, last), content_type=EVENT_STREAM)


async def _events(call: Call, order: Order, last: int) -> AsyncIterator[bytes]:
    """Everything that happened to the order, then what happens, until it has ended (WHATWG HTML, section 9.2)."""
    ordering, inventory = call.door.lifecycle.ordering, call.door.inventory
    turns, silent = 0, 0.0
    while True:
        # Read before the events: one that is written in between is seen by the next look.
        ended = order.status in TERMINAL
        for number, event in await inventory.events_after(f"order:{order.id}", last):
            last, silent = number, 0.0
            yield _event(number, event)
        if ended:
            data = _encode({"status": order.status.value, "certificate": order.serial})
            yield b"event: end\ndata: " + data + b"\n\n"
            return
        turns += 1
        if turns * POLL_SECONDS > LONGEST_SECONDS or not await call.goes_on():
            return
        if silent >= BEAT_SECONDS:
            silent = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)
        silent += POLL_SECONDS
        order = await ordering.current(order.id)


def _event(number: int, event: AuditEvent) -> bytes:
    said: Mapping[str, Any] = {"at": moment(event.at), "event": event.tag.value, "actor": event.actor}
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.tag.value.encode(), _encode(said))


OPERATIONS = (
    Operation(
        "GET",
        "/orders/{id}/validations",
        "list-validations",
        "The proofs that an order needs: what has to be where, and every attempt with its diagnostics",
        "order:read",
        list_validations,
        answer=ValidationList,
    ),
    Operation(
        "POST",
        "/orders/{id}/validations/{validation}/verify",
        "verify-validation",
        "Have a proof looked at",
        "order:place",
        verify,
        body=VerifyBody,
        answer=ValidationView,
        example={"method": "dns-01"},
    ),
    Operation(
        "GET",
        "/orders/{id}/explain",
        "explain-order",
        "Why the order is as it is: which rule decided what, and what happened",
        "order:read",
        explain,
        answer=Explanation,
    ),
    Operation(
        "GET",
        "/orders/{id}/events",
        "follow-order",
        "What happened and what happens to the order, as server-sent events, until it has ended",
        "order:read",
        follow,
    ),
)
