"""certgate credential."""

from __future__ import annotations

import argparse
import csv
import io
import json

import pytest

from gateway.cli.credential import seconds
from tests.gateway.cli.conftest import Line, Served

NEW = ("--type", "est", "--user", "alice", "--group", "ops", "--product", "device")


def test_create_for_scripts(online: Line) -> None:
    """The secret, once."""
    said = online("credential", "create", *NEW, "--use-limit", "3", "--identifier", "router-1", "--json")
    assert said.status == 0, said.err
    made = json.loads(said.out)
    assert {"id", "identifier", "secret", "type", "client"} <= made.keys()
    assert len(made["secret"]) >= 43
    for words in (("list", "--json"), ("show", "router-1", "--json"), ("export",), ("export", "--format", "ndjson")):
        assert made["secret"] not in online("credential", *words).out


def test_create_for_people(online: Line) -> None:
    """With a line to paste."""
    said = online("credential", "create", *NEW)
    assert "shown this once" in said.out
    assert "curl --cacert" in said.out


def test_create_refuses(online: Line) -> None:
    """2 for what the command line itself sees, 1 for what the server knows better."""
    assert online("credential", "create", *NEW, "--use-limit", "0").status == 2
    assert online("credential", "create", *NEW[:-2]).status == 2
    said = online("credential", "create", *NEW[:-1], "nothing")
    assert said.status == 1
    assert 'no product "nothing"' in said.err


def test_life(online: Line) -> None:
    """suspend, resume, rotate, preview, revoke, and nothing after that."""
    online("credential", "create", *NEW, "--identifier", "router-1")
    assert "suspended" in online("credential", "suspend", "router-1").out
    assert "active" in online("credential", "resume", "router-1").out
    assert json.loads(online("credential", "rotate", "router-1", "--overlap", "2h", "--json").out)["secret"]
    assert len(json.loads(online("credential", "show", "router-1", "--json").out)["secrets"]) == 2
    assert "0 live certificates" in online("credential", "preview", "router-1").out
    said = online("credential", "revoke", "router-1", "--reason", "sold")
    assert "for good" in said.out
    shown = online("credential", "show", "router-1").out
    assert "sold" in shown
    for word in ("suspend", "resume", "rotate", "revoke"):
        assert online("credential", word, "router-1").status == 1


def test_revoke_with_its_certificates(served: Served, online: Line) -> None:
    served.issue(identifier="router-1")
    said = online("credential", "revoke", "router-1", "--cascade", "keyCompromise", "--json")
    assert json.loads(said.out)["certificates_revoked"] == 1


def test_list_by_filters(online: Line) -> None:
    """Every filter of the console and the API is here, too."""
    online("credential", "create", *NEW, "--identifier", "router-1", "--label", "basement")
    for words in (
        ("--type", "est"),
        ("--product", "device"),
        ("--text", "basement"),
        ("--status", "active", "--type", "est"),
    ):
        found = json.loads(online("credential", "list", "--json", *words).out)
        assert [one["identifier"] for one in found] == ["router-1"]
    assert "router-1" in online("credential", "list").out
    assert "(1 shown" in online("credential", "list", "--limit", "1").out


def test_csv_is_safe_to_open(online: Line) -> None:
    """A label that a spreadsheet would run is a text in it."""
    online("credential", "create", *NEW, "--label", '=HYPERLINK("http://evil.test")')
    rows = list(csv.DictReader(io.StringIO(online("credential", "export", "--type", "est").out)))
    assert rows[0]["label"] == '\'=HYPERLINK("http://evil.test")'
    assert rows[0]["state"] == "active"


def test_show_has_accounts_and_limits(online: Line) -> None:
    said = online("credential", "show", "open")
    assert "acme, by none" in said.out
    assert "any address" in said.out


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_lengths_of_time(text: str, wanted: int) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "h", "-1", "1w", "1.5h"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)
