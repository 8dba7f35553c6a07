"""SignedData (RFC 5652 section 5): certificates without a signature, messages of one signer in and out.

signed = read_signed(body)                       # structure only: nothing is believed yet
certificate = signed.signer_certificate()
signed.verify(public_key)                        # signature, digest, content type

answer = unsigned(content_type, content, signer=certificate, algorithm=key.algorithm, attributes={...})
message = answer.finish(await key.sign(answer.to_sign()))
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ca_core import oids
from ca_core.algorithms import SignatureAlgorithm
from ca_core.der import elements, integer, object_identifier, octet_string, read_tlv, sequence, tlv
from policy.problems import BadAlgorithm, Malformed
from protocols.cms import algorithms
from protocols.cms.content import (
    SET,
    content_info,
    decode,
    issuer_and_serial,
    names,
    read_attributes,
    whole,
    write_attributes,
)

CONTENT_TYPE = "1.2.840.113549.1.9.3"  # RFC 5652 section 11.1
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"  # RFC 5652 section 11.2
SIGNING_TIME = "1.2.840.113549.1.9.5"  # RFC 5652 section 11.3
ALGORITHM_PROTECTION = "1.2.840.113549.1.9.52"  # RFC 6211

MAX_CERTIFICATES = 8
"""Certificates in a message that is read: a signer with its chain has less."""
MAX_ATTRIBUTES = 32
"""Signed attributes in a message that is read: SCEP and CMC define fewer than ten."""

_ATTRIBUTES = 0xA0  # [0] IMPLICIT SignedAttributes


@asn1.sequence
class _Encapsulated:
    type: x509.ObjectIdentifier
    content: Annotated[bytes | None, asn1.Explicit(0)]


@asn1.sequence
class _SignerInfo:
    version: int
    identifier: asn1.TLV
    digest_algorithm: asn1.TLV
    # As lists, since clients send these sets in any order.
    signed_attributes: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    signature_algorithm: asn1.TLV
    signature: bytes
    unsigned_attributes: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.TLV
    encapsulated: _Encapsulated
    certificates: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    crls: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    signers: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    type: x509.ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


# --- in
# -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedData:
    """A message with exactly one signer, as it was received. Until `verify` has returned, nobody vouches for it."""

    content_type: str
    content: bytes | None
    """eContent; None where it is left out."""
    certificates: tuple[bytes, ...]
    """What stands in `certificates`, in DER: certificates, as far as the client kept to the rules."""
    attributes: Mapping[str, tuple[bytes, ...]]
    """Values of the signed attributes, in DER, by identifier. Empty where there are none."""
    signer: bytes
    """SignerIdentifier in DER: an IssuerAndSerialNumber, or [0] with a key identifier."""
    digest_algorithm: bytes
    signature_algorithm: bytes
    signature: bytes
    signed_attributes: bytes | None
    """The signed attributes as they were received, as DER of a SET OF that need not be sorted."""

    def attribute(self, oid: str) -> bytes | None:
        """The one value of a signed attribute, in DER; None where it is missing. Raises Malformed for several."""
        values = self.attributes.get(oid)
        if values is None:
            return None
        if len(values) != 1:
            raise Malformed(f"the signed attribute {oid} has {len(values)} values instead of one")
        return values[0]

    def signer_certificate(self) -> bytes:
        """The certificate in the message that the SignerIdentifier names. Raises Malformed when there is none.

        It is found by its name, never by its place: position proves nothing.
        """
        for certificate in self.certificates:
            if names(self.signer, certificate):
                return certificate
        raise Malformed("the certificate of the signer is not in the message")

    def verify(self, key: PublicKeyTypes, *, sha1: bool = False) -> None:
        """Verify content type, digest and signature (RFC 5652 sections 5.4 and 5.6) with the signer's public key.

        Raises InvalidSignature of `cryptography`, BadAlgorithm (SHA-1 without `sha1`, too), and Malformed for signed
        attributes that contradict the message. Says nothing about whose key it is.
        """
        hash_name = algorithms.read_digest(self.digest_algorithm)
        if hash_name == algorithms.SHA1 and not sha1:
            raise BadAlgorithm("the message is signed with SHA-1, which is not accepted here; use SHA-256")
        content = self.content or b""
        if self.signed_attributes is None:
            if self.content_type != oids.CMS_DATA:
                raise Malformed("there are no signed attributes, which this content type needs (RFC 5652 section 5.3)")
            self._verify(key, hash_name, content)
            return
        self._check_attributes(algorithms.digest(hash_name, content))
        try:
            self._verify(key, hash_name, self.signed_attributes)
        except InvalidSignature:
            # RFC 5652 section 5.4: signed is the DER of the set. Some sign it sorted and send it as it was made.
            in_order = _sorted(self.signed_attributes)
            if in_order == self.signed_attributes:
                raise
            self._verify(key, hash_name, in_order)

    def _verify(self, key: PublicKeyTypes, hash_name: str, data: bytes) -> None:
        algorithms.verify_signature(key, self.signature_algorithm, hash_name, self.signature, data)

    def _check_attributes(self, digest: bytes) -> None:
        content_type = self.attribute(CONTENT_TYPE)
        if content_type != object_identifier(self.content_type):
            raise Malformed("the signed attribute content-type is not the type of the content (RFC 5652 section 11.1)")
        said = self.attribute(MESSAGE_DIGEST)
        if said is None or not hmac.compare_digest(said, octet_string(digest)):
            raise InvalidSignature
        protection = self.attribute(ALGORITHM_PROTECTION)
        if protection is not None and protection != sequence(
            self.digest_algorithm, tlv(0xA1, _content(self.signature_algorithm))
        ):
            raise InvalidSignature


def read_signed(data: bytes) -> SignedData:
    """Read a ContentInfo with a SignedData of one signer; DER, or BER within the limits of `ber`.

    Raises TooLarge and Malformed. Verifies nothing, and does not look into certificates.
    """
    info = decode(_ContentInfo, data, "a SignedData")
    message = info.content
    if info.type.dotted_string != oids.CMS_SIGNED_DATA:
        raise Malformed("the message is not a SignedData (RFC 5652 section 5)")
    if len(message.signers.as_list()) != 1:
        raise Malformed(f"the message has {len(message.signers.as_list())} signers instead of one")
    certificates = message.certificates or []
    if len(certificates) > MAX_CERTIFICATES:
        raise Malformed(f"the message has {len(certificates)} certificates; the limit is {MAX_CERTIFICATES}")
    signer = message.signers.as_list()[0]
    attributes = signer.signed_attributes
    if attributes is not None and len(attributes) > MAX_ATTRIBUTES:
        raise Malformed(f"the message has {len(attributes)} signed attributes; the limit is {MAX_ATTRIBUTES}")
    try:
        read = read_attributes(attributes or [])
    except ValueError as exc:
        raise Malformed("the signed attributes of the message cannot be read (RFC 5652 section 5.3)") from exc
    return SignedData(
        message.encapsulated.type.dotted_string,
        message.encapsulated.content,
        tuple(whole(one) for one in certificates),
        read,
        whole(signer.identifier),
        whole(signer.digest_algorithm),
        whole(signer.signature_algorithm),
        signer.signature,
        None if attributes is None else tlv(SET, b"".join(whole(one) for one in attributes)),
    )


# --- out
# ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A SignedData that waits for the signature of its one signer; made by `unsigned`."""

    content_type: str
    content: bytes | None
    signer: bytes
    """IssuerAndSerialNumber in DER."""
    algorithm: SignatureAlgorithm
    attributes: bytes
    """Content of the SET OF signed attributes, sorted."""
    certificates: tuple[bytes, ...]

    def to_sign(self) -> bytes:
        """What is to be signed: the DER of the signed attributes as SET OF (RFC 5652 section 5.4)."""
        return tlv(SET, self.attributes)

    def finish(self, signature: bytes) -> bytes:
        """The ContentInfo, whole, with the signature over `to_sign()`."""
        digest_algorithm = algorithms.digest_identifier(algorithms.digest_for(self.algorithm))
        signer = sequence(
            integer(1),
            self.signer,
            digest_algorithm,
            tlv(_ATTRIBUTES, self.attributes),
            algorithms.signature_identifier(self.algorithm),
            octet_string(signature),
        )
        content = b"" if self.content is None else tlv(0xA0, octet_string(self.content))
        signed_data = sequence(
            # RFC 5652 section 5.1: 1 with id-data, 3 with any other content.
            integer(1 if self.content_type == oids.CMS_DATA else 3),
            tlv(SET, digest_algorithm),
            sequence(object_identifier(self.content_type), content),
            tlv(0xA0, b"".join(sorted(self.certificates))) if self.certificates else b"",
            tlv(SET, signer),
        )
        return content_info(oids.CMS_SIGNED_DATA, signed_data)


