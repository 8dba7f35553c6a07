"""What every operation has: authentication, permissions, problems with pointers, idempotency, entity tags, limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from policy.accesskey import new_access_key, read_access_key
from policy.limits import Limit
from policy.problems import Unauthenticated
from policy.store import KnownRequest, Query
from tests.conftest import ACTOR, House
from tests.protocols.rest.world import API, access_key, make_csr, stranger_key


async def test_me_says_who_asks_and_what_may_be_ordered(api: API) -> None:
    """rest.md 5: GET /me."""
    answer = await api("GET", "/me")
    assert answer.status == 200
    assert answer.json["user"] == "root" and answer.json["group"] == "ops"
    assert [one["name"] for one in answer.json["products"]] == ["tls"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["RateLimit-Policy"].startswith('"credential";q=')


@pytest.mark.parametrize("field", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}])
async def test_without_a_key_nothing_is_told(api: API, field: dict[str, str]) -> None:
    answer = await api.with_key("")("GET", "/me", headers=field)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_wrong_key_is_refused_alike_whether_its_identifier_exists_or_not(api: API) -> None:
    """Row 4.1: nobody learns which identifiers exist."""
    identifier, _ = read_access_key(api.key)
    said = {
        (await api.with_key(new_access_key("live", name))("GET", "/me")).body for name in (identifier, "cg-rest-nobody")
    }
    assert len(said) == 1
    assert (await api.with_key(api.key[:-1])("GET", "/me")).status == 401


def test_a_key_says_what_it_is_and_a_mistyped_one_is_noticed() -> None:
    """Row 4.1: cg_<env>_<id>_<secret and checksum>."""
    key = new_access_key("test", "ci-1")
    assert key.startswith("cg_test_ci-1_")
    assert read_access_key(key)[0] == "ci-1"
    for place in (3, 9, 20, len(key) - 1):
        wrong = key[:place] + ("x" if key[place] != "x" else "y") + key[place + 1 :]
        with pytest.raises(Unauthenticated):
            read_access_key(wrong)


@pytest.mark.parametrize("what", ["suspend", "revoke", "rotate"])
async def test_a_key_stops_at_once(api: API, house: House, what: str) -> None:
    """Section 7.6: what is revoked, suspended or rotated without overlap is refused by the next request."""
    admin, (identifier, _) = house.core.administration, read_access_key(api.key)
    assert (await api("GET", "/me")).status == 200
    if what == "suspend":
        await admin.suspend_credential(identifier, ACTOR)
    elif what == "revoke":
        await admin.revoke_credential(identifier, "gone", ACTOR)
    else:
        await admin.rotate_credential(identifier, 0, ACTOR)
    assert (await api("GET", "/me")).status == (401 if what == "rotate" else 403)


async def test_scopes_narrow_what_a_credential_may(api: API, house: House) -> None:
    """Least privilege: an administrator's key with one scope has that one permission."""
    narrow = api.with_key(await access_key(house, "root", options={"scopes": ["order:read"]}))
    answer = await narrow("POST", "/orders", {"csr": make_csr("a.certgate.test")})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert (await narrow("GET", "/orders/none")).status == 404


@pytest.mark.parametrize(
    ("body", "pointer", "rule", "nearest"),
    [
        ({"csr": 5}, "/csr", "type", None),
        ({}, "/csr", "required", None),
        ({"csr": "x", "prodct": "tls"}, "/prodct", "unknown", "product"),
        ({"csr": "x"}, "/csr", "bad-csr", None),
        ({"csr": make_csr("a.certgate.test"), "product": "tsl"}, "/product", "unknown-product", "tls"),
    ],
)
async def test_a_wrong_field_is_named_by_pointer_and_rule(
    api: API, body: object, pointer: str, rule: str, nearest: str | None
) -> None:
    """Row 4.3: errors[] with JSON pointer, rule, and the nearest value that is allowed."""
    answer = await api("POST", "/orders", body)
    assert answer.status == 422
    assert answer.code
    (error,) = answer.json["errors"]
    assert (error["pointer"], error["rule"], error.get("nearest")) == (pointer, rule, nearest)


async def test_what_is_not_json_is_refused(api: API) -> None:
    assert (await api("POST", "/orders", b"{")).code == "malformed"
    assert (await api("POST", "/orders", b"")).status == 400
    assert (await api("POST", "/orders", b"csr=1", {"Content-Type": "application/x-www-form-urlencoded"})).status == 415
    assert (await api("GET", "/me?page=2")).status == 422


