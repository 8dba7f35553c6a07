"""Stored values that are the store's own: certificates and their states, service keys, CAs, jobs, audit rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from ca_core.clock import epoch_seconds
from ca_core.issuance import IssuedCertificate
from ca_core.ledger import serial_hex
from ca_core.names import Identifier, Subject
from ca_core.status import CertificateState, RevocationReason
from policy.ids import CredentialId
from policy.order import Order
from policy.sealing import fingerprint

SERVICE = CredentialId("service")
"""Owner and credential of what the service issues to itself."""


class StoredCertificate(msgspec.Struct, frozen=True):
    """A certificate as it was issued; what became of it is a `CertificateStatus`."""

    serial: str
    issuer_id: str
    issuer: str
    order: str
    owner: str
    credential: CredentialId
    mount: str
    product: str
    subject: Subject
    names: tuple[Identifier, ...]
    not_before: datetime
    not_after: datetime
    key_type: str
    spki_sha256: str
    sha256: str
    profile: str
    profile_version: int
    shard: int
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """The current state of a certificate: the newest of its events."""

    issuer_id: str
    serial: str
    state: CertificateState
    reason: RevocationReason | None
    at: datetime
    invalidity_date: datetime | None
    not_after: datetime


@dataclass(frozen=True, slots=True)
class PastKey:
    """A service key that was replaced, and that clients may still encrypt to until its certificate expires."""

    label: str
    certificate: bytes
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key that the service itself uses: purpose ("tls", "ocsp"), for which issuer, its label in the key store."""

    purpose: str
    issuer: str
    label: str
    certificate: bytes
    chain: tuple[bytes, ...]
    not_after: datetime
    created: datetime
    names: tuple[Identifier, ...] = ()
    version: int = 1
    past: tuple[PastKey, ...] = ()


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """A challenge that lets one certificate be enrolled: kept by its peppered hash (hex), as it was made.

    `names` are those that the certificate must have, no more and no less; empty for whatever the product grants.
    """

    hash: str
    credential: str
    created: datetime
    expires: datetime
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredAuthority:
    """A CA of ours: its certificate, those above it, the label of its key, its number of CRL shards (for good)."""

    name: str
    label: str
    certificate: bytes
    intermediates: tuple[bytes, ...]
    root: bytes
    shards: int
    created: datetime
    transcript: dict[str, str]
    alternates: tuple[tuple[bytes, ...], ...] = ()
    """Other chains from this CA up, without roots; each begins with its certificate, or with another one of its key."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Pause:
    """A name that an account may not order for now: its validation failed again and again. `identifier` is a base."""

    owner: str
    identifier: Identifier
    at: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Demand:
    """Certificates that have to be renewed before their time (RFC 9773 section 4.2).

    `object` is "certificate:<serial>", or "product:<name>" for all of a product that were there at `at`.
    """

    object: str
    at: datetime
    why: str
    actor: str
    explanation_url: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """What must not be issued (again). `subject` is one of the texts of policy.blocking ("identity:dns:a.example")."""

    id: str
    subject: str
    why: str
    actor: str
    at: datetime
    until: datetime | None = None
    certificate: str | None = None
    """The serial of the certificate with whose revocation it was made."""
    active: bool = True
    lifted: datetime | None = None
    lifted_by: str | None = None
    version: int = 1

    def said(self, now: datetime) -> str:
        """Whether it counts: "active", "lifted" or "expired"."""
        if not self.active:
            return "lifted"
        return "expired" if self.until is not None and self.until <= now else "active"


@dataclass(frozen=True, slots=True)
class CertificateFilter:
    """Which certificates: every field that is said has to fit. Moments are compared with the end of validity.

    `groups` are names, empty for any; `user` is whose credential made it. `name` is one name, with a "." in front all
    names below it as well; `text` is looked for in all names. `status` is what people call the state ("valid",
    "on_hold", "revoked", "expired").
    """

    credential: str = ""
    text: str = ""
    status: str = ""
    product: str = ""
    groups: tuple[str, ...] = ()
    owner: str = ""
    issuer: str = ""
    key_type: str = ""
    tag: str = ""
    name: str = ""
    expires_before: datetime | None = None
    expires_from: datetime | None = None
    spki_sha256: str = ""
    mount: str = ""
    user: str = ""

    def parameters(self) -> tuple[str | int, ...]:
        """What the query CERTIFICATES_FOUND takes, without the place and size of the page."""
        return (
            self.credential,
            self.text,
            self.status,
            self.product,
            _listed(self.groups),
            self.owner,
            self.issuer,
            self.key_type,
            self.tag,
            self.name,
            _seconds(self.expires_before),
            _seconds(self.expires_from),
            self.spki_sha256,
            self.mount,
            self.user,
        )


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders: every field that is said has to fit."""

    status: str = ""
    credential: str = ""
    groups: tuple[str, ...] = ()
    product: str = ""
    owner: str = ""
    kind: str = ""
    text: str = ""
    placed_from: datetime | None = None
    placed_before: datetime | None = None
    user: str = ""

    def parameters(self) -> tuple[str | int, ...]:
        """What the query ORDERS_FOUND takes, without the place and size of the page."""
        return (
            self.status,
            self.credential,
            _listed(self.groups),
            self.product,
            self.owner,
            self.kind,
            self.text,
            _seconds(self.placed_from),
            _seconds(self.placed_before),
            self.user,
        )


def _listed(values: tuple[str, ...]) -> str:
    return msgspec.json.encode(values).decode() if values else ""


def _seconds(at: datetime | None) -> int:
    return 0 if at is None else epoch_seconds(at)


@dataclass(frozen=True, slots=True)
class Bulk:
    """One change of many certificates: which, what is done to them, and how far it has come.

    `newest` is the serial of the newest certificate that is meant: what is issued later is not. `after` is the one
    that was done last.
    """

    id: str
    action: str
    filter: CertificateFilter
    actor: str
    created: datetime
    newest: str
    matched: int
    reason: RevocationReason | None = None
    after: str = ""
    done: int = 0
    skipped: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    """Serial and reason of the first hundred that could not be changed."""
    failures: int = 0
    ended: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to be done later, under a lease: `fence` grows with each lease, so that a late worker's write fails."""

    kind: str
    object: str
    due: datetime
    fence: int
    attempts: int


@dataclass(frozen=True, slots=True)
class CredentialCount:
    """How many credentials there are of a type in a state, by user and group."""

    type: str
    state: str
    user: str
    group: str
    number: int


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request that came under an idempotency key: its digest, and its sealed answer once there is one."""

    digest: str
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One leaf of the audit tree at its place."""

    seq: int
    leaf: bytes


def stored_certificate(
    order: Order, issued: IssuedCertificate, key_type: str, credential: CredentialId
) -> StoredCertificate:
    """The row of a freshly signed certificate, with the facts of its order."""
    return StoredCertificate(
        serial=serial_hex(issued.serial),
        issuer_id=issued.issuer_id,
        issuer=issued.issuer,
        order=order.id,
        owner=order.owner,
        credential=credential,
        mount=order.mount,
        product=order.product,
        subject=issued.subject,
        names=issued.names,
        not_before=issued.not_before,
        not_after=issued.not_after,
        key_type=key_type,
        spki_sha256=fingerprint(issued.spki),
        sha256=fingerprint(issued.der),
        profile=issued.profile_name,
        profile_version=issued.profile_version,
        shard=issued.shard,
        replaces=order.replaces,
    )
