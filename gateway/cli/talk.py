"""How a command reaches its work: through the admin socket of a running server, else on the store itself."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.admin import AdminRefused, NotRunning, call_sync, socket_path
from gateway.cli import REFUSED, UNAVAILABLE, USAGE, CommandFailed, overrides

if TYPE_CHECKING:
    from gateway.config import Config


def configuration(options: argparse.Namespace) -> Config:
    """The configuration that the options lead to. Raises CommandFailed with every mistake in it."""
    from gateway.config import ConfigError, load

    try:
        return load(options.state, options.config, os.environ, overrides(options))
    except ConfigError as fault:
        raise CommandFailed(str(fault), USAGE) from fault


def ask(options: argparse.Namespace, command: str, **arguments: Any) -> Any:
    """Run a command of gateway.commands, wherever the store is, and give its result.

    Raises CommandFailed with the problem's own sentence.
    """
    arguments.setdefault("actor", actor())
    try:
        return call_sync(socket_path(options.state), command, arguments, show_progress)
    except NotRunning:
        return _run_here(options, command, arguments)
    except AdminRefused as refused:
        raise CommandFailed(str(refused), UNAVAILABLE if refused.kind == "unavailable" else REFUSED) from refused


def _run_here(options: argparse.Namespace, command: str, arguments: dict[str, Any]) -> Any:
    """Without a server: open the store, do it, close the store."""
    import asyncio

    import msgspec

    from gateway.app import StateMissing, open_core
    from gateway.commands import commands_of
    from gateway.store import StoreRefused
    from policy.problems import Problem

    async def work() -> Any:
        core = await open_core(configuration(options))
        try:
            result = await commands_of(core)[command](**arguments)
        finally:
            await core.close()
        return msgspec.to_builtins(result, enc_hook=str)

    try:
        return asyncio.run(work())
    except Problem as problem:
        raise CommandFailed(problem.detail) from problem
    except (StateMissing, StoreRefused, OSError) as fault:
        raise CommandFailed(str(fault), UNAVAILABLE) from fault


def actor() -> str:
    """Who gives this command, for the audit log: the account of the operating system."""
    import pwd

    try:
        return f"user:{pwd.getpwuid(os.geteuid()).pw_name}@cli"
    except KeyError:
        return f"user:{os.geteuid()}@cli"


def show_progress(value: Any) -> None:
    """Progress of long work: one line that changes on a terminal, a plain line each in a pipe."""
    text = value if isinstance(value, str) else json.dumps(value)
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: list[list[str]], header: list[str]) -> None:
    """Columns for people; wide enough for what is in them."""
    if not rows:
        print("nothing found")
        return
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(str(value).ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


Printer = Callable[[Any], None]
