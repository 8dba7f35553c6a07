"""strongSwan's pki against the SCEP door: it enrols, waits for a person, and renews."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Said, certificates_of, names_of, run, serial_of, wait_until

pytestmark = pytest.mark.client

# Version 5.9.8 takes AES for DES3 in GetCACaps, so that it needs both there, and sends what it is told to.
MOUNT = (
    'protocol = "scep"\nlabel = "{label}"\nproducts = ["{product}"]\nissuer = "issuing"\n[options]\nlegacy = ["des3"]\n'
)
HELD = """
name = "device-held"
title = "Device that waits"
issuer = "issuing"
profile = "device"
protocols = ["scep"]
approval = true
[names]
allowed = ["dns:*.certgate.test"]
required = false
[validation]
trusted = ["dns:*.certgate.test"]
"""


class Pki:
    """strongSwan's pki with a folder of its own, and the certificates of one mount."""

    def __init__(self, gate: Gate, folder: Path, label: str, product: str = "device") -> None:
        self.gate = gate
        self.folder = folder
        (folder / "mount.toml").write_text(MOUNT.format(label=label, product=product))
        said = gate.certgate("mount", "apply", "-f", str(folder / "mount.toml"))
        assert said.status == 0, said.text
        self.url = f"{gate.told['http_url']}/scep/{label}"
        self.trust: tuple[object, ...] = ()
        assert wait_until(lambda: self("--scepca", "--url", self.url, "--caout", "ca.pem").status == 0, 10, 0.5)
        said = self(
            *("--scepca", "--url", self.url, "--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem", "--force")
        )
        assert said.status == 0, said.text
        self.trust = (
            *("--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem"),
            *("--cacert", gate.root, "--cacert", gate.told["issuing_ca"]),
        )

    def __call__(self, *words: object) -> Said:
        return run("pki", *words, folder=self.folder)

    def key(self, name: str) -> Path:
        said = self("--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
        assert said.status == 0, said.text
        (self.folder / f"{name}.key").write_text(said.out)
        return self.folder / f"{name}.key"

    def words(self, key: Path, name: str, *more: object) -> tuple[object, ...]:
        return (
            *("--scep", "--url", self.url, "--in", key, "--dn", f"CN={name}", "--san", name, *self.trust),
            *("--cipher", "des3", "--interval", "1", "--maxpolltime", "20", "--outform", "pem", *more),
        )


@pytest.fixture
def pki(gate: Gate, need: Callable[..., None], tmp_path: Path) -> Pki:
    need("pki")
    return Pki(gate, tmp_path, "strongswan")


@pytest.mark.door
def test_enrols_with_a_challenge_and_renews_with_the_certificate(pki: Pki, gate: Gate) -> None:
    """PKCSReq with the challenge password; then RenewalReq, signed by the first certificate, for a new key."""
    name = "peer-1.certgate.test"
    said = pki(*pki.words(pki.key("first"), name, "--password", gate.told["scep"]["challenge"]))
    assert "BEGIN CERTIFICATE" in said.out, said.text
    (pki.folder / "first.pem").write_text(said.out)
    (first,) = certificates_of(pki.folder / "first.pem")
    assert names_of(first) == {name}
    said = pki(*pki.words(pki.key("second"), name, "--cert", "first.pem", "--key", "first.key"))
    assert "BEGIN CERTIFICATE" in said.out, said.text
    (pki.folder / "second.pem").write_text(said.out)
    (second,) = certificates_of(pki.folder / "second.pem")
    assert first.serial_number != second.serial_number
    assert gate.show(serial_of(second))["status"] == "valid"


def test_a_wrong_challenge_is_refused(pki: Pki, gate: Gate) -> None:
    """FAILURE with badRequest, and no certificate."""
    before = len(gate.export())
    said = pki(*pki.words(pki.key("third"), "peer-2.certgate.test", "--password", "quickstart-scep:wrong"))
    assert said.status != 0
    assert "badRequest" in said.text
    assert len(gate.export()) == before


def test_waits_until_a_person_agrees(gate: Gate, need: Callable[..., None], tmp_path: Path) -> None:
    """PENDING, CertPoll every second, `certgate order approve`, SUCCESS: the same client, without a hand on it."""
    need("pki")
    (tmp_path / "product.toml").write_text(HELD)
    said = gate.certgate("product", "apply", "-f", str(tmp_path / "product.toml"))
    assert said.status == 0, said.text
    made = gate.certgate(
        *("credential", "create", "--type", "scep", "--user", "alice", "--group", "operations"),
        *("--product", "device-held", "--method", "manual", "--identifier", "patient"),
    )
    assert made.status == 0, made.text
    pki = Pki(gate, tmp_path, "waiting", "device-held")
    pki.url += "/patient"
    words = [str(one) for one in pki.words(pki.key("waits"), "peer-3.certgate.test")]
    with subprocess.Popen(["pki", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        try:
            assert wait_until(lambda: bool(gate.orders("held")), 15, 0.5)
            (order,) = gate.orders("held")
            said = gate.certgate("order", "approve", order["id"])
            assert said.status == 0, said.text
            out, err = client.communicate(timeout=30)
        finally:
            client.kill()
    assert b"BEGIN CERTIFICATE" in out, err.decode()
