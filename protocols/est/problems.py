"""Problem -> HTTP status and text (RFC 7030 section 4.2.3, RFC 8951 section 5)."""

from __future__ import annotations

from policy.problems import Problem
from protocols.cmc import FailInfo
from protocols.http import HTTPResponse

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
    "replayed": 409,
    "bad-time": 400,
    "bad-csr": 400,
    "bad-proof-of-possession": 400,
    "bad-public-key": 400,
    "bad-algorithm": 400,
    "rejected-identifier": 403,
    "unsupported-identifier": 403,
    "unknown-product": 404,
    "validation-failed": 403,
    "validation-dns": 403,
    "validation-connection": 403,
    "validation-tls": 403,
    "validation-caa": 403,
    "validation-incorrect-response": 403,
    "not-ready": 409,
    "conflict": 409,
    "already-replaced": 409,
    "unknown-certificate": 404,
    "unknown-order": 404,
    "already-revoked": 409,
    "bad-revocation-reason": 400,
    "rate-limited": 429,
    "unavailable": 503,
    "internal": 500,
}
"""Every kind of problem and its status. tests/protocols/est/test_problems.py holds it complete."""

FAIL_INFO = {
    "malformed": FailInfo.BAD_REQUEST,
    "too-large": FailInfo.BAD_REQUEST,
    "unsupported-media": FailInfo.BAD_REQUEST,
    "unauthenticated": FailInfo.BAD_IDENTITY,
    "account-unknown": FailInfo.BAD_IDENTITY,
    "bad-time": FailInfo.BAD_TIME,
    "bad-proof-of-possession": FailInfo.POP_FAILED,
    "bad-algorithm": FailInfo.BAD_ALG,
    "unknown-certificate": FailInfo.BAD_CERT_ID,
    "already-revoked": FailInfo.BAD_CERT_ID,
    "rate-limited": FailInfo.TRY_LATER,
    "unavailable": FailInfo.TRY_LATER,
    "internal": FailInfo.INTERNAL_CA_ERROR,
}
FAIL_INFO |= {kind: FailInfo.BAD_REQUEST for kind in STATUS if kind not in FAIL_INFO}
"""Every kind of problem and its CMCFailInfo in answers of fullcmc; what is not listed is a bad request."""

TEXT = "text/plain; charset=utf-8"
_RETRY_SECONDS = 30
"""Retry-After of 429 and 503 where the problem names none: no hammering, yet short for a booting device."""


def say(problem: Problem, challenges: tuple[tuple[str, str], ...]) -> HTTPResponse:
    """A problem as plain text for the person who reads the device's log (RFC 8951 section 5).

    `challenges` are the WWW-Authenticate fields of a 401.
    """
    status = STATUS.get(problem.kind, 500)
    headers = challenges if status == 401 else retry_after(problem)
    lines = [problem.detail, *(f"- {one.detail}" for one in problem.subproblems)]
    return HTTPResponse(status, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"), TEXT, headers)


def retry_after(problem: Problem) -> tuple[tuple[str, str], ...]:
    """The field that says when to come back, where there is something to say."""
    if problem.retry_after is None and STATUS.get(problem.kind) not in (429, 503):
        return ()
    return (("Retry-After", str(problem.retry_after or _RETRY_SECONDS)),)


def challenge(realm: str) -> tuple[str, str]:
    """The WWW-Authenticate field that asks for Basic with UTF-8 (RFC 7617 section 2.1)."""
    return ("WWW-Authenticate", f'Basic realm="{realm}", charset="UTF-8"')


def not_offered(operation: str) -> HTTPResponse:
    """501: an optional operation that this mount does not have (RFC 7030 sections 4.3.1 and 4.4.1)."""
    return HTTPResponse(501, f"{operation} is not offered by this server.\n".encode(), TEXT)
