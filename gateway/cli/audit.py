"""certgate audit: show, verify, export, checkpoint."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gateway.cli import OK, REFUSED, Actions, json_option, noun, verb
from gateway.cli.output import print_json, print_lines, print_table, when
from gateway.cli.talk import ask, conversation, pages


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "audit", "read and verify the audit log")
    one = verb(actions, "show", show, "the newest events")
    one.add_argument("--after", type=int, metavar="N", help="instead: those after event number N")
    one.add_argument("--object", default="", metavar="KIND:ID", help='instead: those of one object ("order:…")')
    one.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default 20)")
    json_option(one)
    one = verb(actions, "verify", verify, "0 only when the log is whole and every certificate has its event")
    json_option(one)
    one = verb(actions, "export", export, "every event, oldest first, one JSON object per line")
    one.add_argument("--after", type=int, default=0, metavar="N", help="begin after event number N")
    one.add_argument("--json", action="store_true", help="the one form there is; accepted for clarity")
    one = verb(actions, "checkpoint", checkpoint, "sign the log as it stands, and print what to keep elsewhere")
    json_option(one)


def show(options: argparse.Namespace) -> int:
    """certgate audit show"""
    events = ask(options, "audit.show", after=options.after, limit=options.limit, object=options.object)
    if options.json:
        print_json(events)
        return OK
    rows = [
        [one.get("seq", ""), when(one["at"]), one["tag"], one["object"], one["actor"], _detail(one)] for one in events
    ]
    print_table(rows, ["number", "at (UTC)", "event", "object", "by", "detail"])
    return OK


def _detail(event: dict[str, Any]) -> str:
    text = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in event["detail"].items())
    return text if len(text) <= 100 else text[:99] + "…"


def verify(options: argparse.Namespace) -> int:
    """certgate audit verify"""
    found = ask(options, "audit.verify")
    if options.json:
        print_json(found)
    else:
        for problem in found["problems"]:
            print(problem)
        outcome = f"{len(found['problems'])} problems" if found["problems"] else "the log is whole"
        sealed = f"{found['sealed']} of them sealed by {found['checkpoints']} checkpoints"
        print(f"{outcome}: {found['events']} events, {sealed}")
    return REFUSED if found["problems"] else OK


def export(options: argparse.Namespace) -> int:
    """certgate audit export"""
    with conversation(options) as talk:
        for one in pages(talk, "audit.page", start=options.after):
            print_lines((one,))
            if one["seq"] % 500 == 0:
                talk.progress.say(f"{one['seq']} events exported")
        talk.progress.clear()
    return OK


def checkpoint(options: argparse.Namespace) -> int:
    """certgate audit checkpoint"""
    found = ask(options, "audit.checkpoint")
    if options.json:
        print_json(found)
    elif found is None:
        print("the log is empty: there is nothing to sign")
    else:
        print(f"{found['note']}key {found['key_id']}\nsignature {found['signature']}")
    return OK
