"""The EST door before a small registration authority, and that of a whole certgate."""

from __future__ import annotations

import pytest

from tests.conftest import House
from tests.protocols.est import small
from tests.protocols.est.gate import Gate


@pytest.fixture
def make_door() -> small.MakeDoor:
    return small.make_door


@pytest.fixture
def door() -> small.Door:
    return small.make_door()


@pytest.fixture
def gate(house: House) -> Gate:
    return Gate(house)
