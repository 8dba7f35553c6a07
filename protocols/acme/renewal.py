"""ACME renewal information (RFC 9773): the window of a certificate, and what an order replaces."""

from __future__ import annotations

from policy.order import Order
from policy.problems import Malformed, UnknownCertificate
from protocols.acme.door import CORS, JSON, Door, Signed, retry_after
from protocols.http import HTTPRequest, HTTPResponse
from protocols.renewalinfo import read_certid, write_certid, write_window


async def renewal_info(door: Door, request: HTTPRequest) -> HTTPResponse:
    """The suggested window, for anybody who knows the certificate (RFC 9773 section 4.1: GET, not
    authenticated)."""
    issuer_id, serial = read_certid(request.parameters["certid"])
    window = await door.ra.renewal_window(issuer_id, serial)
    fresh = min(window.retry_after, door.settings.renewal_cache_seconds)
    return HTTPResponse(
        200,
        write_window(window),
        JSON,
        (door.index, retry_after(window.retry_after), ("Cache-Control", f"public, max-age={fresh}"), *CORS),
    )


async def replaced_serial(door: Door, signed: Signed, certid: str | None) -> str | None:
    """The serial number of the certificate that a new order replaces (RFC 9773 section 5).

    Raises Malformed when the account has no such certificate. Names and an earlier successor the registration
    authority checks.
    """
    if certid is None:
        return None
    issuer_id, serial = read_certid(certid)
    try:
        found = await door.ra.certificate(signed.principal, serial)
    except UnknownCertificate as exc:
        raise Malformed('"replaces" names a certificate that this account does not have') from exc
    if found.stored.issuer_id != issuer_id:
        raise Malformed('"replaces" names a certificate that this account does not have')
    door.remember_replacement(serial, certid)
    return serial


async def replaced_certid(door: Door, signed: Signed, order: Order) -> str | None:
    """The certificate identifier to echo in an order object (RFC 9773 section 5: in every one of that
    order)."""
    if order.replaces is None:
        return None
    known = door.replacements.get(order.replaces)
    if known is not None:
        return known
    try:
        found = await door.ra.certificate(signed.principal, order.replaces)
    except UnknownCertificate:
        return None
    return door.remember_replacement(order.replaces, write_certid(found.stored.issuer_id, order.replaces))
