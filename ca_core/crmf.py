"""CRMF certificate requests (RFC 4211): CertRequest and CertTemplate in, the value that all protocols share out.

Proof of possession lives beside the template in the message that carries it, and is the protocols' to check
(protocols/crmf.py). A recorded request of either form is read again here, when a person approves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from msgspec.structs import replace

from ca_core import algorithms, oids
from ca_core.csr import (
    UNKNOWN_KEY,
    CertificationRequest,
    RequestFormat,
    Wanted,
    read_csr,
    read_public_key,
    read_wanted,
)
from ca_core.der import INTEGER, SEQUENCE, elements, integer, object_identifier, read_tlv, sequence, tlv
from ca_core.names import Subject, read_subject
from ca_core.problems import BadCSR, BadPublicKey, Malformed

OLD_CERT_ID = "1.3.6.1.5.5.7.5.1.5"  # id-regCtrl-oldCertID, RFC 4211 section 6.5
EMPTY_KEY = b"\x03\x01\x00"
"""A subjectPublicKey of no bits: "make one of this algorithm for me" (RFC 9810 section 4.2.1.4)."""


_SET, _ATTRIBUTES = 0x31, 0xA0
_CURVES = {"ec-p256": oids.CURVE_P256, "ec-p384": oids.CURVE_P384, "ec-p521": oids.CURVE_P521}
# By the AlgorithmIdentifier of its public key; RSA says no size there.
_KEY_TYPES = {
    sequence(object_identifier(oids.EC_PUBLIC_KEY), object_identifier(curve)): name for name, curve in _CURVES.items()
} | {sequence(object_identifier(oid)): name for name, oid in (("ed25519", oids.ED25519), ("ed448", oids.ED448))}


@dataclass(frozen=True, slots=True)
class CertTemplate:
    """A CertTemplate (RFC 4211 section 5); what it leaves out is None. Names and keys are DER as received."""

    serial: int | None = None
    issuer: bytes | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    subject: bytes | None = None
    spki: bytes | None = None
    extensions: bytes | None = None

    @property
    def key_wanted(self) -> bool:
        """Whether the client wants its key pair to be made for it: no key, or an algorithm alone."""
        return self.spki is None or elements(self.spki)[1] == EMPTY_KEY


@dataclass(frozen=True, slots=True)
class CertRequest:
    """A CertRequest (RFC 4211 section 5): `der` as received, its template, its controls as (OID, DER of the value)."""

    der: bytes
    id: int
    template: CertTemplate
    controls: tuple[tuple[str, bytes], ...] = ()


@asn1.sequence
class _Control:
    type: x509.ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _CertRequest:
    id: int
    template: asn1.TLV
    controls: list[_Control] | None


@asn1.sequence
class _Number:
    value: int


@asn1.sequence
class _Times:
    """OptionalValidity: Time is a CHOICE, so its tags are explicit."""

    not_before: Annotated[asn1.UTCTime | asn1.GeneralizedTime | None, asn1.Explicit(0)]
    not_after: Annotated[asn1.UTCTime | asn1.GeneralizedTime | None, asn1.Explicit(1)]


def read_cert_request(der: bytes) -> CertRequest:
    """Read a CertRequest. Raises Malformed. What it asks for is not judged."""
    try:
        read = asn1.decode_der(_CertRequest, der)
        controls = tuple(
            (one.type.dotted_string, tlv(one.value.tag_bytes[0], bytes(one.value.data))) for one in read.controls or ()
        )
        if read.template.tag_bytes != b"\x30":
            raise ValueError("the template is no SEQUENCE")
        return CertRequest(der, read.id, read_template(tlv(SEQUENCE, bytes(read.template.data))), controls)
    except ValueError as exc:
        raise Malformed("the CertRequest is not one DER structure of CRMF (RFC 4211 section 5)") from exc


def read_template(der: bytes) -> CertTemplate:
    """Read a CertTemplate. Raises ValueError for what is not its DER, or has its members in another order."""
    found: dict[int, bytes] = {}
    last = -1
    for element in elements(der):
        number = element[0] & 0x1F
        if element[0] & 0xC0 != 0x80 or not last < number <= 9:
            raise ValueError("a member of the template is out of place")
        last = number
        found[number] = element[read_tlv(element, 0).start :]
    serial = asn1.decode_der(_Number, sequence(tlv(INTEGER, found[1]))).value if 1 in found else None
    times = asn1.decode_der(_Times, tlv(SEQUENCE, found[4])) if 4 in found else None
    spki = tlv(SEQUENCE, found[6]) if 6 in found else None
    if spki is not None and len(elements(spki)) != 2:
        raise ValueError("the public key of the template is none")
    return CertTemplate(
        serial=serial,
        issuer=found.get(3),
        not_before=_moment(times.not_before) if times is not None else None,
        not_after=_moment(times.not_after) if times is not None else None,
        subject=found.get(5),
        spki=spki,
        extensions=tlv(SEQUENCE, found[9]) if 9 in found else None,
    )


def _moment(time: asn1.UTCTime | asn1.GeneralizedTime | None) -> datetime | None:
    return None if time is None else time.as_datetime().astimezone(UTC).replace(microsecond=0)


def to_request(request: CertRequest, *, algorithm: str = "", spki: bytes | None = None) -> CertificationRequest:
    """What a CertRequest asks for; with `spki`, for a key that was made for the client.

    Raises BadCSR, BadPublicKey. `algorithm` names the signature that proved possession of the key.
    """
    template = request.template
    key = spki or template.spki
    if key is None:
        raise BadPublicKey("the certificate template has no public key")
    wanted = read_wanted(template.extensions) if template.extensions is not None else Wanted()
    return CertificationRequest(
        format=RequestFormat.CRMF,
        der=request.der,
        spki=key,
        key_type=algorithms.key_type(read_public_key(key)),
        subject=_subject(template),
        names=wanted.names,
        unknown_names=wanted.unknown_names,
        challenge_password=None,
        must_staple=wanted.must_staple,
        extensions=tuple(wanted.extensions),
        attributes=(),
        signature_algorithm=algorithm,
        ca_requested=wanted.ca_requested,
        template=wanted.template,
    )


def to_unsigned(request: CertRequest) -> CertificationRequest:
    """What a CertRequest without a key asks for, as a PKCS #10 request that nobody has signed: for a key to be made.

    Its key type is the one that the template names, if any. Raises BadCSR.
    """
    template = request.template
    _subject(template)
    algorithm = elements(template.spki)[0] if template.spki is not None else sequence()
    asked = (sequence(object_identifier(oids.EXTENSION_REQUEST), tlv(_SET, template.extensions or sequence())),)
    parts = integer(0), template.subject or b"", sequence(algorithm, EMPTY_KEY)
    info = sequence(*parts, tlv(_ATTRIBUTES, b"".join(asked) if template.extensions is not None else b""))
    read = read_csr(sequence(info, algorithm, EMPTY_KEY), verify=False)
    return replace(read, key_type=_KEY_TYPES.get(algorithm, UNKNOWN_KEY))


def _subject(template: CertTemplate) -> Subject:
    if template.subject is None:
        raise BadCSR("the certificate template has no subject: an empty one says that there is none")
    try:
        return read_subject(template.subject)
    except ValueError as exc:
        raise BadCSR("the subject of the certificate template cannot be read") from exc


def read_recorded(der: bytes) -> CertificationRequest:
    """Read a request again that an order keeps: possession of its key was proven when it came in.

    Raises what `read_csr` and `read_cert_request` raise. A PKCS #10 request begins with a SEQUENCE, a CertRequest with
    an INTEGER.
    """
    try:
        first = elements(der)[0]
    except (ValueError, IndexError) as exc:
        raise Malformed("the recorded request is neither PKCS #10 nor CRMF") from exc
    if first[0] == INTEGER:
        return to_request(read_cert_request(der))
    return read_csr(der, verify=False)
