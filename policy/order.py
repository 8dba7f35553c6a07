"""The one order model behind every door: values, statuses and the table of allowed transitions.

Words are those of RFC 8555 section 7.1.3 where it has one, and of certificate services where it has none.
`advance()` is the only way to change a status; it refuses what is not in TRANSITIONS.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from ca_core.csr import CertificationRequest
from ca_core.names import Identifier, IdentifierType
from policy.dossier import Dossier
from policy.ids import AuthorizationId, CredentialId, OrderId
from policy.problems import Malformed, NotReady, Problem

__all__ = [
    "OPEN",
    "TERMINAL",
    "TRANSITIONS",
    "Authorization",
    "AuthorizationStatus",
    "Challenge",
    "ChallengeStatus",
    "Identifier",
    "IdentifierType",
    "NewOrder",
    "Order",
    "OrderEvent",
    "OrderKind",
    "OrderStatus",
    "Step",
    "StoredProblem",
    "advance",
    "amend",
    "challenge_of",
    "with_challenge",
]


class OrderStatus(StrEnum):
    """Where an order stands (docs/issuance.md draws this from TRANSITIONS)."""

    DRAFT = "draft"
    PENDING = "pending"
    READY = "ready"
    HELD = "held"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    CANCELLED = "cancelled"


class OrderEvent(StrEnum):
    """What happens to an order."""

    SUBMIT = "submit"
    """A draft is handed in."""
    AUTHORIZE = "authorize"
    """Nothing is owed any more: every identifier is proven."""
    FINALIZE = "finalize"
    """The request is judged and recorded; signing begins."""
    HOLD = "hold"
    """The rules want a person to decide."""
    GRANT = "grant"
    """A person agreed before there was a request: the client's next order may be issued."""
    APPROVE = "approve"
    """A person agreed; signing begins."""
    ISSUE = "issue"
    """The certificate was signed and recorded."""
    FAIL = "fail"
    """It will not be issued: a proof failed, a rule or person refused, time ran out, or signing failed."""
    CANCEL = "cancel"
    """The client withdrew it."""


_S, _E = OrderStatus, OrderEvent

TRANSITIONS: dict[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    (_S.DRAFT, _E.SUBMIT): _S.PENDING,
    (_S.DRAFT, _E.CANCEL): _S.CANCELLED,
    (_S.DRAFT, _E.FAIL): _S.INVALID,
    (_S.PENDING, _E.AUTHORIZE): _S.READY,
    (_S.PENDING, _E.FAIL): _S.INVALID,
    (_S.PENDING, _E.CANCEL): _S.CANCELLED,
    (_S.READY, _E.FINALIZE): _S.PROCESSING,
    (_S.READY, _E.HOLD): _S.HELD,
    (_S.READY, _E.FAIL): _S.INVALID,
    (_S.READY, _E.CANCEL): _S.CANCELLED,
    (_S.HELD, _E.APPROVE): _S.PROCESSING,
    (_S.HELD, _E.GRANT): _S.PENDING,
    (_S.HELD, _E.FAIL): _S.INVALID,
    (_S.HELD, _E.CANCEL): _S.CANCELLED,
    # Nothing leaves `processing` but the outcome of signing.
    (_S.PROCESSING, _E.ISSUE): _S.VALID,
    (_S.PROCESSING, _E.FAIL): _S.INVALID,
}

TERMINAL = frozenset({OrderStatus.VALID, OrderStatus.INVALID, OrderStatus.CANCELLED})
OPEN = frozenset(OrderStatus) - TERMINAL


TICKET_PREFIX = "ticket:"
"""How the references of orders begin that were opened as a question to a person."""


class OrderKind(StrEnum):
    """What the client wants: a first certificate, the same again, the same with a new key, or with other names."""

    ENROLL = "enroll"
    RENEW = "renew"
    REKEY = "rekey"
    CHANGE_NAMES = "change-names"


