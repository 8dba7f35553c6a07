"""mod_md of Apache (Debian), which gets the certificates of its virtual hosts itself, and asks when to renew."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.clients.acme.inventory import PATH, located
from tests.clients.acme.journal import Journal
from tests.clients.acme.responders import dns_hook, running, script, shown
from tests.clients.gate import Gate, Names, names_of, run, serial_of, wait_until

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

# Started by root, Apache's children are somebody else, and mod_md works in them.
USER = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
MODULES = Path("/usr/lib/apache2/modules")
_MODULE = MODULES / "mod_md.so"
# Older ones do not ask for renewal information; no option and no version of Apache tells.
ASKS = _MODULE.exists() and b"renewalInfo" in _MODULE.read_bytes()
CONFIGURATION = """ServerName apache.example
{user}
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LogLevel warn md:debug
DocumentRoot {folder}/www
Listen 127.0.0.1:{http}
Listen 127.0.0.1:{https}
Mutex file:{folder} default
{modules}
<IfModule !unixd_module>
    LoadModule unixd_module {path}/mod_unixd.so
</IfModule>
MDStoreDir {folder}/md
MDPortMap http:{http} https:{https}
MDCACertificateFile {root}
MDCertificateAuthority {directory}
MDCertificateAgreement accepted
MDContactEmail admin@example.org
{options}
MDomain {names}
Protocols h2 http/1.1 acme-tls/1
<VirtualHost 127.0.0.1:{https}>
    ServerName {name}
    {alias}
    SSLEngine on
</VirtualHost>
"""
# mod_md calls it with "setup" or "teardown", the name and, for the first, the value.
HOOK = """#!/bin/sh
case $1 in
    setup) exec {dns} present "_acme-challenge.$2" "$3" ;;
    *) exec {dns} clean "_acme-challenge.$2" - ;;
esac
"""
LOADED = ("mpm_event", "authz_core", "watchdog", "md", "ssl", "socache_shmcb", "unixd")


class Apache:
    """One configuration of Apache with one managed domain, on the ports where http-01 and tls-alpn-01 look."""

    def __init__(self, gate: Gate, folder: Path, program: str) -> None:
        self.gate = gate
        self.folder = folder
        self._program = program
        (folder / "www").mkdir()

    def configure(self, names: tuple[str, ...], *options: str) -> None:
        """Write the configuration: the first name is the site's, and an account is bound by EAB."""
        acme = self.gate.told["acme"]
        modules = "\n".join(f"LoadModule {one}_module {MODULES}/mod_{one}.so" for one in LOADED if self._loads(one))
        text = CONFIGURATION.format(
            folder=self.folder,
            http=self.gate.http01_port,
            https=self.gate.tlsalpn01_port,
            user=USER,
            modules=modules,
            path=MODULES,
            root=shutil.copy(self.gate.root, self.folder / "root.pem"),
            directory=acme["directory"],
            options="\n".join((f"MDExternalAccountBinding {acme['kid']} {acme['hmac_key']}", *options)),
            name=names[0],
            names=" ".join(names),
            alias="".join(f"ServerAlias {name}" for name in names[1:]),
        )
        (self.folder / "httpd.conf").write_text(text)

    def _loads(self, module: str) -> bool:
        return (MODULES / f"mod_{module}.so").exists()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve until the end of the block."""
        with running(
            *(self._program, "-f", self.folder / "httpd.conf", "-D", "FOREGROUND"),
            folder=self.folder,
            port=self.gate.tlsalpn01_port,
        ):
            yield

    def log(self) -> str:
        """The end of the log, for messages."""
        path = self.folder / "error.log"
        return path.read_text()[-4000:] if path.exists() else ""

    def certificate_after_restart(self, name: str) -> x509.Certificate:
        """What Apache shows for the name: what it got is staged, and becomes active with a graceful restart."""
        staged = self.folder / "md/staging" / name / "job.json"

        def got() -> bool:
            try:
                return bool(json.loads(staged.read_text()).get("finished"))
            except (OSError, ValueError):
                return False

        assert wait_until(got, 60, 0.1), self.log()
        said = run(
            *(self._program, "-f", self.folder / "httpd.conf", "-k", "graceful"),
            folder=self.folder,
            environment={"PATH": PATH},
        )
        assert said.status == 0, said.text
        found: list[bytes] = []

        def look() -> bool:
            try:
                found.append(shown(self.gate.tlsalpn01_port, name, self.gate.root))
            except OSError:
                return False
            return True

        assert wait_until(look, 60, 0.1), self.log()
        return x509.load_der_x509_certificate(found[0])


@pytest.fixture
def apache(gate: Gate) -> Iterator[Apache]:
    program = located("Apache mod_md")
    with tempfile.TemporaryDirectory(prefix="certgate-apache-") as folder:
        Path(folder).chmod(0o711)
        yield Apache(gate, Path(folder), program)


@pytest.mark.parametrize("method", ["http-01", "tls-alpn-01"])
def test_challenge(apache: Apache, gate: Gate, journal: Journal, method: str) -> None:
    """Bound by EAB; http-01 with RSA and tls-alpn-01 with EC; then it asks for renewal information (RFC 9773)."""
    name = f"{method[:3]}.apache.example"
    key = "RSA 2048" if method == "http-01" else "secp384r1"
    apache.configure((name,), f"MDCAChallenges {method}", f"MDPrivateKeys {key}")
    with apache.serving():
        certificate = apache.certificate_after_restart(name)
        assert names_of(certificate) == {name}
        assert gate.show(serial_of(certificate))["status"] == "valid"
        if ASKS:
            assert wait_until(lambda: "renewal-info" in journal.operations(), 30), f"{journal}\n{apache.log()}"


def test_wildcard_by_dns01(apache: Apache, names: Names) -> None:
    """A wildcard by a command that puts the record."""
    hook = script(apache.folder / "hook", HOOK.format(dns=dns_hook(names, apache.folder)))
    wanted = ("wild.apache.example", "*.wild.apache.example")
    apache.configure(wanted, "MDCAChallenges dns-01", f"MDChallengeDns01 {hook}")
    with apache.serving():
        assert names_of(apache.certificate_after_restart(wanted[0])) == set(wanted)


@pytest.mark.skipif(not ASKS, reason="this mod_md does not know renewal information")
def test_replaces_what_the_operator_revoked(apache: Apache, gate: Gate) -> None:
    """The renewal window of a revoked certificate is over: Apache orders anew when it looks again, at a restart."""
    name = "revoked.certgate.test"
    apache.configure((name,))
    with apache.serving():
        first = apache.certificate_after_restart(name)
    said = gate.certgate("cert", "revoke", serial_of(first), "--reason", "superseded")
    assert said.status == 0, said.text
    with apache.serving():
        assert apache.certificate_after_restart(name) != first
