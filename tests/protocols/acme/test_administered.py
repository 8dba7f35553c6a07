"""What administrators decide, seen through the door: accounts, products, secrets, domains, incidents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from policy.account import Group
from policy.acting import operator
from policy.credentialing import CredentialAdministration
from policy.domain import DomainScope
from policy.prevalidation import Prevalidation
from policy.problems import Malformed, OrderConflict, UnknownCertificate, UnknownProduct
from policy.product import ProductState, Selector
from policy.store import AUDIT, CREDENTIAL
from protocols.renewalinfo import write_certid
from tests.protocols.acme.client import Answer, Client, b64, make_csr, unb64
from tests.protocols.acme.world import EAB_KEY, NOON, World

ADMIN = operator("user:admin")


def number(client: Client) -> str:
    return (client.kid or "").rpartition("/")[2]


# --------------------------------------------------------------------------- accounts


async def test_a_suspended_account_stops_at_once_and_goes_on(world: World, member: Client) -> None:
    """No request of it is served, no order of it issued; afterwards everything is as it was."""
    order = await member.ready()
    registering = world.parts.registering
    await registering.suspend(number(member), "an odd pattern", ADMIN)
    csr = {"csr": b64(make_csr(("a.trusted.test",)))}
    assert (await member.post(order.json["finalize"], csr)).problem() == (401, "unauthorized")
    assert (await member.post(member.kid or "")).problem() == (401, "unauthorized")
    assert (await Client(world, member.key).register()).problem() == (401, "unauthorized")
    with pytest.raises(OrderConflict):
        await registering.suspend(number(member), "again", ADMIN)
    await registering.resume(number(member), ADMIN)
    assert (await member.post(order.json["finalize"], csr)).json["status"] == "valid"
    with pytest.raises(OrderConflict):
        await registering.resume(number(member), ADMIN)


async def test_an_account_that_was_ended_never_comes_back(world: World, member: Client) -> None:
    """RFC 8555 section 7.1.6 "revoked"; its open orders end, its key is no account key at any mount."""
    order = await member.ready()
    await world.parts.registering.revoke(number(member), "left the company", ADMIN)
    assert (await member.post(order.header("Location"))).problem() == (401, "unauthorized")
    assert (await Client(world, member.key).register()).problem() == (401, "unauthorized")
    elsewhere = Client(world, member.key, "bound")
    answer = await elsewhere.register(externalAccountBinding=elsewhere.binding("kid-1", EAB_KEY))
    assert answer.problem() == (403, "unauthorized")
    with pytest.raises(OrderConflict):
        await world.parts.registering.resume(number(member), ADMIN)
    with pytest.raises(OrderConflict):
        await world.parts.registering.revoke(number(member), "again", ADMIN)
    leaves = [row.leaf for row in await world.store.many(AUDIT, 0, 500)]
    assert any(b"admin:account:revoked" in leaf and b"left the company" in leaf for leaf in leaves)
    assert any(b"ra:order:failed" in leaf for leaf in leaves)


# --------------------------------------------------------------------------- several products, one credential


@pytest.fixture
async def choosing(world: World, member: Client) -> Client:
    """The first product is the default, "other" for several names, "asked" (without approval) for wildcards."""
    await world.change("other", selector=Selector(min_names=2, wildcards=False))
    await world.change("asked", approval=False, selector=Selector(wildcards=True, types=("dns",)))
    return member


@pytest.mark.parametrize(
    ("identifiers", "profile", "product"),
    [
        (("dns:a.trusted.test",), None, "standard"),
        (("dns:a.trusted.test", "dns:b.trusted.test"), None, "other"),
        (("dns:*.trusted.test",), None, "asked"),
        (("dns:*.trusted.test", "dns:trusted.test"), None, "asked"),
        (("dns:*.trusted.test", "ip:192.0.2.1"), None, "standard"),
        (("dns:a.trusted.test", "dns:b.trusted.test"), "standard", "standard"),
        (("dns:a.trusted.test",), "asked", "asked"),
    ],
)
async def test_one_binding_serves_several_products(
    choosing: Client, identifiers: tuple[str, ...], profile: str | None, product: str
) -> None:
    """By profile, else by number and kind of names, else the default; the order shows which."""
    wanted = [dict(zip(("type", "value"), one.split(":"), strict=True)) for one in identifiers]
    payload: dict[str, Any] = {"identifiers": wanted} | ({"profile": profile} if profile else {})
    answer = await choosing.post(choosing.url("new-order"), payload)
    assert answer.json["profile"] == product


async def test_a_product_that_is_not_active_is_not_chosen(choosing: Client) -> None:
    """The default goes on in its place; asked for by name it is refused."""
    await choosing.world.change("other", state=ProductState.SUSPENDED)
    names = ("a.trusted.test", "b.trusted.test")
    assert (await choosing.order(*names)).json["profile"] == "standard"
    assert (await choosing.order(*names, profile="other")).problem() == (400, "invalidProfile")


def test_a_selector_knows_key_types_where_there_is_a_key() -> None:
    """Doors whose first request has the key choose by it; ACME does not know it yet."""
    selector = Selector(max_names=1, key_types=("rsa-2048",))
    assert selector.fits((), "rsa-2048")
    assert selector.fits((), None)
    assert not selector.fits((), "ec-p256")


# --------------------------------------------------------------------------- rotation


async def test_a_rotated_secret_needs_no_new_registration(world: World) -> None:
    """Accounts are bound to the credential, not to its secret: they go on; the old secret binds no more."""
    client = Client(world, label="bound")
    answer = await client.register(externalAccountBinding=client.binding("kid-1", EAB_KEY))
    assert answer.status == 201
    await client.issue("a.trusted.test")
    credentials = CredentialAdministration(world.store, world.sealing, world.parts.revocation, world.clock)
    rotated = await credentials.rotate_credential("kid-1", 3600, ADMIN)
    await client.issue("b.trusted.test")
    assert (await Client(world, client.key, "bound").register()).status == 200
    fresh = unb64(rotated.secret or "")

    async def bind(secret: bytes) -> int:
        other = Client(world, label="bound")
        return (await other.register(externalAccountBinding=other.binding("kid-1", secret))).status

    assert [await bind(EAB_KEY), await bind(fresh)] == [201, 201]
    world.clock.advance(seconds=3601)
    assert [await bind(EAB_KEY), await bind(fresh)] == [401, 201]
    await client.issue("c.trusted.test")
    stored = await world.store.one(CREDENTIAL, "bound")
    assert stored is not None
    await credentials.revoke_credential("kid-1", "stolen", ADMIN)
    assert (await client.order("d.trusted.test")).problem() == (403, "unauthorized")


# --------------------------------------------------------------------------- pre-validated domains


@pytest.fixture
def domains(world: World) -> Prevalidation:
    return Prevalidation(world.store, world.validating, world.clock)


async def vouch(domains: Prevalidation, scope: str = "subdomains", days: float = 30) -> None:
    await domains.add("Challenged.test", "ops", DomainScope(scope), NOON + timedelta(days=days), ADMIN, "by letter")


@pytest.mark.parametrize(
    ("scope", "ready"),
    [
        ("exact", (True, False, False, False)),
        ("subdomains", (True, True, False, False)),
        ("wildcard", (True, True, True, False)),
    ],
)
async def test_b_a_domain_of_the_group_needs_no_challenge(
    domains: Prevalidation, member: Client, scope: str, ready: tuple[bool, ...]
) -> None:
    """As far as its scope reaches."""
    await vouch(domains, scope)
    names = ("challenged.test", "a.b.challenged.test", "*.challenged.test", "badchallenged.test")
    found = [(await member.order(name)).json["status"] == "ready" for name in names]
    assert tuple(found) == ready


async def test_b_a_certificate_for_a_pre_validated_domain(world: World, domains: Prevalidation, member: Client) -> None:
    """The authorization is valid, CAA is asked all the same, the trace says how it was proven."""
    await vouch(domains)
    order = await member.order("a.challenged.test", "b.challenged.test")
    shown = (await member.post(order.json["authorizations"][0])).json
    assert (shown["status"], [one["status"] for one in shown["challenges"]]) == ("valid", ["valid"])
    csr = {"csr": b64(make_csr(("a.challenged.test", "b.challenged.test")))}
    assert (await member.post(order.json["finalize"], csr)).json["status"] == "valid"


async def test_b_what_is_taken_back_issues_nothing(world: World, domains: Prevalidation, member: Client) -> None:
    """Also for an order that was ready; and so does the end of its time."""
    await vouch(domains, days=2)
    first, second = await member.order("a.challenged.test"), await member.order("a.challenged.test")
    csr = {"csr": b64(make_csr(("a.challenged.test",)))}
    await domains.remove("challenged.test", "ops", ADMIN)
    refused = await member.post(first.json["finalize"], csr)
    assert refused.problem() == (403, "rejectedIdentifier")
    assert (await member.order("a.challenged.test")).json["status"] == "pending"
    await vouch(domains, days=2)
    world.clock.advance(days=3)
    assert (await member.post(second.json["finalize"], csr)).problem() == (403, "orderNotReady")
    assert (await member.order("a.challenged.test")).json["status"] == "pending"


async def test_b_domains_of_other_groups_do_not_count(world: World, domains: Prevalidation, member: Client) -> None:
    """And they are kept apart, whatever they are called."""
    await world.insert(Group("web"))
    await domains.add("challenged.test", "web", DomainScope.WILDCARD, NOON + timedelta(days=30), ADMIN)
    assert (await member.order("challenged.test")).json["status"] == "pending"
    assert [one.group for one in await domains.all(ADMIN)] == ["web"]
    assert await domains.all(ADMIN, "ops") == []


@pytest.mark.parametrize(
    ("name", "group", "scope", "days"),
    [
        ("*.challenged.test", "ops", "wildcard", 30),
        ("co.uk", "ops", "subdomains", 30),
        ("a_b.test", "ops", "exact", 30),
        ("challenged.test", "nobody", "exact", 30),
        ("challenged.test", "ops", "exact", 0),
        ("challenged.test", "ops", "exact", 2000),
    ],
)
async def test_b_domains_that_cannot_be_vouched_for(
    domains: Prevalidation, name: str, group: str, scope: str, days: int
) -> None:
    with pytest.raises(Malformed):
        await domains.add(name, group, DomainScope(scope), NOON + timedelta(days=days), ADMIN)
    with pytest.raises(Malformed):
        await domains.remove("challenged.test", "ops", ADMIN)


# --------------------------------------------------------------------------- renew these now


async def window(client: Client, order: Answer) -> dict[str, Any]:
    certificate = await client.certificate(order)
    issuer = client.world.parts.ca.issuer("issuing")
    certid = write_certid(issuer.id, f"{certificate.serial_number:040x}")
    answer = await client.get(client.url(f"renewal-info/{certid}"))
    assert answer.status == 200
    assert int(answer.header("Retry-After")) > 0
    return answer.json


def serial(order: Answer) -> str:
    found = order.json["certificate"].rpartition("/")[2]
    assert isinstance(found, str)
    return found


PAGE = "https://ca.certgate.test/incident-1"


async def test_a11_certificates_are_called_back(world: World, member: Client) -> None:
    """RFC 9773 section 4.2: a window in the past and a page for people, for these and no others; and withdrawn.

    Rows: A11.
    """
    one, other = await member.issue(), await member.issue("b.trusted.test")
    before = await window(member, one)
    await world.parts.renewal.demand(ADMIN, why="wrong extension", serials=[serial(one)], explanation_url=PAGE)
    found = await window(member, one)
    assert found["explanationURL"] == PAGE
    assert found["suggestedWindow"]["start"] < found["suggestedWindow"]["end"] <= "2026-03-01T12:00:00Z"
    assert "explanationURL" not in await window(member, other)
    await world.parts.renewal.withdraw(ADMIN, serials=[serial(one)])
    assert await window(member, one) == before
    with pytest.raises(OrderConflict):
        await world.parts.renewal.withdraw(ADMIN, serials=[serial(one)])


async def test_a11_all_of_a_product_are_called_back_but_not_their_successors(world: World, member: Client) -> None:
    """What is issued after the incident is not renewed again. Rows: A11."""
    one = await member.issue()
    other = await member.issue("b.trusted.test", profile="other")
    await world.parts.renewal.demand(ADMIN, why="an incident", product="standard", explanation_url=PAGE)
    assert (await window(member, one))["explanationURL"] == PAGE
    assert "explanationURL" not in await window(member, other)
    world.clock.advance(days=2)
    successor = await member.issue()
    assert "explanationURL" not in await window(member, successor)
    assert (await window(member, one))["explanationURL"] == PAGE


async def test_a11_what_cannot_be_called_back(world: World, member: Client) -> None:
    """Nothing is written when one of several is wrong."""
    one = await member.issue()
    renewal = world.parts.renewal
    for wrong, problem in (
        ({"serials": [serial(one), "00"]}, UnknownCertificate),
        ({"serials": [serial(one)], "product": "nothing"}, UnknownProduct),
        ({"serials": [serial(one)], "explanation_url": "javascript:alert(1)"}, Malformed),
        ({}, Malformed),
    ):
        with pytest.raises(problem):
            await renewal.demand(ADMIN, why="x", **wrong)
    assert await renewal.demands() == []


# --------------------------------------------------------------------------- RFC 8555 section 7.3.6


async def test_a4_a_deactivated_account_is_over(world: World, member: Client) -> None:
    """401 for everything, pending orders end, no new account with its key, and its certificates stay valid.

    Rows: A4.
    """
    issued = await member.issue()
    certificate = await member.certificate(issued)
    pending = await member.order("a.challenged.test")
    answer = await member.post(member.kid or "", {"status": "deactivated", "contact": ["mailto:ignored@example.org"]})
    assert answer.json["status"] == "deactivated"
    assert "contact" not in answer.json
    for url in (member.kid or "", pending.header("Location"), issued.json["certificate"], member.url("new-order")):
        assert (await member.post(url)).problem() == (401, "unauthorized")
    assert (await Client(world, member.key).register(onlyReturnExisting=True)).problem() == (401, "unauthorized")
    found = await world.parts.fulfilment.certificate(serial(issued))
    assert found is not None
    assert certificate.serial_number == int(serial(issued), 16)


async def test_a4_orders_that_came_to_nothing_are_not_listed(world: World, member: Client) -> None:
    """RFC 8555 section 7.1.2.1, after an expiry that nobody wrote down yet, too."""
    good = await member.issue()
    await member.order("a.challenged.test")
    world.clock.advance(days=8)
    assert (await member.post(f"{member.kid}/orders")).json == {"orders": [good.header("Location")]}
