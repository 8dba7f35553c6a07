"""certgate user, certgate group: list, apply."""

from __future__ import annotations

import argparse

from gateway.cli import OK, Actions, json_option, noun, verb
from gateway.cli.output import print_json, print_table
from gateway.cli.talk import ask


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "user", "who answers for credentials")
    json_option(verb(actions, "list", list_users, "every user"))
    one = verb(actions, "apply", apply_user, "make a user, or change one")
    one.add_argument("name")
    one.add_argument("--group", action="append", required=True, metavar="G", help="repeatable")
    one.add_argument("--role", action="append", metavar="R", help="repeatable")
    one.add_argument("--email", metavar="ADDRESS")
    _activity(one)
    json_option(one)
    actions = noun(commands, "group", "users and credentials that belong together")
    json_option(verb(actions, "list", list_groups, "every group"))
    one = verb(actions, "apply", apply_group, "make a group, or change one")
    one.add_argument("name")
    one.add_argument("--organisation", metavar="O")
    one.add_argument("--domain", action="append", metavar="D", help="DNS suffix it may ask for; repeatable; none: any")
    _activity(one)
    json_option(one)


def _activity(one: argparse.ArgumentParser) -> None:
    choice = one.add_mutually_exclusive_group()
    choice.add_argument("--active", action="store_true", default=None, help="credentials are accepted (again)")
    choice.add_argument("--inactive", dest="active", action="store_false", help="credentials are refused")


def list_users(options: argparse.Namespace) -> int:
    """certgate user list"""
    found = ask(options, "user.list")
    if options.json:
        print_json(found)
        return OK
    rows = [[one["name"], one["groups"], one["roles"], one["email"], one["active"]] for one in found]
    print_table(rows, ["name", "groups", "roles", "e-mail", "active"])
    return OK


def apply_user(options: argparse.Namespace) -> int:
    """certgate user apply"""
    found = ask(
        options,
        "user.apply",
        name=options.name,
        groups=options.group,
        roles=options.role,
        email=options.email,
        active=options.active,
    )
    return _say(options, "user", found)


def list_groups(options: argparse.Namespace) -> int:
    """certgate group list"""
    found = ask(options, "group.list")
    if options.json:
        print_json(found)
        return OK
    rows = [[one["name"], one["organisation"], one["domains"] or "any", one["active"]] for one in found]
    print_table(rows, ["name", "organisation", "domains", "active"])
    return OK


def apply_group(options: argparse.Namespace) -> int:
    """certgate group apply"""
    found = ask(
        options,
        "group.apply",
        name=options.name,
        organisation=options.organisation,
        domains=options.domain,
        active=options.active,
    )
    return _say(options, "group", found)


def _say(options: argparse.Namespace, what: str, found: dict[str, object]) -> int:
    if options.json:
        print_json(found)
    else:
        print(f"{what} {found['name']}: {'written' if found['changed'] else 'nothing to change'}")
    return OK
