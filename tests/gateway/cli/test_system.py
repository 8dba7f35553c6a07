"""certgate ca, db, config: the installation itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from gateway.cli import CommandFailed
from gateway.cli.ca import read_subject
from tests.gateway.cli.conftest import Line, Said, Served


def test_ca(online: Line) -> None:
    assert [one["name"] for one in json.loads(online("ca", "list", "--json").out)] == ["root", "issuing"]
    assert "issuing" in online("ca", "list").out
    assert "CN=Test Issuing" in online("ca", "show", "issuing").out
    assert len(x509.load_pem_x509_certificates(online("ca", "show", "issuing", "--pem").out.encode())) == 2
    assert online("ca", "show", "nothing").status == 1
    assert [one["number"] for one in json.loads(online("ca", "crl", "issuing", "--json").out)] == [1]
    assert "issuing" in online("ca", "crl").out


def test_a_new_ca_wants_a_restart(online: Line) -> None:
    """A running server says so; without one there is nothing to restart."""
    said = online("ca", "create", "root2", "--subject", "O=Example, CN=Root 2")
    assert said.status == 0, said.err
    assert "Restart the server" in said.out
    said = online("ca", "create", "lab", "--under", "root", "--subject", "CN=Lab", "--days", "30", "--json")
    assert json.loads(said.out)["loaded"] is False
    assert "no" in online("ca", "list").out


def test_ca_create_begins_a_state(line: Callable[..., Said]) -> None:
    """The way of those who do not want quickstart: a root, an issuing CA below it."""
    said = line("ca", "create", "root", "--subject", "CN=Root")
    assert said.status == 0, said.err
    assert "Restart" not in said.out
    said = line("ca", "create", "lab", "--under", "root", "--subject", "CN=Lab")
    assert said.status == 0, said.err
    assert [one["loaded"] for one in json.loads(line("ca", "list", "--json").out)] == [True, True]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CN=A", [["CN", "A"]]),
        ("O=Example\\, Inc., CN = Root", [["O", "Example, Inc."], ["CN", "Root"]]),
        ("CN=a=b", [["CN", "a=b"]]),
    ],
)
def test_subjects(text: str, wanted: list[list[str]]) -> None:
    assert read_subject(text) == wanted


@pytest.mark.parametrize("text", ["", "CN", "CN=", "=A", "CN=A,"])
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        read_subject(text)
    assert failed.value.status == 2


def test_db(served: Served, online: Line, tmp_path: Path) -> None:
    """Status, integrity and a copy that another SQLite reads."""
    serial = served.issue()
    assert str(served.state) in online("db", "status").out
    assert json.loads(online("db", "status", "--json").out)["server"] is True
    assert online("db", "check").out == "the store is whole\n"
    assert json.loads(online("db", "check", "--json").out) == {"faults": []}
    assert "has migrated" in online("db", "migrate").out
    copy = tmp_path / "copy.db"
    said = online("db", "backup", str(copy))
    assert said.status == 0, said.err
    assert "master key" in said.out
    database = sqlite3.connect(copy)
    assert database.execute("SELECT serial FROM certificates").fetchall() == [(serial,)]
    database.close()
    assert online("db", "backup", str(copy)).status == 1


def test_db_check_of_a_damaged_store(served: Served, online: Line) -> None:
    """1, with what is wrong."""
    served.house.core.store._search_reader.close()

    async def faults() -> list[str]:
        return ["page 7: wrong order"]

    served.house.core.store.integrity = faults  # type: ignore[method-assign]
    said = online("db", "check")
    assert (said.status, said.out) == (1, "page 7: wrong order\n1 faults\n")
    assert online("db", "check", "--json").status == 1
    served.house.core.store._search_reader = served.house.core.store._reader


def test_db_report(served: Served, online: Line) -> None:
    """Counted in a process of its own, on a copy that is gone afterwards."""
    served.issue()
    served.hold()
    tables = json.loads(online("db", "report", "--json").out)
    assert tables["orders by status"] == [{"status": "held", "orders": 1}, {"status": "valid", "orders": 1}]
    assert tables["certificates by product"] == [{"product": "tls", "certificates": 1}]
    assert "certificates by month" in online("db", "report").out


def test_db_without_a_server(offline: Line) -> None:
    assert json.loads(offline("db", "migrate", "--json").out)["server"] is False
    assert "no server runs" in offline("db", "status").out
    assert offline("db", "check").status == 0


def test_config_show_says_where_values_come_from(offline: Line) -> None:
    said = offline("config", "show", "--set", "server.https_port=9443")
    assert said.status == 0
    (row,) = [one for one in said.out.splitlines() if one.startswith("server.https_port")]
    assert row.split(maxsplit=2)[1:] == ["9443", "command line"]
    changed = json.loads(offline("config", "show", "--changed", "--json", "--set", "log.level=debug").out)
    assert {"key": "log.level", "value": '"debug"', "origin": "command line"} in changed
    assert all(one["origin"] != "default" for one in changed)


def test_config_check(offline: Line) -> None:
    """2, with every mistake and the nearest key."""
    assert offline("config", "check").status == 0
    assert json.loads(offline("config", "check", "--json").out) == {"warnings": []}
    said = offline("config", "check", "--set", "server.htps_port=1", "--set", "log.level=loud")
    assert said.status == 2
    assert "server.https_port" in said.err
    assert "log.level" in said.err
    assert offline("config", "check", "--set", "nonsense").status == 2


def test_config_default(offline: Line) -> None:
    assert "#https_port = 8443" in offline("config", "default").out


def test_config_reload(served: Served, online: Line, offline: Line) -> None:
    """Only a running server can; a fault is told, and what was in force stays."""
    assert online("config", "reload").status == 0
    served.fault = "OSError: no such file"
    said = online("config", "reload")
    assert said.status == 1
    assert "no such file" in said.out
    said = offline("config", "reload")
    assert said.status == 3
    assert "no server" in said.err
