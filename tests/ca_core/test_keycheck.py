from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ca_core import der, oids
from ca_core.algorithms import KEY_TYPES, key_type
from ca_core.keycheck import check_key
from ca_core.problems import BadPublicKey

VECTORS = Path(__file__).parent.parent / "vectors" / "ca_core"
RSA = rsa.generate_private_key(65537, 2048)
SOUND: list[CertificateIssuerPrivateKeyTypes] = [
    RSA,
    rsa.generate_private_key(65537, 3072),
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.generate(),
    ed448.Ed448PrivateKey.generate(),
    mldsa.MLDSA44PrivateKey.generate(),
    mldsa.MLDSA65PrivateKey.generate(),
    mldsa.MLDSA87PrivateKey.generate(),
]


def spki_of(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def rsa_spki(modulus: int, exponent: int = 65537, parameters: bytes = der.NULL) -> bytes:
    algorithm = der.sequence(der.object_identifier(oids.RSA_ENCRYPTION), parameters)
    return der.sequence(algorithm, der.bit_string(der.sequence(der.integer(modulus), der.integer(exponent))))


def ec_spki(point: bytes, curve: str = oids.CURVE_P256) -> bytes:
    algorithm = der.sequence(der.object_identifier(oids.EC_PUBLIC_KEY), der.object_identifier(curve))
    return der.sequence(algorithm, der.bit_string(point))


@pytest.mark.parametrize("key", SOUND, ids=lambda key: key_type(key.public_key()))
def test_sound_keys_pass(key: CertificateIssuerPrivateKeyTypes) -> None:
    """Fresh keys of every kind are accepted, and under no other name."""
    spki, kind = spki_of(key), key_type(key.public_key())
    check_key(spki, kind)
    for other in KEY_TYPES.keys() - {kind}:
        with pytest.raises(BadPublicKey):
            check_key(spki, other)


N = RSA.public_key().public_numbers().n


@pytest.mark.parametrize(
    ("modulus", "exponent", "why"),
    [
        (N >> 1024, 65537, "1024 bits"),
        (N >> 1 | 1, 65537, "2047 bits"),
        (N << 8 | 1 << 2056 | 1, 65537, "2057 bits"),
        ((1 << 8199) + 1, 65537, "8200 bits"),
        (N, 3, "exponent is 3"),
        (N, 1, "exponent is 1"),
        (N, 65536, "exponent is 65536"),
        (N, -65537, "out of range"),
        (N, (1 << 256) + 1, "out of range"),
        (N * 0 + (1 << 2047), 65537, "small prime factor"),
        ((1 << 1024) - 105, 65537, "1024 bits"),
        (((1 << 1024) - 105) ** 2, 65537, "factor"),
    ],
)
def test_rsa_parameters(modulus: int, exponent: int, why: str) -> None:
    """Baseline Requirements sections 6.1.5 and 6.1.6. Rows: T-22."""
    with pytest.raises(BadPublicKey, match=why):
        check_key(rsa_spki(modulus, exponent), f"rsa-{modulus.bit_length()}")


def test_largest_public_exponent() -> None:
    """2^256 - 1 is still allowed."""
    check_key(rsa_spki(N, (1 << 256) - 1), "rsa-2048")


@pytest.mark.parametrize(
    ("name", "why"),
    [("weak_roca", "ROCA"), ("weak_close_primes", "Fermat"), ("weak_small_factor", "small prime factor")],
)
def test_weak_rsa_keys(name: str, why: str) -> None:
    """Baseline Requirements section 6.1.1.3. Rows: T-22."""
    with pytest.raises(BadPublicKey, match=why):
        check_key((VECTORS / f"{name}.der").read_bytes(), "rsa-2048")


@pytest.mark.parametrize(
    "spki",
    [
        b"",
        b"\x30\x00",
        rsa_spki(N)[:-1],
        rsa_spki(N) + b"\x00",
        rsa_spki(N, parameters=b""),
        rsa_spki(-N),
        der.sequence(der.sequence(der.object_identifier(oids.RSA_ENCRYPTION), der.NULL), der.bit_string(b"\x30\x00")),
    ],
)
def test_what_is_no_rsa_key(spki: bytes) -> None:
    """Cut, surplus, without NULL, negative or empty."""
    with pytest.raises(BadPublicKey):
        check_key(spki, "rsa-2048")


POINT = SOUND[2].public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize(
    "spki",
    [
        ec_spki(POINT[:-1] + bytes((POINT[-1] ^ 1,))),
        ec_spki(bytes((2 + POINT[-1] % 2,)) + POINT[1:33]),
        ec_spki(b"\x00"),
        ec_spki(b"\x04" + bytes(64)),
        ec_spki(b"\x04" + b"\xff" * 64),
        ec_spki(POINT, curve="1.3.132.0.33"),
        ec_spki(POINT) + b"\x00",
        (VECTORS / "explicit_curve_spki.der").read_bytes(),
    ],
    ids=["off", "compressed", "infinity", "zero", "too large", "other curve", "trailing", "explicit"],
)
def test_what_is_no_point_on_a_named_curve(spki: bytes) -> None:
    """RFC 5480 section 2: named curves; SP 800-56A section 5.6.2.3: a point of the curve. Rows: T-22."""
    with pytest.raises(BadPublicKey):
        check_key(spki, "ec-p256")


@pytest.mark.parametrize("kind", ["ec-p224", "x25519", "unknown", "", "dsa-2048"])
def test_other_kinds_are_refused(kind: str) -> None:
    """No rule, no key."""
    with pytest.raises(BadPublicKey):
        check_key(spki_of(RSA), kind)


def test_products_limit_key_types() -> None:
    """The answer says which types would do."""
    check_key(spki_of(RSA), "rsa-2048", allowed=frozenset({"rsa-2048"}))
    with pytest.raises(BadPublicKey, match="accepted are ec-p256, ec-p384"):
        check_key(spki_of(RSA), "rsa-2048", allowed=frozenset({"ec-p384", "ec-p256"}))


def test_blocked_keys() -> None:
    """Keys of which the private half is known, by the hash of their SubjectPublicKeyInfo."""
    spki = spki_of(RSA)
    with pytest.raises(BadPublicKey, match="blocked"):
        check_key(spki, "rsa-2048", blocked={sha256(spki).digest()})
    check_key(spki, "rsa-2048", blocked=set())


@given(st.binary(max_size=400), st.sampled_from([*KEY_TYPES]))
def test_any_bytes_are_refused(data: bytes, kind: str) -> None:
    """A problem, never another exception."""
    with pytest.raises(BadPublicKey):
        check_key(b"\x30" + data, kind)
