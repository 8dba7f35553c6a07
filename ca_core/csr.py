"""Certification requests: PKCS #10 (RFC 2986) in, one value out that all protocols share.

Whatever a request asks for is read here and nothing is granted. Proof of possession is verified over the
bytes as they were received. Names of types that are not supported are listed, never dropped, so that nobody
can pass them over.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ca_core import algorithms, oids
from ca_core.der import SEQUENCE, tlv
from ca_core.names import Identifier, Subject, read_general_names, read_subject
from ca_core.problems import (
    BadCSR,
    BadProofOfPossession,
    BadPublicKey,
    Malformed,
    RejectedIdentifier,
    TooLarge,
)

MAX_CSR_BYTES = 65536
"""The largest request that is looked at. An ML-DSA-87 request with a hundred names has less than 16 KiB."""
UNKNOWN_KEY = "unknown"
"""The key type of a request whose key cannot be read and does not matter (RFC 7030 section 4.4.1)."""


class RequestFormat(StrEnum):
    """In which form a certificate was asked for."""

    PKCS10 = "pkcs10"
    CRMF = "crmf"
    NONE = "none"


class CertificationRequest(msgspec.Struct, frozen=True):
    """What a certification request says, whichever format it came in."""

    format: RequestFormat
    der: bytes
    """The request as received; empty where there was none."""
    spki: bytes
    """SubjectPublicKeyInfo as received, DER."""
    key_type: str
    subject: Subject
    names: tuple[Identifier, ...]
    """Subject alternative names in normal form and in the order of the request, without duplicates."""
    unknown_names: tuple[str, ...]
    """Descriptions of subject alternative names that are no identifiers of ours: a reason to refuse."""
    challenge_password: str | None
    must_staple: bool
    extensions: tuple[str, ...]
    """OIDs of the extensions asked for, in order."""
    attributes: tuple[str, ...]
    """OIDs of the attributes, in order."""
    signature_algorithm: str
    """Name in `algorithms.SIGNATURE_ALGORITHMS`; empty when the signature was not to be verified."""
    ca_requested: bool
    """Whether basicConstraints with cA was asked for."""
    template: bytes | None = None
    """Value of the certificate template extension: version 2 (a SEQUENCE) or the older name (a BMPString)."""


@asn1.sequence
class _Request:
    info: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class _Attribute:
    type: x509.ObjectIdentifier
    values: asn1.TLV


@asn1.sequence
class _Info:
    """CertificationRequestInfo, with its attributes as a list.

    As a SET OF, DER wants them sorted; strongSwan up to 6.0 sends them in the order of its options. And some
    devices leave the empty set out, which RFC 2986 does not allow. Neither does any harm.
    """

    version: int
    subject: asn1.TLV
    spki: asn1.TLV
    attributes: Annotated[list[_Attribute] | None, asn1.Implicit(0)]


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: bool | None  # DER forbids an explicit FALSE; clients write it all the same
    value: bytes


@asn1.sequence
class _Extensions:
    items: list[_Extension]


@asn1.sequence
class _BasicConstraints:
    ca: bool | None
    path_length: int | None


@asn1.sequence
class _Features:
    """TLSFeatures (RFC 7633) and the box that a SEQUENCE OF needs around it."""

    items: list[int]


@dataclass(slots=True)
class Wanted:
    """What the attributes and extensions ask for, while they are read."""

    names: tuple[Identifier, ...] = ()
    unknown_names: tuple[str, ...] = ()
    challenge_password: str | None = None
    must_staple: bool = False
    ca_requested: bool = False
    template: bytes | None = None
    extensions: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)


def read_csr(der: bytes, *, verify: bool = True) -> CertificationRequest:
    """Read a PKCS #10 request (RFC 2986) and verify its proof of possession.

    Raises TooLarge, Malformed (not DER), BadCSR (content), BadPublicKey (kind or curve), BadAlgorithm and
    BadProofOfPossession. With `verify=False` key and signature are not looked at: EST serverkeygen ignores
    both (RFC 7030 section 4.4.1). Does not judge the key (`keycheck`), nor the challengePassword.
    """
    if len(der) > MAX_CSR_BYTES:
        raise TooLarge(f"the certification request has {len(der)} bytes; the limit is {MAX_CSR_BYTES}")
    try:
        request = asn1.decode_der(_Request, der)
    except ValueError as exc:
        raise Malformed("the certification request is not one DER structure of PKCS #10 (RFC 2986)") from exc
    try:
        info = request.info.parse(_Info)
        subject = read_subject(_whole(info.subject))
        wanted = _read_attributes(info.attributes or [])
    except ValueError as exc:
        raise BadCSR("the content of the certification request is not that of PKCS #10 (RFC 2986)") from exc
    # ruby-acme-client 2.0.9 writes version 3; the structure is the one of version 1, the only one there is.
    if info.version not in (0, 2):
        raise BadCSR(f"the certification request has version {info.version + 1}; PKCS #10 has version 1")
    spki = _whole(info.spki)
    kind, algorithm = _prove_possession(request, spki) if verify else (_kind_of_ignored_key(spki), "")
    return CertificationRequest(
        RequestFormat.PKCS10,
        der,
        spki,
        kind,
        subject,
        wanted.names,
        wanted.unknown_names,
        wanted.challenge_password,
        wanted.must_staple,
        tuple(wanted.extensions),
        tuple(wanted.attributes),
        algorithm,
        wanted.ca_requested,
        wanted.template,
    )


def read_wanted(extensions: bytes) -> Wanted:
    """What the DER of Extensions asks for, as in a CRMF template. Raises BadCSR as `read_csr` does."""
    wanted = Wanted()
    try:
        _read_extension_list(wanted, extensions)
    except ValueError as exc:
        raise BadCSR("the extensions of the certificate template cannot be read (RFC 4211 section 5)") from exc
    return wanted


def read_public_key(spki: bytes) -> PublicKeyTypes:
    """Load a SubjectPublicKeyInfo. Raises BadPublicKey for what is unreadable, unknown or off its curve."""
    try:
        return load_der_public_key(spki)
    except UnsupportedAlgorithm as exc:
        raise BadPublicKey("the public key is of a kind or on a curve that is not supported") from exc
    except (ValueError, TypeError) as exc:
        raise BadPublicKey("the public key cannot be read") from exc


def read_attribute(request: CertificationRequest, oid: str) -> bytes | None:
    """The one value of an attribute in DER, header included, or None when the request has no such attribute.

    For what only few requests have; everything else is a field of the request. Raises BadCSR for several values.
    """
    if oid not in request.attributes:
        return None
    info = asn1.decode_der(_Request, request.der).info.parse(_Info)
    try:
        values = next(one.values for one in info.attributes or [] if one.type.dotted_string == oid)
        return _whole(_only_value(values))
    except ValueError as exc:
        raise BadCSR(f"the attribute {oid} of the certification request has not exactly one value") from exc


def read_text(value: bytes) -> str:
    """The text of a DirectoryString in DER. Raises BadCSR."""
    try:
        element = asn1.decode_der(_OneValue, tlv(SEQUENCE, value)).value
        return str(element.data, _STRINGS[element.tag_bytes])
    except (ValueError, KeyError) as exc:
        raise BadCSR("an attribute of the certification request is not a character string") from exc


def _whole(element: asn1.TLV) -> bytes:
    """The element with its header. DER writes a length in one way only, so these are the bytes received."""
    return tlv(element.tag_bytes[0], bytes(element.data))


def _prove_possession(request: _Request, spki: bytes) -> tuple[str, str]:
    """Key type and signature algorithm, once the signature over the bytes received has been verified."""
    algorithm = algorithms.read_signature_algorithm(_whole(request.algorithm))
    public_key = read_public_key(spki)
    kind = algorithms.key_type(public_key)
    if request.signature.padding_bits():
        raise BadProofOfPossession("the signature of the certification request is not a whole number of octets")
    try:
        algorithms.verify(public_key, algorithm, request.signature.as_bytes(), _whole(request.info))
    except InvalidSignature as exc:
        raise BadProofOfPossession(
            "the signature of the certification request was not made with the key that it contains"
        ) from exc
    return kind, algorithm.name


def _kind_of_ignored_key(spki: bytes) -> str:
    try:
        return algorithms.key_type(read_public_key(spki))
    except BadPublicKey:
        return UNKNOWN_KEY


def _read_attributes(attributes: list[_Attribute]) -> Wanted:
    wanted = Wanted()
    for attribute in attributes:
        oid = attribute.type.dotted_string
        if oid in wanted.attributes:
            raise BadCSR(f"the certification request has the attribute {oid} twice")
        wanted.attributes.append(oid)
        if attribute.values.tag_bytes != b"\x31":
            raise BadCSR(f"the values of the attribute {oid} are not a SET")
        if oid in _EXTENSION_REQUESTS:
            _read_extensions(wanted, attribute.values)
        elif oid == oids.CHALLENGE_PASSWORD:
            wanted.challenge_password = _read_password(attribute.values)
    return wanted


# Windows sends its own attribute, with the same content, and some versions both (MS-WCCE section 2.2.2.7).
_EXTENSION_REQUESTS = frozenset({oids.EXTENSION_REQUEST, oids.MS_EXTENSION_REQUEST})
# DirectoryString, and IA5String as some devices send it although RFC 2985 section 5.4.1 does not list it.
_STRINGS = {
    b"\x0c": "utf-8",
    b"\x13": "ascii",
    b"\x16": "ascii",
    b"\x14": "latin-1",
    b"\x1e": "utf-16-be",
    b"\x1c": "utf-32-be",
}


@asn1.sequence
class _OneValue:
    value: asn1.TLV


def _read_password(values: asn1.TLV) -> str:
    value = _only_value(values)
    decoding = _STRINGS.get(value.tag_bytes)
    if decoding is None:
        raise BadCSR("the challengePassword is not a character string")
    return str(value.data, decoding)


def _only_value(values: asn1.TLV) -> asn1.TLV:
    """The only value."""
    return asn1.decode_der(_OneValue, tlv(SEQUENCE, bytes(values.data))).value


def _read_extensions(wanted: Wanted, values: asn1.TLV) -> None:
    _read_extension_list(wanted, bytes(values.data))


def _read_extension_list(wanted: Wanted, extensions: bytes) -> None:
    for extension in asn1.decode_der(_Extensions, tlv(SEQUENCE, extensions)).items:
        oid = extension.oid.dotted_string
        if oid in wanted.extensions:
            raise BadCSR(f"the certification request asks for the extension {oid} twice")
        wanted.extensions.append(oid)
        reader = _EXTENSION_READERS.get(oid)
        if reader is not None:
            reader(wanted, extension.value)


def _read_names(wanted: Wanted, value: bytes) -> None:
    try:
        wanted.names, wanted.unknown_names = read_general_names(value)
    except RejectedIdentifier as problem:
        raise BadCSR(
            f"the certification request asks for a name that cannot be used: {problem.detail}",
            subproblems=problem.subproblems or (problem,),
        ) from problem
    if not wanted.names and not wanted.unknown_names:
        raise BadCSR("the certification request has a subjectAltName without names")
    if len(set(wanted.names)) != len(wanted.names):
        twice = next(name for name in wanted.names if wanted.names.count(name) > 1)
        raise BadCSR(f'the certification request asks for the name "{twice}" twice')


def _read_basic_constraints(wanted: Wanted, value: bytes) -> None:
    wanted.ca_requested = bool(asn1.decode_der(_BasicConstraints, value).ca)


def _read_features(wanted: Wanted, value: bytes) -> None:
    features = asn1.decode_der(_Features, tlv(SEQUENCE, value)).items
    wanted.must_staple = _STATUS_REQUEST in features


def _read_template(wanted: Wanted, value: bytes) -> None:
    wanted.template = value


_STATUS_REQUEST = 5  # status_request, the TLS extension (RFC 6066 section 8)
_EXTENSION_READERS: dict[str, Callable[[Wanted, bytes], None]] = {
    oids.SUBJECT_ALT_NAME: _read_names,
    oids.BASIC_CONSTRAINTS: _read_basic_constraints,
    oids.TLS_FEATURE: _read_features,
    oids.MS_TEMPLATE: _read_template,
    oids.MS_TEMPLATE_NAME: _read_template,
}

_PEM = re.compile(
    rb"-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----\s*([A-Za-z0-9+/=\s]*?)\s*-----END \1-----",
)


def read_pem_or_der(data: bytes) -> bytes:
    """DER of a request that came as PEM (RFC 7468 section 7, text around it allowed) or as DER.

    Raises TooLarge, Malformed. What is inside is not looked at.
    """
    if len(data) > 2 * MAX_CSR_BYTES:  # PEM is a third longer than DER and may have text before it
        raise TooLarge(f"the certification request has {len(data)} bytes; the limit is {2 * MAX_CSR_BYTES}")
    if data.startswith(b"\x30"):
        return data
    found = _PEM.findall(data)
    if len(found) != 1:
        raise Malformed(
            "the certification request is not DER and not PEM with one block CERTIFICATE REQUEST: "
            f"it has {len(found)} of them"
        )
    try:
        return b64decode(b"".join(found[0][1].split()), validate=True)
    except binascii.Error as exc:
        raise Malformed("the PEM block of the certification request is not base64") from exc
