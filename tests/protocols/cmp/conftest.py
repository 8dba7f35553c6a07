"""The CMP door of a house."""

from __future__ import annotations

import pytest

from tests.conftest import House
from tests.protocols.cmp.maker import Gate, opened


@pytest.fixture
async def gate(house: House) -> Gate:
    return await opened(house)
