"""What a campaign takes for a fault: tests of its verdict, not of the server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.load.campaign import faults

GOOD: dict[str, Any] = {"errors": {}, "duplicate_serials": 0, "issued": 5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"errors": {"AcmeError: 503 from /acme/default/new-order: b''": 2}}, "2 times: AcmeError: 503"),
        ({"errors": {"TimeoutError: ": 1}}, "TimeoutError"),
        ({"duplicate_serials": 1}, "twice"),
        ({"issued": 0}, "nothing was issued"),
    ],
)
def test_a_fault_ends_the_campaign_badly(change: dict[str, Any], said: str) -> None:
    assert not faults(GOOD)
    (found,) = faults(GOOD | change)
    assert said in found
