"""A server that runs: doors, listeners, worker and what reloads them, around the parts of `gateway.app`."""

from __future__ import annotations

import os
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

import structlog

from ca_core.issuer import Issuer
from gateway.app import Core, services_for
from gateway.health import Health, Management
from gateway.logs import Logging
from gateway.masterkey import StateMissing
from gateway.metrics import Metrics
from gateway.routing import Door
from gateway.server import Server, listeners_of
from gateway.tls import tls_names
from gateway.worker import Worker
from policy.audit import AuditEvent, AuditTag
from policy.mount import Mount
from policy.problems import Problem
from policy.publication import is_root
from policy.store import MOUNTS, Unit
from protocols import available
from protocols.endpoint import Endpoint

_log = structlog.get_logger("certgate.app")


class Running:
    """A server: core, doors, listeners, worker. `start` returns when every listener answers."""

    def __init__(self, core: Core, log: Logging) -> None:
        self.core = core
        self.metrics = Metrics()
        self.health = Health()
        self.server = Server(listeners_of(core.config), core.config.server, log, self.metrics)
        self._endpoints = {
            protocol.name: protocol.factory(services_for(core, protocol.name)) for protocol in available()
        }
        self.worker = Worker(core, self.refresh, self.replace_certificate)
        self._routed_epoch = -1

    async def start(self) -> None:
        """Finish what a crash left, then open the ports. Raises OSError when a port is taken."""
        if not self.core.ca.issuers:
            raise StateMissing("there is no CA yet: run certgate quickstart, or certgate ca create")
        self.server.bind()
        try:
            await self._open()
        except BaseException:
            await self.server.stop()
            raise
        self.worker.start()
        self.health.started = True

    async def _open(self) -> None:
        finished = await self.core.recovery.finish_open()
        if finished:
            _log.warning("finished issuances that were interrupted", count=finished)
        await self.replace_certificate()
        await self.refresh()
        self.health.register("store", self._probe_store)
        self.health.register("signer", self._probe_signer)
        await self.server.start()
        await self._note(AuditTag.SERVER_STARTED)

    async def stop(self) -> None:
        """Drain: accept nothing new, finish what is in flight, stop the worker, close the store."""
        self.health.draining = True
        try:
            await self.server.stop()
            await self.worker.stop()
            await self._note(AuditTag.SERVER_STOPPED)
        except Problem as problem:
            _log.error("the end of the server could not be written down", fault=str(problem))
        finally:
            await self.core.close()

    async def reload(self) -> str | None:
        """What SIGHUP asks for: the TLS certificate, those to perspectives, and the mounts anew.

        What fails leaves what was there in force, and gives the reason.
        """
        try:
            await self.replace_certificate()
            await self.refresh()
            if self.core.perspectives is not None:
                await self.core.perspectives.renew()
        except (Problem, StateMissing, OSError, ValueError) as fault:
            self.metrics.config_last_reload_successful.set(0)
            _log.error("reload failed; what was in force stays", fault=f"{type(fault).__name__}: {fault}")
            return f"{type(fault).__name__}: {fault}"
        self.metrics.config_last_reload_successful.set(1)
        _log.info("reloaded")
        return None

    async def _note(self, tag: AuditTag) -> None:
        unit = Unit()
        unit.audit(AuditEvent(tag, self.core.clock(), "system:server", f"process:{os.getpid()}"))
        await self.core.store.commit(unit)

    async def refresh(self) -> None:
        """Serve the mounts as they are now; cheap when nothing changed."""
        epoch = self.core.store.configuration_epoch
        if epoch == self._routed_epoch:
            return
        mounts = tuple(mount for mount in await self.core.store.many(MOUNTS) if mount.active)
        doors = [self._door(name, endpoint, mounts) for name, endpoint in self._endpoints.items()]
        management = Management(self.health, self.metrics)
        listeners = frozenset({"management"})
        doors.append(Door("management", management.say, management.routes(), listeners))
        self.server.reload_routes(doors)
        self.server.replace_anchors("mtls", self._anchors(mounts))
        self._routed_epoch = epoch

    def _door(self, name: str, endpoint: Endpoint, mounts: tuple[Mount, ...]) -> Door:
        own = tuple(mount for mount in mounts if mount.protocol == name)
        return Door(name, endpoint.say, endpoint.routes(own))

    def _anchors(self, mounts: tuple[Mount, ...]) -> list[bytes]:
        """What the handshake accepts: our CAs, and what the mounts add. Each mount checks against its own (E11)."""
        own = [issuer.certificate_der for issuer in self.core.ca.issuers.values()]
        return own + [anchor for mount in mounts for anchor in mount.anchors]

    async def replace_certificate(self) -> None:
        """The server's own TLS certificate: from the configured files, else issued to itself and renewed."""
        settings = self.core.config.server
        if settings.tls_certificate_file:
            self.server.replace_certificate(*_read_pair(settings.tls_certificate_file, settings.tls_key_file))
            return
        names = tuple(tls_names(self.core.config))
        issuer = next(iter(self._issuing()), None)
        if issuer is None:
            raise StateMissing(
                "there is no issuing CA that could certify this server, and a root does not: make one with certgate ca "
                "create-issuing, or set server.tls_certificate_file and server.tls_key_file"
            )
        usable = await self.core.service_keys.get("tls", issuer.name, names=names)
        chain = b"".join(_pem(der) for der in (usable.key.certificate, *usable.key.chain))
        self.server.replace_certificate(chain, await self.core.keystore.tls_key_pem(usable.key.label))
        self.metrics.tls_not_after.set(usable.key.not_after.timestamp())

    def _issuing(self) -> list[Issuer]:
        """The CAs in service that certify more than CAs."""
        now = self.core.clock()
        return [one for one in self.core.ca.issuers.values() if not is_root(one) and now < one.not_after]

    async def _probe_store(self) -> None:
        await self.core.store.commit(Unit())

    async def _probe_signer(self) -> None:
        # A root's key is used on purpose, never because somebody looks whether it is there.
        for issuer in self._issuing():
            issuer.verify(await issuer.signer.sign(b"certgate health probe"), b"certgate health probe")


def _read_pair(certificate: str, key: str) -> tuple[bytes, bytes]:
    return Path(certificate).read_bytes(), Path(key).read_bytes()


def _pem(der: bytes) -> bytes:
    return DER_cert_to_PEM_cert(der).encode()