def unsigned(
    content_type: str,
    content: bytes | None,
    *,
    signer: bytes,
    algorithm: SignatureAlgorithm,
    attributes: Mapping[str, bytes],
    certificates: Sequence[bytes] = (),
) -> Unsigned:
    """A SignedData to be signed by the key of a certificate, whose DER is `signer`.

    `attributes` are further signed attributes, the DER of one value by identifier: content type and digest are added.
    `certificates` go along; the signer's is sent only if it is among them. `algorithm` is that of the key (any but
    Ed448, which CMS uses with a digest that nothing here has).
    """
    if algorithm.name == "Ed448":
        raise ValueError("Ed448 needs SHAKE256 in CMS (RFC 8419 section 3.1), which is not made here")
    digest = algorithms.digest(algorithms.digest_for(algorithm), content or b"")
    own = {CONTENT_TYPE: object_identifier(content_type), MESSAGE_DIGEST: octet_string(digest)}
    return Unsigned(
        content_type,
        content,
        issuer_and_serial(signer),
        algorithm,
        write_attributes({**attributes, **own}),
        tuple(certificates),
    )


# version 1, digestAlgorithms {}, encapContentInfo { id-data }: all that stands before the certificates when
# nothing is signed. Version 1 follows from id-data and plain X.509 certificates (RFC 5652 section 5.1).
_BEFORE = bytes.fromhex("020101 3100 300b 06092a864886f70d010701")
_AFTER = bytes.fromhex("3100")  # signerInfos {}
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # id-signedData


