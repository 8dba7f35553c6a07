"""What tests share: a clock that stands still, a CA and a store in memory, and the services on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ca_core.clock import FixedClock
from ca_core.keystores.software import SoftwareKeyStore
from ca_core.profile import CertificateProfile
from gateway.app import Core, put_together
from gateway.config import load
from gateway.store import open_store
from policy.account import Group, User
from policy.acting import operator
from policy.authorities import Authorities
from policy.credential import AuthenticationMethod, CredentialType
from policy.credentialing import CreatedCredential, NewCredential
from policy.fulfilment import Fulfilment
from policy.mount import Mount
from policy.order import Identifier
from policy.problems import ValidationIncorrectResponse
from policy.product import ApprovalMode, NameRules, Product, ValidationRules
from policy.sealing import Sealing
from policy.validation import Attempt, Evidence
from policy.validation.caa import CAASet

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("certgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("certgate")

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACTOR = operator("user:tests")

TLS_PROFILE = CertificateProfile(
    name="tls-server",
    name_types=("dns", "ip"),
    key_usage=("digitalSignature", "keyEncipherment"),
    max_validity_seconds=90 * 86400,
)
DEVICE_PROFILE = CertificateProfile(
    name="device", extended_key_usage=("clientAuth",), key_usage=("digitalSignature", "keyEncipherment")
)


@dataclass
class FakeValidator:
    """A validator of the tests: succeeds, unless told what to raise; `gate` makes it wait."""

    method: str
    problem: Exception | None = None
    attempts: list[Attempt] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def validate(self, attempt: Attempt) -> Evidence:
        """As a Validator."""
        self.attempts.append(attempt)
        if self.gate is not None:
            await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return Evidence(self.method, attempt.identifier.value, "as expected")

    def fail(self) -> None:
        """Fail from now on."""
        self.problem = ValidationIncorrectResponse("not what was expected")


@dataclass
class FakeCAA:
    """CAA records by domain, for the tests; none where nothing is said."""

    sets: dict[str, CAASet] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def caa(self, domain: str, *, addresses: bool = False) -> CAASet:
        """As a CAAResolver."""
        self.asked.append(domain)
        return self.sets.get(domain, CAASet(None))


@dataclass
class House:
    """A whole certgate without listeners: real store (in memory), real CA, real rules; validators of the tests."""

    core: Core
    clock: FixedClock
    validators: dict[str, FakeValidator]
    caa: FakeCAA

    @property
    def fulfilment(self) -> Fulfilment:
        """The one part of the registration authority that tests interrupt half way."""
        return self.core.ra._parts.fulfilment

    async def credential(self, kind: str = "acme", product: str = "tls", **more: object) -> CreatedCredential:
        """A credential of that type for that product."""
        new = NewCredential(CredentialType(kind), "alice", "ops", (product,), **more)  # type: ignore[arg-type]
        return await self.core.administration.create_credential(new, ACTOR)


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands at START."""
    return FixedClock(START)


@pytest.fixture(scope="session")
def ca_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for key files, one for all tests."""
    yield tmp_path_factory.mktemp("keys")


@pytest.fixture
async def house(tmp_path: Path, clock: FixedClock) -> AsyncIterator[House]:
    """Root and issuing CA, users, products "tls", "device" and "held", mounts acme/default, acme/open, est/default,
    scep/default."""
    made = await make_house(tmp_path, clock)
    yield made
    await made.core.close()


async def make_house(state: Path, clock: FixedClock, store_url: str = "sqlite://") -> House:
    """See the fixture `house`."""
    config = load(state, None, {}, [])
    sealing = Sealing(os.urandom(32))
    keystore = SoftwareKeyStore(state / "keys", sealing.key("keystore"))
    store = await open_store(store_url, clock=clock)
    authorities = Authorities(store, keystore, clock, config.server.status_url)
    year = timedelta(days=365)
    await authorities.make_root("root", (("CN", "Test Root"),), "ec-p256", 10 * year, ACTOR)
    await authorities.make_issuing("issuing", "root", (("CN", "Test Issuing"),), "ec-p256", 5 * year, ACTOR)
    core = await put_together(config, store, keystore, sealing, clock)
    validators = {name: FakeValidator(name) for name in ("http-01", "dns-01", "tls-alpn-01")}
    caa = FakeCAA()
    # The services are real; only the two adapters that would ask the network are the tests' own.
    core.validating.validators = dict(validators)
    core.validating.caa = caa
    house = House(core, clock, validators, caa)
    await _furnish(house)
    return house


async def _furnish(house: House) -> None:
    admin = house.core.administration
    await house.core.people.apply_group(Group("ops"), ACTOR)
    await house.core.people.apply_user(User("alice", ("ops",), roles=("requester",)), ACTOR)
    tls = Product(
        "tls",
        1,
        "TLS server",
        "issuing",
        TLS_PROFILE,
        ("acme", "est", "cmp", "scep"),
        names=NameRules(allowed=("dns:**", "ip:0.0.0.0/0", "ip:::/0"), denied=("dns:*.denied.test",)),
        validation=ValidationRules(trusted=("dns:*.certgate.test",)),
    )
    await admin.apply_product(tls, ACTOR)
    device = Product(
        "device",
        1,
        "Device",
        "issuing",
        DEVICE_PROFILE,
        ("est", "cmp", "scep"),
        names=NameRules(allowed=("dns:*.certgate.test",), required=False, common_name=r"[\w .-]{1,64}"),
        validation=ValidationRules(trusted=("dns:*.certgate.test",)),
    )
    await admin.apply_product(device, ACTOR)
    held = Product(
        "held",
        1,
        "With approval",
        "issuing",
        TLS_PROFILE,
        ("acme", "est", "cmp", "scep"),
        approval=True,
        approval_over_acme=ApprovalMode.HOLD,
        validation=ValidationRules(trusted=("dns:*.certgate.test",)),
    )
    await admin.apply_product(held, ACTOR)
    opened = await house.credential("acme", method=AuthenticationMethod.NONE, identifier="open")
    await admin.apply_mount(Mount("acme", "default", ("tls", "held"), "issuing"), ACTOR)
    await admin.apply_mount(Mount("acme", "open", ("tls",), "issuing", open_credential=opened.credential.id), ACTOR)
    await admin.apply_mount(Mount("est", "default", ("device", "tls", "held"), "issuing"), ACTOR)
    await admin.apply_mount(Mount("scep", "default", ("device", "tls", "held"), "issuing"), ACTOR)


def dns(name: str) -> Identifier:
    """A DNS identifier in normal form."""
    from ca_core.names import read_identifier

    return read_identifier("dns", name)
