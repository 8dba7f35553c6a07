"""Audit events, their tags, and the bytes of their Merkle leaves.

An event is written in the transaction of the change that it records, as a leaf of a Merkle tree (RFC 9162 section
2.1); its sequence number is given at commit. The same stream is the outbox: whoever is to be told of changes
follows it with a cursor (docs/decisions). A leased sealer signs checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class AuditTag(StrEnum):
    """source:subject:action of every event; docs/operations/audit.md says what each means."""

    ORDER_PLACED = "ra:order:placed"
    ORDER_DRAFTED = "ra:order:drafted"
    ORDER_CHANGED = "ra:order:changed"
    ORDER_REQUEST_KEPT = "ra:order:request-kept"
    ORDER_AGREED = "ra:order:agreed"
    ORDER_VOTED = "ra:order:voted"
    DOCUMENT_RECEIVED = "ra:document:received"
    DOCUMENT_ACCEPTED = "ra:document:accepted"
    DOCUMENT_REJECTED = "ra:document:rejected"
    ORDER_AUTHORIZED = "ra:order:authorized"
    ORDER_HELD = "ra:order:held"
    ORDER_APPROVED = "ra:order:approved"
    ORDER_PROCESSING = "ra:order:processing"
    ORDER_FAILED = "ra:order:failed"
    ORDER_CANCELLED = "ra:order:cancelled"
    CERTIFICATE_ISSUED = "ca:certificate:issued"
    CERTIFICATE_CONFIRMED = "ca:certificate:confirmed"
    CERTIFICATE_REVOKED = "ca:certificate:revoked"
    CERTIFICATE_HELD = "ca:certificate:held"
    CERTIFICATE_RELEASED = "ca:certificate:released"
    ISSUANCE_RESERVED = "ca:issuance:reserved"
    ISSUANCE_RESUMED = "ca:issuance:resumed"
    ISSUANCE_VOIDED = "ca:issuance:voided"
    CERTIFICATE_TAGGED = "ra:certificate:tagged"
    CRL_PUBLISHED = "ca:crl:published"
    KEY_DELIVERED = "ra:order:key-delivered"
    KEY_ERASED = "ra:order:key-erased"
    KEY_BLOCKED = "ca:key:blocked"
    CA_CREATED = "ca:authority:created"
    CA_CHAIN_ADDED = "ca:authority:chain-added"
    SERVICE_KEY_CREATED = "ca:service-key:created"
    AUTHORIZATION_CREATED = "ra:authorization:created"
    AUTHORIZATION_VALID = "ra:authorization:valid"
    AUTHORIZATION_INVALID = "ra:authorization:invalid"
    AUTHORIZATION_DEACTIVATED = "ra:authorization:deactivated"
    CHALLENGE_RETRIED = "ra:challenge:retried"
    CAA_CHECKED = "ra:caa:checked"
    ACCOUNT_REGISTERED = "ra:account:registered"
    ACCOUNT_UPDATED = "ra:account:updated"
    ACCOUNT_REKEYED = "ra:account:rekeyed"
    ACCOUNT_DEACTIVATED = "ra:account:deactivated"
    ACCOUNT_PAUSED = "ra:account:paused"
    ACCOUNT_SUSPENDED = "admin:account:suspended"
    ACCOUNT_RESUMED = "admin:account:resumed"
    ACCOUNT_REVOKED = "admin:account:revoked"
    ACCOUNT_UNPAUSED = "admin:account:unpaused"
    AUTHENTICATION_FAILED = "ra:authentication:failed"
    REQUEST_REFUSED = "ra:request:refused"
    CODE_CREATED = "admin:code:created"
    CREDENTIAL_CREATED = "admin:credential:created"
    CREDENTIAL_CHANGED = "admin:credential:changed"
    CREDENTIAL_ROTATED = "admin:credential:rotated"
    CREDENTIAL_SECRET_EXPIRING = "admin:credential:secret-expiring"  # noqa: S105 - the name of an event
    CREDENTIAL_SUSPENDED = "admin:credential:suspended"
    CREDENTIAL_RESUMED = "admin:credential:resumed"
    CREDENTIAL_REVOKED = "admin:credential:revoked"
    PRODUCT_APPLIED = "admin:product:applied"
    PRODUCT_STATE_CHANGED = "admin:product:state-changed"
    RENEWAL_DEMANDED = "admin:renewal:demanded"
    RENEWAL_WITHDRAWN = "admin:renewal:withdrawn"
    RENEWAL_BEGUN = "ra:renewal:begun"
    RENEWAL_WANTS_REQUEST = "ra:renewal:wants-request"
    RENEWAL_WAITS = "ra:renewal:waits"
    RENEWAL_FAILED = "ra:renewal:failed"
    RENEWAL_ESCALATED = "ra:renewal:escalated"
    BLOCK_MADE = "admin:block:made"
    BLOCK_LIFTED = "admin:block:lifted"
    BULK_BEGUN = "admin:bulk:begun"
    BULK_ENDED = "admin:bulk:ended"
    DOMAIN_ADDED = "admin:domain:added"
    DOMAIN_REMOVED = "admin:domain:removed"
    DOMAIN_CHANGED = "admin:domain:changed"
    DOMAIN_DEACTIVATED = "admin:domain:deactivated"
    DOMAIN_CHALLENGED = "ra:domain:challenged"
    DOMAIN_VALIDATED = "ra:domain:validated"
    DOMAIN_FAILED = "ra:domain:failed"
    MOUNT_APPLIED = "admin:mount:applied"
    USER_APPLIED = "admin:user:applied"
    USER_DEACTIVATED = "admin:user:deactivated"
    USER_REACTIVATED = "admin:user:reactivated"
    GROUP_APPLIED = "admin:group:applied"
    GROUP_ARCHIVED = "admin:group:archived"
    GROUP_RESTORED = "admin:group:restored"
    ROLE_APPLIED = "admin:role:applied"
    ROLE_DEACTIVATED = "admin:role:deactivated"
    ROLE_REACTIVATED = "admin:role:reactivated"
    ORGANISATION_APPLIED = "admin:organisation:applied"
    ORGANISATION_VALIDATED = "admin:organisation:validated"
    ORGANISATION_AGREED = "admin:organisation:agreed"
    ORGANISATION_DEACTIVATED = "admin:organisation:deactivated"
    ORGANISATION_REACTIVATED = "admin:organisation:reactivated"
    SERVER_STARTED = "server:process:started"
    SERVER_STOPPED = "server:process:stopped"


class AuditEvent(msgspec.Struct, frozen=True):
    """What happened. `actor` and `object` are "kind:id"; `detail` holds no secret and no whole request."""

    tag: AuditTag
    at: datetime
    actor: str
    object: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


_encode = msgspec.json.Encoder(order="sorted").encode


def leaf(event: AuditEvent) -> bytes:
    """The event as canonical JSON: members sorted, no white space, UTF-8. What is stored and hashed."""
    return _encode(event)


def read_leaf(data: bytes) -> AuditEvent:
    """The event of a leaf. Raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(data, type=AuditEvent)