class StoredProblem(msgspec.Struct, frozen=True):
    """A Problem as it is kept with an order or challenge."""

    kind: str
    detail: str
    subproblems: tuple[StoredProblem, ...] = ()
    identifier: Identifier | None = None

    @classmethod
    def of(cls, problem: Problem) -> StoredProblem:
        """The storable part of a problem: what the client may see of it."""
        identifier = problem.context.get("identifier")
        return cls(
            problem.kind,
            problem.detail,
            tuple(cls.of(one) for one in problem.subproblems),
            identifier if isinstance(identifier, Identifier) else None,
        )


class Step(msgspec.Struct, frozen=True):
    """One line of an order's decision trace: which rule looked at what, and what it decided."""

    rule: str
    outcome: str
    detail: str


class NewOrder(msgspec.Struct, frozen=True):
    """What a door hands in.

    `product` is a product's name, or None for the one that the server selects (the credential's default). Without
    `identifiers` the names of the `request` count. `reference` is the client's own name for the transaction
    (SCEP transactionID, digest of EST identity and key, REST idempotency key): asking again with it gives the
    same order. `replaces` is the serial (hex) of the certificate that this one succeeds.
    """

    kind: OrderKind = OrderKind.ENROLL
    product: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    request: CertificationRequest | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    reference: str | None = None
    replaces: str | None = None
    predecessor: str | None = None
    """The serial (hex) of the certificate whose holder renews it here; it has to be valid when this one is signed."""
    ancestors: Mapping[Identifier, str] = msgspec.field(default_factory=dict)
    """The domain above an identifier whose control the client would rather prove (RFC 9444 section 4.1)."""
    preauthorized: bool = False
    """Whether authorizations that were made before any order count (RFC 8555 section 7.4.1)."""
    sealed_key: bytes | None = None
    """The private key that the server made for the request, sealed."""
    dossier: Dossier | None = None
    """Tags, wishes for later and an agreement that come with the order; what the product wants is added to it."""
    once: bool = False
    """Whether the reference may come once only: asking again with it is refused, and never gives the order again."""
    confirm_seconds: int | None = None
    """How long the client may take to accept the certificate, which counts for nothing before (RFC 9810 5.3.18)."""
    transaction: dict[str, Any] = {}
    """What the door keeps of the client's transaction, to know the messages that belong to it. JSON."""


class Order(msgspec.Struct, frozen=True):
    """One certificate wanted, from the first asking to the end.

    `csr` is the certification request as received; what it says is read from it again when a person approves.

    `owner` is who may see and finalize it: the ACME account, else the credential. `serial` (hex) and `issuer_id`
    are set with `valid`, in the transaction that writes the certificate. `trace` is the decision, kept for good.
    """

    id: OrderId
    owner: str
    credential: CredentialId
    requester: str
    mount: str
    product: str
    product_version: int
    kind: OrderKind
    status: OrderStatus
    identifiers: tuple[Identifier, ...]
    created: datetime
    updated: datetime
    expires: datetime
    version: int = 1
    account: str | None = None
    profile: str | None = None
    reference: str | None = None
    authorizations: tuple[AuthorizationId, ...] = ()
    csr: bytes | None = None
    key_type: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    replaces: str | None = None
    predecessor: str | None = None
    issuer_id: str | None = None
    serial: str | None = None
    problem: StoredProblem | None = None
    trace: tuple[Step, ...] = ()
    approved: str | None = None
    """Who agreed before there was a request; `None` where nobody had to, or the order was held with its request."""
    sealed_key: bytes | None = None
    """A private key that was made for the client and waits for it, sealed; erased when it leaves or the order ends."""
    confirm_seconds: int | None = None
    transaction: dict[str, Any] = {}
    dossier: Dossier | None = None
    """Documents, agreement, votes and wishes for later; None for most."""

    @property
    def complete(self) -> bool:
        """Whether neither documents nor an agreement are owed. Says nothing about proofs."""
        return self.dossier is None or self.dossier.complete

    @property
    def ticket(self) -> bool:
        """Whether this is, or began as, the question to a person whether the account may have these names."""
        return self.reference is not None and self.reference.startswith(TICKET_PREFIX)


