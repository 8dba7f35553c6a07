"""A to-be-signed certificate as the lints see it: parsed once, facts instead of structures.

Most extensions are the same in all certificates of a profile, so what was read from their bytes is
remembered. Only what differs from certificate to certificate (names, key identifier, times) is read anew.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core import algorithms, oids
from ca_core.der import (
    BIT_STRING,
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    integer,
    object_identifier,
    read_tlv,
    sequence,
    tlv,
)
from ca_core.names import Identifier, Subject, read_general_names, read_subject
from ca_core.problems import BadCSR, RejectedIdentifier


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


_Fact = TypeVar("_Fact")

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

# Any BIT STRING makes a certificate that can be parsed (RFC 5280 section 4.1.1.3); this one never verifies.
_VERSION, _UNIQUE_IDS, _EXTENSIONS = 0xA0, (0x81, 0x82), 0xA3  # context tags in TBSCertificate
_NO_SIGNATURE = tlv(0x03, b"\x00certgate lint: not a signature")


class LintSubject:
    """The facts of a to-be-signed certificate. Raises ValueError when it cannot be parsed."""

    def __init__(self, tbs: bytes, issuer: x509.Certificate | None = None) -> None:
        """`issuer` is the certificate of the CA that will sign; none for a root."""
        fields = _elements(tbs)
        # `cryptography` judges the form; what is cut out below is known to be DER of the right shape.
        self.certificate = _wrapped(tbs, fields)
        self.issuer = None if issuer is None else issuer_facts(issuer)
        self.version = self.certificate.version.value + 1
        self.serial_number = self.certificate.serial_number
        self.not_before = self.certificate.not_valid_before_utc
        self.not_after = self.certificate.not_valid_after_utc
        if fields[0][0] != _VERSION:
            fields.insert(0, b"")
        _, _, self.signature_algorithm_der, self.issuer_der, validity, self.subject_der, self.spki = fields[:7]
        self.times = _elements(validity)
        self.has_unique_ids = any(field[0] in _UNIQUE_IDS for field in fields[7:])
        items = _elements(_elements(fields[-1])[0]) if fields[-1][0] == _EXTENSIONS else []
        read = [_read_extension(item) for item in items]
        self.extension_oids = [extension.oid for extension in read]
        self.extensions = {extension.oid: extension for extension in read}
        self.subject: Subject = ()
        self.subject_problem: str | None = None
        self.names: tuple[Identifier, ...] = ()
        self.unknown_names: tuple[str, ...] = ()
        self.names_problem: str | None = None
        self._read_names()
        self.key_usage = self._read(oids.KEY_USAGE, _read_key_usage)
        self.basic_constraints = self._read(oids.BASIC_CONSTRAINTS, _read_basic_constraints)
        self.purposes = self._read(oids.EXTENDED_KEY_USAGE, _read_oids)
        self.authority_key_id = self._read(oids.AUTHORITY_KEY_IDENTIFIER, _read_authority_key_id)
        self.crl_uris = self._read(oids.CRL_DISTRIBUTION_POINTS, _read_distribution_points)
        self.access = self._read(oids.AUTHORITY_INFO_ACCESS, _read_access)
        self.policies = self._read(oids.CERTIFICATE_POLICIES, _read_policies)

        self.subject_key_id = self._read(oids.SUBJECT_KEY_IDENTIFIER, _content)

    def _read_names(self) -> None:
        try:
            self.subject = read_subject(self.subject_der)
        except BadCSR as problem:
            self.subject_problem = problem.detail
        alternative = self.extensions.get(oids.SUBJECT_ALT_NAME)
        if alternative is None:
            return
        try:
            self.names, self.unknown_names = read_general_names(alternative.value)
        except RejectedIdentifier as problem:
            self.names_problem = problem.detail

    def _read(self, oid: str, reader: Callable[[bytes], _Fact]) -> _Fact | None:
        extension = self.extensions.get(oid)
        return None if extension is None else reader(extension.value)

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints says so."""
        return self.basic_constraints is not None and self.basic_constraints.ca

    @property
    def self_signed(self) -> bool:
        """Whether this is to be a root: no issuer was given and subject and issuer are the same name."""
        return self.issuer is None and self.subject_der == self.issuer_der

    @property
    def key_type(self) -> str:
        """Type of the public key as in `algorithms.KEY_TYPES`; "unknown" for keys that have no row there."""
        start = 2 if self.spki[1] < 0x80 else 2 + (self.spki[1] & 0x7F)
        end = start + 2 + self.spki[start + 1]
        kind = _KEY_ALGORITHMS.get(self.spki[start:end], "unknown")
        return f"rsa-{_modulus_bits(self.spki, end)}" if kind == "rsa" else kind


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


