"""gateway.commands.orders: why an order ended as it did, and what a person decides."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.commands import orders
from policy.acting import operator
from policy.order import NewOrder, OrderStatus
from policy.problems import Forbidden, Malformed, NotReady, UnknownOrder
from tests.conftest import House, dns
from tests.gateway.commands.issuing import ACTOR, held, issued
from tests.policy.making import acme


async def test_show_explains_why_it_was_issued(house: House) -> None:
    """The decision trace, the request and every event, in their order."""
    order = await issued(house, "www.certgate.test")
    shown = await orders.show(house.core, id=order.id, actor=ACTOR)
    assert shown["status"] == "valid"
    assert shown["identifiers"] == ["dns:www.certgate.test"]
    assert shown["request"]["names"] == ["dns:www.certgate.test"]
    assert len(shown["trace"]) > 3
    assert all(step["rule"] and step["outcome"] for step in shown["trace"])
    tags = [event["tag"] for event in shown["events"]]
    assert tags[0] == "ra:order:placed"
    assert "ca:certificate:issued" in tags


async def test_show_says_what_is_owed_without_the_tokens(house: House) -> None:
    """Whoever looks over a shoulder cannot answer a challenge in the client's place."""
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns("www.example.org"),)))
    (stored,) = await house.core.inventory.authorizations(order)
    shown = await orders.show(house.core, id=order.id, actor=ACTOR)
    assert shown["status"] == "pending"
    (proof,) = shown["authorizations"]
    assert (proof["identifier"], proof["status"]) == ("www.example.org", "pending")
    assert {one["type"] for one in proof["challenges"]} == {"http-01", "dns-01", "tls-alpn-01"}
    assert not any(challenge.token in str(shown) for challenge in stored.challenges)


async def test_approve(house: House) -> None:
    """A held order is issued; it waits no more."""
    order = await held(house)
    assert order.status is OrderStatus.HELD
    approved = await orders.approve(house.core, id=order.id, actor=ACTOR)
    assert approved["status"] == "valid"
    assert approved["serial"]
    with pytest.raises(NotReady):
        await orders.approve(house.core, id=order.id, actor=ACTOR)


async def test_reject_tells_the_client_why(house: House) -> None:
    order = await held(house)
    rejected = await orders.reject(house.core, id=order.id, actor=ACTOR, why="not in the inventory")
    assert rejected["status"] == "invalid"
    assert "not in the inventory" in rejected["problem"]["detail"]


@pytest.mark.parametrize("decide", [orders.approve, orders.reject])
async def test_nobody_decides_about_their_own_order(house: House, decide: object) -> None:
    """Whatever the way by which they come: the command line adds "@cli" to a name."""
    order = await held(house)
    for actor in ("user:alice", "user:alice@cli"):
        with pytest.raises(Forbidden):
            await decide(house.core, id=order.id, actor=operator(actor))  # type: ignore[operator]
    assert (await orders.show(house.core, id=order.id, actor=ACTOR))["status"] == "held"


async def test_cancel(house: House) -> None:
    """An open order ends; one that has ended stays as it is."""
    order = await held(house)
    cancelled = await orders.cancel(house.core, id=order.id, actor=ACTOR, why="ordered twice")
    assert cancelled["status"] == "cancelled"
    events = (await orders.show(house.core, id=order.id, actor=ACTOR))["events"]
    assert (events[-1]["tag"], events[-1]["detail"]) == ("ra:order:cancelled", {"why": "ordered twice"})
    with pytest.raises(NotReady):
        await orders.cancel(house.core, id=order.id, actor=ACTOR)
    with pytest.raises(NotReady):
        await orders.cancel(house.core, id=(await issued(house)).id, actor=ACTOR)


@pytest.mark.parametrize("command", [orders.show, orders.approve, orders.reject, orders.cancel])
async def test_unknown_order(house: House, command: object) -> None:
    with pytest.raises(UnknownOrder):
        await command(house.core, id="nothing", actor=ACTOR)  # type: ignore[operator]


async def test_pages_by_status_and_credential(house: House) -> None:
    """A status that does not exist is a mistake, with those that do."""
    waiting, done = await held(house), await issued(house, identifier="router-1")
    assert [one["id"] for one in (await orders.page(house.core, actor=ACTOR))["items"]] == [done.id, waiting.id]
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"status": "held"}, waiting.id),
        ({"status": "valid"}, done.id),
        ({"credential": "router-1"}, done.id),
    )
    for filters, wanted in cases:
        page = await orders.page(house.core, actor=ACTOR, **filters)
        assert [one["id"] for one in page["items"]] == [wanted]
        assert page["next"] == ""
    with pytest.raises(Malformed, match="processing"):
        await orders.page(house.core, actor=ACTOR, status="finished")


async def test_pages_end(house: House) -> None:
    first, second = await issued(house), await issued(house)
    page = await orders.page(house.core, actor=ACTOR, limit=1)
    assert [one["id"] for one in page["items"]] == [second.id]
    page = await orders.page(house.core, actor=ACTOR, limit=1, after=page["next"])
    assert [one["id"] for one in page["items"]] == [first.id]
    page = await orders.page(house.core, actor=ACTOR, limit=1, after=page["next"])
    assert page == {"items": [], "next": ""}
