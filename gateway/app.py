"""The one place where parts are put together.

`open_core` gives what every command of the CLI needs (store, keys, services) without opening a port;
`gateway.running` adds listeners and the worker around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock, system_clock
from ca_core.keys import Signer
from ca_core.keystores.software import SoftwareKeyStore
from gateway.config import Config
from gateway.config.schema import LimitsSettings
from gateway.masterkey import master_key
from gateway.perspectives.remote import Connections
from gateway.seeds import read_product
from gateway.store import SQLiteStore, open_store
from gateway.validators.assembly import validation_parts
from policy import tokens
from policy.acting import Acting
from policy.administration import Administration
from policy.admission import Admission
from policy.approval import Approval
from policy.authentication import Authentication
from policy.authorities import Authorities
from policy.authorizing import Authorizing
from policy.blocking import Blocking
from policy.bulk import Bulks
from policy.catalogue import Catalogue
from policy.codes import Codes
from policy.documents import Documents
from policy.forms import CredentialSettings, whole_form
from policy.fulfilment import Fulfilment
from policy.generating import Generating
from policy.idempotency import Idempotency
from policy.inventory import Inventory
from policy.lifecycle import Lifecycle
from policy.limits import Limit, Limits
from policy.oauth import OAuthClients
from policy.onboarding import Onboarding
from policy.ordering import Ordering
from policy.organisations import Organisations
from policy.parts import Parts
from policy.people import People
from policy.placing import Placing
from policy.prevalidation import Prevalidation
from policy.proposing import Proposing
from policy.publication import Publication, PublicationSettings
from policy.quotas import Quotas
from policy.recovery import Recovery
from policy.refusals import Refusals
from policy.registering import Registering
from policy.registration import RegistrationAuthority
from policy.renewal import Renewal
from policy.revocation import Revocation
from policy.sealer import Sealer
from policy.sealing import Sealing
from policy.service_keys import ServiceKeys
from policy.succession import Succession
from policy.supervision import Supervision
from policy.transactions import Transactions
from policy.validating import Validating, ValidationSettings
from protocols import available
from protocols.endpoint import Services
from protocols.kits import Kits

CHECKPOINT_LABEL = "audit-checkpoint"
CHECKPOINT_KEY_TYPE = "ed25519"
TOKEN_LABEL = "access-token"  # noqa: S105 - the label of a key


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
    supervision: Supervision
    publication: Publication
    administration: Administration
    people: People
    organisations: Organisations
    onboarding: Onboarding
    acting: Acting
    inventory: Inventory
    registering: Registering
    lifecycle: Lifecycle
    proposing: Proposing
    renewal: Renewal
    domains: Prevalidation
    sealer: Sealer
    service_keys: ServiceKeys
    codes: Codes
    admission: Admission
    perspectives: Connections | None = None

    async def close(self) -> None:
        """Stop what runs in the background and close the store; nothing acknowledged is lost."""
        await self.validating.drain()
        if self.perspectives is not None:
            await self.perspectives.close()
        await self.store.close()
        self.keystore.close()


def services_for(core: Core, protocol: str) -> Services:
    """What a door is given."""
    server = core.config.server
    return Services(
        ra=core.ra,
        settings=core.config.doors[protocol],
        base_url=server.base_url,
        mtls_url=server.mtls_url,
        status_url=server.status_url,
        clock=core.clock,
        service_keys=core.service_keys,
        codes=core.codes,
        administration=core.administration,
        people=core.people,
        organisations=core.organisations,
        onboarding=core.onboarding,
        domains=core.domains,
        inventory=core.inventory,
        lifecycle=core.lifecycle,
        proposing=core.proposing,
        admission=core.admission,
        kits=kits_of(core),
    )


def credential_settings(config: Config) -> CredentialSettings:
    """What configuration and doors say of credentials."""
    return CredentialSettings(
        environment=config.doors["rest"].environment,
        forms={one.name: whole_form(one.credential_form) for one in available() if one.credential_form},
        max_secret_days=config.credentials.max_secret_days(),
        warning_days=config.credentials.secret_warning_days,
        code_lifetime=timedelta(seconds=config.doors["scep"].one_time_seconds),
        codes_open=config.doors["scep"].one_time_open,
    )


def kits_of(core: Core) -> Kits:
    """The client kits of every door."""
    server = core.config.server
    kits = {one.name: one.kits for one in available()}
    return Kits(kits, server.base_url, server.mtls_url, server.status_url)


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
    signer = await _own_key(keystore, TOKEN_LABEL, tokens.KEY_TYPE)
    base_url = config.server.base_url
    access_tokens = tokens.Tokens(store, signer, base_url, f"{base_url}/api/v1", clock)
    clients = OAuthClients(store, catalogue, sealing, access_tokens, clock)
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
    blocking = Blocking(store, catalogue, clock)
    revocation = Revocation(store, ca, blocking, clock)
    refusals = Refusals(store, limits, clock)
    recovery = Recovery(store, ca, fulfilment, clock)
    approval = Approval(store, fulfilment, clock)
    supervision = Supervision(store, revocation)
    inventory = Inventory(store, clock)
    placing = Placing(store, catalogue, ca, authorizing, limits, clock)
    parts = Parts(
        store=store,
        catalogue=catalogue,
        ca=ca,
        sealing=sealing,
        clock=clock,
        limits=limits,
        refusals=refusals,
        authentication=Authentication(store, catalogue, sealing, clock, clients),
        authorizing=authorizing,
        placing=placing,
        fulfilment=fulfilment,
        generating=Generating(store, placing, sealing, clock),
        registering=Registering(store, limits, clock),
        revocation=revocation,
        renewal=Renewal(store, catalogue, clock),
        publication=publication,
        transactions=Transactions(store, ca, revocation, refusals, clock),
        service_keys=service_keys,
    )
    ordering = Ordering(
        store, catalogue, parts.placing, fulfilment, approval, recovery, validating.waiting, parts.refusals, clock
    )
    succession = Succession(store, catalogue, ordering, parts.renewal, revocation, clock)
    acting = Acting(store)
    administration = Administration(
        store,
        sealing,
        revocation,
        ca,
        clock,
        {one.name: one.check_mount for one in available()},
        credential_settings(config),
    )
    people = People(store, clock)
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
        recovery=recovery,
        approval=approval,
        lifecycle=Lifecycle(
            store=store,
            inventory=inventory,
            ordering=ordering,
            documents=Documents(store, catalogue, ordering, clock),
            approval=approval,
            succession=succession,
            supervision=supervision,
            blocking=blocking,
            bulks=Bulks(store, inventory, succession, parts.renewal, revocation, clock),
        ),
        revocation=revocation,
        supervision=supervision,
        publication=publication,
        administration=administration,
        proposing=Proposing(store, catalogue, administration, inventory, ca, clock, read_product),
        people=people,
        onboarding=Onboarding(store, people, administration),
        organisations=Organisations(store, clock),
        acting=acting,
        inventory=inventory,
        registering=parts.registering,
        renewal=parts.renewal,
        domains=Prevalidation(store, validating, clock),
        sealer=Sealer(store, await _own_key(keystore, CHECKPOINT_LABEL, CHECKPOINT_KEY_TYPE), clock),
        service_keys=service_keys,
        codes=Codes(store, sealing, clock),
        admission=Admission(acting, limits, sealing, Idempotency(store, sealing, clock), access_tokens, clients),
        perspectives=proving.connections,
    )


async def _own_key(keystore: SoftwareKeyStore, label: str, key_type: str) -> Signer:
    """A key of the service that needs no certificate; made when it is not there."""
    if label in keystore.labels():
        return await keystore.load(label)
    return await keystore.create(label, key_type)


def _limits(settings: LimitsSettings) -> dict[str, Limit]:
    rates = {name: getattr(settings, name) for name in settings.__slots__}
    limits = {name: Limit(rate.count, rate.seconds) for name, rate in rates.items() if rate.count}
    # Failed authentications beyond this are counted and logged, but not audited one by one.
    return {**limits, "audited_refusals": Limit(600, 60)}
