"""The connection that writes a SQLite store: statements of units, savepoints, and what its errors mean."""

from __future__ import annotations

import re

import apsw

from gateway.store.queries import statements
from gateway.store.units import BatchLost, Soiled
from policy.store import Conflict, Row, Step

# No unit is the reason for these, so the transaction ends. All other errors are mistakes in a unit.
LOST = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ProtocolError,
    apsw.InterruptError,
    apsw.AbortError,
    apsw.PermissionsError,
    apsw.NoLFSError,
    MemoryError,
)

# Around the statements of units (BEGIN, COMMIT) nothing is a unit's mistake.
_ANY = (apsw.Error, MemoryError)

_UNIQUE = (
    apsw.SQLITE_CONSTRAINT_UNIQUE,
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
    apsw.SQLITE_CONSTRAINT_ROWID,
)
_INDEX_NAMED = re.compile(r"index '([^']+)'")


class SQLiteWriter:
    """The BatchWriter of one SQLite connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._indexes = _unique_indexes(connection)
        self._statements = {name: (one.sql, one.reads, one.returning) for name, one in statements().items()}

    def begin(self) -> None:
        """Begin a transaction. Raises BatchLost."""
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except _ANY as fault:
            raise BatchLost(str(fault)) from fault

    def run(self, steps: list[Step], *, savepoint: bool) -> list[Row]:
        """Run a unit; the rows of statements that return what they wrote.

        Raises Conflict, Soiled, BatchLost, or the error of a mistaken statement.
        """
        execute = self._cursor.execute
        changes = self._connection.changes
        known = self._statements
        rows: list[Row] = []
        wrote = False
        name = ""
        try:
            if savepoint:
                execute("SAVEPOINT unit")
            for step in steps:
                name = step.statement
                sql, reads, returning = known[name]
                if reads:
                    missed = step.must and len(execute(sql, step.parameters).fetchall()) != 1
                elif returning:
                    found = execute(sql, step.parameters).fetchall()
                    wrote, missed = True, step.must and len(found) != 1
                    rows += found
                else:
                    execute(sql, step.parameters)
                    changed = changes()
                    wrote, missed = wrote or changed > 0, step.must and changed != 1
                if missed:
                    raise Conflict(name)
            if savepoint:
                execute("RELEASE unit")
        except LOST as fault:
            raise BatchLost(str(fault)) from fault
        except Exception as fault:
            if savepoint:
                self._undo()
            elif wrote:
                raise Soiled from fault
            conflict = self._conflict(name, fault)
            if conflict is None:
                raise
            raise conflict from fault
        return rows

    def _undo(self) -> None:
        try:
            self._cursor.execute("ROLLBACK TO unit")
            self._cursor.execute("RELEASE unit")
        except LOST as fault:
            raise BatchLost(str(fault)) from fault

    def raise_epoch(self, epoch: int) -> None:
        """Write the configuration epoch. Raises BatchLost."""
        try:
            self._cursor.execute(self._statements["epoch_raise"][0], (epoch,))
        except _ANY as fault:
            raise BatchLost(str(fault)) from fault

    def commit(self) -> None:
        """Wait until all of it is on disk; checkpoints now and then. Raises BatchLost."""
        try:
            self._cursor.execute("COMMIT")
        except _ANY as fault:
            raise BatchLost(str(fault)) from fault

    def rollback(self) -> None:
        """Undo what is there. After some errors SQLite has done so already."""
        try:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except _ANY:
            # Whatever is wrong is still wrong at the next BEGIN, which says so.
            return

    def _conflict(self, statement: str, fault: Exception) -> Conflict | None:
        """A unique value that is taken, or a reference to a missing row; None for a mistake in the unit."""
        code = getattr(fault, "extendedresult", None)
        if code == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
            return Conflict(statement)
        if code not in _UNIQUE:
            return None
        text = str(fault)
        named = _INDEX_NAMED.search(text)
        columns = text.partition(": ")[2]
        return Conflict(statement, named[1] if named is not None else self._indexes.get(columns))


def _unique_indexes(connection: apsw.Connection) -> dict[str, str]:
    """The names of our unique indexes by what SQLite's messages call them: "table.column, table.column"."""
    found = connection.execute(
        "SELECT t.name, i.name FROM sqlite_schema AS t JOIN pragma_index_list(t.name) AS i "
        "WHERE t.type = 'table' AND i.\"unique\" AND i.origin = 'c'"
    ).fetchall()
    names: dict[str, str] = {}
    for table, index in found:
        columns = connection.execute("SELECT name FROM pragma_index_info(?1)", (index,)).fetchall()
        names[", ".join(f"{table}.{column}" for (column,) in columns)] = str(index)
    return names
