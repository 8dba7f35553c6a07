"""The admin socket: how the command line talks to a running server. And the lock: one server for one state.

A request is one line of JSON, {"command": name, "arguments": {…}}. The answer is any number of
{"progress": …} lines and then one {"result": …} or {"error": {"kind", "detail"}}. Who may connect is the
kernel's knowledge: folder and socket are of a mode that only their owner can use, and the peer's uid is
checked besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import inspect
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from gateway.admin_client import AdminRefused, NotRunning, call_sync, short_path, socket_path
from policy.problems import Problem, Unavailable

__all__ = [
    "AdminRefused",
    "AdminServer",
    "AlreadyRunning",
    "Command",
    "NotRunning",
    "Progress",
    "StateLock",
    "call",
    "call_sync",
    "socket_path",
]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A list of all credentials fits; a runaway client does not."""

Progress = Callable[[object], Awaitable[None]]
Command = Callable[..., Awaitable[object]]
"""Called with the request's arguments as keywords; a parameter named `progress` gets a Progress."""

_log = structlog.get_logger("certgate.admin")


class AlreadyRunning(Exception):
    """Another process holds this state."""


class StateLock:
    """Held for as long as a process serves a state. The kernel lets go of it when the process dies."""

    def __init__(self, state: Path) -> None:
        self._path = state / "run" / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take it. Raises AlreadyRunning with the other's process id, OSError when it may not be."""
        _make_run_folder(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            other = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise AlreadyRunning(
                f"{self._path.parent.parent} is served already, by process {other}; stop it first, "
                "or use another --state"
            ) from exc
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


class AdminServer:
    """Runs commands for the command line of the same user (or root)."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket file that a dead process left is replaced: the state lock says it is unused."""
        _make_run_folder(self._path.parent)
        self._path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Nobody may connect in the moment between bind and chmod.
            before = os.umask(0o177)
            try:
                with short_path(self._path) as short:
                    sock.bind(short)
            finally:
                os.umask(before)
            sock.setblocking(False)
            self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_MESSAGE_BYTES)
        except BaseException:
            sock.close()
            raise

    async def stop(self, seconds: float = 5.0) -> None:
        """Listen no more; commands that run get this time to finish, then they are cancelled."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not _same_user(writer):
                await _write(writer, {"error": {"kind": "forbidden", "detail": "this socket is its owner's"}})
                return
            try:
                line = await reader.readline()
            except ValueError:
                detail = f"the request is larger than {MAX_MESSAGE_BYTES} bytes"
                await _write(writer, {"error": {"kind": "too-large", "detail": detail}})
                return
            if line:
                await _write(writer, await self._run(line, writer))
        except ConnectionError:
            pass  # the command line was interrupted
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _run(self, line: bytes, writer: asyncio.StreamWriter) -> dict[str, object]:
        """The answer to one request; every exception becomes one."""
        try:
            request = msgspec.json.decode(line, type=_Request)
        except msgspec.DecodeError as exc:
            return _error("malformed", f"the request is not of its form: {exc}")
        command = self._commands.get(request.command)
        if command is None:
            return _error("unknown-command", f'the server does not know the command "{request.command}"')

        async def progress(value: object) -> None:
            await _write(writer, {"progress": value})

        arguments = dict(request.arguments)
        signature = inspect.signature(command)
        if "progress" in signature.parameters:
            arguments["progress"] = progress
        try:
            signature.bind(**arguments)
        except TypeError as exc:
            return _error("malformed", f'the arguments do not fit the command "{request.command}": {exc}')
        try:
            return {"result": await command(**arguments)}
        except Problem as problem:
            return _error(problem.kind, problem.detail)
        except Exception as fault:  # noqa: BLE001 - the command line gets an answer, the log the reason
            _log.error("internal", command=request.command, fault=type(fault).__name__, exc_info=fault)
            return _error("internal", f'internal error in the command "{request.command}"; the log has it')


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    arguments: dict[str, Any] = {}


def _error(kind: str, detail: str) -> dict[str, object]:
    return {"error": {"kind": kind, "detail": detail}}


async def _write(writer: asyncio.StreamWriter, value: object) -> None:
    writer.write(msgspec.json.encode(value, enc_hook=str) + b"\n")
    await writer.drain()


def _same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the peer is the user that the server runs as, or root (SO_PEERCRED, unix(7))."""
    size = struct.calcsize("3i")
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (0, os.geteuid())


def _make_run_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def call(
    path: Path,
    command: str,
    arguments: Mapping[str, object] | None = None,
    on_progress: Callable[[Any], None] | None = None,
) -> Any:
    """Run one command of the server at this socket and return its result.

    Raises NotRunning when nobody listens, AdminRefused when the server says no, Unavailable when it goes away
    before it has answered.
    """
    try:
        with short_path(path) as short:
            reader, writer = await asyncio.open_unix_connection(short, limit=MAX_MESSAGE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise NotRunning(f"no server is running (nothing listens at {path})") from exc
    try:
        with contextlib.suppress(ConnectionError):  # who is refused is told so before he has spoken
            await _write(writer, {"command": command, "arguments": dict(arguments or {})})
        while line := await reader.readline():
            message = msgspec.json.decode(line)
            if "progress" in message:
                if on_progress is not None:
                    on_progress(message["progress"])
            elif "error" in message:
                raise AdminRefused(message["error"]["kind"], message["error"]["detail"])
            else:
                return message["result"]
    except ConnectionError as exc:
        raise Unavailable("the server went away before it had answered") from exc
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    raise Unavailable("the server went away before it had answered")
