"""openssl asks for the status of a certificate at the addresses that the certificate itself names."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from tests.clients.gate import Gate, Said, certificates_of, run, serial_of, wait_until

pytestmark = [pytest.mark.client, pytest.mark.door]

OCSP_SECONDS = 1.0
CRL_SECONDS = 60.0


class Relying:
    """Somebody who was shown a certificate and wants to know whether it still holds."""

    def __init__(self, gate: Gate, certificate: Path) -> None:
        self.gate = gate
        self.path = certificate
        self.folder = certificate.parent
        (self.certificate,) = certificates_of(certificate)
        access = self.certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        where = {entry.access_method: entry.access_location.value for entry in access}
        self.responder = where[AuthorityInformationAccessOID.OCSP]
        self.issuer_url = where[AuthorityInformationAccessOID.CA_ISSUERS]
        points = self.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert points is not None
        assert points[0].full_name is not None
        self.crl_url = points[0].full_name[0].value
        self.issuer = self.folder / "issuer.pem"
        self.openssl(
            *("x509", "-inform", "DER", "-in", self.fetch(self.issuer_url, "issuer.der")),
            *("-out", self.issuer),
        )

    def openssl(self, *words: object) -> Said:
        """Run openssl; it has to end well."""
        said = run("openssl", *words, folder=self.folder)
        assert said.status == 0, said.text
        return said

    def fetch(self, url: str, name: str) -> Path:
        """Download by plain HTTP, as clients do that have no trust yet (RFC 5280 section 4.2.1.13)."""
        assert url.startswith("http://")
        with urllib.request.urlopen(url, timeout=10) as answer:
            (self.folder / name).write_bytes(answer.read())
        return self.folder / name

    def ocsp(self, *words: object) -> Said:
        """Ask the responder; the signature of its answer is verified up to the root."""
        return self.openssl(
            *("ocsp", "-issuer", self.issuer, "-cert", self.path, "-url", self.responder),
            *("-CAfile", self.gate.root, "-verify_other", self.issuer, *words),
        )

    def is_revoked(self, *words: str) -> bool:
        """Whether the responder says so."""
        return ": revoked" in self.ocsp(*words).out

    def crl(self) -> x509.CertificateRevocationList:
        """The CRL at the distribution point; openssl verifies its signature."""
        path = self.fetch(self.crl_url, "now.crl")
        said = self.openssl("crl", "-inform", "DER", "-in", path, "-CAfile", self.issuer, "-noout")
        assert "verify OK" in said.text
        return x509.load_der_x509_crl(path.read_bytes())

    def listed(self) -> x509.RevokedCertificate | None:
        """The entry of this certificate in the CRL."""
        return self.crl().get_revoked_certificate_by_serial_number(self.certificate.serial_number)


@pytest.fixture
def relying(gate: Gate, need: Callable[..., None], tmp_path: Path) -> Relying:
    need("openssl")
    return Relying(gate, gate.enroll("status.certgate.test", tmp_path))


def test_good_then_revoked_in_ocsp_at_once_and_in_the_crl_soon(relying: Relying, gate: Gate) -> None:
    """Revocation shows in OCSP within a second, and in the CRL within a minute, with reason and time."""
    assert ": good" in relying.ocsp().out
    assert relying.listed() is None

    said = gate.certgate("cert", "revoke", serial_of(relying.certificate), "--reason", "keyCompromise")
    assert said.status == 0, said.text
    begun = time.monotonic()
    # Two ways to ask: with a nonce the answer is signed now, without one it may come from a cache.
    for words in ((), ("-no_nonce",)):
        asked = wait_until(partial(relying.is_revoked, *words), OCSP_SECONDS)
        assert asked, f"not revoked in OCSP after {time.monotonic() - begun:.1f} s"
    assert "keyCompromise" in relying.ocsp().out

    assert wait_until(lambda: relying.listed() is not None, CRL_SECONDS, step=0.5)
    entry = relying.listed()
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise


def test_hold_is_lifted_again(relying: Relying, gate: Gate) -> None:
    """On hold is revoked with certificateHold (RFC 5280 section 5.3.1), and good again once released."""
    serial = serial_of(relying.certificate)
    said = gate.certgate("cert", "hold", serial)
    assert said.status == 0, said.text
    assert wait_until(lambda: "certificateHold" in relying.ocsp().out, OCSP_SECONDS)
    said = gate.certgate("cert", "release", serial)
    assert said.status == 0, said.text
    assert wait_until(lambda: ": good" in relying.ocsp().out, OCSP_SECONDS)


def test_crl_numbers_grow_and_the_scope_is_stated(relying: Relying, gate: Gate) -> None:
    """Every CRL says its own distribution point (RFC 5280 section 5.2.5), and its number never falls."""
    first = relying.crl()
    point = first.extensions.get_extension_for_oid(ExtensionOID.ISSUING_DISTRIBUTION_POINT)
    assert isinstance(point.value, x509.IssuingDistributionPoint)
    assert point.critical
    assert [name.value for name in point.value.full_name or ()] == [relying.crl_url]

    def number(crl: x509.CertificateRevocationList) -> int:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    said = gate.certgate("cert", "revoke", serial_of(relying.certificate), "--reason", "superseded")
    assert said.status == 0, said.text
    assert wait_until(lambda: relying.listed() is not None, CRL_SECONDS, step=0.5)
    assert number(relying.crl()) > number(first)


def test_openssl_refuses_the_revoked_certificate(relying: Relying, gate: Gate) -> None:
    """A path check with CRLs: good before, "certificate revoked" after."""

    def check() -> Said:
        path = relying.fetch(relying.crl_url, "now.crl")
        relying.openssl("crl", "-inform", "DER", "-in", path, "-out", relying.folder / "crl.pem")
        return run(
            *("openssl", "verify", "-crl_check", "-CAfile", gate.root, "-untrusted", relying.issuer),
            *("-CRLfile", relying.folder / "crl.pem", relying.path),
            folder=relying.folder,
        )

    assert check().status == 0
    said = gate.certgate("cert", "revoke", serial_of(relying.certificate))
    assert said.status == 0, said.text
    assert wait_until(lambda: "certificate revoked" in check().text, CRL_SECONDS, step=0.5)
