"""Approval over ACME: tickets (the default), and held orders for clients that wait."""

from __future__ import annotations

import asyncio

import pytest

from policy.acting import operator
from policy.order import OrderStatus
from policy.problems import Forbidden
from policy.product import ApprovalMode
from policy.store import AUDIT, ORDER, ORDERS
from tests.protocols.acme.client import Answer, Client, b64, make_csr
from tests.protocols.acme.world import ORIGIN, World

NAMES = ("a.trusted.test", "b.trusted.test")
APPROVER = operator("user:bob")


@pytest.fixture
async def asking(world: World, member: Client) -> Client:
    """A member whose product "asked" gives tickets."""
    await world.change("asked", approval_over_acme=ApprovalMode.TICKET, ticket_seconds=3600)
    return member


def ticket_of(answer: Answer) -> str:
    """The ticket that a refused order names."""
    assert answer.problem() == (403, "userActionRequired")
    found = answer.json["instance"]
    assert isinstance(found, str)
    assert found.startswith(f"{ORIGIN}/acme/default/ticket/")
    assert not answer.links("terms-of-service")
    return found


async def order(client: Client, *names: str) -> Answer:
    return await client.order(*(names or NAMES), profile="asked")


async def approve(client: Client, url: str) -> None:
    await client.world.approval.approve(url.rpartition("/")[2], APPROVER)


async def finalize(client: Client, placed: Answer, *names: str) -> Answer:
    return await client.post(placed.json["finalize"], {"csr": b64(make_csr(names or NAMES))})


async def test_an_approved_ticket_issues_the_next_order_at_once(asking: Client) -> None:
    """Refused with a page for people; asked again the same; approved, the next order goes through, once."""
    url = ticket_of(await order(asking))
    assert ticket_of(await order(asking, *reversed(NAMES))) == url
    page = await asking.get(url)
    assert page.response.content_type == "text/plain; charset=utf-8"
    assert b"waits for a person" in page.body
    assert b"a.trusted.test, b.trusted.test" in page.body
    await approve(asking, url)
    assert b"is approved" in (await asking.get(url)).body
    placed = await order(asking, *reversed(NAMES))
    assert (placed.status, placed.json["status"]) == (201, "ready")
    issued = await finalize(asking, placed)
    assert issued.json["status"] == "valid"
    assert b"was approved and used" in (await asking.get(url)).body
    assert ticket_of(await order(asking)) != url
    stored = await asking.world.store.one(ORDER, placed.header("Location").rpartition("/")[2])
    assert stored is not None
    assert any(APPROVER.name in step.detail for step in stored.trace)


async def test_clients_never_hang_in_processing(asking: Client) -> None:
    """Neither newOrder nor finalize leaves an order in "processing" that waits for a person."""
    url = ticket_of(await order(asking))
    await approve(asking, url)
    first, second = await order(asking), await order(asking)
    assert (await finalize(asking, first)).json["status"] == "valid"
    refused = await finalize(asking, second)
    assert refused.problem() == (403, "userActionRequired")
    assert (await asking.post(second.header("Location"))).json["status"] == "ready"


async def test_one_ticket_is_one_certificate(asking: Client) -> None:
    """However many orders were placed with it, and however they race."""
    await approve(asking, ticket_of(await order(asking)))
    clients = [Client(asking.world, asking.key, kid=asking.kid) for _ in range(4)]
    placed = [await order(one) for one in clients]
    answers = await asyncio.gather(*(finalize(one, each) for one, each in zip(clients, placed, strict=True)))
    assert sorted(answer.json["status"] == "valid" for answer in answers if answer.status == 200) == [True]
    assert all(answer.status in (403, 409) for answer in answers if answer.status != 200)


async def test_a_ticket_is_for_one_account_product_and_set_of_names(world: World, asking: Client) -> None:
    """Another account, other names, one name less: each has its own question."""
    url = ticket_of(await order(asking))
    await approve(asking, url)
    other = Client(world)
    await other.register()
    assert ticket_of(await order(other)) != url
    assert ticket_of(await order(asking, "a.trusted.test")) != url
    assert (await order(asking)).status == 201


async def test_a_granted_ticket_ends_with_its_time(world: World, asking: Client) -> None:
    """ticket_seconds of the product; afterwards it is asked anew."""
    url = ticket_of(await order(asking))
    await approve(asking, url)
    world.clock.advance(seconds=3601)
    assert b"time is over" in (await asking.get(url)).body
    assert ticket_of(await order(asking)) != url
    ended = await world.store.one(ORDER, url.rpartition("/")[2])
    assert ended is not None
    assert ended.status is OrderStatus.INVALID


