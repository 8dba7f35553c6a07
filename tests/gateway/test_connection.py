"""gateway.connection: caps and deadlines, with clients that are slow, silent, many or gone."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import time

import pytest

from gateway.config import ServerSettings
from gateway.connection import Connections, _counted
from gateway.metrics import Metrics
from tests.gateway.conftest import EchoDoor, Start
from tests.gateway.test_http import GET, post

SHORT = {"header_timeout_seconds": 0.3, "body_timeout_seconds": 0.3}


async def test_silent_connection_is_closed(start: Start) -> None:
    """Five thousand of these must not stay."""
    gate = await start(**SHORT)
    client = await gate.connect()
    assert await client.closed(2) == b""
    await client.close()
    assert gate.count("http_rejected_total", reason="idle") == 1


@pytest.mark.parametrize("name", ["http", "https"])
async def test_slow_head_is_cut(start: Start, trusting: ssl.SSLContext, name: str) -> None:
    """Slow-loris: a byte now and then does not prolong the time of a head (F18)."""
    gate = await start(**SHORT)
    client = await gate.connect(name, **({"ssl": trusting} if name == "https" else {}))
    begun = time.monotonic()
    answer = b""
    for byte in GET[:-2] + b"X-Slow: " + b"a" * 1000:
        try:
            await client.send(bytes([byte]))
        except ConnectionError:
            break
        await asyncio.sleep(0.05)
        if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
            answer = await client.closed()
            break
    assert time.monotonic() - begun < 2
    assert answer.startswith(b"HTTP/1.1 408 ") or not answer
    await client.close()
    assert gate.count("http_rejected_total", reason="head too slow") == 1


async def test_slow_head_of_a_second_request_is_cut(start: Start) -> None:
    """The clock of a head starts again on a connection that is kept alive."""
    gate = await start(**SHORT)
    client = await gate.connect()
    await client.send(GET)
    assert (await client.reply()).status == 200
    await asyncio.sleep(0.5)  # idle: this may last, the head that follows may not
    await client.send(GET[:20])
    assert (await client.closed(2)).startswith(b"HTTP/1.1 408 ")
    await client.close()


async def test_slow_body_is_cut(start: Start, echo: EchoDoor) -> None:
    """Said by the door, with HTTP's own status; the operation never runs."""
    gate = await start(**SHORT)
    client = await gate.connect()
    await client.send(post(b"/echo/m1/seen", b"half", b"Content-Length: 8"))
    reply = await client.reply()
    assert (reply.status, reply.field("Content-Type")) == (408, "application/echo-problem")
    assert await client.closed() == b""
    await client.close()
    assert not echo.requests


async def test_client_that_leaves_in_the_body(start: Start, echo: EchoDoor) -> None:
    """Nobody is told anything; the log says so in one line."""
    gate = await start()
    client = await gate.connect()
    await client.send(post(b"/echo/m1/seen", b"half", b"Content-Length: 8"))
    await asyncio.sleep(0.05)
    await client.close()
    await asyncio.sleep(0.1)
    assert [line["status"] for line in gate.lines()] == [499]
    assert not echo.requests
    assert not gate.lines("connection failed")


