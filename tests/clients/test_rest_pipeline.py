"""examples/rest: the twenty lines with curl, as they are shipped, for a name that has to be proven."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.acme.responders import web_root
from tests.clients.gate import Gate, Names, certificates_of, names_of, run, serial_of, verify

pytestmark = [pytest.mark.client, pytest.mark.door]

PIPELINE = Path(__file__).resolve().parents[2] / "examples" / "rest" / "pipeline"
NAME = "pipeline.example.com"


def test_twenty_lines_lead_a_certificate_through_its_life(
    gate: Gate, names: Names, tmp_path: Path, need: Callable[..., None]
) -> None:
    """Ordered, validated, downloaded with its chain, renewed, and the first one revoked (rest.md section 6)."""
    need("curl", "jq", "openssl")
    lines = [line for line in PIPELINE.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert len(lines) <= 20
    key = tmp_path / "key"
    key.write_text(f"Authorization: Bearer {gate.told['rest']['access_key']}")
    environment = {
        "CERTGATE_URL": gate.told["rest"]["url"],
        "CERTGATE_ROOT": gate.root,
        "CERTGATE_KEY": str(key),
    }
    with web_root(gate, tmp_path / "www"):
        said = run(PIPELINE, NAME, tmp_path / "www", folder=tmp_path, environment=environment, timeout=60)
    assert said.status == 0, said.text
    first, second = (certificates_of(tmp_path / f"{NAME}{kind}.pem")[0] for kind in ("", ".renewed"))
    assert names_of(first) == names_of(second) == {NAME}
    verify(gate, tmp_path / f"{NAME}.renewed.pem", tmp_path / f"{NAME}.renewed.pem", tmp_path)
    assert gate.show(serial_of(first))["status"] == "revoked"
    shown = gate.show(serial_of(second))
    assert (shown["status"], shown["replaces"].lstrip("0")) == ("valid", serial_of(first).lstrip("0"))
    assert "event: end" in (tmp_path / f"{NAME}.pem.events").read_text()
