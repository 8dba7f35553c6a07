"""build(config): the one place where parts are put together.

`open_core` gives what every command of the CLI needs (store, keys, services) without opening a port; `Running` adds
listeners, the worker and the admin socket around it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from urllib.parse import urlsplit

import structlog

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock, system_clock
from ca_core.issuer import Issuer
from ca_core.keys import Signer
from ca_core.keystores.software import SoftwareKeyStore
from ca_core.names import Identifier, IdentifierType
from gateway.config import Config
from gateway.config.schema import LimitsSettings
from gateway.health import Health, Management
from gateway.logs import Logging
from gateway.masterkey import StateMissing, master_key
from gateway.metrics import Metrics
from gateway.perspectives.remote import Connections
from gateway.routing import Door
from gateway.server import Server, listeners_of
from gateway.store import SQLiteStore, open_store
from gateway.validators.assembly import validation_parts
from gateway.worker import Worker
from policy.administration import Administration
from policy.approval import Approval
from policy.audit import AuditEvent, AuditTag
from policy.authentication import Authentication
from policy.authorities import Authorities
from policy.authorizing import Authorizing
from policy.catalogue import Catalogue
from policy.fulfilment import Fulfilment
from policy.inventory import Inventory
from policy.limits import Limit, Limits
from policy.mount import Mount
from policy.placing import Placing
from policy.prevalidation import Prevalidation
from policy.problems import Problem
from policy.publication import Publication, PublicationSettings, is_root
from policy.quotas import Quotas
from policy.recovery import Recovery
from policy.refusals import Refusals
from policy.registering import Registering
from policy.registration import Parts, RegistrationAuthority
from policy.renewal import Renewal
from policy.revocation import Revocation
from policy.sealer import Sealer
from policy.sealing import Sealing
from policy.service_keys import ServiceKeys
from policy.store import MOUNTS, Unit
from policy.validating import Validating, ValidationSettings
from protocols import available
from protocols.endpoint import Endpoint, Services

_log = structlog.get_logger("certgate.app")

CHECKPOINT_LABEL = "audit-checkpoint"
CHECKPOINT_KEY_TYPE = "ed25519"


@dataclass(frozen=True, slots=True)
class Core:
    """Everything but the listeners: what serves requests and commands alike."""

    config: Config
    clock: Clock
    store: SQLiteStore
    keystore: SoftwareKeyStore
    sealing: Sealing
    ca: CertificateAuthority
    ra: RegistrationAuthority
    authorities: Authorities
    validating: Validating
    recovery: Recovery
    approval: Approval
    revocation: Revocation
    publication: Publication
    administration: Administration
    inventory: Inventory
    registering: Registering
    renewal: Renewal
    domains: Prevalidation
    sealer: Sealer
    service_keys: ServiceKeys
    perspectives: Connections | None = None

    async def close(self) -> None:
        """Stop what runs in the background and close the store; nothing acknowledged is lost."""
        await self.validating.drain()
        if self.perspectives is not None:
            await self.perspectives.close()
        await self.store.close()
        self.keystore.close()


def account_uri(base_url: str) -> Callable[[str, str], str]:
    """How the URL of an ACME account is made (protocols/acme lays its paths out like this)."""
    return lambda mount, account: f"{base_url}/{mount}/account/{account}"


async def open_core(config: Config, *, clock: Clock = system_clock, create: bool = False) -> Core:
    """Open the store and put the services together; `create` makes a missing state folder and master key.

    Raises StateMissing, StoreRefused, PermissionError, and what key stores raise, before anything is changed.
    """
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    sealing = Sealing(master_key(Path(config.keys.master_key_file), create=create))
    keystore = SoftwareKeyStore(config.state / "keys", sealing.key("keystore"))
    store = await open_store(config.store.url, clock=clock)
    try:
        return await put_together(config, store, keystore, sealing, clock)
    except BaseException:
        await store.close()
        raise


async def put_together(
    config: Config, store: SQLiteStore, keystore: SoftwareKeyStore, sealing: Sealing, clock: Clock
) -> Core:
    """The services on a store that is open. Several of these on one store are several server objects."""
    authorities = Authorities(store, keystore, clock, config.server.status_url)
    ca = CertificateAuthority(await authorities.load(), clock)
    catalogue = Catalogue(store)
    limits = Limits(_limits(config.limits), time.monotonic)
    proving = validation_parts(config.validation)
    validating = Validating(
        store,
        catalogue,
        proving.validators,
        proving.resolver,
        limits,
        clock,
        account_uri(config.server.base_url),
        ValidationSettings(
            issuer_domains=frozenset(config.validation.caa_identities),
            attempt_seconds=proving.attempt_seconds,
        ),
        proving.caa_checker,
    )
    authorizing = Authorizing(store, catalogue, validating, limits, clock)
    fulfilment = Fulfilment(store, catalogue, ca, authorizing, Quotas(limits), clock)
    service_keys = ServiceKeys(store, ca, keystore, clock)
    publication = Publication(store, ca, service_keys, clock, PublicationSettings())
    revocation = Revocation(store, ca, clock)
    parts = Parts(
        store=store,
        catalogue=catalogue,
        ca=ca,
        sealing=sealing,
        clock=clock,
        limits=limits,
        refusals=Refusals(store, limits, clock),
        authentication=Authentication(store, catalogue, sealing, clock),
        authorizing=authorizing,
        placing=Placing(store, catalogue, ca, authorizing, limits, clock),
        fulfilment=fulfilment,
        registering=Registering(store, limits, clock),
        revocation=revocation,
        renewal=Renewal(store, catalogue, clock),
        publication=publication,
    )
    return Core(
        config=config,
        clock=clock,
        store=store,
        keystore=keystore,
        sealing=sealing,
        ca=ca,
        ra=RegistrationAuthority(parts),
        authorities=authorities,
        validating=validating,
        recovery=Recovery(store, ca, fulfilment, clock),
        approval=Approval(store, fulfilment, clock),
        revocation=revocation,
        publication=publication,
        administration=Administration(
            store, sealing, revocation, ca, clock, {one.name: one.check_mount for one in available()}
        ),
        inventory=Inventory(store, clock),
        registering=parts.registering,
        renewal=parts.renewal,
        domains=Prevalidation(store, clock),
        sealer=Sealer(store, await _checkpoint_key(keystore), clock),
        service_keys=service_keys,
        perspectives=proving.connections,
    )


async def _checkpoint_key(keystore: SoftwareKeyStore) -> Signer:
    if CHECKPOINT_LABEL in keystore.labels():
        return await keystore.load(CHECKPOINT_LABEL)
    return await keystore.create(CHECKPOINT_LABEL, CHECKPOINT_KEY_TYPE)


def _limits(settings: LimitsSettings) -> dict[str, Limit]:
    rates = {name: getattr(settings, name) for name in settings.__slots__}
    limits = {name: Limit(rate.count, rate.seconds) for name, rate in rates.items() if rate.count}
    # Failed authentications beyond this are counted and logged, but not audited one by one.
    return {**limits, "audited_refusals": Limit(600, 60)}


# --------------------------------------------------------------------------- with listeners


class Running:
    """A server: core, doors, listeners, worker. `start` returns when every listener answers."""

    def __init__(self, core: Core, log: Logging) -> None:
        self.core = core
        self.metrics = Metrics()
        self.health = Health()
        self.server = Server(listeners_of(core.config), core.config.server, log, self.metrics)
        self._endpoints = {protocol.name: protocol.factory(self._services(protocol.name)) for protocol in available()}
        self.worker = Worker(core, self.refresh, self.replace_certificate)
        self._routed_epoch = -1

    def _services(self, protocol: str) -> Services:
        server = self.core.config.server
        return Services(
            ra=self.core.ra,
            settings=self.core.config.doors[protocol],
            base_url=server.base_url,
            mtls_url=server.mtls_url,
            status_url=server.status_url,
            clock=self.core.clock,
        )

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


def tls_names(config: Config) -> list[Identifier]:
    """The names of the server's own certificate: the hosts of its origins, the configured ones, loopback's."""
    server = config.server
    hosts = [urlsplit(url).hostname or "" for url in (server.base_url, server.mtls_url)]
    hosts += list(server.names)
    if any(_is_loopback(host) for host in hosts):
        hosts += ["localhost", "127.0.0.1", "::1"]
    return [_identifier(host) for host in dict.fromkeys(hosts)]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _identifier(host: str) -> Identifier:
    try:
        return Identifier(IdentifierType.IP, str(ip_address(host)))
    except ValueError:
        return Identifier(IdentifierType.DNS, host.lower())


def _pem(der: bytes) -> bytes:
    return DER_cert_to_PEM_cert(der).encode()
