"""Key and signature algorithms as tables: identifiers, parameters, hash or none.

A new algorithm is a new row. Ed25519, Ed448 and ML-DSA hash inside the signature scheme, so their rows have
no hash. Whether a product wants a key of some kind is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    PublicKeyTypes,
)

from ca_core import der, oids
from ca_core.problems import BadAlgorithm, BadPublicKey


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """A signature algorithm: its name in the standards and the DER of its AlgorithmIdentifier."""

    name: str
    oid: str
    identifier_der: bytes
    """The whole AlgorithmIdentifier, SEQUENCE header included: what a certificate carries twice."""
    hash_name: str | None
    """Name of the hash in `hashlib`, or none where the scheme does not take a digest."""
    family: str
    """Which keys can use it: "ecdsa", "rsa", "rsa-pss", or the name of the one key type."""

    @property
    def parameters_der(self) -> bytes:
        """The DER of the parameters alone; empty when they are absent."""
        header = 2  # every identifier in the table is shorter than 128 bytes
        oid_length = self.identifier_der[header + 1]
        return self.identifier_der[header + 2 + oid_length :]


@dataclass(frozen=True, slots=True)
class KeyType:
    """A kind of public key: its algorithm (RFC 5280 section 4.1.2.7) and its default signature algorithm."""

    name: str
    family: str
    oid: str
    bits: int
    """Size of the modulus, of the field or of the public key; what reports show."""
    signature: str
    """Name of the default signature algorithm."""


@asn1.sequence
class _OneOID:
    oid: x509.ObjectIdentifier


_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_HASH_OIDS = {"sha256": oids.SHA256, "sha384": oids.SHA384, "sha512": oids.SHA512}


def _identifier(oid: str, parameters: bytes = b"") -> bytes:
    return der.sequence(der.object_identifier(oid), parameters)


def _pss_parameters(hash_name: str, hash_parameters: bytes) -> bytes:
    """RSASSA-PSS-params with the salt as long as the hash (RFC 4055 section 3.1, RFC 8702 section 3.1)."""
    digest = _identifier(_HASH_OIDS[hash_name], hash_parameters)
    mask = _identifier(oids.MGF1, digest)
    salt = der.integer(_HASHES[hash_name].digest_size)
    return der.sequence(der.tlv(0xA0, digest), der.tlv(0xA1, mask), der.tlv(0xA2, salt))


def _signature_rows() -> tuple[SignatureAlgorithm, ...]:
    ecdsa = (
        ("ecdsa-with-SHA256", oids.ECDSA_SHA256, "sha256"),
        ("ecdsa-with-SHA384", oids.ECDSA_SHA384, "sha384"),
        ("ecdsa-with-SHA512", oids.ECDSA_SHA512, "sha512"),
    )
    pkcs1 = (
        ("sha256WithRSAEncryption", oids.RSA_SHA256, "sha256"),
        ("sha384WithRSAEncryption", oids.RSA_SHA384, "sha384"),
        ("sha512WithRSAEncryption", oids.RSA_SHA512, "sha512"),
    )
    unhashed = (
        ("Ed25519", oids.ED25519, "ed25519"),
        ("Ed448", oids.ED448, "ed448"),
        ("ML-DSA-44", oids.ML_DSA_44, "ml-dsa-44"),
        ("ML-DSA-65", oids.ML_DSA_65, "ml-dsa-65"),
        ("ML-DSA-87", oids.ML_DSA_87, "ml-dsa-87"),
    )
    return (
        *(SignatureAlgorithm(name, oid, _identifier(oid), digest, "ecdsa") for name, oid, digest in ecdsa),
        *(SignatureAlgorithm(name, oid, _identifier(oid, der.NULL), digest, "rsa") for name, oid, digest in pkcs1),
        *(
            SignatureAlgorithm(
                f"RSASSA-PSS-{digest.upper()}",
                oids.RSASSA_PSS,
                _identifier(oids.RSASSA_PSS, _pss_parameters(digest, der.NULL)),
                digest,
                "rsa-pss",
            )
            for digest in _HASHES
        ),
        *(SignatureAlgorithm(name, oid, _identifier(oid), None, family) for name, oid, family in unhashed),
    )


SIGNATURE_ALGORITHMS: Mapping[str, SignatureAlgorithm] = {row.name: row for row in _signature_rows()}
"""Every signature algorithm that is made or accepted, by name. SHA-1 and MD5 are left out on purpose."""

KEY_TYPES: Mapping[str, KeyType] = {
    row.name: row
    for row in (
        KeyType("rsa-2048", "rsa", oids.RSA_ENCRYPTION, 2048, "sha256WithRSAEncryption"),
        KeyType("rsa-3072", "rsa", oids.RSA_ENCRYPTION, 3072, "sha256WithRSAEncryption"),
        KeyType("rsa-4096", "rsa", oids.RSA_ENCRYPTION, 4096, "sha256WithRSAEncryption"),
        KeyType("ec-p256", "ecdsa", oids.EC_PUBLIC_KEY, 256, "ecdsa-with-SHA256"),
        KeyType("ec-p384", "ecdsa", oids.EC_PUBLIC_KEY, 384, "ecdsa-with-SHA384"),
        KeyType("ec-p521", "ecdsa", oids.EC_PUBLIC_KEY, 521, "ecdsa-with-SHA512"),
        KeyType("ed25519", "ed25519", oids.ED25519, 256, "Ed25519"),
        KeyType("ed448", "ed448", oids.ED448, 456, "Ed448"),
        KeyType("ml-dsa-44", "ml-dsa-44", oids.ML_DSA_44, 10496, "ML-DSA-44"),
        KeyType("ml-dsa-65", "ml-dsa-65", oids.ML_DSA_65, 15616, "ML-DSA-65"),
        KeyType("ml-dsa-87", "ml-dsa-87", oids.ML_DSA_87, 20736, "ML-DSA-87"),
    )
}
"""The key types that have a row; an RSA key of another size is `rsa-{bits}` and signs like `rsa-2048`."""

_CURVES = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}
_PLAIN_KEYS: tuple[tuple[type[Any], str], ...] = (
    (ed25519.Ed25519PublicKey, "ed25519"),
    (ed448.Ed448PublicKey, "ed448"),
    (mldsa.MLDSA44PublicKey, "ml-dsa-44"),
    (mldsa.MLDSA65PublicKey, "ml-dsa-65"),
    (mldsa.MLDSA87PublicKey, "ml-dsa-87"),
)

# Some clients leave the NULL of the RSA algorithms out, though RFC 4055 section 5 wants it: no harm in that.
# The PSS hash identifiers exist with and without NULL, and RFC 4055 section 2.1 wants both to be accepted.
_BY_IDENTIFIER: dict[bytes, SignatureAlgorithm] = {
    **{row.identifier_der: row for row in SIGNATURE_ALGORITHMS.values()},
    **{_identifier(row.oid): row for row in SIGNATURE_ALGORITHMS.values() if row.family == "rsa"},
    **{
        _identifier(oids.RSASSA_PSS, _pss_parameters(row.hash_name, b"")): row
        for row in SIGNATURE_ALGORITHMS.values()
        if row.family == "rsa-pss" and row.hash_name is not None
    },
}


def key_type(public_key: PublicKeyTypes) -> str:
    """The name of this key's type. Raises BadPublicKey for a kind or a curve that is not in the table."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        name = _CURVES.get(public_key.curve.name)
        if name is None:
            raise BadPublicKey(
                f"the public key is on the curve {public_key.curve.name}; accepted are P-256, P-384 and P-521"
            )
        return name
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"rsa-{public_key.key_size}"
    for kind, name in _PLAIN_KEYS:
        if isinstance(public_key, kind):
            return name
    raise BadPublicKey("the public key is of a kind that cannot sign, or that this server does not know")


