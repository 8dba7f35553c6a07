"""Protection of messages: PBM, PBMAC1 and signatures (RFC 9810 section 5.1.3, RFC 9481).

Parameters are read and bounded before anything is derived from them, whoever sent them. What is verified is the bytes
received; what protects an answer to a MAC is the key that was derived for the request, so that one derivation serves
both (RFC 9810 section 5.1.3.1 recommends to keep the parameters).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ca_core import algorithms
from ca_core.der import NULL, elements, object_identifier, sequence
from policy.problems import BadAlgorithm, Unauthenticated
from policy.sealing import Secret
from protocols.cmp import keygen
from protocols.cmp.message import PKIHeader, PKIMessage, whole
from protocols.cmp.problems import PKIFailureInfo, Refusal
from protocols.cmp.settings import CMPSettings
from protocols.cms.recipients import PasswordWrap, Wrapped

PBM = object_identifier("1.2.840.113533.7.66.13")  # RFC 9481 section 6.1.1
PBMAC1 = object_identifier("1.2.840.113549.1.5.14")  # RFC 8018 appendix A.5
PBKDF2 = object_identifier("1.2.840.113549.1.5.12")  # RFC 8018 appendix A.2

MIN_SALT, MAX_SALT = 8, 64
MIN_KEY, MAX_KEY = 16, 64
INLINE_ITERATIONS = 1000
"""Iterations that cost less than half a millisecond; openssl's default is 500. More of them run in a thread."""

# SHA-1 is no hash for deriving keys here; as HMAC it is what `openssl cmp` sends when no -mac is given.
_HASHES = {
    object_identifier("2.16.840.1.101.3.4.2.1"): "sha256",
    object_identifier("2.16.840.1.101.3.4.2.2"): "sha384",
    object_identifier("2.16.840.1.101.3.4.2.3"): "sha512",
    object_identifier("2.16.840.1.101.3.4.2.4"): "sha224",
}
_MACS = {
    object_identifier("1.3.6.1.5.5.8.1.2"): "sha1",  # HMAC-SHA1 as RFC 4210 named it
    object_identifier("1.2.840.113549.2.7"): "sha1",
    object_identifier("1.2.840.113549.2.8"): "sha224",
    object_identifier("1.2.840.113549.2.9"): "sha256",
    object_identifier("1.2.840.113549.2.10"): "sha384",
    object_identifier("1.2.840.113549.2.11"): "sha512",
}


class Kind(StrEnum):
    """The two kinds of protection; a transaction keeps to one."""

    MAC = "mac"
    SIGNATURE = "signature"


@asn1.sequence
class _PBMParameter:
    salt: bytes
    owf: list[asn1.TLV]
    iterations: int
    mac: list[asn1.TLV]


@asn1.sequence
class _PBMAC1Parameters:
    derivation: list[asn1.TLV]
    scheme: list[asn1.TLV]


@asn1.sequence
class _PBKDF2Parameters:
    salt: bytes
    iterations: int
    key_length: int | None
    prf: list[asn1.TLV] | None


@dataclass(frozen=True, slots=True)
class MACAlgorithm:
    """A MAC with its parameters, all of them within bounds; `identifier` is its AlgorithmIdentifier as received."""

    identifier: bytes
    oid: bytes
    salt: bytes
    derivation: str
    iterations: int
    key_length: int
    mac: str

    @property
    def slow(self) -> bool:
        """Whether the derivation belongs beside the event loop."""
        return self.iterations > INLINE_ITERATIONS

    def derive(self, secret: bytes) -> bytes:
        """The key: PBM (RFC 4211 section 4.4) or PBKDF2 (RFC 8018 section 5.2)."""
        if self.oid == PBMAC1:
            return hashlib.pbkdf2_hmac(self.derivation, secret, self.salt, self.iterations, self.key_length)
        function = getattr(hashlib, self.derivation)
        key: bytes = secret + self.salt
        for _ in range(self.iterations):
            key = function(key).digest()
        return key


