"""certgate db: status, migrate, check, backup, report."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gateway.cli import OK, REFUSED, UNAVAILABLE, Actions, CommandFailed, json_option, noun, verb
from gateway.cli.output import print_facts, print_json, print_table, when
from gateway.cli.talk import Conversation, ask, configuration, conversation


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "db", "the store: its version, its health, its backup")
    json_option(verb(actions, "status", status, "where it is, how large, of which version"))
    json_option(verb(actions, "migrate", migrate, "bring it to the version of this certgate, while no server runs"))
    json_option(verb(actions, "check", check, "read the whole file; 0 only when nothing is wrong with it"))
    one = verb(actions, "backup", backup, "copy the store to a new file, while the server serves")
    one.add_argument("path", type=Path)
    json_option(one)
    json_option(verb(actions, "report", report, "counts by status, product, credential and month, from a copy"))


def status(options: argparse.Namespace) -> int:
    """certgate db status"""
    with conversation(options) as talk:
        found = talk.ask("db.status")
        running = talk.running
    if options.json:
        print_json({**found, "server": running})
        return OK
    print_facts(
        {
            "file": found["path"],
            "size": f"{found['bytes']} octets, and {found['wal_bytes']} in the write-ahead log",
            "schema": f"version {found['schema_version']} of {found['newest_schema_version']}",
            "SQLite": found["sqlite_version"],
            "audit log": f"{found['events']} events, {found['sealed']} of them sealed",
            "sealed": f"{when(found['sealed_at'])} UTC" if found["sealed_at"] else "never",
            "opened by": "the running server" if running else "this command; no server runs",
        }
    )
    return OK


def migrate(options: argparse.Namespace) -> int:
    """certgate db migrate"""
    with conversation(options) as talk:
        talk.progress.say("opening the store and bringing it up to date")
        found = talk.ask("db.status")
        if options.json:
            print_json({"schema_version": found["schema_version"], "server": talk.running})
        elif talk.running:
            print(f"the running server has migrated the store at its start: version {found['schema_version']}")
        else:
            # Opening a store migrates it: each step whole, and the version is written in the same transaction.
            print(f"the store has version {found['schema_version']}, which is the newest")
    return OK


def check(options: argparse.Namespace) -> int:
    """certgate db check"""
    found = ask(options, "db.check")
    if options.json:
        print_json(found)
    else:
        for fault in found["faults"]:
            print(fault)
        print(f"{len(found['faults'])} faults" if found["faults"] else "the store is whole")
    return REFUSED if found["faults"] else OK


def backup(options: argparse.Namespace) -> int:
    """certgate db backup"""
    found = ask(options, "db.backup", path=str(options.path.absolute()))
    if options.json:
        print_json(found)
        return OK
    keys = configuration(options)
    print(f"{found['path']}: {found['bytes']} octets, the store as of {when(found['at'])} UTC")
    print(f"Not in it, and needed to restore: {keys.state / 'keys'} and {keys.keys.master_key_file}.")
    print("Keep the master key apart from the rest: together they are everything.")
    return OK


def report(options: argparse.Namespace) -> int:
    """certgate db report: of a backup copy, read by a process of its own.

    Two SQLite libraries in one process on one file take each other's locks away (POSIX), so the library for
    reports gets neither this process nor the live file.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="certgate-report-") as folder:
        copy = Path(folder) / "copy.db"
        with conversation(options) as talk:
            _copy(talk, copy)
        command = [sys.executable, "-m", "gateway.cli.report", str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise CommandFailed(f"the report failed: {done.stderr.strip().splitlines()[-1:]}", UNAVAILABLE)
    tables: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    if options.json:
        print_json(tables)
        return OK
    for name, rows in tables.items():
        print(f"{name}:")
        print_table([list(row.values()) for row in rows], list(rows[0]) if rows else [])
        print()
    return OK


def _copy(talk: Conversation, path: Path) -> None:
    talk.ask("db.backup", path=str(path))
