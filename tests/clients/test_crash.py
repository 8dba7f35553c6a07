"""Killed in the middle of its work, again and again, the server loses nothing that it acknowledged.

Each round lets clients order under load, kills every process of the server with SIGKILL, starts it again on
the same state and looks: every certificate that a client held is in the store, no serial and no order came
twice, no order is stuck, the audit log is whole. `CERTGATE_CRASH_ROUNDS` says how many rounds (`make crash`:
a long campaign), `CERTGATE_CRASH_SEED` repeats the moments of one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.gate import Gate, serving, wait_until

ROUNDS = int(os.environ.get("CERTGATE_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CERTGATE_CRASH_SEED") or random.randrange(10**6))
LOAD = Path(__file__).parent.parent / "load" / "acme_load.py"


@contextmanager
def load(gate: Gate, ledger: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Clients that order without end and write down (and sync) the serial of every certificate they hold."""
    acme = gate.told["acme"]
    command = [
        *(sys.executable, str(LOAD), acme["directory"], "--eab", f"{acme['kid']}:{acme['hmac_key']}"),
        *("--count", "3000", "--warmup", "0", "--concurrency", "8", "--processes", "1", "--fresh-names"),
        *("--http01", str(gate.http01_port), "--dns", str(gate.dns_port)),
        *("--ca-bundle", gate.root, "--ack-log", str(ledger)),
    ]
    with (ledger.parent / "load.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ledger.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # The load has processes of its own (the challenge responder), which would outlive it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read(ledger: Path) -> list[int]:
    """The serials that clients held. The last line may be half: its client was killed in the middle of it."""
    text = ledger.read_text() if ledger.exists() else ""
    return [int(line, 16) for line in text[: text.rfind("\n") + 1].split()]


def crash(gate: Gate, ledger: Path, dice: random.Random) -> None:
    """Load, and a kill at a random moment after the first certificates."""
    before = len(read(ledger))
    wanted = before + dice.randrange(5, 120)
    with load(gate, ledger) as process:
        came = wait_until(lambda: len(read(ledger)) >= wanted or process.poll() is not None, 60, step=0.01)
        assert came and process.poll() is None, (ledger.parent / "load.log").read_text()[-2000:]
        gate.kill()


def look(gate: Gate, ledger: Path) -> None:
    """What has to hold after every restart."""
    held = read(ledger)
    assert len(held) == len(set(held)), "a client was given a serial that another one has"
    stored = gate.export()
    serials = Counter(int(one["serial"], 16) for one in stored)
    lost = set(held) - set(serials)
    assert not lost, f"{len(lost)} of {len(held)} acknowledged certificates are lost: {[hex(s) for s in lost][:5]}"
    assert max(serials.values()) == 1, "a serial is in the store twice"
    orders = Counter(one["order"] for one in stored)
    assert max(orders.values()) == 1, f"an order has two certificates: {orders.most_common(1)}"
    assert wait_until(lambda: gate.orders("processing") == [], 15, step=0.5), gate.orders("processing")
    said = gate.certgate("audit", "verify", timeout=300)
    assert said.status == 0, said.text


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """What a client holds is in the store, whatever happens to the server."""
    print(f"CERTGATE_CRASH_SEED={SEED}")
    dice = random.Random(SEED)
    ledger = tmp_path / "held.txt"
    with serving(tmp_path / "gate") as gate:
        for number in range(1, ROUNDS + 1):
            crash(gate, ledger, dice)
            gate.start()
            look(gate, ledger)
            print(f"round {number} of {ROUNDS}: {len(read(ledger))} certificates held so far, none missing")
