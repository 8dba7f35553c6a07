"""Cursors: signed, bound to their list and filters; exports."""

from __future__ import annotations

import pytest

from protocols.rest.paging import Cursors, PageQuery, csv_heading, csv_rows, ndjson, next_url
from protocols.rest.problems import Invalid
from protocols.rest.schema import View, read_query


class Filters(PageQuery, frozen=True, kw_only=True):
    text: str = ""
    number: int | None = None


class Row(View, frozen=True, kw_only=True):
    name: str
    tags: tuple[str, ...]
    note: str | None = None


CURSORS = Cursors(b"k" * 32)


def test_a_cursor_begins_after_its_key() -> None:
    cursor = CURSORS.make("list-rows", Filters(text="a"), "ключ/1")
    assert CURSORS.read("list-rows", Filters(text="a", cursor=cursor, limit=7)) == "ключ/1"
    assert CURSORS.read("list-rows", Filters()) == ""


@pytest.mark.parametrize("operation", ["list-rows", "list-others"])
def test_a_cursor_of_another_list_filter_or_key_is_refused(operation: str) -> None:
    """Row 4.3: cursors are opaque and signed."""
    cursor = CURSORS.make("list-rows", Filters(text="a"), "1")
    wrong = [cursor[:-1], "x", "", "é", cursor] if operation == "list-others" else [cursor[:-2] + "AA", "!!!!"]
    for one in filter(None, wrong):
        with pytest.raises(Invalid):
            CURSORS.read(operation, Filters(text="a", cursor=one))
    with pytest.raises(Invalid):
        CURSORS.read("list-rows", Filters(text="b", cursor=cursor))
    with pytest.raises(Invalid):
        Cursors(b"x" * 32).read("list-rows", Filters(text="a", cursor=cursor))


@pytest.mark.parametrize(
    ("query", "pointer", "rule", "nearest"),
    [
        ("limit=501", "?limit", "maximum", 500),
        ("limit=0", "?limit", "minimum", 1),
        ("limit=x", "?limit", "type", None),
        ("txt=a", "?txt", "unknown", "text"),
        ("text=a&text=b", "?text", "unique", None),
    ],
)
def test_a_wrong_parameter_is_named(query: str, pointer: str, rule: str, nearest: object) -> None:
    with pytest.raises(Invalid) as said:
        read_query(Filters, query)
    (error,) = said.value.errors
    assert (error.pointer, error.rule, error.nearest) == (pointer, rule, nearest)


def test_the_next_page_has_the_same_filters() -> None:
    assert next_url("https://x/y", Filters(text="a b"), "c") == "https://x/y?limit=50&text=a+b&cursor=c"


def test_exports_hold_every_field_and_no_formula() -> None:
    """What people wrote is no formula of a spreadsheet."""
    rows = [Row(name="=1+1", tags=("a", "b")), Row(name='say "x"', tags=(), note="n")]
    assert csv_heading(Row) + csv_rows(rows) == b'name,tags,note\r\n\'=1+1,a b,\r\n"say ""x""",,n\r\n'
    assert ndjson(rows[:1]) == b'{"name":"=1+1","tags":["a","b"],"note":null}\n'
