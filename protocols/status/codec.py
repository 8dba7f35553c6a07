"""Names in paths, OCSP requests in URLs, and what caches are told (RFC 6960, RFC 5019, RFC 9110)."""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from itertools import combinations_with_replacement, islice
from urllib.parse import unquote

from ca_core.ocsp import MAX_REQUEST_BYTES, read_ocsp_request
from policy.problems import Malformed, TooLarge, UnknownCertificate

OCSP_REQUEST = "application/ocsp-request"
CRL = "application/pkix-crl"
CERTIFICATE = "application/pkix-cert"

# --- names in paths


_SHARD = re.compile(r"(0|[1-9][0-9]{0,5})\.crl")
_ISSUER = re.compile(r"([0-9a-f]{1,128})\.cer")


def read_shard(segment: str) -> int:
    """The number in "{shard}.crl": one spelling for each CRL. Raises UnknownCertificate."""
    match = _SHARD.fullmatch(segment)
    if match is None:
        raise UnknownCertificate("there is no such CRL")
    return int(match[1])


def read_issuer(segment: str) -> str:
    """The key identifier in "{issuer-key-id}.cer". Raises UnknownCertificate."""
    match = _ISSUER.fullmatch(segment)
    if match is None:
        raise UnknownCertificate("there is no such CA certificate")
    return match[1]


# --- OCSP requests in a URL


MAX_REPAIRS = 16
"""Readings of a damaged URL that are tried: each costs a look at some hundred bytes."""


def read_ocsp_path(path: str) -> tuple[bytes, ...]:
    """The OCSP request behind "/ocsp/" in a URL (RFC 6960 appendix A.1), percent-encoded or raw.

    One request, as a rule. Where a proxy made "//" into "/", the length in the DER says how many slashes
    are gone but not which: then every reading that is an OCSP request is given, at most MAX_REPAIRS of
    them. Raises Malformed, or TooLarge before anything is decoded.
    """
    if len(path) > 2 * MAX_REQUEST_BYTES:
        raise TooLarge(f"an OCSP request has at most {MAX_REQUEST_BYTES} octets here")
    # Some clients put a slash too many before the request, some decode "+" to a space. base64url is no
    # OCSP, but its two letters can mean nothing else. Padding is left out by some as well.
    text = unquote(path).lstrip("/").replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        missing = _missing(text)
        if missing == 0:
            return (_decode(text),)
        readings = tuple(islice(_readings(text, missing), MAX_REPAIRS))
    except ValueError as exc:
        raise Malformed("the path is not the base64 of an OCSP request (RFC 6960 appendix A.1)") from exc
    if not readings:
        raise Malformed("the path holds no whole OCSP request: parts of its base64 are missing")
    return readings


def _decode(text: str) -> bytes:
    return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def _missing(text: str) -> int:
    """How many characters are gone, by the length of the outer SEQUENCE; ValueError for some too many."""
    start = _decode(text[:8])
    if len(start) < 4 or start[0] != 0x30:
        raise ValueError("not a SEQUENCE")
    size = 2 + start[1]
    if start[1] in (0x81, 0x82):
        octets = start[1] & 0x7F
        size = 2 + octets + int.from_bytes(start[2 : 2 + octets], "big")
    elif start[1] >= 0x80:
        raise ValueError("not a length of an OCSP request")
    missing = -(-size * 4 // 3) - len(text)
    if missing < 0:
        raise ValueError("more than the SEQUENCE")
    return missing


def _readings(text: str, missing: int) -> Iterator[bytes]:
    """What the text may have been before slashes were collapsed: those that are left get `missing` others."""
    slashes = [index for index, character in enumerate(text) if character == "/"]
    # Each choice costs time even when it is no request: no more of them than there are readings times a few.
    for chosen in islice(combinations_with_replacement(slashes, missing), 4 * MAX_REPAIRS):
        parts = [text[start:end] for start, end in zip((0, *chosen), (*chosen, len(text)), strict=True)]
        try:
            der = _decode("/".join(parts))
            read_ocsp_request(der)
        except (ValueError, Malformed):
            continue
        yield der


# --- caching


def entity_tag(der: bytes) -> str:
    """A strong entity tag (RFC 9110 section 8.8.3) of an answer."""
    return f'"{hashlib.sha256(der).hexdigest()[:32]}"'


@lru_cache(maxsize=1024)
def http_date(at: datetime) -> str:
    """A date as HTTP writes it (RFC 9110 section 5.6.7)."""
    return format_datetime(at.astimezone(UTC), usegmt=True)


def is_fresh(tag: str, modified: datetime | None, *, none_match: str | None, modified_since: str | None) -> bool:
    """Whether the client has this very answer already, by its If-None-Match or else If-Modified-Since.

    RFC 9110 section 13.2.2: the second counts only without the first, and a date that cannot be read does
    not count.
    """
    if none_match is not None:
        return any(one.strip().removeprefix("W/") in (tag, "*") for one in none_match.split(","))
    if modified_since is None or modified is None:
        return False
    try:
        since = parsedate_to_datetime(modified_since)
    except ValueError:
        return False
    # "-0000" gives a time without a zone; it means UTC.
    return modified <= (since if since.tzinfo is not None else since.replace(tzinfo=UTC))


def max_age(seconds: int, now: datetime, until: datetime) -> int:
    """How long an answer may be kept: as the operator says, and not beyond its own next update."""
    return max(0, min(seconds, int((until - now).total_seconds())))
