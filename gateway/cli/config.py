"""certgate config: show, check, reload, default."""

from __future__ import annotations

import argparse

from gateway.cli import OK, REFUSED, Actions, json_option, noun, verb
from gateway.cli.output import print_json, print_table
from gateway.cli.talk import configuration, conversation


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "config", "what is set, where it came from, whether it is right")
    one = verb(actions, "show", show, "every key, its value, and where it came from")
    one.add_argument("--changed", action="store_true", help="only what is not a default")
    json_option(one)
    json_option(verb(actions, "check", check, "0 when the server would start with it, 2 with every mistake"))
    json_option(verb(actions, "reload", reload, "have the running server take its TLS certificate and mounts anew"))
    verb(actions, "default", default, "a configuration file with every key, its sentence and its default")


def show(options: argparse.Namespace) -> int:
    """certgate config show"""
    found = [one for one in configuration(options).entries() if not options.changed or one.origin != "default"]
    if options.json:
        print_json([{"key": one.key, "value": one.value, "origin": one.origin} for one in found])
    else:
        print_table([[one.key, one.value, one.origin] for one in found], ["key", "value", "from"])
    return OK


def check(options: argparse.Namespace) -> int:
    """certgate config check"""
    config = configuration(options)
    if options.json:
        print_json({"warnings": list(config.warnings)})
        return OK
    for warning in config.warnings:
        print(f"warning: {warning}")
    print("the configuration is good")
    return OK


def reload(options: argparse.Namespace) -> int:
    """certgate config reload"""
    with conversation(options, server_only=True) as talk:
        found = talk.ask("config.reload")
    if options.json:
        print_json(found)
    elif found["fault"]:
        print(f"not reloaded, what was in force stays: {found['fault']}")
    else:
        print("reloaded: the TLS certificate and the mounts; other keys need a restart")
    return REFUSED if found["fault"] else OK


def default(_: argparse.Namespace) -> int:
    """certgate config default"""
    from gateway.config import default_toml

    print(default_toml(), end="")
    return OK
