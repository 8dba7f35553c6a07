"""newAuthz (RFC 8555 section 7.4.1) and ACME for subdomains (RFC 9444): options of a mount."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from policy.product import ValidationRules
from policy.store import AUDIT
from policy.validation.caa import CAARecord, CAASet
from tests.protocols.acme.client import Answer, Client, b64, make_csr
from tests.protocols.acme.world import World
from tests.replacing import replace


@pytest.fixture
async def open_world(world: World) -> AsyncIterator[World]:
    """With both options."""
    await world.reopen(pre_authorization=True, subdomains=True)
    yield world


@pytest.fixture
async def early(open_world: World) -> Client:
    """A member there."""
    client = Client(open_world)
    assert (await client.register()).status == 201
    return client


async def authorize(client: Client, name: str, kind: str = "dns", **more: Any) -> Answer:
    return await client.post(client.url("new-authz"), {"identifier": {"type": kind, "value": name}} | more)


async def prove(client: Client, url: str, method: str) -> Answer:
    """Put the right answer in its place and have it looked at."""
    found = (await client.post(url)).json
    one = next(each for each in found["challenges"] if each["type"] == method)
    expected = client.world.validators[method].expected
    token = one.get("token", "")
    expected[found["identifier"]["value"], token] = f"{token}.{client.key.thumbprint}"
    return await client.post(one["url"], {})


async def issue(client: Client, order: Answer, *names: str) -> Answer:
    return await client.post(order.json["finalize"], {"csr": b64(make_csr(names))})


async def test_the_directory_names_what_is_offered(world: World) -> None:
    """Row 10: newAuthz only where it is served; RFC 9444 section 4.4 for the other one. Rows: R10."""
    client = Client(world)
    plain = (await client.get(client.url("directory"))).json
    assert "newAuthz" not in plain
    assert "subdomainAuthAllowed" not in plain["meta"]
    await world.reopen(pre_authorization=True, subdomains=True)
    shown = (await client.get(client.url("directory"))).json
    assert shown["newAuthz"] == client.url("new-authz")
    assert shown["meta"]["subdomainAuthAllowed"] is True


async def test_b_a_name_is_proven_before_it_is_ordered(early: Client) -> None:
    """201 with Location; once valid, orders need no challenge, and asking again gives the same."""
    made = await authorize(early, "A.challenged.test")
    assert made.status == 201
    url = made.header("Location")
    assert made.json["identifier"] == {"type": "dns", "value": "a.challenged.test"}
    assert made.json["status"] == "pending"
    assert (await early.order("a.challenged.test")).json["status"] == "pending"
    assert (await prove(early, url, "http-01")).json["status"] == "valid"
    again = await authorize(early, "a.challenged.test")
    assert (again.status, again.header("Location")) == (201, url)
    for _ in range(2):
        order = await early.order("a.challenged.test")
        assert order.json["status"] == "ready"
        assert order.json["authorizations"] == [url]
        assert (await issue(early, order, "a.challenged.test")).json["status"] == "valid"
    leaves = [row.leaf for row in await early.world.store.many(AUDIT, 0, 500)]
    assert sum(b"ra:authorization:created" in leaf for leaf in leaves) >= 1


async def test_b_one_proof_is_not_for_other_names_accounts_or_products(early: Client) -> None:
    """Trap T-19. Rows: T-19."""
    made = await authorize(early, "challenged.test")
    await prove(early, made.header("Location"), "dns-01")
    other = Client(early.world)
    await other.register()
    assert (await other.order("challenged.test")).json["status"] == "pending"
    assert (await early.order("b.challenged.test")).json["status"] == "pending"
    assert (await early.order("*.challenged.test")).json["status"] == "pending"
    assert (await early.order("challenged.test", profile="other")).json["status"] == "pending"
    await early.post(made.header("Location"), {"status": "deactivated"})
    assert (await early.order("challenged.test")).json["status"] == "pending"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"identifier": {"type": "dns", "value": "*.challenged.test"}}, (400, "malformed")),
        ({"identifier": {"type": "dns", "value": "a_b.test"}}, (403, "rejectedIdentifier")),
        ({"identifier": {"type": "dns", "value": "a.denied.test"}}, (403, "rejectedIdentifier")),
        ({"identifier": {"type": "magic", "value": "x"}}, (400, "unsupportedIdentifier")),
        ({"identifier": {"type": "ip", "value": "::1"}, "subdomainAuthAllowed": True}, (400, "unsupportedIdentifier")),
        ({"identifier": {"type": "dns", "value": "co.uk"}, "subdomainAuthAllowed": True}, (403, "rejectedIdentifier")),
        ({"identifier": {"type": "dns", "value": "a.test"}, "profile": "nothing"}, (400, "invalidProfile")),
        ({}, (400, "malformed")),
    ],
)  # fmt: skip
async def test_b_what_cannot_be_authorized(early: Client, payload: Any, said: tuple[int, str]) -> None:
    """RFC 8555 section 7.4.1: no wildcards, and what no order could have either."""
    assert (await early.post(early.url("new-authz"), payload)).problem() == said


async def test_b_an_address_is_authorized_early(early: Client) -> None:
    """RFC 8738."""
    made = await authorize(early, "192.0.2.1", "ip")
    await prove(early, made.header("Location"), "http-01")
    order = await early.post(early.url("new-order"), {"identifiers": [{"type": "ip", "value": "192.0.2.1"}]})
    assert order.json["status"] == "ready"


@pytest.mark.parametrize("beside", [True, False])
async def test_b_a_domain_is_proven_for_all_below_it(early: Client, beside: bool) -> None:
    """RFC 9444 section 4.2: by DNS only; the authorization says so; names below and wildcards need nothing more."""
    more: dict[str, Any] = {"subdomainAuthAllowed": True}
    if beside:
        made = await authorize(early, "challenged.test", **more)
    else:
        identifier = {"type": "dns", "value": "challenged.test"} | more
        made = await early.post(early.url("new-authz"), {"identifier": identifier})
    assert made.json["subdomainAuthAllowed"] is True
    assert [one["type"] for one in made.json["challenges"]] == ["dns-01"]
    url = made.header("Location")
    await prove(early, url, "dns-01")
    names = ("a.b.challenged.test", "challenged.test", "*.c.challenged.test")
    order = await early.order(*names)
    assert order.json["authorizations"] == [url]
    assert (await issue(early, order, *names)).json["status"] == "valid"
    assert (await early.order("badchallenged.test")).json["status"] == "pending"


async def test_b_a_client_names_the_domain_above(early: Client) -> None:
    """RFC 9444 section 4.1: one authorization, for the ancestor, for all the names that name it."""
    wanted = [
        {"type": "dns", "value": name, "ancestorDomain": "challenged.test"}
        for name in ("a.challenged.test", "b.c.challenged.test")
    ]
    order = await early.post(early.url("new-order"), {"identifiers": wanted})
    assert order.status == 201
    (url,) = order.json["authorizations"]
    shown = (await early.post(url)).json
    assert (shown["identifier"]["value"], shown["subdomainAuthAllowed"]) == ("challenged.test", True)
    await prove(early, url, "dns-01")
    assert (await issue(early, order, "a.challenged.test", "b.c.challenged.test")).json["status"] == "valid"


@pytest.mark.parametrize("ancestor", ["b.challenged.test", "a.challenged.test", "nged.test", "uk", "a_b.test"])
async def test_b_ancestors_that_are_none(early: Client, ancestor: str) -> None:
    """Neither beside, nor itself, nor part of a label, nor what nobody owns."""
    name = "x.co.uk" if ancestor == "uk" else "a.challenged.test"
    wanted = [{"type": "dns", "value": name, "ancestorDomain": ancestor}]
    answer = await early.post(early.url("new-order"), {"identifiers": wanted})
    assert answer.problem() == (403, "rejectedIdentifier")


async def test_b_caa_of_the_name_itself_is_asked(early: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof is of the domain above, CAA is of the name (RFC 8659 section 3): asked at finalize."""
    made = await authorize(early, "challenged.test", subdomainAuthAllowed=True)
    await prove(early, made.header("Location"), "dns-01")

    async def caa(domain: str, **_: object) -> CAASet:
        forbids = domain == "a.challenged.test"
        return CAASet(domain, (CAARecord(0, "issue", "other.example"),)) if forbids else CAASet(None)

    monkeypatch.setattr(early.world.validating.caa, "caa", caa)
    order = await early.order("a.challenged.test", "b.challenged.test")
    answer = await issue(early, order, "a.challenged.test", "b.challenged.test")
    assert answer.problem() == (403, "caa")
    order = await early.order("b.challenged.test")
    assert (await issue(early, order, "b.challenged.test")).json["status"] == "valid"


