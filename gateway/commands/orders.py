"""Commands about orders: look at them and at why they ended as they did, approve, reject, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ca_core.csr import read_csr
from ca_core.names import subject_text
from gateway.commands.plain import event_value, moment, page_size
from policy.access import NOBODY, Actor
from policy.order import Authorization, Order, OrderStatus, StoredProblem
from policy.problems import Malformed

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


def order_value(order: Order) -> dict[str, Any]:
    """An order as lists have it."""
    return {
        "id": order.id,
        "status": order.status.value,
        "kind": order.kind.value,
        "identifiers": [str(one) for one in order.identifiers],
        "product": order.product,
        "product_version": order.product_version,
        "mount": order.mount,
        "credential": order.credential,
        "account": order.account,
        "requester": order.requester,
        "created": moment(order.created),
        "updated": moment(order.updated),
        "expires": moment(order.expires),
        "serial": order.serial,
        "replaces": order.replaces,
        "problem": _problem(order.problem),
    }


def _problem(problem: StoredProblem | None) -> dict[str, Any] | None:
    if problem is None:
        return None
    return {
        "kind": problem.kind,
        "detail": problem.detail,
        "identifier": str(problem.identifier) if problem.identifier else None,
        "subproblems": [_problem(one) for one in problem.subproblems],
    }


def _request(order: Order) -> dict[str, Any] | None:
    if order.csr is None:
        return None
    request = read_csr(order.csr, verify=False)
    return {
        "format": str(request.format),
        "key_type": request.key_type,
        "subject": subject_text(request.subject),
        "names": [str(name) for name in request.names],
    }


async def show(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """An order, how each name was proven, the decision trace and every event. Raises UnknownOrder."""
    actor.check("order:read", NOBODY)
    order, events = await core.inventory.order(id)
    proofs = await core.inventory.authorizations(order)
    now = core.clock()
    return {
        **order_value(order),
        "reference": order.reference,
        "profile": order.profile,
        "request": _request(order),
        "authorizations": [
            {
                "id": one.id,
                "identifier": ("*." if one.wildcard else "") + str(one.identifier.value),
                "status": one.at(now).value,
                "expires": moment(one.expires),
                "challenges": _challenges(one),
            }
            for one in proofs
        ],
        "trace": [{"rule": step.rule, "outcome": step.outcome, "detail": step.detail} for step in order.trace],
        "events": [event_value(event) for event in events],
    }


def _challenges(authorization: Authorization) -> list[dict[str, Any]]:
    """Without tokens: whoever reads a terminal over a shoulder must not answer in the client's place."""
    return [
        {
            "type": one.type,
            "status": one.status.value,
            "validated": moment(one.validated),
            "attempts": one.attempts,
            "problem": _problem(one.error),
        }
        for one in authorization.challenges
    ]


async def page(
    core: Core, *, actor: Actor, after: str = "", limit: int = 500, status: str = "", credential: str = ""
) -> dict[str, Any]:
    """Orders, newest first, and where the next page begins ("" at the end). Raises Malformed."""
    actor.check("order:read", NOBODY)
    if status and status not in list(OrderStatus):
        raise Malformed(f'"{status}" is no status of an order; there are {", ".join(OrderStatus)}')
    if credential:
        credential = (await core.administration.credential(credential)).id
    size = page_size(limit)
    found = await core.inventory.order_page(after, size, status=status, credential=credential)
    return {
        "items": [order_value(order) for order in found],
        "next": found[-1].id if len(found) == size else "",
    }


async def approve(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """Issue a held order. Raises UnknownOrder, NotReady, Forbidden, what the rules object to."""
    return order_value(await core.approval.approve(id, actor))


async def reject(core: Core, *, id: str, actor: Actor, why: str = "") -> dict[str, Any]:
    """End a held order. Raises UnknownOrder, NotReady, Forbidden, OrderConflict."""
    return order_value(await core.approval.reject(id, actor, why or "no reason was given"))


async def cancel(core: Core, *, id: str, actor: Actor, why: str = "") -> dict[str, Any]:
    """Withdraw an open order that is not being signed. Raises UnknownOrder, NotReady, OrderConflict."""
    return order_value(await core.approval.cancel(id, actor, why))


COMMANDS: dict[str, Command] = {
    "order.show": show,
    "order.page": page,
    "order.approve": approve,
    "order.reject": reject,
    "order.cancel": cancel,
}
