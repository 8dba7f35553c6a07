"""Bouncy Castle against the CMP door: messages that another encoder wrote, answers that another decoder verifies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, run

pytestmark = pytest.mark.client

JARS = ":".join(f"/usr/share/java/{one}.jar" for one in ("bcprov", "bcpkix", "bcutil"))
SOURCE = Path(__file__).with_name("BouncyCastleCMP.java")


def test_enrols_updates_asks_and_revokes(gate: Gate, tmp_path: Path, need: Callable[..., None]) -> None:
    """ir under PBM (1,024 iterations, HMAC-SHA256), kur and rr signed, genm; each certificate is confirmed."""
    need("bouncycastle", "javac")
    made = run("javac", "-cp", JARS, "-d", tmp_path, SOURCE, folder=tmp_path, timeout=120)
    assert made.status == 0, made.text
    told = gate.told["cmp"]
    words = ("BouncyCastleCMP", told["url"], told["reference"], told["secret"])
    said = run("java", "-cp", f"{JARS}:{tmp_path}", *words, folder=tmp_path, timeout=120)
    assert said.status == 0, said.text
    lines = dict(line.split(" ") for line in said.out.splitlines())
    assert lines["genm"] == "1.3.6.1.5.5.7.4.17"
    assert gate.show(lines["ir"])["status"] == "valid"
    assert lines["kur"] == lines["rr"]
    assert gate.show(lines["kur"])["status"] == "revoked"
