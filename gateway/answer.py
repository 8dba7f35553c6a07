"""HTTPResponse -> bytes on a connection. Heads are written here, not by aiohttp, for three reasons.

Field names keep the case that the door gave them (old SCEP clients compare them byte by byte), nothing
names this server's software, and a head costs a third of what it costs through a multi-dictionary.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from http import HTTPStatus

import structlog

from gateway.connection import IDLE, LINGER, NEVER, WRITE, Connection, Incoming
from protocols.http import HTTPResponse

_log = structlog.get_logger("certgate.server")
_REASONS = {status.value: status.phrase for status in HTTPStatus}

# A client must read an answer at least this fast, or slow readers could hold large CRLs in memory for ever.
_READ_BYTES_PER_SECOND = 16 * 1024


class Answer:
    """A response ready to be sent: what aiohttp's protocol is given back."""

    __slots__ = ("_abrupt", "_chunked", "_stream", "head", "keep_alive")

    def __init__(
        self,
        head: bytes,
        *,
        keep_alive: bool,
        stream: AsyncIterator[bytes] | None = None,
        chunked: bool = False,
        abrupt: bool = False,
    ) -> None:
        self.head = head
        self._stream = stream
        self._chunked = chunked
        self._abrupt = abrupt
        self.keep_alive = keep_alive

    async def send(self, connection: Connection, incoming: Incoming) -> None:
        """Write it. Raises ConnectionError when the client has gone."""
        transport = connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        connection.phase = WRITE
        connection.due = NEVER
        transport.write(self.head)
        if self._stream is not None:
            await self._send_stream(connection)
        elif connection.writing_paused:
            await self._flush(connection, len(self.head))
        connection.phase = IDLE if incoming.payload.is_eof() else LINGER
        connection.due = NEVER
        if self._abrupt:
            connection.force_close()

    async def _send_stream(self, connection: Connection) -> None:
        assert self._stream is not None
        try:
            async for part in self._stream:
                transport = connection.transport
                if transport is None or transport.is_closing():
                    raise ConnectionResetError("the client has gone")
                if part:
                    transport.write(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)
                if connection.writing_paused:
                    await self._flush(connection, len(part))
            if self._chunked and connection.transport is not None:
                connection.transport.write(b"0\r\n\r\n")
        except ConnectionError:
            raise
        except Exception as fault:  # a stream is beyond dispatch: its status is sent
            # Without its last chunk the client sees that the answer is not whole.
            _log.error("a stream broke off", fault=type(fault).__name__, exc_info=fault)
            if connection.transport is not None:
                connection.transport.abort()
            raise ConnectionAbortedError("the stream broke off") from fault
        finally:
            close = getattr(self._stream, "aclose", None)
            if close is not None:
                await close()

    @staticmethod
    async def _flush(connection: Connection, size: int) -> None:
        now = connection.registry.now()
        connection.due = now + connection.registry.settings.idle_timeout_seconds + size / _READ_BYTES_PER_SECOND
        await connection._drain_helper()
        connection.due = NEVER


class AnswerWriter:
    """Writes the answers of one listener."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._second = 0
        self._fixed = ""

    def write(
        self,
        response: HTTPResponse,
        incoming: Incoming,
        *,
        request_id: str,
        keep_alive: bool,
        abrupt: bool = False,
    ) -> Answer:
        """The bytes of a response. Raises ValueError when a field would break the head in two."""
        version, status, body = incoming.message.version, response.status, response.body
        bodiless = status in (204, 304) or status < 200
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
        if response.content_type is not None:
            lines.append(f"Content-Type: {response.content_type}")
        chunked = False
        if isinstance(body, bytes):
            if not bodiless:
                lines.append(f"Content-Length: {len(body)}")
        elif version >= (1, 1):
            chunked = not bodiless
        else:
            keep_alive = False  # only the end of the connection tells HTTP/1.0 where a stream ends
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        for name, value in response.headers:
            lines.append(f"{name}: {value}")
        if not keep_alive:
            lines.append("Connection: close")
        elif version < (1, 1):
            lines.append("Connection: keep-alive")
        lines.append(f"X-Request-Id: {request_id}")
        head = self._head(lines)
        if bodiless or incoming.message.method == "HEAD":
            return Answer(head, keep_alive=keep_alive, abrupt=abrupt)
        if isinstance(body, bytes):
            return Answer(head + body, keep_alive=keep_alive, abrupt=abrupt)
        return Answer(head, keep_alive=keep_alive, stream=body, chunked=chunked)

    def refuse(self, status: int) -> Answer:
        """The answer to bytes that are no request; nothing of them is repeated."""
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "Content-Length: 0", "Connection: close"]
        return Answer(self._head(lines), keep_alive=False, abrupt=True)

    def _head(self, lines: list[str]) -> bytes:
        second = int(time.time())
        if second != self._second:
            # Fields of every answer; they change once a second.
            self._second = second
            self._fixed = f"Date: {formatdate(second, usegmt=True)}\r\nX-Content-Type-Options: nosniff\r\n"
            if self._secure:
                self._fixed += "Strict-Transport-Security: max-age=31536000\r\n"
        text = "\r\n".join(lines)
        breaks = len(lines) - 1
        if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
            raise ValueError("a header field has a line break")
        return f"{text}\r\n{self._fixed}\r\n".encode("latin-1")
