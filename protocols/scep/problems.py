"""Problem -> failInfo and failInfoText (RFC 8894 section 3.2.1.4), or an HTTP status where no CertRep can be made."""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus

from policy.problems import Problem
from protocols.http import HTTPResponse

TEXT = "text/plain; charset=utf-8"
MAX_TEXT = 255
"""Characters of a failInfoText: clients print it into one line of a log."""


class FailInfo(IntEnum):
    """Why a request failed (RFC 8894 section 3.2.1.4)."""

    BAD_ALG = 0
    """Unrecognised or unsupported algorithm."""
    BAD_MESSAGE_CHECK = 1
    """The signature of the message does not fit."""
    BAD_REQUEST = 2
    """The transaction is not permitted or supported."""
    BAD_TIME = 3
    """The signing time was not close enough to the system's."""
    BAD_CERT_ID = 4
    """No certificate could be found for what was given."""


_F = FailInfo

FAIL_INFO: dict[str, FailInfo | HTTPStatus] = {
    "malformed": _F.BAD_REQUEST,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-media": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unauthenticated": _F.BAD_REQUEST,
    "account-unknown": _F.BAD_REQUEST,
    "forbidden": _F.BAD_REQUEST,
    "account-binding-required": _F.BAD_REQUEST,
    "agreement-required": _F.BAD_REQUEST,
    "approval-required": _F.BAD_REQUEST,
    "replayed": _F.BAD_REQUEST,
    "bad-time": _F.BAD_TIME,
    "bad-csr": _F.BAD_REQUEST,
    "bad-proof-of-possession": _F.BAD_MESSAGE_CHECK,
    "bad-public-key": _F.BAD_ALG,
    "bad-algorithm": _F.BAD_ALG,
    "rejected-identifier": _F.BAD_REQUEST,
    "unsupported-identifier": _F.BAD_REQUEST,
    "unknown-product": _F.BAD_REQUEST,
    "validation-failed": _F.BAD_REQUEST,
    "validation-dns": _F.BAD_REQUEST,
    "validation-connection": _F.BAD_REQUEST,
    "validation-tls": _F.BAD_REQUEST,
    "validation-caa": _F.BAD_REQUEST,
    "validation-incorrect-response": _F.BAD_REQUEST,
    "not-ready": _F.BAD_REQUEST,
    "conflict": _F.BAD_REQUEST,
    "already-replaced": _F.BAD_REQUEST,
    "unknown-certificate": _F.BAD_CERT_ID,
    "unknown-order": _F.BAD_CERT_ID,
    "already-revoked": _F.BAD_REQUEST,
    "bad-revocation-reason": _F.BAD_REQUEST,
    "rate-limited": _F.BAD_REQUEST,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Every kind of problem in SCEP's words. tests/protocols/scep/test_problems.py holds it complete."""

_RETRY_SECONDS = 30


def fail_info(problem: Problem) -> FailInfo | None:
    """The failInfo of a problem; None for one that no CertRep can say, because the server's part is missing."""
    found = FAIL_INFO.get(problem.kind)
    return found if isinstance(found, FailInfo) else None


def fail_text(problem: Problem) -> str:
    """The failInfoText (RFC 8894 section 3.2.1.4): the problem's sentence, which is safe to show."""
    text = "; ".join((problem.detail, *(one.detail for one in problem.subproblems)))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def say(problem: Problem) -> HTTPResponse:
    """A problem where there is no message to answer (RFC 8894 section 4.3): a status and a text."""
    found = FAIL_INFO.get(problem.kind, HTTPStatus.INTERNAL_SERVER_ERROR)
    status = found if isinstance(found, HTTPStatus) else HTTPStatus.BAD_REQUEST
    headers: tuple[tuple[str, str], ...] = ()
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = (("Retry-After", str(problem.retry_after or _RETRY_SECONDS)),)
    return HTTPResponse(status, f"{problem.detail}\n".encode("utf-8", "replace"), TEXT, headers)
