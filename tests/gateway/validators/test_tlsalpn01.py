"""The tls-alpn-01 validator against real TLS servers, and its certificate check case by case."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.rcode
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ca_core.names import Identifier, IdentifierType
from gateway.dial import AddressGuard, Dialer
from gateway.validators.dns import Resolver
from gateway.validators.tlsalpn01 import BadCertificate, TLSALPN01Validator, check_certificate, server_name
from policy.problems import ValidationConnection, ValidationDNS, ValidationIncorrectResponse, ValidationTLS
from policy.validation import Attempt
from policy.validation.challenges import acme_identifier
from tests.gateway.validators.servers import NameServer, free_port, tcp_server

AUTHORIZATION = "token.thumb"
NAME = Identifier(IdentifierType.DNS, "a.example")
ADDRESS = Identifier(IdentifierType.IP, "127.0.0.1")
OID = "1.3.6.1.5.5.7.1.31"
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


DIGEST = acme_identifier(AUTHORIZATION)


def extension(value: bytes = DIGEST, oid: str = OID) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def with_extension(value: bytes, *, critical: bool = True, oid: str = OID) -> bytes:
    return der(make(extensions=[(extension(value, oid), critical)]))


def make(
    names: list[x509.GeneralName] | None = None,
    extensions: list[tuple[x509.ExtensionType, bool]] | None = None,
    *,
    issuer: str = "",
    signer: ec.EllipticCurvePrivateKey = KEY,
) -> x509.Certificate:
    """What RFC 8737 section 3 asks for, but for what is given. Long expired, which does not matter."""
    then = datetime(2020, 1, 1, tzinfo=UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "challenge")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(then)
        .not_valid_after(then + timedelta(days=1))
    )
    if names is None:
        names = [x509.DNSName("a.example")]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for value, critical in [(extension(), True)] if extensions is None else extensions:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(signer, hashes.SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _twice(oid_end: bytes) -> bytes:
    """A certificate with one extension twice: made with two that differ in the last octet of the OID."""
    near = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID[:-2] + "99"), acme_identifier("x.y"))
    certificate = der(make(extensions=[(extension(), True), (near, True)]))
    return certificate.replace(oid_end + b"\x63", oid_end + b"\x1f")


RIGHT = der(make())
IP_NAME = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))

REFUSED = {
    "garbage": (b"garbage", NAME, "cannot be read"),
    "no names": (der(make([])), NAME, "no subject alternative name"),
    "another name": (der(make([x509.DNSName("b.example")])), NAME, "not dns:a.example"),
    "a wildcard": (der(make([x509.DNSName("*.example")])), NAME, "not dns:a.example"),
    "two names": (der(make([x509.DNSName("a.example"), x509.DNSName("b.example")])), NAME, "2 subject"),
    "the name twice": (der(make([x509.DNSName("a.example")] * 2)), NAME, "2 subject"),
    "a name of another type": (der(make([x509.RFC822Name("a@a.example")])), NAME, "not dns"),
    "an address for a name": (der(make([IP_NAME])), NAME, "not dns"),
    "a name for an address": (der(make([x509.DNSName("127.0.0.1")])), ADDRESS, "not ip"),
    "the reverse name for an address": (der(make([x509.DNSName(server_name(ADDRESS))])), ADDRESS, "not ip"),
    "another address": (der(make([x509.IPAddress(ipaddress.ip_address("127.0.0.2"))])), ADDRESS, "not ip"),
    "no acmeIdentifier": (der(make(extensions=[])), NAME, "no acmeIdentifier"),
    "the OID of the draft": (with_extension(DIGEST, oid="1.3.6.1.5.5.7.1.30.1"), NAME, "no acmeIdentifier"),
    "not critical": (with_extension(DIGEST, critical=False), NAME, "not critical"),
    "another authorization": (with_extension(acme_identifier("token.other")), NAME, "another key auth"),
    "the digest without its header": (with_extension(DIGEST[2:]), NAME, "another key auth"),
    "something behind the digest": (with_extension(DIGEST + b"\x00"), NAME, "another key auth"),
    "acmeIdentifier twice": (_twice(bytes.fromhex("06082b060105050701")), NAME, "twice"),
    "signed by another key": (der(make(signer=OTHER_KEY)), NAME, "not self-signed"),
    "issued by another name": (der(make(issuer="other")), NAME, "not self-signed"),
}  # fmt: skip


def test_right_certificates_pass() -> None:
    """RFC 8737 section 3, RFC 8738 section 4; names compare without regard to case. Rows: R27."""
    check_certificate(der(make()), NAME, AUTHORIZATION)
    check_certificate(der(make([x509.DNSName("A.Example")])), NAME, AUTHORIZATION)
    check_certificate(der(make([IP_NAME])), ADDRESS, AUTHORIZATION)


@pytest.mark.parametrize(("certificate", "identifier", "said"), REFUSED.values(), ids=REFUSED)
def test_wrong_certificates_are_refused(certificate: bytes, identifier: Identifier, said: str) -> None:
    """Each of these has been accepted by somebody (T-10). Rows: R27, T-10."""
    with pytest.raises(BadCertificate, match=said):
        check_certificate(certificate, identifier, AUTHORIZATION)


@given(st.data())
def test_damaged_certificates_are_refused(data: st.DataObject) -> None:
    """The signature covers everything but itself, so no change passes. Rows: T-10."""
    wire = bytearray(RIGHT)
    place = data.draw(st.integers(0, len(wire) - 80))
    wire[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadCertificate):
        check_certificate(bytes(wire), NAME, AUTHORIZATION)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(garbage: bytes) -> None:
    with pytest.raises(BadCertificate):
        check_certificate(garbage, NAME, AUTHORIZATION)


def test_server_name_of_an_address_is_its_reverse_name() -> None:
    """RFC 8738 section 6."""
    assert server_name(NAME) == "a.example"
    assert server_name(Identifier(IdentifierType.IP, "192.0.2.1")) == "1.2.0.192.in-addr.arpa"
    six = server_name(Identifier(IdentifierType.IP, "2001:db8::1"))
    assert six.startswith("1.0.0.0.")
    assert six.endswith(".8.b.d.0.1.0.0.2.ip6.arpa")


class TLSServer:
    """A TLS server that notes the names it is asked for."""

    def __init__(self, folder: Path, certificate: x509.Certificate) -> None:
        pem = folder / "server.pem"
        key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(key + certificate.public_bytes(Encoding.PEM))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.context.set_alpn_protocols(["acme-tls/1"])
        self.asked: list[str | None] = []
        self.context.sni_callback = self._note

    def _note(self, session: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.asked.append(name)


async def _idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@contextlib.asynccontextmanager
async def serving(server: TLSServer) -> AsyncIterator[int]:
    async with tcp_server(_idle, context=server.context) as port:
        yield port
        await asyncio.sleep(0.01)


@pytest.fixture
def validator(names: NameServer, resolver: Resolver) -> Callable[[int], TLSALPN01Validator]:
    names.records["a.example", "A"] = ["127.0.0.1"]
    guard = AddressGuard((ipaddress.ip_network("127.0.0.0/8"),))
    return lambda port: TLSALPN01Validator(Dialer(resolver, guard), port=port, deadline_seconds=3)


def attempt(identifier: Identifier = NAME) -> Attempt:
    return Attempt(identifier, False, "tls-alpn-01", "token", AUTHORIZATION, "")


Validators = Callable[[int], TLSALPN01Validator]


async def test_right_server_proves_control(validator: Validators, tmp_path: Path) -> None:
    """Rows: A7."""
    server = TLSServer(tmp_path, make())
    async with serving(server) as port:
        evidence = await validator(port).validate(attempt())
    assert (evidence.method, evidence.target) == ("tls-alpn-01", f"127.0.0.1:{port}")
    assert server.asked == ["a.example"]


async def test_address_is_asked_by_its_reverse_name(validator: Validators, tmp_path: Path) -> None:
    """RFC 8738 section 6. Rows: R26, A7."""
    server = TLSServer(tmp_path, make([IP_NAME]))
    async with serving(server) as port:
        await validator(port).validate(attempt(ADDRESS))
    assert server.asked == ["1.0.0.127.in-addr.arpa"]


async def test_wrong_certificate_is_an_incorrect_response(validator: Validators, tmp_path: Path) -> None:
    server = TLSServer(tmp_path, make([x509.DNSName("b.example")]))
    async with serving(server) as port:
        with pytest.raises(ValidationIncorrectResponse, match=r"not dns:a\.example"):
            await validator(port).validate(attempt())


@pytest.mark.parametrize("protocols", [[], ["h2", "http/1.1"]])
async def test_server_without_the_protocol_proves_nothing(
    validator: Validators, tmp_path: Path, protocols: list[str]
) -> None:
    """The right certificate is not enough: on shared hosting anybody may upload one (T-11). Rows: R27, T-11."""
    server = TLSServer(tmp_path, make())
    server.context.set_alpn_protocols(protocols)
    async with serving(server) as port:
        with pytest.raises(ValidationTLS):
            await validator(port).validate(attempt())


async def test_tls_1_1_proves_nothing(validator: Validators, tmp_path: Path) -> None:
    """RFC 8737 section 4: TLS 1.2 or higher. Rows: R27, T-10."""
    server = TLSServer(tmp_path, make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.context.minimum_version = ssl.TLSVersion.TLSv1_1
        server.context.maximum_version = ssl.TLSVersion.TLSv1_1
    server.context.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with serving(server) as port:
        with pytest.raises(ValidationTLS):
            await validator(port).validate(attempt())


async def test_tls_1_2_will_do(validator: Validators, tmp_path: Path) -> None:
    server = TLSServer(tmp_path, make())
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(server) as port:
        await validator(port).validate(attempt())


async def test_silence_and_plain_text_end_in_time(resolver: Resolver) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    dialer = Dialer(resolver, AddressGuard((ipaddress.ip_network("127.0.0.0/8"),)))
    for handler in (talk, _idle):
        async with tcp_server(handler) as port:
            with pytest.raises((ValidationTLS, ValidationConnection)):
                await TLSALPN01Validator(dialer, port=port, deadline_seconds=0.3).validate(attempt(ADDRESS))
            await asyncio.sleep(0.01)


async def test_nobody_there_and_no_dns(validator: Validators, names: NameServer) -> None:
    with pytest.raises(ValidationConnection, match="could not connect"):
        await validator(free_port()).validate(attempt())
    names.codes["a.example"] = dns.rcode.SERVFAIL
    with pytest.raises(ValidationDNS):
        await validator(443).validate(attempt())


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
async def test_addresses_that_may_not_be_called(validator: Validators, names: NameServer, address: str) -> None:
    """As identifier and behind a name (T-3). Rows: T-3."""
    with pytest.raises(ValidationConnection, match="not one that this server calls"):
        await validator(443).validate(attempt(Identifier(IdentifierType.IP, address)))
    names.records["a.example", "A"] = []
    names.records.pop(("a.example", "A"))
    names.records["a.example", "AAAA" if ":" in address else "A"] = [address]
    with pytest.raises(ValidationConnection, match="not one that this server calls") as caught:
        await validator(443).validate(attempt())
    assert address not in caught.value.detail
