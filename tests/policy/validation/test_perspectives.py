"""Whether perspectives agree: the quorum table, regions, and that no mixture of results slips through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.validation.perspectives import (
    PRIMARY,
    PerspectiveResult,
    Quorum,
    allowed_failures,
    decide,
    is_certain,
)

REGIONS = ("eu", "us", "ap")


def primary(success: bool = True) -> PerspectiveResult:
    return PerspectiveResult(PRIMARY, "", success, "" if success else "validation-dns")


def remotes(*successes: bool, regions: tuple[str, ...] = REGIONS) -> list[PerspectiveResult]:
    return [
        PerspectiveResult(f"p{number}", regions[number % len(regions)], success, "" if success else "validation-dns")
        for number, success in enumerate(successes)
    ]


@pytest.mark.parametrize(("count", "may_fail"), [(0, 0), (1, 0), (2, 1), (3, 1), (5, 1), (6, 2), (7, 2), (20, 2)])
def test_table_of_the_baseline_requirements(count: int, may_fail: int) -> None:
    """Baseline Requirements section 3.2.2.9: 2 to 5 remotes, one may fail; 6 and more, two."""
    assert allowed_failures(count) == may_fail
    quorum = Quorum.standard(count)
    assert (quorum.required, quorum.of, quorum.max_failures) == (count - may_fail, count, may_fail)


def test_stricter_than_the_table_is_possible_and_weaker_is_not() -> None:
    assert Quorum.standard(4, required=4).max_failures == 0
    for weaker in (2, 5, -1):
        with pytest.raises(ValueError, match="at least 3"):
            Quorum.standard(4, required=weaker)
    with pytest.raises(ValueError, match="no quorum"):
        Quorum(1, 4, 1)


def test_text_counts_the_remotes_that_corroborate() -> None:
    """Baseline Requirements section 5.4.1: "3/4" is three of four remote perspectives."""
    decision = decide(primary(), remotes(True, True, False, True), Quorum.standard(4))
    assert (decision.passed, decision.text, decision.reason) == (True, "3/4", "")
    record = decision.record()
    assert record["quorum"] == "3/4"
    assert [(one["perspective"], one["result"]) for one in record["perspectives"]] == [
        ("primary", "pass"), ("p0", "pass"), ("p1", "pass"), ("p2", "fail"), ("p3", "pass"),
    ]  # fmt: skip
    assert record["perspectives"][3]["problem"] == "validation-dns"


def test_without_perspectives_only_the_primary_counts() -> None:
    assert decide(primary(), [], Quorum.standard(0, 2)).passed
    assert not decide(primary(False), [], Quorum.standard(0, 2)).passed


def test_regions_are_counted_among_those_that_agree() -> None:
    """Section 3.2.2.9: those that corroborate lie in two regions, not those that were asked."""
    results = remotes(True, True, False, regions=("eu", "eu", "us"))
    assert decide(primary(), results, Quorum.standard(3)).passed
    decision = decide(primary(), results, Quorum.standard(3, 2))
    assert not decision.passed
    assert "2 regions" in decision.reason


def test_one_voice_is_never_two() -> None:
    twice = [PerspectiveResult("p0", "eu", True), PerspectiveResult("p0", "us", True)]
    with pytest.raises(ValueError, match="distinct"):
        decide(primary(), twice, Quorum.standard(2))
    with pytest.raises(ValueError, match="distinct"):
        decide(primary(), remotes(True, True, True), Quorum.standard(2))
    with pytest.raises(ValueError, match="distinct"):
        decide(primary(), [PerspectiveResult(PRIMARY, "eu", True)], Quorum.standard(1))


@st.composite
def situations(draw: st.DrawFn) -> tuple[PerspectiveResult, list[PerspectiveResult], Quorum]:
    count = draw(st.integers(0, 9))
    quorum = Quorum.standard(
        count, draw(st.integers(1, 3)), draw(st.none() | st.integers(count - allowed_failures(count), count))
    )
    said = draw(st.lists(st.booleans(), max_size=count))
    regions = draw(st.lists(st.sampled_from(REGIONS), min_size=1, max_size=9))
    return primary(draw(st.booleans())), remotes(*said, regions=tuple(regions)), quorum


@given(situations())
def test_what_passes_has_everything_that_is_asked_for(situation: Any) -> None:
    """A failed primary never passes, nor more failures than allowed; a silent perspective is a failed one."""
    here, others, quorum = situation
    decision = decide(here, others, quorum)
    failures = quorum.of - sum(one.success for one in others)
    if not here.success or failures > quorum.max_failures:
        assert not decision.passed
    if quorum.of and len({one.region for one in others if one.success}) < quorum.min_regions:
        assert not decision.passed
    if decision.passed:
        assert failures <= allowed_failures(quorum.of)
    assert decision.passed == (not decision.reason)


@given(situations(), st.data())
def test_a_certain_decision_does_not_change(situation: Any, data: st.DataObject) -> None:
    """Who does not wait for the rest decides as who does."""
    here, others, quorum = situation
    if not is_certain(here, others, quorum):
        return
    rest = [
        PerspectiveResult(f"late{number}", data.draw(st.sampled_from(REGIONS)), data.draw(st.booleans()))
        for number in range(quorum.of - len(others))
    ]
    assert decide(here, others, quorum).passed == decide(here, [*others, *rest], quorum).passed
