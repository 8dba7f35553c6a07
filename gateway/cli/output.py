"""What commands print: JSON for scripts, short tables and facts for people, progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TERMINAL_SECONDS = 0.1
PIPE_SECONDS = 5.0
"""How often progress is told: a line that changes may change often, lines in a log file may not."""


class Progress:
    """How far long work is: one line that changes on a terminal, now and then a plain line in a pipe.

    Work that is done before the first line is due says nothing in a pipe.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()
        self._shown = False

    def say(self, value: object) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        if now - self._told < (TERMINAL_SECONDS if self._terminal else PIPE_SECONDS):
            return
        self._told = now
        text = value if isinstance(value, str) else json.dumps(value)
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._shown = True
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away from a terminal, before results are printed."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False


def print_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_array(values: Iterable[Any]) -> None:
    """A JSON array, an item a line; what is printed is not kept, so it may be as long as it likes."""
    begun = False
    for value in values:
        print(",\n " if begun else "[", end="")
        print(json.dumps(value, ensure_ascii=False), end="")
        begun = True
    print("]" if begun else "[]")


def print_lines(values: Iterable[Any]) -> None:
    """One JSON object per line."""
    for value in values:
        print(json.dumps(value, ensure_ascii=False))


def print_table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
    """Columns for people, as wide as what is in them."""
    texts = [[shown(value) for value in row] for row in rows]
    if not texts:
        print("nothing found")
        return
    widths = [max(len(row[column]) for row in [list(header), *texts]) for column in range(len(header))]
    for row in [list(header), *texts]:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """A name and its value a line; what is empty is left out."""
    said = {name: shown(value) for name, value in facts.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in said), default=0)
    for name, value in said.items():
        print(f"{name.ljust(width)}  {value}")


def shown(value: object) -> str:
    """A value in a table or line: lists with commas, "-" for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    return _printable(str(value))


def _printable(text: str) -> str:
    """Without control characters: names come from clients, and a terminal obeys escape sequences."""
    return "".join(one if one.isprintable() else "?" for one in text)


def when(text: str | None) -> str:
    """A moment for people, in UTC: "2026-11-23 12:00:00"."""
    return "-" if text is None else text.replace("T", " ").removesuffix("Z")
