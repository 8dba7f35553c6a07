"""The API on a house."""

from __future__ import annotations

import pytest

from tests.conftest import House
from tests.protocols.rest.world import API, open_api


@pytest.fixture
async def api(house: House) -> API:
    """The API, asked by an administrator."""
    return await open_api(house)
