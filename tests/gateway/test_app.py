"""A whole server put together: what stops it from starting leaves no port open, and what probes may use."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_core.clock import FixedClock
from ca_core.keystores.software import SoftwareKeyStore
from gateway.app import put_together
from gateway.config import load
from gateway.logs import Logging
from gateway.masterkey import StateMissing
from gateway.running import Running
from gateway.store import open_store
from policy.authorities import Authorities
from policy.problems import Unavailable
from policy.sealing import Sealing
from policy.store import StoreUnavailable
from tests.conftest import ACTOR, House
from tests.replacing import replace


@pytest.fixture
async def running(house: House) -> AsyncIterator[Running]:
    """A server on free ports that has not started."""
    server = replace(
        house.core.config.server, drain_seconds=0.1, https_port=0, mtls_port=0, http_port=0, management_port=0
    )
    core = replace(house.core, config=replace(house.core.config, server=server))
    log = Logging("info", "json", io.StringIO())
    yield Running(core, log)
    log.close()


def open_ports(running: Running) -> int:
    return sum(len(one.sockets) for one in running.server._listeners.values())


async def test_a_start_that_fails_gives_the_ports_free(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing() -> None:
        raise Unavailable("the key is away")

    monkeypatch.setattr(running, "replace_certificate", failing)
    with pytest.raises(Unavailable):
        await running.start()
    assert open_ports(running) == 0
    assert not running.health.started


async def test_stopping_closes_the_store_when_it_cannot_write(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint and the last event are missed, and nothing stays open."""
    await running.start()
    assert open_ports(running) == 4
    closed: list[bool] = []

    async def failing(unit: object) -> Any:
        raise StoreUnavailable("disk full")

    async def close(core: object) -> None:
        closed.append(True)

    with monkeypatch.context() as full:
        full.setattr(running.core.store, "commit", failing)
        full.setattr(type(running.core), "close", close)
        await running.stop()
    assert closed == [True]
    assert open_ports(running) == 0


async def test_the_probe_signs_with_issuing_cas_only(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root's key is not used because somebody asks for /health/ready; one issuing key that is away is told."""
    issuers = running.core.ca.issuers
    signed: list[str] = []

    class Watched:
        def __init__(self, name: str) -> None:
            self.name = name
            self.signer = issuers[name].signer
            self.algorithm = self.signer.algorithm

        async def sign(self, data: bytes) -> bytes:
            signed.append(self.name)
            return await self.signer.sign(data)

    for name, issuer in issuers.items():
        monkeypatch.setattr(issuer, "signer", Watched(name))
    await running._probe_signer()
    assert signed == ["issuing"]


async def test_a_root_alone_serves_nothing_and_says_why(tmp_path: Path, clock: FixedClock) -> None:

    config = load(tmp_path, None, {}, [])
    sealing = Sealing(bytes(32))
    keystore = SoftwareKeyStore(tmp_path / "keys", sealing.key("keystore"))
    store = await open_store("sqlite://", clock=clock)
    authorities = Authorities(store, keystore, clock, config.server.status_url)
    await authorities.make_root("root", (("CN", "Root"),), "ec-p256", timedelta(days=365), ACTOR)
    core = await put_together(config, store, keystore, sealing, clock)
    log = Logging("info", "json", io.StringIO())
    running = Running(core, log)
    try:
        with pytest.raises(StateMissing, match="issuing CA"):
            await running.replace_certificate()
        assert "issuing CA" in (await running.reload() or "")
        await running._probe_signer()
    finally:
        log.close()
        await core.close()
