"""dehydrated (Debian), which leaves every challenge to others: a web root, a DNS hook, a TLS listener."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.clients.acme.inventory import located
from tests.clients.acme.responders import alpn_responder, dns_hook, script, web_root
from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

# dehydrated calls it for all its events: ACTION NAME TOKEN VALUE for the challenges.
HOOK = """#!/bin/sh
case $1 in
    deploy_challenge) exec {dns} present "_acme-challenge.$2" "$4" ;;
    clean_challenge) exec {dns} clean "_acme-challenge.$2" - ;;
esac
"""


class Dehydrated:
    """One configuration of dehydrated, bound by EAB to the credential of quickstart."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        self._program = program
        acme = gate.told["acme"]
        challenges = folder / "www/.well-known/acme-challenge"
        challenges.mkdir(parents=True)
        settings = {
            "CA": acme["directory"],
            "EAB_KID": acme["kid"],
            "EAB_HMAC_KEY": acme["hmac_key"],
            "CURL_OPTS": f"--cacert {gate.root}",
            "BASEDIR": folder,
            "WELLKNOWN": challenges,
            "CONTACT_EMAIL": "admin@example.org",
            "KEYSIZE": 2048,
        }
        lines = (f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items())
        (folder / "config").write_text("".join(lines))

    def __call__(self, *words: object) -> Said:
        return run(self._program, "--config", self.folder / "config", *words, folder=self.folder, timeout=120)

    def order(self, names: str, *words: object) -> Said:
        """Order a certificate for one or more names, the first of which names its folder."""
        return self("--cron", "--accept-terms", "--domain", names, "--alias", "it", *words)

    @property
    def certificate(self) -> Path:
        """The newest certificate."""
        return self.folder / "certs/it/cert.pem"


@pytest.fixture
def dehydrated(gate: Gate, tmp_path: Path) -> Dehydrated:
    program = located("dehydrated")
    made = Dehydrated(gate, tmp_path, program)
    said = made("--register", "--accept-terms")
    assert said.status == 0, said.text
    return made


def test_bound_account_http01_renewal_revocation_deactivation(dehydrated: Dehydrated, gate: Gate) -> None:
    """The life of an account: bound by EAB, http-01 from a web root, RSA, renewal, revocation, the end."""
    with web_root(gate, dehydrated.folder / "www"):
        said = dehydrated.order("www.dehydrated.example", "--algo", "rsa")
        assert said.status == 0, said.text
        (first,) = certificates_of(dehydrated.certificate)
        assert isinstance(first.public_key(), rsa.RSAPublicKey)
        assert names_of(first) == {"www.dehydrated.example"}
        said = dehydrated.order("www.dehydrated.example", "--algo", "rsa", "--force")
        assert said.status == 0, said.text
    (second,) = certificates_of(dehydrated.certificate)
    assert second != first
    said = dehydrated("--revoke", dehydrated.certificate)
    assert said.status == 0, said.text
    assert [gate.show(serial_of(one))["status"] for one in (first, second)] == ["valid", "revoked"]
    said = dehydrated("--deactivate")
    assert said.status == 0, said.text
    said = dehydrated.order("late.certgate.test", "--force")
    assert said.status != 0
    assert "deactivated" in said.text, said.text


def test_wildcard_by_dns01(dehydrated: Dehydrated, names: Names) -> None:
    """A wildcard with its base name by a hook, and the key that is dehydrated's default (secp384r1)."""
    hook = script(dehydrated.folder / "hook", HOOK.format(dns=dns_hook(names, dehydrated.folder)))
    wanted = "wild.dehydrated.example *.wild.dehydrated.example"
    said = dehydrated.order(wanted, "--challenge", "dns-01", "--hook", hook)
    assert said.status == 0, said.text
    (certificate,) = certificates_of(dehydrated.certificate)
    assert names_of(certificate) == set(wanted.split())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.key_size == 384


def test_tls_alpn01(dehydrated: Dehydrated, gate: Gate) -> None:
    """dehydrated makes the certificate with the proof (RFC 8737 section 3); a TLS server of ours shows it."""
    with alpn_responder(gate, dehydrated.folder / "alpn-certs"):
        said = dehydrated.order("tls.dehydrated.example", "--challenge", "tls-alpn-01", "--algo", "prime256v1")
    assert said.status == 0, said.text
    assert names_of(certificates_of(dehydrated.certificate)[0]) == {"tls.dehydrated.example"}


def test_trusted_name_needs_no_challenge(dehydrated: Dehydrated) -> None:
    """The authorization is valid from the start: dehydrated finds nothing to prove."""
    said = dehydrated.order("dehydrated.certgate.test", "--algo", "prime256v1")
    assert said.status == 0, said.text
