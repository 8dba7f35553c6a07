"""gateway.server, listening and tls: certificates, client certificates, start, stop, reload."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config import ServerSettings, load
from gateway.listening import Listener
from gateway.logs import Logging
from gateway.metrics import Metrics
from gateway.routing import Door
from gateway.server import Server, listeners_of, run, settle
from gateway.tls import TLSProfile, end_point_binding, make_state
from protocols.http import ChannelBinding, HTTPRequest, HTTPResponse, Route, Transport
from tests.gateway.conftest import EchoDoor, Start
from tests.gateway.test_http import GET


def client_context(authority: trustme.CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


def der(pem: trustme.Blob) -> bytes:
    return x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)


async def test_tls_versions_and_suites(start: Start, trusting: ssl.SSLContext) -> None:
    """TLS 1.2 with ECDHE and AEAD, TLS 1.3; nothing older, nothing weaker."""
    gate = await start()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        trusting.minimum_version = trusting.maximum_version = version
        assert (await gate.ask(GET, "https", ssl=trusting)).status == 200
    trusting.minimum_version = trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    trusting.set_ciphers("AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await gate.connect("https", ssl=trusting)
    await asyncio.sleep(0.05)
    assert gate.count("http_rejected_total", reason="handshake") == 1
    assert gate.count("http_connections") == 0


async def test_client_certificate_is_optional(start: Start, echo: EchoDoor, authority: trustme.CA) -> None:
    """With one under the listener's anchors, the door has it in DER; without one, it has none."""
    gate = await start()
    clients = trustme.CA()
    gate.server.replace_anchors("mtls", [der(clients.cert_pem)])
    leaf = clients.issue_cert("device-1.example")
    assert (await gate.ask(GET, "mtls", ssl=client_context(authority, leaf))).status == 200
    assert (await gate.ask(GET, "mtls", ssl=client_context(authority))).status == 200
    assert (await gate.ask(GET, "https", ssl=client_context(authority, leaf))).status == 200
    seen = [request.peer.certificate for request in echo.requests]
    assert seen == [der(leaf.cert_chain_pems[0]), None, None]
    assert echo.requests[0].tls_version == "TLSv1.3"