def certs_only(certificates: Sequence[bytes], *, in_order: bool = False) -> bytes:
    """A degenerate SignedData with certificates and no signature (RFC 5652 section 5.1): "certs-only".

    DER: the certificates stand in the order of their encodings (X.690 section 11.6), whatever the order
    given; `in_order` leaves them as they are, which is BER, for clients that mind which one is first. They are not
    looked into. Raises ValueError for no certificate at all: no protocol has a use for that.
    """
    if not certificates:
        raise ValueError("a certs-only message without a certificate says nothing")
    bag = b"".join(certificates if in_order or len(certificates) == 1 else sorted(certificates))
    certificate_set = _header(0xA0, len(bag))
    size = len(_BEFORE) + len(certificate_set) + len(bag) + len(_AFTER)
    signed_data = _header(0x30, size)
    size += len(signed_data)
    content = _header(0xA0, size)
    outer = _header(0x30, len(_SIGNED_DATA) + len(content) + size)
    return b"".join((outer, _SIGNED_DATA, content, signed_data, _BEFORE, certificate_set, bag, _AFTER))


def crls_only(crls: Sequence[bytes]) -> bytes:
    """A degenerate SignedData with revocation lists and no certificate (RFC 8894 section 4.6.1)."""
    body = sequence(_BEFORE, tlv(0xA1, b"".join(sorted(crls))), _AFTER)
    return content_info(oids.CMS_SIGNED_DATA, body)


def _header(tag: int, size: int) -> bytes:
    """Tag and definite length; the common case, some hundred to some thousand bytes, comes first."""
    if 0x100 <= size < 0x10000:
        return bytes((tag, 0x82, size >> 8, size & 0xFF))
    if size < 0x80:
        return bytes((tag, size))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def _content(element: bytes) -> bytes:
    """The content of an element that was read before."""
    return element[read_tlv(element, 0).start :]


def _sorted(attributes: bytes) -> bytes:
    return tlv(SET, b"".join(sorted(elements(attributes, SET))))
