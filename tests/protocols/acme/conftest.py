"""A server behind the ACME door, and a client with an account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from tests.protocols.acme.client import Client
from tests.protocols.acme.world import World, make_ca, make_world


@pytest.fixture(scope="session")
def acme_ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[SoftwareKeyStore, Issuer]:
    """A root and an issuing CA, made once."""
    directory = tmp_path_factory.mktemp("acme-ca") / "keys"
    # In a thread, as an asynchronous test that asks for it has a running loop already.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(make_ca(directory))).result()


@pytest.fixture
async def world(acme_ca: tuple[SoftwareKeyStore, Issuer]) -> AsyncIterator[World]:
    """A server with two mounts and an empty store."""
    made = await make_world(*acme_ca)
    yield made
    await made.validating.drain()
    await made.store.close()


@pytest.fixture
def client(world: World) -> Client:
    """A client that has a key and no account."""
    return Client(world)


@pytest.fixture
async def member(world: World) -> Client:
    """A client that has an account."""
    made = Client(world)
    answer = await made.register()
    assert answer.status == 201
    return made
