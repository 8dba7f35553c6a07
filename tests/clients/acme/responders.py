"""Who answers the challenges of clients that leave it to others: a web root, a TLS listener, a hook for DNS."""

from __future__ import annotations

import functools
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.clients.gate import Gate, Names, wait_until

# The name server collects TXT values, as two authorizations of a wildcard and its base name need. curl, because the
# user who runs the hook may have no way to the Python of these tests.
DNS_HOOK = """#!/bin/sh
# Called with "present" or "clean", the name of the record and its value.
host=${{2%.}}.
case $1 in
    present) call=set-txt said='{{"host": "'$host'", "value": "'$3'"}}' ;;
    clean) call=clear-txt said='{{"host": "'$host'"}}' ;;
esac
exec curl --silent --fail --noproxy '*' --data "$said" {management}/$call
"""


def dns_hook(names: Names, folder: Path) -> Path:
    """A program that puts and removes TXT records: hook present|clean NAME VALUE."""
    return script(folder / "dns-hook", DNS_HOOK.format(management=names.management))


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def web_root(gate: Gate, folder: Path) -> Iterator[Path]:
    """Serve a folder where http-01 looks, and give the folder of the challenges in it."""
    challenges = folder / ".well-known/acme-challenge"
    challenges.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", gate.http01_port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield challenges
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def alpn_responder(gate: Gate, folder: Path) -> Iterator[None]:
    """Answer tls-alpn-01 (RFC 8737) with the certificate NAME.crt.pem and its NAME.key.pem that lie in the folder."""

    def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        certificate, key = folder / f"{name}.crt.pem", folder / f"{name}.key.pem"
        if not (certificate.exists() and key.exists()):
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["acme-tls/1"])
        context.load_cert_chain(certificate, key)
        connection.context = context
        return None

    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.set_alpn_protocols(["acme-tls/1"])
    outer.sni_callback = choose
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            try:
                outer.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", gate.tlsalpn01_port)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def running(
    *command: object, folder: Path, port: int, environment: Mapping[str, str] | None = None, seconds: float = 30
) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the end of the block: it stays in the foreground, and is there once its port answers."""
    log = folder / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
    try:
        up = wait_until(lambda: process.poll() is not None or answers(port), seconds)
        assert up and process.poll() is None, log.read_text()[-2000:]
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def shown(port: int, name: str, root: str) -> bytes:
    """The certificate (DER) that a TLS server shows for a name, checked up to the root."""
    context = ssl.create_default_context(cafile=root)
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate
