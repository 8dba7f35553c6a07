"""certgate product versions, schema, lint, try, replay: what a product is and would be, before anybody orders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gateway.cli import OK, REFUSED, USAGE, Actions, CommandFailed, json_option, verb
from gateway.cli.order_steps import request_text
from gateway.cli.output import print_json, print_table, shown
from gateway.cli.talk import ask


def add_trials(actions: Actions) -> None:
    """Add them below `certgate product`."""
    one = verb(actions, "versions", versions, "every version of a product, newest first")
    one.add_argument("name")
    json_option(one)
    one = verb(actions, "schema", schema, "what an order of a product may say, as JSON Schema")
    one.add_argument("name")
    one = verb(actions, "lint", lint, "combinations that give away more than is meant")
    _draft(one)
    one = verb(actions, "try", try_, "what a request would get, without ordering")
    _draft(one)
    one.add_argument("--csr", required=True, metavar="FILE", help="PEM or DER")
    one.add_argument("--credential", required=True, metavar="NAME", help="the one that would order")
    one = verb(actions, "replay", replay, "which orders of the last days a product would refuse")
    _draft(one)
    one.add_argument("--days", type=int, default=30, metavar="N", help="how far to look back (default 30)")


def _draft(one: argparse.ArgumentParser) -> None:
    one.add_argument("name")
    one.add_argument("-f", "--file", metavar="FILE", help='the product as it might be, as TOML; "-" for standard input')
    json_option(one)


def _text(options: argparse.Namespace) -> str | None:
    if options.file is None:
        return None
    try:
        return sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise CommandFailed(f"{options.file} cannot be read: {fault}", USAGE) from fault


def versions(options: argparse.Namespace) -> int:
    """certgate product versions"""
    found = ask(options, "product.versions", name=options.name)
    if options.json:
        print_json(found)
    else:
        print_table([[one["version"], one["state"], one["title"]] for one in found], ["version", "state", "title"])
    return OK


def schema(options: argparse.Namespace) -> int:
    """certgate product schema"""
    print_json(ask(options, "product.schema", name=options.name))
    return OK


def lint(options: argparse.Namespace) -> int:
    """certgate product lint"""
    found = ask(options, "product.lint", name=options.name, text=_text(options))
    if options.json:
        print_json(found)
    else:
        say_findings(found)
    return REFUSED if any(one["severity"] == "error" for one in found) else OK


def say_findings(found: list[dict[str, Any]]) -> None:
    """What product lint found."""
    for one in found:
        print(f"{one['severity']} {one['rule']} at {one['pointer']}: {shown(one['detail'])} (rather: {one['nearest']})")


def try_(options: argparse.Namespace) -> int:
    """certgate product try"""
    words = {"credential": options.credential, "csr": request_text(options.csr), "text": _text(options)}
    found = ask(options, "product.try", name=options.name, **words)
    if options.json:
        print_json(found)
    else:
        rows = [[one["rule"], one["outcome"], one["detail"]] for one in found["decision"]]
        print_table(rows, ["rule", "outcome", "because"])
        print("It would be issued." if found["issued"] else f"It would be refused: {shown(found['problem']['detail'])}")
    return OK if found["issued"] else REFUSED


def replay(options: argparse.Namespace) -> int:
    """certgate product replay"""
    found = ask(options, "product.replay", name=options.name, days=options.days, text=_text(options))
    if options.json:
        print_json(found)
        return OK
    print(f"{found['looked']} orders looked at, {len(found['broken'])} would be refused")
    print_table([[one["order"], one["names"], one["detail"]] for one in found["broken"]], ["order", "names", "because"])
    return OK
