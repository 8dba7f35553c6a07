"""How much longer a whole flow takes at half load than for one client alone.

    python -m tests.load.latency --seconds 20

Three runs against one server, each a whole ACME flow for a new name by http-01: one lane alone; all lanes, each as
fast as it can, which shows what the server is able to do; and half of that, started by the clock whether or not the
flows before have ended, so that waiting counts (a closed loop would hide it). The goal is a p99 at half load of at
most five times the p50 of one lane alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.gate import serving
from tests.load.figures import machine, measure, measurements

GOAL = 5


def row(title: str, report: dict[str, Any], alone_ms: float) -> str:
    """One line of the table; the last two cells are multiples of the median of one lane alone."""
    p50, p99 = report["latency_ms"]["p50"], report["latency_ms"]["p99"]
    times = f"{p50 / alone_ms:.1f} | {p99 / alone_ms:.1f}"
    return f"| {title} | {report['certs_per_s']:.0f} | {p50:.1f} | {p99:.1f} | {times} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of each run")
    parser.add_argument("--lanes", type=int, default=32, help="clients at full and at half load")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="certgate-latency-") as folder, serving(Path(folder)) as gate:
        flow = next(measurements(gate))

        def run(lanes: int, rate: float = 0) -> dict[str, Any]:
            size = ("--concurrency", str(lanes), "--seconds", str(options.seconds), "--warmup", str(2 * lanes))
            return measure(gate, flow, *size, "--rate", str(rate))

        alone, full = run(1), run(options.lanes)
        half = run(options.lanes, full["certs_per_s"] / 2)
    alone_ms = alone["latency_ms"]["p50"]
    print(f"Measured on: {machine()}\n")
    print("| load | certificates/s | p50 ms | p99 ms | p50, times one lane's p50 | p99, times one lane's p50 |")
    print("|---|---|---|---|---|---|")
    print(row("one lane alone", alone, alone_ms))
    print(row(f"{options.lanes} lanes, as fast as they can", full, alone_ms))
    print(row("half of that, by the clock", half, alone_ms))
    print(f"\nGoal: p99 at half load at most {GOAL} times the p50 of one lane alone.")


if __name__ == "__main__":
    main()