def _elements(element: bytes) -> list[bytes]:
    """The elements inside a constructed one, headers included. Raises ValueError when they do not fill it."""
    found = []
    try:
        size, offset = element[1], 2
        if size >= 0x80:
            offset += size & 0x7F
            size = int.from_bytes(element[2:offset], "big")
        last = offset + size
        while offset < last:
            size, start = element[offset + 1], offset + 2
            if size >= 0x80:
                start += size & 0x7F
                size = int.from_bytes(element[offset + 2 : start], "big")
            found.append(element[offset : start + size])
            offset = start + size
    except IndexError as exc:
        raise ValueError("an element ends too early") from exc
    if offset != len(element) or last != len(element):
        raise ValueError("an element is longer or shorter than what is in it")
    return found


def _wrapped(tbs: bytes, fields: list[bytes]) -> x509.Certificate:
    """The to-be-signed bytes as a certificate under a static dummy signature. Raises ValueError."""
    try:
        serial_number, algorithm = fields[1:3] if fields[0][0] == _VERSION else fields[:2]
        # `cryptography` warns of these and will refuse them one day.
        if serial_number == integer(0) or serial_number[2] >= 0x80:
            raise ValueError("the serial number is not positive")
        return x509.load_der_x509_certificate(sequence(tbs, algorithm, _NO_SIGNATURE))
    except x509.InvalidVersion as exc:
        raise ValueError("the version is unknown") from exc
    except IndexError as exc:
        raise ValueError("fields are missing") from exc
    except UserWarning as exc:  # a deprecation of `cryptography`, where warnings are errors
        raise ValueError("the form is one that others refuse") from exc


@lru_cache(maxsize=4096)
def _read_extension(item: bytes) -> Extension:
    parts = _elements(item)
    return Extension(_read_oids(sequence(parts[0]))[0], len(parts) == 3, _content(parts[-1]))


def _content(element: bytes) -> bytes:
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


# --- extension values; the bytes decide, so remembering is safe --------------------------------------------


@lru_cache(maxsize=512)
def _read_key_usage(value: bytes) -> frozenset[str]:
    bits = asn1.decode_der(_Bits, tlv(SEQUENCE, value)).bits
    octets = bits.as_bytes()
    return frozenset(
        name
        for number, name in enumerate(KEY_USAGES)
        if number < 8 * len(octets) and octets[number // 8] & (0x80 >> number % 8)
    )


@lru_cache(maxsize=512)
def _read_basic_constraints(value: bytes) -> BasicConstraints:
    parsed = asn1.decode_der(_BasicConstraints, value)
    return BasicConstraints(parsed.ca, parsed.path_length)


@lru_cache(maxsize=512)
def _read_oids(value: bytes) -> tuple[str, ...]:
    return tuple(oid.dotted_string for oid in asn1.decode_der(_OIDs, tlv(SEQUENCE, value)).items)


@lru_cache(maxsize=512)
def _read_authority_key_id(value: bytes) -> bytes | None:
    return asn1.decode_der(_AuthorityKeyIdentifier, value).key_id


@lru_cache(maxsize=4096)
def _read_distribution_points(value: bytes) -> tuple[str | None, ...]:
    """The URIs of CRLDistributionPoints (RFC 5280 section 4.2.1.13); none for a point without URI."""
    uris: list[str | None] = []
    for point in _elements(value):
        names = [
            name
            for field in _elements(point)
            if field[0] == 0xA0
            for full_name in _elements(field)
            if full_name[0] == 0xA0
            for name in _elements(full_name)
        ]
        uris += [_uri(name) for name in names] or [None]
    return tuple(uris)


@lru_cache(maxsize=512)
def _read_access(value: bytes) -> tuple[Access, ...]:
    found: list[Access] = []
    for description in _elements(value):
        method, location = _elements(description)
        found.append(Access(_read_oids(sequence(method))[0], _uri(location)))
    return tuple(found)


def _uri(name: bytes) -> str | None:
    """The URI, where a GeneralName is one."""
    start, end = read_tlv(name, 0, name[0])
    return name[start:end].decode("latin-1") if name[0] == 0x86 else None


@lru_cache(maxsize=512)
def _read_policies(value: bytes) -> tuple[str, ...]:
    return tuple(_read_oids(sequence(_elements(policy)[0]))[0] for policy in _elements(value))
