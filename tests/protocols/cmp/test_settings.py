"""Options of a mount, and what the door says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from policy.mount import Mount
from policy.problems import Internal, Malformed, TooLarge, Unavailable
from protocols.cmp import problems
from protocols.cmp.problems import PKIFailureInfo, Refusal, fail_info, status_string
from protocols.cmp.settings import Additional, MountOptions, Profile, read_options
from tests.protocols.cmp.maker import FAILURES


def mount(**options: Any) -> Mount:
    return Mount("cmp", "default", ("device",), "issuing", options=options)


def test_defaults_are_the_lightweight_profile() -> None:
    assert read_options(mount()) == MountOptions()
    assert MountOptions().profile is Profile.LIGHTWEIGHT


def test_options_are_read() -> None:
    told = {"profile": "rfc9810", "implicit_confirm": False, "additional": "never", "aliases": ["/pkix", "/a/b"]}
    options = read_options(mount(**told))
    assert options.profile is Profile.RFC9810
    assert options.additional is Additional.NEVER
    assert (options.implicit_confirm, options.aliases) == (False, ("/pkix", "/a/b"))


def test_all_mistakes_are_said_at_once() -> None:
    wrong: dict[str, Any] = {"profile": "x", "implicit_confirm": "yes", "aliases": ["pkix"], "nonsense": 1}
    with pytest.raises(ValueError, match="cmp/default") as told:
        read_options(mount(**wrong))
    for word in wrong:
        assert word in str(told.value)


@pytest.mark.parametrize("path", ["/.well-known/est", "pkix", "/a b", "/a//b", "", 7])
def test_aliases_are_paths(path: Any) -> None:
    with pytest.raises(ValueError, match="alias"):
        read_options(mount(aliases=[path]))


def test_bits_have_their_numbers() -> None:
    """RFC 9810 section 5.2.3, as another list has them."""
    for bit in PKIFailureInfo:
        assert FAILURES[bit] == bit.name


def test_a_refusal_says_its_own_bit() -> None:
    assert fail_info(Refusal(PKIFailureInfo.badPOP, "x")) is PKIFailureInfo.badPOP
    assert fail_info(Malformed("x")) is PKIFailureInfo.badDataFormat


def test_texts_are_for_people_and_short() -> None:
    """§7 attacker text: control characters never, and not without end."""
    problem = Malformed("a\r\nb\x1b[2J" + "x" * 5000, subproblems=(Malformed("more"),))
    text = status_string(problem)
    assert text.startswith("a??b?[2J")
    assert len(text) == 500


@pytest.mark.parametrize(
    ("problem", "status"), [(TooLarge("x"), 413), (Unavailable("x"), 503), (Internal("x"), 500), (Malformed("x"), 400)]
)
def test_faults_of_http_have_their_status(problem: Any, status: int) -> None:
    assert problems.say(problem, None).status == status
