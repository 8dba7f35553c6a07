"""Keys that sign requests: JSON Web Keys in, verified signatures out (RFC 7517, 7518 section 6, 7638, 8037, 9964).

Each key has exactly one algorithm, taken from this table and never from a request, so that no request can
choose how its own signature is looked at (RFC 8725 section 3.1). Whether a key is weak or blocked in other
ways than by kind and size is for the registration authority to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from policy.problems import BadAlgorithm, BadPublicKey, Internal, Malformed, Unauthenticated
from protocols import base64url

ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "RS256", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
"""What is accepted of request signatures: RFC 8555 section 6.2 demands ES256 and suggests EdDSA. What is not in this
list is neither read nor verified."""

MLDSAPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""RFC 7518 section 3.3 sets the least size. The largest bounds what one verification may cost (about 0.5
ms)."""
RSA_EXPONENT = 65537
"""The only exponent that clients in the field make; a small one has made forgeries possible before."""
KEY_CACHE = 4096
"""Decoded account keys kept: a few kilobytes each, most of it in OpenSSL."""

_CURVES: dict[str, tuple[ec.EllipticCurve, int, str]] = {
    "P-256": (ec.SECP256R1(), 32, "ES256"),
    "P-384": (ec.SECP384R1(), 48, "ES384"),
    "P-521": (ec.SECP521R1(), 66, "ES512"),
}
_BY_CURVE = {curve.name: (size, alg) for curve, size, alg in _CURVES.values()}
_ECDSA = {
    "ES256": ec.ECDSA(hashes.SHA256()),
    "ES384": ec.ECDSA(hashes.SHA384()),
    "ES512": ec.ECDSA(hashes.SHA512()),
}
_MLDSA: dict[str, type[MLDSAPublicKey]] = {
    "ML-DSA-44": mldsa.MLDSA44PublicKey,
    "ML-DSA-65": mldsa.MLDSA65PublicKey,
    "ML-DSA-87": mldsa.MLDSA87PublicKey,
}
_PUBLIC: tuple[str, ...] = ("kty", "crv", "x", "y", "n", "e", "alg", "pub")
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")

# Points of small order on edwards25519 (sign bit cleared), canonical and not: under such a key one signature
# verifies for many messages. Found by multiplying random points by the group order; the test does it again.
_P = 2**255 - 19
_SMALL_ORDER = frozenset(
    value.to_bytes(32, "little")
    for value in (
        0,
        1,
        _P - 1,
        _P,
        _P + 1,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    )
)

Verify = Callable[[bytes, bytes], None]


class SigningKey(msgspec.Struct, frozen=True):
    """A public key that signs requests. `verify(signature, data)` raises Unauthenticated.

    A Struct and not a dataclass, like everything that is made once per request here: it takes a tenth of the
    time.
    """

    alg: str
    spki: bytes
    thumbprint: str
    jwk: dict[str, str]
    verify: Verify

    def check(self, alg: str, signature: bytes, data: bytes) -> None:
        """Verify a signature made with `alg`. Raises BadAlgorithm, Unauthenticated."""
        if alg != self.alg:
            raise BadAlgorithm(f'"{alg}" does not belong to this key; it signs with {self.alg}', algorithms=(self.alg,))
        self.verify(signature, data)


def read_jwk(text: bytes) -> SigningKey:
    """A JSON Web Key (RFC 7517). Raises Malformed when it is none, BadPublicKey when it is not accepted.

    Of members that are not part of the key nothing is kept (RFC 7517 section 4).
    """
    try:
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        values = {name: msgspec.json.decode(members[name], type=str) for name in _PUBLIC if name in members}
    except (ValueError, RecursionError) as exc:
        raise Malformed("the jwk is not a JSON object with text members (RFC 7517 section 4)") from exc
    if any(name in members for name in _PRIVATE):
        raise BadPublicKey("the jwk has a private or secret part, which must never be sent; make a new key")
    kind = values.get("kty", "")
    reader = _READERS.get(kind)
    if reader is None:
        raise BadPublicKey(f'key type "{kind[:20]}" is not accepted; accepted are {", ".join(_READERS)}')
    jwk, key = reader(values)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _signing_key(key, spki, jwk)


