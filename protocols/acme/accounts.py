"""Accounts (RFC 8555 sections 7.3 and 7.1.2.1): make and find, show and change, roll over the key, list
orders."""

from __future__ import annotations

from urllib.parse import parse_qs

from policy.account import Account
from policy.credential import AccountClaim, BindingClaim, Claim, OpenClaim
from policy.problems import AccountUnknown, AgreementRequired, Malformed, OrderConflict, Unauthenticated
from policy.registration import NewAccount
from protocols.acme import messages
from protocols.acme.contacts import read_contacts
from protocols.acme.door import Door, Signed, link
from protocols.acme.jwk import ALGORITHMS, SigningKey, read_jwk
from protocols.acme.jws import Flattened, read_binding, read_flattened, read_inner
from protocols.acme.resources import own_account
from protocols.acme.urls import is_id
from protocols.http import HTTPRequest, HTTPResponse


async def new_account(door: Door, request: HTTPRequest, key: SigningKey, payload: bytes) -> HTTPResponse:
    """Register, or find the account that the key has (RFC 8555 sections 7.3 and 7.3.1)."""
    wanted = messages.read_payload(messages.NewAccountPayload, payload)
    existing = await door.ra.account_by_key(door.mount.key, key.thumbprint)
    if existing is None and not wanted.onlyReturnExisting:
        try:
            return _account_reply(door, request, await _register(door, request, key, wanted), status=201)
        except OrderConflict:
            # Somebody else registered the same key between the look and the write: then it is there to be
            # found.
            existing = await door.ra.account_by_key(door.mount.key, key.thumbprint)
            if existing is None:
                raise
    if existing is None:
        raise AccountUnknown("there is no account with this key (onlyReturnExisting, RFC 8555 section 7.3.1)")
    # A deactivated account stays deactivated (section 7.3.6), and one of a revoked credential is of no use
    # either.
    await door.ra.authenticate(door.mount.key, [AccountClaim(existing)], request.peer.address)
    return _account_reply(door, request, existing)


async def _register(door: Door, request: HTTPRequest, key: SigningKey, wanted: messages.NewAccountPayload) -> Account:
    terms = door.options.terms_of_service
    if terms and not wanted.termsOfServiceAgreed:
        raise AgreementRequired(f'the terms of service have to be agreed to ("termsOfServiceAgreed"): {terms}')
    binding = wanted.externalAccountBinding
    claim: Claim = OpenClaim()
    if binding is not None:
        read = read_binding(binding, door.urls.new_account, key)
        claim = BindingClaim(read.kid, read.verify)
    new = NewAccount(
        spki=key.spki,
        jwk=key.jwk,
        thumbprint=key.thumbprint,
        contact=read_contacts(wanted.contact, door.contacts),
        agreed=terms or None,
        binding=_echo(binding),
    )
    return await door.ra.register(door.mount.key, new, [claim], request.peer.address)


def _echo(binding: Flattened | None) -> dict[str, str] | None:
    if binding is None:
        return None
    return {"protected": binding.protected, "payload": binding.payload, "signature": binding.signature}


def _account_reply(door: Door, request: HTTPRequest, account: Account, status: int = 200) -> HTTPResponse:
    request.event["account"] = account.id
    headers = [("Location", door.urls.account(account.id))]
    if door.options.terms_of_service:
        headers.append(link(door.options.terms_of_service, "terms-of-service"))
    return door.reply(messages.write_account(account, door.urls), *headers, status=status)


async def account(door: Door, signed: Signed) -> HTTPResponse:
    """Show or change an account (RFC 8555 sections 7.3.2, 7.3.3, 7.3.6)."""
    own_account(signed)
    found = signed.principal.account
    if found is None:
        raise Unauthenticated("this needs an account")
    if signed.payload:
        found = await _change(door, signed, found)
    return _account_reply(door, signed.request, found)


async def _change(door: Door, signed: Signed, found: Account) -> Account:
    wanted = messages.read_payload(messages.AccountPayload, signed.payload)
    if wanted.status is not None and wanted.status not in ("deactivated", found.status):
        raise Malformed('the only status that an account can be given is "deactivated" (RFC 8555 section 7.3.6)')
    if wanted.status == "deactivated":
        return await door.ra.deactivate_account(signed.principal)
    contact = None
    if wanted.contact is not None:
        contact = read_contacts(wanted.contact, door.contacts)
    agreed = (door.options.terms_of_service or None) if wanted.termsOfServiceAgreed else None
    if contact is None and agreed is None:
        return found
    return await door.ra.update_account(signed.principal, contact=contact, agreed=agreed)


async def orders(door: Door, signed: Signed) -> HTTPResponse:
    """A page of the account's orders (RFC 8555 section 7.1.2.1)."""
    messages.read_empty(signed.payload)
    account_id = own_account(signed)
    after = _after(signed.request.query)
    page = await door.ra.orders(signed.principal, after, door.settings.orders_page_size)
    headers = []
    if len(page) == door.settings.orders_page_size:
        headers.append(link(door.urls.orders(account_id, page[-1].id), "next"))
    return door.reply(messages.write_orders(page, door.urls, door.now()), *headers)


def _after(query: str) -> str:
    if not query:
        return ""
    values = parse_qs(query).get("after", [])
    if len(values) != 1 or not is_id(values[0]):
        raise Malformed('a page of orders is asked for with the URL in the Link field "next" of the page before')
    return values[0]


async def key_change(door: Door, signed: Signed) -> HTTPResponse:
    """Replace the account's key (RFC 8555 section 7.3.5): the new key signs inside, the old one outside."""
    account = signed.principal.account
    if account is None:
        raise Unauthenticated("this needs an account")
    inner = read_inner(read_flattened(signed.payload), ALGORITHMS)
    if inner.jwk is None:
        raise Malformed('the inner JWS of a key change needs a "jwk" (RFC 8555 section 7.3.5)')
    new = read_jwk(inner.jwk)
    new.check(inner.alg, inner.signature, inner.signed)
    if inner.url != door.urls.key_change:
        raise Malformed('the "url" of the inner JWS is not that of the outer one (RFC 8555 section 7.3.5)')
    payload = messages.read_payload(messages.KeyChangePayload, inner.payload)
    if payload.account != door.urls.account(account.id):
        raise Malformed('"account" of the inner payload is not the account that signs (RFC 8555 section 7.3.5)')
    if read_jwk(bytes(payload.oldKey)).thumbprint != account.thumbprint:
        raise Malformed('"oldKey" of the inner payload is not the key of the account (RFC 8555 section 7.3.5)')
    await _refuse_used(door, new)
    try:
        changed = await door.ra.rollover(signed.principal, new.spki, new.jwk, new.thumbprint)
    except OrderConflict:
        await _refuse_used(door, new)
        raise
    return _account_reply(door, signed.request, changed)


async def _refuse_used(door: Door, new: SigningKey) -> None:
    """A key that has an account already: 409, and the URL of that account (RFC 8555 section 7.3.5)."""
    owner = await door.ra.account_by_key(door.mount.key, new.thumbprint)
    if owner is not None:
        raise OrderConflict("the new key has an account already", location=door.urls.account(owner.id))
