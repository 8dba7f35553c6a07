"""certgate domain: add, show, challenge, verify, list, remove."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli import OK, REFUSED, Actions, json_option, noun, verb
from gateway.cli.output import print_json, print_table, shown, when
from gateway.cli.talk import ask


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "domain", "pre-validated domains: what a group need not prove again")
    one = verb(actions, "add", add_, "have a group's orders for a domain need no challenge, or change until when")
    one.add_argument("name", help="the domain, without a wildcard")
    one.add_argument("--group", required=True, metavar="G", help="whose credentials it is for")
    one.add_argument("--until", default="", metavar="TIME", help="by your word so long; else it is to be proven")
    one.add_argument("--method", default="", choices=("dns-txt", "http-file"), help="how it is to be proven")
    one.add_argument(
        "--scope",
        default="exact",
        choices=("exact", "subdomains", "wildcard"),
        help="the domain (default), names below it too, wildcards too",
    )
    one.add_argument("--evidence", default="", metavar="TEXT", help="how it was proven, for the audit log")
    json_option(one)
    for name, run, help in (
        ("show", show, "one domain, with its challenge and the looks at it"),
        ("challenge", challenge, "begin a challenge; the one before proves nothing any more"),
        ("verify", verify, "look whether the challenge is answered"),
    ):
        one = verb(actions, name, run, help)
        one.add_argument("name")
        one.add_argument("--group", required=True, metavar="G", help="whose domain it is")
        if name == "challenge":
            one.add_argument("--method", default="", choices=("dns-txt", "http-file"), help="else as before")
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
        method=options.method,
    )
    if options.json:
        print_json(made)
    elif made["challenge"]:
        _say(made)
    else:
        print(f"group {made['group']} need not prove {made['name']} ({made['scope']}) until {when(made['valid_till'])}")
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate domain show"""
    return _one(options, ask(options, "domain.show", name=options.name, group=options.group))


def challenge(options: argparse.Namespace) -> int:
    """certgate domain challenge"""
    found = ask(options, "domain.challenge", name=options.name, group=options.group, method=options.method)
    return _one(options, found)


def verify(options: argparse.Namespace) -> int:
    """certgate domain verify: 0 when the domain is proven"""
    found = ask(options, "domain.verify", name=options.name, group=options.group)
    _one(options, found)
    return OK if found["attempts"][-1]["outcome"] == "validated" else REFUSED


def _one(options: argparse.Namespace, found: dict[str, Any]) -> int:
    if options.json:
        print_json(found)
    else:
        _say(found)
    return OK


def _say(found: dict[str, Any]) -> None:
    print(f"{shown(found['name'])} of group {shown(found['group'])} ({found['scope']}): {found['status']}")
    for key, value in (found["challenge"] or {}).items():
        print(f"  {key.ljust(8)}{value}")
    for one in found["attempts"]:
        print(f"  {when(one['at'])}  {one['method']}  {one['outcome']}: {shown(one['detail'])}")


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
