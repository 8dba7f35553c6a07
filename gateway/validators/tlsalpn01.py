"""The tls-alpn-01 validator: a TLS handshake that shows a certificate made for it (RFC 8737; addresses: RFC
8738).

The certificate is judged by this module alone and by exact comparison: chains, dates and trust have no part
in it.
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from ca_core.names import Identifier, IdentifierType
from gateway.dial import Dialer, DialError, StreamConnection
from policy.problems import ValidationConnection, ValidationIncorrectResponse, ValidationTLS
from policy.validation import Attempt, Evidence
from policy.validation.challenges import ACME_IDENTIFIER_OID, ACME_TLS_1, TLS_ALPN_01, acme_identifier

_ACME_IDENTIFIER = x509.ObjectIdentifier(ACME_IDENTIFIER_OID)


class BadCertificate(ValueError):
    """The certificate is not the one that the challenge asks for; the text says why, as the end of a
    sentence."""


class TLSALPN01Validator:
    """Proves control of a host name or an address through its TLS server. Any `port` but 443 is for tests."""

    method: str = TLS_ALPN_01

    def __init__(self, dialer: Dialer, *, port: int = 443, deadline_seconds: float = 10.0) -> None:
        self._dialer = dialer
        self._port = port
        self._deadline = deadline_seconds
        self._context = _context()

    async def validate(self, attempt: Attempt) -> Evidence:
        """Shake hands and compare.

        Raises ValidationConnection, ValidationDNS, ValidationTLS, ValidationIncorrectResponse.
        """
        identifier = attempt.identifier
        where = f"port {self._port} of {identifier.value}"
        try:
            async with asyncio.timeout(self._deadline):
                connection = await self._dialer.connect_tls(
                    identifier.value,
                    self._port,
                    self._context,
                    server_name=server_name(identifier),
                    handshake_timeout_seconds=self._deadline,
                )
        except DialError as exc:
            raise ValidationConnection(f"{where}: {exc.detail}", reason=exc.reason) from exc
        except TimeoutError as exc:
            raise ValidationConnection(f"{where}: no TLS handshake within {self._deadline:g} seconds") from exc
        except OSError as exc:  # ssl.SSLError among them
            raise ValidationTLS(
                f"{where}: the TLS handshake with protocol {ACME_TLS_1} failed", reason=repr(exc)
            ) from exc
        try:
            certificate = _presented(connection, where)
        finally:
            connection.close()
        peer = connection.peer
        try:
            check_certificate(certificate, identifier, attempt.key_authorization)
        except BadCertificate as exc:
            at = f" at {peer}" if peer.public else ""
            raise ValidationIncorrectResponse(f"{where}{at}: the certificate {exc}", peer=str(peer)) from exc
        return Evidence(TLS_ALPN_01, str(peer), f"acmeIdentifier matches for {identifier}")


def server_name(identifier: Identifier) -> str:
    """What SNI asks for: the name, or for an address its name in the reverse tree (RFC 8738 section 6)."""
    if identifier.type is IdentifierType.IP:
        return ip_address(identifier.value).reverse_pointer
    return identifier.value


def check_certificate(der: bytes, identifier: Identifier, authorization: str) -> None:
    """Raise BadCertificate unless this is the certificate that RFC 8737 section 3 describes."""
    try:
        with warnings.catch_warnings():
            # A serial number of zero and its kind: bad certificates, and yet all that is asked for here.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            extensions = certificate.extensions
    except x509.DuplicateExtension as exc:
        raise BadCertificate("has the same extension twice") from exc
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as exc:
        raise BadCertificate("cannot be read") from exc
    _check_names(extensions, identifier)
    _check_acme_identifier(extensions, authorization)
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as exc:
        raise BadCertificate("is not self-signed") from exc


def _check_names(extensions: x509.Extensions, identifier: Identifier) -> None:
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound as exc:
        raise BadCertificate("has no subject alternative name") from exc
    if len(names) != 1:
        raise BadCertificate(f"has {len(names)} subject alternative names instead of one")
    [name] = names
    if identifier.type is IdentifierType.IP:
        right = isinstance(name, x509.IPAddress) and name.value == ip_address(identifier.value)
    else:
        right = isinstance(name, x509.DNSName) and name.value.lower() == identifier.value.lower()
    if not right:
        raise BadCertificate(f"has a subject alternative name that is not {identifier}")


def _check_acme_identifier(extensions: x509.Extensions, authorization: str) -> None:
    try:
        extension = extensions.get_extension_for_oid(_ACME_IDENTIFIER)
    except x509.ExtensionNotFound as exc:
        raise BadCertificate(f"has no acmeIdentifier extension ({ACME_IDENTIFIER_OID})") from exc
    if not extension.critical:
        raise BadCertificate("has an acmeIdentifier extension that is not critical")
    if not isinstance(extension.value, x509.UnrecognizedExtension):
        raise BadCertificate("has an acmeIdentifier extension that cannot be read")
    if extension.value.value != acme_identifier(authorization):
        raise BadCertificate("has an acmeIdentifier extension for another key authorization")


def _presented(connection: StreamConnection, where: str) -> bytes:
    """The certificate, as DER. TLS 1.2 at least is the context's work; that the protocol was agreed on is
    ours."""
    session = connection.ssl_object
    if session is None or session.selected_alpn_protocol() != ACME_TLS_1:
        raise ValidationTLS(f"{where}: the server did not agree on the protocol {ACME_TLS_1}")
    der = session.getpeercert(binary_form=True)
    if not der:
        raise ValidationTLS(f"{where}: the server has no certificate")
    return der


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The certificate proves something else than a chain would: check_certificate looks at it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ACME_TLS_1])
    return context
