"""Certificates: found by any filter, shown, and downloaded as PEM, DER or PKCS #7, always with the leaf first."""

from __future__ import annotations

import difflib
from datetime import datetime
from ssl import DER_cert_to_PEM_cert
from typing import Annotated

from msgspec import Meta

from ca_core.names import subject_text
from ca_core.status import CertificateState
from policy.inventory import CertificateFilter, ListedCertificate
from policy.lifecycle import reach_of
from policy.registration import Certificate
from protocols.cms.signed import certs_only
from protocols.rest.operation import JSON, Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import View, moment

PEM_CHAIN = "application/pem-certificate-chain"
DER = "application/pkix-cert"
PKCS7 = "application/pkcs7-mime"

STATES = (*(one.value for one in CertificateState if one is not CertificateState.UNCONFIRMED), "expired")


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


class ListedView(View, frozen=True, kw_only=True):
    """A certificate as lists have it."""

    serial: str
    status: Annotated[str, Meta(description="One of " + ", ".join(STATES) + ".")]
    reason: str | None
    changed: Annotated[str | None, Meta(description="Since when it is not valid.")]
    subject: str
    names: tuple[str, ...]
    issuer: str
    product: str
    credential: str
    order: str
    replaces: str | None
    not_before: str
    not_after: str
    key_type: str
    sha256: str
    spki_sha256: str
    mount: str
    tags: tuple[str, ...]


class CertificateFields(PageQuery, frozen=True, kw_only=True):
    """Filters of certificates; they can be combined."""

    status: Annotated[str, Meta(description="One of " + ", ".join(STATES) + ".")] = ""
    name: Annotated[str, Meta(description='A name; ".example.org" also finds all below example.org.')] = ""
    text: Annotated[str, Meta(description="In any name.")] = ""
    product: str = ""
    credential: str = ""
    issuer: str = ""
    key_type: str = ""
    tag: str = ""
    mount: str = ""
    spki_sha256: str = ""
    expires_before: datetime | None = None
    expires_from: datetime | None = None


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


def listed(one: ListedCertificate, tags: tuple[str, ...], now: datetime) -> ListedView:
    """A certificate with its state."""
    stored, status = one.stored, one.status
    gone = status if status is not None and status.state is not CertificateState.VALID else None
    return ListedView(
        serial=stored.serial,
        status=one.said(now),
        reason=gone.reason.value if gone is not None and gone.reason is not None else None,
        changed=moment(gone.at) if gone is not None else None,
        subject=subject_text(stored.subject),
        names=tuple(map(str, stored.names)),
        issuer=stored.issuer,
        product=stored.product,
        credential=stored.credential,
        order=stored.order,
        replaces=stored.replaces,
        not_before=moment(stored.not_before),
        not_after=moment(stored.not_after),
        key_type=stored.key_type,
        sha256=stored.sha256,
        spki_sha256=stored.spki_sha256,
        mount=stored.mount,
        tags=tags,
    )


async def reached(call: Call, permission: str) -> ListedCertificate:
    """The certificate in the path, when the caller may do this with it. Raises UnknownCertificate, Forbidden."""
    return await call.door.lifecycle.certificate(permission, call.path("serial"), call.actor)


async def status_of(call: Call, serial: str) -> Reply:
    """The answer that shows how a certificate stands now."""
    one = await call.door.inventory.certificate(serial)
    tags = await call.door.inventory.tags([one.stored.serial])
    return Reply(listed(one, tags.get(one.stored.serial, ()), call.door.clock()))


def filter_of(call: Call, query: CertificateFields) -> CertificateFilter:
    """The filter that a query means, within what the caller may see. Raises Invalid."""
    if query.status and query.status not in STATES:
        near = (difflib.get_close_matches(query.status, STATES, 1, 0) or ["valid"])[0]
        raise Invalid(FieldError("?status", "enum", f"it is one of {', '.join(STATES)}", near))
    user, groups = reach_of(call.actor, "certificate:read")
    return CertificateFilter(
        user=user,
        credential=query.credential,
        text=query.text,
        status=query.status,
        product=query.product,
        groups=groups,
        issuer=query.issuer,
        key_type=query.key_type,
        tag=query.tag,
        name=query.name.lower(),
        expires_before=query.expires_before,
        expires_from=query.expires_from,
        spki_sha256=query.spki_sha256.lower(),
        mount=query.mount,
    )


async def list_certificates(call: Call, query: CertificateFields, after: str, limit: int) -> Page:
    """GET /certificates."""
    found = await call.door.inventory.find(filter_of(call, query), after, limit)
    tags = await call.door.inventory.tags([one.stored.serial for one in found])
    now = call.door.clock()
    items = tuple(listed(one, tags.get(one.stored.serial, ()), now) for one in found)
    return Page(items, found[-1].stored.serial if len(found) == limit else "")


async def get_certificate(call: Call) -> Reply:
    """GET /certificates/{serial}."""
    one = await reached(call, "certificate:read")
    found = call.door.ra.with_chain(one.stored, one.der)
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


async def get_status(call: Call) -> Reply:
    """GET /certificates/{serial}/status."""
    return await status_of(call, (await reached(call, "certificate:read")).stored.serial)


OPERATIONS = (
    Operation(
        "GET",
        "/certificates",
        "list-certificates",
        "Certificates, newest first, by any filter",
        "certificate:read",
        list_certificates,
        query=CertificateFields,
        answer=ListedView,
    ),
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
    Operation(
        "GET",
        "/certificates/{serial}/status",
        "get-certificate-status",
        "How a certificate stands: its state and since when, tags, what it replaces",
        "certificate:read",
        get_status,
        answer=ListedView,
    ),
)
