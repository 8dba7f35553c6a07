"""The one way out: every outbound connection resolves a name, checks the address, and connects to that
address.

Validation, webhooks, identity providers and upstream CAs all call through a Dialer, each with the
AddressGuard of its purpose. No other module opens a connection to a place that somebody else named.

Rule 1: what was checked is what is connected to; a name is resolved once per connection and never again.
Rule 2: every address is checked (gateway/addresses.py), also one given as a literal or by a redirect.
Rule 3: what is said about a place that is not public tells nothing about the network there.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Protocol

from gateway.addresses import AddressGuard, AddressRefused, DialError, is_address

__all__ = [
    "AddressGuard",
    "AddressRefused",
    "AddressResolver",
    "ByteStream",
    "ConnectFailed",
    "DialError",
    "Dialer",
    "Peer",
    "PlainConnection",
    "StreamConnection",
]

_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?", re.ASCII | re.DOTALL)


class ConnectFailed(DialError):
    """Every address that may be called was tried, and none took the connection."""


class AddressResolver(Protocol):
    """What a Dialer needs of DNS."""

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, in any order. Raises ValidationDNS."""
        ...


class ByteStream(Protocol):
    """A connection: bytes out, bytes in. Any method may raise OSError."""

    @property
    def peer(self) -> Peer:
        """Whom it leads to."""
        ...

    async def send(self, data: bytes) -> None:
        """Hand over all of `data`."""
        ...

    async def receive(self, limit: int) -> bytes:
        """At most `limit` bytes; none when the other side is done."""
        ...

    def close(self) -> None:
        """Give the connection up, at once."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a connection leads: the checked address, the port, and whether the address is a public one."""

    address: str
    port: int
    public: bool

    def __str__(self) -> str:
        return _host_port(self.address, self.port)


class PlainConnection:
    """TCP without streams: validation makes one short exchange, and asyncio's transports cost more than
    that.

    The descriptor is watched from `open` to the end, first for writing, then for reading: each change in between is
    one system call, while to begin and to end watching is several. One coroutine uses it at a time.
    """

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._watched = False

    async def open(self, timeout: float) -> None:
        """Connect to the peer. Raises OSError, and TimeoutError which is one."""
        try:
            self._sock.connect((self.peer.address, self.peer.port))
        except BlockingIOError:
            self._waiting = self._loop.create_future()
            timer = self._loop.call_later(timeout, self._late, self._waiting)
            self._loop.add_writer(self._sock.fileno(), self._connected)
            self._watched = True
            try:
                await self._waiting
            except BaseException:
                self._loop.remove_writer(self._sock.fileno())
                raise
            finally:
                timer.cancel()
            if code := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, "connect") from None

    async def send(self, data: bytes) -> None:
        """Hand over all of `data`."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unwatch()
            await self._loop.sock_sendall(self._sock, data[sent:])

    async def receive(self, limit: int) -> bytes:
        """At most `limit` bytes; none when the other side is done."""
        while True:
            try:
                return self._sock.recv(limit)
            except BlockingIOError:
                self._waiting = self._loop.create_future()
                if not self._watched:
                    self._loop.add_reader(self._sock.fileno(), self._readable)
                    self._watched = True
                await self._waiting

    def close(self) -> None:
        """Give the connection up, at once."""
        self._unwatch()
        self._sock.close()

    def detach(self) -> socket.socket:
        """The socket, for a transport that takes it over; this object is done."""
        self._unwatch()
        return self._sock

    def _connected(self) -> None:
        # In this order the descriptor stays watched.
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._loop.remove_writer(self._sock.fileno())
        self._wake()

    def _readable(self) -> None:
        if self._waiting is None or self._waiting.done():
            self._unwatch()  # nobody waits: the event would come again and again
        else:
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _late(self, waiting: asyncio.Future[None]) -> None:
        if not waiting.done():
            waiting.set_exception(TimeoutError())

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._sock.fileno())


class StreamConnection:
    """A connection on asyncio streams, with or without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        self.reader = reader
        self.writer = writer
        self.peer = peer

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """The TLS session, for what was negotiated and the peer's certificate."""
        found: ssl.SSLObject | None = self.writer.get_extra_info("ssl_object")
        return found

    async def send(self, data: bytes) -> None:
        """Hand over all of `data`."""
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, limit: int) -> bytes:
        """At most `limit` bytes; none when the other side is done."""
        return await self.reader.read(limit)

    def close(self) -> None:
        """Give the connection up, at once: a peer that never answers close_notify is not waited for."""
        self.writer.transport.abort()