def advance(order: Order, event: OrderEvent, at: datetime, **changes: Any) -> Order:
    """The order after this event, with the further changes that come with it.

    Raises NotReady when the table of transitions knows no such step: terminal states never change.
    """
    status = TRANSITIONS.get((order.status, event))
    if status is None:
        raise NotReady(f'the order is "{order.status}": "{event}" is not possible now', order=order.id)
    if status in (OrderStatus.INVALID, OrderStatus.CANCELLED):
        changes["sealed_key"] = None
    return replace(order, status=status, updated=at, version=order.version + 1, **changes)


def amend(order: Order, at: datetime, **changes: Any) -> Order:
    """The order with these changes and the status that it has. Raises NotReady for one that has ended."""
    if order.status in TERMINAL:
        raise NotReady(f'the order is "{order.status}": it does not change any more', order=order.id)
    return replace(order, **changes, updated=at, version=order.version + 1)


class AuthorizationStatus(StrEnum):
    """RFC 8555 section 7.1.6. Expiry is seen by the clock, and said as "expired"."""

    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ChallengeStatus(StrEnum):
    """RFC 8555 section 7.1.6."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class Challenge(msgspec.Struct, frozen=True):
    """One way to prove control of an identifier (RFC 8555 section 8)."""

    type: str
    token: str
    status: ChallengeStatus = ChallengeStatus.PENDING
    validated: datetime | None = None
    attempts: int = 0
    error: StoredProblem | None = None


class Authorization(msgspec.Struct, frozen=True):
    """Control of one identifier by one owner (RFC 8555 section 7.1.4). `identifier` is without "*."."""

    id: AuthorizationId
    owner: str
    mount: str
    identifier: Identifier
    wildcard: bool
    status: AuthorizationStatus
    created: datetime
    expires: datetime
    challenges: tuple[Challenge, ...]
    trusted: bool = False
    """The credential itself was the proof, by the product's word: no proof for anything else, and never reused."""
    product: str = ""
    """The product whose validation rules apply; a proof is reused for orders of the same product only."""
    version: int = 1
    caa_checked: datetime | None = None
    subdomains: bool = False
    """Whether it stands for every name below the identifier, too (RFC 9444)."""
    requested: bool = False
    """Whether it was made by itself, not for an order: such a proof serves every order while it lasts."""
    domain: str | None = None
    """The pre-validated domain of the group that is the proof."""

    def covers(self, identifier: Identifier) -> bool:
        """Whether this is about the identifier ("*." included), itself or as a name below."""
        if identifier.type is not self.identifier.type:
            return False
        if identifier.base == self.identifier.value and identifier.wildcard == self.wildcard:
            return True
        if not self.subdomains:
            return False
        return identifier.base == self.identifier.value or identifier.base.endswith("." + self.identifier.value)

    def at(self, now: datetime) -> AuthorizationStatus:
        """The status as it counts now: what has expired is neither pending nor valid any more."""
        if self.expires <= now and self.status in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
            return AuthorizationStatus.EXPIRED
        return self.status


def challenge_of(authorization: Authorization, method: str) -> Challenge:
    """The challenge of this method. Raises Malformed when the authorization has none."""
    for challenge in authorization.challenges:
        if challenge.type == method:
            return challenge
    raise Malformed(f'the authorization has no challenge of type "{method}"')


def with_challenge(authorization: Authorization, challenge: Challenge) -> Authorization:
    """The authorization with this challenge in the place of the one of the same method."""
    return replace(
        authorization,
        challenges=tuple(challenge if one.type == challenge.type else one for one in authorization.challenges),
    )