@dataclass(frozen=True, slots=True, repr=False)
class MACProtector:
    """The key of one transaction, for the answer."""

    algorithm: MACAlgorithm
    key: bytes
    recipient: Wrapped | None = None
    """For whom a key that is made for the client is encrypted: whoever has the secret."""

    def protect(self, data: bytes) -> bytes:
        """The MAC of these bytes."""
        return hmac.digest(self.key, data, self.algorithm.mac)


def read_mac(identifier: bytes, settings: CMPSettings) -> MACAlgorithm | None:
    """The MAC that an AlgorithmIdentifier names, or None when it is none that is known.

    Raises Refusal (badAlg) for parameters that cannot be read or are out of bounds; nothing is derived.
    """
    oid, *parameters = elements(identifier)
    if oid not in (PBM, PBMAC1):
        return None
    try:
        (der,) = parameters
        read = _read_pbm if oid == PBM else _read_pbmac1
        found = read(identifier, der)
    except (ValueError, KeyError, OverflowError) as exc:
        raise Refusal(
            PKIFailureInfo.badAlg, "the parameters of the MAC cannot be read, or name a hash that is not accepted"
        ) from exc
    limit = settings.max_pbm_iterations if oid == PBM else settings.max_pbmac1_iterations
    if not settings.min_iterations <= found.iterations <= limit:
        raise Refusal(
            PKIFailureInfo.badAlg,
            f"the MAC has {found.iterations} iterations; from {settings.min_iterations} to {limit} are accepted",
        )
    if not MIN_SALT <= len(found.salt) <= MAX_SALT:
        raise Refusal(PKIFailureInfo.badAlg, f"the salt of the MAC has not {MIN_SALT} to {MAX_SALT} octets")
    if not max(MIN_KEY, hashlib.new(found.mac).digest_size // 2) <= found.key_length <= MAX_KEY:
        raise Refusal(PKIFailureInfo.badAlg, "the key of the MAC is shorter than half of its hash, or too long")
    return found


def _read_pbm(identifier: bytes, der: bytes) -> MACAlgorithm:
    read = asn1.decode_der(_PBMParameter, der)
    owf = _named(read.owf, _HASHES)
    size = hashlib.new(owf).digest_size
    return MACAlgorithm(identifier, PBM, read.salt, owf, read.iterations, size, _named(read.mac, _MACS))


def _read_pbmac1(identifier: bytes, der: bytes) -> MACAlgorithm:
    read = asn1.decode_der(_PBMAC1Parameters, der)
    derivation, parameters = (whole(one) for one in read.derivation)
    if derivation != PBKDF2:
        raise ValueError("the key derivation is not PBKDF2")
    pbkdf2 = asn1.decode_der(_PBKDF2Parameters, parameters)
    # The default is HMAC-SHA1, and a length that is left out is one that nobody bounds (RFC 9579 section 4).
    if pbkdf2.key_length is None or pbkdf2.prf is None:
        raise ValueError("keyLength and prf have to be said")
    prf, mac = _named(pbkdf2.prf, _MACS), _named(read.scheme, _MACS)
    if "sha1" in (prf, mac):
        raise ValueError("PBMAC1 with SHA-1")
    return MACAlgorithm(identifier, PBMAC1, pbkdf2.salt, prf, pbkdf2.iterations, pbkdf2.key_length, mac)


def _named(identifier: list[asn1.TLV], table: dict[bytes, str]) -> str:
    """The algorithm of an AlgorithmIdentifier whose parameters are absent or NULL (RFC 5754 section 2)."""
    oid, *parameters = (whole(one) for one in identifier)
    if parameters not in ([], [NULL]):
        raise ValueError("the algorithm has no parameters")
    return table[oid]


def check_mac(
    message: PKIMessage, algorithm: MACAlgorithm, secret: Secret, wrapping: PasswordWrap | None = None
) -> MACProtector:
    """Check the MAC with a candidate secret. Raises Unauthenticated, after like work whatever is wrong.

    With `wrapping`, the secret also wraps the content key for a key that is made for the client.
    """
    recipient = keygen.for_secret(secret, wrapping) if wrapping is not None else None
    protector = MACProtector(algorithm, algorithm.derive(secret.reveal()), recipient)
    good = hmac.compare_digest(protector.protect(message.protected), message.protection or b"")
    if not good or message.header.sender_name is None:
        raise Unauthenticated("the MAC of the message is not valid")
    return protector


UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion),
    UserWarning,  # deprecations of `cryptography`, where warnings are errors
)
"""What reading somebody's certificate raises."""


