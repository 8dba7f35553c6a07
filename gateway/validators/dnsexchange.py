"""One exchange with a name server: queries over UDP from one socket, and one query over TCP. Judges nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable

from gateway.validators.dnswire import Answer, BadMessage, answers, read_answer, write_query

_RECEIVE_BYTES = 4096
_IDENTS_BYTES = 64
"""Identifiers for 32 questions, in one system call: more than any exchange has."""

Failure = str
"""Why there is no answer: the end of a sentence."""
SILENT: Failure = "got no answer in time"
UNREACHABLE: Failure = "could not reach the resolver"


class Exchange:
    """Questions sent from one socket, and the wait for their answers. The questions are different ones:
    several copies of the same would give a forger as many chances."""

    def __init__(self, server: tuple[str, int], asked: Iterable[tuple[int, bytes, bool]], dnssec: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._open: dict[int, tuple[int, bytes]] = {}
        self._results: dict[int, Answer | Failure] = {}
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            # Connected: the kernel drops datagrams from anybody else, and tells when nobody listens there.
            self._sock.connect(server)
            random = os.urandom(_IDENTS_BYTES)
            for number, (place, question, edns) in enumerate(asked):
                ident = int.from_bytes(random[2 * number : 2 * number + 2], "big")
                while ident in self._open:
                    ident = int.from_bytes(os.urandom(2), "big")
                self._open[ident] = (place, question)
                self._sock.send(write_query(ident, question, edns=edns, dnssec=dnssec))
        except BaseException:
            self._sock.close()
            raise

    async def run(self, timeout: float) -> dict[int, Answer | Failure]:
        """What came within `timeout` seconds, by place."""
        timer = self._loop.call_later(timeout, self._finish)
        descriptor = self._sock.fileno()
        self._loop.add_reader(descriptor, self._read)
        try:
            await self._done
        finally:
            timer.cancel()
            self._loop.remove_reader(descriptor)
            self._sock.close()
        return self._results

    def _read(self) -> None:
        try:
            # Bounded: a flood of forged datagrams must not keep the event loop here.
            for _ in range(len(self._open)):
                self._take(self._sock.recv(_RECEIVE_BYTES))
        except BlockingIOError:
            return
        except OSError:
            for place, _ in self._open.values():
                self._results[place] = UNREACHABLE
            self._open.clear()
        if not self._open:
            self._finish()

    def _take(self, message: bytes) -> None:
        ident = int.from_bytes(message[:2], "big")
        if (waiting := self._open.get(ident)) is None or not answers(message, waiting[1]):
            return  # not ours, or forged: the right one may still come
        del self._open[ident]
        try:
            self._results[waiting[0]] = read_answer(message, waiting[1])
        except BadMessage as exc:
            self._results[waiting[0]] = f"got a malformed answer: {exc}"

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def ask_tcp(server: tuple[str, int], question: bytes, timeout: float, dnssec: bool) -> Answer | Failure:
    """Ask again where an answer did not fit a datagram (RFC 7766). The resolver is configured, so no guard
    here."""
    ident = os.urandom(2)
    query = ident + write_query(0, question, dnssec=dnssec)[2:]
    writer = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(*server)
            writer.write(len(query).to_bytes(2, "big") + query)
            size = int.from_bytes(await reader.readexactly(2), "big")
            message = await reader.readexactly(size)
    except TimeoutError:
        return SILENT
    except (OSError, asyncio.IncompleteReadError):
        return UNREACHABLE
    finally:
        if writer is not None:
            writer.transport.abort()
    if message[:2] != ident or not answers(message, question):
        return "got an answer to another question"
    try:
        answer = read_answer(message, question)
    except BadMessage as exc:
        return f"got a malformed answer: {exc}"
    return "got a truncated answer over TCP" if answer.truncated else answer
