"""certgate audit."""

from __future__ import annotations

import json

from tests.gateway.cli.conftest import Line, Served


def test_verify(served: Served, online: Line) -> None:
    """0 when the log is whole."""
    served.issue()
    served.run(served.house.core.sealer.seal())
    said = online("audit", "verify")
    assert said.status == 0, said.err
    assert "the log is whole" in said.out
    assert json.loads(online("audit", "verify", "--json").out)["problems"] == []


def test_verify_of_a_changed_log_is_not_0(served: Served, online: Line) -> None:
    """And says where."""
    served.issue()
    served.run(served.house.core.sealer.seal())
    served.house.core.store._writer.execute("DELETE FROM audit WHERE seq = 3")
    said = online("audit", "verify")
    assert said.status == 1
    assert "event 3 is missing" in said.out
    assert online("audit", "verify", "--json").status == 1


def test_verify_wants_an_event_for_every_certificate(served: Served, online: Line) -> None:
    """A certificate that somebody wrote past the log is found."""
    serial = served.issue()
    served.house.core.store._writer.execute("DELETE FROM audit WHERE object = ?", (f"certificate:{serial}",))
    said = online("audit", "verify")
    assert said.status == 1
    assert serial in said.out


def test_show(served: Served, online: Line) -> None:
    serial = served.issue()
    assert "ca:certificate:issued" in online("audit", "show").out
    assert len(json.loads(online("audit", "show", "--json", "--limit", "3").out)) == 3
    assert json.loads(online("audit", "show", "--json", "--after", "0", "--limit", "1").out)[0]["seq"] == 1
    (event,) = json.loads(online("audit", "show", "--json", "--object", f"certificate:{serial}").out)
    assert event["tag"] == "ca:certificate:issued"


def test_export_and_checkpoint(served: Served, online: Line) -> None:
    """One event a line; a checkpoint to keep elsewhere."""
    served.issue()
    size = json.loads(online("audit", "checkpoint", "--json").out)["size"]
    rows = [json.loads(one) for one in online("audit", "export").out.splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, size + 1))
    rows = [json.loads(one) for one in online("audit", "export", "--json", "--after", str(size - 1)).out.splitlines()]
    assert [row["seq"] for row in rows] == [size]
    assert "signature" in online("audit", "checkpoint").out
