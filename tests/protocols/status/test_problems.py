"""Every problem has its words at the status door, in HTTP and in OCSP."""

from __future__ import annotations

import pytest
from cryptography.x509 import ocsp

import policy.problems
from policy.problems import Problem, RateLimited
from protocols.status.problems import STATUS, say

KINDS = [
    kind
    for kind in vars(policy.problems).values()
    if isinstance(kind, type) and issubclass(kind, Problem) and kind is not Problem
]


def test_the_table_is_complete_and_has_nothing_else() -> None:
    """A new kind of problem needs a row here."""
    assert set(STATUS) == {kind.kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_problem_is_said_as_text(kind: type[Problem]) -> None:
    """Outside OCSP: a status and a text that nobody keeps. This door has no 401: it knows no credentials."""
    answer = say(kind("what was wrong", secret="hidden"), ocsp=False)
    assert answer.status != 401
    assert answer.body == b"what was wrong\n"
    assert ("Cache-Control", "no-store") in answer.headers


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_problem_is_an_ocsp_response(kind: type[Problem]) -> None:
    """RFC 6960 section 4.2.1: an error without responseBytes, which cryptography can read."""
    answer = say(kind("what was wrong"), ocsp=True)
    if kind.kind in ("too-large", "unsupported-media"):
        assert answer.status == STATUS[kind.kind]
        return
    assert answer.status == 200
    assert answer.content_type == "application/ocsp-response"
    assert isinstance(answer.body, bytes)
    status = ocsp.load_der_ocsp_response(answer.body).response_status
    expected = {
        "internal": ocsp.OCSPResponseStatus.INTERNAL_ERROR,
        "unavailable": ocsp.OCSPResponseStatus.TRY_LATER,
        "rate-limited": ocsp.OCSPResponseStatus.TRY_LATER,
        "forbidden": ocsp.OCSPResponseStatus.UNAUTHORIZED,
    }
    assert status is expected.get(kind.kind, ocsp.OCSPResponseStatus.MALFORMED_REQUEST)


def test_a_problem_may_say_when_to_come_back() -> None:
    """429 and 503 carry Retry-After."""
    assert ("Retry-After", "3") in say(RateLimited("slow down", retry_after=3), ocsp=False).headers
