"""Small real servers on loopback for the validators to talk to: DNS over UDP and TCP, and raw TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "ns.example. admin.example. 1 7200 900 1209600 60"

Answering = Callable[[dns.message.Message, bool], dns.message.Message | list[bytes] | None]
"""What a name server does with a query, which came over TCP or not: an answer, raw messages, or nothing."""


@dataclass
class NameServer:
    """A recursive resolver's face: it answers from `records` and follows aliases inside them.

    `records` maps name and type to the texts of the records; `codes` maps a name, or a name and a type, to a
    response code; a name in neither exists and has no records.
    """

    port: int = 0
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    codes: dict[str | tuple[str, str], dns.rcode.Rcode] = field(default_factory=dict)
    answering: Answering | None = None
    udp_limit: int = 512
    ttl: int = 300
    soa: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def answer(self, query: dns.message.Message, tcp: bool) -> dns.message.Message | list[bytes] | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, "tcp" if tcp else "udp"))
        if self.answering is not None:
            return self.answering(query, tcp)
        return self.regular(query)

    def regular(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(self.codes.get((name, kind), self.codes.get(name, dns.rcode.NOERROR)))
        seen = set()
        while (name, kind) not in self.records and (name, "CNAME") in self.records and name not in seen:
            seen.add(name)
            self._add(response, name, "CNAME")
            name = self.records[name, "CNAME"][0].rstrip(".")
        if (name, kind) in self.records:
            self._add(response, name, kind)
        elif self.soa:
            response.authority.append(dns.rrset.from_text("example.", self.ttl, "IN", "SOA", SOA))
        return response

    def _add(self, response: dns.message.Message, name: str, kind: str) -> None:
        response.answer.append(dns.rrset.from_text_list(name + ".", self.ttl, "IN", kind, self.records[name, kind]))

    def to_wire(self, answer: dns.message.Message | list[bytes] | None, tcp: bool) -> list[bytes]:
        if answer is None or isinstance(answer, list):
            return answer or []
        wire = answer.to_wire(max_size=65535)
        if not tcp and len(wire) > self.udp_limit:
            answer.flags |= dns.flags.TC
            answer.answer.clear()
            wire = answer.to_wire()
        return [wire]


class _UDP(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own transport does not inherit from the class that its documentation names.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.server.answer(dns.message.from_wire(data), False)
        for message in self.server.to_wire(answer, False):
            self.transport.sendto(message, addr)


@contextlib.asynccontextmanager
async def name_server(port: int = 0) -> AsyncIterator[NameServer]:
    """A name server on 127.0.0.1, UDP and TCP, on a free port where none is said."""
    server = NameServer()

    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = dns.message.from_wire(await reader.readexactly(size))
            for message in server.to_wire(server.answer(query, True), True):
                writer.write(len(message).to_bytes(2, "big") + message)
            await reader.read(1)
        writer.close()

    loop = asyncio.get_running_loop()
    tcp = await asyncio.start_server(over_tcp, "127.0.0.1", port)
    server.port = tcp.sockets[0].getsockname()[1]
    udp, _ = await loop.create_datagram_endpoint(lambda: _UDP(server), ("127.0.0.1", server.port))
    try:
        yield server
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()
        await asyncio.sleep(0)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_server(
    handler: Handler, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on a free port; gives the port. Connections still open at the end are cut."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0.01)


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True
