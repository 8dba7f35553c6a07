"""certbot from the Python index, in a virtual environment of its own: keys, wildcards, addresses, ARI, profiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.clients.acme.inventory import located
from tests.clients.acme.journal import Journal
from tests.clients.acme.responders import dns_hook
from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of, verify

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]


class Certbot:
    """One installation of certbot: its configuration, work and log folders are its own."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        self._program = program
        self._folders = ("--config-dir", folder / "c", "--work-dir", folder / "w", "--logs-dir", folder / "l")

    def __call__(self, action: str, *words: object) -> Said:
        return run(
            *(self._program, action, "--non-interactive", *words, *self._folders),
            folder=self.folder,
            environment={"REQUESTS_CA_BUNDLE": self.gate.root},
            timeout=120,
        )

    def bound(self, *words: object) -> Said:
        """Order at the directory that wants an external account binding."""
        acme = self.gate.told["acme"]
        return self(
            *("certonly", "--agree-tos", "--email", "admin@example.org", "--no-eff-email"),
            *("--server", acme["directory"], "--eab-kid", acme["kid"], "--eab-hmac-key", acme["hmac_key"], *words),
        )

    @property
    def standalone(self) -> tuple[object, ...]:
        """Answer http-01 itself."""
        return ("--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", self.gate.http01_port)

    def certificate(self, lineage: str) -> x509.Certificate:
        """The newest certificate of this lineage."""
        (certificate,) = certificates_of(self.folder / "c/live" / lineage / "cert.pem")
        return certificate


@pytest.fixture
def certbot(gate: Gate, tmp_path: Path) -> Certbot:
    return Certbot(gate, tmp_path, located("certbot"))


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (("--key-type", "rsa", "--rsa-key-size", "3072"), 3072),
        (("--key-type", "ecdsa", "--elliptic-curve", "secp384r1"), 384),
    ],
    ids=["rsa3072", "ec384"],
)
def test_key_types_by_http01(certbot: Certbot, words: tuple[str, ...], size: int) -> None:
    """RSA and EC keys, a name that http-01 proves."""
    said = certbot.bound(*certbot.standalone, *words, "-d", "keys.current.example")
    assert said.status == 0, said.text
    live = certbot.folder / "c/live/keys.current.example"
    verify(certbot.gate, live / "cert.pem", live / "chain.pem", certbot.folder)
    key = certbot.certificate("keys.current.example").public_key()
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size == size


def test_wildcard_by_dns01(certbot: Certbot, names: Names) -> None:
    """A wildcard with its base name, by the hooks of --manual (RFC 8555 section 8.4)."""
    hook = dns_hook(names, certbot.folder)
    said = certbot.bound(
        *("--manual", "--preferred-challenges", "dns"),
        *("--manual-auth-hook", f'{hook} present _acme-challenge.$CERTBOT_DOMAIN "$CERTBOT_VALIDATION"'),
        *("--manual-cleanup-hook", f"{hook} clean _acme-challenge.$CERTBOT_DOMAIN -"),
        *("-d", "wild.current.example", "-d", "*.wild.current.example"),
    )
    assert said.status == 0, said.text
    assert names_of(certbot.certificate("wild.current.example")) == {"wild.current.example", "*.wild.current.example"}


def test_address_by_http01(certbot: Certbot) -> None:
    """An IP identifier (RFC 8738). certbot refuses a certificate with an address in its common name. Rows: C7."""
    said = certbot.bound(*certbot.standalone, "--ip-address", "127.0.0.1")
    assert said.status == 0, said.text
    certificate = certbot.certificate("127.0.0.1")
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(one) for one in found.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert not certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)


def test_profile(certbot: Certbot) -> None:
    """A profile that the directory names is granted, and one that it does not name is not."""
    said = certbot.bound(*certbot.standalone, "--required-profile", "tls-server", "-d", "profile.certgate.test")
    assert said.status == 0, said.text
    said = certbot.bound(*certbot.standalone, "--required-profile", "nonsense", "-d", "profile2.certgate.test")
    assert said.status != 0
    assert "profile" in said.text


def test_renews_at_once_what_the_operator_revoked(certbot: Certbot, gate: Gate, journal: Journal) -> None:
    """ARI (RFC 9773): a young certificate stays; revoked, its window is over, and a plain `renew` replaces it."""
    said = certbot.bound(*certbot.standalone, "-d", "ari.certgate.test")
    assert said.status == 0, said.text
    first = certbot.certificate("ari.certgate.test")
    said = certbot("renew", "--no-random-sleep-on-renew")
    assert said.status == 0, said.text
    assert certbot.certificate("ari.certgate.test") == first
    assert journal.saw("renewal-info"), str(journal)
    assert gate.certgate("cert", "revoke", serial_of(first), "--reason", "superseded").status == 0
    said = certbot("renew", "--no-random-sleep-on-renew")
    assert said.status == 0, said.text
    second = certbot.certificate("ari.certgate.test")
    assert second != first
    assert gate.show(serial_of(second))["status"] == "valid"


def test_revocation_is_seen_by_ocsp(certbot: Certbot, gate: Gate) -> None:
    """revokeCert by the account; `certbot certificates` then asks OCSP at the address in the certificate. Rows: C11."""
    said = certbot.bound(*certbot.standalone, "-d", "seen.certgate.test")
    assert said.status == 0, said.text
    serial = serial_of(certbot.certificate("seen.certgate.test"))
    path = certbot.folder / "c/live/seen.certgate.test/cert.pem"
    said = certbot(
        *("revoke", "--server", gate.told["acme"]["directory"], "--cert-path", path),
        *("--reason", "keycompromise", "--no-delete-after-revoke"),
    )
    assert said.status == 0, said.text
    assert gate.show(serial)["status"] == "revoked"
    said = certbot("certificates")
    assert "REVOKED" in said.out, said.text


def test_account_is_updated_shown_and_deactivated(certbot: Certbot, gate: Gate) -> None:
    """Contacts change (RFC 8555 section 7.3.2); after `unregister` the account's certificates stay valid."""
    server = ("--server", gate.told["acme"]["directory"])
    said = certbot.bound(*certbot.standalone, "-d", "account.certgate.test")
    assert said.status == 0, said.text
    said = certbot("update_account", *server, "--email", "new@example.org", "--no-eff-email")
    assert said.status == 0, said.text
    said = certbot("show_account", *server)
    assert "new@example.org" in said.text, said.text
    said = certbot("unregister", *server)
    assert said.status == 0, said.text
    assert gate.show(serial_of(certbot.certificate("account.certgate.test")))["status"] == "valid"
