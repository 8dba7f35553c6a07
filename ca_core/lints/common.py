"""What a to-be-signed certificate has in common with the others of its profile and issuer: read once, remembered.

Nearly all that lints look at is the same in every certificate of a profile. These facts are found by the very bytes
that they were read from, so remembering them, and what lints said about them, leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core import algorithms, oids
from ca_core.der import (
    BIT_STRING,
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    elements,
    object_identifier,
    read_tlv,
    sequence,
    tlv,
)

_Fact = TypeVar("_Fact")


@asn1.sequence
class _OIDs:
    """The box that a SEQUENCE OF needs around it."""

    items: list[x509.ObjectIdentifier]


@asn1.sequence
class _Bits:
    bits: asn1.BitString


@asn1.sequence
class _BasicConstraints:
    ca: Annotated[bool, asn1.Default(False)]
    path_length: int | None


@asn1.sequence
class _AuthorityKeyIdentifier:
    key_id: Annotated[bytes | None, asn1.Implicit(0)]
    issuer: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    serial_number: Annotated[int | None, asn1.Implicit(2)]


class Extension(NamedTuple):
    """One extension: its OID, whether it is critical, the DER of its value."""

    oid: str
    critical: bool
    value: bytes


class BasicConstraints(NamedTuple):
    """RFC 5280 section 4.2.1.9."""

    ca: bool
    path_length: int | None


class Access(NamedTuple):
    """One AccessDescription (RFC 5280 section 4.2.2.1); no URI when the location is another kind of name."""

    method: str
    uri: str | None


class IssuerFacts(NamedTuple):
    """What a certificate must agree with in the certificate of its issuer."""

    subject_der: bytes
    not_before: datetime
    not_after: datetime
    key_id: bytes | None
    key_family: str


KEY_USAGES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
"""The bits of keyUsage in their order (RFC 5280 section 4.2.1.3)."""


class Common:
    """The facts. `extensions` lack the value (b"") of those that are a certificate's own."""

    def __init__(
        self,
        version: int,
        signature_algorithm_der: bytes,
        issuer_der: bytes,
        issuer: IssuerFacts | None,
        key_type: str,
        extensions: tuple[Extension, ...],
        *,
        unique_ids: bool,
    ) -> None:
        self.version = version
        self.signature_algorithm_der = signature_algorithm_der
        self.issuer_der = issuer_der
        self.issuer = issuer
        self.key_type = key_type
        """As in `algorithms.KEY_TYPES`; "unknown" for keys that have no row there."""
        self.has_unique_ids = unique_ids
        self.extension_oids: Final = tuple(extension.oid for extension in extensions)
        self.extensions: Final = {extension.oid: extension for extension in extensions}
        self.key_usage = self._read(oids.KEY_USAGE, _read_key_usage)
        self.basic_constraints = self._read(oids.BASIC_CONSTRAINTS, _read_basic_constraints)
        self.purposes = self._read(oids.EXTENDED_KEY_USAGE, _read_oids)
        self.authority_key_id = self._read(oids.AUTHORITY_KEY_IDENTIFIER, _read_authority_key_id)
        self.crl_uris = self._read(oids.CRL_DISTRIBUTION_POINTS, _read_distribution_points)
        self.access = self._read(oids.AUTHORITY_INFO_ACCESS, _read_access)
        self.policies = self._read(oids.CERTIFICATE_POLICIES, _read_policies)
        self.is_ca = self.basic_constraints is not None and self.basic_constraints.ca
        """Whether basicConstraints says so."""

    def _read(self, oid: str, reader: Callable[[bytes], _Fact]) -> _Fact | None:
        extension = self.extensions.get(oid)
        return None if extension is None else reader(extension.value)


@lru_cache(maxsize=1024)
def read_common(
    version: int,
    signature_algorithm_der: bytes,
    issuer_der: bytes,
    issuer: x509.Certificate | None,
    key_type: str,
    extensions: tuple[bytes | Extension, ...],
    unique_ids: bool,
) -> Common:
    """The facts of these bytes; `extensions` in the DER of an Extension, or read already. Raises ValueError."""
    return Common(
        version,
        signature_algorithm_der,
        issuer_der,
        None if issuer is None else issuer_facts(issuer),
        key_type,
        tuple(read_extension(item) if isinstance(item, bytes) else item for item in extensions),
        unique_ids=unique_ids,
    )


