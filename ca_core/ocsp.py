"""OCSP: requests in, answers of a delegated responder out (RFC 6960, RFC 9654, RFC 5019).

Reading never raises anything but Malformed. Answers are spliced, not built by a library, as the key of the
responder is a Signer that may live elsewhere. Which status a certificate has is looked up by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1, sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from ca_core import der, oids
from ca_core.keys import Signer, public_key_bits
from ca_core.problems import Malformed
from ca_core.status import CertificateState, RevocationReason

# OCSPResponse with nothing but a status (RFC 6960 section 4.2.1). They are not signed.
MALFORMED_REQUEST: Final = bytes.fromhex("30030a0101")
INTERNAL_ERROR: Final = bytes.fromhex("30030a0102")
TRY_LATER: Final = bytes.fromhex("30030a0103")
UNAUTHORIZED: Final = bytes.fromhex("30030a0106")

MAX_REQUEST_BYTES: Final = 4096
"""A request has some 75 octets, with a nonce 110; signed ones with a chain stay below this."""

_MAX_NONCE = 128  # RFC 9654 section 2.1: SIZE(1..128)
_BASIC = der.object_identifier("1.3.6.1.5.5.7.48.1.1")  # id-pkix-ocsp-basic, RFC 6960 section 4.2.1
_NO_REASON = (None, RevocationReason.UNSPECIFIED)
_GOOD = b"\x80\x00"
_UNKNOWN = b"\x82\x00"
_HASHES = {"sha1": (oids.SHA1, sha1), "sha256": (oids.SHA256, sha256)}


@dataclass(frozen=True, slots=True)
class OCSPQuery:
    """The one certificate that a request asks about.

    `cert_id` is the CertID as received, for the answer to repeat it. `hash_name` is empty for a hash that
    is not served: such a query belongs to no issuer.
    """

    issuer_name_hash: bytes
    issuer_key_hash: bytes
    hash_name: str
    serial: int
    nonce: bytes | None
    cert_id: bytes

    @property
    def issuer_key(self) -> tuple[str, bytes, bytes]:
        """What finds the responder: see `issuer_keys`."""
        return self.hash_name, self.issuer_name_hash, self.issuer_key_hash


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What the store knows of a certificate; `revoked_at` and `reason` for one that is revoked or on hold."""

    state: CertificateState
    revoked_at: datetime | None = None
    reason: RevocationReason | None = None


def read_ocsp_request(request_der: bytes) -> OCSPQuery:
    """Read a request about one certificate (RFC 6960 section 4.1). Raises Malformed, and nothing else.

    A signature on the request is not verified: the answer is the same for everybody.
    """
    if len(request_der) > MAX_REQUEST_BYTES:
        raise Malformed(f"an OCSP request has at most {MAX_REQUEST_BYTES} octets here")
    try:
        request = ocsp.load_der_ocsp_request(request_der)
        nonce = _nonce(request.extensions, request_der)
        hash_name, cert_id = _read_cert_id(request_der)
        return OCSPQuery(
            issuer_name_hash=request.issuer_name_hash,
            issuer_key_hash=request.issuer_key_hash,
            hash_name=hash_name,
            serial=request.serial_number,
            nonce=nonce,
            cert_id=cert_id,
        )
    except NotImplementedError as exc:
        # What the library says of several certificates in one request, which hardly any client sends.
        raise Malformed("an OCSP request asks about one certificate here") from exc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as exc:
        raise Malformed("this is not an OCSP request (RFC 6960 section 4.1)") from exc


def _nonce(extensions: x509.Extensions, request_der: bytes) -> bytes | None:
    nonce: bytes | None = None
    for extension in extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value.nonce
            if not 1 <= len(nonce) <= _MAX_NONCE:
                raise Malformed(f"a nonce of {len(nonce)} octets is not one of 1 to {_MAX_NONCE} (RFC 9654)")
            # The library also reads the nonce of clients from before RFC 8954 that leave the inner OCTET
            # STRING out. They would not recognise it in the answer, which has the standard's form.
            if der.octet_string(der.octet_string(nonce)) not in request_der:
                raise Malformed("the nonce is not an OCTET STRING (RFC 9654 section 2.1)")
        elif extension.critical and not isinstance(extension.value, x509.OCSPAcceptableResponses):
            raise Malformed(f"the critical extension {extension.oid.dotted_string} is not known")
    return nonce


_ALGORITHMS = {der.object_identifier(oid): name for name, (oid, _) in _HASHES.items()}


def _read_cert_id(request_der: bytes) -> tuple[str, bytes]:
    """The hash and the CertID as they stand in the request, which the library gives only in parts.

    Clients send the hash algorithm with NULL parameters and without, and some compare the answer octet by
    octet.
    """
    tbs = der.read_tlv(request_der, der.read_tlv(request_der, 0, der.SEQUENCE).start, der.SEQUENCE)
    offset = tbs.start
    while request_der[offset] in (0xA0, 0xA1):  # version and requestorName
        offset = der.read_tlv(request_der, offset).end
    request_list = der.read_tlv(request_der, offset, der.SEQUENCE)
    request = der.read_tlv(request_der, request_list.start, der.SEQUENCE)
    cert_id = der.read_tlv(request_der, request.start, der.SEQUENCE)
    algorithm = der.read_tlv(request_der, cert_id.start, der.SEQUENCE)
    oid = der.read_tlv(request_der, algorithm.start, der.OBJECT_IDENTIFIER)
    hash_name = _ALGORITHMS.get(request_der[algorithm.start : oid.end], "")
    return hash_name, request_der[request.start : cert_id.end]


