"""Problem -> PKIFailureInfo (RFC 9810 section 5.2.3), and what this door itself refuses."""

from __future__ import annotations

from enum import IntEnum

from policy.problems import Problem
from protocols.http import HTTPResponse


class PKIStatus(IntEnum):
    """RFC 9810 section 5.2.3."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3


class PKIFailureInfo(IntEnum):
    """The bits of failInfo by their names in RFC 9810 section 5.2.3."""

    badAlg = 0
    badMessageCheck = 1
    badRequest = 2
    badTime = 3
    badCertId = 4
    badDataFormat = 5
    wrongAuthority = 6
    badPOP = 9
    certRevoked = 10
    certConfirmed = 11
    wrongIntegrity = 12
    badRecipientNonce = 13
    addInfoNotAvailable = 17
    badSenderNonce = 18
    badCertTemplate = 19
    signerNotTrusted = 20
    transactionIdInUse = 21
    unsupportedVersion = 22
    notAuthorized = 23
    systemUnavail = 24
    systemFailure = 25


class Refusal(Problem):
    """What this door refuses by itself, with the bit that says why."""

    kind = "malformed"
    title = "The message is refused"

    def __init__(self, fail: PKIFailureInfo, detail: str) -> None:
        super().__init__(detail, failInfo=fail.name)
        self.fail = fail


class HeaderRefusal(Refusal):
    """What is wrong with a header: said in an error, never in the body that answers the content."""


_F = PKIFailureInfo

FAIL_INFO: dict[str, PKIFailureInfo] = {
    "malformed": _F.badDataFormat,
    "too-large": _F.badDataFormat,
    "unsupported-media": _F.badDataFormat,
    "unauthenticated": _F.badMessageCheck,
    "account-unknown": _F.signerNotTrusted,
    "forbidden": _F.notAuthorized,
    "account-binding-required": _F.notAuthorized,
    "agreement-required": _F.notAuthorized,
    "approval-required": _F.notAuthorized,
    "replayed": _F.badSenderNonce,
    "bad-time": _F.badCertTemplate,  # the validity that was asked for; messageTime is a Refusal
    "bad-csr": _F.badCertTemplate,
    "bad-proof-of-possession": _F.badPOP,
    "bad-public-key": _F.badCertTemplate,
    "bad-algorithm": _F.badAlg,
    "rejected-identifier": _F.badCertTemplate,
    "unsupported-identifier": _F.badCertTemplate,
    "unknown-product": _F.badCertTemplate,
    "validation-failed": _F.badCertTemplate,
    "validation-dns": _F.badCertTemplate,
    "validation-connection": _F.badCertTemplate,
    "validation-tls": _F.badCertTemplate,
    "validation-caa": _F.badCertTemplate,
    "validation-incorrect-response": _F.badCertTemplate,
    "not-ready": _F.badRequest,
    "conflict": _F.transactionIdInUse,
    "already-replaced": _F.certRevoked,
    "unknown-certificate": _F.badCertId,
    "unknown-order": _F.badRequest,
    "already-revoked": _F.certRevoked,
    "bad-revocation-reason": _F.badRequest,
    "rate-limited": _F.systemUnavail,
    "unavailable": _F.systemUnavail,
    "internal": _F.systemFailure,
}
"""Every kind of problem and its bit. tests/architecture holds it complete; docs/protocols/cmp.md shows it."""

TEXT = "text/plain; charset=utf-8"
_MAX_TEXT = 500
"""Characters of a statusString: it may repeat what the client sent."""
_STATUS = {"too-large": 413, "unsupported-media": 415, "rate-limited": 503, "unavailable": 503, "internal": 500}


def fail_info(problem: Problem) -> PKIFailureInfo:
    """The bit that says what was wrong."""
    return problem.fail if isinstance(problem, Refusal) else FAIL_INFO.get(problem.kind, _F.systemFailure)


def status_string(problem: Problem) -> str:
    """What a person reads: no control characters, and no more than a few lines."""
    lines = [problem.detail, *(one.detail for one in problem.subproblems)]
    text = "; ".join(dict.fromkeys(lines))
    return "".join(one if one.isprintable() else "?" for one in text)[:_MAX_TEXT]


def say(problem: Problem, _: object) -> HTTPResponse:
    """A fault of HTTP, before there is a message that could be answered: status and text (RFC 9811 section 3.1)."""
    return HTTPResponse(_STATUS.get(problem.kind, 400), f"{status_string(problem)}\n".encode(), TEXT)
