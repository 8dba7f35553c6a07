"""The command line in this process: on a state without a server, and against one behind its admin socket."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog

from ca_core.clock import FixedClock
from gateway.admin import AdminServer, StateLock, socket_path
from gateway.cli import main
from gateway.commands import commands_of
from tests.conftest import START, House, make_house
from tests.gateway.commands.issuing import held, issued

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    out: str
    err: str


class Line:
    """The command line on one state folder."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = state
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        """Run one command; an exit by argparse is a status, too."""
        self._capsys.readouterr()
        try:
            status = main([*words, "--state", str(self.state)])
        except SystemExit as ended:
            status = int(str(ended.code or 0))
        out, err = self._capsys.readouterr()
        return Said(status, out, err)


class Served:
    """A certgate without listeners, in a thread of its own, behind its admin socket."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.house: House = self.run(self._start())

    def run(self, work: Awaitable[T]) -> T:
        """Do something in the server's own loop."""

        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(30)

    async def _start(self) -> House:
        house = await make_house(self.state, FixedClock(START), f"sqlite:///{self.state}/certgate.db")
        commands = {**commands_of(house.core), "config.reload": self._reload, "broken": self._broken}
        self._admin = AdminServer(socket_path(self.state), commands)
        await self._admin.start()
        return house

    fault: str | None = None

    async def _reload(self, *, actor: str) -> dict[str, Any]:
        return {"fault": self.fault}

    async def _broken(self, *, actor: str) -> None:
        raise RuntimeError(actor)

    def issue(self, *names: str, **more: object) -> str:
        """A certificate's serial."""
        return self.run(issued(self.house, *names, **more)).serial or ""

    def hold(self, name: str = "held.certgate.test") -> str:
        """The id of an order that waits for a person."""
        return self.run(held(self.house, name)).id

    def stop(self) -> None:
        """End it."""
        self.run(self._admin.stop())
        self.run(self.house.core.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A command makes the process's log its own: given back after each test."""
    handlers, level = logging.root.handlers[:], logging.root.level
    before = structlog.get_config()
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """See Served."""
    state = tmp_path / "served"
    state.mkdir(mode=0o700)
    one = Served(state)
    with StateLock(state):
        yield one
        one.stop()


@pytest.fixture
def online(served: Served, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line of the served state."""
    return Line(served.state, capsys)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quickstart state, made once."""
    state = tmp_path_factory.mktemp("quickstart") / "state"
    assert main(["quickstart", "--state", str(state)]) == 0
    return state


@pytest.fixture
def offline(template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line of a quickstart state without a server."""
    shutil.copytree(template, tmp_path / "state")
    return Line(tmp_path / "state", capsys)


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line where nothing is set up."""
    return Line(tmp_path / "nothing", capsys)
