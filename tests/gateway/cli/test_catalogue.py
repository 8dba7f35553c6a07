"""certgate product, mount, user and group."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.toml import toml_text
from tests.gateway.cli.conftest import Line


def test_product_goes_out_and_in(online: Line, tmp_path: Path) -> None:
    """What show prints, apply reads; a change says itself, and a dry run changes nothing."""
    file = tmp_path / "tls.toml"
    file.write_text(online("product", "show", "tls").out)
    assert "nothing to change" in online("product", "apply", "-f", str(file)).out
    file.write_text(file.read_text().replace("max_names = 100", "max_names = 5"))
    said = online("product", "apply", "-f", str(file), "--dry-run")
    assert "would change" in said.out
    assert "names.max_names: 100 → 5" in said.out
    assert json.loads(online("product", "show", "tls", "--json").out)["version"] == 1
    assert "version 2" in online("product", "apply", "-f", str(file)).out
    assert json.loads(online("product", "show", "tls", "--json").out)["names"]["max_names"] == 5
    assert json.loads(online("product", "show", "tls", "--version", "1", "--json").out)["names"]["max_names"] == 100


def test_apply_from_standard_input(online: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    text = online("product", "show", "device").out.replace('name = "device"', 'name = "device-2"', 1)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    said = online("product", "apply", "-f", "-", "--json")
    assert json.loads(said.out)["new"] is True


def test_mistakes_name_the_file(online: Line, tmp_path: Path) -> None:
    file = tmp_path / "web.toml"
    assert online("product", "apply", "-f", str(file)).status == 2
    file.write_text('name = "web"\nnonsense = 1\nprofile = "tls-server"\n')
    said = online("product", "apply", "-f", str(file))
    assert said.status == 1
    assert str(file) in said.err
    assert "nonsense" in said.err


def test_product_state(online: Line) -> None:
    assert "suspended" in online("product", "state", "tls", "suspended").out
    assert "suspended" in online("product", "list").out
    assert online("product", "state", "tls", "asleep").status == 2
    assert online("product", "show", "nothing").status == 1


def test_mounts(online: Line, tmp_path: Path) -> None:
    """Made from a file, closed, opened again."""
    file = tmp_path / "web.toml"
    file.write_text('protocol = "acme"\nlabel = "web"\nproducts = ["tls"]\nissuer = "issuing"\n')
    assert "would be made" in online("mount", "apply", "-f", str(file), "--dry-run").out
    assert "mount acme/web made" in online("mount", "apply", "-f", str(file)).out
    assert "closed" in online("mount", "close", "acme/web").out
    assert "open" in online("mount", "open", "acme/web").out
    assert "acme/web" in online("mount", "list").out
    file.write_text(online("mount", "show", "acme/web").out)
    assert "nothing to change" in online("mount", "apply", "-f", str(file)).out
    assert online("mount", "show", "acme/nothing").status == 1


def test_users_and_groups(online: Line) -> None:
    assert "written" in online("group", "apply", "lab", "--domain", "lab.test").out
    assert "written" in online("user", "apply", "bob", "--group", "lab", "--email", "bob@lab.test").out
    assert "nothing to change" in online("group", "apply", "lab", "--domain", "lab.test").out
    assert "bob@lab.test" in online("user", "list").out
    assert {one["name"] for one in json.loads(online("group", "list", "--json").out)} == {"ops", "lab"}
    assert online("user", "apply", "eve", "--group", "nowhere").status == 1


def test_inactive_stays_until_active_is_said(online: Line) -> None:
    """A changed address lets nobody in again."""
    for noun, words in (("user", ("apply", "alice", "--group", "ops")), ("group", ("apply", "ops"))):
        name = words[1]

        def active(noun: str = noun, name: str = name) -> bool:
            return bool(json.loads(online(noun, "show", name, "--json").out)["active"])

        assert online(noun, *words, "--inactive").status == 0
        assert not active()
        online(noun, *words)
        assert not active()
        online(noun, *words, "--active")
        assert active()


plain = st.recursive(
    st.text() | st.integers(-(2**53), 2**53) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(min_size=1), plain | st.dictionaries(st.text(), plain, min_size=1), max_size=5))
def test_what_is_written_as_toml_is_read_as_such(table: dict[str, object]) -> None:
    """Every value that JSON has, but null, under keys of any form."""
    table.pop("version", None)
    assert tomllib.loads(toml_text(table)) == {
        key: {k: v for k, v in value.items() if k != "version"} if isinstance(value, dict) else value
        for key, value in table.items()
    }