# --------------------------------------------------------------------------- RFC 9162 section 2.1


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A Merkle tree of `size` leaves by the roots of its perfect subtrees, largest first: enough to go on from."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The tree with these leaves appended."""
        size, roots = self.size, list(self.roots)
        for one in leaves:
            node, level = leaf_hash(one), size
            while level & 1:
                node = node_hash(roots.pop(), node)
                level >>= 1
            roots.append(node)
            size += 1
        return Frontier(size, tuple(roots))

    def root(self) -> bytes:
        """The Merkle tree hash; SHA-256 of nothing for the empty tree."""
        if not self.roots:
            return hashlib.sha256(b"").digest()
        node = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            node = node_hash(left, node)
        return node


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of the tree: size, root, moment, and the signature over `note(…)`."""

    size: int
    root: bytes
    roots: tuple[bytes, ...]
    at: datetime
    key_id: str
    signature: bytes


def note(origin: str, frontier: Frontier, at: datetime) -> bytes:
    """What a checkpoint signs: origin, size, root in hex and time, a line each (after C2SP tlog-checkpoint)."""
    return f"{origin}\n{frontier.size}\n{frontier.root().hex()}\n{at.isoformat()}\n".encode()


def same_prefix(leaves: Sequence[bytes], checkpoint: Checkpoint) -> bool:
    """Whether these leaves, from the first one on, have the root that the checkpoint states."""
    return Frontier().extend(leaves[: checkpoint.size]).root() == checkpoint.root
