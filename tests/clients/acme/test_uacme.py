"""uacme (Debian), which trusts the CA certificates of the system and no others."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.clients.acme.inventory import located
from tests.clients.acme.namespaces import with_mounts
from tests.clients.acme.responders import dns_hook, running, script, web_root
from tests.clients.gate import Gate, Names, Said, certificates_of, names_of, run, serial_of

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

# uacme calls a hook with METHOD TYPE IDENTIFIER TOKEN AUTHORIZATION; what is not 0 declines the challenge.
HTTP_HOOK = """#!/bin/sh
[ "$2" = http-01 ] || exit 1
case $1 in
    begin) printf %s "$5" > "{root}/$4" ;;
    *) rm -f "{root}/$4" ;;
esac
"""
DNS_HOOK = """#!/bin/sh
[ "$2" = dns-01 ] || exit 1
case $1 in
    begin) exec {dns} present "_acme-challenge.$3" "$5" ;;
    *) exec {dns} clean "_acme-challenge.$3" - ;;
esac
"""
ALPN_HOOK = """#!/bin/sh
[ "$2" = tls-alpn-01 ] || exit 1
case $1 in
    begin) said=$(echo "auth $3 $5" | ualpn -s {socket}) ;;
    *) said=$(echo "unauth $3" | ualpn -s {socket}) ;;
esac
[ "$said" = OK ]
"""


class Uacme:
    """One configuration folder of uacme, at the directory that wants a binding."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        why = f"uacme trusts {BUNDLE} alone"
        if not BUNDLE.exists():
            pytest.skip(f"{why}, and this machine has none (Debian: ca-certificates)")
        self._before = (*with_mounts(why, f"--bind {shlex.quote(gate.root)} {BUNDLE}"), program)
        self._acme = gate.told["acme"]

    def __call__(self, *words: object) -> Said:
        return run(
            *(*self._before, "--acme-url", self._acme["directory"], "--confdir", self.folder / "conf", "--yes", *words),
            folder=self.folder,
            timeout=120,
        )

    def register(self, *words: object) -> Said:
        """Make an account, bound by EAB."""
        return self("--eab", f"{self._acme['kid']}:{self._acme['hmac_key']}", *words, "new", "admin@example.org")

    def certificate(self, name: str) -> Path:
        """Where the certificate of this name is."""
        return self.folder / "conf" / name / "cert.pem"


@pytest.fixture
def uacme(gate: Gate, tmp_path: Path) -> Uacme:
    return Uacme(gate, tmp_path, located("uacme"))


def test_life_of_an_account(uacme: Uacme, gate: Gate) -> None:
    """EAB, http-01, renewal, new account key (RFC 8555 section 7.3.5), update, revocations, deactivation."""
    said = uacme.register("--type", "RSA")
    assert said.status == 0, said.text
    name = "www.uacme.example"
    with web_root(gate, uacme.folder / "www") as root:
        hook = script(uacme.folder / "hook", HTTP_HOOK.format(root=root))
        said = uacme("--hook", hook, "--type", "RSA", "issue", name)
        assert said.status == 0, said.text
        (first,) = certificates_of(uacme.certificate(name))[:1]
        assert isinstance(first.public_key(), rsa.RSAPublicKey)
        said = uacme("--hook", hook, "issue", name)
        assert said.status == 1, f"still good, and OCSP says so: {said.text}"
        said = uacme("--type", "EC", "newkey")
        assert said.status == 0, said.text
        said = uacme("update", "new@example.org")
        assert said.status == 0, said.text
        # By the certificate's own key.
        key = uacme.folder / "conf/private" / name / "key.pem"
        copy = uacme.folder / "first.pem"
        shutil.copy(uacme.certificate(name), copy)
        said = uacme("--reason", "4", "revoke", copy, key)
        assert said.status == 0, said.text
        assert gate.show(serial_of(first))["status"] == "revoked"
        # OCSP says that it is revoked: uacme renews it without --force.
        said = uacme("--hook", hook, "issue", name)
        assert said.status == 0, said.text
    second = certificates_of(uacme.certificate(name))[0]
    assert second != first
    said = uacme("revoke", uacme.certificate(name))
    assert said.status == 0, said.text
    assert gate.show(serial_of(second))["status"] == "revoked"
    said = uacme("deactivate")
    assert said.status == 0, said.text
    said = uacme("issue", "late.certgate.test")
    assert said.status == 2, said.text


def test_wildcard_by_dns01(uacme: Uacme, names: Names) -> None:
    """A wildcard and its base name, P-384."""
    assert uacme.register("--type", "EC").status == 0
    hook = script(uacme.folder / "hook", DNS_HOOK.format(dns=dns_hook(names, uacme.folder)))
    wanted = ("*.wild.uacme.example", "wild.uacme.example")
    said = uacme("--hook", hook, "--type", "EC", "--bits", "384", "issue", *wanted)
    assert said.status == 0, said.text
    certificate = certificates_of(uacme.certificate("wild.uacme.example"))[0]
    assert names_of(certificate) == set(wanted)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.key_size == 384


@pytest.mark.parametrize("identifier", ["tls.uacme.example", "127.0.0.1"])
def test_tls_alpn01_by_ualpn(uacme: Uacme, gate: Gate, identifier: str) -> None:
    """tls-alpn-01 by uacme's own responder, for a name (RFC 8737) and for an address (RFC 8738 section 6)."""
    assert uacme.register("--type", "EC").status == 0
    socket = uacme.folder / "ualpn.sock"
    hook = script(uacme.folder / "hook", ALPN_HOOK.format(socket=socket))
    with running(
        *("ualpn", "--sock", socket, "--pidfile", uacme.folder / "ualpn.pid", "--num-workers", "1"),
        *("--bind", f"127.0.0.1@{gate.tlsalpn01_port}", "--connect", f"127.0.0.1@{gate.base}"),
        folder=uacme.folder,
        port=gate.tlsalpn01_port,
    ):
        said = uacme("--hook", hook, "--type", "EC", "issue", identifier)
    assert said.status == 0, said.text
    certificate = certificates_of(uacme.certificate(identifier))[0]
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in found] == [identifier]
