"""All listeners together: routes, certificates and anchors that change, start and stop, the loop below."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog

from gateway.config.schema import Config, ServerSettings
from gateway.connection import Connections
from gateway.http import Front
from gateway.listening import Listener, Listening
from gateway.logs import Logging
from gateway.metrics import Metrics
from gateway.middleware import Observer, Proxies, request_ids
from gateway.routing import Door, RouteTable
from gateway.tls import TLSProfile, make_state

T = TypeVar("T")
_log = structlog.get_logger("certgate.server")


def listeners_of(config: Config) -> tuple[Listener, ...]:
    """The listeners that a configuration asks for."""
    server = config.server
    https = TLSProfile(minimum=server.tls_minimum_version)
    mtls = TLSProfile(server.tls_minimum_version, server.mtls_maximum_version, client_certificates=True)
    management = f"http://{server.management_listen}:{server.management_port}"
    return (
        Listener("https", server.listen, server.https_port, server.base_url, https),
        Listener("mtls", server.listen, server.mtls_port, server.mtls_url, mtls),
        Listener("http", server.listen, server.http_port, server.status_url),
        Listener("management", server.management_listen, server.management_port, management, dedicated=True),
    )


class Server:
    """Every listener of one process. Routes, certificate and anchors may be replaced while it runs."""

    def __init__(self, listeners: Sequence[Listener], settings: ServerSettings, log: Logging, metrics: Metrics) -> None:
        self._settings = settings
        self._listeners = {listener.name: Listening(listener) for listener in listeners}
        self._proxies = Proxies(settings.trusted_proxies, client_certificates=settings.client_certificate_header)
        self._log = log
        self._metrics = metrics
        self._connections: Connections | None = None
        self._doors: tuple[Door, ...] = ()
        self._certificate: tuple[bytes, bytes] | None = None
        self._anchors: dict[str, tuple[bytes, ...]] = {}
        self._ids = request_ids()

    def bind(self) -> dict[str, int]:
        """Take the ports, without accepting yet: listener -> port. Raises OSError with a sentence."""
        for listening in self._listeners.values():
            listening.bind()
        return {name: self.port(name) for name in self._listeners}

    def port(self, name: str) -> int:
        """The port of a listener, also where port 0 let the kernel choose."""
        return int(self._listeners[name].sockets[0].getsockname()[1])

    def replace_certificate(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Use this certificate (with its chain) for new connections.

        Raises ssl.SSLError or ValueError when it cannot be used; then nothing has changed.
        """
        certificate = (certificate_pem, key_pem)
        if certificate == self._certificate:
            return  # a new context would forget the tickets of the old one
        states = {
            listening: make_state(listening.listener.tls, *certificate, self._anchors.get(name, ()))
            for name, listening in self._listeners.items()
            if listening.listener.tls is not None
        }
        self._certificate = certificate
        for listening, state in states.items():
            listening.tls = state

    def replace_anchors(self, name: str, anchors: Iterable[bytes]) -> None:
        """Take client certificates under these anchors (DER), for new connections. Raises ssl.SSLError."""
        chosen = tuple(dict.fromkeys(anchors))
        if chosen == self._anchors.get(name):
            return
        listening = self._listeners[name]
        if self._certificate is not None and listening.listener.tls is not None:
            listening.tls = make_state(listening.listener.tls, *self._certificate, chosen)
        self._anchors[name] = chosen

    def reload_routes(self, doors: Iterable[Door]) -> None:
        """Serve these doors from now on. Raises ValueError when two claim one place; then nothing changes."""
        doors = tuple(doors)
        tables = {name: RouteTable(listening.serves(doors)) for name, listening in self._listeners.items()}
        self._doors = doors
        for name, table in tables.items():
            front = self._listeners[name].front
            if front is not None:
                front.table = table

    async def start(self) -> None:
        """Accept connections on every listener."""
        if any(not listening.sockets for listening in self._listeners.values()):
            self.bind()
        connections = Connections(self._settings, self._metrics, self._refuse)
        self._connections = connections
        hosts = frozenset(self._hosts())
        for listening in self._listeners.values():
            listener = listening.listener
            if listener.tls is not None and listening.tls is None:
                raise ValueError(f"the listener {listener.name} has no certificate; call replace_certificate first")
            listening.front = Front(
                origin=listener.origin,
                secure=listener.tls is not None,
                hosts=hosts,
                settings=self._settings,
                observer=Observer(listener.name, self._log, self._metrics),
                proxies=self._proxies,
                request_id=self._ids,
            )
        fronts = [listening.front for listening in self._listeners.values() if listening.front]
        self._metrics.http_inflight.set_function(lambda: sum(front.inflight for front in fronts))
        self.reload_routes(self._doors)
        connections.start()
        for listening in self._listeners.values():
            listening.start(connections, self._settings)

    def _hosts(self) -> Iterable[str]:
        yield from (name.lower() for name in self._settings.names)
        yield from (urlsplit(listening.listener.origin).hostname or "" for listening in self._listeners.values())

    def _refuse(self, status: int) -> Any:
        front = next(listening.front for listening in self._listeners.values() if listening.front)
        return front.writer.refuse(status)

    async def stop(self) -> None:
        """Accept no more, finish what is in flight within drain_seconds, close the rest."""
        for listening in self._listeners.values():
            listening.stop()
        if self._connections is not None:
            cut = await self._connections.drain(self._settings.drain_seconds)
            self._connections.stop()
            if cut:
                _log.warning("requests were cut off when the drain time was over", count=cut)


def settle() -> None:
    """Take what start-up made out of the garbage collector's sight: it stays, and visits cost 3 to 6 %."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def run(main: Coroutine[Any, Any, T], *, fast: bool = True) -> T:
    """Run the program's one coroutine, on uvloop where it is installed (`fast`), else on asyncio's loop."""
    factory = None
    if fast:
        try:
            import uvloop  # the extra "speed"
        except ImportError:
            pass
        else:
            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
