"""Named SQL statements, read from statements.sql once. What they mean is said in policy/store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_HEADER = re.compile(r"^-- name: ([a-z_]+)( \(search\))?$")
_PARAMETER = re.compile(r"\?([0-9]+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `reads` and `returning` say whether its effect is seen by rows that come back."""

    name: str
    sql: str
    parameters: int
    reads: bool
    returning: bool
    search: bool
    """May look at many rows, so it must not run on the event loop's thread."""


@cache
def statements() -> dict[str, Statement]:
    """All statements by name. Raises ValueError for a file that names one twice."""
    return read_statements(resources.files(__package__).joinpath("statements.sql").read_text("utf-8"))


def read_statements(text: str) -> dict[str, Statement]:
    """The statements of a file in which each begins with a line `-- name: …`; other comments are left out."""
    found: dict[str, Statement] = {}
    for block in re.split(r"^(?=-- name: )", text, flags=re.MULTILINE)[1:]:
        header, *lines = block.splitlines()
        match = _HEADER.match(header)
        if match is None:
            raise ValueError(f'a statement begins with "-- name: some_name", not with "{header}"')
        name, search = match.groups()
        if name in found:
            raise ValueError(f'the statement "{name}" is there twice')
        kept = [line.strip() for line in lines if not line.lstrip().startswith("--")]
        sql = " ".join(line for line in kept if line).removesuffix(";")
        found[name] = Statement(
            name=name,
            sql=sql,
            parameters=max((int(number) for number in _PARAMETER.findall(sql)), default=0),
            reads=sql.startswith("SELECT"),
            returning=" RETURNING " in sql,
            search=search is not None,
        )
    return found
