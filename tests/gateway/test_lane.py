"""gateway.lane: the same answers as through aiohttp, in the same order, under the same deadlines."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import ServerSettings
from gateway.connection import IDLE, Connection
from gateway.lane import _HELD_BYTES, LaneConnection
from gateway.listening import Listener
from gateway.logs import Logging
from gateway.metrics import Metrics
from gateway.server import Server
from tests.gateway.conftest import EchoDoor, Gate, Start
from tests.gateway.test_head import OTHERS
from tests.gateway.test_http import GET, post

SLOW = b"GET /echo/slow HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading: list[str] = []

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading.append("paused")

    def resume_reading(self) -> None:
        self.reading.append("resumed")


class Side:
    """One server, with or without the lane, that is given bytes."""

    def __init__(self, server: Server, door: EchoDoor, kind: type[Connection]) -> None:
        self._server = server
        self.door = door
        self._kind = kind

    def connect(self) -> tuple[Connection, Wire]:
        registry = self._server._connections
        assert registry is not None
        options: dict[str, Any] = {
            "loop": asyncio.get_running_loop(),
            "keepalive_timeout": 75.0,
            "access_log": None,
            "max_line_size": 65536,
            "max_field_size": 65536,
            "lingering_time": 0.0,
            "auto_decompress": False,
        }
        registry.enter("127.0.0.1")
        connection = self._kind(self._server._listeners["http"]._manager, registry, "127.0.0.1", None, **options)
        wire = Wire()
        connection.connection_made(wire)
        return connection, wire

    async def talk(self, pieces: list[bytes]) -> tuple[Any, ...]:
        """What is answered to these pieces, and what the door saw."""
        self.door.requests.clear()
        connection, wire = self.connect()
        for piece in pieces:
            connection.data_received(piece)
            await _settle(2)
        await _settle(60)
        ended = wire.closed
        connection.connection_lost(None)
        await _settle(5)
        seen = [
            (each.method, each.path, each.query, dict(each.headers), each.body, dict(each.parameters), each.url)
            for each in self.door.requests
        ]
        return re.sub(rb"(?m)^(X-Request-Id|Date): .*$|under [0-9a-f]{16}", b"", wire.written), ended, seen


async def _settle(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@asynccontextmanager
async def _side(kind: type[Connection]) -> AsyncIterator[Side]:
    log = Logging("critical", "json", io.StringIO())
    log.configure()
    server = Server((Listener("http", "127.0.0.1", 0, "http://ca.example"),), ServerSettings(), log, Metrics())
    door = EchoDoor()
    server.reload_routes((door.door(),))
    await server.start()
    try:
        yield Side(server, door, kind)
    finally:
        await server.stop()


_PATHS = st.sampled_from(
    b"/echo/m1/seen /echo/m%201/seen?a=b&c /echo/blob/a//b /echo/stream /echo/none /echo/injection /nowhere"
    b" /echo/../seen /echo/m1/seen#x /echo/secure //echo/m1/seen /echo/m1/se\xc3\xa4n".split(b" ")
)
_FIELDS = st.lists(
    st.sampled_from(
        b"Accept: */*|X-A: b|x-a: c|X-Space:  b |X-Empty:|X-Tab:\tb|Connection: keep-alive|Connection: close"
        b"|Transfer-Encoding: chunked|Expect: 100-continue|Content-Encoding: gzip|Content-Length: 3"
        b"|Content-Length: +3|Upgrade: websocket|X-High: \xe4|Host: b| fold: a".split(b"|")
    ),
    max_size=3,
)
_PLAIN = st.one_of(
    st.builds(
        lambda path, fields: b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: a", *fields, b"", b""]),
        _PATHS,
        _FIELDS,
    ),
    st.builds(lambda path, body, fields: post(path, body, *fields), _PATHS, st.binary(max_size=40), _FIELDS),
    st.builds(lambda path, body: post(path, body), _PATHS, st.binary(max_size=40)),
    st.sampled_from([GET, GET.replace(b"GET", b"HEAD", 1), *OTHERS.values()]),
)
_BYTES = st.one_of(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"0", b"\x80"]), st.binary(max_size=3)
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = draw(_PLAIN)
    for _ in range(draw(st.integers(0, 2))):
        where = draw(st.integers(0, len(data)))
        data = data[:where] + draw(_BYTES) + data[where + draw(st.integers(0, 2)) :]
    return data


@st.composite
def _pieces(draw: st.DrawFn) -> list[bytes]:
    """Requests, whole and broken, each in a piece of its own, or all of them cut anywhere."""
    requests = draw(st.lists(st.one_of(_PLAIN, _mutated()), min_size=1, max_size=4))
    if draw(st.booleans()):
        return requests
    data = b"".join(requests)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


def _factories() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    found: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
    try:
        import uvloop
    except ImportError:
        return found
    return [*found, uvloop.new_event_loop]


@pytest.mark.parametrize("factory", _factories(), ids=lambda each: each.__module__)
def test_lane_and_aiohttp_agree(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The same bytes: the same answers, the same end, and the door sees the same requests."""
    with asyncio.Runner(loop_factory=factory) as runner:
        ours, theirs = _side(LaneConnection), _side(Connection)
        with_lane = runner.run(ours.__aenter__())
        without = runner.run(theirs.__aenter__())

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        @given(_pieces())
        def agree(pieces: list[bytes]) -> None:
            assert runner.run(with_lane.talk(pieces)) == runner.run(without.talk(pieces))

        agree()
        for side in (ours, theirs):
            runner.run(side.__aexit__(None, None, None))


