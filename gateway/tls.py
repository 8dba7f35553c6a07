"""TLS contexts of the listeners, what ties a message to a connection (channel bindings), the server's names."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from ca_core.names import Identifier, IdentifierType
from gateway.config import Config

try:
    # Reaches into CPython's connection for what its ssl module does not give: hence an extra ("exporter").
    from sslkeylog import export_keying_material
except ImportError:
    export_keying_material = None

# Forward secrecy and authenticated encryption only. TLS 1.3 suites are OpenSSL's own default.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class TLSProfile:
    """What a listener demands of TLS. `client_certificates` asks for one and goes on without, unless `required`."""

    minimum: str = "1.2"
    maximum: str = "1.3"
    client_certificates: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class TLSState:
    """A context with the certificate in it; a listener's new connections take the newest one."""

    context: ssl.SSLContext
    end_point: bytes | None


def make_state(profile: TLSProfile, certificate_pem: bytes, key_pem: bytes, anchors: Iterable[bytes] = ()) -> TLSState:
    """A context of this profile. `anchors` are DER certificates that client certificates must chain to.

    Raises ssl.SSLError or ValueError when certificate, key or an anchor cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[profile.minimum]
    context.maximum_version = VERSIONS[profile.maximum]
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    # One ticket lets a client resume; OpenSSL's two cost an encryption more in every handshake.
    context.num_tickets = 1
    _load_chain(context, certificate_pem, key_pem)
    if profile.client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED if profile.required else ssl.CERT_OPTIONAL
        # An issuing CA may be an anchor without its root: a mount trusts what it names.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        for anchor in anchors:
            context.load_verify_locations(cadata=anchor)
    return TLSState(context, end_point_binding(x509.load_pem_x509_certificate(certificate_pem)))


def unique_binding(connection: ssl.SSLObject) -> bytes | None:
    """tls-unique (RFC 5929 section 3), up to TLS 1.2 and for full handshakes only.

    RFC 9266 section 1 ends it with TLS 1.3. Two resumed sessions can be made to have the same value (triple
    handshake, RFC 9148 section 9.1), which the extended master secret prevents; whether that was agreed on OpenSSL
    does not tell us, so a resumed session has no such binding here.
    """
    if connection.version() == "TLSv1.3" or connection.session_reused:
        return None
    return connection.get_channel_binding("tls-unique")


def exporter_binding(connection: ssl.SSLObject) -> bytes | None:
    """tls-exporter (RFC 9266 section 2) of TLS 1.3; None where the extra "exporter" is not installed."""
    if export_keying_material is None or connection.version() != "TLSv1.3":
        return None
    return cast(bytes, export_keying_material(connection, 32, "EXPORTER-Channel-Binding", b""))


def _load_chain(context: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes) -> None:
    """Python's ssl takes file names only, so the key goes through memory that has one, never to a disk."""
    text = key_pem + b"\n" + certificate_pem
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:  # mode 0600
            file.write(text)
            file.flush()
            context.load_cert_chain(file.name)


def end_point_binding(certificate: x509.Certificate) -> bytes | None:
    """tls-server-end-point (RFC 5929 section 4.1): the certificate's hash, by its signature's hash algorithm.

    None for a signature without one (Ed25519, ML-DSA): the document leaves that case undefined.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


def tls_names(config: Config) -> list[Identifier]:
    """The names of the server's own certificate: the hosts of its origins, the configured ones, loopback's."""
    server = config.server
    hosts = [urlsplit(url).hostname or "" for url in (server.base_url, server.mtls_url)]
    hosts += list(server.names)
    if any(_is_loopback(host) for host in hosts):
        hosts += ["localhost", "127.0.0.1", "::1"]
    return [_identifier(host) for host in dict.fromkeys(hosts)]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _identifier(host: str) -> Identifier:
    try:
        return Identifier(IdentifierType.IP, str(ip_address(host)))
    except ValueError:
        return Identifier(IdentifierType.DNS, host.lower())
