"""The guarded way out: which addresses may be called, and that nothing else ever is."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import is_address
from gateway.dial import AddressGuard, AddressRefused, ConnectFailed, Dialer, Peer, PlainConnection
from tests.gateway.validators.servers import free_port, has_ipv6, tcp_server

LOOPBACK = AddressGuard((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00::1",
]

REFUSED = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "link-local": ["169.254.1.1", "fe80::1"],
    "CGNAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.1", "198.18.0.1", "198.19.255.255", "4000::1",
                 "fec0::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "metadata": ["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
                 "fd00:ec2::254"],
    "ULA": ["fc00::1", "fd12:3456::1"],
    "v4-mapped": ["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"],
    "v4-compatible": ["::127.0.0.1", "::8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::7f00:1"],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "ORCHID": ["2001:10::1", "2001:20::1"],
    "discard": ["100::1"],
    "SRv6": ["5f00::1"],
    "zone": ["fe80::1%eth0", "::1%lo", "2606:4700::1111%eth0", "1.1.1.1%eth0"],
    "odd spelling": ["", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.0.0.1 ",
                     "[::1]", "1.1.1.1\x00"],
}  # fmt: skip


class StaticResolver:
    """Answers from a table; of several answers for a name, each is given once, the last for ever."""

    def __init__(self, **answers: list[tuple[str, ...]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def addresses(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        answers = self.answers[name.partition(".")[0]]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert AddressGuard().check(address) is True
    assert AddressGuard(True).check(address) is True


@pytest.mark.parametrize("address", [address for group in REFUSED.values() for address in group])
def test_everything_else_is_refused(address: str) -> None:
    """IANA's registries of special-purpose addresses, and every way to write IPv4 into IPv6. Rows: T-3."""
    with pytest.raises(AddressRefused):
        AddressGuard().check(address)


@given(st.ip_addresses())
def test_what_is_called_is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """The standard library's registries agree, wherever the guard says yes."""
    try:
        AddressGuard().check(str(address))
    except AddressRefused:
        return
    assert address.is_global
    assert not address.is_multicast
    assert not address.is_reserved


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "127.0.0.1", "::1", "169.254.1.1", "100.64.0.1", "fd12::1", "fe80::1", "192.0.2.1"],
)
def test_true_opens_what_is_not_public(address: str) -> None:
    assert AddressGuard(True).check(address) is False


