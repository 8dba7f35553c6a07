"""certgate product: list, show, apply, state; what is tried before is in `product_trials`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.cli import OK, USAGE, Actions, CommandFailed, json_option, noun, verb
from gateway.cli.output import print_json, print_table
from gateway.cli.product_trials import add_trials, say_findings
from gateway.cli.talk import ask
from gateway.cli.toml import toml_text

STATES = ("draft", "active", "suspended", "retired")


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "product", "what may be ordered: CA, profile, rules, validation, approval")
    json_option(verb(actions, "list", list_, "the newest version of every product"))
    one = verb(actions, "show", show, "one product, as the TOML that apply reads")
    one.add_argument("name")
    one.add_argument("--version", type=int, metavar="N", help="an older version")
    json_option(one)
    one = verb(actions, "apply", apply, "make what a TOML file says the newest version of its product")
    one.add_argument("--accept", action="append", metavar="RULE", help="a rule of product lint whose error is accepted")
    apply_options(one)
    add_trials(actions)
    one = verb(actions, "state", state, "activate, suspend or retire a product")
    one.add_argument("name")
    # Not "state": that is the state folder of every command.
    one.add_argument("new_state", choices=STATES, metavar="STATE", help=", ".join(STATES))
    json_option(one)


def apply_options(one: argparse.ArgumentParser) -> None:
    """The options of every `apply`."""
    one.add_argument("-f", "--file", required=True, metavar="FILE", help='a TOML file, "-" for standard input')
    one.add_argument("--dry-run", action="store_true", help="only say what would change")
    json_option(one)


def read_file(name: str) -> dict[str, str]:
    """Text and name of a file. Raises CommandFailed when it cannot be read."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise CommandFailed(f"{name} cannot be read: {fault}", USAGE) from fault
    return {"text": text, "source": "standard input" if name == "-" else name}


def say_changes(what: str, found: Mapping[str, Any], *, dry_run: bool) -> None:
    """What an `apply` changed, or would change, key by key."""
    if not found["changes"]:
        print(f"{what}: nothing to change")
        return
    verbs = ("would be made", "would change") if dry_run else ("made", "changed")
    print(f"{what} {verbs[0] if found['new'] else verbs[1]}:")
    for one in found["changes"]:
        before = "" if one["old"] is None else f"{json.dumps(one['old'], ensure_ascii=False)} → "
        print(f"  {one['key']}: {before}{json.dumps(one['new'], ensure_ascii=False)}")


def list_(options: argparse.Namespace) -> int:
    """certgate product list"""
    found = ask(options, "product.list")
    if options.json:
        print_json(found)
        return OK
    rows = [[one["name"], one["version"], one["state"], one["issuer"], one["protocols"], one["title"]] for one in found]
    print_table(rows, ["name", "version", "state", "issuer", "protocols", "title"])
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate product show"""
    found = ask(options, "product.show", name=options.name, version=options.version)
    if options.json:
        print_json(found)
    else:
        print(f"# version {found['version']}")
        print(toml_text(found), end="")
    return OK


def apply(options: argparse.Namespace) -> int:
    """certgate product apply"""
    words = {**read_file(options.file), "dry_run": options.dry_run, "accept": options.accept}
    found = ask(options, "product.apply", **words)
    if options.json:
        print_json(found)
        return OK
    say_changes(f"product {found['name']}", found, dry_run=options.dry_run)
    say_findings(found["findings"])
    if found["changes"] and not options.dry_run:
        print(f"It is version {found['version']}; orders that were placed keep theirs.")
    return OK


def state(options: argparse.Namespace) -> int:
    """certgate product state"""
    found = ask(options, "product.state", name=options.name, state=options.new_state)
    if options.json:
        print_json(found)
    else:
        print(f"product {found['name']} is {found['state']} now (version {found['version']})")
    return OK
