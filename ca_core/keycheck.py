"""Public key quality: size, curve, exponent, known weak and blocked keys.

The rules are those of the CA/Browser Forum Baseline Requirements sections 6.1.1.3, 6.1.5 and 6.1.6, which are
good sense for private products as well. Which kinds of key a product takes is an argument. Lists of weak keys
(Debian 2008, compromised ones) come in as a set of hashes: none is on the Python index to be had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from hashlib import sha256

from cryptography.hazmat import asn1

from ca_core import der, oids
from ca_core.problems import BadPublicKey

_MIN_RSA_BITS = 2048  # Baseline Requirements section 6.1.5
_MAX_RSA_BITS = 8192  # a verification takes a quarter of a millisecond; larger keys only cost everybody time
_MIN_EXPONENT = 65537  # Baseline Requirements section 6.1.6: range 2^16 + 1 to 2^256 - 1
_MAX_EXPONENT = 1 << 256
_FERMAT_ROUNDS = 100  # Baseline Requirements section 6.1.1.3: the close primes attack


@asn1.sequence
class _RSAKey:
    """RSAPublicKey (RFC 8017 appendix A.1.1)."""

    modulus: int
    exponent: int


def check_key(
    spki: bytes,
    key_type: str,
    *,
    allowed: frozenset[str] | None = None,
    blocked: Container[bytes] | None = None,
) -> None:
    """Check the quality of a public key that `algorithms.key_type` has named. Raises BadPublicKey.

    `allowed` are the key types a product takes; `blocked` holds SHA-256 digests of the SubjectPublicKeyInfo
    of keys that nobody may use. The SubjectPublicKeyInfo goes into the certificate as it is, so only one form
    of it is taken: named curve and uncompressed point (RFC 5480 section 2), NULL parameters for RSA (RFC 3279
    section 2.3.1).
    """
    if allowed is not None and key_type not in allowed:
        names = ", ".join(sorted(allowed))
        raise BadPublicKey(f"a public key of type {key_type} is not accepted here; accepted are {names}")
    check = _CHECKS.get(key_type) or _CHECKS.get(key_type.partition("-")[0])
    if check is None:
        raise BadPublicKey(f'a public key of type "{key_type}" is not accepted')
    check(spki, key_type)
    if blocked is not None and sha256(spki).digest() in blocked:
        raise BadPublicKey("the public key is blocked: its private key is known to others or was compromised")


# --- elliptic curves --------------------------------------------------------------------------------------

# Named curve, field prime and coefficient b; a is -3 for all three (FIPS 186-5, SP 800-186 section 3.2.1).
_CURVES = {
    "ec-p256": (
        oids.CURVE_P256,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "ec-p384": (
        oids.CURVE_P384,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "ec-p521": (
        oids.CURVE_P521,
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}


def _header(algorithm: bytes, key_size: int) -> bytes:
    """What stands before a key of known size in its SubjectPublicKeyInfo."""
    empty = b"\x00" * key_size
    return der.sequence(algorithm, der.bit_string(empty))[:-key_size]


def _curve_check(oid: str, prime: int, b: int) -> Callable[[bytes, str], None]:
    size = (prime.bit_length() + 7) // 8
    algorithm = der.sequence(der.object_identifier(oids.EC_PUBLIC_KEY), der.object_identifier(oid))
    header = _header(algorithm, 1 + 2 * size) + b"\x04"
    middle, end = len(header) + size, len(header) + 2 * size

    def check(spki: bytes, key_type: str) -> None:
        if not spki.startswith(header) or len(spki) != end:
            raise BadPublicKey(
                f"the public key is not an uncompressed point on the named curve of {key_type} (RFC 5480)"
            )
        x = int.from_bytes(spki[len(header) : middle], "big")
        y = int.from_bytes(spki[middle:end], "big")
        # SP 800-56A section 5.6.2.3.4; these curves have cofactor 1, so every such point has the full order.
        if x >= prime or y >= prime or (y * y - (x * x - 3) * x - b) % prime:
            raise BadPublicKey(f"the public key is not a point on the curve of {key_type}")

    return check


# --- keys that are only bytes -----------------------------------------------------------------------------

# Sizes: RFC 8032 sections 5.1.5 and 5.2.5, FIPS 204 table 2.
_PLAIN_KEYS = {
    "ed25519": (oids.ED25519, 32),
    "ed448": (oids.ED448, 57),
    "ml-dsa-44": (oids.ML_DSA_44, 1312),
    "ml-dsa-65": (oids.ML_DSA_65, 1952),
    "ml-dsa-87": (oids.ML_DSA_87, 2592),
}


def _plain_check(oid: str, size: int) -> Callable[[bytes, str], None]:
    header = _header(der.sequence(der.object_identifier(oid)), size)

    def check(spki: bytes, key_type: str) -> None:
        if not spki.startswith(header) or len(spki) != len(header) + size:
            raise BadPublicKey(f"the public key is not {size} octets of {key_type}")

    return check


# --- RSA --------------------------------------------------------------------------------------------------

_RSA_ALGORITHM = der.sequence(der.object_identifier(oids.RSA_ENCRYPTION), der.NULL)


def _primes_below(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(2, limit) if sieve[number]]


# Up to here a common factor costs tens of microseconds to find. Honest generators never leave one.
_SMALL_FACTORS = math.prod(_primes_below(2000))

# ROCA (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.2): the faulty library makes
# primes k*M + (65537^a mod M), so its moduli are powers of 65537 modulo every prime that divides M. These are
# the primes where few residues are such powers: one sound key in 2^27 is taken for a faulty one.
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
_ROCA_RESIDUES = tuple((prime, frozenset(pow(65537, power, prime) for power in range(prime))) for prime in _ROCA_PRIMES)
_SQUARES = frozenset(number * number % 5040 for number in range(5040))  # 1 number in 26, before a root is drawn


def _read_rsa(spki: bytes, key_type: str) -> _RSAKey:
    try:
        start = der.read_tlv(spki, 0, der.SEQUENCE).start
        if not spki.startswith(_RSA_ALGORITHM, start):
            raise BadPublicKey("the key's algorithm is not rsaEncryption with NULL (RFC 3279)")
        bits = der.read_tlv(spki, start + len(_RSA_ALGORITHM), der.BIT_STRING)
        key = asn1.decode_der(_RSAKey, spki[bits.start + 1 : bits.end])
    except ValueError as exc:
        raise BadPublicKey("the public key is not an RSA key (RFC 8017 appendix A.1.1)") from exc
    whole = spki[bits.start] == 0 and bits.end == len(spki) and key.modulus > 0
    if not whole or f"rsa-{key.modulus.bit_length()}" != key_type:
        raise BadPublicKey(f"the public key is not one of type {key_type}")
    return key


def _check_rsa(spki: bytes, key_type: str) -> None:
    key = _read_rsa(spki, key_type)
    modulus, exponent, bits = key.modulus, key.exponent, key.modulus.bit_length()
    if not _MIN_RSA_BITS <= bits <= _MAX_RSA_BITS or bits % 8:
        raise BadPublicKey(
            f"the RSA key has {bits} bits; accepted are {_MIN_RSA_BITS} to {_MAX_RSA_BITS}, in multiples of 8"
        )
    if exponent % 2 == 0 or not _MIN_EXPONENT <= exponent < _MAX_EXPONENT:
        shown = exponent if 0 <= exponent < _MAX_EXPONENT else "out of range"
        raise BadPublicKey(f"the RSA key's exponent is {shown}; accepted are odd ones from 65537 to 2^256 - 1")
    if math.gcd(modulus, _SMALL_FACTORS) != 1:
        raise BadPublicKey("the RSA key's modulus has a small prime factor")
    if all(modulus % prime in residues for prime, residues in _ROCA_RESIDUES):
        raise BadPublicKey("the RSA key was made by a library with the ROCA fault (CVE-2017-15361)")
    if _close_primes(modulus):
        raise BadPublicKey("the RSA key's two primes are so close that it can be factored (Fermat)")


def _close_primes(modulus: int) -> bool:
    """Whether Fermat's method factors this odd number within a hundred rounds."""
    root = math.isqrt(modulus)
    if root * root == modulus:
        return True
    root += 1
    rest = root * root - modulus
    for _ in range(_FERMAT_ROUNDS):
        if rest % 5040 in _SQUARES and math.isqrt(rest) ** 2 == rest:
            return True
        rest += 2 * root + 1
        root += 1
    return False


_CHECKS: dict[str, Callable[[bytes, str], None]] = {
    **{name: _curve_check(*curve) for name, curve in _CURVES.items()},
    **{name: _plain_check(*key) for name, key in _PLAIN_KEYS.items()},
    "rsa": _check_rsa,
}