def _lane(gate: Gate) -> LaneConnection:
    registry = gate.server._connections
    assert registry is not None
    return cast(LaneConnection, next(iter(registry._open)))


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
async def test_what_is_odd_never_takes_the_lane(data: bytes) -> None:
    """Smuggling ends at aiohttp's parser, and the connection stays there."""
    async with _side(LaneConnection) as side:
        connection, _ = side.connect()
        assert isinstance(connection, LaneConnection)
        connection.data_received(data)
        await _settle(5)
        connection.data_received(GET)
        await _settle(20)
        assert connection.served == 0
        connection.connection_lost(None)
        await _settle(5)


async def test_plain_requests_take_the_lane(start: Start) -> None:
    """Until one comes that is not plain."""
    gate = await start()
    client = await gate.connect()
    for served in (1, 2):
        await client.send(GET)
        assert (await client.reply()).status == 200
        assert _lane(gate).served == served
        assert _lane(gate).phase == IDLE
    await client.send(post(b"/echo/m1/seen", b"1\r\na\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"))
    assert (await client.reply()).json["body"] == "a"
    await client.send(GET)
    assert (await client.reply()).status == 200
    assert _lane(gate).served == 2
    await client.close()


async def test_lane_can_be_switched_off(start: Start) -> None:
    """`server.hot_lane = false`."""
    gate = await start(hot_lane=False)
    client = await gate.connect()
    await client.send(GET)
    assert (await client.reply()).status == 200
    assert type(_lane(gate)) is Connection
    await client.close()


async def test_requests_sent_ahead_wait_for_their_turn(start: Start, echo: EchoDoor) -> None:
    """Pipelining (RFC 9112 section 9.3.2): whole, in parts, several at once."""
    gate = await start()
    client = await gate.connect()
    await client.send(SLOW)
    await echo.begun.wait()
    for data in (GET, GET[:10], GET[10:], post(b"/echo/m2/seen", b"x")):
        await client.send(data)
        await asyncio.sleep(0.01)
    assert not echo.requests
    echo.release.set()
    assert (await client.reply()).body == b"done"
    assert [(await client.reply()).json["label"] for _ in range(3)] == ["m1", "m1", "m2"]
    await client.close()


async def test_what_is_sent_ahead_is_bounded(echo: EchoDoor) -> None:
    """A client that floods is not read until its request is answered."""
    async with _side(LaneConnection) as side:
        connection, wire = side.connect()
        connection.data_received(SLOW)
        await side.door.begun.wait()
        connection.data_received(GET)
        assert wire.reading == []
        for _ in range(3):
            connection.data_received(GET + b"x" * _HELD_BYTES)
        assert wire.reading == ["paused"]
        side.door.release.set()
        await _settle(30)
        assert wire.reading[1] == "resumed"
        assert wire.written.startswith(b"HTTP/1.1 200 ")
        connection.connection_lost(None)
        await _settle(5)


async def test_idle_lane_connection_is_closed(start: Start) -> None:
    """The keep-alive timer runs from the last answer, and not while an operation runs."""
    gate = await start(idle_timeout_seconds=0.2)
    client = await gate.connect()
    for _ in range(3):
        await asyncio.sleep(0.12)
        await client.send(GET)
        assert (await client.reply()).status == 200
    assert await client.closed(2) == b""
    await client.close()


async def test_operation_longer_than_the_idle_time(start: Start, echo: EchoDoor) -> None:
    """It is answered all the same."""
    gate = await start(idle_timeout_seconds=0.1)
    client = await gate.connect()
    await client.send(SLOW)
    await asyncio.sleep(0.35)
    echo.release.set()
    assert (await client.reply()).body == b"done"
    assert await client.closed(2) == b""
    await client.close()


async def test_drain_lets_the_lane_finish(start: Start, echo: EchoDoor) -> None:
    """A stop waits for the operation and ends the connection with its answer."""
    gate = await start()
    client = await gate.connect()
    await client.send(SLOW)
    await echo.begun.wait()
    assert _lane(gate).served == 1
    stopping = asyncio.create_task(gate.server.stop())
    await asyncio.sleep(0.05)
    echo.release.set()
    reply = await client.reply()
    assert (reply.status, reply.field("Connection")) == (200, "close")
    await stopping
    await client.close()
