"""docs/protocols/acme-requirements.md and the tests say the same: every row has tests, and every test its rows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.modules import ROOT

PAGE = ROOT / "docs" / "protocols" / "acme-requirements.md"
TESTS = ROOT / "tests"
ROWS = {
    f"{kind}{number}" for kind, last in (("R", 31), ("C", 15), ("A", 12), ("T-", 34)) for number in range(1, last + 1)
}


def _functions(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str]]:
    """Each test below this, by its node, with its docstring."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}::{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield f"{prefix}::{node.name}", ast.get_docstring(node) or ""


def _claimed() -> set[tuple[str, str]]:
    """Row and test, as the docstrings of the tests have them."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        for test, text in _functions(ast.parse(path.read_text()), str(path.relative_to(TESTS))):
            for rows in re.findall(r"\bRows: ([^.]+)\.", text):
                found |= {(row, test) for row in rows.split(", ")}
    return found


def _told() -> set[tuple[str, str]]:
    """Row and test, as the page has them."""
    lines = re.findall(r"^\| ((?:R|C|A|T-)\d+) \|.*\| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)
    return {(row, test) for row, cell in lines for test in re.findall(r"`([^`]+)`", cell)}


def test_every_row_has_a_test() -> None:
    """All rows there are, and no other."""
    assert {row for row, _ in _told()} == ROWS


def test_page_and_tests_say_the_same() -> None:
    """A test that was renamed, removed or lost its rows is missed on the page; a row that a test claims is there."""
    assert _told() == _claimed()
