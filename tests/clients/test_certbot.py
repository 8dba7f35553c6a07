"""certbot (Debian) against the ACME door: binding, http-01, renewal, revocation, and what refusals say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of, verify

pytestmark = pytest.mark.client


class Certbot:
    """One installation of certbot: its configuration, work and log folders are its own."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        self._folders = ("--config-dir", folder / "c", "--work-dir", folder / "w", "--logs-dir", folder / "l")

    def __call__(self, action: str, *words: object) -> Said:
        return run(
            *("certbot", action, "--non-interactive", *words, *self._folders),
            folder=self.folder,
            environment={"REQUESTS_CA_BUNDLE": self.gate.root},
        )

    def certonly(self, directory: str, name: str, *words: object) -> Said:
        """Order a certificate; certbot answers http-01 itself."""
        return self(
            *("certonly", "--agree-tos", "--email", "admin@example.org", "--no-eff-email"),
            *("--server", directory, "--standalone", "--http-01-address", "127.0.0.1"),
            *("--http-01-port", self.gate.http01_port, "-d", name, *words),
        )

    def bound(self, name: str, *words: object) -> Said:
        """Order at the directory that wants an external account binding."""
        acme = self.gate.told["acme"]
        binding = ("--eab-kid", acme["kid"], "--eab-hmac-key", acme["hmac_key"])
        return self.certonly(acme["directory"], name, *binding, *words)

    def open(self, name: str, *words: object) -> Said:
        """Order at the directory that wants none."""
        return self.certonly(self.gate.told["acme_open"]["directory"], name, *words)

    def live(self, name: str) -> Path:
        """Where certbot keeps the newest certificate of this name."""
        return self.folder / "c" / "live" / name


@pytest.fixture
def certbot(gate: Gate, need: Callable[..., None], tmp_path: Path) -> Certbot:
    need("certbot", "openssl")
    return Certbot(gate, tmp_path)


@pytest.mark.door
def test_bound_account_gets_a_trusted_name_without_a_challenge(certbot: Certbot, gate: Gate) -> None:
    """The quickstart's binding is the proof for names below certgate.test: no responder listens here."""
    said = certbot.bound("shop.certgate.test")
    assert said.status == 0, said.text
    live = certbot.live("shop.certgate.test")
    verify(gate, live / "cert.pem", live / "chain.pem", certbot.folder)
    (certificate,) = certificates_of(live / "cert.pem")
    assert names_of(certificate) == {"shop.certgate.test"}
    shown = gate.show(serial_of(certificate))
    assert (shown["serial"], shown["status"]) == (serial_of(certificate), "valid")


@pytest.mark.usefixtures("names")
def test_open_directory_validates_by_http01_and_renews(certbot: Certbot, gate: Gate) -> None:
    """http-01 (RFC 8555 section 8.3) by standalone, then `certbot renew` with a new key and serial."""
    said = certbot.open("www.open.example")
    assert said.status == 0, said.text
    (first,) = certificates_of(certbot.live("www.open.example") / "cert.pem")
    said = certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")
    assert said.status == 0, said.text
    (second,) = certificates_of(certbot.live("www.open.example") / "cert.pem")
    assert first.serial_number != second.serial_number
    assert {gate.show(serial_of(one))["status"] for one in (first, second)} == {"valid"}


@pytest.mark.usefixtures("names")
def test_bound_account_validates_other_names_by_http01(certbot: Certbot) -> None:
    """The binding is no proof for a name outside certgate.test: certbot answers a challenge for it."""
    said = certbot.bound("www.elsewhere.example")
    assert said.status == 0, said.text
    (certificate,) = certificates_of(certbot.live("www.elsewhere.example") / "cert.pem")
    assert names_of(certificate) == {"www.elsewhere.example"}


@pytest.mark.parametrize("reason", ["keycompromise", "cessationofoperation"])
def test_revokes_by_account(certbot: Certbot, gate: Gate, reason: str) -> None:
    """revokeCert signed by the account that ordered (RFC 8555 section 7.6)."""
    said = certbot.bound("revoked-a.certgate.test")
    assert said.status == 0, said.text
    path = certbot.live("revoked-a.certgate.test") / "cert.pem"
    (certificate,) = certificates_of(path)
    directory = gate.told["acme"]["directory"]
    words = ("--server", directory, "--cert-path", path, "--reason", reason, "--no-delete-after-revoke")
    said = certbot("revoke", *words)
    assert said.status == 0, said.text
    assert gate.show(serial_of(certificate))["status"] == "revoked"
    again = certbot("revoke", *words)
    assert again.status != 0
    # certbot 2.1 on Python 3.11 stumbles over its own error object here ("can't set attribute"), whatever the
    # server; what the server said is in its log.
    assert "urn:ietf:params:acme:error:alreadyRevoked" in (certbot.folder / "l" / "letsencrypt.log").read_text()


def test_revokes_by_the_key_of_the_certificate(certbot: Certbot, gate: Gate, tmp_path: Path) -> None:
    """revokeCert signed by the certificate's own key, by a certbot that has no account here."""
    said = certbot.bound("revoked-k.certgate.test")
    assert said.status == 0, said.text
    live = certbot.live("revoked-k.certgate.test")
    (certificate,) = certificates_of(live / "cert.pem")
    (tmp_path / "stranger").mkdir()
    stranger = Certbot(gate, tmp_path / "stranger")
    said = stranger(
        *("revoke", "--server", gate.told["acme"]["directory"], "--cert-path", live / "cert.pem"),
        *("--key-path", live / "privkey.pem", "--no-delete-after-revoke"),
    )
    assert said.status == 0, said.text
    assert gate.show(serial_of(certificate))["status"] == "revoked"


def test_wrong_binding_key_is_refused_with_a_sentence(certbot: Certbot, gate: Gate) -> None:
    """A wrong EAB key: certbot ends with an error that its user understands, and nothing is issued."""
    acme = gate.told["acme"]
    before = len(gate.export())
    wrong = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkhISE"
    said = certbot.certonly(acme["directory"], "x.certgate.test", "--eab-kid", acme["kid"], "--eab-hmac-key", wrong)
    assert said.status != 0
    assert "Error returned by the ACME server" in said.text, said.text
    assert "internal" not in said.text, said.text
    assert len(gate.export()) == before


def test_missing_binding_is_refused_with_a_sentence(certbot: Certbot, gate: Gate) -> None:
    """certbot sees externalAccountRequired in the directory and says so itself."""
    said = certbot.certonly(gate.told["acme"]["directory"], "x.certgate.test")
    assert said.status != 0
    assert "external account" in said.text.lower(), said.text


def test_caa_of_another_authority_is_refused(certbot: Certbot, gate: Gate, names: Names) -> None:
    """CAA names another authority (RFC 8659): the order fails with the ACME type caa."""
    before = len(gate.export())
    policy = [{"tag": "issue", "value": "ca.elsewhere.example"}]
    names.tell("add-caa", host="guarded.example.", policies=policy)
    said = certbot.open("www.guarded.example")
    assert said.status != 0
    assert "caa" in said.text.lower(), said.text
    assert len(gate.export()) == before
