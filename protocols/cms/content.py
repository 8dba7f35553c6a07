"""What the content types of CMS have in common: ContentInfo, attributes, names of certificates (RFC 5652)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core.der import INTEGER, elements, object_identifier, read_tlv, sequence, tlv
from ca_core.der import SEQUENCE as SEQUENCE_TAG
from policy.problems import Malformed
from protocols.cms.ber import MAX_BYTES, to_der

SET = 0x31
_VERSION = 0xA0

Message = TypeVar("Message")


@asn1.sequence
class _Attribute:
    type: x509.ObjectIdentifier
    values: asn1.TLV


def decode(kind: type[Message], data: bytes, name: str) -> Message:
    """Decode DER, or BER once it has been rewritten. Raises TooLarge, and Malformed with the structure's name."""
    if len(data) <= MAX_BYTES:
        try:
            return asn1.decode_der(kind, data)
        except ValueError:
            pass  # not DER: what `to_der` makes of it is looked at below
    try:
        return asn1.decode_der(kind, to_der(data))
    except ValueError as exc:
        raise Malformed(f"the message is not {name} (RFC 5652)") from exc


def whole(element: asn1.TLV) -> bytes:
    """An element with its header. DER writes a length in one way only, so these are the bytes received."""
    return tlv(element.tag_bytes[0], bytes(element.data))


def content_info(content_type: str, content: bytes) -> bytes:
    """A ContentInfo (RFC 5652 section 3)."""
    return sequence(object_identifier(content_type), tlv(0xA0, content))


def read_attributes(attributes: Sequence[asn1.TLV]) -> Mapping[str, tuple[bytes, ...]]:
    """The values of attributes, in DER, by identifier. Raises ValueError, also for an attribute that is there twice."""
    found: dict[str, tuple[bytes, ...]] = {}
    for one in attributes:
        attribute = one.parse(_Attribute)
        oid = attribute.type.dotted_string
        if oid in found:
            raise ValueError(f"the attribute {oid} is there twice")
        found[oid] = elements(whole(attribute.values), SET)
    return MappingProxyType(found)


def write_attributes(attributes: Mapping[str, bytes]) -> bytes:
    """The content of a SET OF attributes with one value each, in DER's order."""
    written = [sequence(object_identifier(oid), tlv(SET, value)) for oid, value in attributes.items()]
    return b"".join(sorted(written))


@lru_cache(maxsize=64)
def issuer_and_serial(certificate: bytes) -> bytes:
    """The IssuerAndSerialNumber of a certificate (RFC 5652 section 10.2.4), its name byte by byte as it is there.

    Raises Malformed for what is no certificate.
    """
    try:
        outer = read_tlv(certificate, 0, SEQUENCE_TAG)
        content = read_tlv(certificate, outer.start, SEQUENCE_TAG).start
        if certificate[content] == _VERSION:
            content = read_tlv(certificate, content).end
        serial = read_tlv(certificate, content, INTEGER)
        algorithm = read_tlv(certificate, serial.end, SEQUENCE_TAG)
        issuer = read_tlv(certificate, algorithm.end, SEQUENCE_TAG)
    except (ValueError, IndexError) as exc:
        raise Malformed("a certificate in the message cannot be read") from exc
    return sequence(certificate[algorithm.end : issuer.end], certificate[content : serial.end])


def key_identifier(certificate: bytes) -> bytes | None:
    """The value of a certificate's subjectKeyIdentifier, if it has one. Raises Malformed."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None
    except ValueError as exc:
        raise Malformed("a certificate in the message cannot be read") from exc


def names(identifier: bytes, certificate: bytes) -> bool:
    """Whether a SignerIdentifier or RecipientIdentifier, in DER, is that of this certificate."""
    if identifier[0] == SEQUENCE_TAG:
        return identifier == issuer_and_serial(certificate)
    key = key_identifier(certificate)
    return key is not None and identifier == tlv(0x80, key)
