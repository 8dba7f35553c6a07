"""Every problem has its words in EST."""

from __future__ import annotations

import pytest

import policy.problems
from ca_core.problems import Malformed, Problem
from policy.problems import Forbidden, Internal, RateLimited, Unauthenticated
from protocols.est.problems import FAIL_INFO, STATUS, challenge, say
from tests.protocols.est.small import text_of

KINDS = [
    kind
    for kind in vars(policy.problems).values()
    if isinstance(kind, type) and issubclass(kind, Problem) and kind is not Problem
]

CHALLENGES = (challenge("EST"),)


def test_the_table_is_complete_and_has_nothing_else() -> None:
    """A new kind of problem needs a row here."""
    assert set(STATUS) == set(FAIL_INFO) == {kind.kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_problem_is_said_as_text(kind: type[Problem]) -> None:
    """RFC 8951 section 5: plain text; client faults are 4xx, ours 5xx; context stays inside."""
    answer = say(kind("what was wrong: ü", secret="hidden"), CHALLENGES)
    assert answer.content_type == "text/plain; charset=utf-8"
    assert text_of(answer) == "what was wrong: ü\n"
    ours = kind.kind in ("internal", "unavailable")
    assert (500 if ours else 400) <= answer.status < (600 if ours else 500)
    assert (answer.status == 401) is issubclass(kind, Unauthenticated)
    assert ("WWW-Authenticate" in dict(answer.headers)) is (answer.status == 401)
    assert ("Retry-After" in dict(answer.headers)) is (answer.status in (429, 503))


def test_a_problem_may_say_when_to_come_back() -> None:
    """Its own time wins."""
    assert dict(say(RateLimited("slow down", retry_after=3), CHALLENGES).headers) == {"Retry-After": "3"}


def test_a_kind_of_another_distribution_is_an_internal_one() -> None:
    """The table cannot know it; the client must not see more for that."""

    class Strange(Problem):
        """Of a plug-in."""

        kind = "strange"

    assert say(Strange("?"), CHALLENGES).status == say(Internal("?"), CHALLENGES).status == 500


def test_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    """Lone surrogates come out of badly encoded fields."""
    assert say(Malformed("\ud800"), CHALLENGES).status == say(Forbidden("x"), CHALLENGES).status - 3


def test_the_realm_is_the_configured_one() -> None:
    """RFC 7617 section 2."""
    answer = say(Unauthenticated("who?"), (challenge("Devices of Example"),))
    assert dict(answer.headers)["WWW-Authenticate"] == 'Basic realm="Devices of Example", charset="UTF-8"'
