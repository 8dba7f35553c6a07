"""gateway.middleware: who is believed, and what a trusted proxy may say."""

from __future__ import annotations

import base64

import pytest

from gateway.middleware import Proxies, request_ids
from protocols.http import PeerIdentity
from tests.gateway.conftest import EchoDoor, Start

PROXY = PeerIdentity("10.0.0.1")
FORWARDED = (
    b"GET /echo/m1/seen HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9, 203.0.113.7\r\n"
    b"X-Forwarded-Proto: https\r\nX-Request-Id: from-the-proxy\r\nClient-Cert: :AQID:\r\n\r\n"
)


def test_request_ids_are_unique() -> None:
    """Within a process by counting, over restarts by a random beginning."""
    first, second = request_ids(), request_ids()
    assert len({first() for _ in range(1000)} | {second() for _ in range(1000)}) == 2000


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::5", True), ("::ffff:10.0.0.1", True), ("", False)],
)
def test_trusted_networks(address: str, trusted: bool) -> None:
    """An IPv4 proxy on an IPv6 socket is the same proxy."""
    assert Proxies(("10.0.0.0/8", "2001:db8::/32")).trusts(address) is trusted


@pytest.mark.parametrize(
    ("field", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("garbage, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
    ],
)
def test_client_is_the_last_address_that_is_no_proxy(field: str, client: str) -> None:
    """What stands before it, the client wrote itself."""
    told = Proxies(("10.0.0.0/8",)).read({"x-forwarded-for": field}, PROXY)
    assert told.peer == PeerIdentity(client)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "not-an-address"},
        {"client-cert": "AQID"},
        {"client-cert": ":AQID:, :AQID:"},
        {"client-cert": ":A:"},
        {"client-cert": ":AQID:", "client-cert-chain": ", ".join([":AQID:"] * 11)},
    ],
)
def test_malformed_fields_are_refused(headers: dict[str, str]) -> None:
    """A proxy that is not understood must not be half believed."""
    with pytest.raises(ValueError):
        Proxies(("10.0.0.0/8",), client_certificates=True).read(headers, PROXY)


def test_client_certificate_of_a_proxy() -> None:
    """RFC 9440 sections 2.2 and 2.3; only with the setting."""
    value = f":{base64.b64encode(b'leaf').decode()}:"
    chain = f":{base64.b64encode(b'one').decode()}:, :{base64.b64encode(b'two').decode()}:"
    headers = {"client-cert": value, "client-cert-chain": chain}
    told = Proxies(("10.0.0.0/8",), client_certificates=True).read(headers, PROXY)
    assert told.peer == PeerIdentity("10.0.0.1", b"leaf", (b"one", b"two"))
    assert Proxies(("10.0.0.0/8",)).read(headers, PROXY).peer.certificate is None


async def test_nobody_is_believed_by_default(start: Start, echo: EchoDoor) -> None:
    """T25: Forwarded fields of a client are just fields. Rows: T-17."""
    gate = await start()
    reply = await gate.ask(FORWARDED)
    assert reply.field("X-Request-Id") != "from-the-proxy"
    assert echo.requests[0].peer == PeerIdentity("127.0.0.1")


async def test_trusted_proxy_is_believed(start: Start, echo: EchoDoor) -> None:
    """T25: Address, identifier, certificate and TLS of the connection that the proxy had."""
    gate = await start(trusted_proxies=("127.0.0.0/8",), client_certificate_header=True)
    reply = await gate.ask(FORWARDED)
    assert reply.field("X-Request-Id") == "from-the-proxy"
    assert echo.requests[0].peer == PeerIdentity("203.0.113.7", b"\1\2\3")
    assert gate.lines()[0]["peer"] == "203.0.113.7"
    secure = b"POST /echo/secure HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Forwarded-Proto: %s\r\n\r\n"
    assert (await gate.ask(secure % b"https")).status == 200
    assert (await gate.ask(secure % b"http")).status == 403
    bad = b"GET /echo/m1/seen HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: x\r\n\r\n"
    assert (await gate.ask(bad)).status == 400
