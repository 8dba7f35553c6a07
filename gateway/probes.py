"""Checks of `certgate doctor` that look at this machine: files, ports, TLS, resolver, disk, clock, limits.

Nothing here writes, and everything that asks the network ends within seconds.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.diagnosis import Facts, Finding, ok, problem, warning

TIMEOUT_SECONDS = 2.0
LEAST_BYTES, FEW_BYTES = 100 << 20, 1 << 30
"""Below the first the store may stop any moment; below the second somebody should look."""

EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)
"""No copy of this version ran before."""


def state_folder(state: Path) -> Iterator[Finding]:
    """Whether the state is there, ours, and closed to others."""
    if not state.is_dir():
        yield problem("state folder", f"there is no {state}", f"certgate quickstart --state {state}")
        return
    found = state.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        yield problem("state folder", f"{state} belongs to another user", "run certgate as its owner")
    elif mode & 0o022:
        yield problem("state folder", f"others may write into {state} (mode {mode:03o})", f"chmod 700 {state}")
    elif mode & 0o055:
        yield warning("state folder", f"others may look into {state} (mode {mode:03o})", f"chmod 700 {state}")
    else:
        yield ok("state folder", f"{state}, mode {mode:03o}")


def private_files(config: Config) -> Iterator[Finding]:
    """The master key, and everything beside it that nobody else may read."""
    master = Path(config.keys.master_key_file)
    if not master.exists():
        yield problem("master key", f"there is no {master}", "restore it from where you keep it, or run quickstart")
    elif stat.S_IMODE(master.stat().st_mode) & 0o077:
        yield problem("master key", f"others can read {master}", f"chmod 600 {master}, and think about who did")
    elif master.stat().st_size < 32:
        yield problem("master key", f"{master} is shorter than 32 octets", "restore it from where you keep it")
    else:
        yield ok("master key", f"{master}, mode 600")
    candidates = [config.state / "quickstart.json", *sorted((config.state / "keys").glob("*"))]
    loose = [str(one) for one in candidates if one.is_file() and stat.S_IMODE(one.stat().st_mode) & 0o077]
    if loose:
        yield problem("private files", f"others can read {', '.join(loose[:5])}", f"chmod 600 {' '.join(loose[:5])}")
    else:
        yield ok("private files", "nobody else can read keys and quickstart.json")


def disk(config: Config) -> Iterator[Finding]:
    """Space where the store grows."""
    usage = shutil.disk_usage(config.state)
    free = f"{usage.free / (1 << 30):.1f} GiB free on the disk of {config.state}"
    if usage.free < LEAST_BYTES:
        yield problem("disk", free, "make room: a full disk stops issuance, and nothing is lost")
    elif usage.free < FEW_BYTES:
        yield warning("disk", free, "make room, or move the state folder")
    else:
        yield ok("disk", free)


def clock(now: datetime) -> Iterator[Finding]:
    """Whether the time can be right at all, and whether the system keeps it so."""
    if now < EARLIEST or now > EARLIEST + timedelta(days=30 * 365):
        yield problem("clock", f"it is {now:%Y-%m-%d} here, which cannot be", "set the clock; run an NTP service")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def open_files(connections: int) -> Iterator[Finding]:
    """Whether the system lets a process open as many connections as the configuration does."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < connections + 200:
        detail = f"{soft} open files are allowed, server.max_connections is {connections}"
        yield warning("open files", detail, "raise LimitNOFILE of the service (ulimit -n), or lower max_connections")
    else:
        yield ok("open files", f"{soft} are allowed")


def ports(wanted: dict[str, Sequence[Any]], *, running: bool) -> Iterator[Finding]:
    """Served, when a server runs; free for it, when none does."""
    wrong = []
    for name, (address, port) in wanted.items():
        if port and running != _answers(_reachable(address), port):
            wrong.append(f"{name} {address}:{port}")
    shown = ", ".join(f"{name} {port}" for name, (_, port) in wanted.items())
    if not wrong:
        yield ok("ports", f"{'served' if running else 'free'}: {shown}")
    elif running:
        yield problem("ports", f"nobody answers at {', '.join(wrong)}", "look into the server's log")
    else:
        yield problem("ports", f"taken by another program: {', '.join(wrong)}", "stop it, or set other server.*_port")


def _reachable(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def tls_certificate(facts: Facts, now: datetime, *, running: bool) -> Iterator[Finding]:
    """The certificate that clients see, from the port itself; without a server the configured file's."""
    from cryptography import x509

    address, port = facts["ports"]["https"]
    try:
        if running:
            pem = ssl.get_server_certificate((_reachable(address), port), timeout=TIMEOUT_SECONDS)
        elif facts["tls_certificate_file"]:
            pem = Path(facts["tls_certificate_file"]).read_text()
        else:
            yield ok("TLS certificate", "the server issues it to itself when it starts")
            return
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except (OSError, ValueError) as fault:
        yield problem("TLS certificate", f"cannot be had: {fault}", "look into the server's log")
        return
    left = certificate.not_valid_after_utc - now
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if left <= timedelta():
        yield problem("TLS certificate", f"has expired {until}", "replace the file, or certgate config reload")
    elif left < min(whole * 0.2, timedelta(days=14)):
        yield warning("TLS certificate", f"expires {until}", "replace the file, then certgate config reload")
    else:
        yield ok("TLS certificate", f"valid until {until}")


def resolver(config: Config) -> Iterator[Finding]:
    """Whether the resolver that validation asks answers at all. It is asked for the root zone's name servers."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.resolver

    where = config.validation.resolver
    try:
        if where:
            host, _, port = where.rpartition(":")
            server, number = host.strip("[]"), int(port)
        else:
            server, number = str(dns.resolver.Resolver().nameservers[0]), 53
        begun = datetime.now(UTC)
        dns.query.udp(dns.message.make_query(".", "NS"), server, TIMEOUT_SECONDS, number)
        took = (datetime.now(UTC) - begun).total_seconds()
    except (OSError, dns.exception.DNSException, IndexError) as fault:
        detail = f"{where or 'the one of this machine'} does not answer ({type(fault).__name__})"
        advice = "set validation.resolver; until then only names that a product trusts can be issued"
        yield warning("resolver", detail, advice)
    else:
        yield ok("resolver", f"{server}:{number} answers in {took * 1000:.0f} ms")