_EC = object_identifier(oids.EC_PUBLIC_KEY)
_KEY_ALGORITHMS = {
    sequence(object_identifier(oids.RSA_ENCRYPTION), NULL): "rsa",
    sequence(_EC, object_identifier(oids.CURVE_P256)): "ec-p256",
    sequence(_EC, object_identifier(oids.CURVE_P384)): "ec-p384",
    sequence(_EC, object_identifier(oids.CURVE_P521)): "ec-p521",
    **{
        sequence(object_identifier(row.oid)): row.name
        for row in algorithms.KEY_TYPES.values()
        if row.family not in ("rsa", "ecdsa")
    },
}


def _modulus_bits(spki: bytes, offset: int) -> int:
    """Size of the RSA modulus in the BIT STRING at an offset (RFC 8017 appendix A.1.1)."""
    key = read_tlv(spki, read_tlv(spki, offset, BIT_STRING).start + 1, SEQUENCE)
    modulus = read_tlv(spki, key.start, INTEGER)
    return int.from_bytes(spki[modulus.start : modulus.end], "big").bit_length()


def key_type_of(spki: bytes) -> str:
    """Type of a public key as in `algorithms.KEY_TYPES`; "unknown" for keys that have no row there."""
    start = 2 if spki[1] < 0x80 else 2 + (spki[1] & 0x7F)
    end = start + 2 + spki[start + 1]
    kind = _KEY_ALGORITHMS.get(spki[start:end], "unknown")
    return f"rsa-{_modulus_bits(spki, end)}" if kind == "rsa" else kind


def read_extension(item: bytes) -> Extension:
    """One Extension of its DER."""
    parts = elements(item)
    return Extension(_read_oids(sequence(parts[0]))[0], len(parts) == 3, content(parts[-1]))


def content(element: bytes) -> bytes:
    """The value of an OCTET STRING."""
    start, end = read_tlv(element, 0, OCTET_STRING)
    return element[start:end]


@lru_cache(maxsize=256)
def issuer_facts(issuer: x509.Certificate) -> IssuerFacts:
    """What is compared with an issuer's certificate, read once per issuer."""
    extensions = issuer.extensions
    try:
        key_id = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        key_id = None
    return IssuerFacts(
        issuer.subject.public_bytes(),
        issuer.not_valid_before_utc,
        issuer.not_valid_after_utc,
        key_id,
        algorithms.signature_algorithm_for(algorithms.key_type(issuer.public_key())).family,
    )


# --- extension values ------------------------------------------------------------------------------------


def _read_key_usage(value: bytes) -> frozenset[str]:
    bits = asn1.decode_der(_Bits, tlv(SEQUENCE, value)).bits
    octets = bits.as_bytes()
    return frozenset(
        name
        for number, name in enumerate(KEY_USAGES)
        if number < 8 * len(octets) and octets[number // 8] & (0x80 >> number % 8)
    )


def _read_basic_constraints(value: bytes) -> BasicConstraints:
    parsed = asn1.decode_der(_BasicConstraints, value)
    return BasicConstraints(parsed.ca, parsed.path_length)


def _read_oids(value: bytes) -> tuple[str, ...]:
    return tuple(oid.dotted_string for oid in asn1.decode_der(_OIDs, tlv(SEQUENCE, value)).items)


def _read_authority_key_id(value: bytes) -> bytes | None:
    return asn1.decode_der(_AuthorityKeyIdentifier, value).key_id


def _read_distribution_points(value: bytes) -> tuple[str | None, ...]:
    """The URIs of CRLDistributionPoints (RFC 5280 section 4.2.1.13); none for a point without URI."""
    uris: list[str | None] = []
    for point in elements(value):
        names = [
            name
            for field in elements(point)
            if field[0] == 0xA0
            for full_name in elements(field, None)
            if full_name[0] == 0xA0
            for name in elements(full_name, None)
        ]
        uris += [_uri(name) for name in names] or [None]
    return tuple(uris)


def _read_access(value: bytes) -> tuple[Access, ...]:
    found: list[Access] = []
    for description in elements(value):
        method, location = elements(description)
        found.append(Access(_read_oids(sequence(method))[0], _uri(location)))
    return tuple(found)


def _uri(name: bytes) -> str | None:
    """The URI, where a GeneralName is one."""
    start, end = read_tlv(name, 0, name[0])
    return name[start:end].decode("latin-1") if name[0] == 0x86 else None


def _read_policies(value: bytes) -> tuple[str, ...]:
    return tuple(_read_oids(sequence(elements(policy)[0]))[0] for policy in elements(value))