def _row(name: str) -> KeyType:
    row = KEY_TYPES.get(name)
    if row is None and name.startswith("rsa-") and name[4:].isdigit():
        row = KEY_TYPES["rsa-2048"]
    if row is None:
        raise BadPublicKey(f'"{name}" is not a key type; known are {", ".join(KEY_TYPES)}')
    return row


def signature_algorithm_for(key_type: str) -> SignatureAlgorithm:
    """The default signature algorithm of this key type (RFC 5480 section 4). Raises BadPublicKey."""
    return SIGNATURE_ALGORITHMS[_row(key_type).signature]


def read_signature_algorithm(identifier_der: bytes) -> SignatureAlgorithm:
    """The algorithm that a DER AlgorithmIdentifier names. Raises BadAlgorithm, listing those accepted."""
    row = _BY_IDENTIFIER.get(identifier_der)
    if row is not None:
        return row
    oid = "unreadable"
    with suppress(ValueError):
        start = der.read_tlv(identifier_der, 0, der.SEQUENCE).start
        end = der.read_tlv(identifier_der, start, der.OBJECT_IDENTIFIER).end
        oid = asn1.decode_der(_OneOID, der.sequence(identifier_der[start:end])).oid.dotted_string
    accepted = ", ".join(SIGNATURE_ALGORITHMS)
    raise BadAlgorithm(
        f"the signature algorithm {_WEAK.get(oid, oid)} is not accepted; accepted are {accepted}",
        algorithms=tuple(SIGNATURE_ALGORITHMS),
    )


