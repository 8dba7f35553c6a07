"""One function per signed resource (RFC 8555 sections 7.4 to 7.6): payload in, call of the service, object out.

Certificates to download are in `certificates`. Signature, nonce, URL and account have been checked before any of these
is called; who owns what the registration authority checks, and says the same of what is somebody else's as of what
does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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
    UnknownOrder,
    UnsupportedIdentifier,
)
from policy.registration import KeyHolder
from protocols import base64url
from protocols.acme import messages
from protocols.acme.door import Door, Header, Signed, id_of, link, retry_after
from protocols.acme.renewal import replaced_certid, replaced_serial
from protocols.http import HTTPResponse

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
            ancestors=messages.read_ancestors(payload.identifiers) if door.options.subdomains else {},
            preauthorized=door.options.pre_authorization,
            not_before=messages.read_moment("notBefore", payload.notBefore),
            not_after=messages.read_moment("notAfter", payload.notAfter),
            replaces=await replaced_serial(door, signed, payload.replaces),
        ),
    )
    return await _order_reply(door, signed, order, status=201)


async def order(door: Door, signed: Signed) -> HTTPResponse:
    """Show an order (RFC 8555 section 7.4)."""
    messages.read_empty(signed.payload)
    return await _order_reply(door, signed, await door.ra.order(signed.principal, id_of(signed.request, UnknownOrder)))


async def finalize(door: Door, signed: Signed) -> HTTPResponse:
    """Hand in the certification request of an order (RFC 8555 section 7.4)."""
    payload = messages.read_payload(messages.FinalizePayload, signed.payload)
    order_id, der = id_of(signed.request, UnknownOrder), _der("csr", payload.csr)
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


async def new_authorization(door: Door, signed: Signed) -> HTTPResponse:
    """Have control of a name proven before any order (RFC 8555 section 7.4.1), or of all below it (RFC 9444)."""
    payload = messages.read_payload(messages.NewAuthorizationPayload, signed.payload)
    _check_agreement(door, signed)
    wanted = payload.identifier
    subdomains = payload.subdomainAuthAllowed or wanted.subdomainAuthAllowed
    (identifier,) = messages.read_identifiers((messages.WantedIdentifier(wanted.type, wanted.value),), 1)
    if identifier.wildcard:
        raise Malformed("a wildcard cannot be authorized before an order (RFC 8555 section 7.4.1)")
    if subdomains and not (door.options.subdomains and identifier.type == "dns"):
        raise UnsupportedIdentifier("one proof for a domain and those below it is not offered for this identifier")
    made = await door.ra.authorize(signed.principal, identifier, subdomains=subdomains, product=payload.profile)
    body = messages.write_authorization(made, door.urls, door.now(), door.settings.caa_identities)
    return door.reply(body, ("Location", door.urls.authorization(made.id)), status=201)


async def authorization(door: Door, signed: Signed) -> HTTPResponse:
    """Show an authorization, or give it up (RFC 8555 sections 7.5 and 7.5.2)."""
    authorization_id = id_of(signed.request, UnknownOrder)
    if signed.payload:
        payload = messages.read_payload(messages.StatusPayload, signed.payload)
        if payload.status != "deactivated":
            raise Malformed('the only change that an authorization takes is "status": "deactivated"')
        found = await door.ra.deactivate_authorization(signed.principal, authorization_id)
    else:
        found = await door.ra.authorization(signed.principal, authorization_id)
    body = messages.write_authorization(found, door.urls, door.now(), door.settings.caa_identities)
    if messages.being_validated(found):
        return door.reply(body, retry_after(door.settings.challenge_retry_after_seconds))
    return door.reply(body)


async def challenge(door: Door, signed: Signed) -> HTTPResponse:
    """Show a challenge, or say that it can be tried (RFC 8555 section 7.5.1). Only the latter starts
    anything."""
    authorization_id, method = id_of(signed.request, UnknownOrder), signed.request.parameters["type"]
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
    return door.reply(messages.write_challenge(one, found, door.urls, door.settings.caa_identities), *headers)


# --------------------------------------------------------------------------- revocation


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
