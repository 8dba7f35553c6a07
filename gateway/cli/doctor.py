"""certgate doctor: what is wrong, what soon will be, and what to do about it."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.cli import EXIT_STATUSES, OK, REFUSED, Actions, CommandFailed, json_option, state_parent
from gateway.cli.output import print_json
from gateway.cli.talk import Conversation, configuration, conversation

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.diagnosis import Finding

MARKS = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM"}


def add(commands: Actions) -> None:
    """Add the command to the tree."""
    one = commands.add_parser(
        "doctor",
        parents=[state_parent()],
        help="look at everything that could be wrong, and say what to do",
        description="Look at configuration, files, store, CAs, ports and clock; with a running server or without.",
        epilog=f"1 when there is a problem; warnings alone are 0. {EXIT_STATUSES}",
    )
    one.add_argument("--fast", action="store_true", help="leave out what reads the whole store")
    json_option(one)
    one.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """certgate doctor"""
    found: list[Finding] = []
    for finding in _findings(options):
        found.append(finding)
        if not options.json:
            print(f"{MARKS[finding.outcome]}  {finding.check}: {finding.detail}", flush=True)
            if finding.advice:
                print(f"         → {finding.advice}", flush=True)
    problems = sum(one.outcome == "problem" for one in found)
    warnings = sum(one.outcome == "warning" for one in found)
    if options.json:
        print_json(
            [
                {"check": one.check, "status": one.outcome.value, "detail": one.detail, "advice": one.advice}
                for one in found
            ]
        )
    else:
        print(f"\n{len(found)} checks, {problems} problems, {warnings} warnings")
    return REFUSED if problems else OK


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    from ca_core.clock import system_clock
    from gateway import probes
    from gateway.diagnosis import diagnose, problem

    now = system_clock()
    yield from probes.clock(now)
    yield from probes.state_folder(options.state)
    config = yield from _config(options)
    if config is None or not options.state.is_dir():
        return
    yield from probes.private_files(config)
    yield from probes.disk(config)
    yield from probes.open_files(config.server.max_connections)
    with conversation(options) as talk:
        try:
            facts: dict[str, Any] = talk.ask("doctor.facts")
        except CommandFailed as failed:
            yield problem("store", str(failed), "everything else depends on it: mend this first")
            return
        running = bool(talk.running)
        yield _whether_running(facts, running=running)
        yield from _integrity(talk, fast=options.fast)
    yield from diagnose(facts, now, running=running, version=__version__)
    yield from probes.ports(facts["ports"], running=running)
    yield from probes.tls_certificate(facts, now, running=running)
    yield from probes.resolver(config)


def _config(options: argparse.Namespace) -> Generator[Finding, None, Config | None]:
    """What is wrong with the configuration; the configuration itself, when it can be used."""
    from gateway.diagnosis import ok, problem, warning

    try:
        config = configuration(options)
    except CommandFailed as failed:
        for mistake in str(failed).splitlines():
            yield problem("configuration", mistake, "certgate config default shows every key with its sentence")
        return None
    for sentence in config.warnings:
        yield warning("configuration", sentence, "certgate config show tells where each value came from")
    if not config.warnings:
        yield ok("configuration", "no mistakes")
    return config


def _whether_running(facts: dict[str, Any], *, running: bool) -> Finding:
    from gateway.diagnosis import ok

    detail = f"runs as process {facts['pid']}" if running else "does not run; its store was opened here"
    return ok("server", detail)


def _integrity(talk: Conversation, *, fast: bool) -> Iterator[Finding]:
    from gateway.diagnosis import ok, problem

    if fast:
        return
    faults = talk.ask("db.check")["faults"]
    if faults:
        advice = "stop the server, keep the file as it is, restore the newest backup"
        yield problem("store", f"{len(faults)} faults: {faults[0]}", advice)
    else:
        yield ok("store", "every page was read, and is whole")
