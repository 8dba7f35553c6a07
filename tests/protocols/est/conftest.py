"""The EST door before a small registration authority."""

from __future__ import annotations

import pytest

from tests.protocols.est import small


@pytest.fixture
def make_door() -> small.MakeDoor:
    return small.make_door


@pytest.fixture
def door() -> small.Door:
    return small.make_door()
