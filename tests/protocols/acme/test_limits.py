"""Rate limits (A12): each one that can be configured does something, is told with Retry-After, and exempts renewals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from gateway.config.schema import LimitsSettings
from policy.acting import operator
from policy.limits import Limit
from policy.store import AUDIT
from protocols.acme.settings import ACMESettings
from protocols.renewalinfo import write_certid
from tests.protocols.acme.client import Answer, Client, b64, make_csr
from tests.protocols.acme.world import World, make_world

HOUR = 3600
HELP = "https://ca.certgate.test/limits"
Limited = Callable[..., Awaitable[Client]]


@pytest.fixture
async def limited(acme_ca: tuple[SoftwareKeyStore, Issuer]) -> AsyncIterator[Limited]:
    """A client with an account at a server with these limits an hour."""
    made: list[World] = []

    async def make(**limits: int) -> Client:
        found = {name: Limit(count, HOUR) for name, count in limits.items()}
        world = await make_world(*acme_ca, settings=ACMESettings(rate_limit_help_url=HELP), limits=found)
        made.append(world)
        client = Client(world)
        assert (await client.register()).status == 201
        return client

    yield make
    for world in made:
        await world.validating.drain()
        await world.store.close()


def refused(answer: Answer) -> None:
    """As RFC 8555 section 6.6 wants it."""
    assert answer.problem() == (429, "rateLimited")
    assert int(answer.header("Retry-After")) > 0
    assert answer.links("help") == [HELP]


async def test_a12_new_accounts_per_address(limited: Limited) -> None:
    """Another address is not concerned; an account that is there is found all the same. Rows: A12."""
    first = await limited(new_accounts_per_address=1)
    refused(await Client(first.world).register())
    assert (await Client(first.world, first.key).register()).status == 200
    assert (await Client(first.world, address="192.0.2.1").register()).status == 201


@pytest.mark.parametrize("limit", ["new_orders_per_account", "new_orders_per_credential"])
async def test_a12_orders_per_account_and_credential(limited: Limited, limit: str) -> None:
    """After an hour it goes on. Rows: A12."""
    client = await limited(**{limit: 2})
    await client.ready("a.trusted.test")
    await client.ready("b.trusted.test")
    refused(await client.order("c.trusted.test"))
    other = Client(client.world)
    await other.register()
    shared = limit == "new_orders_per_credential"
    assert (await other.order("d.trusted.test")).status == (429 if shared else 201)
    client.world.clock.advance(seconds=HOUR)
    assert (await client.order("c.trusted.test")).status == 201


async def test_a12_certificates_per_registered_domain(limited: Limited) -> None:
    """One domain, whatever the host and whoever orders; not before there are certificates; others go on. Rows: A12."""
    client = await limited(certificates_per_domain=2)
    other = Client(client.world)
    await other.register()
    waiting = await client.ready("c.trusted.test")
    await client.issue("a.trusted.test")
    await other.issue("b.trusted.test")
    answer = await client.order("d.trusted.test")
    refused(answer)
    assert "trusted.test" in answer.json["detail"]
    refused(await client.post(waiting.json["finalize"], {"csr": b64(make_csr(("c.trusted.test",)))}))
    assert (await client.post(waiting.header("Location"))).json["status"] == "ready"
    assert (await client.order("a.challenged.test")).status == 201


async def test_a12_parallel_finalizes_do_not_pass_the_limit(limited: Limited) -> None:
    """What is counted is counted before it is signed."""
    client = await limited(certificates_per_domain=2)
    clients = [Client(client.world, client.key, kid=client.kid) for _ in range(6)]
    names = [f"n{number}.trusted.test" for number in range(6)]
    orders = [await one.ready(name) for one, name in zip(clients, names, strict=True)]
    answers = await asyncio.gather(
        *(
            one.post(order.json["finalize"], {"csr": b64(make_csr((name,)))})
            for one, order, name in zip(clients, orders, names, strict=True)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429, 429, 429]


async def test_a12_duplicates_of_the_exact_set(limited: Limited) -> None:
    """Order of names does not matter; one name more is another set. Rows: A12."""
    client = await limited(duplicate_certificates=1)
    await client.issue("a.trusted.test", "b.trusted.test")
    refused(await client.order("b.trusted.test", "a.trusted.test"))
    await client.issue("a.trusted.test")
    await client.issue("a.trusted.test", "b.trusted.test", "c.trusted.test")


async def test_a12_renewals_by_ari_are_exempt(limited: Limited) -> None:
    """RFC 9773 section 5: an order that replaces a certificate passes every limit, once. Rows: A11."""
    client = await limited(new_orders_per_account=1, certificates_per_domain=1, duplicate_certificates=1)
    order = await client.issue()
    certificate = await client.certificate(order)
    issuer = client.world.parts.ca.issuer("issuing")
    certid = write_certid(issuer.id, f"{certificate.serial_number:040x}")
    refused(await client.order("a.trusted.test"))
    renewed = await client.issue(replaces=certid)
    assert (await client.certificate(renewed)).public_bytes(Encoding.DER) != certificate.public_bytes(Encoding.DER)
    assert (await client.order("a.trusted.test", replaces=certid)).problem() == (409, "alreadyReplaced")


async def failed(client: Client, name: str) -> Answer:
    """An order whose only challenge fails."""
    order = await client.order(name)
    assert order.status == 201, order.body
    (url,) = order.json["authorizations"]
    answer = await client.post(url.replace("/authz/", "/chall/") + "/http-01", {})
    for _ in range(200):
        if answer.status != 200 or answer.json["status"] == "invalid":
            return answer
        await asyncio.sleep(0.01)
        answer = await client.post(url.replace("/authz/", "/chall/") + "/http-01")
    raise AssertionError("it does not end")


async def test_a12_failed_validations_per_account_and_name(limited: Limited) -> None:
    """The third try for the name is refused; another name of the account is not. Rows: A12."""
    client = await limited(failed_validations_per_account=2)
    for _ in range(2):
        assert (await failed(client, "a.challenged.test")).json["status"] == "invalid"
    refused(await failed(client, "a.challenged.test"))
    assert (await failed(client, "b.challenged.test")).json["status"] == "invalid"


async def test_b_pausing_what_keeps_failing(limited: Limited) -> None:
    """newOrder is refused for that name, with how to go on, and not for others; an administrator unpauses."""
    client = await limited(failed_validations_until_pause=2)
    for _ in range(3):
        assert (await failed(client, "a.challenged.test")).json["status"] == "invalid"
    answer = await client.order("b.challenged.test", "a.challenged.test")
    refused(answer)
    assert "unpause" in answer.json["detail"]
    (sub,) = answer.json["subproblems"]
    assert sub["identifier"] == {"type": "dns", "value": "a.challenged.test"}
    assert (await client.order("b.challenged.test")).status == 201
    assert (await client.order("a.trusted.test")).status == 201
    account = (client.kid or "").rpartition("/")[2]
    registering = client.world.parts.registering
    (gone,) = await registering.unpause(account, ["a.challenged.test"], operator("user:admin"))
    assert gone.identifier.value == "a.challenged.test"
    assert (await client.order("a.challenged.test")).status == 201
    leaves = [row.leaf for row in await client.world.store.many(AUDIT, 0, 500)]
    assert sum(b"ra:account:paused" in leaf for leaf in leaves) == 1
    assert sum(b"admin:account:unpaused" in leaf for leaf in leaves) == 1


async def test_b_a_success_ends_the_count_for_a_pause(limited: Limited) -> None:
    """Only failures in a row pause."""
    client = await limited(failed_validations_until_pause=2)
    for _ in range(2):
        for _ in range(2):
            await failed(client, "a.challenged.test")
        order = await client.order("a.challenged.test")
        (url,) = order.json["authorizations"]
        found = (await client.post(url)).json
        one = next(each for each in found["challenges"] if each["type"] == "http-01")
        expected = client.world.validators["http-01"].expected
        expected["a.challenged.test", one["token"]] = f"{one['token']}.{client.key.thumbprint}"
        assert (await client.post(one["url"], {})).json["status"] == "valid"
    assert (await client.order("a.challenged.test")).status == 201


def test_every_limit_of_the_configuration_is_tested_here_or_at_the_door_it_is_of() -> None:
    """A setting that does nothing would be a lie: a new one needs its test."""
    assert {one.name for one in fields(LimitsSettings)} == {
        "failed_authentications_per_address",  # tests/policy/test_refusals.py
        "failed_authentications_per_reference",  # tests/protocols/cmp/test_protection.py
        "requests_per_credential",  # tests/protocols/rest/test_endpoint.py
        "new_accounts_per_address",
        "new_orders_per_credential",
        "new_orders_per_account",
        "certificates_per_domain",
        "duplicate_certificates",
        "failed_validations_per_account",
        "failed_validations_until_pause",
    }
