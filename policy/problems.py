"""The order-side kinds of Problem; re-exports those of ca_core, so that a door imports one module.

Problem (ca_core/problems.py)
├── Unauthenticated
│   └── AccountUnknown
├── Forbidden
│   ├── AccountBindingRequired
│   ├── AgreementRequired
│   └── ApprovalRequired
├── Replayed
├── BadTime
├── UnknownProduct
├── UnknownOrder
├── ValidationFailed
│   ├── ValidationDNS
│   ├── ValidationConnection
│   ├── ValidationTLS
│   ├── ValidationCAA
│   └── ValidationIncorrectResponse
├── NotReady
├── OrderConflict
│   └── AlreadyReplaced
└── RateLimited
"""

from __future__ import annotations

from ca_core.problems import (
    AlreadyRevoked,
    BadAlgorithm,
    BadCSR,
    BadProofOfPossession,
    BadPublicKey,
    BadRevocationReason,
    Internal,
    Malformed,
    Problem,
    RejectedIdentifier,
    TooLarge,
    Unavailable,
    UnknownCertificate,
    UnsupportedIdentifier,
    UnsupportedMedia,
)

__all__ = [
    "AccountBindingRequired",
    "AccountUnknown",
    "AgreementRequired",
    "AlreadyReplaced",
    "AlreadyRevoked",
    "ApprovalRequired",
    "BadAlgorithm",
    "BadCSR",
    "BadProofOfPossession",
    "BadPublicKey",
    "BadRevocationReason",
    "BadTime",
    "Forbidden",
    "Internal",
    "Malformed",
    "NotReady",
    "OrderConflict",
    "Problem",
    "RateLimited",
    "RejectedIdentifier",
    "Replayed",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownCertificate",
    "UnknownOrder",
    "UnknownProduct",
    "UnsupportedIdentifier",
    "UnsupportedMedia",
    "ValidationCAA",
    "ValidationConnection",
    "ValidationDNS",
    "ValidationFailed",
    "ValidationIncorrectResponse",
    "ValidationTLS",
    "kind_of",
]


class Unauthenticated(Problem):
    """The client did not prove who it is."""

    kind = "unauthenticated"
    title = "Authentication failed"


class AccountUnknown(Unauthenticated):
    """There is no such account."""

    kind = "account-unknown"
    title = "The account is not known"


class Forbidden(Problem):
    """The client is known, and may not do this."""

    kind = "forbidden"
    title = "This is not permitted"


class AccountBindingRequired(Forbidden):
    """A new account needs a credential of this server (RFC 8555 section 7.3.4)."""

    kind = "account-binding-required"
    title = "An external account binding is required"


class AgreementRequired(Forbidden):
    """The terms of service have to be agreed to first (RFC 8555 section 7.3.3)."""

    kind = "agreement-required"
    title = "The terms of service have to be agreed to"


class ApprovalRequired(Forbidden):
    """A person has to approve first; `order` in the context is the ticket under which that is noted."""

    kind = "approval-required"
    title = "A person has to approve this first"


class Replayed(Problem):
    """A nonce or message was used before, is unknown or has expired."""

    kind = "replayed"
    title = "The message was seen before or is too old"


class BadTime(Problem):
    """The time in the message, or the validity asked for, is not acceptable."""

    kind = "bad-time"
    title = "The time is not acceptable"


class UnknownProduct(Problem):
    """There is no such product for this credential."""

    kind = "unknown-product"
    title = "The product is not known"


class UnknownOrder(Problem):
    """There is no such order for this client."""

    kind = "unknown-order"
    title = "The order is not known"


class ValidationFailed(Problem):
    """Control of an identifier was not proven."""

    kind = "validation-failed"
    title = "Control of the identifier is not proven"


class ValidationDNS(ValidationFailed):
    """A DNS query needed for validation failed."""

    kind = "validation-dns"
    title = "The name server did not answer usefully"


class ValidationConnection(ValidationFailed):
    """The validation target could not be reached."""

    kind = "validation-connection"
    title = "The validation target could not be reached"


class ValidationTLS(ValidationFailed):
    """The TLS handshake with the validation target failed."""

    kind = "validation-tls"
    title = "The TLS handshake for validation failed"


class ValidationCAA(ValidationFailed):
    """CAA records forbid issuance (RFC 8659)."""

    kind = "validation-caa"
    title = "CAA records forbid issuance"


class ValidationIncorrectResponse(ValidationFailed):
    """The target answered, but not with what was expected."""

    kind = "validation-incorrect-response"
    title = "The answer to the challenge is not the expected one"


class NotReady(Problem):
    """The order is not in the state that this step needs."""

    kind = "not-ready"
    title = "The order is not ready for this step"


class OrderConflict(Problem):
    """The object changed meanwhile, or already exists."""

    kind = "conflict"
    title = "The request conflicts with what is there"


class AlreadyReplaced(OrderConflict):
    """The certificate named by `replaces` has a successor already (RFC 9773 section 5)."""

    kind = "already-replaced"
    title = "The certificate is replaced already"


class RateLimited(Problem):
    """Too many requests of this kind: `retry_after` says when to come back."""

    kind = "rate-limited"
    title = "Too many requests"


def _kinds(root: type[Problem]) -> dict[str, type[Problem]]:
    found = {root.kind: root}
    for kind in root.__subclasses__():
        found |= _kinds(kind)
    return found


def kind_of(kind: str) -> type[Problem]:
    """The class of a stored problem's kind; Internal for one that this version does not know."""
    return _kinds(Problem).get(kind, Internal)
