"""Connections: how many, how long for which part of a request, and what ends them.

aiohttp's protocol class waits for a request's head and body as long as the client likes. The class here
says at every moment in which phase its connection is and until when that may last; one sweep over all
connections enforces it, so that a request costs no timers of its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from gateway.config.schema import ServerSettings
from gateway.head import Head
from gateway.metrics import Metrics
from gateway.tls import TLSState, exporter_binding, unique_binding
from protocols.http import ChannelBinding, PeerIdentity

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader
    from aiohttp.web import Server as Manager

_log = structlog.get_logger("certgate.server")

# Phases of a connection. Plain numbers: they are compared several times for each request.
IDLE = 0
"""Between two requests; aiohttp's keep-alive timer ends it."""
HEAD = 1
"""A request's head is awaited: since the connection opened, or since the first byte after a pause."""
BODY = 2
"""The rest of a body is awaited."""
WORK = 3
"""The operation runs."""
WRITE = 4
"""The answer waits for the client to read."""
LATE = 5
"""The client has been told that it took too long; the operation may still run."""
LINGER = 6
"""The answer is out before the body was in; aiohttp reads and drops the rest for a while, then closes."""

NEVER = float("inf")
_ids = itertools.count(1)


class BodyTooSlow(Exception):
    """The body did not come within its time."""


class Incoming:
    """A parsed request head with its body to come: all that aiohttp makes of a request here.

    `body` is None until it has been read; the hot lane has it from the beginning.
    """

    __slots__ = ("_task", "body", "connection", "message", "payload", "writer")

    message: RawRequestMessage | Head
    body: bytes | None

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        connection: Connection,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        self.message = message
        self.body = None
        self.payload = payload
        self.connection = connection
        self.writer = writer
        self._task = task

    def _cancel(self, exc: BaseException) -> None:
        """The connection is lost (called by aiohttp): nobody will send the rest of the body."""
        self.payload.set_exception(exc)


