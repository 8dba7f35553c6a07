"""HTTP Digest (E12): the vectors of RFC 7616, a whole exchange on the real services, and any bytes."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.request import AbstractDigestAuthHandler, HTTPPasswordMgr, Request, parse_http_list, parse_keqv_list

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.credential import AuthenticationMethod
from policy.problems import Unauthenticated
from policy.sealing import Secret
from protocols.est.digest import NONCE_SECONDS, Digests, Stale, _Response
from protocols.est.settings import ESTSettings
from protocols.http import HTTPResponse
from tests.protocols.est.gate import NAME, Gate
from tests.protocols.est.small import make_csr, post

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGESTS = Digests("EST", bytes(32), ("SHA-256", "MD5"))
EXAMPLE = {
    "username": "Mufasa",
    "realm": "http-auth@example.org",
    "uri": "/dir/index.html",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    "qop": "auth",
}


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("md5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("sha256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_the_standard(name: str, response: str) -> None:
    """RFC 7616 section 3.9.1."""
    shown = _Response(name, "GET", {**EXAMPLE, "response": response})
    shown.verify(Secret(b"Circle of Life"))
    with pytest.raises(Unauthenticated):
        shown.verify(Secret(b"Circle of life"))


def answer_to(challenge: str, user: str, password: str, path: str) -> str:
    """What Python's own HTTP client makes of a challenge."""
    passwords = HTTPPasswordMgr()
    passwords.add_password("EST", "https://ca.certgate.test/", user, password)
    handler = AbstractDigestAuthHandler(passwords)
    request = Request(f"https://ca.certgate.test{path}", method="POST", data=b"")
    told = parse_keqv_list(parse_http_list(challenge.partition(" ")[2]))
    # It knows MD5 and SHA; SHA-256 by the same computation.
    handler.get_algorithm_impls = lambda name: _implementation(name)  # type: ignore[method-assign,assignment]
    made = handler.get_authorization(request, told)
    assert made is not None
    return f"Digest {made}"


def _implementation(name: str):  # type: ignore[no-untyped-def]
    hash_name = {"MD5": "md5", "SHA-256": "sha256"}[name]

    def digest(text: str) -> str:
        return hashlib.new(hash_name, text.encode()).hexdigest()

    return digest, lambda secret, data: digest(f"{secret}:{data}")


def challenges(answer: HTTPResponse) -> list[str]:
    assert answer.status == 401
    return [value for name, value in answer.headers if name == "WWW-Authenticate"]


@pytest.fixture
def digest_gate(gate: Gate) -> Gate:
    gate.settings = ESTSettings(digest=("SHA-256", "MD5"))
    return gate


@pytest.mark.parametrize("place", [0, 1])
async def test_a_client_answers_the_challenge(digest_gate: Gate, place: int) -> None:
    """E12: Digest beside Basic; the secret is the credential's; a wrong one and a wrong name are told alike."""
    shown = await digest_gate.credential(method=AuthenticationMethod.SHARED_SECRET)
    body = b64encode(make_csr(NAME))
    asked = await digest_gate(post("simpleenroll", body))
    offered = challenges(asked)
    assert [one.partition(" ")[0] for one in offered] == ["Digest", "Digest", "Basic"]
    assert "algorithm=SHA-256" in offered[0]
    path = "/.well-known/est/simpleenroll"
    statuses = []
    for user, password in (
        (shown.credential.identifier, shown.secret or ""),
        (shown.credential.identifier, "wrong"),
        ("nobody", shown.secret or ""),
    ):
        field = answer_to(offered[place], user, password, path)
        statuses.append((await digest_gate(post("simpleenroll", body, {"authorization": field}))).status)
    assert statuses == [200, 401, 401]
    # For another operation it is worth nothing.
    field = answer_to(offered[place], shown.credential.identifier, shown.secret or "", path)
    assert (await digest_gate(post("serverkeygen", body, {"authorization": field}))).status == 401
    # The secret is no password for Basic: what is sealed is for Digest.
    assert (await digest_gate(post("simpleenroll", body, digest_gate.basic(shown)))).status == 401


async def test_an_old_nonce_is_stale(digest_gate: Gate) -> None:
    """RFC 7616 section 3.3: the client tries again without asking anybody."""
    shown = await digest_gate.credential(method=AuthenticationMethod.SHARED_SECRET)
    body = b64encode(make_csr(NAME))
    offered = challenges(await digest_gate(post("simpleenroll", body)))
    assert "stale" not in offered[0]
    path, user = "/.well-known/est/simpleenroll", shown.credential.identifier
    field = answer_to(offered[0], user, shown.secret or "", path)
    digest_gate.house.clock.advance(seconds=NONCE_SECONDS)
    fresh = challenges(await digest_gate(post("simpleenroll", body, {"authorization": field})))
    assert "stale=true" in fresh[0]
    field = answer_to(fresh[0], user, shown.secret or "", path)
    assert (await digest_gate(post("simpleenroll", body, {"authorization": field}))).status == 200


async def test_without_the_switch_there_is_no_digest(gate: Gate) -> None:
    """E12: opt-in; a Digest is then something that cannot be read, and no credential is offered for it."""
    body = b64encode(make_csr(NAME))
    (basic,) = challenges(await gate(post("simpleenroll", body)))
    assert basic.startswith("Basic ")
    answer = await gate(post("simpleenroll", body, {"authorization": 'Digest username="x"'}))
    assert answer.status == 401


def good_field() -> str:
    (_, challenge), _ = DIGESTS.challenges(NOON)
    return answer_to(challenge, "user", "secret", "/.well-known/est/simpleenroll").removeprefix("Digest ")


@pytest.mark.parametrize(
    ("wanted", "instead"),
    [
        ('realm="EST"', 'realm="other"'),
        ("qop=auth", "qop=auth-int"),
        ("simpleenroll", "simplereenroll"),
        ("SHA-256", "SHA-512-256"),
        ('username="user"', 'username=""'),
        ('username="user"', 'username="user", username="root"'),
        ("nc=00000001", ""),
        ("cnonce", "x"),
    ],
)
def test_what_does_not_fit_is_refused(wanted: str, instead: str) -> None:
    """RFC 7616 section 3.4: every parameter is looked at."""
    request = post("simpleenroll", b"")
    field = good_field()
    DIGESTS.read(field, request, NOON).verify(Secret(b"secret"))
    assert wanted in field, field
    with pytest.raises(Unauthenticated):
        DIGESTS.read(field.replace(wanted, instead), request, NOON)


@pytest.mark.parametrize("nonce", ["", "AAAA", "not base64!", "ü", "A" * 32])
def test_nonces_of_others_are_refused(nonce: str) -> None:
    """Only those that this server made, and lately; not from the future either."""
    field = re.sub('nonce="[^"]*"', f'nonce="{nonce}"', good_field(), count=1)
    with pytest.raises(Unauthenticated):
        DIGESTS.read(field, post("simpleenroll", b""), NOON)
    with pytest.raises(Stale):
        DIGESTS.read(good_field(), post("simpleenroll", b""), NOON - timedelta(seconds=1))


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_field_is_a_claim_or_refused(text: str, value: str) -> None:
    """Whatever a client writes there."""
    for field in (text, good_field() + text, good_field().replace("user", value)):
        with suppress(Unauthenticated):
            DIGESTS.read(field, post("simpleenroll", b""), NOON).verify(Secret(b"?"))
