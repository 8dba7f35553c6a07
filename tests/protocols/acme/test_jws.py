"""JWS requests: what a conforming client sends is read, everything that could be read in two ways is
refused."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policy.problems import BadAlgorithm, BadPublicKey, Malformed, Problem, Unauthenticated
from policy.sealing import Secret
from protocols.acme import jws
from protocols.acme.jwk import ALGORITHMS, read_jwk
from tests.protocols.acme.client import Key, b64

URL = "https://ca.certgate.test/acme/default/new-order"
KID = "https://ca.certgate.test/acme/default/account/abc"
NONCE = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
KEY = Key.ec()
GOOD: dict[str, Any] = {"alg": "ES256", "nonce": NONCE, "url": URL, "kid": KID}
WITH_KEY: dict[str, Any] = {"alg": "ES256", "nonce": NONCE, "url": URL, "jwk": KEY.public}


def body(header: object = GOOD, payload: bytes = b"{}", signature: bytes = b"s" * 64, **outer: Any) -> bytes:
    """A flattened JWS with this header; a str or bytes is taken as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    members = {"protected": b64(text), "payload": b64(payload), "signature": b64(signature)} | outer
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def test_a_request_of_josepy_is_read() -> None:
    """An independent implementation writes, ours reads."""
    read = jws.read(KEY.sign(b'{"a":1}', URL, NONCE, KID))
    assert (read.alg, read.url, read.nonce, read.kid, read.jwk) == ("ES256", URL, NONCE, KID, None)
    assert read.payload == b'{"a":1}'
    read_jwk(json.dumps(KEY.public).encode()).check(read.alg, read.signature, read.signed)


def test_a_request_with_its_own_key_is_read() -> None:
    """As newAccount has it (RFC 8555 section 6.2)."""
    read = jws.read(KEY.sign(b"{}", URL, NONCE))
    assert read.kid is None
    assert read.jwk is not None
    read_jwk(read.jwk).check(read.alg, read.signature, read.signed)


def test_an_empty_payload_is_post_as_get() -> None:
    """RFC 8555 section 6.3; an empty object is something else."""
    assert jws.read(body(payload=b"")).payload == b""
    assert jws.read(body(payload=b"{}")).payload == b"{}"


def test_unknown_members_are_ignored() -> None:
    """RFC 7515 sections 4 and 7.2.1: members and parameters that are not understood mean nothing."""
    assert jws.read(body(GOOD | {"typ": "JOSE", "x": {"y": [1, None]}}, extra="thing")).kid == KID


