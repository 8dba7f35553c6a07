"""certgate doctor: everything at once, with a server and without, in good health and in bad."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gateway import probes
from gateway.diagnosis import Finding, ok
from tests.gateway.cli.conftest import Line, Said, Served


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/gateway/test_probes.py has the probes of network and machine; here they must not decide."""

    def well(*_: object, **__: object) -> list[Finding]:
        return [ok("resolver", "not asked")]

    monkeypatch.setattr(probes, "resolver", well)
    monkeypatch.setattr(probes, "disk", well)
    monkeypatch.setattr(probes, "open_files", well)


def statuses(said: Said) -> dict[str, str]:
    return {one["check"]: one["status"] for one in json.loads(said.out)}


def test_a_fresh_state_is_well(offline: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server; every check says something."""
    monkeypatch.setattr(probes, "ports", lambda *_, **__: [ok("ports", "free")])
    said = offline("doctor", "--json")
    assert said.status == 0, said.out
    found = statuses(said)
    assert len(found) >= 18
    assert set(found.values()) <= {"ok", "warning"}
    assert json.loads(said.out)[0].keys() == {"check", "status", "detail", "advice"}


def test_for_people(offline: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each check, what to do below it, a sum at the end."""
    monkeypatch.setattr(probes, "ports", lambda *_, **__: [ok("ports", "free")])
    (offline.state / "master.key").chmod(0o644)
    said = offline("doctor", "--fast")
    assert said.status == 1
    assert "PROBLEM  master key" in said.out
    assert "→ chmod 600" in said.out
    assert "checks" in said.out.splitlines()[-1]


def test_nothing_is_set_up(line: Callable[..., Said]) -> None:
    """A problem, and what to do; nothing is made by looking."""
    said = line("doctor", "--json")
    assert said.status == 1
    assert statuses(said)["state folder"] == "problem"


def test_mistakes_of_the_configuration(offline: Line) -> None:
    said = offline("doctor", "--json", "--set", "server.https_port=many")
    assert said.status == 1
    assert statuses(said)["configuration"] == "problem"


def test_a_lost_master_key(offline: Line) -> None:
    """The store cannot be opened; what can be looked at is."""
    (offline.state / "master.key").unlink()
    said = offline("doctor", "--json")
    assert said.status == 1
    assert statuses(said)["master key"] == "problem"
    assert statuses(said)["store"] == "problem"


def test_with_a_server(served: Served, online: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own word on itself; this one has a clock that stands still."""
    monkeypatch.setattr(probes, "ports", lambda *_, **__: [ok("ports", "served")])
    monkeypatch.setattr(probes, "tls_certificate", lambda *_, **__: [ok("TLS certificate", "good")])
    served.hold()
    said = online("doctor", "--json")
    assert said.status == 1
    found = statuses(said)
    assert found["server"] == "ok"
    assert found["store"] == "ok"
    assert found["held orders"] == "warning"
    assert found["server clock"] == "problem"
