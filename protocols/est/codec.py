"""EST bodies: claims and base64 requests in, certs-only messages out (RFC 7030, RFC 8951 section 3)."""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from datetime import datetime
from functools import lru_cache
from typing import cast

from ca_core.csr import CertificationRequest, read_csr, read_pem_or_der
from policy.credential import CertificateClaim, Claim, MACClaim, PasswordClaim
from policy.problems import Malformed, Unauthenticated, UnsupportedMedia
from policy.registration import RenewalWindow
from policy.sealing import Secret
from protocols.cms.signed import SignedData, certs_only, crls_only, read_signed
from protocols.est.digest import Digests
from protocols.est.settings import MountOptions
from protocols.http import HTTPRequest, HTTPResponse
from protocols.renewalinfo import write_window

PKCS10 = "application/pkcs10"
PKCS7 = "application/pkcs7-mime"
CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"
CMC_RESPONSE = "application/pkcs7-mime; smime-type=CMC-response"
CRLS_ONLY = "application/pkcs7-mime; smime-type=crls-only"
CSRATTRS = "application/csrattrs"

_SPACE = b" \t\r\n\v\f"
PKCS8 = "application/pkcs8"
GENERATED_KEY = "application/pkcs7-mime; smime-type=server-generated-key"
_BOUNDARY = "estServerKeyGenerated"
"""No line of base64 begins with the two hyphens before it."""
_BASE64 = (("Content-Transfer-Encoding", "base64"),)

# --- claims
# ---------------------------------------------------------------------------------------------------


