"""Ceremonies: the certificates of a new CA, and what is written down about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ca_core import authority, oids
from ca_core.ceremony import (
    SERVICE_TLS_PROFILE,
    certify_issuing,
    create_responder,
    create_root,
    issue_service_certificate,
)
from ca_core.clock import FixedClock
from ca_core.keys import KeyExists
from ca_core.keystores.software import SoftwareKeyStore
from ca_core.lints import Finding, Severity
from ca_core.names import read_identifier
from ca_core.problems import BadCSR, Internal

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048", "ed25519"])
def test_ca_certificates_satisfy_pkilint(
    key_type: str, make_world: Callable[..., Any], pkilint: Callable[..., list[str]]
) -> None:
    """Root and issuing certificate, for each kind of key."""
    world = make_world(key_type)
    assert pkilint("certificate", world.root.certificate_der) == []
    assert pkilint("certificate", world.issuer.certificate_der) == []


def test_root_is_self_signed_and_says_nothing_about_revocation(world: Any) -> None:
    """RFC 5280 sections 3.2 and 4.2.1.9: a CA without limit to its path, valid to the second."""
    root = world.root.certificate
    root.verify_directly_issued_by(root)
    extensions = root.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.path_length is None
    assert {type(extension.value) for extension in extensions} == {
        x509.AuthorityKeyIdentifier,
        x509.SubjectKeyIdentifier,
        x509.KeyUsage,
        x509.BasicConstraints,
    }
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=7300) - SECOND


def test_issuing_ca_has_no_ca_below_it(world: Any) -> None:
    """Path length 0, signed by the root, with the root's certificate and CRL named."""
    issuing = world.issuer.certificate
    issuing.verify_directly_issued_by(world.root.certificate)
    constraints = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert world.root.crl_url(0).encode() in world.issuer.certificate_der
    assert world.root.ca_url.encode() in world.issuer.certificate_der


async def test_issuing_ca_ends_with_its_root(world: Any) -> None:
    """A chain is not longer valid than its root."""
    signer = await world.keystore.create("late", "ec-p256")
    clock = FixedClock(world.root.not_after - timedelta(days=10))
    created = await certify_issuing(signer, (("CN", "Late"),), timedelta(days=3650), clock, world.root)
    assert x509.load_der_x509_certificate(created.certificate_der).not_valid_after_utc == world.root.not_after


async def test_issuing_key_can_be_certified_again(world: Any, clock: FixedClock) -> None:
    """A renewed CA certificate has the same key and name, so that old certificates still chain to it."""
    subject = (("C", "DE"), ("O", "Example"), ("CN", "Example Issuing CA"))
    again = await certify_issuing(world.issuer.signer, subject, timedelta(days=365), clock, world.root, crl=True)
    certificate = x509.load_der_x509_certificate(again.certificate_der)
    assert certificate.subject == world.issuer.certificate.subject
    assert certificate.public_key() == world.issuer.certificate.public_key()
    assert certificate.serial_number != world.issuer.certificate.serial_number


def test_transcript_names_what_was_made(world: Any) -> None:
    """Hashes of key and certificate, subject, serial number and validity, for the record."""
    transcript = world.issuing_created.transcript
    assert transcript["action"] == "certify issuing CA"
    assert transcript["subject"] == "CN=Example Issuing CA,O=Example,C=DE"
    assert transcript["certificate_sha256"] == sha256(world.issuer.certificate_der).hexdigest()
    assert transcript["spki_sha256"] == sha256(world.issuer.signer.spki).hexdigest()
    assert transcript["serial"] == f"{world.issuer.certificate.serial_number:040x}"
    assert transcript["issuer_key_id"] == world.root.id
    assert world.root_created.transcript["action"] == "create root"


async def test_root_is_not_made_twice(tmp_path: Path, clock: FixedClock) -> None:
    """A second ceremony cannot replace the key of the first; a subject that cannot be is refused."""
    keystore = SoftwareKeyStore(tmp_path, b"passphrase")
    subject = (("CN", "Root"),)
    await create_root(keystore, "root", subject, "ec-p256", timedelta(days=1), clock)
    with pytest.raises(KeyExists):
        await create_root(keystore, "root", subject, "ec-p256", timedelta(days=1), clock)
    with pytest.raises(BadCSR):
        await create_root(keystore, "other", (("C", "Germany"),), "ec-p256", timedelta(days=1), clock)


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
async def test_responder_certificate_satisfies_pkilint(
    key_type: str,
    make_world: Callable[..., Any],
    clock: FixedClock,
    pkilint: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    """RFC 6960 section 4.2.2.2: OCSPSigning from the issuing key itself, with nocheck, and short-lived."""
    world = make_world(key_type)
    signer = await SoftwareKeyStore(tmp_path, b"passphrase").create("ocsp", key_type)
    issued = await create_responder(world.issuer, signer, clock)
    assert pkilint("certificate", issued.der) == []
    certificate = x509.load_der_x509_certificate(issued.der)
    certificate.verify_directly_issued_by(world.issuer.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ObjectIdentifier(oids.EKU_OCSP_SIGNING)]
    assert not certificate.extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    assert issued.not_after - issued.not_before == timedelta(days=30) - SECOND


async def test_responder_certificate_is_not_valid_for_long(world: Any, clock: FixedClock, tmp_path: Path) -> None:
    """A certificate whose revocation nobody looks up has to end soon: 90 days are the limit."""
    signer = await SoftwareKeyStore(tmp_path, b"passphrase").create("ocsp", "ec-p256")
    await create_responder(world.issuer, signer, clock, timedelta(days=90))
    with pytest.raises(BadCSR, match="at most 7776000"):
        await create_responder(world.issuer, signer, clock, timedelta(days=91))


async def test_service_certificate_can_be_recorded(
    world: Any,
    clock: FixedClock,
    ledger: Any,
    spki_of: Callable[[str], bytes],
    pkilint: Callable[..., list[str]],
) -> None:
    """The TLS certificate of the service is in the inventory like every other, without an order."""
    names = (read_identifier("dns", "gateway.certgate.test"), read_identifier("ip", "127.0.0.1"))
    issued = await issue_service_certificate(
        world.issuer, SERVICE_TLS_PROFILE, spki_of("rsa-2048"), "rsa-2048", (), names, clock
    )
    assert pkilint("certificate", issued.der) == []
    assert issued.order == ""
    world.authority(clock).record(issued, ledger)
    assert ledger.recorded == [issued]


async def test_ceremony_stops_at_a_lint_of_severity_error(
    world: Any, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA certificate is linted like every other."""
    finding = Finding("wrong", Severity.ERROR, "is wrong", "RFC 5280")
    monkeypatch.setattr(authority, "run", lambda *_: (finding,))
    with pytest.raises(Internal):
        await create_root(
            SoftwareKeyStore(tmp_path, b"passphrase"),
            "root",
            (("CN", "Root"),),
            "ec-p256",
            timedelta(days=1),
            clock,
        )
