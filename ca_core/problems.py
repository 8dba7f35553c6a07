"""Problem, the root of every error that a client may see, and the kinds that the signing core raises.

    Problem
    ├── Malformed
    │   ├── TooLarge
    │   └── UnsupportedMedia
    ├── BadCSR
    │   └── BadProofOfPossession
    ├── BadPublicKey
    ├── BadAlgorithm
    ├── RejectedIdentifier
    ├── UnsupportedIdentifier
    ├── UnknownCertificate
    ├── AlreadyRevoked
    ├── BadRevocationReason
    ├── Unavailable
    └── Internal
    (order-side kinds: policy/problems.py)

`kind` is the stable slug that audit, REST and the tables in protocols/*/problems.py use. `detail` is written for
the client and is safe to show; `context` goes to the log only. A library's exception never becomes `detail`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Problem(Exception):
    """Something that the client can be told about."""

    kind: ClassVar[str] = "internal"
    title: ClassVar[str] = "The request could not be served"

    def __init__(
        self,
        detail: str,
        *,
        retry_after: int | None = None,
        subproblems: tuple[Problem, ...] = (),
        **context: Any,
    ) -> None:
        """`retry_after` in seconds; `subproblems` one per mistake; everything in `context` stays out of answers.

        Some context keys have a meaning for doors that can say more: `identifier` (the names.Identifier that a
        subproblem is about), `algorithms` (those that would be accepted), `pointer` (a JSON pointer), `nearest` (the
        nearest value that would be accepted) and `status` (the HTTP status, where HTTP itself refused).
        """
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.subproblems = subproblems
        self.context = context


class Malformed(Problem):
    """The request cannot be understood."""

    kind = "malformed"
    title = "The request cannot be understood"


class TooLarge(Malformed):
    """The request, or a part of it, is larger than this server reads."""

    kind = "too-large"
    title = "The request is too large"


class UnsupportedMedia(Malformed):
    """The body has a content type that this resource does not take."""

    kind = "unsupported-media"
    title = "The content type is not supported"


class BadCSR(Problem):
    """The certification request cannot be used."""

    kind = "bad-csr"
    title = "The certification request cannot be used"


class BadProofOfPossession(BadCSR):
    """The request does not prove that its sender holds the private key."""

    kind = "bad-proof-of-possession"
    title = "Possession of the private key is not proven"


class BadPublicKey(Problem):
    """The public key is of a kind, size or quality that is not accepted."""

    kind = "bad-public-key"
    title = "The public key is not accepted"


class BadAlgorithm(Problem):
    """A signature, digest or encryption algorithm is not accepted; context `algorithms` lists those that are."""

    kind = "bad-algorithm"
    title = "The algorithm is not accepted"


class RejectedIdentifier(Problem):
    """No certificate will be issued for this identifier; context `identifier` names it."""

    kind = "rejected-identifier"
    title = "The identifier is refused"


class UnsupportedIdentifier(Problem):
    """An identifier is of a type that is not supported; context `identifier` names it."""

    kind = "unsupported-identifier"
    title = "The identifier's type is not supported"


class UnknownCertificate(Problem):
    """There is no such certificate here."""

    kind = "unknown-certificate"
    title = "The certificate is not known"


class AlreadyRevoked(Problem):
    """The certificate is revoked already."""

    kind = "already-revoked"
    title = "The certificate is revoked already"


class BadRevocationReason(Problem):
    """The reason given for revocation is not allowed."""

    kind = "bad-revocation-reason"
    title = "The revocation reason is not allowed"


class Unavailable(Problem):
    """A part that is needed does not answer now: try again later."""

    kind = "unavailable"
    title = "The service is unavailable for the moment"


class Internal(Problem):
    """Something failed in here that is not the client's fault."""

    kind = "internal"
    title = "Something went wrong in the server"
