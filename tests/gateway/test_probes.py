"""gateway.probes: files, ports, certificate, resolver, disk and clock of this machine."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
import trustme

from gateway import probes
from gateway.config import Config, load
from gateway.diagnosis import Finding

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Usage = namedtuple("Usage", "total used free")


def outcomes(found: Iterator[Finding]) -> dict[str, str]:
    """Check -> outcome."""
    return {one.check: one.outcome.value for one in found}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A state folder in which everything is as it should be."""
    tmp_path.chmod(0o700)
    (tmp_path / "keys").mkdir()
    for name in ("master.key", "quickstart.json", "keys/ca.pem"):
        path = tmp_path / name
        path.write_bytes(os.urandom(32))
        path.chmod(0o600)
    return load(tmp_path, None, {}, [])


def test_state_folder(tmp_path: Path) -> None:
    """Closed to others: reading is a warning, writing a problem."""
    for mode, wanted in ((0o700, "ok"), (0o750, "warning"), (0o755, "warning"), (0o770, "problem")):
        tmp_path.chmod(mode)
        assert outcomes(probes.state_folder(tmp_path)) == {"state folder": wanted}, oct(mode)
    assert outcomes(probes.state_folder(tmp_path / "nothing")) == {"state folder": "problem"}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda state: None, {"master key": "ok", "private files": "ok"}),
        (lambda state: (state / "master.key").unlink(), {"master key": "problem", "private files": "ok"}),
        (lambda state: (state / "master.key").chmod(0o640), {"master key": "problem", "private files": "ok"}),
        (lambda state: (state / "master.key").write_bytes(b"short"), {"master key": "problem", "private files": "ok"}),
        (lambda state: (state / "keys/ca.pem").chmod(0o644), {"master key": "ok", "private files": "problem"}),
        (lambda state: (state / "quickstart.json").chmod(0o604), {"master key": "ok", "private files": "problem"}),
    ],
)
def test_private_files(config: Config, change: Callable[[Path], object], wanted: dict[str, str]) -> None:
    change(config.state)
    assert outcomes(probes.private_files(config)) == wanted


def test_disk(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, wanted in ((50 << 30, "ok"), (500 << 20, "warning"), (10 << 20, "problem")):
        usage = Usage(100 << 30, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert outcomes(probes.disk(config)) == {"disk": wanted}


def test_clock() -> None:
    """A machine whose battery is empty wakes up in 1970."""
    assert outcomes(probes.clock(NOW)) == {"clock": "ok"}
    for wrong in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)):
        assert outcomes(probes.clock(wrong)) == {"clock": "problem"}


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert outcomes(probes.open_files(500)) == {"open files": "ok"}
    assert outcomes(probes.open_files(1024)) == {"open files": "warning"}


@pytest.fixture
def listening() -> Iterator[int]:
    """A port at which somebody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_ports(listening: int) -> None:
    """Served while a server runs, free while none does."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        free = gone.getsockname()[1]
    for port, running, wanted in (
        (listening, True, "ok"),
        (listening, False, "problem"),
        (free, True, "problem"),
        (free, False, "ok"),
        (0, True, "ok"),
    ):
        assert outcomes(probes.ports({"https": ["127.0.0.1", port]}, running=running)) == {"ports": wanted}
    assert outcomes(probes.ports({"https": ["0.0.0.0", listening]}, running=True)) == {"ports": "ok"}


def test_tls_certificate_of_a_file(tmp_path: Path) -> None:
    """By its end, in time to replace it."""
    now = datetime.now(UTC)
    path = tmp_path / "tls.pem"
    facts: dict[str, Any] = {"ports": {"https": ["127.0.0.1", 1]}, "tls_certificate_file": str(path)}
    authority = trustme.CA()
    for left, wanted in ((400, "ok"), (5, "warning"), (-1, "problem")):
        leaf = authority.issue_cert(
            "ca.example", not_before=now - timedelta(days=100), not_after=now + timedelta(days=left)
        )
        path.write_bytes(leaf.cert_chain_pems[0].bytes())
        assert outcomes(probes.tls_certificate(facts, now, running=False)) == {"TLS certificate": wanted}
    path.write_text("nonsense")
    assert outcomes(probes.tls_certificate(facts, now, running=False)) == {"TLS certificate": "problem"}
    path.unlink()
    assert outcomes(probes.tls_certificate(facts, now, running=False)) == {"TLS certificate": "problem"}
    facts["tls_certificate_file"] = ""
    assert outcomes(probes.tls_certificate(facts, now, running=False)) == {"TLS certificate": "ok"}


def test_tls_certificate_of_a_port_that_is_none(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something listens there that does not speak TLS."""
    monkeypatch.setattr(probes, "TIMEOUT_SECONDS", 0.2)
    facts: dict[str, Any] = {"ports": {"https": ["127.0.0.1", listening]}, "tls_certificate_file": ""}
    assert outcomes(probes.tls_certificate(facts, NOW, running=True)) == {"TLS certificate": "problem"}


def test_resolver(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any answer will do: it is the way there that is looked at."""
    monkeypatch.setattr(probes, "TIMEOUT_SECONDS", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        where = f"127.0.0.1:{server.getsockname()[1]}"
        found = load(config.state, None, {}, [("validation.resolver", where)])

        def answer() -> None:
            question, peer = server.recvfrom(4096)
            reply = dns.message.make_response(dns.message.from_wire(question))
            reply.flags |= dns.flags.RA
            server.sendto(reply.to_wire(), peer)

        thread = threading.Thread(target=answer)
        thread.start()
        assert outcomes(probes.resolver(found)) == {"resolver": "ok"}
        thread.join()
        assert outcomes(probes.resolver(found)) == {"resolver": "warning"}