@dataclass(frozen=True, slots=True)
class SignerFacts:
    """What counts of a certificate that signs messages: subject (DER of the Name), key identifier, key, issuer."""

    subject: bytes
    key_id: bytes | None
    public_key: PublicKeyTypes
    issuer: bytes
    serial: int
    purposes: frozenset[str]


def signer_facts(der: bytes) -> SignerFacts:
    """The facts of a certificate. Raises Refusal (badMessageCheck) when it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.serial_number <= 0:
            raise ValueError("the serial number is not positive (RFC 5280 section 4.1.2.2)")
        extensions = certificate.extensions
        try:
            key_id = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        except x509.ExtensionNotFound:
            key_id = None
        try:
            usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            purposes = frozenset(one.dotted_string for one in usage)
        except x509.ExtensionNotFound:
            purposes = frozenset()
        return SignerFacts(
            certificate.subject.public_bytes(),
            key_id,
            certificate.public_key(),
            certificate.issuer.public_bytes(),
            certificate.serial_number,
            purposes,
        )
    except UNREADABLE as exc:
        raise Refusal(
            PKIFailureInfo.badMessageCheck, "the certificate that protects the message cannot be read"
        ) from exc


@lru_cache(maxsize=64)
def own_facts(der: bytes) -> SignerFacts:
    """The facts of a certificate of the service itself. Those of clients are not kept (trap CVE-2026-63074)."""
    return signer_facts(der)


def check_signature(message: PKIMessage, *, key_id_needed: bool) -> SignerFacts:
    """Verify the signature with the first of the extraCerts (RFC 9483 section 3.2), and that the header names it.

    Raises Refusal (badMessageCheck, badAlg). Whether the certificate counts for anything is not looked at.
    """
    header = message.header
    if not message.extra_certs:
        raise Refusal(PKIFailureInfo.badMessageCheck, "the certificate that protects the message is not in extraCerts")
    signer = signer_facts(message.extra_certs[0])
    if header.sender_name != signer.subject and not _same_name(header, signer):
        raise Refusal(PKIFailureInfo.badMessageCheck, "the sender is not the subject of the first of the extraCerts")
    if header.sender_kid is None:
        if key_id_needed and signer.key_id is not None:
            raise Refusal(PKIFailureInfo.badMessageCheck, "senderKID is missing")
    elif signer.key_id is not None and header.sender_kid != signer.key_id:
        raise Refusal(
            PKIFailureInfo.badMessageCheck, "senderKID is not the key identifier of the first of the extraCerts"
        )
    try:
        algorithm = algorithms.read_signature_algorithm(header.protection_alg or b"")
        algorithms.verify(signer.public_key, algorithm, message.protection or b"", message.protected)
    except BadAlgorithm as problem:
        raise Refusal(PKIFailureInfo.badAlg, problem.detail) from problem
    except InvalidSignature as exc:
        raise Refusal(PKIFailureInfo.badMessageCheck, "the signature of the message is not valid") from exc
    return signer


def _same_name(header: PKIHeader, signer: SignerFacts) -> bool:
    """Names in other string types are compared by value (RFC 5280 section 7.1)."""
    if header.sender_name is None:
        return False
    try:
        asked = asn1.decode_der(_Name, sequence(header.sender_name)).name
        return asked == asn1.decode_der(_Name, sequence(signer.subject)).name
    except (ValueError, TypeError):
        return False


@asn1.sequence
class _Name:
    name: x509.Name
