"""certgate mount: list, show, apply, open, close."""

from __future__ import annotations

import argparse

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.output import print_json, print_table
from gateway.cli.product import apply_options, read_file, say_changes
from gateway.cli.talk import ask
from gateway.cli.toml import toml_text


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "mount", "where doors listen: protocol, label, products, options")
    json_option(verb(actions, "list", list_, "every mount, closed ones too"))
    one = verb(actions, "show", show, "one mount, as the TOML that apply reads")
    one.add_argument("key", help='"acme/default"')
    json_option(one)
    apply_options(verb(actions, "apply", apply, "open a door at a place, or change it, as a TOML file says"))
    for name, active, help in (("open", True, "serve a closed mount again"), ("close", False, "serve it no more")):
        one = verb(actions, name, activate, help)
        one.add_argument("key", help='"acme/default"')
        one.set_defaults(active=active)
        json_option(one)


def list_(options: argparse.Namespace) -> int:
    """certgate mount list"""
    found = ask(options, "mount.list")
    if options.json:
        print_json(found)
        return OK
    rows = [
        [one["key"], one["active"], one["issuer"], one["products"], "no credential" if one["open_credential"] else ""]
        for one in found
    ]
    print_table(rows, ["mount", "open", "issuer", "products", "asks for"])
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate mount show"""
    found = ask(options, "mount.show", key=options.key)
    if options.json:
        print_json(found)
    else:
        print(toml_text(found), end="")
    return OK


def apply(options: argparse.Namespace) -> int:
    """certgate mount apply"""
    found = ask(options, "mount.apply", **read_file(options.file), dry_run=options.dry_run)
    if options.json:
        print_json(found)
        return OK
    say_changes(f"mount {found['key']}", found, dry_run=options.dry_run)
    if found["changes"] and not options.dry_run:
        print("A running server serves it so within a second.")
    return OK


def activate(options: argparse.Namespace) -> int:
    """certgate mount open and close"""
    found = ask(options, "mount.activate", key=options.key, active=options.active)
    if options.json:
        print_json(found)
    else:
        print(f"mount {found['key']} is {'open' if found['active'] else 'closed'} now")
    return OK