async def test_a_ticket_that_expired_unseen_does_not_stand_in_the_way(world: World, asking: Client) -> None:
    """Before the worker came by, too: the client is never told of a conflict for ever."""
    url = ticket_of(await order(asking))
    world.clock.advance(days=8)
    assert ticket_of(await order(asking)) != url


async def test_a_rejected_ticket_tells_why(world: World, asking: Client) -> None:
    """In the problem and on the page; a quarter of an hour later somebody may be asked again."""
    url = ticket_of(await order(asking))
    await world.approval.reject(url.rpartition("/")[2], APPROVER, "not in the inventory")
    refused = await order(asking)
    assert refused.problem() == (403, "unauthorized")
    assert "not in the inventory" in refused.json["detail"]
    assert b"not in the inventory" in (await asking.get(url)).body
    world.clock.advance(seconds=901)
    assert ticket_of(await order(asking)) != url


async def test_nobody_grants_their_own_ticket(world: World, asking: Client) -> None:
    """The credential is alice's."""
    url = ticket_of(await order(asking))
    with pytest.raises(Forbidden):
        await world.approval.approve(url.rpartition("/")[2], operator("user:alice@cli"))


async def test_proofs_are_owed_all_the_same(world: World, asking: Client) -> None:
    """A person decides whether, not whose the name is."""
    url = ticket_of(await order(asking, "a.challenged.test"))
    await approve(asking, url)
    placed = await order(asking, "a.challenged.test")
    assert placed.json["status"] == "pending"
    assert len(placed.json["authorizations"]) == 1


async def test_a_deactivated_account_gets_nothing_of_what_was_granted(world: World, asking: Client) -> None:
    """Its tickets end with it."""
    url = ticket_of(await order(asking))
    await approve(asking, url)
    placed = await order(asking)
    await asking.post(asking.kid or "", {"status": "deactivated"})
    assert (await finalize(asking, placed)).problem() == (401, "unauthorized")
    ended = await world.store.one(ORDER, url.rpartition("/")[2])
    assert ended is not None
    assert ended.status is OrderStatus.INVALID


async def test_tickets_are_no_orders_to_their_client(asking: Client) -> None:
    """Not in the list, not to be finalized; there are none of other mounts, and none that are orders."""
    url = ticket_of(await order(asking))
    assert (await asking.post(f"{asking.kid}/orders")).json == {"orders": []}
    number = url.rpartition("/")[2]
    answer = await asking.post(asking.url(f"order/{number}/finalize"), {"csr": b64(make_csr(NAMES))})
    assert answer.problem() == (403, "orderNotReady")
    await approve(asking, url)
    answer = await asking.post(asking.url(f"order/{number}/finalize"), {"csr": b64(make_csr(NAMES))})
    assert answer.problem() == (403, "orderNotReady")
    plain = await asking.ready()
    for wrong in (plain.header("Location").rpartition("/")[2], "a" * 38, "x%20y"):
        assert (await asking.get(asking.url(f"ticket/{wrong}"))).status == 404
    assert (await asking.get(f"{ORIGIN}/acme/bound/ticket/{number}")).status == 404


async def test_tickets_are_in_the_list_of_what_waits_and_in_the_audit_log(world: World, asking: Client) -> None:
    """An administrator finds them as held orders; each step is an event."""
    url = ticket_of(await order(asking))
    (waiting,) = await world.store.many(ORDERS, "held", "", "", 10)
    assert waiting.id == url.rpartition("/")[2]
    await approve(asking, url)
    leaves = [row.leaf for row in await world.store.many(AUDIT, 0, 500) if waiting.id.encode() in row.leaf]
    assert [b"ra:order:held" in leaves[0], b"ra:order:approved" in leaves[-1]] == [True, True]


async def test_mode_b_holds_for_clients_that_wait(world: World, member: Client) -> None:
    """The option of the product: processing with Retry-After, then valid."""
    placed = await member.order("a.trusted.test", profile="asked")
    held = await finalize(member, placed, "a.trusted.test")
    assert (held.json["status"], held.header("Retry-After")) == ("processing", "60")
    await approve(member, placed.header("Location"))
    assert (await member.post(placed.header("Location"))).json["status"] == "valid"


async def test_parallel_orders_open_one_ticket(asking: Client) -> None:
    """Several instances of a client ask at the same moment."""
    clients = [Client(asking.world, asking.key, kid=asking.kid) for _ in range(5)]
    answers = await asyncio.gather(*(order(one) for one in clients))
    assert len({ticket_of(answer) for answer in answers}) == 1
