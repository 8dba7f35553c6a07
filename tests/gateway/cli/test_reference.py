"""docs/operations/cli.md and the parser say the same."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from gateway.cli import EXIT_STATUSES, parser
from tests.architecture.modules import ROOT

ROW = re.compile(r"^\| `certgate ([a-z]+(?: [a-z-]+)?)` \| (.+) \|$", re.MULTILINE)
EVERYWHERE = {"--help", "--state", "--config", "--set"}


def page() -> str:
    return (ROOT / "docs" / "operations" / "cli.md").read_text()


def commands(tree: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its parser."""
    below = [action for action in tree._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name, tree
    for action in below:
        for word, one in action.choices.items():
            yield from commands(one, f"{name} {word}".strip())


def options(one: argparse.ArgumentParser) -> set[str]:
    return {text for action in one._actions for text in action.option_strings if text.startswith("--")}


def test_every_command_has_its_row() -> None:
    """And no row is about a command that is gone."""
    documented = [name for name, _ in ROW.findall(page())]
    assert len(documented) == len(set(documented))
    assert set(documented) == {name for name, _ in commands(parser())}


def test_every_option_is_in_the_row_of_its_command() -> None:
    """Those of all commands once, at the top; those of quickstart and serve once, below their table."""
    rows = dict(ROW.findall(page()))
    assert all(option in page().partition("## Exit status")[0] for option in EVERYWHERE - {"--help"})
    serving = page().partition("## Running")[2].partition("## Configuration")[0]
    for name, one in commands(parser()):
        where = serving if name in ("quickstart", "serve") else rows[name]
        missing = {option for option in options(one) - EVERYWHERE if f"`{option}" not in where}
        assert not missing, f"{name}: {sorted(missing)}"


def test_no_row_has_an_option_that_is_gone() -> None:
    known = {name: options(one) for name, one in commands(parser())}
    for name, row in ROW.findall(page()):
        assert set(re.findall(r"--[a-z][a-z-]+", row)) <= known[name], name


def test_help_has_the_exit_statuses() -> None:
    """Every command that can be asked for help says how it ends."""
    for name, one in commands(parser()):
        assert EXIT_STATUSES in (one.epilog or ""), name
        assert one.description, name


def test_every_command_has_state_and_a_function() -> None:
    for name, one in commands(parser()):
        assert "--state" in options(one), name
        assert callable(one.get_default("run")), name