async def test_client_that_leaves_does_not_stop_the_operation(start: Start, echo: EchoDoor) -> None:
    """A client that goes away stops the answer, never an issuance half way."""
    gate = await start()
    client = await gate.connect()
    await client.send(b"GET /echo/slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await echo.begun.wait()
    client.writer.transport.abort()
    await asyncio.sleep(0.1)
    assert not echo.finished
    echo.release.set()
    await asyncio.sleep(0.05)
    assert len(echo.finished) == 1
    await client.close()


async def test_deadline_stops_the_answer_not_the_operation(start: Start, echo: EchoDoor) -> None:
    """503 at the deadline, in the door's words; what was begun is finished."""
    gate = await start(request_timeout_seconds=0.3)
    client = await gate.connect()
    await client.send(b"GET /echo/slow HTTP/1.1\r\nHost: a\r\n\r\n")
    reply = await client.reply()
    assert (reply.status, reply.json["kind"]) == (503, "unavailable")
    assert await client.closed() == b""
    await client.close()
    assert [line["problem"] for line in gate.lines()] == ["late"]
    assert not echo.finished
    echo.release.set()
    await asyncio.sleep(0.05)
    assert len(echo.finished) == 1
    assert len(gate.lines()) == 1
    assert gate.lines("finished too late")[0]["request"] == echo.finished[0]


async def test_slow_reader_is_cut(start: Start) -> None:
    """A client that does not read cannot hold a large CRL in memory (slowhttptest -X)."""
    gate = await start(idle_timeout_seconds=0.2, header_timeout_seconds=0.2)
    gate.server._connections._interval = 0.05  # type: ignore[union-attr]
    import gateway.answer

    before, gateway.answer._READ_BYTES_PER_SECOND = gateway.answer._READ_BYTES_PER_SECOND, 10**9
    try:
        client = await gate.connect(limit=1024)
        await client.send(b"GET /echo/big HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            while not gate.count("http_rejected_total", reason="slow reader"):
                await asyncio.sleep(0.05)
        await client.close()
    finally:
        gateway.answer._READ_BYTES_PER_SECOND = before


async def test_large_answer_to_a_reader(start: Start) -> None:
    """Forty megabytes arrive whole."""
    gate = await start()
    client = await gate.connect()
    await client.send(b"GET /echo/big HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len((await client.reply(seconds=20)).body) == 40_000_000
    await client.close()


async def test_cap_on_connections_takes_an_idle_one(start: Start) -> None:
    """At the cap, the newcomer waits, an idle connection makes room."""
    gate = await start(max_connections=3)
    idle = [await gate.connect() for _ in range(3)]
    for client in idle:
        await client.send(GET)
        assert (await client.reply()).status == 200
    late = await gate.connect()
    await late.send(GET)
    assert (await late.reply()).status == 200
    assert gate.count("http_connections") <= 3
    for client in [*idle, late]:
        await client.close()


async def test_cap_on_connections_makes_newcomers_wait(start: Start, echo: EchoDoor) -> None:
    """Busy connections are not cut for newcomers, who are served when one ends."""
    gate = await start(max_connections=2)
    busy = [await gate.connect() for _ in range(2)]
    for client in busy:
        await client.send(b"GET /echo/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await echo.begun.wait()
    late = await gate.connect()
    await late.send(GET)
    with pytest.raises(TimeoutError):
        await late.reply(seconds=0.3)
    echo.release.set()
    assert (await late.reply()).status == 200
    for client in [*busy, late]:
        await client.close()


def test_what_an_address_is_counted_under() -> None:
    """Loopback not at all; IPv6 by the /64 that one customer has."""
    assert _counted("127.0.0.1") == _counted("127.8.8.8") == _counted("::1") == _counted("::ffff:127.0.0.1") == ""
    assert _counted("192.0.2.1") == _counted("::ffff:192.0.2.1") == "192.0.2.1"
    assert _counted("2001:db8::1") == _counted("2001:db8::ffff:1%eth0") != _counted("2001:db8:0:1::1")


async def test_cap_for_each_address() -> None:
    """One address cannot take every connection; when one ends there is room again."""
    connections = Connections(ServerSettings(max_connections_per_address=2), Metrics(), lambda status: None)
    assert connections.enter("192.0.2.1")
    assert connections.enter("192.0.2.1")
    assert not connections.enter("192.0.2.1")
    assert connections.enter("192.0.2.2")
    connections.leave("192.0.2.1")
    assert connections.enter("192.0.2.1")


async def test_running_out_of_descriptors_pauses_accepting(start: Start) -> None:
    """The accept loop survives EMFILE and serves again when descriptors are back (F19)."""
    gate = await start()
    kept = await gate.connect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    extra = await gate.connect()  # waits in the backlog until it is taken
    client = None
    low = max(int(name) for name in os.listdir("/proc/self/fd")) + 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    holes = []
    try:
        while True:
            try:
                holes.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        os.close(holes.pop())
        client = await gate.connect()  # takes the last descriptor; there is none to accept it with
        await asyncio.sleep(0.3)
        await kept.send(GET)
        assert (await kept.reply()).status == 200
    finally:
        for hole in holes:
            os.close(hole)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await client.send(GET)
    assert (await client.reply()).status == 200
    assert gate.count("http_rejected_total", reason="descriptors") >= 1
    for each in (kept, extra, client):
        await each.close()
