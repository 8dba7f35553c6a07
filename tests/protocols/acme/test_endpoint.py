"""The door as a client sees it: transport, nonces, who signed, and in which order that is looked at."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from policy.limits import Limit
from policy.problems import Internal, Malformed, RateLimited, Unavailable
from protocols.acme import PROTOCOL
from protocols.acme.jwk import ALGORITHMS
from protocols.acme.settings import ACMESettings
from protocols.http import HTTPRequest, PeerIdentity
from tests.protocols.acme.client import Answer, Client, Key, PlainKey, b64
from tests.protocols.acme.world import ORIGIN, TERMS, World, make_world
from tests.replacing import replace


def body(key: Key, header: dict[str, Any], payload: bytes = b"", *, signer: Key | None = None) -> bytes:
    """A JWS with exactly this header, signed by josepy's algorithm on its own."""
    signer = signer or key
    protected = b64(json.dumps({name: value for name, value in header.items() if value is not None}).encode())
    signature = signer.alg.sign(signer.jwk.key, f"{protected}.{b64(payload)}".encode())
    return json.dumps({"protected": protected, "payload": b64(payload), "signature": b64(signature)}).encode()


# --------------------------------------------------------------------------- what needs no account


async def test_the_directory_lists_what_there_is(client: Client) -> None:
    """RFC 8555 section 7.1.1, with profiles; the directory itself has no index link."""
    answer = await client.get(client.url("directory"))
    assert answer.status == 200
    assert answer.response.content_type == "application/json"
    assert answer.header("Access-Control-Allow-Origin") == "*"
    assert not answer.all("Link")
    found = answer.json
    assert found["meta"]["externalAccountRequired"] is False
    assert set(found["meta"]["profiles"]) == {"standard", "other", "asked"}
    assert "termsOfService" not in found["meta"]
    assert all(url.startswith(f"{ORIGIN}/acme/default/") for name, url in found.items() if name != "meta")


async def test_a_mount_has_its_own_directory(world: World) -> None:
    """The one that wants a binding says so, and shows its terms. Rows: C5."""
    found = (await Client(world, label="bound").get(f"{ORIGIN}/acme/bound/directory")).json
    assert found["meta"]["externalAccountRequired"] is True
    assert found["meta"]["termsOfService"] == TERMS
    assert found["newOrder"] == f"{ORIGIN}/acme/bound/new-order"


async def test_the_directory_follows_the_products(client: Client) -> None:
    """It is kept until the configuration changes, and no longer."""
    world = client.world
    before = await client.get(client.url("directory"))
    assert (await client.get(client.url("directory"))).body == before.body
    product = world.products["other"]
    await world.insert(replace(product, title="Renamed", version=2))
    after = await client.get(client.url("directory"))
    assert after.json["meta"]["profiles"]["other"] == "Renamed"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
async def test_new_nonces(client: Client, method: str, status: int) -> None:
    """RFC 8555 section 7.2. Rows: R13, C12, A3."""
    answer = await client.get(client.url("new-nonce"), method)
    assert answer.status == status
    assert answer.body == b""
    assert answer.header("Cache-Control") == "no-store"
    assert answer.links("index") == [client.url("directory")]
    assert len(answer.header("Replay-Nonce")) == 32


async def test_directory_and_new_nonce_by_post_as_get(member: Client) -> None:
    """RFC 8555 section 6.3. Rows: R6, C10."""
    assert (await member.post(member.url("directory"))).json == (await member.get(member.url("directory"))).json
    assert (await member.post(member.url("new-nonce"))).status == 204
    assert (await member.post(member.url("new-nonce"), {})).problem() == (400, "malformed")


async def test_scripts_of_any_origin_may_ask(client: Client) -> None:
    """A preflight, as browsers send it before a POST of the JOSE type. Rows: A1."""
    answer = await client.get(client.url("new-order"), "OPTIONS")
    assert answer.status == 204
    assert answer.header("Access-Control-Allow-Origin") == "*"
    assert "POST" in answer.header("Access-Control-Allow-Methods")
    assert answer.header("Access-Control-Allow-Headers") == "Content-Type"
    assert "Replay-Nonce" in answer.header("Access-Control-Expose-Headers")


# --------------------------------------------------------------------------- routes and problems


