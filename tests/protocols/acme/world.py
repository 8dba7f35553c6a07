"""A whole server behind the ACME door, without its network: real service, real CA, SQLite in memory, a fixed
clock.

Only what would ask the outside is a small implementation of its own: a validator that looks into a
dictionary, and a CAA resolver that finds nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ca_core.authority import CertificateAuthority
from ca_core.ceremony import create_issuing, create_root
from ca_core.clock import FixedClock
from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from ca_core.profile import CertificateProfile
from gateway.store import SQLiteStore, open_store
from policy.account import Group, User
from policy.approval import Approval
from policy.authentication import Authentication
from policy.authorizing import Authorizing
from policy.blocking import Blocking
from policy.catalogue import Catalogue
from policy.credential import (
    AuthenticationMethod,
    Credential,
    CredentialState,
    CredentialType,
    SecretForm,
    StoredSecret,
)
from policy.fulfilment import Fulfilment
from policy.generating import Generating
from policy.ids import CredentialId
from policy.limits import Limit, Limits
from policy.mount import Mount
from policy.parts import Parts
from policy.placing import Placing
from policy.problems import ValidationIncorrectResponse
from policy.product import ApprovalMode, NameRules, Product, ValidationRules
from policy.publication import Publication, PublicationSettings
from policy.quotas import Quotas
from policy.refusals import Refusals
from policy.registering import Registering
from policy.registration import RegistrationAuthority
from policy.renewal import Renewal
from policy.revocation import Revocation
from policy.sealing import Sealing, Secret
from policy.service_keys import ServiceKeys
from policy.store import Unit
from policy.transactions import Transactions
from policy.validating import Validating, ValidationSettings
from policy.validation import Attempt, Evidence
from policy.validation.caa import CAASet
from protocols.acme.endpoint import ACMEEndpoint
from protocols.acme.settings import ACMESettings
from protocols.endpoint import Services, dispatch
from protocols.http import HTTPRequest, HTTPResponse, PeerIdentity, Route
from tests.replacing import replace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = "https://ca.certgate.test:8443"
METHODS = ("http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01")
STATUS_URL = "http://status.certgate.test"
EAB_KEY = b"0123456789abcdef0123456789abcdef"
TERMS = "https://ca.certgate.test/terms-1"


@dataclass
class Answers:
    """A validator that compares with what a test put there: (name, token) -> key authorization."""

    method: str
    expected: dict[tuple[str, str], str] = field(default_factory=dict)
    gate: Callable[[], Awaitable[object]] | None = None

    async def validate(self, attempt: Attempt) -> Evidence:
        if self.gate is not None:
            await self.gate()
        found = self.expected.get((attempt.identifier.value, attempt.token))
        if found != attempt.key_authorization:
            raise ValidationIncorrectResponse("something else was there", identifier=attempt.identifier)
        return Evidence(attempt.method, attempt.identifier.value, "as expected")


class NoCAA:
    """Nobody has CAA records."""

    async def caa(self, domain: str, *, addresses: bool = False) -> CAASet:
        return CAASet(None)


@dataclass
class World:
    """Everything a test may look at or change."""

    ra: RegistrationAuthority
    store: SQLiteStore
    clock: FixedClock
    sealing: Sealing
    validators: dict[str, Answers]
    validating: Validating
    approval: Approval
    endpoint: ACMEEndpoint
    mounts: tuple[Mount, ...]
    products: dict[str, Product]
    parts: Parts
    routes: dict[str, Route] = field(default_factory=dict)

    async def change(self, product: str, **changes: Any) -> None:
        """Make the next version of a product."""
        old = self.products[product]
        self.products[product] = replace(old, version=old.version + 1, **changes)
        await self.save(self.products[product])

    async def reopen(self, label: str = "default", **options: Any) -> None:
        """Serve a mount with these options more."""
        mounts = []
        for mount in self.mounts:
            if mount.label == label:
                mount = replace(mount, options=mount.options | options, version=mount.version + 1)
                await self.save(mount)
            mounts.append(mount)
        self.mount(*mounts)

    def mount(self, *mounts: Mount) -> None:
        """Serve these mounts."""
        self.mounts = mounts
        self.routes = {route.path: route for route in self.endpoint.routes(mounts)}

    async def save(self, *entities: Any) -> None:
        """Write next versions of entities."""
        unit = Unit()
        for entity in entities:
            unit.save(entity)
        await self.store.commit(unit)

    async def insert(self, *entities: Any) -> None:
        """Write new entities."""
        unit = Unit()
        for entity in entities:
            unit.insert(entity)
        await self.store.commit(unit)

    async def revoke_credential(self, credential: str) -> None:
        """As an administrator does."""
        catalogue = Catalogue(self.store)
        found = await catalogue.credential(credential)
        assert found is not None
        await self.save(replace(found, state=CredentialState.REVOKED, version=found.version + 1))

    def find(self, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a path, with its parameters."""
        segments = path.split("/")
        for pattern, route in self.routes.items():
            parts = pattern.split("/")
            if len(parts) == len(segments) and all(
                part == segment or part.startswith("{") for part, segment in zip(parts, segments, strict=True)
            ):
                named = zip(parts, segments, strict=True)
                return route, {part[1:-1]: segment for part, segment in named if part.startswith("{")}
        raise LookupError(path)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> HTTPResponse:
        """One request, as the server would hand it to the door."""
        path, _, query = url.removeprefix(ORIGIN).partition("?")
        route, parameters = self.find(path)
        assert method in route.methods, f"{method} is not served at {path}"
        request = HTTPRequest(
            method=method,
            path=path,
            query=query,
            headers=MappingProxyType(headers or {}),
            body=body,
            peer=PeerIdentity(address),
            url=ORIGIN + path,
            request_id="r-1",
            label=path.split("/")[2],
            parameters=MappingProxyType(parameters),
        )
        return await dispatch(route.operation, self.endpoint.say, request)


