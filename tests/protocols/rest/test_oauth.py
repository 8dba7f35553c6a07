"""OAuth 2.0 clients: every way to prove oneself, bound tokens, and tokens that die with what they were had with."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from policy.account import User
from policy.credential import AuthenticationMethod, CredentialType
from policy.credentialing import NewCredential
from policy.jose import base64url
from policy.problems import Malformed
from policy.store import Unit
from tests.conftest import ACTOR, House
from tests.protocols.rest.world import API, BASE, Answer, make_csr
from tests.replacing import replace

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOKEN_URL = f"{BASE}/oauth/token"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def client(house: House, identifier: str = "ci", **options: Any) -> str:
    """An OAuth client of alice; gives its secret, "" where it has none."""
    new = NewCredential(
        CredentialType.REST,
        "alice",
        "ops",
        ("tls",),
        method=AuthenticationMethod.OAUTH,
        identifier=identifier,
        options=options,
    )
    return (await house.core.administration.create_credential(new, ACTOR)).secret or ""


async def ask(
    api: API,
    form: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/oauth/token",
    certificate: bytes | None = None,
) -> Answer:
    """Send a form, without any access key."""
    form = {"grant_type": "client_credentials", **form} if path == "/oauth/token" else form
    nobody = api.with_key("")
    return await nobody("POST", path, urlencode(form).encode(), {**FORM, **(headers or {})}, certificate=certificate)


def basic(identifier: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{quote(identifier)}:{quote(secret)}".encode()).decode()}


def assertion(house: House, key: ECKey, **changes: Any) -> dict[str, str]:
    """The form of a client that signs (RFC 7523)."""
    now = int(house.clock().timestamp())
    claims = {"iss": "ci", "sub": "ci", "aud": TOKEN_URL, "iat": now, "exp": now + 60, "jti": uuid4().hex, **changes}
    text = jwt.encode({"alg": "ES256"}, {name: value for name, value in claims.items() if value is not None}, key)
    return {"client_assertion_type": ASSERTION, "client_assertion": text}


def proof(house: House, key: ECKey, method: str, url: str, token: str | None = None, **changes: Any) -> str:
    """A DPoP proof (RFC 9449 section 4.2)."""
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
    claims: dict[str, Any] = {"htm": method, "htu": url, "iat": int(house.clock().timestamp()), "jti": uuid4().hex}
    if token is not None:
        claims["ath"] = base64url(sha256(token.encode()).digest())
    return jwt.encode(header, claims | changes, key)


def keys(*found: ECKey) -> dict[str, Any]:
    return {"keys": [one.as_dict(private=False) for one in found]}


@pytest.mark.parametrize("way", ["basic", "post"])
async def test_a_secret_gives_a_token_that_orders(api: API, house: House, way: str) -> None:
    """RFC 6749 section 4.4, by client_secret_basic and client_secret_post; the token orders a certificate."""
    secret = await client(house)
    answer = (
        await ask(api, {}, basic("ci", secret))
        if way == "basic"
        else await ask(api, {"client_id": "ci", "client_secret": secret})
    )
    assert answer.status == 200, answer.body
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
    assert answer.headers["Cache-Control"] == "no-store"
    bearer = api.with_key(answer.json["access_token"])
    assert (await bearer("GET", "/me")).json["identifier"] == "ci"
    assert (await bearer("POST", "/orders", {"csr": make_csr("a.certgate.test")})).status == 201


async def test_a_token_is_a_jwt_that_others_can_check(api: API, house: House) -> None:
    """RFC 9068, with the keys where RFC 8414 metadata say."""
    text = (await ask(api, {}, basic("ci", await client(house)))).json["access_token"]
    metadata = (await api("GET", "/.well-known/oauth-authorization-server")).json
    found = await api("GET", metadata["jwks_uri"].removeprefix(BASE))
    token = jwt.decode(text, KeySet.import_key_set(found.json), algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["iss"] == metadata["issuer"] and token.claims["aud"] == f"{BASE}/api/v1"
    assert {"sub", "client_id", "exp", "iat", "jti"} <= set(token.claims)
    assert metadata["token_endpoint"] == TOKEN_URL and "d" not in found.json["keys"][0]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_id": "ci", "client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "nobody", "client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "ci"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_request"),
        ({"client_id": "ci", "client_secret": "SECRET", "grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "ci", "client_secret": "SECRET", "scope": "order:read user:create"}, "invalid_scope"),
        ({"client_id": "ci", "client_secret": "SECRET", "client_assertion": "x"}, "invalid_request"),
        ({"client_id": "ci", "client_assertion": "x.y.z"}, "invalid_request"),
        ({"client_id": "ci", "client_assertion": "x.y.z", "client_assertion_type": ASSERTION}, "invalid_client"),
    ],
)
async def test_errors_are_those_of_oauth(api: API, house: House, form: dict[str, str], error: str) -> None:
    """RFC 6749 section 5.2; who does not exist is told like who is wrong."""
    secret = await client(house)
    answer = await ask(api, {name: secret if value == "SECRET" else value for name, value in form.items()})
    assert answer.json["error"] == error
    assert answer.status == (401 if error == "invalid_client" else 400)
    assert secret not in answer.body.decode()


async def test_scopes_narrow_a_token(api: API, house: House) -> None:
    secret = await client(house)
    answer = await ask(api, {"scope": "order:read"}, basic("ci", secret))
    assert answer.json["scope"] == "order:read"
    bearer = api.with_key(answer.json["access_token"])
    assert (await bearer("POST", "/orders", {"csr": make_csr("a.certgate.test")})).status == 403


@pytest.mark.parametrize("what", ["revoke", "suspend", "rotate", "expire", "user"])
async def test_tokens_die_with_their_credential(api: API, house: House, what: str) -> None:
    """DESIGN.md 3: revoking, suspending or rotating without overlap kills the tokens by the next request."""
    admin, secret = house.core.administration, await client(house)
    bearer = api.with_key((await ask(api, {}, basic("ci", secret))).json["access_token"])
    assert (await bearer("GET", "/me")).status == 200
    if what == "revoke":
        await admin.revoke_credential("ci", "gone", ACTOR)
    elif what == "suspend":
        await admin.suspend_credential("ci", ACTOR)
    elif what == "rotate":
        await admin.rotate_credential("ci", 0, ACTOR)
    elif what == "expire":
        house.clock.advance(minutes=16)
    else:
        await house.core.people.apply_user(User("alice", ("ops",), active=False), ACTOR)
    assert (await bearer("GET", "/me")).status in (401, 403)
    assert (await bearer("POST", "/orders", {"csr": make_csr("a.certgate.test")})).status in (401, 403)


async def test_in_the_overlap_of_a_rotation_old_tokens_live_on(api: API, house: House) -> None:
    secret = await client(house)
    old = api.with_key((await ask(api, {}, basic("ci", secret))).json["access_token"])
    await house.core.administration.rotate_credential("ci", 300, ACTOR)
    assert (await old("GET", "/me")).status == 200
    house.clock.advance(seconds=301)
    assert (await old("GET", "/me")).status == 401
    assert (await ask(api, {}, basic("ci", secret))).status == 401


async def test_a_token_is_ended_and_looked_into_by_its_own_client_alone(api: API, house: House) -> None:
    """RFC 7009 and RFC 7662."""
    mine, other = basic("ci", await client(house)), basic("other", await client(house, "other"))
    text = (await ask(api, {}, mine)).json["access_token"]
    form = {"token": text}
    said = (await ask(api, form, mine, path="/oauth/introspect")).json
    assert said["active"] and said["client_id"] == "ci"
    assert (await ask(api, form, other, path="/oauth/introspect")).json == {"active": False}
    assert (await ask(api, form, other, path="/oauth/revoke")).status == 400
    assert (await api.with_key(text)("GET", "/me")).status == 200
    assert (await ask(api, form, mine, path="/oauth/revoke")).status == 200
    assert (await api.with_key(text)("GET", "/me")).status == 401
    assert (await ask(api, form, mine, path="/oauth/introspect")).json == {"active": False}
    assert (await ask(api, form, mine, path="/oauth/revoke")).status == 200
    assert (await ask(api, {"token": "none"}, mine, path="/oauth/revoke")).status == 200


async def test_an_assertion_counts_once_and_only_as_it_is_meant(api: API, house: House) -> None:
    """RFC 7523 section 3: iss, sub, aud, exp within five minutes, jti once, and the client's own key."""
    key, stranger = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    await client(house, client_authentication="private_key_jwt", jwks=keys(key))
    now = int(house.clock().timestamp())
    good = assertion(house, key)
    token = await ask(api, good)
    assert token.status == 200, token.body
    assert (await ask(api, good)).json["error"] == "invalid_client"
    wrong: list[dict[str, str]] = [
        assertion(house, stranger),
        assertion(house, key, iss="other"),
        assertion(house, key, sub="other"),
        assertion(house, key, aud="https://elsewhere.example/token"),
        assertion(house, key, exp=now - 60),
        assertion(house, key, exp=now + 3600),
        assertion(house, key, exp=None),
        assertion(house, key, jti=None),
        assertion(house, key, nbf=now + 3600),
    ]
    for form in wrong:
        answer = await ask(api, form)
        assert (answer.status, answer.json["error"]) == (401, "invalid_client"), form
    assert (await ask(api, {"client_id": "ci", "client_secret": "x"})).status == 401