@pytest.mark.parametrize(
    "address",
    [*REFUSED["unspecified"], *REFUSED["multicast"], *REFUSED["metadata"], *REFUSED["zone"],
     "255.255.255.255",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::ffff:0.0.0.0", "::0.0.0.2"],
)  # fmt: skip
def test_true_opens_no_metadata_service_and_nothing_that_is_no_host(address: str) -> None:
    """Metadata services have to be named; what is no host can never be called."""
    with pytest.raises(AddressRefused):
        AddressGuard(True).check(address)


def test_a_list_opens_what_it_contains() -> None:
    guard = AddressGuard((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/8")))
    assert guard.check("127.0.0.2") is False
    assert guard.check("fd00::1") is False
    assert guard.check("8.8.8.8") is True
    for address in ("10.0.0.1", "::1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
        with pytest.raises(AddressRefused):
            guard.check(address)
    assert AddressGuard((ipaddress.ip_network("169.254.169.254/32"),)).check("169.254.169.254") is False
    for never in ("0.0.0.0", "224.0.0.1", "255.255.255.255"):
        with pytest.raises(AddressRefused):
            AddressGuard((ipaddress.ip_network("0.0.0.0/0"),)).check(never)


def test_an_opened_translation_prefix_still_judges_the_address_inside() -> None:
    """DNS64 (RFC 6147) for an IPv6-only server: the prefix is opened, the private addresses behind it not."""
    guard = AddressGuard((ipaddress.ip_network("64:ff9b::/96"),))
    assert guard.check("64:ff9b::808:808") is False
    for inside in ("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1"):
        with pytest.raises(AddressRefused):
            guard.check(inside)


def test_address_literals_are_told_from_names() -> None:
    assert is_address("192.0.2.1")
    assert is_address("2001:db8::1")
    for other in ("a.example", "[::1]", "127.1", "fe80::1%eth0", "", "1.2.3.4.5"):
        assert not is_address(other)


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()


async def test_connects_to_a_literal_and_to_a_name() -> None:
    resolver = StaticResolver(web=[("127.0.0.1",)])
    dialer = Dialer(resolver, LOOPBACK)
    async with tcp_server(echoing) as port:
        for host in ("127.0.0.1", "web.example"):
            connection = await dialer.connect(host, port)
            await connection.send(b"hello")
            assert await connection.receive(100) == b"hello"
            assert (connection.peer.address, connection.peer.port, connection.peer.public) == (
                "127.0.0.1",
                port,
                False,
            )
            assert str(connection.peer) == f"127.0.0.1:{port}"
            connection.close()
        streams = await dialer.open("web.example", port)
        await streams.send(b"again")
        assert await streams.receive(100) == b"again"
        assert streams.ssl_object is None
        streams.close()
    assert resolver.asked == ["web.example", "web.example"]


async def test_name_is_resolved_once_and_the_checked_address_is_the_one_called() -> None:
    """DNS rebinding: the second answer is never asked for, so it cannot matter (T-4). Rows: T-4."""
    resolver = StaticResolver(bind=[("127.0.0.1",), ("169.254.169.254",)])
    async with tcp_server(echoing) as port:
        connection = await Dialer(resolver, LOOPBACK).connect("bind.example", port)
        connection.close()
        assert connection.peer.address == "127.0.0.1"
        assert resolver.asked == ["bind.example"]
        with pytest.raises(AddressRefused):
            await Dialer(resolver, LOOPBACK).connect("bind.example", port)


async def test_refused_addresses_are_never_called_even_among_others() -> None:
    """A listener on an address that is not allowed sees nothing, also when it comes first."""
    seen: list[object] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))

    guard = AddressGuard((ipaddress.ip_network("127.0.0.1/32"),))
    async with tcp_server(note, "127.0.0.2") as port:
        resolver = StaticResolver(mixed=[("127.0.0.2", "127.0.0.1")], bad=[("127.0.0.2",)])
        with pytest.raises(ConnectFailed):
            await Dialer(resolver, guard).connect("mixed.example", port)
        with pytest.raises(AddressRefused):
            await Dialer(resolver, guard).connect("bad.example", port)
        with pytest.raises(AddressRefused):
            await Dialer(resolver, guard).connect("127.0.0.2", port)
        await asyncio.sleep(0.05)
    assert seen == []


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "a.0x7f", "1.2.3.4.", "fe80::1%eth0", "[::1]", "::1%lo"],
)
async def test_odd_spellings_of_addresses_are_not_names(host: str) -> None:
    """Some resolvers turn these into addresses; here they reach none."""
    resolver = StaticResolver()
    with pytest.raises(AddressRefused):
        await Dialer(resolver, LOOPBACK).connect(host, 80)
    assert resolver.asked == []


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback address here")
async def test_ipv6_comes_first_and_ipv4_is_fallen_back_to() -> None:
    """Rows: A7."""
    resolver = StaticResolver(both=[("127.0.0.1", "::1")])
    dialer = Dialer(resolver, LOOPBACK)
    async with tcp_server(echoing, "::1") as port:
        connection = await dialer.connect("both.example", port)
        connection.close()
        assert str(connection.peer) == f"[::1]:{port}"
    async with tcp_server(echoing) as port:
        connection = await dialer.connect("both.example", port)
        connection.close()
        assert connection.peer.address == "127.0.0.1"


