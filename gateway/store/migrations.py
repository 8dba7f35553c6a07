"""Bringing a store file to the schema of this version: numbered steps, each applied once and whole.

A new file gets schema.sql, which is what all steps together come to. What was applied is written down with
its checksum, so a step that was changed afterwards is noticed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources

import apsw

APPLICATION_ID = 0x63657274
"""The application id in the header of our SQLite files: another program's file is not taken for ours."""

_FILE_NAME = re.compile(r"([0-9]{4})-([a-z0-9-]+)\.sql")


class StoreRefused(Exception):
    """The store cannot be opened as it is; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. Its number is the schema version that it leads to."""

    number: int
    title: str
    sql: str

    @property
    def sha256(self) -> str:
        """The checksum of the statements, in hex."""
        return sha256(self.sql.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """All steps in order. Raises ValueError when the numbers are not 1, 2, 3…"""
    found = []
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is not None:
            found.append(Migration(int(match[1]), match[2], file.read_text("utf-8")))
    found.sort(key=lambda step: step.number)
    if [step.number for step in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations are numbered 0001, 0002, 0003 without a gap")
    return tuple(found)


@cache
def schema() -> str:
    """The schema of a new store."""
    return resources.files(__package__).joinpath("schema.sql").read_text("utf-8")


def migrate(connection: apsw.Connection, now: int, steps: tuple[Migration, ...]) -> int:
    """Bring a database to the newest schema and return its version. `now` in seconds since 1970.

    Raises StoreRefused for a file of another program, of a newer version of this one, or with other steps.
    """
    present = int(connection.pragma("user_version"))
    if present == 0 and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
        _create(connection, now, steps)
        return len(steps)
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreRefused("this SQLite file was not made by certgate; nothing in it was changed")
    if present > len(steps):
        raise StoreRefused(
            f"the store has schema version {present}, but this certgate knows versions up to {len(steps)}: "
            "start the version that migrated it, or a newer one"
        )
    _check(connection, steps[:present])
    for step in steps[present:]:
        with connection:
            connection.execute(step.sql)
            _note(connection, (step,), now)
    return len(steps)


def _create(connection: apsw.Connection, now: int, steps: tuple[Migration, ...]) -> None:
    with connection:
        connection.execute(schema())
        connection.pragma("application_id", APPLICATION_ID)
        _note(connection, steps, now)


def _note(connection: apsw.Connection, steps: tuple[Migration, ...], now: int) -> None:
    for step in steps:
        connection.execute(
            "INSERT INTO migrations (number, title, sha256, applied) VALUES (?1, ?2, ?3, ?4)",
            (step.number, step.title, step.sha256, now),
        )
    connection.pragma("user_version", steps[-1].number)


def _check(connection: apsw.Connection, steps: tuple[Migration, ...]) -> None:
    rows = connection.execute("SELECT number, sha256 FROM migrations").fetchall()
    noted = set(rows)
    for step in steps:
        if (step.number, step.sha256) not in noted:
            raise StoreRefused(
                f"migration {step.number:04} ({step.title}) is not the one that was applied to this store: "
                "its checksum differs. Restore the original file of the step"
            )