@pytest.mark.parametrize("alg", ["none", "HS256"])
async def test_no_token_without_a_signature_and_no_mac_under_a_public_key(api: API, house: House, alg: str) -> None:
    """RFC 8725 section 3.1: the algorithm is ours to choose."""
    key = ECKey.generate_key("P-256")
    await client(house, client_authentication="private_key_jwt", jwks=keys(key))
    now = int(house.clock().timestamp())
    claims = {"iss": "ci", "sub": "ci", "aud": TOKEN_URL, "exp": now + 60, "jti": "1"}
    signed = ".".join(base64url(json.dumps(one).encode()) for one in ({"alg": alg}, claims))
    secret = json.dumps(key.as_dict(private=False)).encode()
    signature = "" if alg == "none" else base64url(hmac.digest(secret, signed.encode(), "sha256"))
    form = {"client_assertion_type": ASSERTION, "client_assertion": f"{signed}.{signature}"}
    assert (await ask(api, form)).json["error"] == "invalid_client"


async def test_keys_of_a_client_are_public_ones(api: API, house: House) -> None:
    key = ECKey.generate_key("P-256")
    sets: tuple[Any, ...] = (
        {"keys": [key.as_dict(private=True)]},
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [{"kty": "EC"}]},
        None,
    )
    for wrong in sets:
        with pytest.raises(Malformed):
            await client(house, client_authentication="private_key_jwt", jwks=wrong)
    with pytest.raises(Malformed):
        await client(house, client_authentication="magic")


