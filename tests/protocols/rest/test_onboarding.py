"""One call that brings a user in, and one that takes a user out; both may be repeated."""

from __future__ import annotations

from typing import Any

from policy.account import Group, User
from policy.order import OrderStatus
from policy.store import ORDER
from tests.conftest import ACTOR, House
from tests.protocols.rest.world import API, access_key, make_csr

BOB: dict[str, Any] = {
    "group": {"name": "web", "allowed_domains": ["certgate.test"]},
    "user": {"name": "bob", "email": "bob@example.org"},
    "credential": {"type": "rest", "products": ["tls"]},
}


async def test_one_call_brings_a_user_in_and_again_changes_nothing(api: API, house: House) -> None:
    """The credential works at once; the secret is shown by the call that made it and by no other."""
    first = await api("POST", "/onboarding", BOB)
    assert (first.status, first.json["made"]) == (201, ["group", "user", "credential"])
    assert (first.json["user"]["groups"], first.json["user"]["roles"]) == (["web"], ["requester"])
    bob = api.with_key(first.json["credential"]["secret"])
    assert (await bob("POST", "/orders", {"csr": make_csr("a.certgate.test")})).status == 201
    again = await api("POST", "/onboarding", BOB)
    assert (again.status, again.json["made"], again.json["credential"]["secret"]) == (200, [], None)
    assert again.json["credential"]["id"] == first.json["credential"]["id"]
    assert again.json["user"] == first.json["user"]


async def test_a_call_that_was_cut_short_goes_on(api: API, house: House) -> None:
    await house.core.people.apply_group(Group("web"), ACTOR)
    await house.core.people.apply_user(User("bob", ("web",), ("requester",)), ACTOR)
    answer = await api("POST", "/onboarding", BOB | {"group": "web"})
    assert (answer.status, answer.json["made"]) == (201, ["credential"])
    assert answer.json["credential"]["secret"]


async def test_somebody_elses_identifier_is_taken(api: API, house: House) -> None:
    await access_key(house, "alice", identifier="taken")
    credential = BOB["credential"] | {"identifier": "taken"}
    answer = await api("POST", "/onboarding", BOB | {"credential": credential})
    assert (answer.status, answer.code) == (409, "conflict")


async def test_a_group_that_is_not_there_is_missing(api: API) -> None:
    answer = await api("POST", "/onboarding", BOB | {"group": "nowhere"})
    assert (answer.status, answer.code) == (404, "not-found")


async def test_one_call_takes_a_user_out(api: API, house: House) -> None:
    """User, credentials and open orders stop, certificates when it is said; once more, there is nothing to do."""
    made = await api("POST", "/onboarding", BOB | {"group": "ops"})
    bob = api.with_key(made.json["credential"]["secret"])
    done = (await bob("POST", "/orders", {"csr": make_csr("a.certgate.test")})).json
    body = {"user": "bob", "reason": "left", "revoke_certificates": "affiliationChanged"}
    out = await api("POST", "/offboarding", body)
    assert out.status == 200
    assert (out.json["user"]["status"], out.json["credentials_revoked"]) == ("deactivated", ["bob-rest"])
    assert out.json["certificates_revoked"] == 1
    assert (await bob("GET", "/me")).status == 403
    shown = await house.core.inventory.certificate(done["certificate"]["serial"])
    assert shown.said(house.clock()) == "revoked"
    stored = await house.core.store.one(ORDER, done["id"])
    assert stored is not None and stored.status is OrderStatus.VALID
    again = await api("POST", "/offboarding", body)
    assert (again.status, again.json["credentials_revoked"], again.json["certificates_revoked"]) == (200, [], 0)
    back = await api("POST", "/onboarding", BOB | {"group": "ops"})
    assert (back.status, back.code) in {(403, "forbidden"), (409, "conflict"), (400, "malformed")}


async def test_who_may_not_stop_everything_stops_nothing(api: API, house: House) -> None:
    """An operator of one group does not take out whoever is in another one, too."""
    await house.core.people.apply_group(Group("web"), ACTOR)
    await house.core.people.apply_user(User("olga", ("web",), ("operator",)), ACTOR)
    await house.core.people.apply_user(User("both", ("web", "ops"), ("requester",)), ACTOR)
    live = api.with_key(await access_key(house, "both", "ops"))
    operator = api.with_key(await access_key(house, "olga", "web"))
    refused = await operator("POST", "/offboarding", {"user": "both"})
    assert refused.status in (403, 404)
    assert "ops" not in refused.json["detail"]
    assert (await live("GET", "/me")).status == 200
    missing = await operator("POST", "/offboarding", {"user": "alice"})
    nobody = await operator("POST", "/offboarding", {"user": "nobody"})
    assert (missing.status, nobody.status) == (404, 404)
    assert missing.json["detail"].replace("alice", "X") == nobody.json["detail"].replace("nobody", "X")
