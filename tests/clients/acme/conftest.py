"""What the modules of the ACME clients share, and a word at the end of which versions were tried."""

from __future__ import annotations

import pytest

from tests.clients.acme.inventory import TRIED
from tests.clients.acme.journal import Journal
from tests.clients.gate import Gate


@pytest.fixture
def journal(gate: Gate) -> Journal:
    """What the gate is asked during the test."""
    return Journal(gate)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which versions were tried: docs/protocols/acme.md lists them."""
    if TRIED:
        terminalreporter.write_line("ACME clients: " + ", ".join(f"{name} {TRIED[name]}" for name in sorted(TRIED)))
