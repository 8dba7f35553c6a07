"""The command `certgate`: one parser, one module per noun, one way to the server.

A command that needs the store is sent to the running server through its admin socket; when none runs, the same
function works on the store directly. Exit status: 0 done, 1 refused or not found, 2 wrong usage or configuration,
3 the server or store does not answer.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from gateway import __version__

OK, REFUSED, USAGE, UNAVAILABLE = 0, 1, 2, 3

PORTS = {
    "https_port": "server.https_port",
    "mtls_port": "server.mtls_port",
    "http_port": "server.http_port",
    "management_port": "server.management_port",
    "workers": "server.workers",
}


EXIT_STATUSES = (
    "Exit status: 0 done; 1 refused, not found, or something is wrong with what was looked at; 2 wrong usage or "
    "configuration; 3 the server or the store does not answer. Times are UTC, serials hexadecimal."
)

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandFailed(Exception):
    """A command ends with a sentence for standard error and an exit status."""

    def __init__(self, sentence: str, status: int = REFUSED) -> None:
        super().__init__(sentence)
        self.status = status


def state_parent() -> argparse.ArgumentParser:
    """The options that every command has."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get("CERTGATE_STATE", "state")),
        metavar="DIR",
        help="the state folder (default: $CERTGATE_STATE, else ./state)",
    )
    parent.add_argument("--config", type=Path, metavar="FILE", help="default: certgate.toml in the state folder")
    parent.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any configuration key; repeatable"
    )
    return parent


def server_parent() -> argparse.ArgumentParser:
    """The options of quickstart and serve."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--listen", metavar="ADDR", help="address of every listener (default 127.0.0.1)")
    parent.add_argument("--https-port", type=int, metavar="N", help="ACME and REST (default 8443)")
    parent.add_argument("--mtls-port", type=int, metavar="N", help="with client certificates: EST (default 8444)")
    parent.add_argument("--http-port", type=int, metavar="N", help="CRL, OCSP, CA certificates (default 8080)")
    parent.add_argument("--management-port", type=int, metavar="N", help="health and metrics (default 9090)")
    parent.add_argument("--workers", type=int, metavar="N", help="worker processes (this version: 1)")
    return parent


def overrides(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The configuration keys that the command line sets. Raises CommandFailed for a `--set` without "="."""
    found: list[tuple[str, str]] = []
    if getattr(options, "listen", None):
        found.append(("server.listen", options.listen))
    for option, key in PORTS.items():
        value = getattr(options, option, None)
        if value is not None:
            found.append((key, str(value)))
    for text in options.set:
        key, divider, value = text.partition("=")
        if not divider:
            raise CommandFailed(f'--set "{text}": write section.key=value', USAGE)
        found.append((key.strip(), value))
    return found


def noun(commands: Actions, name: str, help: str) -> Actions:
    """A command that has verbs below it: `certgate order …`."""
    one = commands.add_parser(name, help=help, description=f"{help[:1].upper()}{help[1:]}.", epilog=EXIT_STATUSES)
    return one.add_subparsers(dest="verb", metavar="VERB", required=True)


def verb(actions: Actions, name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    """A command that does something; its options are added to what is returned."""
    description = f"{help[:1].upper()}{help[1:]}."
    one = actions.add_parser(name, parents=[state_parent()], help=help, description=description, epilog=EXIT_STATUSES)
    one.set_defaults(run=run)
    return one


def json_option(one: argparse.ArgumentParser, help: str = "as JSON, for scripts") -> None:
    """What every list and show takes."""
    one.add_argument("--json", action="store_true", help=help)


def parser() -> argparse.ArgumentParser:
    """The whole command tree."""
    from gateway.cli import (
        account,
        audit,
        bulk,
        ca,
        certificate,
        config,
        credential,
        db,
        doctor,
        domain,
        mount,
        order,
        people,
        perspective,
        product,
        quickstart,
        serve,
    )

    tree = argparse.ArgumentParser(
        prog="certgate", description="Certificate gateway: ACME, EST and more, one CA.", epilog=EXIT_STATUSES
    )
    tree.add_argument("--version", action="version", version=f"certgate {__version__}")
    commands = tree.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (
        quickstart, serve, doctor, config, ca, product, mount, people, credential, account, domain, order, certificate,
        bulk, audit, db, perspective,
    ):  # fmt: skip
        module.add(commands)
    return tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options) or OK)
    except CommandFailed as failed:
        print(f"certgate: {failed}", file=sys.stderr)
        return failed.status
    except BrokenPipeError:
        # The reader of a pipe (head) went away: nothing is wrong, and nothing can be said any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