async def test_routes_are_those_of_every_mount(world: World) -> None:
    """Absolute paths; only the directory, nonces, tickets and renewal information answer GET; newAuthz is an option.

    Rows: R6.
    """
    paths = {path.removeprefix("/acme/default/") for path in world.routes if path.startswith("/acme/default/")}
    assert paths == {
        "directory",
        "new-nonce",
        "new-account",
        "new-order",
        "account/{id}",
        "account/{id}/orders",
        "order/{id}",
        "order/{id}/finalize",
        "authz/{id}",
        "chall/{id}/{type}",
        "cert/{id}",
        "cert/{id}/{chain}",
        "ticket/{id}",
        "revoke-cert",
        "key-change",
        "renewal-info/{certid}",
    }
    assert len(world.routes) == 2 * len(paths)
    reading = {path.rpartition("/acme/default/")[2] for path, route in world.routes.items() if "GET" in route.methods}
    assert reading >= {"directory", "new-nonce", "renewal-info/{certid}"}
    assert all(set(route.methods) <= {"GET", "HEAD", "POST", "OPTIONS"} for route in world.routes.values())
    assert all(route.name for route in world.routes.values())


def test_mounts_with_options_that_cannot_work_are_refused(world: World) -> None:
    """At start, with the mount's name."""
    with pytest.raises(ValueError, match="acme/default"):
        world.mount(replace(world.mounts[0], options={"terms": "x"}))


def test_mounts_of_other_protocols_are_left_alone(world: World) -> None:
    """They are somebody else's."""
    assert world.endpoint.routes((replace(world.mounts[0], protocol="est"),)) == ()


def said(world: World, problem: Any, method: str = "GET", path: str = "/acme/default/new-order") -> Answer:
    """How the server has a problem of its own said, before any route was found."""
    request = HTTPRequest(method, path, "", {}, b"", PeerIdentity("127.0.0.1"), ORIGIN + path, "r-1")
    return Answer(world.endpoint.say(problem, request))


def test_problems_of_http_are_said_in_acmes_words(world: World) -> None:
    """RFC 8555 section 6.3: 405 malformed; the document has the status that the answer has. Rows: R6, A1."""
    answer = said(world, Malformed("the method GET is not served here", status=405))
    assert answer.problem() == (405, "malformed")
    assert answer.links("index") == [f"{ORIGIN}/acme/default/directory"]
    assert answer.header("Replay-Nonce")
    assert answer.header("Cache-Control") == "no-store"
    assert not said(world, Malformed("x"), path="/acme/nowhere/new-order").links("index")
    assert not said(world, Malformed("x"), path="/").links("index")


def test_retry_after_is_a_whole_positive_number(world: World) -> None:
    """Never a date, never zero. Rows: C1."""
    assert said(world, RateLimited("slow down", retry_after=0)).header("Retry-After") == "1"
    assert said(world, RateLimited("slow down", retry_after=90)).header("Retry-After") == "90"
    assert said(world, RateLimited("slow down")).header("Retry-After") == "30"
    assert said(world, Unavailable("later")).header("Retry-After") == "30"
    assert not said(world, Malformed("wrong")).all("Retry-After")


async def test_rate_limits_have_a_page(acme_ca: tuple[SoftwareKeyStore, Issuer]) -> None:
    """RFC 8555 section 6.6: Link rel="help". Rows: A12."""
    settings = ACMESettings(rate_limit_help_url="https://ca.test/limits")
    world = await make_world(*acme_ca, settings=settings, limits={"new_orders_per_account": Limit(1, 3600)})
    client = Client(world)
    await client.register()
    assert (await client.order("a.trusted.test")).status == 201
    answer = await client.order("a.trusted.test")
    assert answer.problem() == (429, "rateLimited")
    assert int(answer.header("Retry-After")) > 0
    assert answer.links("help") == ["https://ca.test/limits"]
    await world.store.close()


