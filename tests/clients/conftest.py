"""The server that the real clients talk to, the name server it asks, and programs that may be missing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Names, serving
from tests.clients.programs import strict, why_missing


@pytest.fixture(scope="session")
def need() -> Callable[..., None]:
    """A function that skips with the reason when a program is missing, or fails where none may be."""

    def check(*programs: str) -> None:
        for reason in filter(None, map(why_missing, programs)):
            if strict():
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)

    return check


@pytest.fixture(scope="session")
def gate() -> Iterator[Gate]:
    """A quickstart state, served for the whole session."""
    with tempfile.TemporaryDirectory(prefix="certgate-clients-") as folder, serving(Path(folder)) as gate:
        yield gate


@pytest.fixture(scope="session")
def names(gate: Gate, need: Callable[..., None]) -> Iterator[Names]:
    """The name server that the gate asks."""
    need("pebble-challtestsrv")
    names = Names(gate, gate.folder)
    try:
        names.start()
        yield names
    finally:
        names.stop()
