"""lego (the engine of Traefik and of Terraform's acme provider): every challenge type of the ACME door."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of

pytestmark = pytest.mark.client

# lego's provider "exec" runs this with "present" or "cleanup", the record's name and its value.
PROVIDER = """#!{python}
import json, sys, urllib.request
action, host, value = sys.argv[1:4]
call = {{"present": "set-txt", "cleanup": "clear-txt"}}[action]
said = {{"host": host, "value": value}} if action == "present" else {{"host": host}}
urllib.request.urlopen(urllib.request.Request("{management}/" + call, data=json.dumps(said).encode())).close()
"""


class Lego:
    """One installation of lego with a folder of its own."""

    def __init__(self, gate: Gate, names: Names, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        self.provider = folder / "provider"
        self.provider.write_text(PROVIDER.format(python=sys.executable, management=names.management))
        self.provider.chmod(0o755)

    def __call__(self, directory: str, *words: object) -> Said:
        return run(
            *("lego", "--accept-tos", "--email", "admin@example.org", "--path", self.folder / "p"),
            *("--server", directory, *words),
            folder=self.folder,
            environment={
                "LEGO_CA_CERTIFICATES": self.gate.root,
                "EXEC_PATH": str(self.provider),
                # Two names with the same record are proven one after the other, by default a minute apart.
                "EXEC_SEQUENCE_INTERVAL": "1",
                "EXEC_POLLING_INTERVAL": "1",
            },
        )

    def open(self, *words: object) -> Said:
        """Act at the directory that wants no binding."""
        return self(self.gate.told["acme_open"]["directory"], *words)

    def certificate(self, name: str) -> Path:
        """Where lego keeps the certificate of this name."""
        return self.folder / "p" / "certificates" / f"{name.replace('*', '_')}.crt"

    @property
    def http(self) -> tuple[object, ...]:
        """Answer http-01."""
        return ("--http", "--http.port", f"127.0.0.1:{self.gate.http01_port}")

    @property
    def tls(self) -> tuple[object, ...]:
        """Answer tls-alpn-01."""
        return ("--tls", "--tls.port", f"127.0.0.1:{self.gate.tlsalpn01_port}")

    @property
    def dns(self) -> tuple[object, ...]:
        """Answer dns-01 through the provider script, without looking whether other name servers follow."""
        resolver = f"127.0.0.1:{self.gate.dns_port}"
        return ("--dns", "exec", "--dns.disable-cp", "--dns.resolvers", resolver)


@pytest.fixture
def lego(gate: Gate, names: Names, need: Callable[..., None], tmp_path: Path) -> Lego:
    need("lego")
    return Lego(gate, names, tmp_path)


@pytest.mark.parametrize("method", ["http", "tls", "dns"])
def test_challenge(lego: Lego, gate: Gate, method: str) -> None:
    """http-01 (RFC 8555 section 8.3), tls-alpn-01 (RFC 8737) and dns-01 (section 8.4) each prove a name."""
    name = f"www.{method}.example"
    said = lego.open(*getattr(lego, method), "--domains", name, "run")
    assert said.status == 0, said.text
    leaf, *chain = certificates_of(lego.certificate(name))
    assert names_of(leaf) == {name}
    assert chain
    assert gate.show(serial_of(leaf))["status"] == "valid"


@pytest.mark.parametrize("kind", ["rsa2048", "rsa4096", "ec384"])
def test_key_types(lego: Lego, kind: str) -> None:
    """The other keys that lego makes."""
    name = f"{kind}.keys.example"
    said = lego.open(*lego.http, "--key-type", kind, "--domains", name, "run")
    assert said.status == 0, said.text


def test_several_names_in_one_certificate(lego: Lego) -> None:
    """One order, three identifiers, three authorizations."""
    wanted = ["a.several.example", "b.several.example", "c.several.example"]
    words = [word for name in wanted for word in ("--domains", name)]
    said = lego.open(*lego.http, *words, "run")
    assert said.status == 0, said.text
    assert names_of(certificates_of(lego.certificate(wanted[0]))[0]) == set(wanted)


def test_wildcard_by_dns01(lego: Lego) -> None:
    """A wildcard and its base name share a validation name, with two TXT values (RFC 8555 section 8.4)."""
    said = lego.open(*lego.dns, "--domains", "*.wild.example", "--domains", "wild.example", "run")
    assert said.status == 0, said.text
    leaf = certificates_of(lego.certificate("*.wild.example"))[0]
    assert names_of(leaf) == {"*.wild.example", "wild.example"}


def test_wildcard_is_refused_by_http01(lego: Lego, gate: Gate) -> None:
    """No http-01 is offered for a wildcard (RFC 8555 section 8.3), so lego finds no way to prove it."""
    before = len(gate.export())
    said = lego.open(*lego.http, "--domains", "*.nohttp.example", "run")
    assert said.status != 0
    assert len(gate.export()) == before


def test_binding_then_renewal_and_revocation(lego: Lego, gate: Gate) -> None:
    """An account bound by EAB gets a trusted name, renews it and revokes it."""
    acme = gate.told["acme"]
    # lego answers a challenge only when there is one to answer; this name needs none.
    common = (*lego.http, "--eab", "--kid", acme["kid"], "--hmac", acme["hmac_key"])
    name = "lego.certgate.test"
    said = lego(acme["directory"], *common, "--domains", name, "run")
    assert said.status == 0, said.text
    first = certificates_of(lego.certificate(name))[0]
    said = lego(acme["directory"], *common, "--domains", name, "renew", "--days", "3650", "--no-random-sleep")
    assert said.status == 0, said.text
    second = certificates_of(lego.certificate(name))[0]
    assert first.serial_number != second.serial_number
    said = lego(acme["directory"], *common, "--domains", name, "revoke", "--keep")
    assert said.status == 0, said.text
    assert gate.show(serial_of(first))["status"] == "valid"
    assert gate.show(serial_of(second))["status"] == "revoked"


def test_wrong_answer_fails_the_order(lego: Lego, gate: Gate, names: Names) -> None:
    """Nobody answers at the name: the order fails with the ACME type connection, and nothing is issued."""
    before = len(gate.export())
    names.tell("add-a", host="gone.example.", addresses=["127.0.0.9"])
    said = lego.open(*lego.http, "--domains", "gone.example", "run")
    assert said.status != 0
    assert "urn:ietf:params:acme:error:connection" in said.text, said.text
    assert len(gate.export()) == before
