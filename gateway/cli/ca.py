"""certgate ca: list, show, create, chain, crl."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.cli import OK, USAGE, Actions, CommandFailed, json_option, noun, verb
from gateway.cli.output import print_facts, print_json, print_table, when
from gateway.cli.talk import ask, conversation

ROOT_DAYS, ISSUING_DAYS = 20 * 365, 10 * 365


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "ca", "root and issuing CAs, and their CRLs")
    json_option(verb(actions, "list", list_, "every CA"))
    one = verb(actions, "show", show, "one CA: its certificate, how it was made, its CRLs")
    one.add_argument("name")
    one.add_argument("--pem", action="store_true", help="only its certificate and those above it, as PEM")
    json_option(one)
    one = verb(actions, "create", create, "make a root CA, or with --under an issuing CA; makes a missing state folder")
    one.add_argument("name", help="what products and mounts call it")
    one.add_argument("--subject", required=True, metavar="DN", help='as in "O=Example, CN=Example Root", in this order')
    one.add_argument("--under", metavar="ROOT", help="make an issuing CA, certified by this root")
    one.add_argument("--key-type", default="ec-p256", metavar="T", help="ec-p256 (default), ec-p384, rsa-3072 …")
    one.add_argument(
        "--days", type=int, metavar="N", help=f"validity (default {ROOT_DAYS}, with --under {ISSUING_DAYS})"
    )
    one.add_argument("--shards", type=int, default=1, metavar="N", help="CRL shards, fixed for good (default 1)")
    json_option(one)
    one = verb(actions, "chain", chain, "offer another chain, as of a CA that another root has cross-certified")
    one.add_argument("name")
    way = one.add_mutually_exclusive_group(required=True)
    way.add_argument("--file", "-f", metavar="FILE", help="PEM, from this CA up, without the root")
    way.add_argument("--by", metavar="ROOT", help="have this root of ours certify the CA, as in a key update")
    json_option(one)
    one = verb(actions, "crl", crl, "sign and publish CRLs now")
    one.add_argument("name", nargs="?", help="of this CA; default: of all")
    json_option(one)


def read_subject(text: str) -> list[list[str]]:
    """Pairs of a subject in the order in which the certificate will have them; a backslash escapes a comma.

    Raises CommandFailed.
    """
    parts: list[str] = []
    part, escaped = "", False
    for one in text:
        if escaped:
            part, escaped = part + one, False
        elif one == "\\":
            escaped = True
        elif one == ",":
            parts, part = [*parts, part], ""
        else:
            part += one
    pairs = [[side.strip() for side in one.split("=", 1)] for one in [*parts, part]]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise CommandFailed(f'--subject "{text}": write O=Example, CN=Example Root', USAGE)
    return pairs


def list_(options: argparse.Namespace) -> int:
    """certgate ca list"""
    found = ask(options, "ca.list")
    if options.json:
        print_json(found)
        return OK
    rows = [
        [one["name"], "root" if one["root"] else "issuing", one["subject"], when(one["not_after"]), one["loaded"]]
        for one in found
    ]
    print_table(rows, ["name", "kind", "subject", "until (UTC)", "in use"])
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate ca show"""
    found = ask(options, "ca.show", name=options.name)
    if options.json:
        print_json(found)
    elif options.pem:
        print(found["pem"] + "".join(found["chain"]), end="")
    else:
        _print(found)
        print("\nHow it was made:")
        print_facts(found["transcript"])
        print("\nCRLs:")
        rows = [
            [one["shard"], one["number"], when(one["this_update"]), when(one["next_update"])] for one in found["crls"]
        ]
        print_table(rows, ["shard", "number", "published (UTC)", "until (UTC)"])
    return OK


def _print(found: dict[str, Any]) -> None:
    print_facts(
        {
            "name": found["name"],
            "kind": "root" if found["root"] else "issuing",
            "subject": found["subject"],
            "issued by": found["issued_by"],
            "serial": found["serial"],
            "valid": f"{when(found['not_before'])} to {when(found['not_after'])} UTC",
            "key": found["key_type"],
            "key identifier": found["issuer_id"],
            "CRL shards": found["shards"],
            "chains": found["chains"],
            "in use": found["loaded"],
        }
    )


def create(options: argparse.Namespace) -> int:
    """certgate ca create"""
    arguments: dict[str, Any] = {
        "name": options.name,
        "subject": read_subject(options.subject),
        "key_type": options.key_type,
        "days": options.days or (ISSUING_DAYS if options.under else ROOT_DAYS),
    }
    with conversation(options, create=True) as talk:
        if options.under:
            made = talk.ask("ca.create-issuing", root=options.under, shards=options.shards, **arguments)
        else:
            made = talk.ask("ca.create-root", **arguments)
        if options.json:
            print_json(made)
            return OK
        kind = "root" if made["root"] else "issuing"
        print(f'{kind} CA "{made["name"]}" is made, valid until {when(made["not_after"])} UTC')
        if talk.running:
            print(f"Restart the server: {made['note']}.")
    return OK


def chain(options: argparse.Namespace) -> int:
    """certgate ca chain"""
    text = _read(options.file) if options.file else ""
    with conversation(options) as talk:
        if options.by:
            made = talk.ask("ca.cross-certify", name=options.name, root=options.by)
        else:
            made = talk.ask("ca.add-chain", name=options.name, chain=text)
        if options.json:
            print_json(made)
            return OK
        print(f'the CA "{made["name"]}" has {made["chains"]} chains now')
        if talk.running:
            print(f"Restart the server: {made['note']}.")
    return OK


def _read(file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as fault:
        raise CommandFailed(f"{file} cannot be read: {fault}", USAGE) from fault


def crl(options: argparse.Namespace) -> int:
    """certgate ca crl"""
    found = ask(options, "ca.crl", name=options.name)
    if options.json:
        print_json(found)
        return OK
    rows = [[one["issuer"], one["shard"], one["number"], when(one["next_update"]), one["bytes"]] for one in found]
    print_table(rows, ["issuer", "shard", "number", "until (UTC)", "octets"])
    return OK
