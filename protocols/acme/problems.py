"""Problem -> ACME problem document (RFC 8555 section 6.7, RFC 9457): one table, complete by test.

Where the table of types has no word, the nearest registered one is said, with the status that fits: error
types that are not registered with IANA must not be put into ACME's namespace (RFC 8555 section 6.7). So a key
that belongs to another account is "malformed" with 409, as section 7.3.5 wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from ca_core.names import Identifier
from policy.order import StoredProblem
from policy.problems import Malformed, Problem

NAMESPACE = "urn:ietf:params:acme:error:"
CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Wire:
    """How a kind of problem is said: type (RFC 8555 section 9.7.4) and HTTP status."""

    type: str
    status: int


WIRE: dict[str, Wire] = {
    "malformed": Wire("malformed", 400),
    "too-large": Wire("malformed", 413),
    "unsupported-media": Wire("malformed", 415),
    # RFC 8555 sections 6.4 and 7.3.6. A challenge for HTTP authentication would mean nothing here, so none is
    # sent.
    "unauthenticated": Wire("unauthorized", 401),
    "forbidden": Wire("unauthorized", 403),
    "account-unknown": Wire("accountDoesNotExist", 400),
    "account-binding-required": Wire("externalAccountRequired", 403),
    "agreement-required": Wire("userActionRequired", 403),
    "approval-required": Wire("userActionRequired", 403),
    "replayed": Wire("badNonce", 400),
    "bad-time": Wire("malformed", 400),
    "bad-csr": Wire("badCSR", 400),
    "bad-proof-of-possession": Wire("badCSR", 400),
    "bad-public-key": Wire("badPublicKey", 400),
    "bad-algorithm": Wire("badSignatureAlgorithm", 400),
    "rejected-identifier": Wire("rejectedIdentifier", 403),
    "unsupported-identifier": Wire("unsupportedIdentifier", 400),
    "unknown-product": Wire("invalidProfile", 400),
    # The failures of a challenge stand in the challenge; their status is for what is refused on the spot.
    "validation-failed": Wire("unauthorized", 403),
    "validation-dns": Wire("dns", 400),
    "validation-connection": Wire("connection", 400),
    "validation-tls": Wire("tls", 400),
    "validation-caa": Wire("caa", 403),
    "validation-incorrect-response": Wire("incorrectResponse", 403),
    "not-ready": Wire("orderNotReady", 403),
    "conflict": Wire("malformed", 409),
    "already-replaced": Wire("alreadyReplaced", 409),  # RFC 9773 section 7.4
    "unknown-certificate": Wire("malformed", 404),
    "unknown-order": Wire("malformed", 404),
    "already-revoked": Wire("alreadyRevoked", 400),
    "bad-revocation-reason": Wire("badRevocationReason", 400),
    "rate-limited": Wire("rateLimited", 429),
    "unavailable": Wire("serverInternal", 503),
    "internal": Wire("serverInternal", 500),
}
"""Kind -> how it is said."""


class UnsupportedContact(Malformed):
    """A contact URL has a scheme that this server does not use (RFC 8555 section 7.3)."""

    wire: ClassVar[Wire] = Wire("unsupportedContact", 400)


class InvalidContact(Malformed):
    """A contact URL is not a plain mailto URL with one address (RFC 8555 section 7.3)."""

    wire: ClassVar[Wire] = Wire("invalidContact", 400)


class CompoundProblem(Malformed):
    """Several things are wrong, of different kinds: the subproblems say which (RFC 8555 section 6.7.1)."""

    wire: ClassVar[Wire] = Wire("compound", 400)


def wire_of(problem: Problem) -> Wire:
    """How this problem is said; a kind of another distribution is said as its nearest known ancestor."""
    own = getattr(problem, "wire", None)
    if isinstance(own, Wire):
        return own
    for kind in type(problem).__mro__:
        wire = WIRE.get(getattr(kind, "kind", ""))
        if wire is not None:
            return wire
    return WIRE["internal"]


def document(problem: Problem, *, status: int | None = None) -> dict[str, Any]:
    """The members of the problem document. Of `context` only what has a meaning for clients is shown."""
    wire = wire_of(problem)
    found: dict[str, Any] = {
        "type": NAMESPACE + wire.type,
        "detail": problem.detail,
        "status": status or wire.status,
    }
    if wire.type == "badSignatureAlgorithm":
        # RFC 8555 section 6.2: the client must learn what would be accepted.
        found["algorithms"] = list(problem.context.get("algorithms", ()))
    subproblems = [_subproblem(StoredProblem.of(one), one.context.get("identifier")) for one in problem.subproblems]
    if not subproblems and problem.context.get("identifier") is not None:
        subproblems = [_subproblem(StoredProblem.of(problem), problem.context["identifier"])]
    if subproblems:
        found["subproblems"] = subproblems
    return found


def stored_document(problem: StoredProblem) -> dict[str, Any]:
    """The document of a problem that is kept with an order or challenge."""
    wire = WIRE.get(problem.kind, WIRE["internal"])
    found: dict[str, Any] = {"type": NAMESPACE + wire.type, "detail": problem.detail, "status": wire.status}
    inner = problem.subproblems or ((problem,) if problem.identifier is not None else ())
    if inner:
        found["subproblems"] = [_subproblem(one, one.identifier) for one in inner]
    return found


def encode(found: dict[str, Any]) -> bytes:
    """A problem document as JSON. Text that is not well-formed Unicode (it may quote a client) is mended."""
    try:
        return msgspec.json.encode(found)
    except UnicodeEncodeError:
        mended = str(found["detail"]).encode(errors="replace").decode()
        return msgspec.json.encode({"type": found["type"], "detail": mended, "status": found["status"]})


def _subproblem(problem: StoredProblem, about: object) -> dict[str, Any]:
    """A subproblem (RFC 8555 section 6.7.1): only here an identifier may stand, never in the document around.

    There is no status in it, which belongs to the answer as a whole.
    """
    wire = WIRE.get(problem.kind, WIRE["internal"])
    found: dict[str, Any] = {"type": NAMESPACE + wire.type, "detail": problem.detail}
    if isinstance(about, Identifier):
        found["identifier"] = {"type": str(about.type), "value": about.value}
    elif isinstance(about, str):
        # An identifier of a type that is not ours comes as "type:value".
        kind, _, value = about.partition(":")
        found["identifier"] = {"type": kind, "value": value}
    return found
