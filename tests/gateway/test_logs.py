"""gateway.logs: the forms of a line, what it never shows, and when it is written."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
import structlog

from gateway.config import SecretStr
from gateway.logs import HIDDEN, Logging, Output, looks_secret, redacted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def make(stream: io.StringIO, level: str = "info", format: Any = "json") -> Logging:
    log = Logging(level, format, stream, clock=lambda: 1_800_000_000.25)
    log.configure()
    return log


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line(stream: io.StringIO) -> None:
    """Time in UTC with milliseconds, level, event, logger, fields."""
    make(stream)
    structlog.get_logger("certgate.test").info("happened", order="o-1", count=3)
    assert lines(stream) == [
        {
            "time": "2027-01-15T08:00:00.250Z",
            "level": "info",
            "event": "happened",
            "logger": "certgate.test",
            "order": "o-1",
            "count": 3,
        }
    ]


def test_text_line_on_a_terminal() -> None:
    """key=value; what could be misread is quoted, a line break never ends a line."""
    terminal = Terminal()
    make(terminal, format="auto")
    structlog.get_logger().warning("two words", value='a"b\nc', empty="", n=1.5)
    assert terminal.getvalue() == (
        'time=2027-01-15T08:00:00.250Z level=warning event="two words" value="a\\"b\\nc" empty="" n=1.5\n'
    )


def test_level(stream: io.StringIO) -> None:
    """Below the level nothing is written, request lines included."""
    log = make(stream, "warning")
    structlog.get_logger().info("no")
    log.request({"request": "1"})
    structlog.get_logger().error("yes")
    log.output.flush()
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_secrets_are_hidden(stream: io.StringIO) -> None:
    """By type, by name, and in mappings inside."""
    make(stream)
    structlog.get_logger().info(
        "x",
        value=SecretStr("hunter2"),
        password="hunter2",
        headers={"Authorization": "hunter2", "Host": "a", "deep": {"client_secret": "hunter2"}},
    )
    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0]["headers"] == {
        "Authorization": HIDDEN,
        "Host": "a",
        "deep": {"client_secret": HIDDEN},
    }


@pytest.mark.parametrize("name", ["password", "challengePassword", "Authorization", "set-cookie", "eab_hmac_key"])
def test_names_of_secrets(name: str) -> None:
    """Whatever such a field has, it is blanked."""
    assert looks_secret(name)
    assert redacted({name: "hunter2"}) == {name: HIDDEN}


@pytest.mark.parametrize("name", ["order", "credential", "key_type", "account", "operation", "opinion", "serial"])
def test_names_of_no_secrets(name: str) -> None:
    """What is needed to follow a request is shown."""
    assert not looks_secret(name)


def test_exception_is_traced_but_not_quoted_in_fields(stream: io.StringIO) -> None:
    """`fault=exc` gives its type; exc_info the trace."""
    make(stream)
    try:
        raise ValueError("inside")
    except ValueError as exc:
        structlog.get_logger().error("failed", fault=exc, exc_info=exc)
    assert lines(stream)[0]["fault"] == "ValueError"
    assert "ValueError: inside" in lines(stream)[0]["exception"]


def test_standard_library_logs_arrive(stream: io.StringIO) -> None:
    """asyncio and aiohttp write through the same stream."""
    make(stream)
    before = logging.root.handlers[:]
    try:
        logging.getLogger("asyncio").warning("slow %s", "callback")
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("x").exception("failed")
    finally:
        logging.root.handlers[:] = before
    assert [line["event"] for line in lines(stream)] == ["slow callback", "failed"]
    assert "ValueError" in lines(stream)[1]["exception"]


async def test_lines_are_gathered(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written together soon, at once when much has gathered or when it matters."""
    monkeypatch.setattr(Output, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(Output, "FLUSH_BYTES", 1000)
    log = make(stream)
    log.request({"request": "1"})
    assert not stream.getvalue()
    await asyncio.sleep(0.1)
    assert len(lines(stream)) == 1
    log.request({"request": "2"})
    structlog.get_logger().warning("matters")
    assert len(lines(stream)) == 3
    log.request({"request": "3", "long": "x" * 1000})
    assert len(lines(stream)) == 4


def test_nothing_is_lost_at_the_end(stream: io.StringIO) -> None:
    """close() writes what is left."""

    async def one() -> Logging:
        log = make(stream)
        log.request({"request": "1"})
        return log

    log = asyncio.run(one())
    assert not stream.getvalue()
    log.close()
    assert len(lines(stream)) == 1


def test_full_disk_stops_nothing() -> None:
    """A line that cannot be written is counted, and no exception reaches the request."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    log = make(Full())
    structlog.get_logger().error("lost")
    assert log.output.lost_lines == 1


def test_values_of_any_kind(stream: io.StringIO) -> None:
    """Logging never raises over a value."""
    make(stream)
    structlog.get_logger().info("x", data=b"\xff", thing=object, nested={"a": {1, 2}})
    assert lines(stream)[0]["event"] == "x"
