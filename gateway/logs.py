"""The log on standard error: structlog for what happens now and then, one prepared line for each request.

A secret never reaches it: SecretStr hides itself, and a key that looks like a secret's is blanked whatever
it has.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog

from gateway.config.schema import SecretStr

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
HIDDEN = "***"

# Names under which secrets travel: HTTP fields, form fields, settings. "key_id", "key_type" and the like
# are harmless.
_SECRET = re.compile(
    r"password|passwd|passphrase|secret|authorization|cookie|token|credential_value|private_?key|challenge_?password"
    r"|api_?key|access_?key|hmac|pepper|otp\b|pin\b",
    re.IGNORECASE,
)
_hidden: dict[str, bool] = {}


def looks_secret(key: str) -> bool:
    """Whether a field of this name is blanked. Remembered for each name: requests ask again and again."""
    found = _hidden.get(key)
    if found is None:
        found = _SECRET.search(key) is not None
        if len(_hidden) < 1024:  # names are ours, but a bug must not turn this into a leak
            _hidden[key] = found
    return found


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank every field whose name looks like a secret's, in nested mappings too (a structlog processor)."""
    for key, value in event.items():
        if looks_secret(key):
            event[key] = HIDDEN
        elif isinstance(value, Mapping):
            event[key] = redact(None, "", dict(value))
    return event


def redacted(event: dict[str, Any]) -> dict[str, Any]:
    """The same mapping, with every field blanked whose name looks like a secret's."""
    for key in event:
        if looks_secret(key):
            event[key] = HIDDEN
    return event


def _plain(value: object) -> object:
    """What msgspec cannot encode: bytes as hex, a secret hidden, everything else as its repr."""
    return HIDDEN if isinstance(value, SecretStr) else repr(value)


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class Output:
    """Lines on their way to a stream: gathered, written together, at once when they matter.

    A write that fails (the disk is full, the reader has gone) loses its lines and is counted; it never
    raises, since logging must not decide whether a certificate is issued.
    """

    FLUSH_BYTES = 32 * 1024
    FLUSH_SECONDS = 0.2

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lost_lines = 0

    def write(self, line: bytes, *, now: bool = False) -> None:
        """Add a line (with its end of line); write everything when `now`, when much has gathered, or soon."""
        self._lines.append(line)
        self._size += len(line)
        if now or self._size >= self.FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # no event loop to flush later: the command line, a thread
                self.flush()
            else:
                self._timer = loop.call_later(self.FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        if not lines:
            return
        text = b"".join(lines)
        try:
            raw = getattr(self._stream, "buffer", None)
            if raw is not None:
                raw.write(text)
            else:
                self._stream.write(text.decode("utf-8", "replace"))
            self._stream.flush()
        except (OSError, ValueError):
            self.lost_lines += len(lines)


class Logging:
    """The log of one process: where lines go, in which form, from which level on.

    `configure` also hands the standard library's logging (asyncio, aiohttp) over to it.
    """

    def __init__(
        self,
        level: str = "info",
        format: Literal["auto", "json", "text"] = "auto",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.output = Output(stream or sys.stderr)
        self.level = LEVELS[level]
        self.json = format == "json" or (format == "auto" and not (stream or sys.stderr).isatty())
        self._clock = clock
        self._second = -1
        self._stamp = ""
        atexit.register(self.output.flush)

    def configure(self) -> None:
        """Make this the log of the process: structlog's loggers and the standard library's write here."""
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                _hide_secrets_of_exceptions,
                redact,
                structlog.processors.format_exc_info,
                self._render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(self.level),
            logger_factory=self._logger,
            cache_logger_on_first_use=False,
        )
        handler = _Handler(self)
        logging.root.handlers[:] = [handler]
        logging.root.setLevel(max(self.level, LEVELS["info"]))

    def close(self) -> None:
        """Write what is left; the process may end now."""
        self.output.flush()
        atexit.unregister(self.output.flush)

    def request(self, event: dict[str, Any]) -> None:
        """Write the one line of a finished request, the time before it. Lines below the level are dropped."""
        if self.level <= LEVELS["info"]:
            self.write({"time": self.stamp(), "level": "info", "event": "request", **event})

    def write(self, event: Mapping[str, Any]) -> None:
        """Write an event that is whole, whatever its level.

        This is the hot path: no processors, one encoding. `event` is what the server knows itself; what a
        door added to it went through `redacted`.
        """
        self.output.write(self.line(event))

    def line(self, event: Mapping[str, Any]) -> bytes:
        """One event as one line, JSON or key=value, with its end of line."""
        if self.json:
            return _encoder.encode(event) + b"\n"
        shown = " ".join(f"{key}={_text(value)}" for key, value in event.items() if key not in ("exception",))
        trace = f"\n{event['exception']}" if "exception" in event else ""
        return f"{shown}{trace}\n".encode("utf-8", "replace")

    def stamp(self) -> str:
        """The time in UTC with milliseconds, RFC 3339. The part up to the second is made once a second."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._stamp}{int((now - second) * 1000):03d}Z"

    def _logger(self, *name: str) -> _Writer:
        return _Writer(self.output, name[0] if name else "")

    def _render(self, logger: Any, _: str, event: MutableMapping[str, Any]) -> tuple[tuple[bytes, bool], Any]:
        level = event.pop("level", "info")
        name = getattr(logger, "name", "")
        head = {"time": self.stamp(), "level": level, "event": event.pop("event", "")}
        line = self.line({**head, **({"logger": name} if name else {}), **event})
        return (line, LEVELS.get(level, 20) >= LEVELS["warning"]), {}


class _Writer:
    """What structlog calls at the end: one method for each level."""

    def __init__(self, output: Output, name: str) -> None:
        self._output = output
        self.name = name

    def msg(self, line: bytes, now: bool) -> None:
        self._output.write(line, now=now)

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg


class _Handler(logging.Handler):
    """Standard library records -> the same lines."""

    def __init__(self, log: Logging) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        event: dict[str, Any] = {"time": self._log.stamp(), "level": level, "event": record.getMessage()}
        event["logger"] = record.name
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        self._log.output.write(self._log.line(event), now=record.levelno >= logging.WARNING)


def _hide_secrets_of_exceptions(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take `fault=exception` values as their type only: a library's text may have anything in it."""
    for key, value in event.items():
        if isinstance(value, BaseException) and key != "exc_info":
            event[key] = type(value).__name__
    return event


_QUOTE = re.compile(r'[\s"=\\]|[^\x20-\x7e]')


def _text(value: object) -> str:
    """A value for the key=value form: bare where that is unambiguous, else JSON (never a raw newline)."""
    if isinstance(value, str) and value and not _QUOTE.search(value):
        return value
    return _encoder.encode(value).decode()