@lru_cache(maxsize=KEY_CACHE)
def stored_key(spki: bytes) -> SigningKey:
    """The key of an account, from its stored SubjectPublicKeyInfo.

    Cached by the key itself: an entry cannot outlive a rollover, because the account then names other octets.
    """
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise Internal("the stored account key cannot be read") from exc
    return _signing_key(key, spki, _jwk_of(key))


def _signing_key(key: Any, spki: bytes, jwk: dict[str, str]) -> SigningKey:
    # RFC 7638 section 3: only the required members, in the order of their names, without white space.
    canonical = msgspec.json.encode(dict(sorted(jwk.items())))
    thumbprint = base64url.encode(hashlib.sha256(canonical).digest())
    if isinstance(key, ec.EllipticCurvePublicKey):
        size, alg = _BY_CURVE[key.curve.name]
        return SigningKey(alg, spki, thumbprint, jwk, _ecdsa(key, size, _ECDSA[alg]))
    if isinstance(key, rsa.RSAPublicKey):
        return SigningKey("RS256", spki, thumbprint, jwk, _rsa(key))
    # The signatures of the others have no parameters: ML-DSA has the empty context (RFC 9964).
    return SigningKey(_mldsa_name(key) or "EdDSA", spki, thumbprint, jwk, _plain(key))


# --------------------------------------------------------------------------- JWK -> key


def _member(values: dict[str, str], name: str) -> bytes:
    if name not in values:
        raise Malformed(f'the jwk has no "{name}" (RFC 7518 section 6, RFC 9964)')
    try:
        return base64url.decode(values[name].encode("ascii"))
    except ValueError as exc:
        raise Malformed(f'"{name}" of the jwk is not base64url without padding (RFC 7515 section 2)') from exc


def _read_ec(values: dict[str, str]) -> tuple[dict[str, str], ec.EllipticCurvePublicKey]:
    crv = values.get("crv", "")
    if crv not in _CURVES:
        raise BadPublicKey(f'curve "{crv[:20]}" is not accepted; accepted are {", ".join(_CURVES)}')
    curve, size, _ = _CURVES[crv]
    x, y = _member(values, "x"), _member(values, "y")
    # RFC 7518 section 6.2.1.2: coordinates are full size, leading zeros included.
    if len(x) != size or len(y) != size:
        raise BadPublicKey(f"the coordinates of a {crv} key have {size} octets each (RFC 7518 section 6.2.1.2)")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + x + y)
    except ValueError as exc:
        raise BadPublicKey(f"the point is not on the curve {crv}") from exc
    return {"crv": crv, "kty": "EC", "x": values["x"], "y": values["y"]}, key


def _read_rsa(values: dict[str, str]) -> tuple[dict[str, str], rsa.RSAPublicKey]:
    n, e = _member(values, "n"), _member(values, "e")
    if n[:1] in (b"", b"\0") or e[:1] in (b"", b"\0"):
        raise BadPublicKey('"n" and "e" of the jwk must not begin with a zero octet (RFC 7518 section 6.3.1)')
    modulus, exponent = int.from_bytes(n, "big"), int.from_bytes(e, "big")
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise BadPublicKey(
            f"the RSA key has {modulus.bit_length()} bits; accepted are {MIN_RSA_BITS} to {MAX_RSA_BITS}"
        )
    if exponent != RSA_EXPONENT:
        raise BadPublicKey(f"the RSA key has another public exponent than {RSA_EXPONENT}")
    if not modulus & 1:
        raise BadPublicKey("the RSA modulus is even, so it is no product of two large primes")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return {"e": values["e"], "kty": "RSA", "n": values["n"]}, key


def _read_okp(values: dict[str, str]) -> tuple[dict[str, str], ed25519.Ed25519PublicKey]:
    crv = values.get("crv", "")
    if crv != "Ed25519":
        raise BadPublicKey(f'curve "{crv[:20]}" is not accepted for key type OKP; accepted is Ed25519')
    x = _member(values, "x")
    if len(x) != 32:
        raise BadPublicKey("an Ed25519 key has 32 octets (RFC 8037 section 2)")
    if x[:31] + bytes((x[31] & 0x7F,)) in _SMALL_ORDER:
        raise BadPublicKey("the Ed25519 key is a point of small order")
    return {"crv": crv, "kty": "OKP", "x": values["x"]}, ed25519.Ed25519PublicKey.from_public_bytes(x)


