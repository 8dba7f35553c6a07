"""A long run of many clients against one server: every flow has to end well, every serial to be new.

    python -m tests.load.campaign --minutes 10 --lanes 64

Each lane is a client that orders a new name by http-01 as soon as it has the last certificate. The run fails on any
answer that is not the one that the protocol has next (so on any 5xx), on an answer that does not come within 15
seconds, on a serial number that was seen before, and when the server ends with a traceback in its log.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.gate import serving
from tests.load.figures import machine, measure, measurements

GRACE_SECONDS = 120
"""For registering, for flows under way at the end, and for adding up."""


def faults(report: dict[str, Any]) -> list[str]:
    """What went wrong in a run, from the load tool's report."""
    found = [f"{number} times: {text}" for text, number in report["errors"].items()]
    if report["duplicate_serials"]:
        found.append(f"{report['duplicate_serials']} serial numbers came twice")
    if not report["issued"]:
        found.append("nothing was issued")
    return found


def main() -> int:
    """Run it; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--lanes", type=int, default=64)
    options = parser.parse_args()
    seconds = 60 * options.minutes
    words = ("--seconds", str(seconds), "--concurrency", str(options.lanes), "--warmup", "0", "--max-errors", "1000")
    with tempfile.TemporaryDirectory(prefix="certgate-campaign-") as folder, serving(Path(folder)) as gate:
        try:
            report = measure(gate, next(measurements(gate)), *words, check=False, timeout=seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"the clients hang: they had not ended {GRACE_SECONDS} seconds after their time")
            return 1
    wrong = faults(report)
    latency = report["latency_ms"]
    print(f"Measured on: {machine()}")
    print(
        f"{options.lanes} lanes, {report['wall_s']:.0f} s: {report['issued']} certificates "
        f"({report['certs_per_s']:.0f} a second), p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms, "
        f"longest {latency['max']:.0f} ms; {report['bad_nonces']} nonces refused and repeated, "
        f"server {report['server_rss_mib']['server']:.0f} MiB"
    )
    print("\n".join(wrong) or "no error, no hang, no serial number twice")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
