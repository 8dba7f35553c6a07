"""certgate domain: add, list, remove."""

from __future__ import annotations

import argparse

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.output import print_json, print_table, shown, when
from gateway.cli.talk import ask


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "domain", "pre-validated domains: what a group need not prove again")
    one = verb(actions, "add", add_, "have a group's orders for a domain need no challenge, or change until when")
    one.add_argument("name", help="the domain, without a wildcard")
    one.add_argument("--group", required=True, metavar="G", help="whose credentials it is for")
    one.add_argument("--until", required=True, metavar="TIME", help="how long it counts as proven")
    one.add_argument(
        "--scope",
        default="exact",
        choices=("exact", "subdomains", "wildcard"),
        help="the domain (default), names below it too, wildcards too",
    )
    one.add_argument("--evidence", default="", metavar="TEXT", help="how it was proven, for the audit log")
    json_option(one)
    one = verb(actions, "list", list_, "pre-validated domains, also those whose time is over")
    one.add_argument("--group", default="", metavar="G", help="of this group")
    json_option(one)
    one = verb(actions, "remove", remove, "have a domain proven again")
    one.add_argument("name")
    one.add_argument("--group", required=True, metavar="G", help="whose credentials it was for")
    json_option(one)


def add_(options: argparse.Namespace) -> int:
    """certgate domain add"""
    made = ask(
        options,
        "domain.add",
        name=options.name,
        group=options.group,
        until=options.until,
        scope=options.scope,
        evidence=options.evidence,
    )
    if options.json:
        print_json(made)
    else:
        print(f"group {made['group']} need not prove {made['name']} ({made['scope']}) until {when(made['valid_till'])}")
    return OK


def list_(options: argparse.Namespace) -> int:
    """certgate domain list"""
    found = ask(options, "domain.list", group=options.group)
    if options.json:
        print_json(found)
        return OK
    rows = [
        [one["name"], one["group"], one["scope"], when(one["valid_till"]), one["active"], one["created_by"]]
        for one in found
    ]
    print_table(rows, ["domain", "group", "scope", "until (UTC)", "counts", "by"])
    return OK


def remove(options: argparse.Namespace) -> int:
    """certgate domain remove"""
    gone = ask(options, "domain.remove", name=options.name, group=options.group)
    if options.json:
        print_json(gone)
    else:
        print(f"group {shown(gone['group'])} has to prove {shown(gone['name'])} again")
    return OK
