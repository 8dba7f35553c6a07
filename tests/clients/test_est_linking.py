"""Requests that are linked to their TLS connection, over a real one (E16, RFC 7030 section 3.5, RFC 9266).

No packaged client computes the binding: libest's estclient does and is in no distribution. So Python's own TLS does.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.clients.gate import Gate

pytestmark = pytest.mark.client


def linked(name: str, binding: bytes) -> bytes:
    """A certification request with a channel binding, as EST has it: base64 of base64 of DER."""
    builder = x509.CertificateSigningRequestBuilder()
    builder = builder.subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, base64.b64encode(binding))
    return base64.b64encode(builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER))


class Connection(http.client.HTTPSConnection):
    """A connection to the EST door, of one TLS version, that enrols with quickstart's password."""

    def __init__(self, gate: Gate, version: ssl.TLSVersion) -> None:
        est = gate.told["est"]
        origin, _, self.root = est["url"].partition("//")[2].partition("/")
        context = gate.tls()
        context.maximum_version = version
        super().__init__(origin, context=context, timeout=20)
        self.user = base64.b64encode(f"{est['username']}:{est['password']}".encode()).decode()
        self.connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        self.tls: ssl.SSLSocket = self.sock

    def enrol(self, body: bytes) -> tuple[int, str]:
        headers = {"Content-Type": "application/pkcs10", "Authorization": f"Basic {self.user}"}
        self.request("POST", f"/{self.root}/simpleenroll", body, headers)
        answer = self.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def connect(gate: Gate) -> Iterator[Callable[[ssl.TLSVersion], Connection]]:
    """Opens connections, and closes them in the end."""
    with ExitStack() as opened:
        yield lambda version: opened.enter_context(closing(Connection(gate, version)))


def test_tls_unique_of_this_connection_and_of_no_other(connect: Callable[[ssl.TLSVersion], Connection]) -> None:
    """TLS 1.2: the right one enrols; one that was caught on another connection is refused."""
    first, second = (connect(ssl.TLSVersion.TLSv1_2) for _ in range(2))
    binding = first.tls.get_channel_binding("tls-unique") or b""
    assert binding
    request = linked("linked-1.certgate.test", binding)
    status, text = second.enrol(request)
    assert (status, "channel binding" in text) == (400, True), text
    status, text = first.enrol(request)
    assert status == 200, text


def test_without_its_exporter_the_server_refuses_on_tls_1_3(connect: Callable[[ssl.TLSVersion], Connection]) -> None:
    """TLS 1.3: compared with the exporter where the extra is installed, refused where not, never passed over."""
    connection = connect(ssl.TLSVersion.TLSv1_3)
    status, text = connection.enrol(linked("linked-2.certgate.test", b"anything at all"))
    assert status == 400, text
    assert "channel binding" in text or "no exporter value for TLS 1.3" in text


def test_the_exporter_of_this_connection_and_of_no_other(connect: Callable[[ssl.TLSVersion], Connection]) -> None:
    """TLS 1.3 with the extra "exporter": EXPORTER-Channel-Binding, 32 octets (RFC 9266 section 2)."""
    sslkeylog = pytest.importorskip("sslkeylog", reason='the extra "exporter" is not installed')
    first, second = (connect(ssl.TLSVersion.TLSv1_3) for _ in range(2))
    request = linked(
        "linked-3.certgate.test",
        sslkeylog.export_keying_material(first.tls, 32, "EXPORTER-Channel-Binding", b""),
    )
    assert second.enrol(request)[0] == 400
    status, text = first.enrol(request)
    assert status == 200, text
