"""Problem -> problem details (RFC 9457): stable codes, and which field was wrong, by JSON pointer (RFC 6901)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from policy.access import UnknownObject
from policy.jose import ALGORITHMS
from policy.problems import Malformed, OrderConflict, Problem
from protocols.http import HTTPRequest, HTTPResponse

STATUS = {
    "malformed": 400,
    "too-large": 413,
    "unsupported-media": 415,
    "unauthenticated": 401,
    "account-unknown": 401,
    "forbidden": 403,
    "account-binding-required": 403,
    "agreement-required": 403,
    "approval-required": 403,
    "replayed": 422,
    "bad-time": 422,
    "bad-csr": 422,
    "bad-proof-of-possession": 422,
    "bad-public-key": 422,
    "bad-algorithm": 422,
    "rejected-identifier": 422,
    "unsupported-identifier": 422,
    "unknown-product": 422,
    "validation-failed": 422,
    "validation-dns": 422,
    "validation-connection": 422,
    "validation-tls": 422,
    "validation-caa": 422,
    "validation-incorrect-response": 422,
    "not-ready": 409,
    "conflict": 409,
    "already-replaced": 409,
    "unknown-certificate": 404,
    "unknown-order": 404,
    "already-revoked": 409,
    "bad-revocation-reason": 422,
    "rate-limited": 429,
    "unavailable": 503,
    "internal": 500,
}
"""Every kind of problem and its status. tests/architecture/test_modules.py holds it complete."""

# What HTTP itself refuses, before a resource is asked: these have a code of their own.
HTTP_CODES = {404: "not-found", 405: "method-not-allowed", 408: "too-slow"}
TYPE = "application/problem+json"
TYPE_URI = "urn:certgate:problem:"
_RETRY_SECONDS = 30

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake in a request: where, against which rule, in a sentence, and the nearest value that is allowed.

    `pointer` is a JSON pointer into the body, or "?name" for a parameter of the query.
    """

    pointer: str
    rule: str
    detail: str
    nearest: Any = None


class Invalid(Malformed):
    """A request whose fields are wrong; says which."""

    title = "The request has fields that cannot be accepted"
    code: ClassVar[str] = "invalid"
    status: ClassVar[int] = 422

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{one.pointer or 'the body'}: {one.detail}" for one in errors))
        self.errors = errors


class NotAcceptable(Malformed):
    """None of the media types that the client accepts can be given."""

    title = "No acceptable media type"
    code: ClassVar[str] = "not-acceptable"
    status: ClassVar[int] = 406


class PreconditionFailed(OrderConflict):
    """The object is not (any more) the one that If-Match names."""

    title = "The object was changed meanwhile"
    code: ClassVar[str] = "precondition-failed"
    status: ClassVar[int] = 412


def code_of(problem: Problem) -> tuple[int, str]:
    """The status and the stable code of a problem."""
    refused = problem.context.get("status")
    if isinstance(refused, int):
        return refused, HTTP_CODES.get(refused, problem.kind)
    if isinstance(problem, UnknownObject):
        return 404, HTTP_CODES[404]
    if isinstance(problem, Invalid | NotAcceptable | PreconditionFailed):
        return problem.status, problem.code
    return STATUS.get(problem.kind, 500), problem.kind


def say(problem: Problem, request: HTTPRequest) -> HTTPResponse:
    """A problem as RFC 9457 has it; `instance` is the request, under which the operator finds more."""
    status, code = code_of(problem)
    said: dict[str, Any] = {
        "type": f"{TYPE_URI}{code}",
        "title": problem.title,
        "status": status,
        "detail": problem.detail,
        "code": code,
        "instance": f"urn:certgate:request:{request.request_id}",
    }
    errors = _errors(problem)
    if errors:
        said["errors"] = errors
    headers: list[tuple[str, str]] = [("Cache-Control", "no-store")]
    if status == 401:
        error = ', error="invalid_token"' if "authorization" in request.headers else ""
        headers.append(("WWW-Authenticate", f'Bearer realm="certgate"{error}'))
        headers.append(("WWW-Authenticate", f'DPoP realm="certgate", algs="{" ".join(ALGORITHMS)}"{error}'))
    if problem.retry_after is not None or status in (429, 503):
        headers.append(("Retry-After", str(problem.retry_after or _RETRY_SECONDS)))
    return HTTPResponse(status, _encode(said), TYPE, tuple(headers))


def _errors(problem: Problem) -> list[dict[str, Any]]:
    if isinstance(problem, Invalid):
        return [_error(one.pointer, one.rule, one.detail, one.nearest) for one in problem.errors]
    pointer = problem.context.get("pointer")
    if problem.subproblems:
        return [
            _error(one.context.get("pointer", pointer), one.kind, one.detail, one.context.get("nearest"))
            for one in problem.subproblems
        ]
    if pointer is None:
        return []
    return [_error(pointer, problem.kind, problem.detail, problem.context.get("nearest"))]


def _error(pointer: str | None, rule: str, detail: str, nearest: Any) -> dict[str, Any]:
    error: dict[str, Any] = {"rule": rule, "detail": detail}
    if pointer is not None:
        error = {"pointer": pointer, **error}
    if nearest is not None:
        error["nearest"] = nearest
    return error
