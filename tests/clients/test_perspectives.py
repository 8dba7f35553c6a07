"""A whole installation with two perspectives, each a process of its own, and lego as the client."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.gate import Gate, Names, certificates_of, free_ports, names_of, run, wait_until
from tests.clients.test_lego import Lego

pytestmark = pytest.mark.client

NAMES = ("eu-1", "us-1")


class Perspectives:
    """Keys, and a process for each name."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.keys = gate.folder / "keys"
        base = free_ports(len(NAMES))
        self.ports = {name: base + number for number, name in enumerate(NAMES)}
        made = run(
            gate.command, "perspective", "keys", "--out", self.keys, *(f"{name}=localhost" for name in NAMES),
            folder=gate.folder,
        )  # fmt: skip
        assert made.status == 0, made.text
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def files(self, name: str) -> list[str]:
        """Settings that name one's own pair and the CA."""
        pairs = {"certificate": f"{name}.pem", "key": f"{name}.key", "ca": "perspective-ca.pem"}
        return [
            word
            for key, file in pairs.items()
            for word in ("--set", f"validation.perspective_{key}_file={self.keys / file}")
        ]

    @property
    def settings(self) -> list[str]:
        """What the server is told."""
        said = [f"{name}={name[:2]}=https://localhost:{port}" for name, port in self.ports.items()]
        return [
            *self.files("coordinator"),
            *("--set", f"validation.perspectives={','.join(said)}"),
            # One of two may fail, and the one that is left lies in one region.
            *("--set", "validation.perspective_regions=1"),
        ]

    def start(self) -> None:
        """Start them, with the same name server and ports as the server itself."""
        flags = [word for word in self.gate.flags if word.startswith("validation.")]
        for name, port in self.ports.items():
            said = self.gate.folder / f"{name}.out"
            with said.open("wb") as out, (self.gate.folder / f"{name}.log").open("wb") as log:
                self._processes[name] = subprocess.Popen(
                    [
                        *(self.gate.command, "perspective", "serve", "--state", str(self.gate.folder / name)),
                        *("--name", name, "--port", str(port), *self.files(name)),
                        *(word for flag in flags for word in ("--set", flag)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=log,
                )

    def stop(self, name: str) -> None:
        """End one; it drains and says that all was well."""
        process = self._processes.pop(name, None)
        if process is not None:
            process.terminate()
            assert process.wait(20) == 0, (self.gate.folder / f"{name}.log").read_text()

    def check(self) -> list[dict[str, Any]]:
        """What `certgate perspective check` says."""
        said = self.gate.certgate("perspective", "check", "--json", *self.settings)
        found: list[dict[str, Any]] = json.loads(said.out)
        assert said.status == (0 if all(one["answered"] for one in found) else 1), said.text
        return found


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate of this test's own; it is started with perspectives."""
    gate = Gate(tmp_path)
    made = gate.quickstart()
    assert made.status == 0, made.text
    yield gate
    gate.kill()


def test_lego_gets_a_certificate_when_enough_perspectives_agree(need: Callable[..., None], gate: Gate) -> None:
    """Both agree; one of two is enough; none is not."""
    need("lego", "pebble-challtestsrv")
    names = Names(gate, gate.folder)
    perspectives = Perspectives(gate)
    try:
        names.start()
        perspectives.start()
        gate.start(*perspectives.settings)
        lego = Lego(gate, names, gate.folder)

        def ask(name: str) -> int:
            return lego.open(*lego.http, "--domains", name, "run").status

        assert wait_until(lambda: all(one["answered"] for one in perspectives.check()), 20)
        assert ask("both.example.org") == 0
        assert names_of(certificates_of(lego.certificate("both.example.org"))[0]) == {"both.example.org"}
        perspectives.stop("us-1")
        assert [one["answered"] for one in perspectives.check()] == [True, False]
        assert ask("one.example.org") == 0
        perspectives.stop("eu-1")
        assert ask("none.example.org") != 0
    finally:
        for name in NAMES:
            perspectives.stop(name)
        names.stop()
    assert quorums(gate) == {"both.example.org": ["2/2", "2/2"], "one.example.org": ["1/2", "1/2"]}
    assert gate.stop() == 0
    assert not gate.tracebacks()


def quorums(gate: Gate) -> dict[str, list[str]]:
    """Of each name that was proven: how many perspectives agreed about its challenge and about CAA."""
    said = gate.certgate("audit", "export")
    assert said.status == 0, said.text
    events = [event for event in map(json.loads, said.out.splitlines()) if event["tag"] == "ra:authorization:valid"]
    return {
        event["detail"]["identifier"].removeprefix("dns:"): [
            event["detail"][what]["quorum"] for what in ("corroboration", "caa")
        ]
        for event in events
    }