def read_authorization(request: HTTPRequest, digests: Digests | None, now: datetime) -> PasswordClaim | MACClaim | None:
    """What the Authorization field claims: HTTP Basic, or Digest where that is offered; none when there is no field.

    Raises Unauthenticated.
    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if digests is not None and scheme.lower() == "digest":
        return digests.read(rest, request, now)
    return read_password(request)


def read_password(request: HTTPRequest) -> PasswordClaim | None:
    """User name and password of HTTP Basic (RFC 7617); none when there is no Authorization field.

    Both are UTF-8, and the user name may be empty (RFC 7030 section 3.2.3). Raises Unauthenticated for
    another scheme or what is not Basic: something that was shown and cannot be read is not the same as
    nothing shown.
    """
    field = request.headers.get("authorization")
    if field is None:
        return None
    scheme, _, token = field.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("this server reads HTTP Basic authentication only (RFC 7617)")
    try:
        user, colon, password = a2b_base64(token.strip(" "), strict_mode=True).partition(b":")
        name = user.decode("utf-8")
    except ValueError as exc:
        raise Unauthenticated("the Authorization field is not Basic with UTF-8 (RFC 7617 section 2)") from exc
    if not colon:
        raise Unauthenticated('the Authorization field has no ":" between user name and password (RFC 7617)')
    return PasswordClaim(name, Secret(password))


def read_secret(challenge: str, password: Claim | None) -> PasswordClaim:
    """A challengePassword that is a secret of the credential: of whom Basic names, else "user:password".

    Without a colon it belongs to the user without a name.
    """
    if isinstance(password, PasswordClaim):
        return PasswordClaim(password.username, Secret(challenge.encode()))
    user, colon, rest = challenge.partition(":")
    return PasswordClaim(user, Secret(rest.encode())) if colon else PasswordClaim("", Secret(challenge.encode()))


def read_certificate(request: HTTPRequest) -> CertificateClaim | None:
    """The client certificate of the TLS connection, if one was shown."""
    peer = request.peer
    return None if peer.certificate is None else CertificateClaim(peer.certificate, peer.chain)


# --- requests
# -------------------------------------------------------------------------------------------------


def read_request(request: HTTPRequest, *, verify: bool = True) -> CertificationRequest:
    """The PKCS #10 request in the body (RFC 7030 section 4.2.1). Its signature is verified, unless that is of no
    importance because the server makes the key (section 4.4.1).

    Raises UnsupportedMedia, Malformed (the body is no base64) and what `read_csr` raises. A
    Content-Transfer-Encoding is not looked at, whatever it says (RFC 8951 section 3).
    """
    _check_media(request, PKCS10, "4.2.1")
    return read_csr(read_body(request.body), verify=verify)


def read_cmc(request: HTTPRequest) -> SignedData:
    """The signed message in the body (RFC 7030 section 4.3.1). Raises UnsupportedMedia, Malformed, TooLarge."""
    _check_media(request, PKCS7, "4.3.1")
    return read_signed(read_body(request.body))


def _check_media(request: HTTPRequest, wanted: str, section: str) -> None:
    media = request.headers.get("content-type", "")
    # Clients add parameters (charset) and spell the type in capitals.
    if media != wanted and media.partition(";")[0].strip().lower() != wanted:
        raise UnsupportedMedia(f'the content type "{media}" is not "{wanted}" (RFC 7030 section {section})')


def read_body(body: bytes) -> bytes:
    """The DER in a body: base64 with any white space, raw DER, or PEM. Raises Malformed.

    Standard is base64; curl, libest and globalsign's client break it into lines, some devices send DER or
    PEM.
    """
    try:
        der = a2b_base64(body, strict_mode=True)
    except ValueError:
        der = _read_unusual(body)
    if not der:
        raise Malformed("the body is empty; a PKCS #10 request in base64 belongs there (RFC 7030 section 4.2.1)")
    return der


def _read_unusual(body: bytes) -> bytes:
    # A SEQUENCE begins with 0x30, which is also the digit "0"; but base64 of a SEQUENCE begins with "M".
    if body.startswith(b"\x30"):
        return body
    text = body.strip(_SPACE)
    if text.startswith(b"-----BEGIN"):
        return read_pem_or_der(text)
    try:
        return a2b_base64(text.translate(None, _SPACE), strict_mode=True)
    except ValueError as exc:
        raise Malformed("the body is not base64 (RFC 8951 section 3)") from exc


# --- answers
# --------------------------------------------------------------------------------------------------


def write_certificate(certificate: bytes, options: MountOptions) -> HTTPResponse:
    """200 with the certificate that was issued and nothing else (RFC 7030 section 4.2.3)."""
    return _write(certs_only((certificate,)), CERTS_ONLY, options)


def write_generated(private_key: Secret | bytes, certificate: bytes, options: MountOptions) -> HTTPResponse:
    """200 with a private key and its certificate, as two parts (RFC 7030 section 4.4.2).

    The key is a PKCS #8 (Secret), or an EnvelopedData (bytes).
    """
    key = (PKCS8, private_key.reveal()) if isinstance(private_key, Secret) else (GENERATED_KEY, private_key)
    parts = (key, (CERTS_ONLY, certs_only((certificate,))))
    written = []
    for media, content in parts:
        part = _write(content, media, options)
        head = "".join(f"{name}: {value}\r\n" for name, value in (("Content-Type", media), *part.headers))
        written.append(f"--{_BOUNDARY}\r\n{head}\r\n".encode() + cast(bytes, part.body).rstrip() + b"\r\n")
    body = b"".join(written) + f"--{_BOUNDARY}--\r\n".encode()
    return HTTPResponse(200, body, f"multipart/mixed; boundary={_BOUNDARY}", (("Cache-Control", "no-store"),))


def write_cmc(
    status: int, message: bytes, options: MountOptions, headers: tuple[tuple[str, str], ...] = ()
) -> HTTPResponse:
    """A CMC answer, whatever it says (RFC 7030 section 4.3.2)."""
    answer = _write(message, CMC_RESPONSE, options, headers)
    return HTTPResponse(status, answer.body, CMC_RESPONSE, answer.headers)


def write_pending(seconds: int) -> HTTPResponse:
    """202: ask again with the same request (RFC 7030 section 4.2.3)."""
    text = f"The request is accepted and not decided yet. Send it again in {seconds} seconds.\n"
    return HTTPResponse(202, text.encode(), "text/plain; charset=utf-8", (("Retry-After", str(seconds)),))


def write_cacerts(
    certificates: tuple[bytes, ...], request: HTTPRequest, options: MountOptions, max_age: int
) -> HTTPResponse:
    """200 with the CA certificates (RFC 7030 section 4.1.3), or 304 to who has them already."""
    der, tag = _cacerts(certificates)
    headers = (("ETag", tag), ("Cache-Control", f"max-age={max_age}" if max_age else "no-cache"))
    if _has(request.headers.get("if-none-match"), tag):
        return HTTPResponse(304, headers=headers)
    return _write(der, PKCS7, options, headers)


@lru_cache(maxsize=64)
def _cacerts(certificates: tuple[bytes, ...]) -> tuple[bytes, str]:
    der = certs_only(certificates)
    return der, f'"{hashlib.sha256(der).hexdigest()[:32]}"'


def _has(field: str | None, tag: str) -> bool:
    """Whether an If-None-Match field names this entity tag, compared weakly (RFC 9110 section 13.1.2)."""
    if field is None:
        return False
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in field.split(","))


def write_crls(crls: tuple[bytes, ...], options: MountOptions) -> HTTPResponse:
    """200 with certificate revocation lists (RFC 8295 section 2.4)."""
    return _write(crls_only(crls), CRLS_ONLY, options, (("Cache-Control", "no-cache"),))


def write_renewal_info(window: RenewalWindow, max_age: int) -> HTTPResponse:
    """200 with the window in which to renew, in JSON (RFC 9773 section 4.2)."""
    fresh = min(window.retry_after, max_age)
    headers = (("Retry-After", str(window.retry_after)), ("Cache-Control", f"public, max-age={fresh}"))
    return HTTPResponse(200, write_window(window), "application/json", headers)


def write_csrattrs(der: bytes | None, options: MountOptions) -> HTTPResponse:
    """200 with CSR attributes, or 204 when there are none (RFC 7030 section 4.5.2)."""
    return HTTPResponse(204) if der is None else _write(der, CSRATTRS, options)


def _write(der: bytes, media: str, options: MountOptions, headers: tuple[tuple[str, str], ...] = ()) -> HTTPResponse:
    body = b2a_base64(der, newline=False)
    if options.base64_wrap:
        body = _wrap(body, options.base64_wrap)
    if options.content_transfer_encoding:
        headers = _BASE64 + headers
    return HTTPResponse(200, body, media, headers)


def _wrap(body: bytes, width: int) -> bytes:
    """Lines with CRLF, as MIME has them (RFC 2045 section 6.8). strongSwan 5.9.8 does not read them."""
    return b"".join(body[start : start + width] + b"\r\n" for start in range(0, len(body), width))
