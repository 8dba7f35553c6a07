"""The messages between coordinator and perspective: nothing gets lost, nothing odd gets in."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_core.names import Identifier, IdentifierType
from gateway.perspectives.wire import (
    BadAnswer,
    Said,
    plain,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from policy.problems import Malformed, Problem
from policy.validation import Attempt
from policy.validation.caa import CAAQuery
from policy.validation.perspectives import PerspectiveRequest
from tests.replacing import replace

ATTEMPT = Attempt(
    Identifier(IdentifierType.DNS, "a.example"), False, "http-01", "t" * 43, f"{'t' * 43}.{'k' * 43}", "https://ca/1"
)
CAA = CAAQuery("a.example", ("ca.example", "ca.test"), True, None, None)
BOTH = PerspectiveRequest(5.0, ATTEMPT, CAA)


@pytest.mark.parametrize(
    "request_",
    [BOTH, PerspectiveRequest(0.5, ATTEMPT), PerspectiveRequest(60.0, caa=CAA),
     PerspectiveRequest(1.0, replace(ATTEMPT, identifier=Identifier(IdentifierType.IP, "2001:db8::1")))],
)  # fmt: skip
def test_requests_arrive_as_they_were(request_: PerspectiveRequest) -> None:
    assert read_request(write_request(request_)) == request_


def changed(**members: Any) -> bytes:
    given = json.loads(write_request(BOTH))
    for path, value in members.items():
        *above, last = path.split("__")
        place = given
        for name in above:
            place = place[name]
        place[last] = value
    return json.dumps(given).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 20_000, b'{"deadline_seconds":1.0,"attempt":null,"caa":null}',
     changed(deadline_seconds=0), changed(deadline_seconds=61), changed(deadline_seconds="5"),
     changed(more=1), changed(attempt__more="x"), changed(attempt__identifier__value="A.example"),
     changed(attempt__identifier__value="*.example.com"), changed(attempt__identifier__value="a.example\r\nX: y"),
     changed(attempt__identifier__type="else"), changed(attempt__token="x\r\nHost: other"),
     changed(attempt__token="../../x"), changed(attempt__key_authorization="é"),
     changed(attempt__account_uri="a b"), changed(caa__domain="*.a.example"), changed(caa__domain=""),
     changed(caa__wildcard="yes"), changed(attempt__wildcard=None)],
)  # fmt: skip
def test_what_a_coordinator_would_not_send_is_refused(body: bytes) -> None:
    with pytest.raises(Problem):
        read_request(body)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_request_or_a_problem(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_request(body)


GOOD = Said("eu-1", True, evidence="127.0.0.1:80: HTTP 200")
BAD = Said("eu-1", False, "validation-caa", "no")


@pytest.mark.parametrize("said", [GOOD, BAD])
def test_answers_arrive_as_they_were(said: Said) -> None:
    assert read_answer(write_answer(said), "eu-1") == said


@pytest.mark.parametrize(
    "body",
    [b"", b"true", b"{}", b'{"success":true}', write_answer(replace(GOOD, perspective="us-1")),
     write_answer(replace(GOOD, evidence="")), write_answer(replace(GOOD, problem="validation-dns")),
     write_answer(replace(BAD, problem="")), write_answer(replace(BAD, problem="internal")),
     write_answer(replace(BAD, problem="made-up")), write_answer(GOOD)[:-1],
     write_answer(GOOD).replace(b"true", b"1"), write_answer(GOOD)[:-1] + b',"more":1}'],
)  # fmt: skip
def test_a_liar_that_says_it_badly_is_found_out(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(body, "eu-1")


@given(st.binary(max_size=300))
def test_any_bytes_give_an_answer_or_a_refusal(body: bytes) -> None:
    with contextlib.suppress(BadAnswer):
        read_answer(body, "eu-1")


def test_words_from_elsewhere_are_made_harmless() -> None:
    said = read_answer(write_answer(replace(BAD, detail="a\r\nb\x1b[2J\u202e" + "x" * 5000)), "eu-1")
    assert said.detail.startswith("a??b?[2J?x")
    assert len(said.detail) == 1001
    assert plain("plain") == "plain"
