"""certgate credential: create, list, show, rotate, suspend, resume, revoke, export."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from typing import Any

from gateway.cli import OK, USAGE, Actions, CommandFailed, json_option, noun, verb
from gateway.cli.output import print_array, print_facts, print_json, print_lines, print_table, shown, when
from gateway.cli.talk import Conversation, ask, conversation, pages

TABLE_ROWS = 100
FILTERS = ("type", "status", "user", "group", "product", "text")
COLUMNS = (
    *("id", "type", "identifier", "state", "user", "group", "products", "mounts", "method", "label", "created"),
    *("not_before", "expires", "uses", "use_limit", "allowed_cidrs", "revoked_at", "revoked_reason"),
)
_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "credential", "what systems show so that they may order: make, list, rotate, revoke")
    _add_create(verb(actions, "create", create, "make a credential; its secret is shown this once"))
    one = verb(actions, "list", list_, "credentials, by any of these filters")
    _add_filters(one)
    one.add_argument("--limit", type=int, metavar="N", help=f"at most so many; 0 for all (default {TABLE_ROWS})")
    json_option(one, "a JSON array, with all of them unless --limit says less")
    one = verb(actions, "export", export, "credentials with all fields but their secrets, for spreadsheets and scripts")
    _add_filters(one)
    one.add_argument("--format", choices=["csv", "ndjson"], default="csv", help="default csv")
    one = verb(actions, "show", show, "one credential: its limits, its uses, its ACME accounts")
    _name(one)
    one = verb(actions, "rotate", rotate, "give it a new secret, which is shown this once")
    _name(one)
    one.add_argument(
        "--overlap",
        type=seconds,
        default=0,
        metavar="TIME",
        help="how long the old secret still works: 90s, 2h, 1d (default 0)",
    )
    one = verb(actions, "challenge", challenge, "a one-time challenge password of a SCEP credential, shown this once")
    _name(one)
    one.add_argument("--lifetime", type=seconds, metavar="TIME", help="how long it is good for (scep.one_time_seconds)")
    one.add_argument(
        "--for", action="append", dest="names", metavar="NAME", help="what the certificate must name; repeatable"
    )
    for name, run, help in (
        ("suspend", suspend, "refuse it until it is resumed"),
        ("resume", resume, "accept it again"),
        ("preview", preview, "what its revocation would stop"),
    ):
        _name(verb(actions, name, run, help))
    one = verb(actions, "revoke", revoke, "refuse it for good, with all that hangs on it")
    _name(one)
    one.add_argument("--reason", default="", metavar="TEXT", help="for the audit log")
    one.add_argument(
        "--cascade", metavar="NAME", help="revoke its live certificates too, for this reason (keyCompromise …)"
    )


def _name(one: argparse.ArgumentParser) -> None:
    one.add_argument("name", help="identifier or id")
    json_option(one)


def _add_filters(one: argparse.ArgumentParser) -> None:
    for name in FILTERS:
        one.add_argument(f"--{name}", default="", metavar=name.upper())


def _add_create(one: argparse.ArgumentParser) -> None:
    one.add_argument("--type", required=True, metavar="T", help="acme, est, scep, cmp, rest")
    one.add_argument("--user", required=True, metavar="U", help="who answers for it")
    one.add_argument("--group", required=True, metavar="G")
    one.add_argument(
        "--product",
        required=True,
        action="append",
        metavar="P",
        help="what it may order; repeatable, the first is the default",
    )
    one.add_argument("--method", metavar="M", help="how it is proven; the default depends on the type")
    one.add_argument("--identifier", metavar="NAME", help="what clients call it (EAB kid, user name); default: made up")
    one.add_argument(
        "--mount", action="append", metavar="KEY", help='where it may be used ("est/default"); default: everywhere'
    )
    one.add_argument("--use-limit", type=int, metavar="N", help="how often it may be used for issuing")
    one.add_argument("--not-before", metavar="TIME", help="when it begins: 2027-01-31 or 2027-01-31T12:00:00Z")
    one.add_argument("--expires", metavar="TIME", help="when it ends")
    one.add_argument("--allowed-cidr", action="append", metavar="NET", help="from where it may be used; repeatable")
    one.add_argument("--label", default="", metavar="TEXT", help="for people")
    json_option(one)


def seconds(text: str) -> int:
    """A length of time: "90s", "15m", "2h", "1d", or seconds alone."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f'"{text}" is no length of time: write 90s, 15m, 2h or 1d')
    return int(found[1]) * _PERIODS[found[2] or "s"]


def create(options: argparse.Namespace) -> int:
    """certgate credential create"""
    if options.use_limit is not None and options.use_limit < 1:
        raise CommandFailed("--use-limit: at least 1", USAGE)
    made = ask(
        options,
        "credential.create",
        type=options.type,
        user=options.user,
        group=options.group,
        products=options.product,
        method=options.method,
        identifier=options.identifier,
        mounts=options.mount,
        use_limit=options.use_limit,
        not_before=options.not_before,
        expires=options.expires,
        allowed_cidrs=options.allowed_cidr,
        label=options.label,
    )
    return _tell(options, made)


