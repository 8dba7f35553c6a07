"""Options of a SCEP mount."""

from __future__ import annotations

from typing import Any

import pytest

from policy.mount import Mount
from protocols.scep.settings import CREDENTIAL_FORM, Legacy, MountOptions, read_options


def mount(**options: Any) -> Mount:
    return Mount("scep", "default", ("device",), "issuing", options=options)


def test_defaults_are_strict() -> None:
    """S24: nothing old unless somebody says so."""
    assert read_options(mount()) == MountOptions()
    assert MountOptions().legacy == frozenset()


def test_what_can_be_said() -> None:
    options = read_options(
        mount(
            legacy=["sha1", "des3", "single-des"],
            credential="fleet",
            ra_only=True,
            include_root=False,
            next_issuer="next",
            renew_after=0.5,
            signing_time_seconds=60,
        )
    )
    assert options == MountOptions(frozenset(Legacy), "fleet", True, False, "next", 0.5, 60)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"legacy": "sha1"}, "legacy is a list"),
        ({"legacy": ["md5"]}, "legacy is a list"),
        ({"ra_only": 1}, "neither true nor false"),
        ({"renew_after": 1}, "part of a life"),
        ({"renew_after": True}, "part of a life"),
        ({"signing_time_seconds": -1}, "number of seconds"),
        ({"credential": 7}, "not a name"),
        ({"caps": []}, "not an option"),
    ],
)
def test_mistakes_are_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_options(mount(**options))


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ValueError, match=r"legacy.*; .*include_root"):
        read_options(mount(legacy=["rc2"], include_root="no"))


def test_the_form_offers_the_methods() -> None:
    """REST, CLI and console show what there is."""
    (method,) = [one for one in CREDENTIAL_FORM if one.name == "method"]
    assert method.type == "choice:password,one-time,certificate,manual"