@pytest.fixture
def hole() -> Iterator[tuple[str, int]]:
    """An address that takes no more connections: its queue is full, so the kernel drops every SYN."""
    listener = socket.socket()
    listener.bind(("127.0.0.3", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    yield listener.getsockname()
    for sock in (*fillers, listener):
        sock.close()


async def test_silent_address_is_given_up_and_the_next_one_tried(hole: tuple[str, int]) -> None:
    """A black hole costs its own time limit, not the whole deadline (F22)."""
    resolver = StaticResolver(two=[(hole[0], "127.0.0.1")], one=[(hole[0],)])
    dialer = Dialer(resolver, LOOPBACK, connect_timeout_seconds=0.2)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", hole[1])
    async with server:
        connection = await dialer.connect("two.example", hole[1])
        connection.close()
        assert connection.peer.address == "127.0.0.1"
        await asyncio.sleep(0.01)
    with pytest.raises(ConnectFailed):
        await dialer.connect("one.example", hole[1])


async def test_only_so_many_addresses_are_tried() -> None:
    """A name with a hundred addresses is no port scanner."""
    tried: list[str] = []

    class CountingGuard(AddressGuard):
        def check(self, address: str) -> bool:
            tried.append(address)
            return super().check(address)

    resolver = StaticResolver(many=[tuple(f"127.0.1.{number}" for number in range(1, 100))])
    with pytest.raises(ConnectFailed) as caught:
        await Dialer(resolver, CountingGuard(True)).connect("many.example", free_port())
    assert len(tried) == 2
    assert caught.value.reason.count("refused the connection") == 2


async def test_failure_at_a_private_target_tells_nothing(hole: tuple[str, int]) -> None:
    """Refused and silent look alike, so that nobody maps a network with us (T-28); the log has the reason.

    Rows: T-28.
    """
    dialer = Dialer(StaticResolver(), LOOPBACK, connect_timeout_seconds=0.1)
    closed = free_port()
    with pytest.raises(ConnectFailed) as refused:
        await dialer.connect("127.0.0.1", closed)
    with pytest.raises(ConnectFailed) as silent:
        await dialer.connect(hole[0], hole[1])
    assert refused.value.detail.replace(str(closed), "N") == silent.value.detail.replace(str(hole[1]), "N")
    assert "127.0.0" not in refused.value.detail
    assert "refused the connection" in refused.value.reason
    assert "did not answer in time" in silent.value.reason


async def test_failure_at_a_public_target_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(peer: Peer, timeout: float) -> PlainConnection:
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("gateway.dial._connect", refuse)
    with pytest.raises(ConnectFailed, match=r"\[2606:4700::1111\]:80 refused the connection; 8\.8\.8\.8:80"):
        await Dialer(StaticResolver(web=[("8.8.8.8", "2606:4700::1111")]), AddressGuard()).connect("web.example", 80)


async def test_cancelled_connect_leaves_nothing_behind(hole: tuple[str, int]) -> None:
    """An unclosed socket would be a warning, and so an error here."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Dialer(StaticResolver(), LOOPBACK).connect(*hole)


async def test_tls_on_a_dialled_connection() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("web.example").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    dialer = Dialer(StaticResolver(web=[("127.0.0.1",)]), LOOPBACK)
    async with tcp_server(echoing, context=context) as port:
        connection = await dialer.connect_tls("web.example", port, trusting, server_name="web.example")
        await connection.send(b"hello")
        assert await connection.receive(100) == b"hello"
        assert connection.ssl_object is not None
        connection.close()
        with pytest.raises(ssl.SSLError):
            await dialer.connect_tls("web.example", port, trusting, server_name="other.example")
        await asyncio.sleep(0.01)


async def test_tls_with_somebody_who_does_not_answer_ends() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    dialer = Dialer(StaticResolver(), LOOPBACK)
    async with tcp_server(silent) as port:
        with pytest.raises(OSError, match="handshake"):
            await dialer.connect_tls(
                "127.0.0.1",
                port,
                ssl.create_default_context(),
                server_name=None,
                handshake_timeout_seconds=0.1,
            )
        await asyncio.sleep(0.01)