def _tell(options: argparse.Namespace, made: dict[str, Any]) -> int:
    if options.json:
        print_json(made)
        return OK
    print_facts({"id": made["id"], "identifier": made["identifier"], "secret": made["secret"]})
    if made["secret"]:
        print("\nThe secret is shown this once, and kept nowhere in the clear.")
    for line in made["client"]:
        print(f"\n  {line}")
    return OK


def rotate(options: argparse.Namespace) -> int:
    """certgate credential rotate"""
    return _tell(options, ask(options, "credential.rotate", name=options.name, overlap_seconds=options.overlap))


def challenge(options: argparse.Namespace) -> int:
    """certgate credential challenge"""
    made = ask(
        options, "credential.challenge", name=options.name, lifetime_seconds=options.lifetime, names=options.names
    )
    if options.json:
        print_json(made)
    else:
        print_facts(
            {"challenge": made["challenge"], "expires": when(made["expires"]), "for": made["names"] or "any name"}
        )
    return OK


def _found(options: argparse.Namespace, talk: Conversation, limit: int = 0) -> Iterator[dict[str, Any]]:
    return pages(talk, "credential.page", limit, **{name: getattr(options, name) for name in FILTERS})


def list_(options: argparse.Namespace) -> int:
    """certgate credential list"""
    limit = options.limit if options.limit is not None else 0 if options.json else TABLE_ROWS
    with conversation(options) as talk:
        found = _found(options, talk, limit)
        if options.json:
            print_array(found)
            return OK
        rows = [
            [
                one["identifier"],
                one["type"],
                one["state"],
                f"{one['user']}/{one['group']}",
                one["products"],
                _uses(one),
                when(one["expires"]),
            ]
            for one in found
        ]
    print_table(rows, ["identifier", "type", "state", "user/group", "products", "uses", "expires (UTC)"])
    if limit and len(rows) == limit:
        print(f"({limit} shown; --limit 0 for all)")
    return OK


def _uses(one: dict[str, Any]) -> str:
    return f"{one['uses']}" if one["use_limit"] is None else f"{one['uses']} of {one['use_limit']}"


def export(options: argparse.Namespace) -> int:
    """certgate credential export"""
    import csv

    with conversation(options) as talk:
        if options.format == "ndjson":
            print_lines(_found(options, talk))
            return OK
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(COLUMNS)
        for one in _found(options, talk):
            table.writerow([_cell(one[name]) for name in COLUMNS])
    return OK


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: labels are what people wrote."""
    if value is None:
        return ""
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def show(options: argparse.Namespace) -> int:
    """certgate credential show"""
    found = ask(options, "credential.show", name=options.name)
    if options.json:
        print_json(found)
        return OK
    _print(found)
    if found["accounts"]:
        print("\nACME accounts:")
        print_table(
            [
                [one["id"], one["mount"], one["status"], when(one["created"]), one["contact"]]
                for one in found["accounts"]
            ],
            ["id", "mount", "status", "created (UTC)", "contact"],
        )
    return OK


def _print(found: dict[str, Any]) -> None:
    print_facts(
        {
            "id": found["id"],
            "identifier": found["identifier"],
            "label": found["label"],
            "type": f"{found['type']}, by {found['method']}",
            "state": found["state"],
            "revoked": f"{when(found['revoked_at'])} UTC: {found['revoked_reason']}" if found["revoked_at"] else None,
            "user/group": f"{found['user']}/{found['group']}",
            "products": found["products"],
            "mounts": found["mounts"] or "all of its type",
            "uses": _uses(found),
            "from": found["allowed_cidrs"] or "any address",
            "begins": when(found["not_before"]) if found["not_before"] else None,
            "expires": when(found["expires"]) if found["expires"] else "never",
        }
    )


def suspend(options: argparse.Namespace) -> int:
    """certgate credential suspend"""
    return _say(options, ask(options, "credential.suspend", name=options.name))


def resume(options: argparse.Namespace) -> int:
    """certgate credential resume"""
    return _say(options, ask(options, "credential.resume", name=options.name))


def _say(options: argparse.Namespace, now: dict[str, Any]) -> int:
    if options.json:
        print_json(now)
    else:
        print(f"credential {shown(now['identifier'])} is {now['state']} now")
    return OK


def preview(options: argparse.Namespace) -> int:
    """certgate credential preview"""
    found = ask(options, "credential.preview", name=options.name)
    if options.json:
        print_json(found)
        return OK
    print(f"Revoking {shown(found['identifier'])} ({found['state']}) would stop, for good:")
    print_facts(
        {
            "open orders": found["open_orders"],
            "ACME accounts": found["accounts"],
            "mounts open through it": found["open_mounts"],
        }
    )
    print(f"Its {found['live_certificates']} live certificates stay valid, unless --cascade REASON revokes them too.")
    return OK


def revoke(options: argparse.Namespace) -> int:
    """certgate credential revoke"""
    now = ask(options, "credential.revoke", name=options.name, reason=options.reason, cascade=options.cascade)
    if options.json:
        print_json(now)
        return OK
    print(f"credential {shown(now['identifier'])} is revoked, for good")
    print(f"{now['orders_ended']} open orders ended, {now['certificates_revoked']} certificates were revoked")
    return OK
