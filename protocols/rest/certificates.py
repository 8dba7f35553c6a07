"""Certificates: shown, and downloaded as PEM, DER or PKCS #7, always with the leaf first."""

from __future__ import annotations

from ssl import DER_cert_to_PEM_cert
from typing import Annotated

from msgspec import Meta

from policy.registration import Certificate
from protocols.cms.signed import certs_only
from protocols.rest.operation import JSON, Call, Operation, Reply
from protocols.rest.schema import View, moment

PEM_CHAIN = "application/pem-certificate-chain"
DER = "application/pkix-cert"
PKCS7 = "application/pkcs7-mime"


class Name(View, frozen=True, kw_only=True):
    """A name in a certificate or order."""

    type: str
    value: str


class CertificateView(View, frozen=True, kw_only=True):
    """A certificate."""

    serial: Annotated[str, Meta(description="In hexadecimal.")]
    issuer: str
    order: str
    product: str
    names: tuple[Name, ...]
    not_before: str
    not_after: str
    key_type: str
    sha256: Annotated[str, Meta(description="Fingerprint of the certificate's DER, in hexadecimal.")]
    pem: str
    chain: Annotated[str, Meta(description="PEM of the CA certificates above it, nearest first, without the root.")]


def view_of(found: Certificate) -> CertificateView:
    """A certificate as clients see it."""
    stored = found.stored
    return CertificateView(
        serial=stored.serial,
        issuer=stored.issuer,
        order=stored.order,
        product=stored.product,
        names=tuple(Name(type=one.type.value, value=one.value) for one in stored.names),
        not_before=moment(stored.not_before),
        not_after=moment(stored.not_after),
        key_type=stored.key_type,
        sha256=stored.sha256,
        pem=DER_cert_to_PEM_cert(found.der),
        chain="".join(map(DER_cert_to_PEM_cert, found.chain)),
    )


async def get_certificate(call: Call) -> Reply:
    """GET /certificates/{serial}."""
    found = await call.door.ra.certificate(call.principal, call.path("serial"))
    chosen = call.choose(JSON, PEM_CHAIN, DER, PKCS7)
    if chosen == JSON:
        return Reply(view_of(found))
    headers = (("Vary", "Accept"),)
    if chosen == PEM_CHAIN:
        text = "".join(map(DER_cert_to_PEM_cert, (found.der, *found.chain)))
        return Reply(body=text.encode(), content_type=PEM_CHAIN, headers=headers)
    if chosen == DER:
        return Reply(body=found.der, content_type=DER, headers=headers)
    whole = certs_only((found.der, *found.chain))
    return Reply(body=whole, content_type=f"{PKCS7}; smime-type=certs-only", headers=headers)


OPERATIONS = (
    Operation(
        "GET",
        "/certificates/{serial}",
        "get-certificate",
        "A certificate, as JSON, PEM, DER or PKCS #7",
        "certificate:read",
        get_certificate,
        answer=CertificateView,
        media=(PEM_CHAIN, DER, PKCS7),
    ),
)
