"""HTTP of SCEP (RFC 8894 section 4): which operation a request asks for, and the bodies of the answers."""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, unquote_to_bytes

from cryptography import x509

from policy.problems import Malformed
from protocols.cms.signed import certs_only
from protocols.http import HTTPRequest, HTTPResponse
from protocols.scep.settings import Legacy, MountOptions

CA_CERTIFICATE = "application/x-x509-ca-cert"
CA_RA_CERTIFICATES = "application/x-x509-ca-ra-cert"
NEXT_CA_CERTIFICATES = "application/x-x509-next-ca-cert"
PKI_MESSAGE = "application/x-pki-message"
PLAIN = "text/plain"

PKI_OPERATION = "pkioperation"


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation in small letters, and the message that came with it, as it was sent."""

    operation: str
    message: bytes


def read_query(request: HTTPRequest) -> Asked:
    """What is asked for: `operation` in any case; a POST without one brings a message (RFC 8894 section 4.1, 4.3).

    Raises Malformed for a GET without an operation.
    """
    parameters: dict[str, str] = {}
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        parameters.setdefault(name.lower(), value)
    operation = unquote(parameters.get("operation", "")).lower()
    if request.method == "POST":
        return Asked(operation or PKI_OPERATION, request.body)
    if not operation:
        raise Malformed("the query has no operation (RFC 8894 section 4.1)")
    return Asked(operation, _read_message(parameters.get("message", "")) if operation == PKI_OPERATION else b"")


def _read_message(value: str) -> bytes:
    """The message in a query: percent-encoded base64, as clients make it.

    macOS encodes "=" alone and leaves "+" and "/", some encode "+" as a space, some use base64url, some leave the
    padding out: none of that has another reading.
    """
    text = unquote_to_bytes(value).translate(_REPAIRED, b"\r\n\t")
    try:
        return a2b_base64(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), strict_mode=True)
    except Error as exc:
        raise Malformed("the message in the query is not base64 (RFC 8894 section 4.1)") from exc


_REPAIRED = bytes.maketrans(b" -_", b"++/")


def write_capabilities(options: MountOptions) -> HTTPResponse:
    """What this server can do (RFC 8894 section 3.5.2), one word in a line; what is old only behind its switch."""
    words = ["AES", "SHA-256", "SHA-512", "POSTPKIOperation", "Renewal", "SCEPStandard"]
    if options.next_issuer:
        words.append("GetNextCACert")
    if Legacy.DES3 in options.legacy:
        words.append("DES3")
    if Legacy.SHA1 in options.legacy:
        words.append("SHA-1")
    return HTTPResponse(200, "".join(f"{word}\n" for word in words).encode(), PLAIN)


def write_ca_certificates(certificates: Sequence[bytes]) -> HTTPResponse:
    """The RA's certificate and those of its CA (RFC 8894 section 4.2.1.2): the RA's first, as clients expect."""
    if len(certificates) == 1:
        return HTTPResponse(200, certificates[0], CA_CERTIFICATE)
    return HTTPResponse(200, certs_only(certificates, in_order=True), CA_RA_CERTIFICATES)


def without_root(chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """A chain without a root that is not the issuing CA itself."""
    return (*chain[:1], *(one for one in chain[1:] if len(set(names_of(one))) > 1))


@lru_cache(maxsize=64)
def names_of(certificate: bytes) -> tuple[bytes, bytes]:
    """Issuer and subject of a certificate, in DER."""
    read = x509.load_der_x509_certificate(certificate)
    return read.issuer.public_bytes(), read.subject.public_bytes()


def subject_of(certificate: bytes) -> bytes:
    """The subject of a certificate, in DER."""
    return names_of(certificate)[1]


def write_next_ca_certificates(signed: bytes) -> HTTPResponse:
    """The certificates of the CA that takes over, in a SignedData (RFC 8894 section 4.7.1)."""
    return HTTPResponse(200, signed, NEXT_CA_CERTIFICATES)


def write_message(body: bytes) -> HTTPResponse:
    """A CertRep: HTTP 200 whatever it says (RFC 8894 section 4.3)."""
    return HTTPResponse(200, body, PKI_MESSAGE)
