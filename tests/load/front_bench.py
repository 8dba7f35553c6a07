"""CPU of one request in the front alone: a server process with a small door, clients that keep their connections.

    python -m tests.load.front_bench [--no-lane] [--plain] [--asyncio] [--runs 7] [--count 20000]

The server's CPU comes from /proc (user and system), so that clients on the same cores do not count; the least of
several runs is shown, because whatever else the machine does only adds. `y` is one ECDSA P-256 verification.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import subprocess
import sys
import time
from typing import cast

import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.config import ServerSettings
from gateway.listening import Listener
from gateway.logs import Logging
from gateway.metrics import Metrics
from gateway.routing import Door, say_plainly
from gateway.server import Server, run, settle
from gateway.tls import TLSProfile
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport
from tests.replacing import replace

_FIELDS = "Host: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
_BODY = "x" * 1000
REQUESTS = {
    "GET": f"GET /bench/small HTTP/1.1\r\n{_FIELDS}\r\n".encode(),
    "GET with a parameter": f"GET /bench/m1/order/abcdefgh12345678 HTTP/1.1\r\n{_FIELDS}\r\n".encode(),
    "POST of 1000 bytes": (
        f"POST /bench/m1/order/abcdefgh12345678 HTTP/1.1\r\n{_FIELDS}"
        f"Content-Type: application/jose+json\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}"
    ).encode(),
}
_ANSWER = HTTPResponse(200, b"y" * 300, "application/json", (("Replay-Nonce", "n" * 40), ("Cache-Control", "no-store")))


async def _small(request: HTTPRequest) -> HTTPResponse:
    request.event["account"] = "a-1"
    request.headers.get("content-type")
    return _ANSWER


def _door() -> Door:
    return Door(
        "bench",
        say_plainly,
        (
            Route(("GET",), "/bench/small", "small", _small, Transport.ANY),
            Route(("GET", "POST"), "/bench/{label}/order/{id}", "order", _small, Transport.ANY),
        ),
    )


async def _serve(options: argparse.Namespace) -> None:
    log = Logging("info", "json")
    log.configure()
    settings = ServerSettings()
    if options.no_lane:
        settings = replace(settings, hot_lane=False)
    tls = None if options.plain else TLSProfile()
    server = Server((Listener("main", "127.0.0.1", 0, "https://ca.example", tls),), settings, log, Metrics())
    certificate = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    server.replace_certificate(chain, certificate.private_key_pem.bytes())
    server.reload_routes((_door(),))
    await server.start()
    settle()
    print(server.port("main"), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop()


class _Client(asyncio.Protocol):
    """Sends the next request as soon as the answer is whole."""

    def __init__(self, request: bytes, share: int, done: asyncio.Future[None]) -> None:
        self._request = request
        self._left = share
        self._done = done
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or len(body) < len(_ANSWER.body):  # type: ignore[arg-type] # bytes, see above
            return
        assert head.startswith(b"HTTP/1.1 200 "), head
        self._got = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self._transport.close()
            self._done.set_result(None)


async def _load(port: int, request: bytes, count: int, lanes: int, *, plain: bool) -> None:
    context = None
    if not plain:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(lanes)]
    for end in ends:
        await loop.create_connection(
            lambda end=end: _Client(request, count // lanes, end), "127.0.0.1", port, ssl=context
        )
    await asyncio.gather(*ends)


def _cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _yardstick() -> float:
    key = ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(b"x" * 500, ec.ECDSA(SHA256()))
    public = key.public_key()
    best = 1.0
    for _ in range(5):
        begun = time.process_time()
        for _ in range(500):
            public.verify(signature, b"x" * 500, ec.ECDSA(SHA256()))
        best = min(best, (time.process_time() - begun) / 500)
    return best


def main() -> None:
    """Start the server and ask it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-lane", action="store_true", help="with server.hot_lane off")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--asyncio", action="store_true", help="without uvloop")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--count", type=int, default=16000, help="requests of a run")
    parser.add_argument("--lanes", type=int, default=16, help="connections")
    options = parser.parse_args()
    if options.serve:
        run(_serve(options), fast=not options.asyncio)
        return
    command = [sys.executable, "-m", "tests.load.front_bench", "--serve", *sys.argv[1:]]
    with (
        open(os.devnull, "wb") as nothing,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=nothing) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        y = _yardstick()
        print(f"y = {y * 1e6:.1f} µs")
        for name, request in REQUESTS.items():
            costs = []
            for _ in range(options.runs):
                before = _cpu(server.pid)
                run(_load(port, request, options.count, options.lanes, plain=options.plain))
                costs.append((_cpu(server.pid) - before) / options.count)
            print(f"{name:22} min {min(costs) * 1e6:6.1f} µs  median {sorted(costs)[len(costs) // 2] * 1e6:6.1f} µs")
        assert server.stdin is not None
        server.stdin.close()


if __name__ == "__main__":
    main()
