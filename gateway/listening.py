"""One listener at work: its sockets, accepting, handshakes.

Connections are accepted here and not by the event loop, for three reasons: caps hold before a handshake costs
anything, running out of file descriptors pauses accepting instead of spinning, and every connection takes the
newest TLS context, which is how certificates and anchors are replaced without a stop.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from aiohttp import web

from gateway.config.schema import ServerSettings
from gateway.connection import Connection, Connections, Incoming
from gateway.http import Front
from gateway.lane import LaneConnection
from gateway.routing import Door
from gateway.tls import TLSProfile, TLSState

_log = structlog.get_logger("certgate.server")

BACKLOG = 1024
ACCEPT_AT_ONCE = 64
"""Connections taken in one turn of the event loop, so that a flood of them leaves turns for requests."""
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 0.2
_TLS_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One place to listen at.

    `origin` is how clients know it; a dedicated listener serves only the doors that name it.
    """

    name: str
    address: str
    port: int
    origin: str
    tls: TLSProfile | None = None
    dedicated: bool = False


class Listening:
    """A listener with its sockets, its handler and its present TLS context."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.sockets: list[socket.socket] = []
        self.front: Front | None = None
        self.tls: TLSState | None = None
        self._accepting = False
        self._handshakes: set[asyncio.Task[None]] = set()

    def serves(self, doors: Iterable[Door]) -> Iterable[Door]:
        """The doors that are on this listener."""
        name, dedicated = self.listener.name, self.listener.dedicated
        return (door for door in doors if (name in door.listeners if door.listeners is not None else not dedicated))

    def bind(self) -> None:
        """Open the listening sockets: every address that the configured one stands for."""
        listener = self.listener
        try:
            family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self.sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and listener.address != "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((listener.address, listener.port))
            sock.listen(BACKLOG)
        except OSError as exc:
            place = f"{listener.address} port {listener.port}"
            raise OSError(exc.errno, f"the {listener.name} listener cannot have {place}: {exc.strerror}") from exc

    def start(self, connections: Connections, settings: ServerSettings) -> None:
        """Begin to accept."""
        assert self.front is not None
        self._connections = connections
        self._settings = settings
        self._manager = web.Server(self.front, request_factory=Incoming)  # type: ignore[arg-type] # ours in and out
        self._loop = asyncio.get_running_loop()
        self._accepting = True
        self._watch()

    def stop(self) -> None:
        """Accept no more; connections that are open stay."""
        self._unwatch()
        self._accepting = False
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        for handshake in self._handshakes:
            handshake.cancel()

    def _watch(self) -> None:
        if self._accepting:
            for sock in self.sockets:
                self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _unwatch(self) -> None:
        for sock in self.sockets if self._accepting else ():
            self._loop.remove_reader(sock.fileno())

    def _accept(self, sock: socket.socket) -> None:
        """Take what waits, as long as there is room for it."""
        if not self._connections.has_room():
            self._unwatch()
            self._connections.waiting.append(self._watch)
            return
        for _ in range(min(ACCEPT_AT_ONCE, self._connections.room)):
            try:
                accepted, address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _OUT_OF_RESOURCES:
                    raise
                _log.error("connections cannot be accepted for the moment", reason=exc.strerror)
                self._connections.metrics.http_rejected.labels("descriptors").inc()
                self._unwatch()
                self._loop.call_later(_PAUSE_SECONDS, self._watch)
                return
            self._take(accepted, str(address[0]))

    def _take(self, accepted: socket.socket, address: str) -> None:
        if not self._connections.enter(address):
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._open(accepted, address))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _open(self, accepted: socket.socket, address: str) -> None:
        """Shake hands; from then on the connection counts itself out."""
        tls = self.tls
        settings = self._settings

        connection: Connection | None = None
        kind = LaneConnection if settings.hot_lane else Connection

        def protocol() -> Connection:
            nonlocal connection
            connection = kind(
                self._manager,
                self._connections,
                address,
                tls,
                loop=self._loop,
                keepalive_timeout=settings.idle_timeout_seconds,
                access_log=None,
                max_line_size=settings.max_header_bytes,
                max_field_size=settings.max_header_bytes,
                lingering_time=_TLS_CLOSE_SECONDS,
                auto_decompress=False,
            )
            return connection

        try:
            if tls is None:
                await self._loop.connect_accepted_socket(protocol, accepted)
            else:
                await self._loop.connect_accepted_socket(
                    protocol,
                    accepted,
                    ssl=tls.context,
                    ssl_handshake_timeout=settings.handshake_timeout_seconds,
                    ssl_shutdown_timeout=_TLS_CLOSE_SECONDS,
                )
        except (OSError, ssl.SSLError, TimeoutError) as exc:
            self._connections.metrics.http_rejected.labels("handshake").inc()
            _log.debug("handshake failed", listener=self.listener.name, peer=address, reason=type(exc).__name__)
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            if connection is None or not connection.opened:
                self._connections.leave(address)
