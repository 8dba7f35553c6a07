"""CRMF messages (RFC 4211): CertReqMessages and proof of possession. What is asked for is read by ca_core/crmf.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cryptography.exceptions import InvalidSignature

from ca_core import algorithms
from ca_core.crmf import CertRequest, read_cert_request
from ca_core.csr import read_public_key
from ca_core.der import BIT_STRING, SEQUENCE, elements, read_tlv, tlv
from policy.problems import BadAlgorithm, BadProofOfPossession, BadPublicKey, Malformed

MAX_MESSAGES = 100


class Possession(Enum):
    """The members of ProofOfPossession (RFC 4211 section 4) by their tags."""

    RA_VERIFIED = 0
    SIGNATURE = 1
    KEY_ENCIPHERMENT = 2
    KEY_AGREEMENT = 3


@dataclass(frozen=True, slots=True)
class CertReqMsg:
    """One CertReqMsg: the request, how possession is proven, and the content of that proof."""

    request: CertRequest
    possession: Possession | None = None
    proof: bytes = b""


def read_messages(der: bytes) -> tuple[CertReqMsg, ...]:
    """Read CertReqMessages. Raises Malformed. Verifies nothing."""
    try:
        found = elements(der)
        if not 1 <= len(found) <= MAX_MESSAGES:
            raise ValueError("there is no CertReqMsg, or there are too many")
        return tuple([_read_message(one) for one in found])
    except ValueError as exc:
        raise Malformed("the body is not CertReqMessages (RFC 4211 section 3)") from exc


def _read_message(der: bytes) -> CertReqMsg:
    request, *rest = elements(der)
    if rest and rest[-1][0] == SEQUENCE:
        rest.pop()  # regInfo: names and values for humans and registration authorities, never binding
    if not rest:
        return CertReqMsg(read_cert_request(request))
    (proof,) = rest
    return CertReqMsg(read_cert_request(request), Possession(proof[0] & 0x1F), proof[read_tlv(proof, 0).start :])


def verify_signature(message: CertReqMsg) -> str:
    """Verify the proof of a signing key over the CertRequest as received; the name of the algorithm.

    Raises BadProofOfPossession, BadPublicKey. Beside a subject and a key there is no poposkInput (RFC 4211 4.1).
    """
    template = message.request.template
    if template.spki is None:
        raise BadPublicKey("the certificate template has no public key")
    try:
        identifier, signature = elements(tlv(SEQUENCE, message.proof))
        if signature[:1] != bytes((BIT_STRING,)) or signature[read_tlv(signature, 0).start] != 0:
            raise ValueError("no BIT STRING of whole octets")
    except (ValueError, IndexError) as exc:
        raise BadProofOfPossession(
            "the proof of possession is not an algorithm and a signature over the CertRequest (RFC 4211 section 4.1)"
        ) from exc
    bits = signature[read_tlv(signature, 0).start + 1 :]
    try:
        algorithm = algorithms.read_signature_algorithm(identifier)
        algorithms.verify(read_public_key(template.spki), algorithm, bits, message.request.der)
    except (InvalidSignature, BadAlgorithm) as exc:
        raise BadProofOfPossession("the signature in the proof of possession is not one of the requested key") from exc
    return algorithm.name
