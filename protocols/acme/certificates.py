"""Certificates to download: forms, chains, and what the client accepts (RFC 8555 sections 7.4.2 and 9.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from policy.problems import Malformed, UnknownCertificate
from protocols.acme import messages
from protocols.acme.door import Door, Signed, id_of, link
from protocols.acme.pem import write_chain
from protocols.http import HTTPRequest, HTTPResponse


async def certificate(door: Door, signed: Signed) -> HTTPResponse:
    """Download a certificate in the form that the client accepts (RFC 8555 section 7.4.2).

    Every answer names the other chains; one that has no chain in it says where the issuer's certificate is.
    """
    messages.read_empty(signed.payload)
    content_type, write = _negotiate(signed.request.headers.get("accept", ""))
    found = await door.ra.certificate(signed.principal, id_of(signed.request, UnknownCertificate))
    shown = _chain_wanted(signed.request)
    if shown > len(found.alternates):
        raise UnknownCertificate("there is no such chain of this certificate")
    others = (chain for chain in range(len(found.alternates) + 1) if chain != shown)
    headers = [link(door.urls.certificate(found.stored.serial, chain), "alternate") for chain in others]
    if content_type == _LEAF_ONLY and found.issuer_url:
        headers.append(link(found.issuer_url, "up"))
    chain = found.alternates[shown - 1] if shown else found.chain
    return door.reply(write(found.der, chain), *headers, content_type=content_type)


def _chain_wanted(request: HTTPRequest) -> int:
    """Which chain: 0 the one that comes first, else the number at the end of the path."""
    text = request.parameters.get("chain", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 2 or (text[0] == "0" and "chain" in request.parameters):
        raise UnknownCertificate("there is no such chain of this certificate")
    return int(text)


class NotAcceptable(Malformed):
    """None of the forms that the client accepts is one that a certificate has (RFC 9110 section 15.5.7)."""


Form = Callable[[bytes, tuple[bytes, ...]], bytes]
"""Writes a certificate and what is above it."""


def _pem(der: bytes, chain: tuple[bytes, ...]) -> bytes:
    return write_chain((der, *chain))


def _leaf(der: bytes, _: tuple[bytes, ...]) -> bytes:
    return der


def _certs_only(der: bytes, chain: tuple[bytes, ...]) -> bytes:
    certificates = [x509.load_der_x509_certificate(one) for one in (der, *chain)]
    return pkcs7.serialize_certificates(certificates, Encoding.DER)


_LEAF_ONLY = "application/pkix-cert"
_FORMS: dict[str, Form] = {
    "application/pem-certificate-chain": _pem,
    _LEAF_ONLY: _leaf,
    "application/pkcs7-mime": _certs_only,
}
_PEM = ("application/pem-certificate-chain", _pem)


@lru_cache(maxsize=256)
def _negotiate(accept: str) -> tuple[str, Form]:
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