RAW_HEADER = json.dumps(GOOD).encode()[1:-1]
EC_JWK = json.dumps(KEY.public).encode()

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "text": b'"x"',
    "number": b"1",
    "not JSON": b"{protected}",
    "trailing": body() + b"x",
    "two documents": body() + body(),
    "byte order mark": b"\xef\xbb\xbf" + body(),
    "not UTF-8": body(extra="x").replace(b'"x"', b'"\xff"'),
    "compact": b".".join(b64(part).encode() for part in (json.dumps(GOOD).encode(), b"{}", b"s" * 64)),
    "general": json.dumps(
        {"payload": b64(b"{}"), "signatures": [{"protected": b64(RAW_HEADER), "signature": b64(b"s" * 64)}]}
    ).encode(),
    "general beside flattened": body(signatures=[]),
    "unprotected header": body(extra=1).replace(b'"extra"', b'"header"'),
    "unprotected header object": body().replace(b'{"protected"', b'{"header":{"alg":"ES256"},"protected"'),
    "unprotected empty header": body().replace(b'{"protected"', b'{"header":{},"protected"'),
    "detached": body(payload=b"x").replace(b'"payload"', b'"pay1oad"'),
    "payload null": body().replace(b'"e30"', b"null"),
    "no signature": body(signature=b""),
    "signature missing": body(signature=b"").replace(b'"signature"', b'"signed"'),
    "no protected": body(b"").replace(b'"protected"', b'"pr0tected"'),
    "empty protected": body(b""),
    "protected twice": body().replace(b"{", b'{"protected":"e30",', 1),
    "payload twice": body()[:-1] + b', "payload": "e30"}',
    "signature twice": body()[:-1] + b', "signature": "AAAA"}',
    "payload twice, escaped": body()[:-1] + b', "\\u0070ayload": "e30"}',
    "padded protected": body(protected=b64(json.dumps(GOOD).encode()) + "=="),
    "padded payload": body().replace(b'"e30"', b'"e30="'),
    "padded signature": body(signature=b"s" * 64).replace(b64(b"s" * 64).encode(), b64(b"s" * 64).encode() + b"=="),
    "plain base64": body().replace(b64(b"s" * 64).encode(), b64(b"s" * 63).encode() + b"+/"),
    "white space in payload": body().replace(b'"e30"', b'"e3 0"'),
    "unused bits in payload": body().replace(b'"e30"', b'"e31"'),
    "not ASCII": body().replace(b'"e30"', '"e3é"'.encode()),
    "impossible length": body().replace(b'"e30"', b'"e300e"'),
    "header is a list": body(b"[]"),
    "header is null": body(b"null"),
    "header not JSON": body(b"{alg}"),
    "header not UTF-8": body(b'{"alg":"ES256","url":"\xff","nonce":"AA","kid":"x"}'),
    "header with lone surrogate": body(b'{"alg":"ES256","url":"\\ud800","nonce":"AA","kid":"x"}'),
    "alg twice": body(b"{" + RAW_HEADER + b',"alg":"ES256"}'),
    "alg twice, first other": body(b'{"alg":"none",' + RAW_HEADER + b"}"),
    "alg twice, escaped": body(b"{" + RAW_HEADER + b',"\\u0061lg":"ES256"}'),
    "kid twice": body(b"{" + RAW_HEADER + b',"kid":"other"}'),
    "nonce twice": body(b"{" + RAW_HEADER + b',"nonce":"other"}'),
    "url twice": body(b"{" + RAW_HEADER + b',"url":"other"}'),
    "unknown twice": body(b"{" + RAW_HEADER + b',"a":1,"a":2}'),
    "twice in the key": body(
        b'{"alg":"ES256","nonce":"AA","url":"u","jwk":' + EC_JWK[:-1] + b',"kty":"EC"}}',
    ),
    "alg missing": body({name: value for name, value in GOOD.items() if name != "alg"}),
    "alg number": body(GOOD | {"alg": 256}),
    "alg null": body(GOOD | {"alg": None}),
    "nonce missing": body({name: value for name, value in GOOD.items() if name != "nonce"}),
    "nonce number": body(GOOD | {"nonce": 1}),
    "nonce null": body(GOOD | {"nonce": None}),
    "url missing": body({name: value for name, value in GOOD.items() if name != "url"}),
    "url list": body(GOOD | {"url": [URL]}),
    "neither kid nor jwk": body({name: value for name, value in GOOD.items() if name != "kid"}),
    "kid and jwk": body(GOOD | {"jwk": KEY.public}),
    "kid and null jwk": body(GOOD | {"jwk": None}),
    "kid null": body(GOOD | {"kid": None}),
    "kid too long": body(GOOD | {"kid": KID + "a" * 4000}),
    "url too long": body(GOOD | {"url": URL + "a" * 4000}),
    "crit": body(GOOD | {"crit": ["exp"], "exp": 1}),
    "crit empty": body(GOOD | {"crit": []}),
    "crit null": body(GOOD | {"crit": None}),
    "crit b64": body(GOOD | {"crit": ["b64"], "b64": False}),
    "b64 false": body(GOOD | {"b64": False}),
    "b64 true": body(GOOD | {"b64": True}),
    "deep header": body(b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"," + RAW_HEADER + b"}"),
    "deep body": body()[:-1] + b',"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "long header": body(GOOD | {"x": "y" * 10_000}),
    "long signature": body(signature=b"s" * 4628),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_everything_but_a_clean_flattened_jws_is_malformed(name: str) -> None:
    """RFC 8555 section 6.2, RFC 7515: one reading or none. Rows: R1, R3, R4, A2, T-25."""
    with pytest.raises(Malformed):
        jws.read(MALFORMED[name])


@pytest.mark.parametrize(
    "alg", ["none", "None", "", "HS256", "HS512", "PS256", "RS384", "RS1", "ES256K", "es256", "ES256 ", "A" * 500]
)
def test_other_algorithms_are_refused_with_those_that_are_accepted(alg: str) -> None:
    """RFC 8555 section 6.2: badSignatureAlgorithm, with `algorithms`. MACs are for bindings only. Rows: R5."""
    for header in (GOOD, WITH_KEY):
        with pytest.raises(BadAlgorithm) as caught:
            jws.read(body(header | {"alg": alg}))
        assert caught.value.context["algorithms"] == ALGORITHMS


@given(st.binary(max_size=300))
@example(b'{"protected":"e30","payload":"","signature":"AA"}')
def test_any_bytes_are_a_request_or_a_problem(data: bytes) -> None:
    """No other exception. Rows: T-25."""
    try:
        jws.read(data)
    except Problem:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["alg", "nonce", "url", "kid", "jwk", "crit", "b64", "typ", "signature"])


@given(st.dictionaries(NAMES, JSON | st.sampled_from(["ES256", NONCE, URL, KID]), max_size=7), st.binary(max_size=40))
def test_any_header_is_a_request_or_a_problem(header: dict[str, Any], payload: bytes) -> None:
    """What is read has every part, and says what the header says."""
    try:
        read = jws.read(body(header, payload))
    except Problem:
        return
    assert {"alg": read.alg, "nonce": read.nonce, "url": read.url}.items() <= header.items()
    assert (read.kid is None) != (read.jwk is None)
    assert read.alg in ALGORITHMS
    assert not header.keys() & {"crit", "b64"}


