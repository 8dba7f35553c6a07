"""certgate order: list, show, approve, reject, cancel; its steps are in `order_steps`."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.order_steps import add_steps
from gateway.cli.output import print_array, print_facts, print_json, print_table, shown, when
from gateway.cli.talk import ask, conversation, pages

TABLE_ROWS = 50
STATUSES = "draft, pending, ready, held, processing, valid, invalid, cancelled"


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "order", "look at orders, and decide about those that wait for a person")
    one = verb(actions, "list", list_, "orders, newest first")
    one.add_argument("--status", default="", metavar="S", help=f"one of {STATUSES}")
    one.add_argument("--credential", default="", metavar="NAME", help="of this credential (identifier or id)")
    one.add_argument("--limit", type=int, metavar="N", help=f"at most so many; 0 for all (default {TABLE_ROWS})")
    json_option(one, "a JSON array, with all orders unless --limit says less")
    one = verb(actions, "show", show, "one order: who asked for what, how it was decided, what happened")
    one.add_argument("id")
    json_option(one)
    one = verb(actions, "approve", approve, "issue an order that is held")
    one.add_argument("id")
    json_option(one)
    add_steps(actions)
    for name, run, help in (
        ("reject", reject, "end an order that is held"),
        ("cancel", cancel, "withdraw an order that has not ended and is not being signed"),
    ):
        one = verb(actions, name, run, help)
        one.add_argument("id")
        one.add_argument("--why", default="", metavar="TEXT", help="for the client and the audit log")
        json_option(one)


def list_(options: argparse.Namespace) -> int:
    """certgate order list"""
    limit = options.limit if options.limit is not None else 0 if options.json else TABLE_ROWS
    with conversation(options) as talk:
        found = pages(talk, "order.page", limit, status=options.status, credential=options.credential)
        if options.json:
            print_array(found)
            return OK
        rows = [
            [one["id"], one["status"], when(one["created"]), one["product"], one["mount"], one["identifiers"]]
            for one in found
        ]
    print_table(rows, ["id", "status", "created (UTC)", "product", "mount", "names"])
    if limit and len(rows) == limit:
        print(f"({limit} shown; --limit 0 for all)")
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate order show"""
    found = ask(options, "order.show", id=options.id)
    if options.json:
        print_json(found)
    else:
        _print(found)
    return OK


def _print(found: dict[str, Any]) -> None:
    problem = found["problem"]
    print_facts(
        {
            "id": found["id"],
            "status": found["status"],
            "problem": f"{problem['detail']} ({problem['kind']})" if problem else None,
            "names": found["identifiers"],
            "product": f"{found['product']} (version {found['product_version']})",
            "kind": found["kind"],
            "asked by": found["requester"],
            "at": found["mount"],
            "credential": found["credential"],
            "created": f"{when(found['created'])} UTC",
            "certificate": found["serial"],
            "replaces": found["replaces"],
        }
    )
    for proof in found["authorizations"]:
        ways = [f"{one['type']} {one['status']}" for one in proof["challenges"]]
        print(f"\n{shown(proof['identifier'])}: {proof['status']} ({shown(ways)})")
        for one in proof["challenges"]:
            if one["problem"]:
                print(f"  {one['type']}: {shown(one['problem']['detail'])}")
    if found["trace"]:
        print("\nHow it was decided:")
        print_table(
            [[step["rule"], step["outcome"], step["detail"]] for step in found["trace"]],
            ["rule", "outcome", "because"],
        )
    print("\nWhat happened:")
    print_table([[when(event["at"]), event["tag"], event["actor"]] for event in found["events"]], ["at", "event", "by"])


def approve(options: argparse.Namespace) -> int:
    """certgate order approve"""
    return _say(options, ask(options, "order.approve", id=options.id))


def reject(options: argparse.Namespace) -> int:
    """certgate order reject"""
    return _say(options, ask(options, "order.reject", id=options.id, why=options.why))


def cancel(options: argparse.Namespace) -> int:
    """certgate order cancel"""
    return _say(options, ask(options, "order.cancel", id=options.id, why=options.why))


def _say(options: argparse.Namespace, now: dict[str, Any]) -> int:
    if options.json:
        print_json(now)
    else:
        certificate = f"; its certificate is {now['serial']}" if now["serial"] else ""
        print(f"order {now['id']} is {now['status']} now{certificate}")
    return OK
