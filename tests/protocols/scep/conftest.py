"""The SCEP door of a whole certgate."""

from __future__ import annotations

import pytest

from policy.credentialing import CreatedCredential
from tests.conftest import House
from tests.protocols.scep.gate import Gate


@pytest.fixture
def gate(house: House) -> Gate:
    return Gate(house)


@pytest.fixture
async def shown(gate: Gate) -> CreatedCredential:
    """A credential with one challenge password for all."""
    return await gate.credential(identifier="fleet")
