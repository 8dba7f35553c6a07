"""A small CA per key type, a ledger that keeps what it is given, and the linters of pkilint."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name, ocsp
from pkilint.validation import ValidationFindingSeverity

from ca_core import algorithms
from ca_core.authority import CertificateAuthority
from ca_core.ceremony import CreatedCA, create_issuing, create_root
from ca_core.clock import FixedClock
from ca_core.issuance import IssuanceRequest, IssuedCertificate
from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from ca_core.ledger import CertificateEvent, Issuance, PublishedCRL
from ca_core.names import read_identifier
from ca_core.profile import CertificateProfile
from ca_core.status import CertificateState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATUS_URL = "http://status.certgate.test"


@dataclass
class MemoryLedger:
    """A ledger that keeps what it is given."""

    reserved: list[Issuance] = field(default_factory=list)
    recorded: list[IssuedCertificate] = field(default_factory=list)
    changes: list[tuple[CertificateEvent, tuple[CertificateState, ...]]] = field(default_factory=list)
    crls: list[PublishedCRL] = field(default_factory=list)

    def reserve(self, issuance: Issuance) -> None:
        self.reserved.append(issuance)

    def record(self, certificate: IssuedCertificate) -> None:
        self.recorded.append(certificate)

    def change(self, event: CertificateEvent, allowed: tuple[CertificateState, ...]) -> None:
        self.changes.append((event, allowed))

    def publish_crl(self, crl: PublishedCRL) -> None:
        self.crls.append(crl)

    def covers(self, intent: str) -> bool:
        """A commit is a receipt for what was reserved before it."""
        return any(issuance.id == intent for issuance in self.reserved)


@dataclass
class World:
    """A root, an issuing CA and the authority above them."""

    keystore: SoftwareKeyStore
    root: Issuer
    root_created: CreatedCA
    issuer: Issuer
    issuing_created: CreatedCA

    def authority(self, clock: FixedClock) -> CertificateAuthority:
        return CertificateAuthority({"issuing": self.issuer}, clock)


async def _make_world(directory: Path, key_type: str, shards: int) -> World:
    clock = FixedClock(NOON - timedelta(days=30))
    keystore = SoftwareKeyStore(directory, b"a passphrase for tests")
    subject = (("C", "DE"), ("O", "Example"), ("CN", "Example Root"))
    root = await create_root(keystore, "root", subject, key_type, timedelta(days=7300), clock)
    root_issuer = Issuer(
        "root", root.certificate_der, root.signer, status_url=STATUS_URL, root_der=root.certificate_der
    )
    subject = (("C", "DE"), ("O", "Example"), ("CN", "Example Issuing CA"))
    created = await create_issuing(
        keystore, "issuing", subject, key_type, timedelta(days=3650), clock, root_issuer, crl=True
    )
    issuer = Issuer(
        "issuing",
        created.certificate_der,
        created.signer,
        status_url=STATUS_URL,
        root_der=root.certificate_der,
        shards=shards,
    )
    return World(keystore, root_issuer, root, issuer, created)


@pytest.fixture(scope="session")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., World]:
    """A World for a key type, made once."""
    made: dict[tuple[str, int], World] = {}

    def make(key_type: str = "ec-p256", shards: int = 1) -> World:
        if (key_type, shards) not in made:
            directory = tmp_path_factory.mktemp(key_type) / "keys"
            # In a thread, as an asynchronous test that asks for a World has a running loop already.
            with ThreadPoolExecutor(1) as thread:
                world = thread.submit(lambda: asyncio.run(_make_world(directory, key_type, shards))).result()
            made[key_type, shards] = world
        return made[key_type, shards]

    return make


@pytest.fixture(scope="session")
def world(make_world: Callable[..., World]) -> World:
    """The World that has ECDSA P-256 keys."""
    return make_world()


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a day on which all CAs of these tests are valid."""
    return FixedClock(NOON)


@pytest.fixture
def ledger() -> MemoryLedger:
    """An empty ledger, which is also the receipt of its own commit."""
    return MemoryLedger()


_GENERATE: dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey]] = {
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.fixture(scope="session")
def spki_of() -> Callable[[str], bytes]:
    """A SubjectPublicKeyInfo of a key type, the same one in the whole run."""
    made: dict[str, bytes] = {}

    def make(key_type: str) -> bytes:
        if key_type not in made:
            public_key = _GENERATE[key_type]().public_key()
            assert algorithms.key_type(public_key) == key_type
            made[key_type] = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return made[key_type]

    return make


@pytest.fixture
def make_request(spki_of: Callable[[str], bytes]) -> Callable[..., IssuanceRequest]:
    """An IssuanceRequest with defaults: two host names for a TLS server."""

    def make(key_type: str = "ec-p256", **changes: object) -> IssuanceRequest:
        values: dict[str, object] = {
            "issuer": "issuing",
            "profile": CertificateProfile("tls-server"),
            "spki": spki_of(key_type),
            "key_type": key_type,
            "subject": (),
            "names": (read_identifier("dns", "www.example.com"), read_identifier("dns", "example.com")),
        }
        values.update(changes)
        return IssuanceRequest(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def pkilint() -> Callable[[str, bytes], list[str]]:
    """What pkilint has to say of a certificate, CRL or OCSP response: findings of warning and above."""
    decoders = [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]
    linters = {
        "certificate": certificate.create_pkix_certificate_validator_container(
            certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
            [
                certificate.create_issuer_validator_container([]),
                certificate.create_validity_validator_container(),
                certificate.create_subject_validator_container([]),
                certificate.create_extensions_validator_container([]),
                certificate.create_spki_validator_container([]),
            ],
        ),
        "crl": crl.create_pkix_crl_validator_container(
            decoders,
            [
                crl.create_issuer_validator_container([]),
                crl.create_validity_validator_container([]),
                crl.create_extensions_validator_container([]),
            ],
        ),
        "ocsp": ocsp.create_pkix_ocsp_response_validator_container([ocsp.create_response_decoder(), *decoders], []),
    }
    loaders = {
        "certificate": loader.RFC5280CertificateDocumentLoader(),
        "crl": loader.RFC5280CertificateListDocumentLoader(),
        "ocsp": loader.RFC6960OCSPResponseDocumentLoader(),
    }

    def run(kind: str, der: bytes) -> list[str]:
        results = linters[kind].validate(loaders[kind].load_der_document(der, kind).root)
        return [
            f"{description.finding!r} {description.message or ''}"
            for result in results
            for description in result.finding_descriptions
            # The lower, the worse.
            if description.finding.severity <= ValidationFindingSeverity.WARNING
        ]

    return run


@pytest.fixture(scope="session")
def openssl() -> Callable[..., str]:
    """Run openssl and give what it prints; the arguments are words or paths."""
    program = shutil.which("openssl")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is missing")
        pytest.skip("openssl is not installed")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run
