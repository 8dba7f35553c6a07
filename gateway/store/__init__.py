"""The store behind policy/store: `open_store` by URL. SQLite is built in; PostgreSQL comes later."""

from __future__ import annotations

from ca_core.clock import Clock
from gateway.store.migrations import StoreRefused
from gateway.store.opening import read_url
from gateway.store.sqlite import SQLiteStore

__all__ = ["SQLiteStore", "StoreRefused", "open_store"]


async def open_store(url: str, *, clock: Clock) -> SQLiteStore:
    """Open the store of this URL, migrated and ready; `await store.close()` when done. Raises StoreRefused.

    `sqlite:///relative.db`, `sqlite:////absolute/path.db`; `sqlite://` or `sqlite:///:memory:` in memory.
    """
    return SQLiteStore(read_url(url), clock)
