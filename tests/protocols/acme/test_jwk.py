"""Account keys: which JSON Web Keys are accepted, and that each has one algorithm."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.problems import BadAlgorithm, BadPublicKey, Internal, Malformed, Unauthenticated
from protocols.acme import jwk
from tests.protocols.acme.client import Key, b64, unb64

MLDSAKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey


def encoded(members: Any) -> bytes:
    return json.dumps(members).encode()


def ed25519_jwk() -> tuple[ed25519.Ed25519PrivateKey, dict[str, str]]:
    private = ed25519.Ed25519PrivateKey.generate()
    return private, {"kty": "OKP", "crv": "Ed25519", "x": b64(private.public_key().public_bytes_raw())}


MLDSA: dict[str, type[MLDSAKey]] = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}


def akp(alg: str) -> tuple[MLDSAKey, dict[str, str]]:
    """A key pair from a seed of zeros, as the examples of RFC 9964 are, and its JWK."""
    private = MLDSA[alg].from_seed_bytes(bytes(32))
    return private, {"kty": "AKP", "alg": alg, "pub": b64(private.public_key().public_bytes_raw())}


KEYS = {
    "ES256": Key.ec(ec.SECP256R1()),
    "ES384": Key.ec(ec.SECP384R1()),
    "ES512": Key.ec(ec.SECP521R1()),
    "RS256": Key.rsa(),
}


@pytest.mark.parametrize("alg", KEYS)
def test_keys_have_their_algorithm_and_thumbprint(alg: str) -> None:
    """The algorithm comes from the key; thumbprints are those of josepy (RFC 7638)."""
    key = KEYS[alg]
    found = jwk.read_jwk(encoded(key.public))
    assert found.alg == alg
    assert found.thumbprint == key.thumbprint
    assert found.jwk == key.public
    assert found.spki == key.jwk.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_thumbprint_of_the_example_of_rfc_7638() -> None:
    """Section 3.1: the example key and its thumbprint."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    found = jwk.read_jwk(encoded(key))
    assert found.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert set(found.jwk) == {"kty", "n", "e"}


def test_a_stored_key_is_the_key_that_was_sent() -> None:
    """What register() keeps as SPKI gives the same key again, whatever its type."""
    _, okp = ed25519_jwk()
    for members in [*(key.public for key in KEYS.values()), okp, *(akp(alg)[1] for alg in MLDSA)]:
        sent = jwk.read_jwk(encoded(members))
        stored = jwk.stored_key(sent.spki)
        assert (stored.alg, stored.thumbprint, stored.jwk) == (sent.alg, sent.thumbprint, sent.jwk)
        assert jwk.stored_key(bytes(bytearray(sent.spki))) is stored, "decoded once"


def test_a_broken_stored_key_is_our_fault() -> None:
    """Nothing of it is shown."""
    with pytest.raises(Internal):
        jwk.stored_key(b"not a key")
    p224 = ec.generate_private_key(ec.SECP224R1()).public_key()
    with pytest.raises(Internal):
        jwk.stored_key(p224.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


EC = KEYS["ES256"].public
RSA = KEYS["RS256"].public


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


def small_rsa() -> str:
    return number(rsa.generate_private_key(65537, 1024).public_key().public_numbers().n)


@pytest.mark.parametrize(
    "members",
    [
        {"kty": "oct", "k": b64(b"secret")},
        {"kty": "DSA"},
        {},
        EC | {"crv": "P-224"},
        EC | {"crv": "secp256k1"},
        EC | {"crv": "P-384"},
        EC | {"x": b64(b"\0" + unb64(EC["x"]))},
        EC | {"x": b64(unb64(EC["x"])[1:])},
        EC | {"y": EC["x"], "x": EC["y"]},
        EC | {"x": b64(bytes(32)), "y": b64(bytes(32))},
        EC | {"d": b64(bytes(32))},
        RSA | {"e": number(3)},
        RSA | {"e": number(1)},
        RSA | {"e": number(65536)},
        RSA | {"e": b64(b"\0\1\0\1")},
        RSA | {"n": b64(b"\0" + unb64(RSA["n"]))},
        RSA | {"n": small_rsa()},
        RSA | {"n": number((1 << 8192) + 1)},
        RSA | {"n": number((1 << 2047) + 2)},
        RSA | {"d": RSA["n"]},
        {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))},
        {"kty": "OKP", "crv": "Ed448", "x": b64(bytes(57))},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31))},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\1" + bytes(31))},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\1" + bytes(30) + b"\x80")},
        {"kty": "AKP", "pub": akp("ML-DSA-44")[1]["pub"]},
        akp("ML-DSA-44")[1] | {"alg": "ML-DSA-65"},
        akp("ML-DSA-44")[1] | {"alg": "SLH-DSA-SHA2-128s"},
        akp("ML-DSA-44")[1] | {"pub": b64(bytes(1311))},
        akp("ML-DSA-44")[1] | {"priv": b64(bytes(32))},
    ],
    ids=lambda members: "-".join(map(str, members))[:40],
)
def test_keys_of_other_kinds_and_sizes_are_bad_public_keys(members: dict[str, str]) -> None:
    """RFC 8555 section 6.7 badPublicKey: type, curve, size, exponent, point off the curve, private parts. Rows: R5."""
    with pytest.raises(BadPublicKey):
        jwk.read_jwk(encoded(members))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"EC"',
        b"{",
        b'{"kty":1}',
        b'{"kty":"EC","crv":"P-256"}',
        b'{"kty":"EC","crv":"P-256","x":"AA==","y":"AA"}',
        b'{"kty":"RSA","n":"AQAB"}',
        b'{"kty":"\xff"}',
        b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
    ids=range(11),
)
def test_what_is_no_jwk_is_malformed(text: bytes) -> None:
    """RFC 7517 section 4."""
    with pytest.raises(Malformed):
        jwk.read_jwk(text)


