"""certgate serve: run the server in the foreground until SIGTERM."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gateway.cli import EXIT_STATUSES, UNAVAILABLE, CommandFailed, server_parent, state_parent
from gateway.cli.talk import configuration

if TYPE_CHECKING:
    from gateway.config import Config


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the tree."""
    one = commands.add_parser(
        "serve",
        parents=[state_parent(), server_parent()],
        help="run the server",
        description="Run the server in the foreground until SIGTERM.",
        epilog=EXIT_STATUSES,
    )
    one.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve; 0 after a clean stop."""
    from gateway.admin import AlreadyRunning, StateLock
    from gateway.masterkey import StateMissing
    from gateway.server import run as run_loop
    from gateway.store import StoreRefused

    config = configuration(options)
    try:
        with StateLock(options.state):
            return run_loop(_serve(config))
    except (AlreadyRunning, StateMissing, StoreRefused, OSError) as fault:
        raise CommandFailed(str(fault), UNAVAILABLE) from fault


async def _serve(config: Config) -> int:
    from gateway.admin import AdminServer, socket_path
    from gateway.app import open_core
    from gateway.commands import commands_of
    from gateway.logs import Logging
    from gateway.running import Running
    from gateway.server import settle

    log = Logging(config.log.level, config.log.format)
    log.configure()
    core = await open_core(config)
    running = Running(core, log)
    try:
        await running.start()
    except BaseException:
        await core.close()
        raise

    async def reload(*, actor: str) -> dict[str, str | None]:
        """config.reload, which only a running server has."""
        return {"fault": await running.reload()}

    admin = AdminServer(socket_path(config.state), {**commands_of(core), "config.reload": reload})
    await admin.start()
    settle()
    print(f"ready {config.server.base_url}", flush=True)
    await _until_stopped(running)
    await admin.stop()
    await running.stop()
    log.close()
    return 0


async def _until_stopped(running: object) -> None:
    """Wait for SIGTERM or SIGINT; SIGHUP renews what can be renewed without a stop."""
    import asyncio
    import signal

    from gateway.running import Running

    assert isinstance(running, Running)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    reloads: set[asyncio.Task[str | None]] = set()

    def reload() -> None:
        task = loop.create_task(running.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    await stopped.wait()
