"""A real server in a folder of its own, driven through the installed `certgate` command.

Nothing of the product is imported here: what these tests know of it is the command line, `quickstart.json`
and the doors. Everything listens on 127.0.0.1, on ports that were free a moment ago.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

# A proxy that this machine may use has no business between these clients and 127.0.0.1.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"

SPAN = 12
"""Ports of one server: four listeners, then the clients' challenge responders and the name server."""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything that it said, for messages and searches."""
        return f"{self.out}\n{self.err}"


def run(
    *command: object,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
    stdin: bytes = b"",
) -> Said:
    """Run a program in a folder of its own to its end. Fails the test when it does not end in time."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        input=stdin,
        capture_output=True,
        timeout=timeout,
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def certgate_command() -> str:
    """The command as it was installed: beside the Python that runs the tests, else on the path."""
    beside = Path(sys.executable).with_name("certgate")
    found = str(beside) if beside.exists() else shutil.which("certgate")
    if found is None:
        raise FileNotFoundError("the command certgate is not installed: make test installs it")
    return found


def wait_until(true: Callable[[], bool], seconds: float, step: float = 0.05) -> bool:
    """Ask again and again until it is true, or the time is over."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def free_ports(count: int = SPAN) -> int:
    """The first of `count` neighbouring ports that are free for TCP and UDP.

    They lie below the range from which the kernel picks ports for outgoing connections.
    """
    for _ in range(200):
        base = random.randrange(20000, 32000 - count)
        with ExitStack() as open_sockets:
            try:
                for port in range(base, base + count):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        one = open_sockets.enter_context(socket.socket(socket.AF_INET, kind))
                        one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports on 127.0.0.1")


class Gate:
    """One state folder and the server on it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "serve.log"
        self.command = certgate_command()
        self.base = free_ports()
        self.http01_port = self.base + 4
        self.tlsalpn01_port = self.base + 5
        self.dns_port = self.base + 6
        self.dns_management_port = self.base + 7
        self.flags: list[str] = [
            *("--state", str(self.state), "--listen", "127.0.0.1"),
            *("--https-port", str(self.base), "--mtls-port", str(self.base + 1)),
            *("--http-port", str(self.base + 2), "--management-port", str(self.base + 3)),
            *("--set", f"validation.http01_port={self.http01_port}"),
            *("--set", f"validation.tlsalpn01_port={self.tlsalpn01_port}"),
            *("--set", f"validation.resolver=127.0.0.1:{self.dns_port}"),
            *("--set", "validation.allow_private_targets=true"),
            # strongSwan sleeps for as long as it is told.
            *("--set", "est.held_retry_after_seconds=1"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    # -- the server

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def quickstart(self) -> Said:
        """Make the state, or find it made."""
        return run(self.command, "quickstart", *self.flags, folder=self.folder, timeout=90)

    def start(self, *more: str, seconds: float = 30) -> None:
        """Serve, and wait for the ready line."""
        said = self.folder / "serve.out"
        with self.log.open("ab") as log, said.open("wb") as out:
            self._process = subprocess.Popen(
                [self.command, "serve", *self.flags, *more],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                cwd=self.folder,
                # A session of its own: kill() takes every process of the server and none of anybody else.
                start_new_session=True,
            )
        process = self._process
        wait_until(lambda: "ready" in said.read_text() or process.poll() is not None, seconds)
        assert "ready" in said.read_text(), f"no ready line; the log ends with\n{self.log.read_text()[-2000:]}"

    def stop(self) -> int:
        """Ask the server to end (SIGTERM) and give its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End the server as a power failure would: SIGKILL, no farewell."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def tracebacks(self) -> list[str]:
        """Every traceback in the log, with the lines that follow it."""
        return re.findall(r"Traceback.*(?:\n.*){0,30}", self.log.read_text())

    # -- what an administrator does

    @property
    def told(self) -> dict[str, Any]:
        """What quickstart wrote down for clients."""
        told: dict[str, Any] = json.loads((self.state / "quickstart.json").read_text())
        return told

    def certgate(self, *words: str, timeout: float = 60) -> Said:
        """Run the command on this state."""
        return run(self.command, *words, "--state", str(self.state), folder=self.folder, timeout=timeout)

    def show(self, serial: str) -> dict[str, Any]:
        """What `cert show` says of a certificate."""
        said = self.certgate("cert", "show", serial, "--json")
        assert said.status == 0, said.text
        shown: dict[str, Any] = json.loads(said.out)
        return shown

    def export(self) -> list[dict[str, Any]]:
        """Every certificate in the store."""
        said = self.certgate("cert", "export", "--json", timeout=300)
        assert said.status == 0, said.text
        return [json.loads(line) for line in said.out.splitlines()]

    def orders(self, status: str) -> list[dict[str, Any]]:
        """The orders in this status."""
        said = self.certgate("order", "list", "--status", status, "--json")
        assert said.status == 0, said.text
        found: list[dict[str, Any]] = json.loads(said.out)
        return found

    # -- what a client does

    @property
    def root(self) -> str:
        """The file of the root certificate."""
        return str(self.told["root_ca"])

    def tls(self) -> ssl.SSLContext:
        """A TLS context that trusts this gate's root and nothing else."""
        return ssl.create_default_context(cafile=self.root)

    def enroll(self, name: str, folder: Path, user: str = "") -> Path:
        """A certificate for a name below certgate.test by EST, written as name.pem beside name.key.

        `user` is "name:password"; without it, quickstart's. Raises urllib.error.HTTPError when it is refused.
        """
        est = self.told["est"]
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
            .sign(key, hashes.SHA256())
        )
        credentials = base64.b64encode((user or f"{est['username']}:{est['password']}").encode()).decode()
        call = urllib.request.Request(
            est["url"].rstrip("/") + "/simpleenroll",
            data=base64.encodebytes(request.public_bytes(serialization.Encoding.DER)),
            headers={"Content-Type": "application/pkcs10", "Authorization": f"Basic {credentials}"},
        )
        with urllib.request.urlopen(call, context=self.tls(), timeout=20) as answer:
            (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.read()))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return folder / f"{name}.pem"


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Gate]:
    """A gate from quickstart to a clean end: exit status 0, and no traceback in its log. `flags` are further ones."""
    gate = Gate(folder)
    gate.flags += flags
    made = gate.quickstart()
    assert made.status == 0, made.text
    try:
        gate.start()
        yield gate
        status = gate.stop()
    finally:
        gate.kill()
    assert status == 0, f"exit status {status} after SIGTERM; the log ends with\n{gate.log.read_text()[-2000:]}"
    assert not gate.tracebacks(), gate.tracebacks()[0]


