"""Migrations: the chain gives what schema.sql gives; steps are applied once, whole, and unchanged."""

from __future__ import annotations

import apsw
import pytest

from gateway.store import opening
from gateway.store.migrations import APPLICATION_ID, Migration, StoreRefused, migrate, migrations, schema
from tests.replacing import replace

FIRST = migrations()[0]
NEXT = Migration(len(migrations()) + 1, "notes", "CREATE TABLE notes (text TEXT NOT NULL) STRICT;")


def database() -> apsw.Connection:
    return opening.open_writer(None)


def describe(connection: apsw.Connection) -> dict[str, object]:
    """All that a schema is, apart from how it was written down and in which order."""
    found: dict[str, object] = {}
    tables = connection.execute("SELECT name, strict, wr FROM pragma_table_list WHERE schema = 'main'")
    for name, strict, without_rowid in tables.fetchall():
        found[str(name)] = (
            strict,
            without_rowid,
            sorted(connection.execute("SELECT * FROM pragma_table_xinfo(?1)", (name,)).fetchall(), key=str),
            sorted(connection.execute("SELECT * FROM pragma_foreign_key_list(?1)", (name,)).fetchall(), key=str),
        )
    indexes = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    for name, sql in indexes.fetchall():
        found[str(name)] = " ".join(str(sql).split())
    meta = connection.execute("SELECT name, value FROM meta ORDER BY name").fetchall()
    return found | {"the rows of meta": meta}


def chained(steps: tuple[Migration, ...]) -> apsw.Connection:
    """A database that began with the first step and was migrated from there."""
    connection = database()
    with connection:
        connection.execute(FIRST.sql)
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute(
            "INSERT INTO migrations (number, title, sha256, applied) VALUES (1, ?1, ?2, 0)",
            (FIRST.title, FIRST.sha256),
        )
        connection.pragma("user_version", 1)
    assert migrate(connection, 1, steps) == len(steps)
    return connection


def test_chain_of_migrations_gives_the_schema() -> None:
    """A store that was migrated is like one that is new."""
    new = database()
    migrate(new, 1, migrations())
    assert describe(chained(migrations())) == describe(new)
    assert new.pragma("user_version") == len(migrations())


def test_step_is_applied_once() -> None:
    """A new step is applied to an old store and noted; the next start has nothing to do."""
    connection = chained(migrations())
    steps = (*migrations(), NEXT)
    assert migrate(connection, 7, steps) == len(steps)
    assert migrate(connection, 8, steps) == len(steps)
    noted = connection.execute("SELECT number, title, sha256, applied FROM migrations ORDER BY number").fetchall()
    assert noted[-1] == (NEXT.number, "notes", NEXT.sha256, 7)


def test_step_that_fails_leaves_nothing_behind() -> None:
    """A step is applied whole or not at all."""
    connection = chained(migrations())
    broken = replace(NEXT, sql=NEXT.sql + "INSERT INTO nowhere VALUES (1);")
    with pytest.raises(apsw.SQLError):
        migrate(connection, 1, (*migrations(), broken))
    assert connection.pragma("user_version") == len(migrations())
    assert not connection.table_exists("main", "notes")
    migrate(connection, 1, (*migrations(), NEXT))


def test_newer_store_is_refused() -> None:
    """An older program does not touch the store of a newer one."""
    connection = chained((*migrations(), NEXT))
    with pytest.raises(StoreRefused, match=rf"schema version {NEXT.number}.*versions up to {len(migrations())}"):
        migrate(connection, 1, migrations())


def test_changed_step_is_refused() -> None:
    """A step that is not the one that was applied is noticed by its checksum."""
    connection = chained(migrations())
    with pytest.raises(StoreRefused, match="checksum"):
        migrate(connection, 1, (replace(FIRST, sql=FIRST.sql + "\n"), *migrations()[1:]))


def test_file_of_another_program_is_refused() -> None:
    """Nothing is created in a database that is not ours."""
    connection = database()
    connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreRefused, match="not made by certgate"):
        migrate(connection, 1, migrations())
    assert not connection.table_exists("main", "orders")


def test_schema_keeps_rows_where_they_were_put() -> None:
    """Tables are STRICT: a number where text belongs is an error and not text."""
    connection = database()
    connection.execute(schema())
    loose = connection.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict").fetchall()
    assert {str(name) for (name,) in loose} <= {"sqlite_schema", "sqlite_stat1", "sqlite_stat4"}