async def test_faults_show_nothing(member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An internal fault is 500 serverInternal with the request's identifier (trap T-26). Rows: T-26."""

    async def broken(*_: Any) -> None:
        raise RuntimeError("SELECT secret FROM table")

    monkeypatch.setattr(member.world.ra, "order", broken)
    answer = await member.post(member.url("order/abc"))
    assert answer.problem() == (500, "serverInternal")
    assert "SELECT" not in answer.body.decode()
    assert "r-1" in answer.json["detail"]
    assert said(member.world, Internal("x")).problem() == (500, "serverInternal")


# --------------------------------------------------------------------------- media types


@pytest.mark.parametrize("media", ["application/json", "", "application/jose", "text/plain", "application/jose+jsonx"])
async def test_other_content_types_are_415(member: Client, media: str) -> None:
    """RFC 8555 section 6.2. Rows: R2, A1."""
    answer = await member.post(member.url("new-order"), {}, content_type=media)
    assert answer.problem() == (415, "malformed")


@pytest.mark.parametrize("media", ["application/jose+json; charset=utf-8", "Application/JOSE+JSON"])
async def test_spellings_of_the_content_type(member: Client, media: str) -> None:
    """Media types have no case, and some libraries always add a charset."""
    assert (await member.post(member.kid or "", content_type=media)).status == 200


# --------------------------------------------------------------------------- nonces


async def test_a_nonce_serves_once_and_the_refusal_brings_a_fresh_one(member: Client) -> None:
    """RFC 8555 section 6.5: badNonce, 400, with a nonce that can be used. Rows: R9."""
    nonce = await member.fresh()
    sent = member.key.sign(b"", member.kid or "", nonce, member.kid)
    assert (await member.send(member.kid or "", sent)).status == 200
    again = await member.send(member.kid or "", sent)
    assert again.problem() == (400, "badNonce")
    assert (await member.post(member.kid or "")).status == 200


async def test_a_nonce_is_used_up_when_the_request_fails_later(member: Client) -> None:
    """Dead after its first appearance under a good signature, whatever came of the request. Rows: R9."""
    nonce = await member.fresh()
    url = member.url("order/nothing")
    assert (await member.send(url, member.key.sign(b"", url, nonce, member.kid))).status == 404
    url = member.kid or ""
    assert (await member.send(url, member.key.sign(b"", url, nonce, member.kid))).problem() == (400, "badNonce")


async def test_nobody_can_use_up_a_nonce_without_the_key(member: Client) -> None:
    """A wrong signature leaves the nonce as it is. Rows: A2."""
    nonce = await member.fresh()
    url = member.kid or ""
    header = {"alg": "ES256", "nonce": nonce, "url": url, "kid": member.kid}
    answer = await member.send(url, body(member.key, header, signer=Key.ec()))
    assert answer.problem() == (401, "unauthorized")
    assert (await member.send(url, member.key.sign(b"", url, nonce, member.kid))).status == 200


@pytest.mark.parametrize(
    ("nonce", "said"),
    [("AAAA", "badNonce"), ("A" * 32, "badNonce"), ("not base64url!", "malformed"), ("AA==", "malformed")],
)
async def test_foreign_nonces(member: Client, nonce: str, said: str) -> None:
    """RFC 8555 section 6.5.2: what is not base64url is malformed, what is not ours badNonce. Rows: R8."""
    member.nonce = nonce
    assert (await member.post(member.kid or "")).problem() == (400, said)


async def test_nonces_serve_every_mount(world: World) -> None:
    """They belong to the server, as HTTP caches and clients expect of one origin."""
    client, other = Client(world), Client(world, label="bound")
    client.nonce = await other.fresh()
    assert (await client.register()).status == 201


# --------------------------------------------------------------------------- who signed


async def test_the_url_has_to_be_the_one_asked(member: Client) -> None:
    """RFC 8555 section 6.4: exactly, as it was handed out; else unauthorized. Rows: R7."""
    url = member.kid or ""
    for wrong in (
        member.url("new-order"),
        url + "/",
        url + "?x=1",
        url.replace("https", "http"),
        url.replace("ca.certgate.test", "evil.test"),
        url.replace("https", "HTTPS"),
    ):
        assert (await member.post(url, signed_url=wrong)).problem() == (401, "unauthorized"), wrong


async def test_a_query_is_part_of_the_url(member: Client) -> None:
    """What was signed without it was signed for another resource. Rows: R7."""
    url = member.kid or ""
    assert (await member.post(url + "?x=1", signed_url=url)).problem() == (401, "unauthorized")
    assert (await member.post(url + "?x=1")).status == 200


@pytest.mark.parametrize("kid", ["abc", f"{ORIGIN}/acme/bound/account/", "https://evil.test/acme/default/account/"])
async def test_a_kid_of_elsewhere_is_no_account(member: Client, kid: str) -> None:
    """Trap T-15; the client learns that it has to register here. Rows: T-15."""
    own = (member.kid or "").rpartition("/")[2]
    answer = await member.post(member.kid or "", kid=kid + own)
    assert answer.problem() == (400, "accountDoesNotExist")


async def test_an_unknown_account(member: Client) -> None:
    """RFC 8555 section 6.7 accountDoesNotExist."""
    kid = f"{ORIGIN}/acme/default/account/aaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert (await member.post(kid, kid=kid)).problem() == (400, "accountDoesNotExist")


async def test_an_account_of_another_mount_is_unknown(world: World, member: Client) -> None:
    """Mounts do not share accounts."""
    other = Client(world, member.key, "bound", kid=(member.kid or "").replace("default", "bound"))
    assert (await other.post(other.kid or "")).problem() == (400, "accountDoesNotExist")


@pytest.mark.parametrize("path", ["new-order", "key-change", "account/x", "order/x", "authz/x", "cert/x", "new-nonce"])
async def test_resources_of_accounts_want_a_kid(client: Client, path: str) -> None:
    """RFC 8555 section 6.2: jwk only for newAccount and revokeCert. Rows: R4."""
    answer = await client.post(client.url(path), {})
    assert answer.problem() == (400, "malformed")


async def test_new_account_wants_a_key(member: Client) -> None:
    """RFC 8555 section 6.2. Rows: R4."""
    assert (await member.post(member.url("new-account"), {})).problem() == (400, "malformed")


@pytest.mark.parametrize(
    ("alg", "accepted"),
    [("HS256", 8), ("none", 8), ("RS256", 1), ("ES384", 1), ("EdDSA", 1), ("ML-DSA-44", 1), ("PS256", 8)],
)
async def test_the_algorithm_is_that_of_the_stored_key(member: Client, alg: str, accepted: int) -> None:
    """Trap T-14: badSignatureAlgorithm, with what would be accepted. Rows: T-14."""
    header = {"alg": alg, "nonce": await member.fresh(), "url": member.kid, "kid": member.kid}
    answer = await member.send(member.kid or "", body(member.key, header))
    assert answer.problem() == (400, "badSignatureAlgorithm")
    assert len(answer.json["algorithms"]) == accepted
    assert "ES256" in answer.json["algorithms"]


async def test_an_hmac_with_the_public_key_is_refused(member: Client) -> None:
    """The classic confusion: HS256 with the encoded public key as its secret. Rows: T-14."""
    header = {"alg": "HS256", "nonce": await member.fresh(), "url": member.kid, "kid": member.kid}
    protected = b64(json.dumps(header).encode())
    for secret in (json.dumps(member.key.public).encode(), member.key.thumbprint.encode()):
        mac = b64(hmac.digest(secret, f"{protected}.".encode(), "sha256"))
        sent = json.dumps({"protected": protected, "payload": "", "signature": mac}).encode()
        assert (await member.send(member.kid or "", sent)).problem() == (400, "badSignatureAlgorithm")


MAKERS: dict[str, Callable[[], Key]] = {
    "ES256": Key.ec,
    "ES384": lambda: Key.ec(ec.SECP384R1()),
    "ES512": lambda: Key.ec(ec.SECP521R1()),
    "RS256": Key.rsa,
    **{alg: partial(PlainKey, alg) for alg in ("EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")},
}


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_accounts_of_each_kind_of_key(world: World, alg: str) -> None:
    """The whole way, registered and used, with every algorithm that is offered. Rows: A2."""
    client = Client(world, MAKERS[alg]())
    assert (await client.register()).status == 201
    assert (await client.post(client.kid or "")).json["status"] == "valid"


async def test_a_bad_key_cannot_register(world: World) -> None:
    """RFC 8555 section 6.7 badPublicKey. Rows: R5."""
    assert (await Client(world, Key.rsa(1024)).register()).problem() == (400, "badPublicKey")


async def test_what_is_no_jws_is_malformed_and_brings_a_nonce(client: Client) -> None:
    """Every error of a POST has a fresh nonce (RFC 8555 section 6.5). Rows: A1."""
    for sent in (b"", b"{}", b"\xff" * 10, b"[" * 60_000):
        assert (await client.send(client.url("new-order"), sent)).problem() == (400, "malformed")


async def test_an_account_that_is_not_valid_is_refused_after_everything_else(member: Client) -> None:
    """Order of checks (RFC 8555 section 6, A2): who does not hold the key learns nothing of the status. Rows: A2."""
    url = member.kid or ""
    await member.post(url, {"status": "deactivated"})
    header = {"alg": "ES256", "nonce": await member.fresh(), "url": url, "kid": member.kid}
    stranger = await member.send(url, body(member.key, header, signer=Key.ec()))
    assert "deactivated" not in stranger.json["detail"]
    wrong_url = await member.post(url, signed_url=url + "x")
    assert "deactivated" not in wrong_url.json["detail"]
    owner = await member.post(url)
    assert owner.problem() == (401, "unauthorized")
    assert "deactivated" in owner.json["detail"]


async def test_revoking_the_credential_stops_its_accounts_at_once(member: Client) -> None:
    """On every resource, 403 unauthorized. Rows: A5."""
    order = await member.ready()
    await member.world.revoke_credential("open")
    for url in (member.kid or "", member.url("new-order"), order.header("Location"), order.json["finalize"]):
        answer = await member.post(url, {"csr": "AAAA", "identifiers": [{"type": "dns", "value": "a.trusted.test"}]})
        assert answer.problem() == (403, "unauthorized")


def test_the_door_describes_itself() -> None:
    """What the server collects from each door."""
    assert PROTOCOL.name == "acme"
    assert "RFC 8555" in PROTOCOL.documents
