"""certgate account: list, show, suspend, resume, deactivate, unpause."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.output import print_array, print_facts, print_json, print_table, shown, when
from gateway.cli.talk import ask, conversation, pages

TABLE_ROWS = 50
STATUSES = "valid, suspended, deactivated, revoked"
FILTERS = ("mount", "credential", "status", "text")


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "account", "ACME accounts: what they ordered and got; stop and end them")
    one = verb(actions, "list", list_, "accounts, oldest first")
    one.add_argument("--mount", default="", metavar="KEY", help='of this door, as in "acme/default"')
    one.add_argument("--credential", default="", metavar="NAME", help="bound to this credential (identifier or id)")
    one.add_argument("--status", default="", metavar="S", help=f"one of {STATUSES}")
    one.add_argument("--text", default="", metavar="TEXT", help="with this in id, thumbprint or contact")
    one.add_argument("--limit", type=int, metavar="N", help=f"at most so many; 0 for all (default {TABLE_ROWS})")
    json_option(one, "a JSON array, with all accounts unless --limit says less")
    one = verb(actions, "show", show, "one account: its orders and certificates, and what happened")
    one.add_argument("id")
    one.add_argument("--orders", type=int, default=20, metavar="N", help="its newest N orders (default 20)")
    json_option(one)
    for name, run, help in (
        ("suspend", suspend, "refuse an account until it is resumed"),
        ("deactivate", deactivate, "end an account for good, with its open orders; its certificates stay valid"),
    ):
        one = verb(actions, name, run, help)
        one.add_argument("id")
        one.add_argument("--why", default="", metavar="TEXT", help="for the audit log")
        json_option(one)
    one = verb(actions, "resume", resume, "accept a suspended account again")
    one.add_argument("id")
    json_option(one)
    one = verb(actions, "unpause", unpause, "let an account order names again whose validation went on failing")
    one.add_argument("id")
    one.add_argument("names", nargs="*", metavar="NAME", help="default: all that it is paused for")
    json_option(one)


def list_(options: argparse.Namespace) -> int:
    """certgate account list"""
    limit = options.limit if options.limit is not None else 0 if options.json else TABLE_ROWS
    with conversation(options) as talk:
        found = pages(talk, "account.page", limit, **{name: getattr(options, name) for name in FILTERS})
        if options.json:
            print_array(found)
            return OK
        rows = [
            [one["id"], one["status"], when(one["created"]), one["mount"], one["credential"], one["contact"]]
            for one in found
        ]
    print_table(rows, ["id", "status", "created (UTC)", "mount", "credential", "contact"])
    if limit and len(rows) == limit:
        print(f"({limit} shown; --limit 0 for all)")
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate account show"""
    found = ask(options, "account.show", id=options.id, orders=options.orders)
    if options.json:
        print_json(found)
        return OK
    print_facts(
        {
            "id": found["id"],
            "status": found["status"],
            "mount": found["mount"],
            "credential": found["credential_identifier"],
            "contact": found["contact"],
            "created": f"{when(found['created'])} UTC",
            "agreed to": found["agreed"],
            "key thumbprint": found["thumbprint"],
        }
    )
    for one in found["paused"]:
        print(f"paused for {shown(one['identifier'])}: {shown(one['detail'])}")
    states = {one["serial"]: one["status"] for one in found["certificates"]}
    print("\nIts orders, newest first:")
    print_table([_row(one, states) for one in found["orders"]], ["order", "status", "names", "certificate", "state"])
    print("\nWhat happened:")
    print_table([[when(event["at"]), event["tag"], event["actor"]] for event in found["events"]], ["at", "event", "by"])
    return OK


def _row(order: dict[str, Any], states: dict[str, str]) -> list[object]:
    serial = order["serial"]
    return [order["id"], order["status"], order["identifiers"], serial, states.get(serial) if serial else None]


def suspend(options: argparse.Namespace) -> int:
    """certgate account suspend"""
    return _say(options, ask(options, "account.suspend", id=options.id, why=options.why))


def resume(options: argparse.Namespace) -> int:
    """certgate account resume"""
    return _say(options, ask(options, "account.resume", id=options.id))


def deactivate(options: argparse.Namespace) -> int:
    """certgate account deactivate"""
    return _say(options, ask(options, "account.deactivate", id=options.id, why=options.why))


def _say(options: argparse.Namespace, now: dict[str, Any]) -> int:
    if options.json:
        print_json(now)
    else:
        print(f"account {now['id']} is {now['status']} now")
    return OK


def unpause(options: argparse.Namespace) -> int:
    """certgate account unpause"""
    found = ask(options, "account.unpause", id=options.id, names=options.names)
    if options.json:
        print_json(found)
    else:
        print(f"account {options.id} may order again: {shown([one['identifier'] for one in found])}")
    return OK
