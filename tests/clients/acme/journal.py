"""What a gate was asked, as its log tells it: the proof that a client did what the test says it did."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.gate import Gate, wait_until


class Journal:
    """The requests that came since this was made."""

    def __init__(self, gate: Gate) -> None:
        self._log = gate.log
        self._begin = self._log.stat().st_size

    def requests(self) -> list[dict[str, Any]]:
        """Every finished request, in order."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            lines = log.read().splitlines(keepends=True)
        told = (json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}\n"))
        return [one for one in told if one.get("event") == "request"]

    def operations(self) -> list[str]:
        """The operations that succeeded."""
        return [one["operation"] for one in self.requests() if one["status"] < 400]

    def saw(self, *operations: str) -> bool:
        """Whether each of these succeeded. The log is written a moment after the answer."""
        return wait_until(lambda: set(operations) <= set(self.operations()), 5)

    def __str__(self) -> str:
        return "\n".join(f"{one['method']} {one['operation']} {one['status']}" for one in self.requests())
