"""Caddy (Debian), a web server that gets its certificates itself (CertMagic, acmez)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.clients.acme.inventory import located
from tests.clients.acme.journal import Journal
from tests.clients.acme.responders import running, shown
from tests.clients.gate import Gate, names_of, serial_of, wait_until

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

CADDYFILE = """{{
    admin off
    default_bind 127.0.0.1
    http_port {http}
    https_port {https}
    storage file_system {{
        root {folder}/data
    }}
    acme_ca_root {root}
    {options}
}}
{sites}
"""
SITE = """{name} {{
    tls {{
        {tls}
    }}
    respond "hello"
}}
"""


class Caddy:
    """One configuration of Caddy: its ports are those where http-01 and tls-alpn-01 look."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        self._program = program
        acme = gate.told["acme"]
        self.bound = f"acme_ca {acme['directory']}\n    acme_eab {{\n        key_id {acme['kid']}\n        mac_key "
        self.bound += f"{acme['hmac_key']}\n    }}\n    email admin@example.org"
        self.open = f"acme_ca {gate.told['acme_open']['directory']}"

    @contextmanager
    def serving(self, options: str, sites: dict[str, str]) -> Iterator[None]:
        """Serve these sites (name -> lines of its tls block) until the end of the block."""
        text = CADDYFILE.format(
            http=self.gate.http01_port,
            https=self.gate.tlsalpn01_port,
            folder=self.folder,
            root=self.gate.root,
            options=options,
            sites="".join(SITE.format(name=name, tls=tls) for name, tls in sites.items()),
        )
        (self.folder / "Caddyfile").write_text(text)
        with running(
            *(self._program, "run", "--adapter", "caddyfile", "--config", self.folder / "Caddyfile"),
            folder=self.folder,
            port=self.gate.tlsalpn01_port,
            environment={"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")},
        ):
            yield

    def certificate(self, name: str) -> x509.Certificate:
        """What Caddy shows for a name, once it has something to show, checked up to the root."""
        found: list[bytes] = []

        def look() -> bool:
            try:
                found.append(shown(self.gate.tlsalpn01_port, name, self.gate.root))
            except OSError:
                return False
            return True

        assert wait_until(look, 60, 0.1), (self.folder / "server.log").read_text()[-3000:]
        return x509.load_der_x509_certificate(found[0])


@pytest.fixture
def caddy(gate: Gate, tmp_path: Path) -> Caddy:
    return Caddy(gate, tmp_path, located("Caddy"))


ISSUER = """key_type {key}
        issuer acme {{
            {lines}
            {without}
        }}"""


@pytest.mark.parametrize(
    ("method", "without", "key"),
    [("http", "disable_tlsalpn_challenge", "rsa2048"), ("tls", "disable_http_challenge", "p384")],
    ids=["http-01", "tls-alpn-01"],
)
def test_challenge(caddy: Caddy, gate: Gate, journal: Journal, method: str, without: str, key: str) -> None:
    """http-01 (RFC 8555 section 8.3) and tls-alpn-01 (RFC 8737), without contact, RSA and EC keys."""
    name = f"{method}.caddy.example"
    lines = f"dir {gate.told['acme_open']['directory']}\n            trusted_roots {gate.root}"
    with caddy.serving("", {name: ISSUER.format(key=key, lines=lines, without=without)}):
        certificate = caddy.certificate(name)
    assert names_of(certificate) == {name}
    assert gate.show(serial_of(certificate))["status"] == "valid"
    assert journal.saw("challenge", "certificate"), str(journal)


def test_binding_and_several_sites(caddy: Caddy, gate: Gate) -> None:
    """An account bound by EAB, certificates for two sites at once; after a restart they are still there."""
    sites = {"one.certgate.test": "key_type p256", "two.elsewhere.example": "key_type p256"}
    with caddy.serving(caddy.bound, sites):
        first = [caddy.certificate(name) for name in sites]
    assert [names_of(one) for one in first] == [{name} for name in sites]
    with caddy.serving(caddy.bound, sites):
        assert [caddy.certificate(name) for name in sites] == first


def test_replaces_what_the_operator_revoked(caddy: Caddy, gate: Gate) -> None:
    """Caddy asks OCSP at its start, sees a revocation and orders anew."""
    sites = {"revoked.certgate.test": "key_type p256"}
    with caddy.serving(caddy.bound, sites):
        first = caddy.certificate("revoked.certgate.test")
    said = gate.certgate("cert", "revoke", serial_of(first), "--reason", "keyCompromise")
    assert said.status == 0, said.text
    # The stapled answer that Caddy keeps is still good: without it Caddy asks.
    for staple in (caddy.folder / "data/ocsp").glob("*"):
        staple.unlink()
    with caddy.serving(caddy.bound, sites):
        assert wait_until(lambda: caddy.certificate("revoked.certgate.test") != first, 60, 0.2), (
            caddy.folder / "server.log"
        ).read_text()[-3000:]
