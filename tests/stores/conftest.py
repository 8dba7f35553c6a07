"""The stores under test: SQLite in a file and in memory, one suite for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ca_core.clock import FixedClock
from gateway.store import SQLiteStore, open_store
from tests.stores.values import NOW


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands at NOW."""
    return FixedClock(NOW)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store file that is not there yet."""
    return f"sqlite:///{tmp_path / 'certgate.db'}"


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, url: str, clock: FixedClock) -> AsyncIterator[SQLiteStore]:
    """An empty store, in a file and in memory."""
    opened = await open_store(url if request.param == "file" else "sqlite://", clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def file_store(url: str, clock: FixedClock) -> AsyncIterator[SQLiteStore]:
    """An empty store in a file."""
    opened = await open_store(url, clock=clock)
    yield opened
    await opened.close()
