"""Problem -> HTTP status and text; for OCSP, an OCSP error response (RFC 6960 section 4.2.1)."""

from __future__ import annotations

from ca_core.ocsp import INTERNAL_ERROR, MALFORMED_REQUEST, TRY_LATER, UNAUTHORIZED
from policy.problems import Problem
from protocols.http import HTTPResponse

OCSP_RESPONSE = "application/ocsp-response"
TEXT = "text/plain; charset=utf-8"
NO_STORE = ("Cache-Control", "no-store")

STATUS = {
    "malformed": 400,
    "too-large": 413,
    "unsupported-media": 415,
    "unauthenticated": 403,
    "account-unknown": 403,
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
    "rejected-identifier": 400,
    "unsupported-identifier": 400,
    "unknown-product": 404,
    "validation-failed": 400,
    "validation-dns": 400,
    "validation-connection": 400,
    "validation-tls": 400,
    "validation-caa": 400,
    "validation-incorrect-response": 400,
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
"""Every kind of problem and its status, though this door asks nobody who he is and places no orders."""

# Responders answer with HTTP 200, as RFC 5019 section 6.2 has it for everything that is an OCSP response:
# clients look into the body only then. What the transport refuses stays the transport's.
_TRANSPORT = frozenset({"too-large", "unsupported-media"})
_OCSP = {
    "forbidden": UNAUTHORIZED,
    "rate-limited": TRY_LATER,
    "unavailable": TRY_LATER,
    "internal": INTERNAL_ERROR,
}
_RETRY_SECONDS = 30


def say(problem: Problem, *, ocsp: bool) -> HTTPResponse:
    """A problem as plain text, or as an OCSP error response where OCSP was asked."""
    status = STATUS.get(problem.kind, 500)
    if ocsp and problem.kind not in _TRANSPORT:
        der = _OCSP.get(problem.kind, MALFORMED_REQUEST)
        return HTTPResponse(200, der, OCSP_RESPONSE, (NO_STORE,))
    headers: tuple[tuple[str, str], ...] = (NO_STORE,)
    if status in (429, 503):
        headers += (("Retry-After", str(problem.retry_after or _RETRY_SECONDS)),)
    return HTTPResponse(status, f"{problem.detail}\n".encode("utf-8", "replace"), TEXT, headers)