async def test_client_certificate_of_somebody_else_is_refused(start: Start, authority: trustme.CA) -> None:
    """Not under an anchor: the handshake fails; an anchor added later lets it in."""
    gate = await start()
    strangers = trustme.CA()
    context = client_context(authority, strangers.issue_cert("device-1.example"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await gate.ask(GET, "mtls", ssl=context)
    gate.server.replace_anchors("mtls", [der(strangers.cert_pem)])
    assert (await gate.ask(GET, "mtls", ssl=context)).status == 200
    gate.server.replace_anchors("mtls", [])
    fresh = client_context(authority, strangers.issue_cert("device-1.example"))
    fresh.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await gate.ask(GET, "mtls", ssl=fresh)


async def test_intermediate_may_be_an_anchor(start: Start, echo: EchoDoor, authority: trustme.CA) -> None:
    """A mount names an issuing CA without its root; the chain that the client sent is handed on."""
    gate = await start()
    root = trustme.CA()
    issuing = root.create_child_ca()
    gate.server.replace_anchors("mtls", [der(issuing.cert_pem)])
    leaf = issuing.issue_cert("device-1.example")
    assert (await gate.ask(GET, "mtls", ssl=client_context(authority, leaf))).status == 200
    assert echo.requests[0].peer.chain == (der(issuing.cert_pem),)


async def test_channel_bindings(start: Start, echo: EchoDoor, authority: trustme.CA) -> None:
    """tls-unique on TLS 1.2 alone (EST proof of possession, RFC 7030 section 3.5), the end point on both."""
    gate = await start()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(authority)
        context.maximum_version = version
        client = await gate.connect("mtls", ssl=context)
        await client.send(GET)
        await client.reply()
        inside = client.writer.get_extra_info("ssl_object")
        request = echo.requests[-1]
        certificate = inside.getpeercert(True)
        expected = inside.get_channel_binding("tls-unique") if version == ssl.TLSVersion.TLSv1_2 else None
        assert request.channel_binding(ChannelBinding.TLS_UNIQUE) == expected
        end_point = request.channel_binding(ChannelBinding.SERVER_END_POINT)
        assert end_point == hashlib.sha256(certificate).digest()
        await client.close()
    assert echo.requests[0].connection_id != echo.requests[1].connection_id
    plain = await gate.ask(GET)
    assert plain.status == 200
    assert echo.requests[-1].channel_binding(ChannelBinding.SERVER_END_POINT) is None


async def test_a_resumed_session_has_no_tls_unique(start: Start, echo: EchoDoor, authority: trustme.CA) -> None:
    """E10, T18: sessions of TLS 1.2 are resumed; their tls-unique may be somebody else's (RFC 9148 section 9.1)."""
    gate = await start()
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    sessions: list[ssl.SSLSession | None] = [None]
    original = context.wrap_bio

    def wrap(*words: Any, **options: Any) -> ssl.SSLObject:
        return original(*words, **{**options, "session": sessions[-1]})

    context.wrap_bio = wrap  # type: ignore[method-assign] # asyncio has no way to hand a session in
    for resumed in (False, True):
        client = await gate.connect("mtls", ssl=context)
        await client.send(GET)
        await client.reply()
        inside = client.writer.get_extra_info("ssl_object")
        assert inside.session_reused is resumed
        assert (echo.requests[-1].channel_binding(ChannelBinding.TLS_UNIQUE) is None) is resumed
        sessions.append(inside.session)
        await client.close()


async def test_the_exporter_is_that_of_rfc_9266(
    start: Start, echo: EchoDoor, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E16: TLS 1.3 only, its label, no context, 32 octets; nothing at all without the extra."""
    gate = await start()
    asked: list[tuple[object, ...]] = []

    def export(connection: object, *words: object) -> bytes:
        asked.append(words)
        return bytes(32)

    for function, version, expected in (
        (export, ssl.TLSVersion.TLSv1_3, bytes(32)),
        (export, ssl.TLSVersion.TLSv1_2, None),
        (None, ssl.TLSVersion.TLSv1_3, None),
    ):
        monkeypatch.setattr("gateway.tls.export_keying_material", function)
        context = client_context(authority)
        context.maximum_version = version
        client = await gate.connect("mtls", ssl=context)
        await client.send(GET)
        await client.reply()
        assert echo.requests[-1].channel_binding(ChannelBinding.EXPORTER) == expected
        await client.close()
    assert asked == [(32, "EXPORTER-Channel-Binding", b"")]


async def test_both_sides_export_the_same(start: Start, echo: EchoDoor, authority: trustme.CA) -> None:
    """E16: with the extra, the value is the client's own."""
    sslkeylog = pytest.importorskip("sslkeylog", reason='the extra "exporter" is not installed')
    gate = await start()
    client = await gate.connect("mtls", ssl=client_context(authority))
    await client.send(GET)
    await client.reply()
    inside = client.writer.get_extra_info("ssl_object")
    expected = sslkeylog.export_keying_material(inside, 32, "EXPORTER-Channel-Binding", b"")
    assert echo.requests[-1].channel_binding(ChannelBinding.EXPORTER) == expected
    await client.close()


async def test_highest_tls_version_of_a_listener(start: Start, echo: EchoDoor, authority: trustme.CA) -> None:
    """A listener for old EST clients ends with TLS 1.2."""
    gate = await start(maximum="1.2")
    assert (await gate.ask(GET, "mtls", ssl=client_context(authority))).status == 200
    assert echo.requests[0].tls_version == "TLSv1.2"


def certificate(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, algorithm: object) -> x509.Certificate:
    name = x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, algorithm)  # type: ignore[arg-type]


def test_end_point_binding_follows_the_signature() -> None:
    """RFC 5929 section 4.1: the signature's hash; undefined where there is none."""
    p384 = certificate(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384())
    assert end_point_binding(p384) == p384.fingerprint(hashes.SHA384())
    assert end_point_binding(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None


async def test_sessions_are_resumed(start: Start, authority: trustme.CA) -> None:
    """A ticket spares the second handshake its signature."""
    gate = await start()
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def twice() -> bool:
        session = None
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", gate.server.port("https"))) as plain:
                secure = context.wrap_socket(plain, server_hostname="localhost", session=session)
                session, reused = secure.session, secure.session_reused
                secure.close()
        return bool(reused)

    assert await asyncio.to_thread(twice)


async def test_certificate_is_replaced_without_a_stop(start: Start, authority: trustme.CA) -> None:
    """New connections get the new certificate, old ones go on; a bad one changes nothing (F25)."""
    gate = await start()
    old = await gate.connect("https", ssl=client_context(authority))
    second = trustme.CA(key_type=trustme.KeyType.RSA)
    leaf = second.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    gate.server.replace_certificate(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
    assert (await gate.ask(GET, "https", ssl=client_context(second))).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        await gate.connect("https", ssl=client_context(authority))
    await old.send(GET)
    assert (await old.reply()).status == 200
    await old.close()
    other = second.issue_cert("127.0.0.1")
    with pytest.raises(ssl.SSLError):
        gate.server.replace_certificate(leaf.cert_chain_pems[0].bytes(), other.private_key_pem.bytes())
    with pytest.raises((ssl.SSLError, ValueError)):
        gate.server.replace_certificate(b"nothing", leaf.private_key_pem.bytes())
    assert (await gate.ask(GET, "https", ssl=client_context(second))).status == 200


async def test_handshake_that_never_ends_is_cut(start: Start) -> None:
    """A connection that says nothing on the TLS port."""
    gate = await start(handshake_timeout_seconds=0.2)
    client = await gate.connect("https")
    assert await client.closed(3) == b""
    await client.close()
    await asyncio.sleep(0.05)
    assert gate.count("http_connections") == 0


async def test_stop_finishes_what_is_in_flight(start: Start, echo: EchoDoor) -> None:
    """SIGTERM drains: the answer comes, with Connection: close; idle connections end; no new ones (F24)."""
    gate = await start(drain_seconds=5.0)
    port = gate.server.port("http")
    idle, busy = await gate.connect(), await gate.connect()
    await idle.send(GET)
    await idle.reply()
    await busy.send(b"GET /echo/slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await echo.begun.wait()
    stopping = asyncio.create_task(gate.server.stop())
    assert await idle.closed() == b""
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)
    assert not stopping.done()
    echo.release.set()
    reply = await busy.reply()
    assert (reply.body, reply.field("Connection")) == (b"done", "close")
    await stopping
    await idle.close()
    await busy.close()


async def test_stop_does_not_wait_for_ever(start: Start, echo: EchoDoor) -> None:
    """After drain_seconds connections are cut; the operation is not cancelled."""
    gate = await start(drain_seconds=0.2)
    client = await gate.connect()
    await client.send(b"GET /echo/slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await echo.begun.wait()
    await gate.server.stop()
    assert await client.closed() == b""
    assert not echo.finished
    echo.release.set()
    await asyncio.sleep(0.05)
    assert len(echo.finished) == 1
    await client.close()


async def test_two_servers_in_one_process(start: Start, echo: EchoDoor) -> None:
    """ "Several workers" is tested as two servers on one store."""
    first, second = await start(), await start()
    assert (await first.ask(GET)).status == (await second.ask(GET)).status == 200
    await first.server.stop()
    assert (await second.ask(GET)).status == 200
    assert second.count("http_requests_total", protocol="echo", operation="seen", code="200") == 2
    assert len(second.lines()) == 2


async def test_routes_are_reloaded(start: Start, echo: EchoDoor) -> None:
    """A new mount is served at once; two doors at one place are refused, and nothing changes."""
    gate = await start()

    async def hello(_: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200, b"hello", "text/plain")

    new = Door("new", echo.say, (Route(("GET",), "/new", "hello", hello, Transport.ANY),))
    ask = b"GET /new HTTP/1.1\r\nHost: a\r\n\r\n"
    assert (await gate.ask(ask)).status == 404
    gate.server.reload_routes([echo.door(), new])
    assert (await gate.ask(ask)).body == b"hello"
    with pytest.raises(ValueError, match=r"GET /new is claimed by new and by other"):
        gate.server.reload_routes([new, Door("other", echo.say, new.routes)])
    assert (await gate.ask(ask)).body == b"hello"


async def test_dedicated_listener_has_its_own_doors(start: Start, echo: EchoDoor) -> None:
    """The management door is on the management listener only, and no other is."""
    management = Door("management", echo.say, echo.door().routes, frozenset({"management"}))
    gate = await start(management)
    assert (await gate.ask(GET, "management")).status == 200
    assert (await gate.ask(GET, "http")).status == 404
    gate.server.reload_routes([echo.door()])
    assert (await gate.ask(GET, "management")).status == 404


async def test_port_that_is_taken_is_named(start: Start) -> None:
    """The operator reads which listener could not have which port."""
    gate = await start()
    port = gate.server.port("http")
    listener = Listener("https", "127.0.0.1", port, "https://a", TLSProfile())
    server = Server([listener], ServerSettings(), Logging("info", "json"), Metrics())
    with pytest.raises(OSError, match=rf"the https listener cannot have 127.0.0.1 port {port}: Address already in use"):
        server.bind()
    await server.stop()


async def test_tls_listener_needs_a_certificate() -> None:
    """Nothing is served before one is there."""
    listener = Listener("https", "127.0.0.1", 0, "https://a", TLSProfile())
    server = Server([listener], ServerSettings(), Logging("info", "json"), Metrics())
    assert server.bind()["https"] > 0
    with pytest.raises(ValueError, match="no certificate"):
        await server.start()
    await server.stop()


def test_listeners_of_a_configuration(tmp_path: Path) -> None:
    """HTTPS, HTTPS with client certificates, plain HTTP, management."""
    overrides = [("server.mtls_maximum_version", "1.2"), ("server.base_url", "https://ca.example")]
    listeners = {one.name: one for one in listeners_of(load(tmp_path, None, {}, overrides, protocols=()))}
    assert listeners["https"].origin == "https://ca.example"
    assert listeners["mtls"].tls == TLSProfile("1.2", "1.2", client_certificates=True)
    assert listeners["http"].tls is None
    assert listeners["management"].dedicated
    assert [one.port for one in listeners.values()] == [8443, 8444, 8080, 9090]


def test_bad_anchor_is_refused(authority: trustme.CA) -> None:
    """Before it is used for anything."""
    leaf = authority.issue_cert("localhost")
    with pytest.raises(ssl.SSLError):
        make_state(
            TLSProfile(client_certificates=True),
            leaf.cert_chain_pems[0].bytes(),
            leaf.private_key_pem.bytes(),
            [b"0"],
        )


@pytest.mark.parametrize("fast", [True, False])
def test_run_on_both_event_loops(fast: bool, authority: trustme.CA) -> None:
    """uvloop where it is there; asyncio's own loop does the same."""

    async def main() -> tuple[str, int, int]:
        echo = EchoDoor()
        listeners = [
            Listener("http", "127.0.0.1", 0, "http://a"),
            Listener("https", "127.0.0.1", 0, "https://a", TLSProfile()),
        ]
        server = Server(listeners, ServerSettings(), Logging("error", "json"), Metrics())
        leaf = authority.issue_cert("127.0.0.1")
        server.replace_certificate(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
        server.reload_routes([echo.door()])
        await server.start()
        statuses = []
        for name, context in (("http", None), ("https", client_context(authority))):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port(name), ssl=context)
            writer.write(GET)
            statuses.append(int((await reader.readline()).split()[1]))
            writer.close()
            await writer.wait_closed()
        await server.stop()
        return type(asyncio.get_running_loop()).__module__, *statuses  # type: ignore[return-value]

    module, plain, secure = run(main(), fast=fast)
    assert (plain, secure) == (200, 200)
    assert module.startswith("uvloop" if fast and "uvloop" in sys.modules else "asyncio")


def test_settle() -> None:
    """What start-up made is out of the collector's sight."""
    thresholds = gc.get_threshold()
    try:
        settle()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