class Dialer:
    """Connects to names and addresses that somebody else chose.

    At most `per_family` addresses of each family are tried, IPv6 first; each has `connect_timeout_seconds`.
    """

    def __init__(
        self,
        resolver: AddressResolver,
        guard: AddressGuard,
        *,
        connect_timeout_seconds: float = 2.0,
        per_family: int = 2,
    ) -> None:
        self._resolver = resolver
        self._guard = guard
        self._timeout = connect_timeout_seconds
        self._per_family = per_family

    async def connect(self, host: str, port: int) -> PlainConnection:
        """Connect to a name or an address literal. Raises AddressRefused, ConnectFailed, ValidationDNS."""
        candidates = await self._candidates(host)
        failures: list[tuple[str, str, bool]] = []
        for address, public in candidates:
            try:
                return await _connect(Peer(address, port, public), self._timeout)
            except OSError as exc:
                failures.append((address, _reason(exc), public))
        reason = "; ".join(f"{_host_port(address, port)} {why}" for address, why, _ in failures)
        if all(public for _, _, public in failures):
            raise ConnectFailed(f"could not connect: {reason}", reason=reason)
        # Closed, filtered and absent look alike from outside, or a client could map an internal network
        # with us.
        raise ConnectFailed(f"could not connect to port {port} of the target", reason=reason)

    async def connect_tls(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        *,
        server_name: str | None,
        handshake_timeout_seconds: float = 5.0,
    ) -> StreamConnection:
        """As `connect`, then a TLS handshake. Raises ssl.SSLError or OSError when only the handshake
        fails."""
        plain = await self.connect(host, port)
        sock = plain.detach()
        try:
            reader, writer = await asyncio.open_connection(
                sock=sock,
                ssl=context,
                # asyncio insists on a string; the empty one sends no SNI.
                server_hostname=server_name or "",
                ssl_handshake_timeout=handshake_timeout_seconds,
            )
        except BaseException:
            sock.close()
            raise
        return StreamConnection(reader, writer, plain.peer)

    async def open(self, host: str, port: int) -> StreamConnection:
        """As `connect`, for callers that want asyncio streams."""
        plain = await self.connect(host, port)
        sock = plain.detach()
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        return StreamConnection(reader, writer, plain.peer)

    async def _candidates(self, host: str) -> list[tuple[str, bool]]:
        """The addresses to try, each with whether it is public. Refused ones are left out; none left is an
        error."""
        if is_address(host):
            return [(host, self._guard.check(host))]
        if ":" in host or "%" in host or _ENDS_IN_NUMBER.fullmatch(host):
            # "2130706433", "0x7f.1" and "127.1" are addresses to some resolvers; a name never ends in a
            # number.
            raise AddressRefused("the target is neither a host name nor an IP address in its usual form")
        six: list[tuple[str, bool]] = []
        four: list[tuple[str, bool]] = []
        refused: AddressRefused | None = None
        for address in await self._resolver.addresses(host):
            family = six if ":" in address else four
            try:
                if len(family) < self._per_family:
                    family.append((address, self._guard.check(address)))
            except AddressRefused as exc:
                refused = exc
        if not six and not four:
            raise refused or ConnectFailed("the target has no address")
        return six + four


async def _connect(peer: Peer, timeout: float) -> PlainConnection:
    """A connection. Raises OSError, and TimeoutError which is one."""
    family = socket.AF_INET6 if ":" in peer.address else socket.AF_INET
    connection = PlainConnection(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK), peer)
    try:
        await connection.open(timeout)
    except BaseException:
        connection.close()
        raise
    return connection


_REASONS = {
    errno.ECONNREFUSED: "refused the connection",
    errno.ECONNRESET: "reset the connection",
    errno.ENETUNREACH: "is not reachable from here",
    errno.EHOSTUNREACH: "is not reachable from here",
    errno.EADDRNOTAVAIL: "is not reachable from here",
    errno.ETIMEDOUT: "did not answer in time",
}


def _reason(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "did not answer in time"
    return _REASONS.get(exc.errno or 0, "could not be connected to")


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
