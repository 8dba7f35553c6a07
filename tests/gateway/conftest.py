"""A real server with a small door behind it, and raw sockets to talk to it with."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trustme

from gateway.config import ServerSettings
from gateway.listening import Listener
from gateway.logs import Logging
from gateway.metrics import Metrics
from gateway.routing import Door
from gateway.server import Server
from gateway.tls import TLSProfile
from policy.problems import Problem
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport
from tests.replacing import replace


class EchoDoor:
    """A door that answers what it saw, in JSON; says problems under its own content type."""

    def __init__(self) -> None:
        self.requests: list[HTTPRequest] = []
        self.release = asyncio.Event()
        self.begun = asyncio.Event()
        self.finished: list[str] = []
        self.closed_streams = 0

    def door(self) -> Door:
        any_transport: dict[str, Any] = {"transport": Transport.ANY}
        return Door(
            "echo",
            self.say,
            (
                Route(("GET", "POST"), "/echo/{label}/seen", "seen", self.seen, **any_transport),
                Route(("GET",), "/echo/blob/{data:*}", "blob", self.seen, **any_transport),
                Route(("POST",), "/echo/secure", "secure", self.seen),
                Route(("POST",), "/echo/large", "large", self.seen, max_body_bytes=200_000, **any_transport),
                Route(("GET", "POST"), "/echo/slow", "slow", self.slow, **any_transport),
                Route(("GET",), "/echo/stream", "stream", self.stream, **any_transport),
                Route(("GET",), "/echo/broken-stream", "broken-stream", self.broken_stream, **any_transport),
                Route(("GET",), "/echo/big", "big", self.big, **any_transport),
                Route(("GET",), "/echo/none", "none", self.no_content, **any_transport),
                Route(("GET",), "/echo/fault", "fault", self.fault, **any_transport),
                Route(("GET",), "/echo/injection", "injection", self.injection, **any_transport),
            ),
        )

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        body = json.dumps({"kind": problem.kind, "detail": problem.detail}).encode()
        return HTTPResponse(400, body, "application/echo-problem")

    async def seen(self, request: HTTPRequest) -> HTTPResponse:
        self.requests.append(request)
        request.event["order"] = "o-1"
        body = {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "label": request.label,
            "parameters": dict(request.parameters),
            "headers": dict(request.headers),
            "body": request.body.decode("latin-1"),
            "peer": request.peer.address,
            "url": request.url,
        }
        return HTTPResponse(
            200,
            json.dumps(body).encode(),
            "application/json",
            (("X-MiXed-Case", "kept"), ("X-Two", "1"), ("X-Two", "2")),
        )

    async def slow(self, request: HTTPRequest) -> HTTPResponse:
        self.begun.set()
        await self.release.wait()
        self.finished.append(request.request_id)
        return HTTPResponse(200, b"done", "text/plain")

    async def stream(self, request: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200, self._parts(), "text/event-stream")

    async def _parts(self) -> AsyncIterator[bytes]:
        try:
            yield b"one,"
            await asyncio.sleep(0)
            yield b""
            yield b"two"
        finally:
            self.closed_streams += 1

    async def broken_stream(self, request: HTTPRequest) -> HTTPResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise LookupError("broken")

        return HTTPResponse(200, parts(), "text/plain")

    async def big(self, request: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200, b"x" * 40_000_000, "application/pkix-crl")

    async def no_content(self, request: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200 if request.method == "HEAD" else 204, headers=(("Replay-Nonce", "n1"),))

    async def fault(self, request: HTTPRequest) -> HTTPResponse:
        raise KeyError("a secret of the inside")

    async def injection(self, request: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200, b"", None, (("Location", "x\r\nSet-Cookie: a=b"),))


class Gate:
    """A running server, with what a test needs to look at it."""

    def __init__(self, server: Server, log: io.StringIO, logging: Logging, metrics: Metrics) -> None:
        self.server = server
        self._log = log
        self._logging = logging
        self.metrics = metrics

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        self._logging.output.flush()
        found = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"certgate_{name}", labels) or 0.0

    async def connect(self, name: str = "http", **options: Any) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port(name), **options)
        return Client(reader, writer)

    async def ask(self, data: bytes, name: str = "http", **options: Any) -> Reply:
        client = await self.connect(name, **options)
        try:
            await client.send(data)
            return await client.reply(head_only=data.startswith(b"HEAD"))
        finally:
            await client.close()


class Reply:
    """One answer, read by hand."""

    def __init__(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body

    def field(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, head_only: bool = False, seconds: float = 5.0) -> Reply:
        async with asyncio.timeout(seconds):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head[:-4].split("\r\n")
            fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
            reply = Reply(int(first.split(" ")[1]), fields, b"")
            if head_only or reply.status in (100, 204, 304):
                return reply
            if reply.field("Transfer-Encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    reply.body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            elif (length := reply.field("Content-Length")) is not None:
                reply.body = await self.reader.readexactly(int(length))
            else:
                reply.body = await self.reader.read()
            return reply

    async def closed(self, seconds: float = 5.0) -> bytes:
        """What comes until the server closes; fails when it does not."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


Start = Callable[..., Awaitable[Gate]]
ORIGIN = "https://ca.example"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def echo() -> EchoDoor:
    return EchoDoor()


@pytest.fixture
async def start(authority: trustme.CA, echo: EchoDoor) -> AsyncIterator[Start]:
    """Start a server on free ports, with changed settings; it is stopped at the end of the test."""
    gates: list[Gate] = []

    async def go(*doors: Door, maximum: str = "1.3", **settings: Any) -> Gate:
        stream = io.StringIO()
        log = Logging("debug", "json", stream)
        log.configure()
        metrics = Metrics()
        listeners = (
            Listener("https", "127.0.0.1", 0, ORIGIN, TLSProfile()),
            Listener("mtls", "127.0.0.1", 0, "https://mtls.example", TLSProfile("1.2", maximum, True)),
            Listener("http", "127.0.0.1", 0, "http://ca.example"),
            Listener("management", "127.0.0.1", 0, "http://127.0.0.1", dedicated=True),
        )
        chosen = replace(ServerSettings(drain_seconds=1.0), **settings)
        server = Server(listeners, chosen, log, metrics)
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
        server.replace_certificate(chain, certificate.private_key_pem.bytes())
        server.reload_routes(doors or (echo.door(),))
        await server.start()
        gates.append(Gate(server, stream, log, metrics))
        return gates[-1]

    yield go
    echo.release.set()
    for gate in gates:
        await gate.server.stop()
        gate._logging.close()