_WEAK = {
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.3.14.3.2.29": "sha1WithRSASignature",
    oids.RSASSA_PSS: "RSASSA-PSS with these parameters",
}

# One object per hash: making them anew costs a microsecond per signature.
# RFC 6979: a signature is a function of key and data, so that an issuance interrupted by a crash can be
# finished with the identical certificate, and a weak random number generator cannot give the key away.
_ECDSA_SIGN = {name: ec.ECDSA(value, deterministic_signing=True) for name, value in _HASHES.items()}
_ECDSA_VERIFY = {name: ec.ECDSA(value) for name, value in _HASHES.items()}
_PSS = {name: padding.PSS(padding.MGF1(value), value.digest_size) for name, value in _HASHES.items()}
_PKCS1 = padding.PKCS1v15()

# Keys are not typed here: each family's function takes keys of its family only, which `_require` has checked.
_SIGN: dict[str, Callable[[Any, str, bytes], bytes]] = {
    "ecdsa": lambda key, digest, data: key.sign(data, _ECDSA_SIGN[digest]),
    "rsa": lambda key, digest, data: key.sign(data, _PKCS1, _HASHES[digest]),
    "rsa-pss": lambda key, digest, data: key.sign(data, _PSS[digest], _HASHES[digest]),
}
_VERIFY: dict[str, Callable[[Any, str, bytes, bytes], None]] = {
    "ecdsa": lambda key, digest, mark, data: key.verify(mark, data, _ECDSA_VERIFY[digest]),
    "rsa": lambda key, digest, mark, data: key.verify(mark, data, _PKCS1, _HASHES[digest]),
    "rsa-pss": lambda key, digest, mark, data: key.verify(mark, data, _PSS[digest], _HASHES[digest]),
}
# By family, the interfaces of its private and of its public keys.
_INTERFACES: dict[str, tuple[type[Any], ...]] = {
    "ecdsa": (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
    "rsa": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "rsa-pss": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "ed25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    "ed448": (ed448.Ed448PrivateKey, ed448.Ed448PublicKey),
    "ml-dsa-44": (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
    "ml-dsa-65": (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
    "ml-dsa-87": (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
}


def _require(key: object, algorithm: SignatureAlgorithm) -> None:
    if not isinstance(key, _INTERFACES[algorithm.family]):
        raise BadAlgorithm(
            f"the signature algorithm {algorithm.name} cannot be used with a key of another kind",
            algorithms=tuple(SIGNATURE_ALGORITHMS),
        )


def sign(private_key: CertificateIssuerPrivateKeyTypes, algorithm: SignatureAlgorithm, data: bytes) -> bytes:
    """Sign; ECDSA deterministically (RFC 6979). Raises BadAlgorithm if key and algorithm do not go together.

    RSASSA-PSS and ML-DSA signatures are random: signing again gives another, equally good signature.
    """
    _require(private_key, algorithm)
    if algorithm.hash_name is None:
        plain: Any = private_key
        signature: bytes = plain.sign(data)
        return signature
    return _SIGN[algorithm.family](private_key, algorithm.hash_name, data)


def verify(public_key: PublicKeyTypes, algorithm: SignatureAlgorithm, signature: bytes, data: bytes) -> None:
    """Verify a signature. Raises `cryptography`'s InvalidSignature, and BadAlgorithm as `sign` does."""
    _require(public_key, algorithm)
    if algorithm.hash_name is None:
        plain: Any = public_key
        plain.verify(signature, data)
    else:
        _VERIFY[algorithm.family](public_key, algorithm.hash_name, signature, data)
