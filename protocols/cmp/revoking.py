"""rr: revoke, suspend, or end a suspension (RFC 9810 section 5.3.9, RFC 9483 section 4.2)."""

from __future__ import annotations

from cryptography import x509

from ca_core.crmf import CertTemplate
from ca_core.der import elements
from ca_core.status import RevocationReason
from policy.problems import Forbidden, Problem
from policy.registration import RegistrationAuthority
from protocols.cmp import bodies
from protocols.cmp.bodies import Answer
from protocols.cmp.exchange import Exchange
from protocols.cmp.message import BodyType, PKIMessage
from protocols.cmp.problems import PKIFailureInfo, PKIStatus, Refusal
from protocols.cmp.protection import SignerFacts

_F = PKIFailureInfo


async def revoke(ra: RegistrationAuthority, exchange: Exchange) -> Answer:
    """Do what an rr asks. Raises Refusal, Forbidden and what the registration authority raises."""
    if exchange.signer is None:
        raise Refusal(_F.wrongIntegrity, "rr is protected by a signature, not by a MAC (RFC 9483 section 4.2)")
    details = bodies.read_rr(exchange.message.content)
    template = details.template
    if template.serial is None or template.issuer is None:
        raise Refusal(_F.addInfoNotAvailable, "certDetails needs issuer and serialNumber (RFC 9483 section 4.2)")
    found = await ra.transactions.certificate(template.serial)
    if found is None or not _matches(template, found[1]):
        raise Refusal(_F.badCertId, "the certificate that is to be revoked is not known")
    stored = found[0]
    if exchange.principal.certificate != stored.serial and not exchange.authority:
        raise Forbidden("a certificate revokes itself only")
    await ra.transactions.revoke(exchange.principal, stored, details.reason, exchange.reference, exchange.until)
    return bodies.rev_rep(bodies.status_info(PKIStatus.ACCEPTED))


def _matches(template: CertTemplate, der: bytes) -> bool:
    """Whether everything that certDetails says is so in the certificate."""
    certificate = x509.load_der_x509_certificate(der)
    if template.issuer != certificate.issuer.public_bytes():
        return False
    if template.subject is not None and template.subject != certificate.subject.public_bytes():
        return False
    return template.spki is None or template.spki == _spki(certificate)


def _spki(certificate: x509.Certificate) -> bytes:
    """subjectPublicKeyInfo: the seventh member of the to-be-signed certificate of version 3."""
    return elements(certificate.tbs_certificate_bytes)[6]


def asks_for_release(message: PKIMessage, signer: SignerFacts) -> bool:
    """Whether an rr asks that the suspension of its own signer ends: for that, a certificate on hold may speak."""
    if message.body is not BodyType.RR:
        return False
    try:
        details = bodies.read_rr(message.content)
    except Problem:
        return False
    return details.reason is RevocationReason.REMOVE_FROM_CRL and details.template.serial == signer.serial
