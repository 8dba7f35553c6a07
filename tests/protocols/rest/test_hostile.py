"""What nobody sends by mistake: it is refused in the door's own words, and leaves nothing behind that harms others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey

from policy.jose import base64url
from tests.conftest import ACTOR, House
from tests.policy.making import enrolled, est, new_key, request
from tests.protocols.rest.test_oauth import ASSERTION, ask, assertion, basic, client, keys
from tests.protocols.rest.world import API, access_key

NAME = "a.certgate.test"
NOT_A_MOMENT = ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-12-01T00:00:00")
"""Beyond what can be written in UTC, and without an offset."""


@pytest.mark.parametrize("query", ["=", "=1", "cursor=&=", "%60=1", "x - at `$`=1"])
async def test_a_parameter_without_a_name_is_a_mistake(api: API, query: str) -> None:
    """And no fault of the server."""
    assert (await api("GET", f"/orders?{query}")).status == 422


@pytest.mark.parametrize("name", ["", "`", "a`b", "x - at `$`", "x - at `$.names`"])
async def test_a_member_without_a_name_is_a_mistake(api: API, name: str) -> None:
    """RFC 8259 allows any name, also one that looks like a message of the decoder."""
    assert (await api("POST", "/orders", {"names": [NAME], name: 1})).status == 422


@pytest.mark.parametrize("at", NOT_A_MOMENT)
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/blocks", {"kind": "domain", "value": "x.certgate.test", "why": "ended"}, "until"),
        ("/orders", {"names": [NAME]}, "not_before"),
        ("/orders", {"names": [NAME], "draft": True}, "not_after"),
        ("/bulk-changes/preview", {"action": "hold", "filter": {}}, "filter/expires_before"),
    ],
)
async def test_a_moment_is_one_everywhere(api: API, path: str, body: Mapping[str, Any], field: str, at: str) -> None:
    """One that cannot be shown in UTC would break every list that it is in."""
    outer, _, inner = field.partition("/")
    told = await api("POST", path, {**body, outer: {inner: at} if inner else at})
    assert (told.status, told.pointers) == (422, [f"/{field}"])
    assert (await api("GET", "/blocks")).status == 200
    assert (await api("GET", "/orders")).status == 200


@pytest.mark.parametrize("media", ["text/csv", "application/x-ndjson"])
async def test_a_filter_of_an_export_is_judged_before_anything_is_sent(api: API, media: str) -> None:
    """As for a page."""
    told = await api("GET", "/orders?status=nonsense", headers={"Accept": media})
    assert (told.status, told.pointers) == (422, ["?status"])


async def test_a_stream_ends_with_its_credential(house: House, api: API) -> None:
    """Who may not ask any more is not told any more, though it began before."""
    reader = api.with_key(await access_key(house))
    made = await reader("POST", "/orders", {"names": [NAME]})
    following = asyncio.create_task(reader("GET", f"/orders/{made.json['id']}/events"))
    await asyncio.sleep(0.1)
    credential = (await reader("GET", "/me")).json["credential"]
    await house.core.administration.suspend_credential(credential, ACTOR)
    stream = await asyncio.wait_for(following, 5)
    assert b"event: end" not in stream.body


async def test_an_answer_is_repeated_to_whom_it_was_given(house: House, api: API) -> None:
    """One idempotency key of a portal for two of its users is a mistake, not the other one's answer."""
    first = await api("POST", "/orders", {"names": [NAME]}, {"Idempotency-Key": "k", "X-On-Behalf-Of": "alice"})
    assert first.status == 202, first.body
    second = await api("POST", "/orders", {"names": [NAME]}, {"Idempotency-Key": "k"})
    assert second.code == "replayed"


# --------------------------------------------------------------------------- OAuth

DEEP = base64url(b"[" * 3000)


@pytest.mark.parametrize(
    "text",
    [
        f"e30.{base64url(json.dumps({'sub': chr(0xD800)}).encode())}.x",
        f"e30.{base64url(json.dumps({'sub': 'ci'}).encode())}.x",
        f"{DEEP}.{base64url(json.dumps({'sub': 'ci'}).encode())}.x",
        f"e30.{DEEP}.x",
        f"e30.{base64url(b'[]')}.x",
        f"{base64url(b'[]')}.{base64url(json.dumps({'sub': 'ci'}).encode())}.x",
        "é.é.é",
    ],
)
@pytest.mark.parametrize("named", [True, False])
async def test_an_assertion_that_is_none_is_invalid_client(house: House, api: API, text: str, named: bool) -> None:
    """Whatever it consists of, with the client named beside it and without."""
    await client(house, client_authentication="private_key_jwt", jwks=keys(ECKey.generate_key("P-256")))
    form = {"client_assertion_type": ASSERTION, "client_assertion": text} | ({"client_id": "ci"} if named else {})
    answer = await ask(api, form)
    assert (answer.status, answer.json["error"]) == (401, "invalid_client"), answer.body


@pytest.mark.parametrize(
    "claims", [{"aud": [["x"], {}]}, {"exp": "soon"}, {"jti": "\x00"}, {"iss": ["ci"]}, {"nbf": []}]
)
async def test_an_assertion_with_odd_claims_is_no_fault(house: House, api: API, claims: Mapping[str, Any]) -> None:
    """A client's own key signs what it likes."""
    key = ECKey.generate_key("P-256")
    await client(house, client_authentication="private_key_jwt", jwks=keys(key))
    answer = await ask(api, assertion(house, key, **claims))
    assert answer.status in (200, 401), answer.body


@pytest.mark.parametrize("proof", ["a.b.c", f"{DEEP}.e30.x", f"e30.{DEEP}.x", "é", ""])
async def test_a_proof_that_is_none_is_no_fault(house: House, api: API, proof: str) -> None:
    """RFC 9449 section 5."""
    answer = await ask(api, {}, basic("ci", await client(house)) | {"DPoP": proof})
    assert (answer.status, answer.json["error"]) == (400, "invalid_dpop_proof")


async def test_a_token_dies_with_its_certificate(house: House, api: API) -> None:
    """A certificate that is revoked proves nothing any more, and so does the token that was had with it."""
    owner = await est(house)
    certificate = await enrolled(house, owner, request(NAME, key=new_key()))
    await client(house, client_authentication="tls_client_auth", certificate=f"dns:{NAME}")
    token = (await ask(api, {"client_id": "ci"}, certificate=certificate.der)).json["access_token"]
    bearer = api.with_key(token)
    assert (await bearer("GET", "/me", certificate=certificate.der)).status == 200
    await house.core.ra.revoke(owner, certificate.der, None)
    assert (await bearer("GET", "/me", certificate=certificate.der)).status == 401
