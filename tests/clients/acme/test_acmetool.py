"""acmetool (Debian), which knows no external account binding: at the open directory.

Between reading an authorization and asking how it went it waits ten seconds, whatever the server says. Its command
`revoke` only notes the wish: what would carry it out is commented out in 0.2.2 (storageops/reconcile.go).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.clients.acme.inventory import located
from tests.clients.acme.namespaces import with_mounts
from tests.clients.acme.responders import dns_hook, script
from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

TARGET = """request:
  provider: {directory}
  key: {{type: {key}}}
  challenge:
    http-ports: ["127.0.0.1:{port}"]
    http-self-test: false
"""
RESPONSES = '"acme-enter-email": "admin@example.org"\n'
# acmetool calls hooks with EVENT NAME TARGET VALUE; 42 is "not mine".
HOOK = """#!/bin/sh
case $1 in
    challenge-dns-start) exec {dns} present "_acme-challenge.$2" "$4" ;;
    challenge-dns-stop) exec {dns} clean "_acme-challenge.$2" - ;;
esac
exit 42
"""


class Acmetool:
    """One state folder of acmetool."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        self.hooks = folder / "hooks"
        self.hooks.mkdir()
        self.configure("rsa")
        # Beside the port it is told it always tries port 80 of all addresses, and writes to /run/acme: here it has no
        # right to the one, and a /run of its own.
        why = "acmetool listens on port 80 of all addresses where it may"
        self._before = (*with_mounts(why, "-t tmpfs none /run"), program)

    def configure(self, key: str) -> None:
        """Write the target that all others are made from."""
        conf = self.folder / "state/conf"
        conf.mkdir(parents=True, exist_ok=True)
        (conf / "responses").write_text(RESPONSES)
        directory = self.gate.told["acme_open"]["directory"]
        (conf / "target").write_text(TARGET.format(directory=directory, key=key, port=self.gate.http01_port))

    def __call__(self, *words: object) -> Said:
        return run(
            *(*self._before, "--state", self.folder / "state", "--hooks", self.hooks, "--batch", *words),
            folder=self.folder,
            environment={"SSL_CERT_FILE": self.gate.root},
            timeout=120,
        )

    def live(self, name: str) -> Path:
        """The certificate that acmetool prefers for a name."""
        return self.folder / "state/live" / name / "cert"


@pytest.fixture
def acmetool(gate: Gate, tmp_path: Path) -> Acmetool:
    return Acmetool(gate, tmp_path, located("acmetool"))


def test_http01(acmetool: Acmetool, gate: Gate) -> None:
    """acmetool answers http-01 itself, and keeps what it has. RSA, its default."""
    name = "www.acmetool.example"
    said = acmetool("want", name)
    assert said.status == 0, said.text
    (certificate,) = certificates_of(acmetool.live(name))
    assert names_of(certificate) == {name}
    assert isinstance(certificate.public_key(), rsa.RSAPublicKey)
    said = acmetool("reconcile")
    assert said.status == 0, said.text
    assert certificates_of(acmetool.live(name)) == [certificate]
    assert gate.show(serial_of(certificate))["status"] == "valid"


def test_wildcard_by_dns01(acmetool: Acmetool, names: Names) -> None:
    """A wildcard by a hook, with an EC key."""
    acmetool.configure("ecdsa")
    script(acmetool.hooks / "dns", HOOK.format(dns=dns_hook(names, acmetool.folder)))
    said = acmetool("want", "*.wild.acmetool.example")
    assert said.status == 0, said.text
    (certificate,) = certificates_of(acmetool.live("*.wild.acmetool.example"))
    assert names_of(certificate) == {"*.wild.acmetool.example"}
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
