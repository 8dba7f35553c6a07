"""One whole request in the form that nearly every client sends, read strictly; of anything else, nothing.

Only what cannot be understood in two ways is read here. Whatever is rare, odd or wrong is None and goes to
aiohttp's parser, which judges it; so nothing here refuses, and nothing here needs to be lenient.
"""

from __future__ import annotations

import re

from yarl import URL

MAX_HEAD_BYTES = 16 * 1024
"""Longer heads (Kerberos tickets) are rare, and bounded by aiohttp's parser."""
MAX_FIELDS = 64
"""Below aiohttp's 128."""

_METHODS = frozenset({"GET", "HEAD", "POST"})
# Printable ASCII. A tab is legal in a value, but seldom there; what is above ASCII has no one meaning.
_PLAIN = bytes(range(0x20, 0x7F))
# RFC 3986 section 3.3 and 3.4: no fragment, and no "//host" that could be read as an authority.
_TARGET = re.compile(r"/(?!/)[!$%&-;=?-Z_a-z~]*")
_HOST = re.compile(r"[0-9A-Za-z._:\[\]-]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2

# Fields that change how a message is framed, or what follows it on the connection.
_NOT_HERE = frozenset(
    {
        "transfer-encoding",
        "te",
        "trailer",
        "expect",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "content-encoding",
        "sec-websocket-key1",
    }
)
# Name as sent -> in lower case, "" for one that is not read here. Clients send a few dozen names again and again.
_names: dict[str, str] = {}
_MAX_NAMES = 512
_MAX_NAME_LENGTH = 64
# Whole lines that a client sends with every request, none of which can be a secret -> name and value.
_ALWAYS = frozenset(
    {"host", "user-agent", "accept", "accept-encoding", "accept-language", "content-type", "connection"}
)
_lines: dict[str, tuple[str, str]] = {}
_MAX_LINE_LENGTH = 200


class Head:
    """A request's head, under the names that aiohttp's message has. Each field is there once."""

    __slots__ = ("headers", "method", "path")

    version = (1, 1)
    should_close = False
    upgrade = False
    chunked = False
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()
    url = URL()

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers


def read(data: bytes, max_head_bytes: int = MAX_HEAD_BYTES) -> tuple[Head, bytes] | None:
    """Head and body when `data` is exactly one request of the common form (RFC 9112), else None. Never raises."""
    end = data.find(b"\r\n\r\n", 0, max_head_bytes)
    if end < 0:
        return None
    raw = data[:end]
    breaks = raw.count(b"\r\n")
    # As many CR and LF as there are pairs: none stands alone. Nothing else may be left: no control, no NUL.
    if breaks > MAX_FIELDS or raw.translate(None, _PLAIN) != b"\r\n" * breaks:
        return None
    first, *lines = raw.decode("ascii").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        return None
    method, target, version = words
    if method not in _METHODS or version != "HTTP/1.1" or _TARGET.fullmatch(target) is None:
        return None
    headers = _fields(lines)
    if headers is None:
        return None
    size = _body_bytes(method, headers.get("content-length"))
    if len(data) != end + 4 + size:
        return None
    return Head(method, target, headers), data[end + 4 :] if size else b""


def _fields(lines: list[str]) -> dict[str, str] | None:
    """Fields under lower-case names; None when a line is odd, a name is there twice or is not read here."""
    fields: dict[str, str] = {}
    for line in lines:
        known = _lines.get(line)
        if known is not None:
            fields[known[0]] = known[1]
            continue
        name, colon, value = line.partition(":")
        lower = _names.get(name)
        if lower is None:
            lower = _learn(name)
        if not lower or not colon:
            return None
        if value[:1] == " ":
            value = value[1:]
        if value != value.strip(" "):
            return None
        fields[lower] = value
        if lower in _ALWAYS and len(_lines) < _MAX_NAMES and len(line) <= _MAX_LINE_LENGTH:
            _lines[line] = (lower, value)
    if len(fields) != len(lines):
        return None
    if (
        _HOST.fullmatch(fields.get("host", "")) is None
        or fields.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    return fields


def _learn(name: str) -> str:
    # A line that begins with a space continues the one before (obs-fold); no token begins so.
    lower = name.lower() if _TOKEN.fullmatch(name) is not None else ""
    if lower in _NOT_HERE:
        lower = ""
    if len(_names) < _MAX_NAMES and len(name) <= _MAX_NAME_LENGTH:  # a client cannot fill the memory with names
        _names[name] = lower
    return lower


def _body_bytes(method: str, length: str | None) -> int:
    """How long the body is; -5 (no message is so short) when this is not said in the one plain way."""
    if method != "POST":
        return 0 if length is None else -5
    if length is None or len(length) > 8 or not length.isdigit() or (length[0] == "0" and length != "0"):
        return -5
    return int(length)
