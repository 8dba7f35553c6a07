"""strongSwan's pki against the EST door: a device that enrols and renews by itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Said, certificates_of, names_of, run, serial_of, wait_until

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

    def est(self, request: Path, *words: object, label: str = "") -> Said:
        """Enrol; a waiting answer is asked for again soon, and not for long.

        Version 5.9.8 has no --label: the path of its URL comes before the well-known part, where mounts answer too. (It
        forgets that path when it asks again after a 202.)
        """
        url = f"{self.url}/{label}" if label else self.url
        return self(
            *("--est", "--url", url, "--in", request, "--cacert", self.gate.root),
            *("--interval", "1", "--maxpolltime", "40", "--outform", "pem", *words),
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


def test_a_mount_with_a_label(pki: Pki, gate: Gate) -> None:
    """E1: the label in the place where this version can put it."""
    apply(gate, "mount", MOUNT.format("branch", ""))
    assert wait_until(lambda: is_served(gate, "branch"), 10)
    est, name = gate.told["est"], "gateway-3.certgate.test"
    user = f"{est['username']}:{est['password']}"
    said = pki.est(pki.request(name), "--userpass", user, label="branch")
    assert "BEGIN CERTIFICATE" in said.out, said.text
    said = pki.est(pki.request("gateway-4.certgate.test"), "--userpass", user, label="elsewhere")
    assert said.status != 0
    assert "404" in said.text


def test_wrong_password_is_refused(pki: Pki, gate: Gate) -> None:
    """No certificate, and an exit status that says so."""
    before = len(gate.export())
    said = pki.est(pki.request("gateway-2.certgate.test"), "--userpass", f"{gate.told['est']['username']}:no")
    assert said.status != 0
    assert "BEGIN CERTIFICATE" not in said.out
    assert len(gate.export()) == before


HELD = """
name = "held-device"
title = "Devices that a person approves"
issuer = "issuing"
profile = "device"
protocols = ["est"]
approval = true

[names]
allowed = ["dns:*.certgate.test"]

[validation]
trusted = ["dns:*.certgate.test"]
"""


MOUNT = """
protocol = "est"
label = "{}"
issuer = "issuing"
products = ["device", "tls-server"{}]
"""


def apply(gate: Gate, command: str, text: str) -> None:
    """Have the server make or change a product or mount."""
    file = gate.folder / f"{command}.toml"
    file.write_text(text)
    said = gate.certgate(command, "apply", "--file", str(file))
    assert said.status == 0, said.text


def is_served(gate: Gate, label: str) -> bool:
    """Whether a mount that was made just now answers already."""
    try:
        with urllib.request.urlopen(f"{gate.told['est']['url']}/{label}/cacerts", context=gate.tls(), timeout=10):
            return True
    except urllib.error.HTTPError:
        return False


@pytest.fixture(scope="module")
def held(gate: Gate) -> str:
    """user:password of a credential whose orders wait for a person."""
    apply(gate, "product", HELD)
    apply(gate, "mount", MOUNT.format("default", ', "held-device"'))
    said = gate.certgate(
        *("credential", "create", "--type", "est", "--user", "alice", "--group", "operations"),
        *("--product", "held-device", "--json"),
    )
    assert said.status == 0, said.text
    made = json.loads(said.out)
    return f"{made['identifier']}:{made['secret']}"


def decide(gate: Gate, name: str, *words: str) -> None:
    """What a person does: look for the order, and decide on it."""

    def waiting() -> list[str]:
        return [one["id"] for one in gate.orders("held") if name in json.dumps(one)]

    assert wait_until(lambda: bool(waiting()), 20, 0.2), "no order waits"
    (order,) = waiting()
    said = gate.certgate("order", words[0], order, *words[1:])
    assert said.status == 0, said.text


def test_waits_for_a_person_and_finishes_by_itself(pki: Pki, gate: Gate, held: str) -> None:
    """E8: 202 with Retry-After until certgate order approve; then the same client has its certificate."""
    name = "patient-1.certgate.test"
    request = pki.request(name)
    with ThreadPoolExecutor(1) as pool:
        enrolling = pool.submit(pki.est, request, "--userpass", held)
        decide(gate, name, "approve")
        said = enrolling.result(60)
    assert "BEGIN CERTIFICATE" in said.out, said.text
    (pki.folder / "held.pem").write_text(said.out)
    certificate = certificates_of(pki.folder / "held.pem")[0]
    assert names_of(certificate) == {name}
    assert gate.show(serial_of(certificate))["status"] == "valid"


def test_ends_when_a_person_refuses(pki: Pki, gate: Gate, held: str) -> None:
    """E8: after certgate order reject there is nothing to wait for."""
    name = "patient-2.certgate.test"
    before = len(gate.export())
    request = pki.request(name)
    with ThreadPoolExecutor(1) as pool:
        enrolling = pool.submit(pki.est, request, "--userpass", held)
        decide(gate, name, "reject", "--why", "not one of ours")
        said = enrolling.result(60)
    assert said.status != 0
    assert "BEGIN CERTIFICATE" not in said.out
    assert len(gate.export()) == before