def _profile() -> CertificateProfile:
    return CertificateProfile(name="tls-server", name_types=("dns", "ip"))


def _products() -> dict[str, Product]:
    profile = _profile()
    validation = ValidationRules(trusted=("dns:*.trusted.test", "dns:trusted.test"), caa=True)
    names = NameRules(allowed=("dns:**", "ip:0.0.0.0/0", "ip:::/0"), denied=("dns:*.denied.test", "dns:denied.test"))
    standard = Product(
        "standard", 1, "Server certificates, 90 days", "issuing", profile, ("acme",), names=names, validation=validation
    )
    return {
        "standard": standard,
        "other": replace(standard, name="other", title="Another product"),
        "asked": replace(
            standard,
            name="asked",
            title="A person decides, the client waits",
            approval=True,
            approval_over_acme=ApprovalMode.HOLD,
        ),
    }


def _credentials(sealing: Sealing, now: datetime) -> tuple[Credential, ...]:
    products = ("standard", "other", "asked")
    open_door = Credential(
        CredentialId("open"),
        CredentialType.ACME,
        "open",
        "alice",
        "ops",
        products,
        AuthenticationMethod.NONE,
        CredentialState.ACTIVE,
        now,
    )
    bound = replace(
        open_door,
        id=CredentialId("bound"),
        identifier="kid-1",
        method=AuthenticationMethod.EAB,
        secrets=(StoredSecret(SecretForm.SEALED, sealing.seal(Secret(EAB_KEY), "bound"), now),),
    )
    single = replace(
        bound,
        id=CredentialId("single"),
        identifier="kid-single",
        use_limit=1,
        secrets=(StoredSecret(SecretForm.SEALED, sealing.seal(Secret(EAB_KEY), "single"), now),),
    )
    return open_door, bound, single


