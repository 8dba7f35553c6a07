"""gateway.admin: the socket between command line and server, and the lock of a state folder."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import admin
from gateway.admin import (
    AdminRefused,
    AdminServer,
    AlreadyRunning,
    NotRunning,
    Progress,
    StateLock,
    call,
    call_sync,
)
from policy.problems import Unavailable, UnknownOrder


async def show(order: str, *, verbose: bool = False) -> object:
    if order == "missing":
        raise UnknownOrder("there is no order missing", context="secret")
    return {"order": order, "verbose": verbose}


async def work(progress: Progress, steps: int) -> object:
    for step in range(steps):
        await progress({"step": step})
    return steps


async def broken() -> object:
    raise KeyError("inside")


async def hang() -> object:
    await asyncio.sleep(60)
    return None


async def large(size: int) -> object:
    return "x" * size


COMMANDS: dict[str, admin.Command] = {
    "show": show,
    "work": work,
    "broken": broken,
    "hang": hang,
    "large": large,
}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    where = admin.socket_path(tmp_path)
    server = AdminServer(where, COMMANDS)
    await server.start()
    yield where
    await server.stop(0.1)
    assert not where.exists()


async def test_result(path: Path) -> None:
    """Arguments are keywords; the result is what the command returned."""
    assert await call(path, "show", {"order": "o-1", "verbose": True}) == {"order": "o-1", "verbose": True}


async def test_progress(path: Path) -> None:
    """Lines before the last one."""
    seen: list[object] = []
    assert await call(path, "work", {"steps": 3}, seen.append) == 3
    assert seen == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert await call(path, "work", {"steps": 3}) == 3


@pytest.mark.parametrize(
    ("command", "arguments", "kind"),
    [
        ("show", {"order": "missing"}, "unknown-order"),
        ("show", {}, "malformed"),
        ("show", {"order": "a", "other": 1}, "malformed"),
        ("nothing", {}, "unknown-command"),
        ("broken", {}, "internal"),
    ],
)
async def test_refusals(path: Path, command: str, arguments: dict[str, object], kind: str) -> None:
    """A problem in its own kind and words, anything else without its insides."""
    with pytest.raises(AdminRefused) as refused:
        await call(path, command, arguments)
    assert refused.value.kind == kind
    assert "inside" not in refused.value.detail


async def test_bytes_that_are_no_request(path: Path) -> None:
    """Answered, and the server goes on."""
    for line in (b"not json\n", b"{}\n", b'{"command": "show", "extra": 1}\n', b"[]\n"):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(line)
        assert b'"malformed"' in await reader.readline()
        writer.close()
        await writer.wait_closed()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.close()
    await writer.wait_closed()
    assert await call(path, "large", {"size": 1_000_000}) == "x" * 1_000_000


async def test_message_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is bounded."""
    monkeypatch.setattr(admin, "MAX_MESSAGE_BYTES", 1000)
    where = admin.socket_path(tmp_path)
    server = AdminServer(where, COMMANDS)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(where))
    writer.write(b"x" * 5000)
    assert b'"too-large"' in await reader.readline()
    writer.close()
    await writer.wait_closed()
    await server.stop()


async def test_modes(path: Path) -> None:
    """Only the owner may connect; the folder is the owner's."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_other_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets past the modes is still asked who they are (SO_PEERCRED)."""
    monkeypatch.setattr(admin, "_same_user", lambda writer: False)
    with pytest.raises(AdminRefused) as refused:
        await call(path, "show", {"order": "o-1"})
    assert refused.value.kind == "forbidden"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_other_user_is_told_apart() -> None:
    """The kernel's word on the peer, with a real other user."""
    with tempfile.TemporaryDirectory() as folder:
        where = admin.socket_path(Path(folder))
        server = AdminServer(where, COMMANDS)
        await server.start()
        Path(folder).chmod(0o755)
        where.parent.chmod(0o755)
        where.chmod(0o666)
        script = (
            "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "print(s.makefile().readline())"
        )
        command = [sys.executable, "-c", script, str(where)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        await server.stop()
    assert '"forbidden"' in done.stdout, done.stderr


async def test_stop_ends_what_hangs(tmp_path: Path) -> None:
    """The client learns that the server has gone."""
    where = admin.socket_path(tmp_path)
    server = AdminServer(where, COMMANDS)
    await server.start()
    calling = asyncio.create_task(call(where, "hang"))
    await asyncio.sleep(0.05)
    await server.stop(0.05)
    with pytest.raises(Unavailable):
        await calling
    with pytest.raises(NotRunning):
        await call(where, "show")


async def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A killed server leaves its socket file; nobody answers there, and the next server takes it over."""
    where = admin.socket_path(tmp_path)
    where.parent.mkdir()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(where))
    dead.close()
    with pytest.raises(NotRunning):
        await call(where, "show")
    server = AdminServer(where, COMMANDS)
    await server.start()
    assert await call(where, "work", {"steps": 1}) == 1
    await server.stop()


async def test_long_path(tmp_path: Path) -> None:
    """A socket address holds 108 bytes; a state folder may be deeper."""
    state = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    where = admin.socket_path(state)
    server = AdminServer(where, COMMANDS)
    await server.start()
    assert await call(where, "work", {"steps": 1}) == 1
    await server.stop()


async def test_call_without_a_loop(path: Path) -> None:
    """The command line is synchronous."""
    assert await asyncio.to_thread(call_sync, path, "work", {"steps": 2}) == 2


def test_state_is_locked(tmp_path: Path) -> None:
    """A second server on the same state refuses, and says whom it met (F16)."""
    served = rf"served already, by process {os.getpid()}"
    with StateLock(tmp_path), pytest.raises(AlreadyRunning, match=served):
        StateLock(tmp_path).acquire()
    with StateLock(tmp_path):
        pass


def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    """After kill -9 there is nothing to clean up."""
    script = "import sys; from pathlib import Path; from gateway.admin import StateLock\n"
    script += "StateLock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(AlreadyRunning, match=f"process {child.pid}"):
        StateLock(tmp_path).acquire()
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    StateLock(tmp_path).acquire().release()
