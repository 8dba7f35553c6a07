"""Every problem has its words in SCEP."""

from __future__ import annotations

import pytest

import policy.problems
from ca_core.problems import Malformed, Problem
from policy.problems import Forbidden, Unavailable
from protocols.scep.problems import FAIL_INFO, MAX_TEXT, FailInfo, fail_info, fail_text, say

KINDS = [
    kind
    for kind in vars(policy.problems).values()
    if isinstance(kind, type) and issubclass(kind, Problem) and kind is not Problem
]


def test_the_table_is_complete_and_has_nothing_else() -> None:
    """S22: a new kind of problem needs a row here."""
    assert set(FAIL_INFO) == {kind.kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_problem_is_said(kind: type[Problem]) -> None:
    """A failInfo with a text, or a status where no message can be answered; context stays inside."""
    problem = kind("what was wrong: ü", secret="hidden")
    info = fail_info(problem)
    assert info is None or info in FailInfo
    assert "hidden" not in fail_text(problem)
    answer = say(problem)
    assert answer.body == "what was wrong: ü\n".encode()
    ours = kind.kind in ("internal", "unavailable")
    assert (500 if ours else 400) <= answer.status < (600 if ours else 500)
    assert (info is None) is (answer.status not in (400,))


def test_our_own_trouble_is_no_failure_of_the_request() -> None:
    """A client that is told FAILURE gives up; 503 with a time brings it back."""
    answer = say(Unavailable("busy", retry_after=7))
    assert (fail_info(Unavailable("busy")), answer.status, answer.headers) == (None, 503, (("Retry-After", "7"),))


def test_a_long_text_is_cut() -> None:
    """Clients print it into one line of a log; several mistakes are one text."""
    both = Forbidden("two mistakes", subproblems=(Malformed("one"), Malformed("x" * 1000)))
    text = fail_text(both)
    assert text.startswith("two mistakes; one; xxx")
    assert len(text) == MAX_TEXT