async def test_the_same_key_makes_one_order_and_gives_the_same_answer(api: API, house: House) -> None:
    """Idempotency-Key: fifty identical requests at once make one order; those after it get its answer."""
    body, field = {"csr": make_csr("a.certgate.test")}, {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(*(api("POST", "/orders", body, field) for _ in range(50)))
    done = [one for one in answers if one.status == 201]
    assert done and {one.status for one in answers} <= {201, 409}
    assert all(one.headers["Retry-After"] == "1" for one in answers if one.status == 409)
    assert len([one async for one in house.core.inventory.orders()]) == 1
    again = await api("POST", "/orders", body, field)
    assert again.body == done[0].body and again.headers["Idempotency-Replayed"] == "true"


async def test_a_key_belongs_to_one_request_one_resource_and_one_credential(api: API, house: House) -> None:
    field = {"Idempotency-Key": '"k-1"'}
    assert (await api("POST", "/orders", {"csr": make_csr("a.certgate.test")}, field)).status == 201
    other = {"csr": make_csr("b.certgate.test")}
    answer = await api("POST", "/orders", other, field)
    assert (answer.status, answer.code) == (422, "replayed")
    assert (await api.with_key(await access_key(house))("POST", "/orders", other, field)).status == 201


async def test_a_key_is_free_again_after_a_failure_and_after_a_day(api: API, house: House) -> None:
    field = {"Idempotency-Key": "k-1"}
    assert (await api("POST", "/orders", {"csr": "x"}, field)).status == 422
    assert (await api("POST", "/orders", {"csr": make_csr("a.certgate.test")}, field)).status == 201
    house.clock.advance(hours=25)
    assert (await api("POST", "/orders", {"csr": make_csr("b.certgate.test")}, field)).status == 201
    assert (await api("POST", "/orders", {"csr": make_csr("b.certgate.test")}, {"Idempotency-Key": "é"})).status == 400


async def test_kept_answers_are_sealed(api: API, house: House) -> None:
    """An answer may hold a secret: a copy of the store does not give it away."""
    answer = await api("POST", "/orders", {"csr": make_csr("a.certgate.test")}, {"Idempotency-Key": "k-1"})
    everything = Query("idempotency_get", 3, lambda row: KnownRequest(*row))
    identifier, _ = read_access_key(api.key)
    credential = await house.core.administration.credential(identifier)
    kept = await house.core.store.one(everything, f"{credential.id} create-order", "k-1", 0)
    assert kept is not None and kept.answer is not None
    assert answer.json["id"].encode() not in kept.answer


async def test_a_crashed_request_may_be_sent_again(api: API, house: House) -> None:
    """Whoever claimed the key and never came back is taken for gone after a while; the same request goes on."""
    memory = house.core.admission.idempotency
    assert await memory.claim("c create-order", "k", "digest") is None
    house.clock.advance(seconds=121)
    assert await memory.claim("c create-order", "k", "digest") is None


async def test_an_order_is_found_again_and_belongs_to_its_credential(api: API, house: House) -> None:
    made = await api("POST", "/orders", {"csr": make_csr("a.certgate.test")})
    assert made.headers["Location"].endswith(f"/api/v1/orders/{made.json['id']}")
    found = await api("GET", f"/orders/{made.json['id']}")
    assert found.json == made.json
    unchanged = await api("GET", f"/orders/{made.json['id']}", headers={"If-None-Match": found.headers["ETag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")
    other = api.with_key(await stranger_key(house))
    assert (await other("GET", f"/orders/{made.json['id']}")).code == "unknown-order"


async def test_an_order_that_waits_says_when_to_ask_again(api: API, house: House) -> None:
    """Section 6: held is 202 with Retry-After."""
    waiting = api.with_key(await access_key(house, products=("held",)))
    answer = await waiting("POST", "/orders", {"csr": make_csr("a.certgate.test"), "product": "held"})
    assert (answer.status, answer.json["status"]) == (202, "held")
    assert answer.headers["Retry-After"] and answer.json["certificate"] is None


async def test_limits_are_told_before_and_when_they_are_used_up(api: API, house: House) -> None:
    """W1: too many requests are 429 with Retry-After, never anything that looks like a disabled account."""
    limits = house.core.ra._parts.limits
    limits._limits["requests_per_credential"] = Limit(2, 60)
    assert (await api("GET", "/me")).headers["RateLimit"].startswith('"credential";r=1')
    assert (await api("GET", "/me")).headers["RateLimit"].startswith('"credential";r=0')
    answer = await api("GET", "/me")
    assert (answer.status, answer.code) == (429, "rate-limited")
    assert int(answer.headers["Retry-After"]) > 0


async def test_an_expired_key_is_told_plainly(api: API, house: House) -> None:
    key = await access_key(house, expires=house.clock() + timedelta(hours=1))
    house.clock.advance(hours=2)
    answer = await api.with_key(key)("GET", "/me")
    assert answer.status == 403 and "expired" in answer.json["detail"]
