"""A name server for the tests of the resolver and of the validators."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.validators.dns import Resolver
from tests.gateway.validators.servers import NameServer, name_server


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    """A name server on loopback."""
    async with name_server() as server:
        yield server


@pytest.fixture
def resolver(names: NameServer) -> Resolver:
    """A resolver that asks it, patient enough for a busy machine."""
    return Resolver(("127.0.0.1", names.port), timeout_seconds=2, attempts=2)


@pytest.fixture
def impatient(names: NameServer) -> Resolver:
    """A resolver for servers that never answer."""
    return Resolver(("127.0.0.1", names.port), timeout_seconds=0.1, attempts=2)