class Connection(RequestHandler):
    """One connection: aiohttp's protocol with deadlines, the peer's identity and the channel bindings."""

    __slots__ = (
        "_version",
        "address",
        "due",
        "head_bytes",
        "id",
        "incoming",
        "late",
        "opened",
        "peer",
        "phase",
        "registry",
        "tls",
    )

    def __init__(
        self, manager: Manager, registry: Connections, address: str, tls: TLSState | None, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self.id = next(_ids)
        self.registry = registry
        self.address = address
        self.tls = tls
        self.peer: PeerIdentity | None = None
        self._version: str | None = None
        self.phase = HEAD
        self.due = NEVER
        self.head_bytes = 0
        self.opened = False
        self.incoming: Incoming | None = None
        self.late: Callable[[], bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open, its TLS handshake done."""
        super().connection_made(transport)
        self.due = self._loop.time() + self.registry.settings.header_timeout_seconds
        self.opened = True
        self.registry.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone. An operation that runs goes on: no client stops an issuance half way."""
        if self.phase in (WORK, LATE) and self._task_handler is not None:
            self.registry.keep(self._task_handler)
        self.registry.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. Starts the clock of a head, and bounds its size."""
        phase = self.phase
        if phase == IDLE:
            self.phase = HEAD
            self.due = self._loop.time() + self.registry.settings.header_timeout_seconds
            self.head_bytes = 0
        self.head_bytes += len(data)
        super().data_received(data)
        if self.phase == HEAD:
            if self._messages:
                self.phase = BODY  # the head is whole; the handler begins in the next turn of the event loop
            elif self.head_bytes > self.registry.settings.max_header_bytes:
                self._end(b"431 Request Header Fields Too Large", "head too large")
        elif phase == BODY and self._messages and self.incoming and not self.incoming.payload.is_eof():
            # A chunk that cannot be read shows up as a message of its own, behind a body that never ends.
            self.incoming.payload.set_exception(ValueError("the body cannot be read"))

    def expire(self) -> None:
        """The time of the present phase is over."""
        phase, self.due = self.phase, NEVER
        if phase == HEAD:
            if self.head_bytes:
                self._end(b"408 Request Timeout", "head too slow")
            else:
                self.registry.metrics.http_rejected.labels("idle").inc()
                self.force_close()
        elif phase == BODY and self.incoming is not None:
            self.incoming.payload.set_exception(BodyTooSlow())
        elif phase == WORK and self.late is not None and self.transport is not None:
            self.phase = LATE
            self.transport.write(self.late())
            self.force_close()
        elif phase == WRITE and self.transport is not None:
            self.registry.metrics.http_rejected.labels("slow reader").inc()
            self.transport.abort()

    def _end(self, status: bytes, reason: str) -> None:
        """Answer a head that will never be whole, and close."""
        self.registry.metrics.http_rejected.labels(reason).inc()
        if self.transport is not None:
            self.transport.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        self.force_close()

    def identity(self) -> PeerIdentity:
        """Who is at the other end, read from the TLS connection once."""
        if self.peer is None:
            certificate: bytes | None = None
            chain: tuple[bytes, ...] = ()
            if self.tls is not None and self.transport is not None:
                ssl_object = self.transport.get_extra_info("ssl_object")
                certificate = ssl_object.getpeercert(True)
                chain = _chain(ssl_object) if certificate is not None else ()
            self.peer = PeerIdentity(self.address, certificate, chain)
        return self.peer

    def tls_version(self) -> str | None:
        """TLSv1.2 or TLSv1.3, None without TLS. It cannot change: there is no renegotiation."""
        if self._version is None and self.tls is not None and self.transport is not None:
            self._version = self.transport.get_extra_info("ssl_object").version()
        return self._version

    def channel_binding(self, kind: ChannelBinding) -> bytes | None:
        """Bytes that tie a message to this TLS connection, or None where this kind does not exist here."""
        if self.tls is None or self.transport is None:
            return None
        if kind is ChannelBinding.SERVER_END_POINT:
            return self.tls.end_point
        ssl_object = self.transport.get_extra_info("ssl_object")
        return exporter_binding(ssl_object) if kind is ChannelBinding.EXPORTER else unique_binding(ssl_object)

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> tuple[Any, bool]:
        """Send an answer of ours (called by aiohttp). True tells that the client has gone."""
        try:
            await resp.send(self, request)
        except ConnectionError:
            return resp, True
        return resp, False

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> Any:
        """The answer to bytes that are no request (called by aiohttp, whose own quotes them in the log)."""
        if status >= 500:
            _log.error("no answer was made", fault=type(exc).__name__, exc_info=exc)
        too_long = isinstance(exc, LineTooLong)
        self.registry.metrics.http_rejected.labels("head too large" if too_long else "malformed").inc()
        return self.registry.refuse(431 if too_long else status)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What aiohttp could not do with a connection, without the bytes that it was about."""
        fault = kw.get("exc_info")
        _log.warning("connection failed", fault=type(fault).__name__ if fault else "", connection=self.id)


class Connections:
    """Every connection of a server, its listeners together: caps, deadlines, drain."""

    def __init__(self, settings: ServerSettings, metrics: Metrics, refuse: Callable[[int], Any]) -> None:
        self.settings = settings
        self.metrics = metrics
        self.refuse = refuse
        self.draining = False
        self.waiting: list[Callable[[], None]] = []
        """Listeners that wait for room; each is called once when a connection ends."""
        self._open: set[Connection] = set()
        self._total = 0
        self._by_address: dict[str, int] = {}
        self._orphans: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        shortest = min(settings.header_timeout_seconds, settings.body_timeout_seconds, settings.request_timeout_seconds)
        self._interval = min(1.0, shortest / 4)
        metrics.http_connections.set_function(lambda: self._total)

        self.now: Callable[[], float] = asyncio.get_running_loop().time

    def start(self) -> None:
        """Begin to enforce deadlines."""
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._sweep)

    def stop(self) -> None:
        """Enforce no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [each for each in self._open if each.due < now]:
            try:
                connection.expire()
            except Exception as fault:  # noqa: BLE001 - one connection must not end the deadlines of all others
                _log.error("a deadline could not be enforced", fault=type(fault).__name__, exc_info=fault)
        if self.waiting:
            self.has_room()
        self._timer = loop.call_later(self._interval, self._sweep)

    def has_room(self) -> bool:
        """Whether one more connection may be taken. When not, an idle one is closed, to make room soon."""
        if self._total < self.settings.max_connections:
            return True
        idle = next((each for each in self._open if each.phase == IDLE), None)
        if idle is not None:
            idle.force_close()
        return False

    @property
    def room(self) -> int:
        """How many more connections may be taken."""
        return self.settings.max_connections - self._total

    def enter(self, address: str) -> bool:
        """Count a connection that was accepted; False when its address has too many."""
        key = _counted(address)
        if key and self._by_address.get(key, 0) >= self.settings.max_connections_per_address:
            self.metrics.http_rejected.labels("connections of address").inc()
            return False
        if key:
            self._by_address[key] = self._by_address.get(key, 0) + 1
        self._total += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was counted has ended, or its handshake failed."""
        self._total -= 1
        key = _counted(address)
        if key:
            left = self._by_address[key] - 1
            if left:
                self._by_address[key] = left
            else:
                del self._by_address[key]
        waiting, self.waiting = self.waiting, []
        for resume in waiting:
            resume()

    def add(self, connection: Connection) -> None:
        """The connection is open."""
        self._open.add(connection)

    def remove(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection in self._open:
            self._open.discard(connection)
            self.leave(connection.address)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold an operation whose client has gone until it has finished; the event loop holds it weakly."""
        self._orphans.add(task)
        task.add_done_callback(self._orphans.discard)

    async def drain(self, seconds: float) -> int:
        """Let requests in flight finish, close what is idle, then cut the rest. Returns how many were cut."""
        self.draining = True
        for connection in list(self._open):
            if connection.phase == IDLE or (connection.phase == HEAD and not connection.head_bytes):
                connection.force_close()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        # Looked at again and again, not told by an event: the hot path must not pay for the end.
        while (self._open or self._orphans) and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        cut = len(self._open) + len(self._orphans)
        for connection in list(self._open):
            if connection.transport is not None:
                connection.transport.abort()
        return cut


def _chain(ssl_object: Any) -> tuple[bytes, ...]:
    """Certificates that the client sent beside its own. Public in Python 3.13, an inner object's before."""
    ask = getattr(ssl_object, "get_unverified_chain", None) or ssl_object._sslobj.get_unverified_chain
    sent = [each if isinstance(each, bytes) else each.public_bytes(_ENCODING_DER) for each in ask() or ()]
    return tuple(sent[1:])


_ENCODING_DER = 2  # _ssl.ENCODING_DER, which the public module does not name
_NOT_COUNTED = frozenset({"127.0.0.1", "::1", ""})
_keys: dict[str, str] = {}


def _counted(address: str) -> str:
    """What an address is counted under: itself, the /64 of an IPv6 address, nothing for loopback."""
    if address in _NOT_COUNTED:
        return ""
    if ":" not in address:
        return "" if address.startswith("127.") else address
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return _counted(str(parsed.ipv4_mapped))
    return parsed.exploded[:19]