def issuer_keys(issuer: x509.Certificate) -> tuple[tuple[str, bytes, bytes], ...]:
    """The keys under which queries about an issuer's certificates come, one per hash (section 4.1.1)."""
    name = issuer.subject.public_bytes()
    bits = public_key_bits(issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return tuple((hash_name, make(name).digest(), make(bits).digest()) for hash_name, (_, make) in _HASHES.items())


class Responder:
    """The delegated responder of one issuer: its certificate, issued by that very key, and its Signer."""

    def __init__(self, issuer: x509.Certificate, certificate_der: bytes, signer: Signer) -> None:
        """Raises ValueError when the certificate is not a responder's of this issuer (section 4.2.2.2)."""
        certificate = x509.load_der_x509_certificate(certificate_der)
        certificate.verify_directly_issued_by(issuer)
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound as exc:
            raise ValueError("the certificate of an OCSP responder has no extended key usage") from exc
        if x509.ObjectIdentifier(oids.EKU_OCSP_SIGNING) not in usage:
            raise ValueError("the certificate of an OCSP responder lacks the extended key usage OCSPSigning")
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if spki != signer.spki:
            raise ValueError("the key of an OCSP responder does not belong to its certificate")
        key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        self.issuer_id = key_id.hex()
        self.keys = issuer_keys(issuer)
        self.certificate_der = certificate_der
        self.not_after = certificate.not_valid_after_utc
        self._signer = signer
        # byKey: the SHA-1 of the key, by definition of the field (section 4.2.1); it is a name, not a proof.
        key_hash = sha1(public_key_bits(spki)).digest()  # noqa: S324
        self._id = der.tlv(0xA2, der.octet_string(key_hash))
        self._certificates = der.tlv(0xA0, der.sequence(certificate_der))

    def serves(self, query: OCSPQuery) -> bool:
        """Whether the query names the issuer of this responder; if none does, the answer is UNAUTHORIZED."""
        return query.issuer_key in self.keys

    async def respond(
        self,
        query: OCSPQuery,
        status: CertificateStatus | None,
        *,
        produced_at: datetime,
        this_update: datetime,
        next_update: datetime,
    ) -> bytes:
        """Sign an answer; without a status the serial number was never issued, and the answer is "unknown".

        `next_update` is cut to the validity of the responder's certificate. Raises ValueError when the query
        is for another issuer, Unavailable when the key is too busy.
        """
        if not self.serves(query):
            raise ValueError("the query is about a certificate of another issuer")
        tbs = self.to_be_signed(
            query, status, produced_at=produced_at, this_update=this_update, next_update=next_update
        )
        signature = await self._signer.sign(tbs)
        basic = der.sequence(tbs, self._signer.algorithm.identifier_der, der.bit_string(signature), self._certificates)
        response = der.tlv(0xA0, der.sequence(_BASIC, der.octet_string(basic)))
        return der.sequence(b"\x0a\x01\x00", response)

    def to_be_signed(
        self,
        query: OCSPQuery,
        status: CertificateStatus | None,
        *,
        produced_at: datetime,
        this_update: datetime,
        next_update: datetime,
    ) -> bytes:
        """The ResponseData (RFC 6960 section 4.2.1)."""
        single = der.sequence(
            query.cert_id,
            encode_status(status),
            der.generalized_time(this_update),
            der.tlv(0xA0, der.generalized_time(min(next_update, self.not_after))),
        )
        return der.sequence(self._id, der.generalized_time(produced_at), der.sequence(single), _echo(query.nonce))


def _echo(nonce: bytes | None) -> bytes:
    if nonce is None:
        return b""
    return der.tlv(0xA1, der.sequence(der.extension(oids.OCSP_NONCE, der.octet_string(nonce))))


def encode_status(status: CertificateStatus | None) -> bytes:
    """The CertStatus of a certificate, in agreement with the CRL.

    A certificate that its CMP client has not confirmed is not "good" (RFC 9810 section 5.3.18): it is
    unknown. One that was replaced is good while nobody revokes it. A revocation without its time is refused
    with ValueError.
    """
    if status is None or status.state is CertificateState.UNCONFIRMED:
        return _UNKNOWN
    if status.state in (CertificateState.VALID, CertificateState.SUPERSEDED):
        return _GOOD
    if status.revoked_at is None:
        raise ValueError(f"a certificate that is {status.state} has a time of revocation")
    reason = status.reason
    if status.state is CertificateState.ON_HOLD:
        reason = RevocationReason.CERTIFICATE_HOLD
    content = der.generalized_time(status.revoked_at)
    if reason not in _NO_REASON:
        assert reason is not None
        content += der.tlv(0xA0, der.integer(reason.code, der.ENUMERATED))
    return der.tlv(0xA1, content)
