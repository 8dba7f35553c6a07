"""gateway.config.schema: the forms of values, and that every field says what it is."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from gateway.config import Rate, SecretStr, default_toml, load
from gateway.config.schema import toml_value
from gateway.config.sources import sections

REPOSITORY = Path(__file__).parents[3]


def test_every_field_has_a_default_and_a_sentence() -> None:
    """The file, the documentation and the command line take their text from here, the doors' included."""
    for name, kind in sections().items():
        kind()
        for each in fields(kind):
            sentence = each.metadata.get("help", "")
            assert sentence.endswith("."), f"{name}.{each.name} has no sentence"


def test_default_file_is_what_the_schema_says() -> None:
    """conf/certgate.toml is generated: python -m gateway.config > conf/certgate.toml."""
    assert (REPOSITORY / "conf" / "certgate.toml").read_text(encoding="utf-8") == default_toml()


def test_default_file_with_every_line_in_force_changes_nothing(tmp_path: Path) -> None:
    """What stands behind the comment signs is TOML, and is the default."""
    text = re.sub(r"^#(\w+ = )", r"\1", default_toml(()), flags=re.MULTILINE)
    text = re.sub(r'^.*"file:/path"$', "", text, flags=re.MULTILINE)
    file = tmp_path / "all.toml"
    file.write_text(text)
    everything, nothing = (
        load(tmp_path, file, {}, (), protocols=()),
        load(tmp_path, None, {}, (), protocols=()),
    )
    assert {each.key: each.value for each in everything.entries()} == {
        each.key: each.value for each in nothing.entries()
    }


@pytest.mark.parametrize(("text", "rate"), [("300/3h", Rate(300, 10800)), ("20/m", Rate(20, 60)), ("none", Rate(0, 0))])
def test_rate(text: str, rate: Rate) -> None:
    """A number per period."""
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "5", "0/h", "5/w", "-1/h", "5/0h", "5/h ", "٥/h"])
def test_rate_that_is_none(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match="such as"):
        Rate.parse(text)


def test_secret_hides_itself() -> None:
    """In repr, str and formatting; equal by content."""
    secret = SecretStr("hunter2")
    assert "hunter2" not in f"{secret} {secret!r}"
    assert secret.reveal() == "hunter2"
    assert secret == SecretStr("hunter2") != SecretStr("other")
    assert secret != "hunter2"
    assert len({secret, SecretStr("hunter2")}) == 1


@pytest.mark.parametrize("value", [True, 3, 1.5, 'a"b\\c\n\u00fc', ["a", "b"], {"k": 1}])
def test_values_are_written_as_toml(value: object) -> None:
    """And read back as they were."""
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value
