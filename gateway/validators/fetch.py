"""One HTTP GET with limits: a reader for exactly what http-01 needs of RFC 9112, over a dialled connection.

A general client costs more per call than the whole validation may. Nothing is negotiated, kept alive or
decoded: one request, one response, and not a byte more of it is read than the caller asked for.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.dial import ByteStream

MAX_HEAD_BYTES = 16 * 1024
"""Status line and header fields together; also what all interim responses may have."""
MAX_FRAMING_BYTES = 4 * 1024
"""What chunk sizes, chunk extensions and line ends of a body may have: a body in one-byte chunks is no
reason to read for ever."""
RECEIVE_BYTES = 4096

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\r\n]*)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?")


class BadResponse(ValueError):
    """The bytes are not an HTTP response, or one beyond the limits; the text says what is wrong with it."""


class Response(NamedTuple):
    """What came back. The body is read for status 200 only; `cut` says that it goes on beyond the limit."""

    status: int
    location: str | None
    body: bytes
    cut: bool


def write_get(host: str, target: str) -> bytes:
    """A GET request. `host` and `target` must be free of spaces and control characters; this does not
    check."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: certgate\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


async def get(connection: ByteStream, host: str, target: str, *, max_body_bytes: int) -> Response:
    """Send a GET and read the response. Raises BadResponse and OSError; the caller keeps the time."""
    await connection.send(write_get(host, target))
    reader = ResponseReader(max_body_bytes)
    while True:
        data = await connection.receive(RECEIVE_BYTES)
        response = reader.feed(data) if data else reader.end()
        if response is not None:
            return response


class ResponseReader:
    """Reads one response from the pieces in which it arrives."""

    def __init__(self, max_body_bytes: int) -> None:
        self._limit = max_body_bytes
        self._buffer = b""
        self._searched = 0
        self._head_bytes = 0
        self._status = 0
        self._location: str | None = None
        self._body: _SizedBody | _ChunkedBody | None = None

    def feed(self, data: bytes) -> Response | None:
        """Take more bytes; the response once there is enough of it. Raises BadResponse."""
        if self._body is not None:
            return self._response(data)
        self._buffer += data
        # 100 Continue and its kind come first, sometimes unasked.
        while (end := _END_OF_HEAD.search(self._buffer, self._searched)) is not None:
            self._head_bytes += end.end()
            self._check_head(0)
            head, self._buffer = self._buffer[: end.start()], self._buffer[end.end() :]
            self._searched = 0
            self._read_head(head)
            if self._status >= 200:
                return self._response(self._buffer)
        self._check_head(len(self._buffer))
        self._searched = max(0, len(self._buffer) - 3)
        return None

    def end(self) -> Response:
        """The other side is done. Raises BadResponse when the response is not."""
        if self._body is None:
            raise BadResponse(
                "the connection was closed before a response" if not self._buffer else "the header is cut"
            )
        if not self._body.may_end:
            raise BadResponse("the connection was closed in the middle of the body")
        return Response(self._status, self._location, self._body.content, False)

    def _check_head(self, more: int) -> None:
        if self._head_bytes + more > MAX_HEAD_BYTES:
            raise BadResponse(f"the header is larger than {MAX_HEAD_BYTES} bytes")

    def _read_head(self, head: bytes) -> None:
        lines = head.split(b"\n")
        status_line = _STATUS_LINE.fullmatch(lines[0].rstrip(b"\r"))
        if status_line is None:
            raise BadResponse("it does not begin with an HTTP/1 status line")
        self._status = int(status_line[1])
        if self._status == 101:
            raise BadResponse("it switches protocols, which nobody asked for")
        if self._status < 200:
            return
        fields: dict[bytes, list[bytes]] = {}
        for line in lines[1:]:
            field = _FIELD.fullmatch(line.rstrip(b"\r"))
            if field is None:
                raise BadResponse("a header line is malformed")
            fields.setdefault(field[1].lower(), []).append(field[2].strip(b" \t"))
        if location := fields.get(b"location"):
            self._location = location[0].decode("latin-1")
        self._body = self._framing(fields)

    def _framing(self, fields: dict[bytes, list[bytes]]) -> _SizedBody | _ChunkedBody:
        """How the end of the body is found (RFC 9112 section 6.3)."""
        if coding := fields.get(b"transfer-encoding"):
            if b",".join(coding).strip().lower() != b"chunked":
                raise BadResponse("the transfer coding is not chunked")
            return _ChunkedBody(self._limit)
        lengths = {length.strip() for value in fields.get(b"content-length", ()) for length in value.split(b",")}
        if not lengths:
            return _SizedBody(self._limit, None)
        length = lengths.pop()
        if lengths or not length.isdigit() or len(length) > 18:
            raise BadResponse("the content length is malformed")
        return _SizedBody(self._limit, int(length))

    def _response(self, data: bytes) -> Response | None:
        assert self._body is not None
        if self._status != 200:
            return Response(self._status, self._location, b"", False)
        if not self._body.feed(data):
            return None
        content = self._body.content
        return Response(200, self._location, content[: self._limit], len(content) > self._limit)


class _SizedBody:
    """A body of known length, or one that ends with the connection."""

    def __init__(self, limit: int, length: int | None) -> None:
        self._enough = limit + 1 if length is None else min(length, limit + 1)
        self.may_end = length is None
        self.content = b""

    def feed(self, data: bytes) -> bool:
        """Take bytes; whether that was all, or more than the limit."""
        self.content += data[: self._enough - len(self.content)]
        return len(self.content) >= self._enough


class _ChunkedBody:
    """A body in chunks (RFC 9112 section 7.1). Trailers are not waited for."""

    may_end = False

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._left: int | None = None
        self._framing = 0
        self.content = b""

    def feed(self, data: bytes) -> bool:
        """Take bytes; whether that was all, or more than the limit."""
        self._buffer += data
        while len(self.content) <= self._limit:
            if self._left is None:
                if (line := self._line()) is None:
                    return False
                size = _CHUNK_SIZE.fullmatch(line)
                if size is None:
                    raise BadResponse("a chunk size is malformed")
                self._left = int(size[1], 16)
                if self._left == 0:
                    return True
            piece = self._buffer[: self._left]
            self.content += piece[: self._limit + 1 - len(self.content)]
            self._buffer = self._buffer[len(piece) :]
            self._left -= len(piece)
            if self._left:
                return len(self.content) > self._limit
            if (line := self._line()) is None:
                return False
            if line not in (b"", b"\r"):
                raise BadResponse("a chunk is longer than its size")
            self._left = None
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if self._framing + (len(self._buffer) if end < 0 else end + 1) > MAX_FRAMING_BYTES:
            raise BadResponse("the chunks of the body have too much around them")
        if end < 0:
            return None
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        self._framing += len(line) + 1
        return line
