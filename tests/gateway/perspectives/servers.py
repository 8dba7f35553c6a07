"""Perspectives as processes of their own, and a web server that says what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gateway.config.perspectives import PerspectiveAddress
from gateway.perspectives.keys import make_keys
from gateway.perspectives.remote import MutualTLS
from tests.gateway.validators.servers import free_port

REGIONS = {"eu-1": "eu", "us-1": "us", "ap-1": "ap"}
NEAR = "127.0.0.0/24"
"""What the perspectives of the tests may call; the rest of loopback is as forbidden as it is by default."""


@dataclass
class Perspective:
    """One process, with the port of the name server that it asks."""

    address: PerspectiveAddress
    dns_port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def name(self) -> str:
        return self.address.name

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """Stopped in its tracks: the kernel still accepts connections for it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@dataclass
class Installation:
    """Three perspectives, their keys, and the port on which they look for http-01."""

    folder: Path
    http_port: int
    perspectives: dict[str, Perspective] = field(default_factory=dict)

    def tls(self, name: str = "coordinator", *, folder: Path | None = None, ca: Path | None = None) -> MutualTLS:
        """The files of somebody who asks."""
        own = folder or self.folder
        return MutualTLS(
            str(own / f"{name}.pem"), str(own / f"{name}.key"), str(ca or self.folder / "perspective-ca.pem")
        )

    @property
    def addresses(self) -> list[PerspectiveAddress]:
        return [one.address for one in self.perspectives.values()]


@contextlib.contextmanager
def installation(folder: Path) -> Iterator[Installation]:
    """Start three perspectives and wait until they listen; their logs have no traceback at the end."""
    make_keys(folder, dict.fromkeys(REGIONS, "127.0.0.1"), datetime.now(UTC))
    made = Installation(folder, free_port())
    try:
        for name in REGIONS:
            made.perspectives[name] = _start(folder, name, made.http_port)
        for one in made.perspectives.values():
            assert one.process.stdout is not None
            line = one.process.stdout.readline().decode()
            assert line == f"ready {one.address.url}\n", one.log.read_text()
        yield made
    finally:
        for one in made.perspectives.values():
            one.process.terminate()
            status = one.process.wait(20)
            assert one.process.stdout is not None
            one.process.stdout.close()
            assert status == 0, one.log.read_text()
            assert "Traceback" not in one.log.read_text(), one.log.read_text()


def _start(folder: Path, name: str, http_port: int) -> Perspective:
    port, dns_port = free_port(), free_port()
    state = folder / f"state-{name}"
    state.mkdir()
    settings = {
        "http01_port": http_port,
        "resolver": f"127.0.0.1:{dns_port}",
        "allow_private_targets": f'["{NEAR}"]',
        "timeout_seconds": 3,
        "perspective_certificate_file": folder / f"{name}.pem",
        "perspective_key_file": folder / f"{name}.key",
        "perspective_ca_file": folder / "perspective-ca.pem",
    }
    command = [sys.executable, "-m", "gateway", "perspective", "serve", "--state", str(state), "--name", name]
    command += ["--port", str(port)]
    for key, value in settings.items():
        command += ["--set", f"validation.{key}={value}"]
    log = folder / f"{name}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONWARNINGS": "error"},
            start_new_session=True,
        )
    address = PerspectiveAddress(name, REGIONS[name], f"https://127.0.0.1:{port}")
    return Perspective(address, dns_port, process, log)


@dataclass
class Web:
    """A web server with one answer for every path; counts the requests."""

    body: str
    requests: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.body)}\r\n\r\n{self.body}".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def at(self, host: str, port: int) -> AsyncIterator[Web]:
        """Listen there."""
        server = await asyncio.start_server(self, host, port)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()
