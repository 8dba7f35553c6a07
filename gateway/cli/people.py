"""certgate user, group, role, organization: list, show, apply, activate, deactivate.

The four have the same verbs; a table says what differs: which options `apply` has, and which columns a list shows.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.output import print_facts, print_json, print_table, when
from gateway.cli.talk import ask


@dataclass(frozen=True, slots=True)
class Option:
    """An option of `apply`: the field that it sets, and what its help says."""

    name: str
    field: str
    help: str
    metavar: str = "TEXT"
    repeatable: bool = False
    number: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the four nouns. `columns` are fields and their headers; `stop` and `go` the verbs of activity."""

    name: str
    help: str
    options: tuple[Option, ...]
    columns: tuple[tuple[str, str], ...]
    stop: tuple[str, str]
    go: tuple[str, str]


KINDS = (
    Kind(
        "user",
        "who answers for credentials and orders",
        (
            Option("--group", "groups", "repeatable", "G", repeatable=True),
            Option("--role", "roles", "repeatable", "R", repeatable=True),
            Option("--email", "email", "e-mail address", "ADDRESS"),
            Option("--full-name", "full_name", "the name in full"),
            Option("--mobile", "mobile", "mobile number"),
            Option("--designation", "designation", "what they do"),
            Option("--employee-id", "employee_id", "number in the organisation"),
        ),
        (("name", "name"), ("groups", "groups"), ("roles", "roles"), ("email", "e-mail"), ("active", "active")),
        ("deactivate", "refuse all credentials of a user"),
        ("activate", "accept a user's credentials again"),
    ),
    Kind(
        "group",
        "users and credentials that belong together, and what they may ask for",
        (
            Option("--title", "title", "what it is"),
            Option("--parent", "parent", "the group that it is below", "G"),
            Option("--organisation", "organisation", "the organisation that it belongs to", "O"),
            Option("--domain", "domains", "DNS suffix it may ask for; repeatable; none: any", "D", repeatable=True),
            Option("--product", "products", "product it may have; repeatable; none: any", "P", repeatable=True),
            Option("--quota", "quota", "certificates in a calendar month; -1: any", "N", number=True),
            Option("--tag", "tags", "repeatable", "T", repeatable=True),
        ),
        (
            ("name", "name"),
            ("parent", "parent"),
            ("organisation", "organisation"),
            ("domains", "domains"),
            ("products", "products"),
            ("quota", "quota"),
            ("active", "active"),
        ),
        ("archive", "refuse all credentials of a group, and offer it for nothing new"),
        ("restore", "bring an archived group back"),
    ),
    Kind(
        "role",
        "what users may do",
        (
            Option("--title", "title", "what it is for"),
            Option("--permission", "permissions", "resource:verb[:scope]; repeatable", "P", repeatable=True),
        ),
        (("name", "name"), ("title", "title"), ("predefined", "predefined"), ("active", "active")),
        ("deactivate", "have a role grant nothing"),
        ("activate", "have a role grant again what it says"),
    ),
    Kind(
        "organization",
        "legal entities that certificates may name",
        (
            Option("--title", "title", "its legal name"),
            Option("--country", "country", "two letters (ISO 3166)", "CC"),
            Option("--group", "group", "the group that administers it", "G"),
            Option("--registration-number", "registration_number", "its number in the register"),
            Option("--jurisdiction", "jurisdiction", "where it is registered"),
            Option("--street", "street", "street and number"),
            Option("--locality", "locality", "city"),
            Option("--region", "region", "state or province"),
            Option("--postal-code", "postal_code", "postal code"),
            Option("--phone", "phone", "telephone number"),
        ),
        (("name", "name"), ("title", "title"), ("country", "country"), ("status", "status"), ("group", "group")),
        ("deactivate", "stop an organisation"),
        ("activate", "let an organisation go on"),
    ),
)


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    for kind in KINDS:
        actions = noun(commands, kind.name, kind.help)
        _add(actions, kind)
        if kind.name == "role":
            json_option(verb(actions, "permissions", permissions, "every permission, and what it allows"))
        if kind.name == "organization":
            one = verb(actions, "validate", validate, "vouch that its data is right as it stands")
            one.add_argument("name")
            one.add_argument("--until", required=True, metavar="TIME", help="how long it counts as right")
            json_option(one)
            one = verb(actions, "agree", agree, "agree to terms in its name")
            one.add_argument("name")
            one.add_argument("--agreement", required=True, metavar="TEXT", help="which terms, in which edition")
            json_option(one)


