"""What coordinator and perspective say to each other: JSON in one POST, read strictly on both sides. Pure.

The request is a policy.validation.perspectives.PerspectiveRequest member by member, so that what a new method
needs of an Attempt travels by itself; a perspective that does not know a member refuses the request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from ca_core.names import read_identifier
from policy.problems import Malformed, Problem, ValidationFailed, kind_of
from policy.validation import Attempt
from policy.validation.caa import CAAQuery
from policy.validation.perspectives import PerspectiveRequest

PATH = "/mpic/v1/validate"
CONTENT_TYPE = "application/json"
MAX_REQUEST_BYTES = 16 * 1024
"""A request has one name, one key authorization, one account URI and the few names of a CA."""
MAX_ANSWER_BYTES = 8 * 1024
MAX_TEXT_CHARACTERS = 1000
"""How much of a perspective's words is kept: they go into the audit log and, when it refuses, to clients."""
MAX_DEADLINE_SECONDS = 60.0

_TOKEN = re.compile(r"[A-Za-z0-9_-]{0,128}", re.ASCII)
_KEY_AUTHORIZATION = re.compile(r"[A-Za-z0-9_.-]{0,300}", re.ASCII)
_VISIBLE = re.compile(r"[!-~]{0,2048}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Said:
    """What a perspective answers: its own name, and what it found."""

    perspective: str
    success: bool
    problem: str = ""
    detail: str = ""
    evidence: str = ""


class BadAnswer(ValueError):
    """What came is not the answer of a perspective; the text says why, as the end of a sentence."""


def write_request(request: PerspectiveRequest) -> bytes:
    """The body of the POST."""
    return msgspec.json.encode(request)


def read_request(body: bytes) -> PerspectiveRequest:
    """Read what a coordinator asks. Raises Malformed for all that our own coordinator would not send.

    The coordinator is authenticated, and its request still becomes part of HTTP requests and DNS questions.
    """
    try:
        given = msgspec.json.decode(body)
        request = msgspec.convert(given, PerspectiveRequest, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Malformed("the request is not one for a perspective", reason=str(exc)) from exc
    if _plain(request) != given:
        raise Malformed("the request has members that this perspective does not know; is it of another version?")
    if request.attempt is None and request.caa is None:
        raise Malformed("the request asks for nothing")
    if not 0 < request.deadline_seconds <= MAX_DEADLINE_SECONDS:
        raise Malformed(f"deadline_seconds is not between 0 and {MAX_DEADLINE_SECONDS:g}")
    if request.attempt is not None:
        _check_attempt(request.attempt)
    if request.caa is not None:
        _check_caa(request.caa)
    return request


def _check_attempt(attempt: Attempt) -> None:
    identifier = attempt.identifier
    if identifier.wildcard or read_identifier(identifier.type, identifier.value, strict=True) != identifier:
        raise Malformed("the identifier is not in its normal form")
    if not _TOKEN.fullmatch(attempt.token) or not _KEY_AUTHORIZATION.fullmatch(attempt.key_authorization):
        raise Malformed("the token or the key authorization has characters that it cannot have")
    if not _VISIBLE.fullmatch(attempt.account_uri):
        raise Malformed("the account URI is none")


def _check_caa(query: CAAQuery) -> None:
    if read_identifier("dns", query.domain, strict=True).value != query.domain or query.domain.startswith("*."):
        raise Malformed("the domain is not in its normal form")


def write_answer(said: Said) -> bytes:
    """The body of the answer."""
    return msgspec.json.encode(said)


def read_answer(body: bytes, perspective: str) -> Said:
    """Read the answer of this perspective. Raises BadAnswer for anything but a whole and sensible one."""
    try:
        given = msgspec.json.decode(body)
        said = msgspec.convert(given, Said, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadAnswer("is not the JSON of a perspective") from exc
    if _plain(said) != given:
        raise BadAnswer("has members that are not known here; is it of another version?")
    if said.perspective != perspective:
        # Two names that lead to one process would make one voice two.
        raise BadAnswer(f'comes from a perspective that calls itself "{plain(said.perspective, 64)}"')
    if said.success == bool(said.problem) or (said.success and not said.evidence):
        raise BadAnswer("says success and failure at once, or neither")
    if not said.success and not issubclass(kind_of(said.problem), ValidationFailed):
        raise BadAnswer("has a problem that validation does not have")
    return Said(said.perspective, said.success, said.problem, plain(said.detail), plain(said.evidence))


def _plain(value: object) -> Any:
    """What JSON makes of it. Equal to what was read when that had all members, and no others."""
    return msgspec.json.decode(msgspec.json.encode(value))


def write_problem(problem: Problem) -> bytes:
    """The body where a request is refused."""
    return msgspec.json.encode({"problem": problem.kind, "detail": problem.detail})


def plain(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """A text from elsewhere, fit for a log and a sentence: visible ASCII, not too much of it."""
    shown = "".join(char if " " <= char <= "~" else "?" for char in text[:limit])
    return shown if len(text) <= limit else shown + "…"
