"""certgate perspective: keys, serve, check (docs/operations/perspectives.md)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import OK, REFUSED, UNAVAILABLE, USAGE, Actions, CommandFailed, json_option, noun, verb
from gateway.cli.output import print_json, print_table
from gateway.cli.talk import configuration

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.perspectives.process import PerspectiveProcess
    from policy.validation.perspectives import PerspectiveResult

PORT = 8446


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "perspective", "validation from several places on the network (MPIC)")
    one = verb(actions, "keys", keys, "make the certificates by which server and perspectives know each other")
    one.add_argument("perspectives", nargs="*", metavar="NAME=HOST", help="name, and host in the server's URL of it")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="where; what is good there stays")
    one = verb(actions, "serve", serve, "run a perspective in the foreground")
    one.add_argument("--name", required=True, help="what the server's validation.perspectives calls it")
    one.add_argument("--listen", default="127.0.0.1", metavar="ADDR", help="default 127.0.0.1")
    one.add_argument("--port", type=int, default=PORT, metavar="N", help=f"default {PORT}")
    one.add_argument(
        "--coordinator",
        default="coordinator",
        metavar="NAME",
        help='DNS name in the certificate of the server that may ask (default "coordinator", as keys makes it)',
    )
    one = verb(actions, "check", check, "ask every configured perspective something, and say what each answers")
    json_option(one)


def keys(options: argparse.Namespace) -> int:
    """Make certificates; 0 when all are there."""
    from ca_core.clock import system_clock
    from gateway.config.perspectives import PerspectiveAddress
    from gateway.perspectives.keys import CA, COORDINATOR, make_keys

    hosts: dict[str, str] = {}
    for text in options.perspectives:
        name, _, host = text.partition("=")
        shown = f"[{host}]" if ":" in host else host
        try:
            PerspectiveAddress.parse(f"{name}=x=https://{shown}")
        except ValueError as fault:
            raise CommandFailed(f'"{text}" is not NAME=HOST, in lower case', USAGE) from fault
        if name in (CA, COORDINATOR):
            raise CommandFailed(f'"{name}" is the name of another file; call the perspective otherwise', USAGE)
        hosts[name] = host
    try:
        written = make_keys(options.out, hosts, system_clock())
    except (OSError, ValueError) as fault:
        raise CommandFailed(str(fault)) from fault
    for path in written:
        print(path)
    return OK


def serve(options: argparse.Namespace) -> int:
    """Serve as a perspective; 0 after a clean stop."""
    from gateway.server import run

    config = configuration(options)
    if not config.validation.perspective_certificate_file:
        raise CommandFailed(
            "a perspective needs validation.perspective_certificate_file, perspective_key_file and "
            "perspective_ca_file: certgate perspective keys makes them",
            USAGE,
        )
    try:
        return run(_serve(config, options))
    except OSError as fault:
        raise CommandFailed(str(fault), UNAVAILABLE) from fault


async def _serve(config: Config, options: argparse.Namespace) -> int:
    from gateway.logs import Logging
    from gateway.perspectives.process import PerspectiveProcess
    from gateway.server import settle

    log = Logging(config.log.level, config.log.format)
    log.configure()
    process = PerspectiveProcess(
        config.validation,
        options.name,
        log,
        listen=options.listen,
        port=options.port,
        coordinator=options.coordinator,
    )
    await process.server.start()
    settle()
    print(f"ready {process.origin}", flush=True)
    await _until_stopped(process)
    await process.server.stop()
    log.close()
    return OK


async def _until_stopped(process: PerspectiveProcess) -> None:
    """Wait for SIGTERM or SIGINT; SIGHUP reads the certificate files again."""
    import asyncio
    import signal

    import structlog

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)

    def reload() -> None:
        log = structlog.get_logger("certgate.perspective")
        try:
            process.reload()
        except OSError as fault:
            log.error("reload failed; what was in force stays", fault=str(fault))
        else:
            log.info("reloaded")

    loop.add_signal_handler(signal.SIGHUP, reload)
    await stopped.wait()


def check(options: argparse.Namespace) -> int:
    """Ask each perspective about CAA of a name that cannot be; 0 when all of them answered."""
    import asyncio

    config = configuration(options)
    if not config.validation.perspectives:
        raise CommandFailed("validation.perspectives is empty: only this server validates", USAGE)
    try:
        results = asyncio.run(_ask_all(config))
    except OSError as fault:
        raise CommandFailed(str(fault), UNAVAILABLE) from fault
    header = ("perspective", "region", "answered", "said")
    rows = [(one.perspective, one.region, one.answered, one.detail or one.evidence) for one in results]
    if options.json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print_table(rows, header)
    return OK if all(one.answered for one in results) else REFUSED


async def _ask_all(config: Config) -> list[PerspectiveResult]:
    import asyncio

    from gateway.config.perspectives import PerspectiveAddress
    from gateway.perspectives.remote import Connections, remotes
    from gateway.validators.assembly import perspective_tls
    from policy.validation.caa import CAAQuery
    from policy.validation.perspectives import PerspectiveRequest

    settings = config.validation
    connections = Connections(perspective_tls(settings).client_context)
    # "invalid" never exists (RFC 6761 section 6.4), so what comes back says how far DNS works there.
    query = CAAQuery("perspective-check.invalid", (), False, None, None)
    request = PerspectiveRequest(settings.timeout_seconds, caa=query)
    addresses = [PerspectiveAddress.parse(text) for text in settings.perspectives]
    try:
        return list(await asyncio.gather(*[one.ask(request) for one in remotes(addresses, connections)]))
    finally:
        await connections.close()