@given(st.lists(st.tuples(NAMES, st.sampled_from(["ES256", NONCE, URL, KID])), min_size=4, max_size=7))
def test_no_header_with_a_duplicate_is_read(members: list[tuple[str, str]]) -> None:
    """The quick look for duplicates finds all that a real look finds."""
    text = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}"
    try:
        jws.read(body(text.encode()))
    except Problem:
        return
    names = [name for name, _ in members]
    assert len(set(names)) == len(names)


@given(st.integers(0, 5000), st.integers(0, 255))
def test_no_altered_request_verifies(place: int, value: int) -> None:
    """One octet changed anywhere: refused, or still the same text under the signature. Rows: A2."""
    good = KEY.sign(b'{"a":1}', URL, NONCE, KID)
    place %= len(good)
    altered = good[:place] + bytes((value,)) + good[place + 1 :]
    key = read_jwk(EC_JWK)
    try:
        read = jws.read(altered)
        key.check(read.alg, read.signature, read.signed)
    except Problem:
        return
    assert read == jws.read(good)


# --------------------------------------------------------------------------- external account binding

ACCOUNT_URL = "https://ca.certgate.test/acme/default/new-account"
SECRET = b"k" * 32


def binding(header: dict[str, Any], payload: bytes = EC_JWK, digest: str = "sha256") -> jws.Flattened:
    protected = b64(json.dumps(header).encode())
    mac = hmac.digest(SECRET, f"{protected}.{b64(payload)}".encode(), digest)
    return jws.Flattened(protected, b64(payload), b64(mac))


BOUND: dict[str, Any] = {"alg": "HS256", "kid": "kid-1", "url": ACCOUNT_URL}


@pytest.mark.parametrize("alg", jws.MAC_ALGORITHMS)
def test_a_binding_is_read_and_its_mac_checked(alg: str) -> None:
    """RFC 8555 section 7.3.4 with each of the three MACs; the function goes to the secret."""
    outer = binding(BOUND | {"alg": alg}, digest=jws.MAC_ALGORITHMS[alg])
    read = jws.read_binding(outer, ACCOUNT_URL, read_jwk(EC_JWK))
    assert read.kid == "kid-1"
    read.verify(Secret(SECRET))
    for wrong in (b"x" * 32, b"", SECRET[:-1]):
        with pytest.raises(Unauthenticated):
            read.verify(Secret(wrong))


def test_a_truncated_mac_is_no_mac() -> None:
    """HS512 cut to the size of HS256, and no MAC at all."""
    outer = binding(BOUND | {"alg": "HS512"}, digest="sha512")
    cut = jws.Flattened(outer.protected, outer.payload, outer.signature[:43])
    with pytest.raises((Unauthenticated, Malformed)):
        jws.read_binding(cut, ACCOUNT_URL, read_jwk(EC_JWK)).verify(Secret(SECRET))
    with pytest.raises(Malformed):
        jws.read_binding(jws.Flattened(outer.protected, outer.payload, ""), ACCOUNT_URL, read_jwk(EC_JWK))


@pytest.mark.parametrize(
    ("header", "payload", "problem"),
    [
        (BOUND | {"nonce": NONCE}, EC_JWK, Malformed),
        (BOUND | {"jwk": KEY.public}, EC_JWK, Malformed),
        ({"alg": "HS256", "url": ACCOUNT_URL}, EC_JWK, Malformed),
        ({"alg": "HS256", "url": ACCOUNT_URL, "jwk": KEY.public}, EC_JWK, Malformed),
        (BOUND | {"crit": ["x"]}, EC_JWK, Malformed),
        (BOUND | {"b64": False}, EC_JWK, Malformed),
        (BOUND | {"alg": "ES256"}, EC_JWK, BadAlgorithm),
        (BOUND | {"alg": "none"}, EC_JWK, BadAlgorithm),
        (BOUND | {"alg": "HS1"}, EC_JWK, BadAlgorithm),
        (BOUND | {"url": URL}, EC_JWK, Unauthenticated),
        (BOUND, b"{}", BadPublicKey),
        (BOUND, b"", Malformed),
        (BOUND, json.dumps(Key.ec().public).encode(), Unauthenticated),
    ],
    ids=range(13),
)
def test_a_binding_that_does_not_fit_is_refused(header: dict[str, Any], payload: bytes, problem: type[Problem]) -> None:
    """No nonce, a MAC, a kid, the same URL, the account's own key."""
    with pytest.raises(problem):
        jws.read_binding(binding(header, payload), ACCOUNT_URL, read_jwk(EC_JWK))


def test_duplicates_in_a_binding_are_refused() -> None:
    """A header of four texts, one of them twice, has as many marks as that of a request."""
    text = f'{{"alg":"HS256","kid":"kid-1","url":"{ACCOUNT_URL}","kid":"kid-2"}}'
    outer = jws.Flattened(b64(text.encode()), b64(EC_JWK), b64(hashlib.sha256(b"").digest()))
    with pytest.raises(Malformed):
        jws.read_binding(outer, ACCOUNT_URL, read_jwk(EC_JWK))
