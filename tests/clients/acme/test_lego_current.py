"""The current lego, built with go: what Debian's old one cannot do. Addresses, profiles, ARI, key rollover."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.clients.acme.inventory import located
from tests.clients.acme.journal import Journal
from tests.clients.acme.responders import dns_hook, script
from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

# lego's provider "exec" runs this with "present" or "cleanup", the name of the record and its value.
PROVIDER = """#!/bin/sh
case $1 in
    present) exec {dns} present "$2" "$3" ;;
    cleanup) exec {dns} clean "$2" - ;;
esac
"""


class Lego:
    """One folder of lego, at the directory that wants a binding."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        self._program = program

    def __call__(
        self, action: str, *words: object, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Said:
        acme = self.gate.told["acme"]
        return run(
            *(self._program, *action.split(), "--path", self.folder / "p", "--server", acme["directory"]),
            *("--email", "admin@example.org", *words),
            folder=self.folder,
            environment={"LEGO_CA_CERTIFICATES": self.gate.root, **(environment or {})},
            timeout=120,
            stdin=stdin,
        )

    def run(self, *words: object, environment: Mapping[str, str] | None = None) -> Said:
        """Get or renew a certificate; the account is bound by EAB when it is made."""
        acme = self.gate.told["acme"]
        binding = ("--accept-tos", "--eab", "--eab.kid", acme["kid"], "--eab.hmac", acme["hmac_key"])
        return self("run", *binding, "--no-random-sleep", *words, environment=environment)

    @property
    def http(self) -> tuple[object, ...]:
        """Answer http-01."""
        return ("--http", "--http.address", f"127.0.0.1:{self.gate.http01_port}")

    @property
    def tls(self) -> tuple[object, ...]:
        """Answer tls-alpn-01."""
        return ("--tls", "--tls.address", f"127.0.0.1:{self.gate.tlsalpn01_port}")

    def certificate(self, name: str) -> x509.Certificate:
        """The newest certificate with this name."""
        return certificates_of(self.folder / "p/certificates" / f"{name.replace('*', '_')}.crt")[0]


@pytest.fixture
def lego(gate: Gate, tmp_path: Path) -> Lego:
    return Lego(gate, tmp_path, located("lego"))


@pytest.mark.parametrize(("method", "kind"), [("http", "RSA3072"), ("tls", "EC384")])
@pytest.mark.parametrize("identifier", ["current.lego.example", "127.0.0.1"])
def test_challenge(lego: Lego, method: str, kind: str, identifier: str) -> None:
    """http-01 and tls-alpn-01, for a name and for an address (RFC 8738), RSA and EC keys."""
    said = lego.run(*getattr(lego, method), "--key-type", kind, "--domains", identifier)
    assert said.status == 0, said.text
    certificate = lego.certificate(identifier)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in found] == [identifier]


def test_wildcard_by_dns01(lego: Lego, gate: Gate, names: Names) -> None:
    """A wildcard and its base name."""
    provider = script(lego.folder / "provider", PROVIDER.format(dns=dns_hook(names, lego.folder)))
    said = lego.run(
        *("--dns", "exec", "--dns.resolvers", f"127.0.0.1:{gate.dns_port}", "--dns.propagation.wait", "1ms"),
        *("--domains", "*.wild.lego.example", "--domains", "wild.lego.example"),
        environment={"EXEC_PATH": str(provider), "EXEC_SEQUENCE_INTERVAL": "1", "EXEC_POLLING_INTERVAL": "1"},
    )
    assert said.status == 0, said.text
    assert names_of(lego.certificate("*.wild.lego.example")) == {"*.wild.lego.example", "wild.lego.example"}


def test_profile(lego: Lego) -> None:
    """A profile of the directory is granted; another one is refused."""
    said = lego.run(*lego.http, "--profile", "tls-server", "--domains", "profile.lego.example")
    assert said.status == 0, said.text
    said = lego.run(*lego.http, "--profile", "nonsense", "--domains", "profile2.lego.example")
    assert said.status != 0
    assert "profile" in said.text


def test_dates(lego: Lego) -> None:
    """notAfter of the order (RFC 8555 section 7.4) is granted exactly."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
    said = lego.run(*lego.http, "--not-after", until.isoformat(), "--domains", "dates.certgate.test")
    assert said.status == 0, said.text
    assert lego.certificate("dates.certgate.test").not_valid_after_utc == until


def test_renews_at_once_what_the_operator_revoked(lego: Lego, gate: Gate, journal: Journal) -> None:
    """ARI (RFC 9773): a second `run` leaves a young certificate alone, and replaces it after a revocation."""
    name = "ari.certgate.test"
    said = lego.run(*lego.http, "--domains", name)
    assert said.status == 0, said.text
    first = lego.certificate(name)
    said = lego.run(*lego.http, "--domains", name)
    assert said.status == 0, said.text
    assert lego.certificate(name) == first
    assert journal.saw("renewal-info"), str(journal)
    assert gate.certgate("cert", "revoke", serial_of(first), "--reason", "superseded").status == 0
    said = lego.run(*lego.http, "--domains", name)
    assert said.status == 0, said.text
    assert lego.certificate(name) != first


def test_key_rollover_then_revocation(lego: Lego, gate: Gate, journal: Journal) -> None:
    """The account gets another key (RFC 8555 section 7.3.5), and with it revokes what the first one ordered."""
    name = "rollover.certgate.test"
    said = lego.run(*lego.http, "--domains", name)
    assert said.status == 0, said.text
    certificate = lego.certificate(name)
    said = lego("accounts keyrollover", "--key-type", "EC384", stdin=b"Y\n")
    assert said.status == 0, said.text
    assert journal.saw("key-change"), str(journal)
    said = lego("certificates revoke", "--cert.name", name, "--reason", "4")
    assert said.status == 0, said.text
    assert gate.show(serial_of(certificate))["status"] == "revoked"
