"""The hot lane: a request of the common form goes from its bytes to its answer without aiohttp's machinery.

The lane is taken only on a connection of which aiohttp has not seen a byte, and only by a whole request that
`gateway.head` could read; so its parser and ours never share a message. With the first request that is
anything else, the connection is aiohttp's for good. Deadlines, drain and limits are those of
`gateway.connection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from aiohttp.streams import EMPTY_PAYLOAD

from gateway.connection import NEVER, WORK, Connection, Connections, Incoming
from gateway.head import MAX_HEAD_BYTES, Head, read
from gateway.tls import TLSState

if TYPE_CHECKING:
    from aiohttp.web import Server as Manager

    from gateway.answer import Answer

_HELD_BYTES = 64 * 1024
"""What a client may send ahead while its request is served; then its connection is not read for a while."""


class Whole(Incoming):
    """A request that came whole."""

    __slots__ = ()

    def __init__(self, head: Head, body: bytes, connection: Connection) -> None:
        self.message = head
        self.body = body
        self.connection = connection
        self.payload = EMPTY_PAYLOAD


class LaneConnection(Connection):
    """A connection whose plain requests are served at once; the others are aiohttp's."""

    __slots__ = ("_front", "_held", "_held_bytes", "_lane", "_max_head_bytes", "_slow", "served")

    def __init__(
        self, manager: Manager, registry: Connections, address: str, tls: TLSState | None, **options: Any
    ) -> None:
        super().__init__(manager, registry, address, tls, **options)
        self._front = cast("Callable[[Incoming], Awaitable[Answer]]", manager.request_handler)
        self._max_head_bytes = min(MAX_HEAD_BYTES, registry.settings.max_header_bytes)
        self._lane: asyncio.Task[None] | None = None
        self._slow = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.served = 0
        """Requests that took the lane."""

    def data_received(self, data: bytes) -> None:
        """Bytes of a request: served here, held until the one before is answered, or aiohttp's."""
        if self._slow:
            super().data_received(data)
        elif self._lane is not None:
            self._hold(data)
        elif not self._force_close and not self._close:
            found = read(data, self._max_head_bytes)
            if found is None:
                self._slow = True
                super().data_received(data)
                return
            self.phase = WORK
            self.due = NEVER
            self.served += 1
            self._lane = self._loop.create_task(self._serve(Whole(found[0], found[1], self)))

    async def _serve(self, incoming: Whole) -> None:
        """Answer one request, then look at what came meanwhile."""
        keep_alive = False
        try:
            answer = await self._front(incoming)
            await answer.send(self, incoming)
            keep_alive = answer.keep_alive
        except ConnectionError:
            pass  # the client has gone, or has been told that it took too long
        except Exception as fault:  # noqa: BLE001 - as aiohttp does: one connection ends, not the server
            self.log_exception(exc_info=fault)
        finally:
            self._lane = None
            if not keep_alive:
                self.force_close()
        if not self._force_close:
            self._rest()

    def _rest(self) -> None:
        """The answer is out: wait for the next request, or begin with what is there already."""
        close_time = self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        if self._held:
            data = b"".join(self._held)
            if self._held_bytes > _HELD_BYTES and self.transport is not None:
                self.transport.resume_reading()
            self._held, self._held_bytes = [], 0
            self.data_received(data)

    def _hold(self, data: bytes) -> None:
        before = self._held_bytes
        self._held.append(data)
        self._held_bytes += len(data)
        if before <= _HELD_BYTES < self._held_bytes and self.transport is not None:
            self.transport.pause_reading()

    def _process_keepalive(self) -> None:
        """The timer of an idle connection: one that is at work is not idle, though aiohttp's task waits."""
        if self._lane is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; an operation that runs goes on."""
        if self._lane is not None:
            self.registry.keep(self._lane)
        self._held = []
        super().connection_lost(exc)