async def make_ca(directory: Path) -> tuple[SoftwareKeyStore, Issuer]:
    """A root and an issuing CA: made once for all tests, they take the longest."""
    clock = FixedClock(NOON - timedelta(days=30))
    keystore = SoftwareKeyStore(directory, b"a passphrase for tests")
    root = await create_root(keystore, "root", (("CN", "Test Root"),), "ec-p256", timedelta(days=7300), clock)
    above = Issuer("root", root.certificate_der, root.signer, status_url=STATUS_URL, root_der=root.certificate_der)
    issuing = await create_issuing(
        keystore, "issuing", (("CN", "Test Issuing CA"),), "ec-p256", timedelta(days=3650), clock, above, crl=True
    )
    issuer = Issuer(
        "issuing", issuing.certificate_der, issuing.signer, status_url=STATUS_URL, root_der=root.certificate_der
    )
    return keystore, issuer


async def make_world(
    keystore: SoftwareKeyStore,
    issuer: Issuer,
    settings: ACMESettings | None = None,
    limits: dict[str, Limit] | None = None,
    beside: World | None = None,
) -> World:
    """A server with two mounts: "default", open to anybody, and "bound", for accounts with a binding.

    `beside` is a server that is there already: this one shares its store and its clock, and nothing else.
    """
    clock = FixedClock(NOON) if beside is None else beside.clock
    store = await open_store("sqlite://", clock=clock) if beside is None else beside.store
    sealing = Sealing(bytes(range(32)))
    catalogue = Catalogue(store)
    ca = CertificateAuthority({"issuing": issuer}, clock)
    limiter = Limits(limits or {}, lambda: clock().timestamp())
    validators = {method: Answers(method) for method in METHODS}
    validating = Validating(
        store,
        catalogue,
        validators,
        NoCAA(),
        limiter,
        clock,
        lambda mount, account: f"{ORIGIN}/{mount}/account/{account}",
        ValidationSettings(frozenset({"ca.certgate.test"}), inline_seconds=0.2, retries_after_seconds=(0.0,)),
    )
    authorizing = Authorizing(store, catalogue, validating, limiter, clock)
    fulfilment = Fulfilment(store, catalogue, ca, authorizing, Quotas(limiter), clock)
    service_keys = ServiceKeys(store, ca, keystore, clock)
    placing = Placing(store, catalogue, ca, authorizing, limiter, clock)
    refusals = Refusals(store, limiter, clock)
    revocation = Revocation(store, ca, Blocking(store, catalogue, clock), clock)
    parts = Parts(
        store=store,
        catalogue=catalogue,
        ca=ca,
        sealing=sealing,
        clock=clock,
        limits=limiter,
        refusals=refusals,
        authentication=Authentication(store, catalogue, sealing, clock),
        authorizing=authorizing,
        placing=placing,
        fulfilment=fulfilment,
        generating=Generating(store, placing, sealing, clock),
        registering=Registering(store, limiter, clock),
        revocation=revocation,
        renewal=Renewal(store, catalogue, clock),
        publication=Publication(store, ca, service_keys, clock, PublicationSettings()),
        transactions=Transactions(store, ca, revocation, refusals, clock),
        service_keys=service_keys,
    )
    ra = RegistrationAuthority(parts)
    services = Services(ra, settings or ACMESettings(), ORIGIN, ORIGIN, STATUS_URL, clock)
    endpoint = ACMEEndpoint(services)
    products = _products()
    mounts = (
        Mount("acme", "default", tuple(products), "issuing", open_credential="open"),
        Mount("acme", "bound", tuple(products), "issuing", options={"terms_of_service": TERMS}),
    )
    world = World(
        ra,
        store,
        clock,
        sealing,
        validators,
        validating,
        Approval(store, fulfilment, clock),
        endpoint,
        mounts,
        products,
        parts,
    )
    if beside is None:
        people = User("alice", ("ops",)), Group("ops")
        await world.insert(*people, *products.values(), *mounts, *_credentials(sealing, NOON))
    world.mount(*mounts)
    return world