def _read_akp(values: dict[str, str]) -> tuple[dict[str, str], MLDSAPublicKey]:
    """An algorithm key pair (RFC 9964): what the key is for is part of it, and of its thumbprint."""
    alg = values.get("alg", "")
    if alg not in _MLDSA:
        raise BadPublicKey(f'"alg" of the key is "{alg[:20]}"; accepted for key type AKP are {", ".join(_MLDSA)}')
    try:
        key = _MLDSA[alg].from_public_bytes(_member(values, "pub"))
    except ValueError as exc:
        raise BadPublicKey(f'"pub" is not a public key of {alg} (FIPS 204)') from exc
    return {"alg": alg, "kty": "AKP", "pub": values["pub"]}, key


_READERS: dict[str, Callable[[dict[str, str]], tuple[dict[str, str], Any]]] = {
    "EC": _read_ec,
    "RSA": _read_rsa,
    "OKP": _read_okp,
    "AKP": _read_akp,
}


def _mldsa_name(key: Any) -> str | None:
    return next((name for name, kind in _MLDSA.items() if isinstance(key, kind)), None)


def _jwk_of(key: Any) -> dict[str, str]:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _BY_CURVE:
        size, _ = _BY_CURVE[key.curve.name]
        numbers = key.public_numbers()
        crv = next(name for name, (curve, _, _) in _CURVES.items() if curve.name == key.curve.name)
        x, y = (base64url.encode(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
        return {"crv": crv, "kty": "EC", "x": x, "y": y}
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        e, n = (
            base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
            for number in (rsa_numbers.e, rsa_numbers.n)
        )
        return {"e": e, "kty": "RSA", "n": n}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": base64url.encode(key.public_bytes_raw())}
    if (alg := _mldsa_name(key)) is not None:
        return {"alg": alg, "kty": "AKP", "pub": base64url.encode(key.public_bytes_raw())}
    raise Internal("the stored account key is of a kind that no account can have")


# --------------------------------------------------------------------------- verification


def _wrong() -> Unauthenticated:
    return Unauthenticated("the signature of the request does not verify with this key")


def _ecdsa(key: ec.EllipticCurvePublicKey, size: int, scheme: ec.ECDSA) -> Verify:
    whole, verify, number = 2 * size, key.verify, int.from_bytes

    def check(signature: bytes, data: bytes) -> None:
        # RFC 7518 section 3.4: r and s side by side, both full size; a DER signature has another length. Zero
        # is no signature: libraries that took it for one let anybody sign (CVE-2022-21449).
        if len(signature) != whole:
            raise Unauthenticated(f"the signature has {len(signature)} octets, not {whole} (RFC 7518 section 3.4)")
        r, s = number(signature[:size], "big"), number(signature[size:], "big")
        if not r or not s:
            raise _wrong()
        try:
            verify(encode_dss_signature(r, s), data, scheme)
        except InvalidSignature as exc:
            raise _wrong() from exc

    return check


def _rsa(key: rsa.RSAPublicKey) -> Verify:
    pkcs1, sha256, size = padding.PKCS1v15(), hashes.SHA256(), (key.key_size + 7) // 8

    def check(signature: bytes, data: bytes) -> None:
        # RFC 8017 section 8.2.2: exactly as long as the modulus.
        if len(signature) != size:
            raise Unauthenticated(f"the signature has {len(signature)} octets, not {size} (RFC 8017 section 8.2.2)")
        try:
            key.verify(signature, data, pkcs1, sha256)
        except InvalidSignature as exc:
            raise _wrong() from exc

    return check


def _plain(key: ed25519.Ed25519PublicKey | MLDSAPublicKey) -> Verify:
    def check(signature: bytes, data: bytes) -> None:
        try:
            key.verify(signature, data)
        except InvalidSignature as exc:
            raise _wrong() from exc

    return check