def test_points_of_small_order_are_refused() -> None:
    """The list of small-order points on edwards25519 is complete: it is computed again here."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    order = 2**252 + 27742317777372353535851937790883648493

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = a, b
        t = d * x1 * x2 * y1 * y2 % p
        return (x1 * y2 + x2 * y1) * pow(1 + t, -1, p) % p, (y1 * y2 + x1 * x2) * pow(1 - t, -1, p) % p

    def times(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
        found = (0, 1)
        while scalar:
            if scalar & 1:
                found = add(found, point)
            point, scalar = add(point, point), scalar >> 1
        return found

    def point(y: int) -> tuple[int, int] | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        if (x * x - square) % p:
            x = x * pow(2, (p - 1) // 4, p) % p
        return (x, y) if (x * x - square) % p == 0 else None

    rng = random.Random(8032)
    found: set[int] = set()
    while len(found) < 5:  # one of order 1, one of 2, two of 4 that share y = 0, four of 8 that share two y
        start = point(rng.randrange(p))
        if start is not None:
            small = times(order, start)
            found |= {times(k, small)[1] for k in range(8)}
    every = {y.to_bytes(32, "little") for y in found} | {y.to_bytes(32, "little") for y in (p, p + 1)}
    assert every == jwk._SMALL_ORDER


# --------------------------------------------------------------------------- signatures


def test_a_signature_counts_only_under_the_algorithm_of_the_key() -> None:
    """ES384 with a P-256 key, RS256 with an EC key and the like (trap T-14); the answer says what would be
    right.

    Rows: A2, T-14.
    """
    for alg, key in KEYS.items():
        found = jwk.read_jwk(encoded(key.public))
        for other in {*jwk.ALGORITHMS, "none", "HS256", "", "es256"} - {alg}:
            with pytest.raises(BadAlgorithm) as caught:
                found.check(other, b"x" * 64, b"data")
            assert caught.value.context["algorithms"] == (alg,)


@pytest.mark.parametrize("alg", KEYS)
def test_signatures_of_josepy_verify_and_altered_ones_do_not(alg: str) -> None:
    """Every algorithm of RFC 7518 that is accepted."""
    key = KEYS[alg]
    found = jwk.read_jwk(encoded(key.public))
    signature = key.alg.sign(key.jwk.key, b"data")
    found.check(alg, signature, b"data")
    flipped = bytes((signature[0] ^ 1,)) + signature[1:]
    for wrong, data in [
        (signature, b"Data"),
        (flipped, b"data"),
        (signature[:-1], b"data"),
        (signature + b"\0", b"data"),
        (b"", b"data"),
    ]:
        with pytest.raises(Unauthenticated):
            found.check(alg, wrong, data)


def test_ed25519_signatures() -> None:
    """RFC 8037."""
    private, members = ed25519_jwk()
    found = jwk.read_jwk(encoded(members))
    assert found.alg == "EdDSA"
    found.check("EdDSA", private.sign(b"data"), b"data")
    for wrong in (private.sign(b"other"), bytes(64), b""):
        with pytest.raises(Unauthenticated):
            found.check("EdDSA", wrong, b"data")


@pytest.mark.parametrize(
    ("alg", "thumbprint"),
    [
        ("ML-DSA-44", "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o"),
        ("ML-DSA-65", "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM"),
    ],
)
def test_thumbprints_of_the_examples_of_rfc_9964(alg: str, thumbprint: str) -> None:
    """The algorithm is part of what is hashed, beside kty and pub."""
    _, members = akp(alg)
    assert jwk.read_jwk(encoded(members | {"use": "sig"})).thumbprint == thumbprint


@pytest.mark.parametrize("alg", MLDSA)
def test_ml_dsa_signatures(alg: str) -> None:
    """RFC 9964: the pure variant with an empty context; any other context, size or algorithm is refused. Rows: T-14."""
    private, members = akp(alg)
    found = jwk.read_jwk(encoded(members))
    assert found.alg == alg
    good = private.sign(b"data")
    found.check(alg, good, b"data")
    for wrong in (
        private.sign(b"other"),
        private.sign(b"data", b"acme"),
        good[:-1],
        good + b"\0",
        bytes(len(good)),
        b"",
    ):
        with pytest.raises(Unauthenticated):
            found.check(alg, wrong, b"data")
    for other in {*jwk.ALGORITHMS} - {alg}:
        with pytest.raises(BadAlgorithm):
            found.check(other, good, b"data")


def test_zero_and_der_signatures_are_refused() -> None:
    """CVE-2022-21449, and signatures as X.509 has them. Rows: T-14."""
    private = ec.generate_private_key(ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found = jwk.stored_key(spki)
    der = private.sign(b"data", jwk._ECDSA["ES256"])
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    order = n.to_bytes(32, "big")
    one = (1).to_bytes(32, "big")
    for wrong in (bytes(64), one + bytes(32), bytes(32) + one, order + one, one + order, der, der[:64], b"\xff" * 64):
        with pytest.raises(Unauthenticated):
            found.check("ES256", wrong, b"data")
