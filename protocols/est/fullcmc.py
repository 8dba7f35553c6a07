"""Full CMC (RFC 7030 section 4.3): who signed a PKIData, and what is said about its request."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ca_core import oids
from ca_core.csr import CertificationRequest, read_public_key
from ca_core.keys import Signer
from policy.problems import BadProofOfPossession, Malformed, Problem
from protocols.cmc import FailInfo, PKIData, Status, StatusInfo, read_pki_data
from protocols.cms.content import names
from protocols.cms.signed import SignedData, unsigned
from protocols.est.problems import FAIL_INFO


class BadMessageCheck(BadProofOfPossession):
    """The message was not signed by who sends it."""


def read_message(message: SignedData) -> PKIData:
    """The PKIData in a message. Raises Malformed. The signature is another matter (`check_signer`)."""
    if message.content_type != oids.CMC_PKI_DATA or message.content is None:
        raise Malformed("the message does not hold a PKIData (id-cct-PKIData, RFC 5272 section 3.2.1)")
    return read_pki_data(message.content)


def check_signer(message: SignedData, csr: CertificationRequest, certificate: bytes | None) -> None:
    """Check that the message is signed by the key of the TLS client certificate, or else by that of the request.

    The client is authenticated by the connection; this ties the message to it. Raises BadMessageCheck, BadAlgorithm,
    Malformed.
    """
    key: PublicKeyTypes
    if certificate is not None and names(message.signer, certificate):
        key = x509.load_der_x509_certificate(certificate).public_key()
    else:
        key = read_public_key(csr.spki)
    try:
        message.verify(key)
    except InvalidSignature as exc:
        raise BadMessageCheck(
            "the message is signed neither by the key of the TLS client certificate nor by that of the request"
        ) from exc


def refused(problem: Problem) -> StatusInfo:
    """What an answer says of a request that was refused."""
    failure = FailInfo.BAD_MESSAGE_CHECK if isinstance(problem, BadMessageCheck) else FAIL_INFO[problem.kind]
    return StatusInfo(Status.FAILED, problem.detail, failure)


def waiting(order: str, seconds: int, now: datetime) -> StatusInfo:
    """What an answer says of a request that waits: the same request may be sent again after that time."""
    return StatusInfo(Status.PENDING, pending=(order.encode(), now + timedelta(seconds=seconds)))


async def sign(content: bytes, signer: Signer, certificate: bytes, further: tuple[bytes, ...]) -> bytes:
    """The PKIResponse as a signed message, with the signer's certificate and further ones (RFC 5272 section 4.1)."""
    draft = unsigned(
        oids.CMC_PKI_RESPONSE,
        content,
        signer=certificate,
        algorithm=signer.algorithm,
        attributes={},
        certificates=tuple(dict.fromkeys((*further, certificate))),
    )
    return draft.finish(await signer.sign(draft.to_sign()))