def _add(actions: Actions, kind: Kind) -> None:
    one = verb(actions, "list", partial(list_, kind), f"{kind.name}s that are there")
    if kind.name == "user":
        one.add_argument("--group", default="", metavar="G", help="of this group")
        one.add_argument("--text", default="", metavar="TEXT", help="in name, e-mail or employee id")
    elif kind.name == "group":
        one.add_argument("--archived", action="store_true", help="archived ones, too")
        one.add_argument("--tag", default="", metavar="T", help="with this tag")
    elif kind.name == "organization":
        one.add_argument("--inactive", action="store_true", help="deactivated ones, too")
        one.add_argument("--text", default="", metavar="TEXT", help="in name or title")
    json_option(one)
    one = verb(actions, "show", partial(show, kind), f"one {kind.name}")
    one.add_argument("name")
    json_option(one)
    article = "an" if kind.name == "organization" else "a"
    one = verb(actions, "apply", partial(apply, kind), f"make {article} {kind.name}, or change one")
    one.add_argument("name")
    for option in kind.options:
        if option.repeatable:
            one.add_argument(option.name, dest=option.field, action="append", metavar=option.metavar, help=option.help)
        else:
            value = int if option.number else str
            one.add_argument(option.name, dest=option.field, type=value, metavar=option.metavar, help=option.help)
    choice = one.add_mutually_exclusive_group()
    choice.add_argument("--active", action="store_true", default=None, help=kind.go[1])
    choice.add_argument("--inactive", dest="active", action="store_false", help=kind.stop[1])
    json_option(one)
    for (name, help), active in ((kind.stop, False), (kind.go, True)):
        one = verb(actions, name, partial(activity, kind, active), help)
        one.add_argument("name")
        json_option(one)


def list_(kind: Kind, options: argparse.Namespace) -> int:
    """certgate user|group|role|organization list"""
    filters = {name: getattr(options, name) for name in ("group", "text", "archived", "tag", "inactive")
               if hasattr(options, name)}  # fmt: skip
    found = ask(options, f"{kind.name}.list", **filters)
    if options.json:
        print_json(found)
        return OK
    limits = ("domains", "products", "quota")
    rows = [
        ["any" if field in limits and one[field] in (None, []) else one[field] for field, _ in kind.columns]
        for one in found
    ]
    print_table(rows, [header for _, header in kind.columns])
    return OK


def show(kind: Kind, options: argparse.Namespace) -> int:
    """certgate user|group|role|organization show"""
    found = ask(options, f"{kind.name}.show", name=options.name)
    if options.json:
        print_json(found)
    else:
        print_facts({name.replace("_", " "): value for name, value in found.items()})
    return OK


def apply(kind: Kind, options: argparse.Namespace) -> int:
    """certgate user|group|role|organization apply"""
    wanted = {option.field: getattr(options, option.field) for option in kind.options}
    return _say(kind, options, ask(options, f"{kind.name}.apply", name=options.name, active=options.active, **wanted))


def activity(kind: Kind, active: bool, options: argparse.Namespace) -> int:
    """certgate user|group|role|organization deactivate, activate (group: archive, restore)"""
    ask(options, f"{kind.name}.show", name=options.name)
    return _say(kind, options, ask(options, f"{kind.name}.apply", name=options.name, active=active))


def permissions(options: argparse.Namespace) -> int:
    """certgate role permissions"""
    found = ask(options, "role.permissions")
    if options.json:
        print_json(found)
    else:
        print_table([[one["permission"], one["scopes"], one["allows"]] for one in found], ["permission", "scopes", ""])
    return OK


def validate(options: argparse.Namespace) -> int:
    """certgate organization validate"""
    return _status(options, ask(options, "organization.validate", name=options.name, until=options.until))


def agree(options: argparse.Namespace) -> int:
    """certgate organization agree"""
    return _status(options, ask(options, "organization.agree", name=options.name, agreement=options.agreement))


def _status(options: argparse.Namespace, found: dict[str, str]) -> int:
    if options.json:
        print_json(found)
    else:
        print(f"organization {found['name']}: {found['status']} until {when(found['validated_until'])}")
    return OK


def _say(kind: Kind, options: argparse.Namespace, found: dict[str, object]) -> int:
    if options.json:
        print_json(found)
    else:
        print(f"{kind.name} {found['name']}: {'written' if found['changed'] else 'nothing to change'}")
    return OK