async def test_a_token_of_a_removed_key_dies(api: API, house: House) -> None:
    key = ECKey.generate_key("P-256")
    await client(house, client_authentication="private_key_jwt", jwks=keys(key))
    bearer = api.with_key((await ask(api, assertion(house, key))).json["access_token"])
    assert (await bearer("GET", "/me")).status == 200
    admin = house.core.administration
    one = await admin.credential("ci")
    options = {**one.options, "jwks": keys(ECKey.generate_key("P-256"))}
    unit = Unit()
    unit.save(replace(one, options=options, version=one.version + 1))
    await house.core.store.commit(unit)
    assert (await bearer("GET", "/me")).status == 401


async def test_a_certificate_gives_a_token_that_is_bound_to_it(api: API, house: House) -> None:
    """RFC 8705: the certificate of the connection proves the client, and has to be shown with the token."""
    shown = []
    for name in ("one", "two"):
        made = (await api("POST", "/orders", {"csr": make_csr(f"{name}.certgate.test")})).json["certificate"]
        shown.append(x509.load_pem_x509_certificate(made["pem"].encode()).public_bytes(Encoding.DER))
    await client(house, client_authentication="tls_client_auth", certificate="dns:one.certgate.test")
    form = {"client_id": "ci"}
    assert (await ask(api, form)).json["error"] == "invalid_client"
    assert (await ask(api, form, certificate=shown[1])).json["error"] == "invalid_client"
    answer = await ask(api, form, certificate=shown[0])
    assert answer.status == 200, answer.body
    bearer = api.with_key(answer.json["access_token"])
    assert (await bearer("GET", "/me", certificate=shown[0])).status == 200
    assert (await bearer("GET", "/me", certificate=shown[1])).status == 401
    assert (await bearer("GET", "/me")).status == 401


async def test_a_bound_token_needs_a_proof_for_each_request(api: API, house: House) -> None:
    """RFC 9449: key, method, address, token, time, and a new jti each time."""
    key, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    header = {**basic("ci", await client(house)), "DPoP": proof(house, key, "POST", TOKEN_URL)}
    answer = await ask(api, {}, header)
    assert answer.json["token_type"] == "DPoP", answer.body
    assert (await ask(api, {}, header)).json["error"] == "invalid_dpop_proof"
    token, url, nobody = answer.json["access_token"], f"{BASE}/api/v1/me", api.with_key("")

    async def me(shown: str | None, scheme: str = "DPoP") -> int:
        fields = {"Authorization": f"{scheme} {token}"} | ({"DPoP": shown} if shown else {})
        return (await nobody("GET", "/me", headers=fields)).status

    good = proof(house, key, "GET", url, token)
    assert await me(good) == 200
    assert await me(good) == 401
    refused: tuple[str | None, ...] = (
        None,
        proof(house, key, "GET", url),
        proof(house, key, "POST", url, token),
        proof(house, key, "GET", f"{BASE}/api/v1/orders", token),
        proof(house, other, "GET", url, token),
        proof(house, key, "GET", url, token, iat=0),
        proof(house, key, "GET", url, token + "x"),
        "x.y.z",
    )
    for shown in refused:
        assert await me(shown) == 401, shown
    assert await me(proof(house, key, "GET", url, token), "Bearer") == 401


async def test_somebody_elses_token_is_none(api: API, house: House) -> None:
    """A token of another key, issuer or audience is refused, whatever it says."""
    text = (await ask(api, {}, basic("ci", await client(house)))).json["access_token"]
    header, claims, signature = text.split(".")
    key = ECKey.generate_key("P-256")
    tokens = house.core.admission.tokens
    forged = jwt.encode({"typ": "at+jwt", "alg": "ES256", "kid": tokens.key_id}, {"sub": "ci"}, key)
    for wrong in (f"{header}.{claims}.{signature[:-4]}AAAA", forged, f"{header}.{claims}.", "x", "a.b.c"):
        assert (await api.with_key(wrong)("GET", "/me")).status == 401
