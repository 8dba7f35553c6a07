"""certgate bulk: preview, begin, show, list; certgate block: add, lift, list."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.output import print_array, print_json, print_table, shown, when
from gateway.cli.talk import ask, conversation, pages

ACTIONS = ("renew", "rekey", "hold", "release", "revoke")
FILTERS = {
    "status": "valid, on_hold, revoked or expired",
    "name": 'a name; ".example.org" is all below example.org, too',
    "text": "in any name",
    "product": "of this product",
    "credential": "of the credential with this id",
    "group": "of credentials of this group",
    "issuer": "by this CA",
    "key-type": "with a key of this type",
    "tag": "with this tag",
    "mount": "enrolled there",
    "key-digest": "with this public key, by its SHA-256",
    "expires-before": "that end before this time",
    "expires-from": "that end at this time or later",
}


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "bulk", "change all certificates that a filter finds, after a look at them")
    one = verb(actions, "preview", preview, "what a change would come to")
    _filters(one)
    json_option(one)
    one = verb(actions, "begin", begin, "have it done by the running server")
    _filters(one)
    one.add_argument("--expected", type=int, required=True, metavar="N", help="how many the preview would change")
    one.add_argument("--reason", metavar="NAME", help="why they are revoked")
    json_option(one)
    one = verb(actions, "show", show, "how far a change has come")
    one.add_argument("id")
    json_option(one)
    json_option(verb(actions, "list", list_, "changes, newest first"))
    actions = noun(commands, "block", "names, domains and keys that are not certified (again)")
    one = verb(actions, "add", add_block, "block one, on every door")
    one.add_argument("kind", choices=("identity", "domain", "key"))
    one.add_argument("value", help='"dns:www.example.org", a domain, or the SHA-256 of a public key')
    one.add_argument("--why", default="", metavar="TEXT")
    one.add_argument("--until", metavar="TIME")
    json_option(one)
    one = verb(actions, "lift", lift, "let it be certified again")
    one.add_argument("id")
    one.add_argument("--why", default="", metavar="TEXT")
    json_option(one)
    one = verb(actions, "list", blocks, "blocks, newest first")
    one.add_argument("--status", default="", metavar="S", help="active, lifted or expired")
    one.add_argument("--text", default="", metavar="TEXT", help="in what is blocked")
    json_option(one, "a JSON array")


def _filters(one: argparse.ArgumentParser) -> None:
    one.add_argument("action", choices=ACTIONS)
    for name, help in FILTERS.items():
        one.add_argument(f"--{name}", default="", metavar=name[:1].upper(), help=help)


def _filter(options: argparse.Namespace) -> dict[str, str]:
    keys = [name.replace("-", "_") for name in FILTERS]
    said = {key: getattr(options, key) for key in keys if getattr(options, key)}
    return {"spki_sha256" if key == "key_digest" else key: value for key, value in said.items()}


def preview(options: argparse.Namespace) -> int:
    """certgate bulk preview"""
    found = ask(options, "bulk.preview", action=options.action, filter=_filter(options))
    if options.json:
        print_json(found)
        return OK
    passed = ", ".join(f"{count} {status}" for status, count in found["passed"].items())
    print(f"{found['matched']} found, {found['changed']} would be changed" + (f"; not: {passed}" if passed else ""))
    rows = [[one["serial"], one["status"], when(one["not_after"]), one["names"]] for one in found["sample"]]
    print_table(rows, ["serial", "status", "until (UTC)", "names"])
    return OK


def begin(options: argparse.Namespace) -> int:
    """certgate bulk begin"""
    words = {"expected": options.expected, "reason": options.reason}
    return _say(options, ask(options, "bulk.begin", action=options.action, filter=_filter(options), **words))


def show(options: argparse.Namespace) -> int:
    """certgate bulk show"""
    return _say(options, ask(options, "bulk.show", id=options.id))


def _say(options: argparse.Namespace, found: dict[str, Any]) -> int:
    if options.json:
        print_json(found)
        return OK
    ended = "has ended" if found["ended"] else "goes on"
    print(f"{found['action']} {found['id']} {ended}: {found['done']} of {found['matched']} done", end="")
    print(f", {found['skipped']} passed over, {found['failures']} refused")
    print_table([[serial, why] for serial, why in found["failed"]], ["refused", "because"])
    return OK


def list_(options: argparse.Namespace) -> int:
    """certgate bulk list"""
    with conversation(options) as talk:
        found = list(pages(talk, "bulk.page", 0))
    if options.json:
        print_json(found)
        return OK
    rows = [
        [one["id"], one["action"], when(one["created"]), one["matched"], one["done"], one["actor"]] for one in found
    ]
    print_table(rows, ["id", "what", "begun (UTC)", "certificates", "done", "by"])
    return OK


def add_block(options: argparse.Namespace) -> int:
    """certgate block add"""
    words = {"kind": options.kind, "value": options.value, "why": options.why, "until": options.until}
    return _block(options, ask(options, "block.add", **words))


def lift(options: argparse.Namespace) -> int:
    """certgate block lift"""
    return _block(options, ask(options, "block.lift", id=options.id, why=options.why))


def _block(options: argparse.Namespace, found: dict[str, Any]) -> int:
    if options.json:
        print_json(found)
    else:
        print(f"block {found['id']} of {shown(found['subject'])} is {found['status']}")
    return OK


def blocks(options: argparse.Namespace) -> int:
    """certgate block list"""
    with conversation(options) as talk:
        found = pages(talk, "block.page", 0, status=options.status, text=options.text)
        if options.json:
            print_array(found)
            return OK
        rows = [[one["id"], one["status"], one["subject"], when(one["at"]), one["why"]] for one in found]
    print_table(rows, ["id", "status", "what", "since (UTC)", "why"])
    return OK
