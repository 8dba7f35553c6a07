"""One function per signed resource (RFC 8555 sections 7.3 to 7.6): payload in, call of the service, object
out.

Signature, nonce, URL and account have been checked before any of these is called; who owns what the
registration authority checks, and says the same of what is somebody else's as of what does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ca_core.csr import CertificationRequest, read_csr
from ca_core.status import RevocationReason
from policy.credential import Principal
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import (
    AgreementRequired,
    BadAlgorithm,
    BadCSR,
    BadPublicKey,
    BadRevocationReason,
    Forbidden,
    Malformed,
    Problem,
    UnknownCertificate,
    UnknownOrder,
)
from policy.registration import Certificate, KeyHolder
from protocols.acme import base64url, messages
from protocols.acme.door import Door, Header, Signed, link, retry_after
from protocols.acme.pem import write_chain
from protocols.acme.renewal import replaced_certid, replaced_serial
from protocols.acme.urls import is_id
from protocols.http import HTTPRequest, HTTPResponse

Resource = Callable[[Door, Signed], Awaitable[HTTPResponse]]

REASONS = (0, 1, 3, 4, 5)
"""Reasons that a subscriber may give (RFC 5280 section 5.3.1): the others are the CA's own, or not final."""


# --------------------------------------------------------------------------- orders


async def new_order(door: Door, signed: Signed) -> HTTPResponse:
    """Place an order (RFC 8555 section 7.4)."""
    payload = messages.read_payload(messages.NewOrderPayload, signed.payload)
    _check_agreement(door, signed)
    order = await door.ra.place(
        signed.principal,
        NewOrder(
            product=payload.profile,
            identifiers=messages.read_identifiers(payload.identifiers, door.settings.max_identifiers),
            not_before=messages.read_moment("notBefore", payload.notBefore),
            not_after=messages.read_moment("notAfter", payload.notAfter),
            replaces=await replaced_serial(door, signed, payload.replaces),
        ),
    )
    return await _order_reply(door, signed, order, status=201)


async def order(door: Door, signed: Signed) -> HTTPResponse:
    """Show an order (RFC 8555 section 7.4)."""
    messages.read_empty(signed.payload)
    return await _order_reply(door, signed, await door.ra.order(signed.principal, _id(signed.request, UnknownOrder)))


async def finalize(door: Door, signed: Signed) -> HTTPResponse:
    """Hand in the certification request of an order (RFC 8555 section 7.4)."""
    payload = messages.read_payload(messages.FinalizePayload, signed.payload)
    order_id, der = _id(signed.request, UnknownOrder), _der("csr", payload.csr)
    try:
        found = await door.ra.finalize(signed.principal, order_id, _csr(der))
    except (BadPublicKey, BadAlgorithm) as exc:
        # Those two words are for the key and signature of the JWS; those of a CSR are "unacceptable (e.g., due to
        # a short key)", which is badCSR (RFC 8555 section 6.7).
        raise BadCSR(exc.detail) from exc
    return await _order_reply(door, signed, found)


async def _order_reply(door: Door, signed: Signed, found: Order, status: int = 200) -> HTTPResponse:
    signed.request.event["order"] = found.id
    replaces = await replaced_certid(door, signed, found) if found.replaces else None
    body = messages.write_order(found, door.urls, door.now(), replaces)
    headers: list[Header] = [("Location", door.urls.order_prefix + found.id)]
    if found.status is OrderStatus.PROCESSING:
        headers.append(retry_after(door.settings.order_retry_after_seconds))
    elif found.status is OrderStatus.HELD:
        headers.append(retry_after(door.settings.held_retry_after_seconds))
    return door.reply(body, *headers, status=status)


def _check_agreement(door: Door, signed: Signed) -> None:
    """RFC 8555 section 7.3.3: after the terms changed, a mount may want them agreed to anew before it goes
    on."""
    account = signed.principal.account
    terms = door.options.terms_of_service
    if door.options.require_current_terms and account is not None and account.agreed != terms:
        raise AgreementRequired(f"the terms of service have changed; read {terms} and update the account to agree")


# --------------------------------------------------------------------------- authorizations and challenges


async def authorization(door: Door, signed: Signed) -> HTTPResponse:
    """Show an authorization, or give it up (RFC 8555 sections 7.5 and 7.5.2)."""
    authorization_id = _id(signed.request, UnknownOrder)
    if signed.payload:
        payload = messages.read_payload(messages.StatusPayload, signed.payload)
        if payload.status != "deactivated":
            raise Malformed('the only change that an authorization takes is "status": "deactivated"')
        found = await door.ra.deactivate_authorization(signed.principal, authorization_id)
    else:
        found = await door.ra.authorization(signed.principal, authorization_id)
    body = messages.write_authorization(found, door.urls, door.now())
    if messages.being_validated(found):
        return door.reply(body, retry_after(door.settings.challenge_retry_after_seconds))
    return door.reply(body)


