"""Pages: signed cursors, Link fields (RFC 8288), and lists as CSV or NDJSON instead."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body, encode, plain

T = TypeVar("T")

MAX_LIMIT = 500
DEFAULT_LIMIT = 50
CSV = "text/csv"
NDJSON = "application/x-ndjson"
_MAC_BYTES = 16

Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT, description=f"Items of a page, {MAX_LIMIT} at most.")]
Cursor = Annotated[str, msgspec.Meta(description="Where the page begins: `next` of the page before.")]


class PageQuery(Body, frozen=True, kw_only=True):
    """What every list takes; its own filters are further fields of a subclass."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `after` is the key of the last item where more may follow, else ""; clients never see it."""

    items: tuple[Any, ...]
    after: str = ""


def cut(found: Iterable[T], key: Callable[[T], str], view: Callable[[T], Any], after: str, limit: int) -> Page:
    """A page of a list that is small enough to be read whole, by its key."""
    ordered = sorted((one for one in found if key(one) > after), key=key)
    page = ordered[:limit]
    return Page(tuple(map(view, page)), key(page[-1]) if len(ordered) > limit else "")


class Cursors:
    """Makes and reads cursors: the key of an item, signed together with the list and the filters that it belongs to."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, operation: str, query: PageQuery, after: str) -> str:
        """The cursor after this key, for this list with these filters."""
        return urlsafe_b64encode(self._mac(operation, query, after) + after.encode()).rstrip(b"=").decode()

    def read(self, operation: str, query: PageQuery) -> str:
        """The key after which the page begins; "" for the first one. Raises Invalid for a cursor that is not ours."""
        if not query.cursor:
            return ""
        try:
            raw = urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
            after = raw[_MAC_BYTES:].decode()
        except ValueError:
            raw, after = b"", ""
        if not hmac.compare_digest(raw[:_MAC_BYTES], self._mac(operation, query, after)):
            detail = "it is not a cursor of this list with these filters; begin without one"
            raise Invalid(FieldError("?cursor", "cursor", detail))
        return after

    def _mac(self, operation: str, query: PageQuery, after: str) -> bytes:
        filters = {name: value for name, value in plain(query).items() if name not in ("cursor", "limit")}
        return hmac.digest(self._key, encode((operation, filters, after)), hashlib.sha256)[:_MAC_BYTES]


def next_url(url: str, query: PageQuery, cursor: str) -> str:
    """The address of the next page: the same filters, another cursor."""
    said = {name: value for name, value in plain(query).items() if value not in ("", None) and name != "cursor"}
    return f"{url}?{urlencode({**said, 'cursor': cursor})}"


def ndjson(items: Iterable[Any]) -> bytes:
    """One JSON object in a line."""
    return b"".join(encode(one) + b"\n" for one in items)


def csv_heading(kind: type[Any]) -> bytes:
    """The heading of a list of such items."""
    return (",".join(one.encode_name for one in msgspec.structs.fields(kind)) + "\r\n").encode()


def csv_rows(items: Iterable[Any]) -> bytes:
    """Rows of CSV (RFC 4180); lists are joined by spaces, objects are JSON, and no cell is a spreadsheet's formula."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    for one in items:
        table.writerow([_cell(value) for value in plain(one).values()])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        text = " ".join(value)
    elif isinstance(value, list | tuple | dict | bool):
        text = encode(value).decode()
    else:
        text = str(value)
    # A label is what somebody wrote: a spreadsheet must not take it for a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
