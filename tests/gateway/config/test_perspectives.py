"""How perspectives are configured: what is refused before a port opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import ConfigError, load
from gateway.config.perspectives import PerspectiveAddress, quorum_of

FILES = [(f"validation.perspective_{name}_file", f"{name}.pem") for name in ("certificate", "key", "ca")]
TWO = "eu-1=eu=https://eu.example:8446,us-1=us=https://us.example"


def test_an_address_has_three_parts() -> None:
    assert PerspectiveAddress.parse("eu-1=RIPE=https://[::1]:8446") == PerspectiveAddress(
        "eu-1", "RIPE", "https://[::1]:8446"
    )


@pytest.mark.parametrize(
    "text",
    ["", "eu-1", "eu-1=eu", "eu-1=eu=http://a.example", "eu-1=eu=https://a.example/path", "=eu=https://a.example",
     "eu-1==https://a.example", "EU=eu=https://a.example", "e_u=eu=https://a.example", "primary=eu=https://a.example",
     "eu-1=eu=https://user@a.example", "eu-1=eu=https://a.example?x", "eu-1=eu=https://"],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"name=region=|another name"):
        PerspectiveAddress.parse(text)


def refusal(tmp_path: Path, *overrides: tuple[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, None, {}, overrides)
    return str(caught.value)


def test_none_is_the_default_and_costs_no_file(tmp_path: Path) -> None:
    settings = load(tmp_path, None, {}, []).validation
    assert settings.perspectives == ()
    assert quorum_of(settings).of == 0


def test_two_perspectives_in_two_regions(tmp_path: Path) -> None:
    settings = load(tmp_path, None, {}, [("validation.perspectives", TWO), *FILES]).validation
    quorum = quorum_of(settings)
    assert (quorum.required, quorum.of, quorum.min_regions) == (1, 2, 2)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("perspective_key_file", "", "need each other"),
        ("perspective_quorum", "0", "at least 1"),
        ("perspective_quorum", "3", "at most 2"),
        ("perspective_quorum", "most", 'neither "auto"'),
        ("perspective_regions", "3", "number of regions among the perspectives is 2"),
        ("perspectives", f"{TWO},eu-1=ap=https://ap.example", "the same name is there twice: eu-1"),
        ("perspectives", f"{TWO},ap-1=ap=https://us.example", "the same url is there twice"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(tmp_path: Path, key: str, value: str, sentence: str) -> None:
    given = {"validation.perspectives": TWO, **dict(FILES), f"validation.{key}": value}
    assert sentence in refusal(tmp_path, *given.items())


def test_dnssec_needs_a_resolver_that_was_chosen(tmp_path: Path) -> None:
    assert "set resolver" in refusal(tmp_path, ("validation.dnssec", "required"))
    assert "one of" in refusal(tmp_path, ("validation.dnssec", "yes"))
    chosen = load(tmp_path, None, {}, [("validation.dnssec", "required"), ("validation.resolver", "127.0.0.1:53")])
    assert chosen.validation.dnssec == "required"