class Names:
    """The tests' name server (pebble-challtestsrv): every name is 127.0.0.1; TXT and CAA as it is told."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self.management = f"http://127.0.0.1:{gate.dns_management_port}"
        self._gate = gate
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Listen on 127.0.0.1 alone, and wait until the management API answers."""
        with (self._folder / "names.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "pebble-challtestsrv",
                    *("-dns01", f"127.0.0.1:{self._gate.dns_port}", "-defaultIPv6", ""),
                    *("-management", f"127.0.0.1:{self._gate.dns_management_port}"),
                    # The clients answer their own challenges.
                    *("-http01", "", "-https01", "", "-tlsalpn01", ""),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        assert wait_until(lambda: self._answers(), 10), (self._folder / "names.log").read_text()

    def _answers(self) -> bool:
        try:
            self.tell("clear-txt", host="nobody.example.")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def tell(self, action: str, **values: object) -> None:
        """Call the management API."""
        call = urllib.request.Request(f"{self.management}/{action}", data=json.dumps(values).encode())
        with urllib.request.urlopen(call, timeout=5):
            pass

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


def certificates_of(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, the leaf first."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def names_of(certificate: x509.Certificate) -> set[str]:
    """The DNS names of a certificate."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(found.value.get_values_for_type(x509.DNSName))


def serial_of(certificate: x509.Certificate) -> str:
    """The serial in hex, as the command line writes it."""
    return f"{certificate.serial_number:040x}"


def verify(gate: Gate, certificate: Path, chain: Path, folder: Path) -> None:
    """Have openssl build and check the path to the root."""
    said = run("openssl", "verify", "-CAfile", gate.root, "-untrusted", chain, certificate, folder=folder)
    assert said.status == 0, said.text
