"""Two server objects on one store: what counts once counts once for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from policy.audit import AuditTag
from policy.store import AUDIT
from tests.protocols.acme.client import Answer, Client, Key, b64, make_csr
from tests.protocols.acme.world import World, make_world


@pytest.fixture
async def beside(acme_ca: tuple[SoftwareKeyStore, Issuer], world: World) -> AsyncIterator[World]:
    """A second server on the store of the first."""
    made = await make_world(*acme_ca, beside=world)
    yield made
    await made.validating.drain()


@pytest.fixture
def second(member: Client, beside: World) -> Client:
    """The same client, as the second server sees it."""
    return Client(beside, member.key, kid=member.kid)


async def test_a_nonce_serves_once_on_both(member: Client, second: Client) -> None:
    """RFC 8555 section 6.5: redeemed at one server, dead at the other; given out by one, good at the other.

    Rows: A3, T-16.
    """
    for first, other in ((member, second), (second, member)):
        sent = first.key.sign(b"", member.kid or "", await first.fresh(), member.kid)
        assert (await other.send(member.kid or "", sent)).status == 200
        for again in (first, other):
            assert (await again.send(member.kid or "", sent)).problem() == (400, "badNonce")


async def test_of_twenty_requests_with_one_nonce_one_is_served(member: Client, second: Client) -> None:
    """At the same moment, at both servers; no two nonces that they give out are the same. Rows: A3, T-16."""
    sent = member.key.sign(b"", member.kid or "", await member.fresh(), member.kid)
    clients = [Client((member, second)[place % 2].world, member.key, kid=member.kid) for place in range(20)]
    answers = await asyncio.gather(*(one.send(member.kid or "", sent) for one in clients))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 19
    assert {answer.problem() for answer in answers if answer.status == 400} == {(400, "badNonce")}
    assert len({one.nonce for one in clients}) == 20


async def finalized(member: Client, second: Client, requests: list[str]) -> tuple[list[Answer], int]:
    """Answers to these requests for one order, sent to both servers at once, and how many certificates came of it."""
    order = await member.ready()
    clients = [Client((member, second)[place % 2].world, member.key, kid=member.kid) for place in range(len(requests))]
    pairs = zip(clients, requests, strict=True)
    answers = await asyncio.gather(*(one.post(order.json["finalize"], {"csr": csr}) for one, csr in pairs))
    leaves = [row.leaf for row in await member.world.store.many(AUDIT, 0, 500)]
    return answers, sum(str(AuditTag.CERTIFICATE_ISSUED).encode() in leaf for leaf in leaves)


async def test_twenty_parallel_finalizes_give_one_certificate(member: Client, second: Client) -> None:
    """The same request to both: every answer is the order, and there is one certificate. Rows: A9, T-6."""
    answers, issued = await finalized(member, second, [b64(make_csr(("a.trusted.test",)))] * 20)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["certificate"] for answer in answers if answer.json["status"] == "valid"}) == 1
    assert issued == 1


async def test_twenty_different_requests_give_one_certificate(member: Client, second: Client) -> None:
    """Each with a key of its own: one is taken, the others are told that the order is not ready. Rows: A12, T-6."""
    answers, issued = await finalized(member, second, [b64(make_csr(("a.trusted.test",))) for _ in range(20)])
    assert sorted(answer.status for answer in answers) == [200] + [403] * 19
    assert {answer.problem() for answer in answers if answer.status == 403} == {(403, "orderNotReady")}
    assert issued == 1


async def test_a_key_that_was_changed_at_one_server_is_dead_at_the_other(member: Client, second: Client) -> None:
    """RFC 8555 section 7.3.5: no cache keeps the old key alive, although both servers have just used it. Rows: T-13."""
    assert (await second.post(second.kid or "")).status == 200
    new = Key.ec()
    payload = json.dumps({"account": member.kid, "oldKey": member.key.public}).encode()
    inner = json.loads(new.sign(payload, member.url("key-change")))
    assert (await member.post(member.url("key-change"), inner)).status == 200
    for old in (member, second):
        assert (await old.post(member.kid or "")).problem() == (401, "unauthorized")
    assert (await Client(second.world, new, kid=member.kid).post(member.kid or "")).status == 200


async def test_an_account_that_ended_at_one_server_is_over_at_the_other(member: Client, second: Client) -> None:
    """RFC 8555 section 7.3.6. Rows: T-20."""
    assert (await second.post(second.kid or "")).status == 200
    assert (await member.post(member.kid or "", {"status": "deactivated"})).status == 200
    assert (await second.post(second.kid or "")).problem() == (401, "unauthorized")
    second.kid = None
    assert (await second.register()).problem() == (401, "unauthorized")
