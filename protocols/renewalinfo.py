"""Renewal information (RFC 9773): certificate identifiers and the suggested window; ACME serves it, and EST alike."""

from __future__ import annotations

import msgspec

from policy.problems import Malformed
from policy.registration import RenewalWindow
from protocols import base64url

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
