"""strongSwan's pki against the EST door: a device that enrols and renews by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Said, certificates_of, names_of, run, serial_of

pytestmark = pytest.mark.client


class Pki:
    """strongSwan's pki with a folder of its own."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        # It adds the well-known path itself.
        self.url = gate.told["est"]["url"].partition("/.well-known")[0]
        # Version 5.9.8 offers no TLS 1.3 unless it is told to; the file wants one item per line.
        (folder / "strongswan.conf").write_text("libtls {\n  version_max = 1.3\n}\n")

    def __call__(self, *words: object) -> Said:
        return run(
            *("pki", *words),
            folder=self.folder,
            environment={"STRONGSWAN_CONF": str(self.folder / "strongswan.conf")},
        )

    def est(self, request: Path, *words: object) -> Said:
        """Enrol; a waiting answer is asked for again soon, and not for long."""
        return self(
            *("--est", "--url", self.url, "--in", request, "--cacert", self.gate.root),
            *("--interval", "1", "--maxpolltime", "10", "--outform", "pem", *words),
        )

    def request(self, name: str) -> Path:
        """A certification request by pki itself, for a new key in name.key."""
        said = self("--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
        assert said.status == 0, said.text
        (self.folder / f"{name}.key").write_text(said.out)
        said = self(
            *("--req", "--type", "ecdsa", "--in", f"{name}.key", "--dn", f"CN={name}"),
            *("--san", name, "--outform", "pem"),
        )
        assert said.status == 0, said.text
        (self.folder / f"{name}.csr").write_text(said.out)
        return self.folder / f"{name}.csr"


@pytest.fixture
def pki(gate: Gate, need: Callable[..., None], tmp_path: Path) -> Pki:
    need("pki")
    return Pki(gate, tmp_path)


def test_estca_stores_the_chain(pki: Pki, gate: Gate) -> None:
    """cacerts (RFC 7030 section 4.1): pki writes the issuing CA and the root, each to a file."""
    said = pki("--estca", "--url", pki.url, "--cacert", gate.root, "--caout", "ca.pem", "--outform", "pem", "--force")
    assert said.status == 0, said.text
    written = {path.read_text().strip() for path in pki.folder.glob("ca*.pem")}
    assert Path(gate.root).read_text().strip() in written
    assert len(written) >= 2


def test_enrols_with_a_password_and_renews_with_the_certificate(pki: Pki, gate: Gate) -> None:
    """simpleenroll with --userpass, then simplereenroll with the certificate and key from before."""
    est, name = gate.told["est"], "gateway-1.certgate.test"
    said = pki.est(pki.request(name), "--userpass", f"{est['username']}:{est['password']}")
    assert "BEGIN CERTIFICATE" in said.out, said.text
    first_path = pki.folder / "first.pem"
    first_path.write_text(said.out)
    (pki.folder / f"{name}.key").rename(pki.folder / "first.key")
    first = certificates_of(first_path)[0]
    assert names_of(first) == {name}

    said = pki.est(pki.request(name), "--cert", first_path, "--key", pki.folder / "first.key")
    assert "BEGIN CERTIFICATE" in said.out, said.text
    (pki.folder / "second.pem").write_text(said.out)
    second = certificates_of(pki.folder / "second.pem")[0]
    assert names_of(second) == {name}
    assert first.serial_number != second.serial_number
    assert gate.show(serial_of(second))["status"] == "valid"


def test_wrong_password_is_refused(pki: Pki, gate: Gate) -> None:
    """No certificate, and an exit status that says so."""
    before = len(gate.export())
    said = pki.est(pki.request("gateway-2.certgate.test"), "--userpass", f"{gate.told['est']['username']}:no")
    assert said.status != 0
    assert "BEGIN CERTIFICATE" not in said.out
    assert len(gate.export()) == before