async def test_without_the_option_an_ancestor_means_nothing(member: Client) -> None:
    """As every member that is not known (RFC 8555 section 7.3)."""
    wanted = [{"type": "dns", "value": "a.challenged.test", "ancestorDomain": "challenged.test"}]
    order = await member.post(member.url("new-order"), {"identifiers": wanted})
    shown = (await member.post(order.json["authorizations"][0])).json
    assert shown["identifier"]["value"] == "a.challenged.test"
    assert "subdomainAuthAllowed" not in shown


async def test_terms_are_asked_for_here_too(open_world: World, early: Client) -> None:
    """RFC 8555 section 7.3.3."""
    await open_world.reopen(terms_of_service="https://ca.certgate.test/terms-2", require_current_terms=True)
    answer = await authorize(early, "challenged.test")
    assert answer.problem() == (403, "userActionRequired")
    assert answer.links("terms-of-service") == ["https://ca.certgate.test/terms-2"]
    assert (await early.post(early.kid or "", {"termsOfServiceAgreed": True})).status == 200
    assert (await authorize(early, "challenged.test")).status == 201


# --------------------------------------------------------------------------- challenges of drafts


async def test_b_drafts_challenges_are_offered_only_where_a_product_names_them(world: World, member: Client) -> None:
    """Trap T-31: a challenge without token breaks installed clients, so nobody gets it unasked. Rows: C2, T-31."""
    order = await member.order("a.challenged.test")
    shown = (await member.post(order.json["authorizations"][0])).json
    assert [one["type"] for one in shown["challenges"]] == ["http-01", "dns-01", "tls-alpn-01"]
    rules = replace(ValidationRules(), methods=("dns-account-01", "dns-persist-01"))
    await world.change("standard", validation=rules)
    order = await member.order("a.challenged.test", "*.challenged.test")
    for url in order.json["authorizations"]:
        shown = (await member.post(url)).json
        account, persist = shown["challenges"]
        assert (account["type"], persist["type"]) == ("dns-account-01", "dns-persist-01")
        assert len(account["token"]) >= 22
        assert "token" not in persist
        assert persist["accounturi"] == member.kid
        assert persist["issuer-domain-names"] == []
        assert "accounturi" not in account
        assert (await member.post(persist["url"])).json == persist


async def test_b_a_standing_permission_is_looked_at_for_each_order(world: World, member: Client) -> None:
    """dns-persist-01 is proven without any token, and never reused: the record may be gone."""
    rules = replace(ValidationRules(), methods=("dns-persist-01",), reuse_seconds=86400)
    await world.change("standard", validation=rules)
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    assert (await prove(member, url, "dns-persist-01")).json["status"] == "valid"
    assert (await issue(member, order, "a.challenged.test")).json["status"] == "valid"
    assert (await member.order("a.challenged.test")).json["status"] == "pending"