async def challenge(door: Door, signed: Signed) -> HTTPResponse:
    """Show a challenge, or say that it can be tried (RFC 8555 section 7.5.1). Only the latter starts
    anything."""
    authorization_id, method = _id(signed.request, UnknownOrder), signed.request.parameters["type"]
    if signed.payload:
        messages.read_payload(messages.ChallengePayload, signed.payload)
        found = await door.ra.answer(signed.principal, authorization_id, method)
    else:
        found = await door.ra.authorization(signed.principal, authorization_id)
    one = next((each for each in found.challenges if each.type == method), None)
    if one is None:
        raise UnknownOrder("the authorization has no such challenge")
    headers = [link(door.urls.authorization(found.id), "up")]
    if messages.being_validated(found):
        headers.append(retry_after(door.settings.challenge_retry_after_seconds))
    return door.reply(messages.write_challenge(one, found.id, door.urls), *headers)


# --------------------------------------------------------------------------- certificates


async def certificate(door: Door, signed: Signed) -> HTTPResponse:
    """Download a certificate in the form that the client accepts (RFC 8555 section 7.4.2)."""
    messages.read_empty(signed.payload)
    content_type, write = _negotiate(signed.request.headers.get("accept", ""))
    found = await door.ra.certificate(signed.principal, _id(signed.request, UnknownCertificate))
    return door.reply(write(found), content_type=content_type)


class NotAcceptable(Malformed):
    """None of the forms that the client accepts is one that a certificate has (RFC 9110 section 15.5.7)."""


def _pem(found: Certificate) -> bytes:
    return write_chain((found.der, *found.chain))


def _leaf(found: Certificate) -> bytes:
    return found.der


def _certs_only(found: Certificate) -> bytes:
    return _write_pkcs7((found.der, *found.chain))


def _write_pkcs7(chain: tuple[bytes, ...]) -> bytes:
    return pkcs7.serialize_certificates([x509.load_der_x509_certificate(one) for one in chain], Encoding.DER)


_FORMS: dict[str, Callable[[Certificate], bytes]] = {
    "application/pem-certificate-chain": _pem,
    "application/pkix-cert": _leaf,
    "application/pkcs7-mime": _certs_only,
}
_PEM = ("application/pem-certificate-chain", _pem)


@lru_cache(maxsize=256)
def _negotiate(accept: str) -> tuple[str, Callable[[Certificate], bytes]]:
    """Media type and writer for an Accept field (RFC 9110 section 12.5.1). Raises NotAcceptable.

    The PEM chain is the default and wins among equals. Ranges that cannot be read count as not there.
    """
    if not accept.strip():
        return _PEM
    best: tuple[float, str] = (0.0, "")
    for name in _FORMS:
        quality = _quality(accept, name)
        if quality > best[0]:
            best = (quality, name)
    if not best[1]:
        raise NotAcceptable(f"a certificate can be had as {', '.join(_FORMS)}", status=406)
    return best[1], _FORMS[best[1]]


def _quality(accept: str, name: str) -> float:
    """How much a media type is wanted: the most specific range that fits says it."""
    found = (-1, 0.0)
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media not in (name, "application/*", "*/*"):
            continue
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = min(max(float(parameter[2:]), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        rank = 2 if media == name else 1 if media == "application/*" else 0
        found = max(found, (rank, quality))
    return found[1]


async def revoke_certificate(door: Door, revoker: Principal | KeyHolder, payload: bytes) -> HTTPResponse:
    """Revoke a certificate (RFC 8555 section 7.6), as an account or as the holder of its key."""
    wanted = messages.read_payload(messages.RevocationPayload, payload)
    reason: RevocationReason | None = None
    if wanted.reason is not None:
        if wanted.reason not in REASONS:
            raise BadRevocationReason(
                f"reason {wanted.reason} is not one that a subscriber may give; those are "
                f"{', '.join(map(str, REASONS))} (RFC 5280 section 5.3.1)"
            )
        reason = RevocationReason.from_code(wanted.reason)
    await door.ra.revoke(revoker, _der("certificate", wanted.certificate), reason)
    return door.reply(b"", content_type=None)


# --------------------------------------------------------------------------- shared


def _csr(der: bytes) -> CertificationRequest:
    try:
        return read_csr(der)
    except Malformed as exc:
        # ACME has one word for all that is wrong with a request (RFC 8555 section 7.4), however deep it lies; the
        # envelope around it was well-formed.
        raise BadCSR(exc.detail) from exc


def _id(request: HTTPRequest, missing: type[Problem]) -> str:
    """The identifier in the path. What could not be one of ours is answered as one that is not there."""
    found = request.parameters["id"]
    if not is_id(found):
        raise missing("there is nothing of yours at this URL")
    return found


def _der(member: str, text: str) -> bytes:
    try:
        return base64url.decode(text.encode("ascii"))
    except ValueError as exc:
        raise Malformed(f'"{member}" is not base64url of DER, without padding (RFC 8555 section 6.1)') from exc


def own_account(signed: Signed) -> str:
    """The account in the path, which has to be the one that signed. Raises Forbidden."""
    if signed.request.parameters["id"] != signed.account:
        raise Forbidden("an account can only see and change itself")
    return signed.account
