"""certgate order."""

from __future__ import annotations

import json

import pytest

from tests.gateway.cli.conftest import Line, Served


@pytest.mark.parametrize("status", ["pending", "held", "processing", "valid", "invalid", "cancelled"])
def test_list_is_an_array(served: Served, online: Line, status: str) -> None:
    """Also when there is nothing in it."""
    served.hold()
    served.issue()
    said = online("order", "list", "--status", status, "--json")
    assert said.status == 0
    assert [one["status"] for one in json.loads(said.out)] == ([status] if status in ("held", "valid") else [])


def test_list_has_all_orders_for_scripts(served: Served, online: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is short, an array is whole."""
    monkeypatch.setattr("gateway.cli.talk.PAGE", 2)
    for number in range(5):
        served.issue(f"h{number}.certgate.test")
    assert len(json.loads(online("order", "list", "--json").out)) == 5
    assert len(json.loads(online("order", "list", "--json", "--limit", "3").out)) == 3
    assert "4 shown" in online("order", "list", "--limit", "4").out


def test_a_status_that_is_none(online: Line) -> None:
    said = online("order", "list", "--status", "finished", "--json")
    assert said.status == 1
    assert "processing" in said.err


def test_show_explains(served: Served, online: Line) -> None:
    """Who asked, what was decided and why, what happened."""
    serial = served.issue("www.certgate.test")
    (one,) = json.loads(online("order", "list", "--json").out)
    said = online("order", "show", one["id"])
    for wanted in (serial, "dns:www.certgate.test", "How it was decided", "What happened", "ra:order:placed"):
        assert wanted in said.out
    assert json.loads(online("order", "show", one["id"], "--json").out)["trace"]


def test_approve_reject_cancel(served: Served, online: Line) -> None:
    approved, rejected, cancelled = served.hold("a.certgate.test"), served.hold("b.certgate.test"), served.hold()
    said = online("order", "approve", approved)
    assert said.status == 0, said.err
    assert "certificate is" in said.out
    assert json.loads(online("order", "reject", rejected, "--why", "unknown", "--json").out)["status"] == "invalid"
    assert "unknown" in online("order", "show", rejected).out
    assert "cancelled" in online("order", "cancel", cancelled).out
    for words in (("approve", approved), ("reject", rejected), ("cancel", cancelled), ("show", "nothing")):
        assert online("order", *words).status == 1
