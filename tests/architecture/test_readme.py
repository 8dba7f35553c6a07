"""The README's commands run: its blocks marked "sh test", in their order, on a fresh quickstart state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.modules import ROOT
from tests.clients.gate import Gate, certificates_of, names_of, run, serial_of, serving
from tests.clients.programs import strict, why_missing

BLOCK = re.compile(r"^```sh test\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Gate]:
    """A served quickstart state where the README has it: in ./state, beside an installed .venv."""
    for reason in filter(None, map(why_missing, ("certbot", "curl", "openssl"))):
        if strict():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with serving(tmp_path) as gate:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "certgate").symlink_to(gate.command)
        yield gate


@pytest.mark.client
@pytest.mark.door
def test_readme_commands_run(served: Gate) -> None:
    """With `make run` in one terminal, everything else in the README can be pasted into another one."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    assert len(blocks) >= 3
    script = "set -euo pipefail\n" + "\n".join(blocks)
    said = run("bash", "-c", script, folder=served.folder, timeout=180)
    assert said.status == 0, said.text
    found = (next(served.folder.glob("certbot/config/live/*/cert.pem")), served.folder / "device.pem")
    serials = {names_of(one).pop(): serial_of(one) for one in (certificates_of(path)[0] for path in found)}
    assert served.show(serials["shop.certgate.test"])["status"] == "valid"
    assert served.show(serials["device-1.certgate.test"])["status"] in ("revoked", "superseded")


def test_readme_names_targets_that_exist() -> None:
    """`make …` in the README, CONTRIBUTING and docs is a target of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "docs/operations/performance.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE))
        assert named <= targets, f"{page}: {sorted(named - targets)}"
