"""How a command reaches its work: through the admin socket of a running server, else on the store itself."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gateway.admin_client import AdminRefused, NotRunning, call_sync, socket_path
from gateway.cli import REFUSED, UNAVAILABLE, USAGE, CommandFailed, overrides
from gateway.cli.output import Progress

if TYPE_CHECKING:
    from asyncio import Runner

    from gateway.app import Core
    from gateway.config import Config

PAGE = 500
"""Items that are asked for at once: some megabytes, on both sides."""


def configuration(options: argparse.Namespace) -> Config:
    """The configuration that the options lead to. Raises CommandFailed with every mistake in it."""
    from gateway.config import ConfigError, load

    try:
        return load(options.state, options.config, os.environ, overrides(options))
    except ConfigError as fault:
        raise CommandFailed(str(fault), USAGE) from fault


class Conversation:
    """Everything that one invocation asks: of the running server, or of a store that is opened once.

    `running` says, after the first question, whether a server answered it.
    """

    def __init__(self, options: argparse.Namespace, *, server_only: bool = False, create: bool = False) -> None:
        self._options = options
        self._create = create
        self._server_only = server_only
        self._local: _Local | None = None
        self.running: bool | None = None
        self.progress = Progress()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Run a command of gateway.commands and give its result. Raises CommandFailed in the problem's own words."""
        from policy.problems import Unavailable

        arguments.setdefault("actor", actor())
        try:
            if self.running is not False:
                path = socket_path(self._options.state)
                result = call_sync(path, command, arguments, self.progress.say)
                self.running = True
            else:
                result = self._here(command, arguments)
        except NotRunning as fault:
            if self.running or self._server_only:
                raise CommandFailed(str(fault), UNAVAILABLE) from fault
            self.running = False
            return self.ask(command, **arguments)
        except AdminRefused as refused:
            status = UNAVAILABLE if refused.kind in ("unavailable", "internal") else REFUSED
            raise CommandFailed(str(refused), status) from refused
        except (Unavailable, OSError) as fault:
            raise CommandFailed(str(fault), UNAVAILABLE) from fault
        finally:
            self.progress.clear()
        return result

    def _here(self, command: str, arguments: dict[str, Any]) -> Any:
        if self._local is None:
            self._local = _Local(configuration(self._options), create=self._create)
        return self._local.run(command, arguments, self.progress)

    def close(self) -> None:
        """Close the store, where it was opened here."""
        if self._local is not None:
            self._local.close()
            self._local = None


class _Local:
    """A store that this process has opened, since no server runs."""

    def __init__(self, config: Config, *, create: bool) -> None:
        """Open it; `create` makes a state that is not there. Raises CommandFailed when it cannot be."""
        import asyncio

        from gateway.app import open_core
        from gateway.logs import Logging
        from gateway.masterkey import StateMissing
        from gateway.store import StoreRefused

        if not config.state.is_dir() and not create:
            raise CommandFailed(f"there is no state folder {config.state}: run certgate quickstart", UNAVAILABLE)
        # What the server would log has to stay away from standard output, which scripts read.
        self._log = Logging("warning", config.log.format)
        self._log.configure()
        self._runner: Runner = asyncio.Runner()
        try:
            self._core: Core = self._runner.run(open_core(config, create=create))
        except BaseException as fault:
            self._runner.close()
            self._log.close()
            if isinstance(fault, StateMissing | StoreRefused | OSError):
                raise CommandFailed(str(fault), UNAVAILABLE) from fault
            raise

    def run(self, command: str, arguments: dict[str, Any], progress: Progress) -> Any:
        import inspect

        import msgspec

        from gateway.commands import commands_of
        from policy.problems import Problem, Unavailable
        from policy.store import StoreUnavailable

        function = commands_of(self._core)[command]

        async def say(value: object) -> None:
            progress.say(value)

        if "progress" in inspect.signature(function).parameters:
            arguments = {**arguments, "progress": say}
        try:
            result = self._runner.run(_awaited(function, arguments))
        except (Unavailable, StoreUnavailable) as fault:
            raise CommandFailed(str(fault), UNAVAILABLE) from fault
        except Problem as problem:
            raise CommandFailed(problem.detail) from problem
        return msgspec.to_builtins(result, enc_hook=str)

    def close(self) -> None:
        self._runner.run(self._core.close())
        self._runner.close()
        self._log.close()


async def _awaited(function: Any, arguments: dict[str, Any]) -> Any:
    return await function(**arguments)


@contextmanager
def conversation(
    options: argparse.Namespace, *, server_only: bool = False, create: bool = False
) -> Iterator[Conversation]:
    """A conversation that is closed at the end.

    `server_only` refuses to work without a running server; `create` makes a state folder that is not there.
    """
    talk = Conversation(options, server_only=server_only, create=create)
    try:
        yield talk
    finally:
        talk.close()


def ask(options: argparse.Namespace, command: str, **arguments: Any) -> Any:
    """One question. Raises CommandFailed."""
    with conversation(options) as talk:
        return talk.ask(command, **arguments)


def pages(
    talk: Conversation, command: str, limit: int = 0, start: Any = None, **arguments: Any
) -> Iterator[dict[str, Any]]:
    """The items of a paged command from a place on; `limit` 0 for all. No more than one page is held at a time."""
    given, after = 0, start
    while True:
        size = min(PAGE, limit - given) if limit else PAGE
        place = {} if after is None else {"after": after}
        page = talk.ask(command, limit=size, **place, **arguments)
        yield from page["items"]
        given, after = given + len(page["items"]), page["next"]
        if not after or (limit and given >= limit):
            return


def actor() -> str:
    """Who gives this command, for the audit log: the account of the operating system."""
    import pwd

    try:
        return f"user:{pwd.getpwuid(os.geteuid()).pw_name}@cli"
    except KeyError:
        return f"user:{os.geteuid()}@cli"
