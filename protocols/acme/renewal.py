"""ACME renewal information (RFC 9773): certificate identifiers, the window, and what an order replaces."""

from __future__ import annotations

import msgspec

from policy.order import Order
from policy.problems import Malformed, UnknownCertificate
from policy.registration import RenewalWindow
from protocols.acme import base64url
from protocols.acme.door import CORS, JSON, Door, Signed, retry_after
from protocols.http import HTTPRequest, HTTPResponse

MAX_SERIAL = 21
"""Octets of a serial number in DER: 20 (RFC 5280 section 4.1.2.2) and a zero that keeps it positive."""
MAX_KEY_IDENTIFIER = 64
"""Octets of an authority key identifier: the longest hash in use has 64."""
SERIAL_DIGITS = 40
"""How serial numbers are written here: 20 octets in hex."""


def read_certid(certid: str) -> tuple[str, str]:
    """Issuer's key identifier and serial number, both hex, of a certificate identifier (RFC 9773 section
    4.1).

    Raises Malformed. The serial number is the content of the DER INTEGER, with the zero octet where there is
    one.
    """
    key, dot, number = certid.partition(".")
    try:
        issuer, serial = base64url.decode(key.encode("ascii")), base64url.decode(number.encode("ascii"))
    except ValueError as exc:
        raise Malformed("the certificate identifier is not base64url without padding") from exc
    if not dot or not 0 < len(issuer) <= MAX_KEY_IDENTIFIER or not 0 < len(serial) <= MAX_SERIAL:
        raise Malformed(
            "a certificate identifier is the authority key identifier and the serial number, both base64url, "
            "with a dot between (RFC 9773 section 4.1)"
        )
    if serial[0] & 0x80 or (len(serial) > 1 and serial[0] == 0 and not serial[1] & 0x80):
        raise Malformed("the serial number in the certificate identifier is not the content of a positive DER INTEGER")
    return issuer.hex(), f"{int.from_bytes(serial, 'big'):0{SERIAL_DIGITS}x}"


def write_certid(issuer_id: str, serial: str) -> str:
    """The certificate identifier of a key identifier and a serial number, both hex."""
    number = bytes.fromhex(serial).lstrip(b"\0") or b"\0"
    if number[0] & 0x80:
        number = b"\0" + number
    return f"{base64url.encode(bytes.fromhex(issuer_id))}.{base64url.encode(number)}"


def write_window(window: RenewalWindow) -> bytes:
    """A renewal information object (RFC 9773 section 4.2)."""
    found: dict[str, object] = {"suggestedWindow": {"start": window.start, "end": window.end}}
    if window.explanation_url:
        found["explanationURL"] = window.explanation_url
    return msgspec.json.encode(found)


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
