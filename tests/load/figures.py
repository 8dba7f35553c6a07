"""The figures of docs/operations/performance.md: each door on a fresh state, measured, printed as a table.

    python -m tests.load.figures --count 3000

`y` is the CPU time of one ECDSA P-256 verification on the same machine in the same run: what a certificate
costs in `y` can be compared between machines and on noisy ones. Nothing here passes or fails by time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.gate import Gate, serving

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Measurement:
    """One line of the table: what is measured, and how the load tool is called."""

    title: str
    tool: str
    words: tuple[str, ...]
    report: str


def measurements(gate: Gate) -> Iterator[Measurement]:
    """What this gate has doors for."""
    told = gate.told
    if acme := told.get("acme"):
        common = (acme["directory"], "--eab", f"{acme['kid']}:{acme['hmac_key']}", "--ca-bundle", gate.root)
        challenges = ("--http01", str(gate.http01_port), "--dns", str(gate.dns_port))
        trusted = (*common, "--fresh-names", "--domain", "certgate.test")
        yield Measurement("ACME, new name by http-01", "acme", (*common, "--fresh-names", *challenges), "--json")
        yield Measurement("ACME, trusted name", "acme", trusted, "--json")
        yield Measurement("ACME, trusted name, RSA 2048", "acme", (*trusted, "--key", "rsa2048"), "--json")
    if est := told.get("est"):
        words: tuple[str, ...] = (
            "est",
            est["url"].rstrip("/") + "/simpleenroll",
            "--user",
            f"{est['username']}:{est['password']}",
        )
        words += ("--domain", "certgate.test", "--ca-bundle", gate.root)
        yield Measurement("EST simpleenroll, kept-alive connections", "enroll", words, "--json-out")
        yield Measurement("EST simpleenroll, new connections", "enroll", (*words, "--new-connection"), "--json-out")
    if cmp := told.get("cmp"):
        words = ("cmp", cmp["url"], "--ref", cmp["reference"], "--secret", cmp["secret"], "--domain", "certgate.test")
        yield Measurement("CMP p10cr, PBM 500, implicitConfirm", "enroll", words, "--json-out")
        yield Measurement("CMP p10cr, PBM 500, certConf", "enroll", (*words, "--confirm"), "--json-out")
    if scep := told.get("scep"):
        words = ("scep", scep["url"], "--challenge", scep["challenge"], "--domain", "certgate.test")
        yield Measurement("SCEP PKCSReq, RSA 2048", "enroll", words, "--json-out")
    if rest := told.get("rest"):
        words = ("json", rest["url"] + "/orders", "--body", '{"csr":"$CSR_PEM"}', "--cert-field", "certificate.pem")
        words += ("--header", f"Authorization: Bearer {rest['access_key']}")
        words += ("--domain", "certgate.test", "--ca-bundle", gate.root)
        yield Measurement("REST order with its request", "enroll", words, "--json-out")


def measure(
    gate: Gate, one: Measurement, *words: str, check: bool = True, timeout: float | None = None
) -> dict[str, Any]:
    """Run the load tool with further words; its report as it wrote it.

    Raises CalledProcessError when a certificate is missing and `check` is set, TimeoutExpired when it does not end.
    """
    report = gate.folder / "report.json"
    subprocess.run(
        [
            *(sys.executable, str(HERE / f"{one.tool}_load.py"), *one.words, *words),
            *("--pid", f"server={gate.pid}", one.report, str(report)),
        ],
        check=check,
        stdout=subprocess.DEVNULL,
        cwd=gate.folder,
        timeout=timeout,
    )
    figures: dict[str, Any] = json.loads(report.read_text())
    return figures


def row(title: str, figures: dict[str, Any]) -> str:
    """One line of the table."""
    milliseconds = figures["server_cpu_ms_per_cert_total"]
    cells = (
        title,
        f"{figures['certs_per_s']:.0f}",
        f"{milliseconds:.2f}",
        f"{1000 * milliseconds / figures['yardstick_us']:.1f}",
        f"{figures['latency_ms']['p50']:.1f}",
        f"{figures['latency_ms']['p99']:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="certificates for each line")
    parser.add_argument("--concurrency", type=int, default=16, help="clients at once")
    options = parser.parse_args()
    print(f"Measured on: {machine()}\n")
    print("| what | certificates/s | server CPU ms | server CPU y | p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="certgate-load-") as folder, serving(Path(folder)) as gate:
        size = ("--count", str(options.count), "--concurrency", str(options.concurrency))
        for one in measurements(gate):
            print(row(one.title, measure(gate, one, *size)), flush=True)


if __name__ == "__main__":
    main()
