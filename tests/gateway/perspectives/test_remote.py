"""How the coordinator takes what a perspective says, or does not say: everything odd is that one's failure."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.config.perspectives import PerspectiveAddress
from gateway.perspectives.keys import make_keys
from gateway.perspectives.remote import Connections, MutualTLS, RemotePerspective
from gateway.perspectives.wire import Said, write_answer
from policy.validation.caa import CAAQuery
from policy.validation.perspectives import PerspectiveRequest, PerspectiveResult
from tests.gateway.validators.servers import Handler, free_port, tcp_server

REQUEST = PerspectiveRequest(1.0, caa=CAAQuery("a.example", (), False, None, None))
GOOD = write_answer(Said("eu-1", True, evidence="seen"))


@pytest.fixture
def tls(tmp_path: Path) -> Callable[[str], MutualTLS]:
    make_keys(tmp_path, {"eu-1": "127.0.0.1"}, datetime.now(UTC))
    ca = str(tmp_path / "perspective-ca.pem")
    return lambda name: MutualTLS(str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}.key"), ca)


@pytest.fixture
async def connections(tls: Callable[[str], MutualTLS]) -> AsyncIterator[Connections]:
    made = Connections(tls("coordinator").client_context)
    yield made
    await made.close()


def http(body: bytes, status: str = "200 OK", kind: str = "application/json", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(connections: Connections, tls: Callable[[str], MutualTLS], handler: Handler) -> PerspectiveResult:
    files = tls("eu-1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    async with tcp_server(handler, context=context) as port:
        address = PerspectiveAddress("eu-1", "eu", f"https://127.0.0.1:{port}")
        return await RemotePerspective(address, connections).ask(REQUEST)


def saying(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /mpic/v1/validate HTTP/1.1\r\n")
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return handler


async def test_a_sound_answer_counts(connections: Connections, tls: Callable[[str], MutualTLS]) -> None:
    result = await ask(connections, tls, saying(http(GOOD)))
    assert result == PerspectiveResult("eu-1", "eu", True, evidence="seen")


@pytest.mark.parametrize(
    "answer",
    [
        http(b""),
        http(b"yes"),
        http(b'{"success":true}'),
        http(GOOD, kind="text/html"),
        http(GOOD, "500 Internal Server Error"),
        http(GOOD, "201 Created"),
        http(b"", "302 Found", "text/plain", "Location: https://127.0.0.1:1/mpic/v1/validate"),
        http(GOOD.replace(b"eu-1", b"us-1")),
        http(b" " * 9000 + GOOD),
        http(GOOD)[:-3],
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x00\xff" * 50,
    ],
)
async def test_a_lie_is_a_failure(connections: Connections, tls: Callable[[str], MutualTLS], answer: bytes) -> None:
    result = await ask(connections, tls, saying(answer))
    assert (result.success, result.answered, result.problem) == (False, False, "unavailable")
    assert result.detail


async def test_silence_and_dripping_end_with_the_deadline(
    connections: Connections, tls: Callable[[str], MutualTLS]
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.05)

    for handler in (silent, dripping):
        before = time.monotonic()
        result = await ask(connections, tls, handler)
        assert not result.success
        assert "within 1 seconds" in result.detail
        assert time.monotonic() - before < 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(
    connections: Connections, tls: Callable[[str], MutualTLS]
) -> None:
    answered = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await reader.readuntil(b"\r\n\r\n")
        answered += 1
        if answered != 2:  # the second question comes on the first connection, and gets none
            writer.write(http(GOOD))
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            answered += 1

    files = tls("eu-1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    async with tcp_server(once, context=context) as port:
        remote = RemotePerspective(PerspectiveAddress("eu-1", "eu", f"https://127.0.0.1:{port}"), connections)
        assert (await remote.ask(REQUEST)).success
        assert (await remote.ask(REQUEST)).success
    assert answered == 3


async def test_nobody_there(connections: Connections) -> None:
    address = PerspectiveAddress("eu-1", "eu", f"https://127.0.0.1:{free_port()}")
    result = await RemotePerspective(address, connections).ask(REQUEST)
    assert not result.success
    assert "cannot be asked" in result.detail


async def test_files_that_cannot_be_used_are_found_at_start(tls: Callable[[str], MutualTLS], tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"coordinator\.pem.*cannot be used"):
        (tmp_path / "coordinator.key").write_text("no key")
        Connections(tls("coordinator").client_context)


async def test_renewing_keeps_what_works(
    connections: Connections, tls: Callable[[str], MutualTLS], tmp_path: Path
) -> None:
    kept = (tmp_path / "coordinator.pem").read_bytes()
    (tmp_path / "coordinator.pem").write_text("broken")
    with pytest.raises(OSError, match="cannot be used"):
        await connections.renew()
    assert (await ask(connections, tls, saying(http(GOOD)))).success
    (tmp_path / "coordinator.pem").write_bytes(kept)
    await connections.renew()
    assert (await ask(connections, tls, saying(http(GOOD)))).success
