"""Store: reads, and units of guards and writes that are committed as one. Interface and vocabulary; no SQL here.

A `Unit` is decided after reading and outside any transaction. `await store.commit(unit)` returns only after the
COMMIT is on disk. A guard that no longer holds drops that unit alone, with `Conflict`; so what was read may have
been stale, and nothing wrong is written (DESIGN.md section 5). Statements are named here and written in
gateway/store/*.sql; a test holds names and numbers of parameters of both sides together.

Every entity is one row: the columns that statements search or guard by, then `version` and `body`, the whole value
as JSON. Only what a statement needs is a column, so there is one place where a value's form is known: its class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ca_core.clock import epoch_seconds
from ca_core.issuance import IssuedCertificate
from ca_core.ledger import CertificateEvent, Issuance, IssuanceStage, PublishedCRL, RevokedEntry, serial_hex
from ca_core.names import Identifier, Subject
from ca_core.status import CertificateState, RevocationReason
from policy.account import Account, Group, Organisation, User
from policy.audit import AuditEvent, Checkpoint, leaf
from policy.credential import Credential
from policy.ids import CredentialId
from policy.mount import Mount
from policy.order import Authorization, Order
from policy.problems import Problem
from policy.product import Product
from policy.replay import ReplayGuard
from policy.sealing import fingerprint

T = TypeVar("T")
Row = tuple[Any, ...]
Value = str | int | bytes | float | None

_encode = msgspec.json.Encoder().encode


class Conflict(Exception):
    """A guard of the unit did not hold, or a unique value is taken; nothing of the unit was written."""

    def __init__(self, statement: str, index: str | None = None) -> None:
        """`statement` names the guard or write that failed, `index` the unique index where it was that."""
        super().__init__(statement if index is None else f"{statement}: {index}")
        self.statement = statement
        self.index = index


class StoreUnavailable(Exception):
    """The store cannot write now (disk full, connection lost): nothing of the unit was acknowledged."""


# --------------------------------------------------------------------------- stored values that are the store's own


@dataclass(frozen=True, slots=True)
class StoredCertificate:
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
class AuditRow:
    """One leaf of the audit tree at its place."""

    seq: int
    leaf: bytes


# --------------------------------------------------------------------------- reads


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A named read and how its rows become values."""

    name: str
    parameters: int
    decode: Callable[[Row], T]


def _body(kind: type[T]) -> Callable[[Row], T]:
    decoder = msgspec.json.Decoder(kind)
    return lambda row: decoder.decode(row[0])


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)





def _status(row: Row) -> CertificateStatus:
    issuer_id, serial, state, reason, at, invalidity_date, not_after = row
    return CertificateStatus(
        issuer_id,
        serial,
        CertificateState(state),
        RevocationReason(reason) if reason else None,
        _at(at),
        _at(invalidity_date) if invalidity_date is not None else None,
        _at(not_after),
    )


def _revoked(row: Row) -> RevokedEntry:
    serial, at, state, reason, not_after, invalidity_date = row
    held = state == CertificateState.ON_HOLD
    return RevokedEntry(
        serial=int(serial, 16),
        revoked_at=_at(at),
        reason=RevocationReason.CERTIFICATE_HOLD if held else RevocationReason(reason) if reason else None,
        not_after=_at(not_after),
        invalidity_date=_at(invalidity_date) if invalidity_date is not None else None,
    )


def _crl(row: Row) -> PublishedCRL:
    issuer_id, shard, number, der, this_update, next_update = row
    return PublishedCRL(issuer_id, shard, number, der, _at(this_update), _at(next_update))


def _issuance(row: Row) -> Issuance:
    return msgspec.json.decode(row[0], type=Issuance)


def _certificate_and_der(row: Row) -> tuple[StoredCertificate, bytes]:
    return msgspec.json.decode(row[0], type=StoredCertificate), row[1]


_order = _body(Order)
_authorization = _body(Authorization)
_account = _body(Account)
_credential = _body(Credential)
_product = _body(Product)
_mount = _body(Mount)
_certificate = _body(StoredCertificate)

# Parameters in order; a page is read with (…, after, limit), `after` being the last key of the page before or "".
ORDER = Query("order_get", 1, _order)
"""id"""
ORDER_BY_REFERENCE = Query("order_by_reference", 4, _order)
"""mount, credential, reference, now: open, or within the replay window"""
ORDERS_OF_OWNER = Query("orders_of_owner", 3, _order)
"""owner, after (id), limit: newest key order does not matter to ACME, stability does"""
ORDERS = Query("orders_page", 4, _order)
"""status or "", credential or "", after (id of the last), limit: newest first"""
ORDERS_EXPIRED = Query("orders_expired", 2, _order)
"""now, limit: open orders whose time is over"""
ORDERS_STUCK = Query("orders_processing", 2, _order)
"""updated before, limit: orders in `processing`"""
OPEN_ORDERS_OF_CREDENTIAL = Query("orders_open_of_credential", 2, _order)
"""credential, limit"""
OPEN_ORDERS_OF_OWNER = Query("orders_open_of_owner", 2, _order)
"""owner, limit"""
AUTHORIZATION = Query("authorization_get", 1, _authorization)
"""id"""
AUTHORIZATIONS = Query("authorization_many", 1, _authorization)
"""ids as a JSON array"""
AUTHORIZATION_REUSABLE = Query("authorization_reusable", 5, _authorization)
"""owner, identifier type, value, wildcard (0/1), valid until at least"""
ORDERS_OF_AUTHORIZATION = Query("orders_of_authorization", 2, _order)
"""authorization id, limit: pending orders that wait for it"""
ACCOUNT = Query("account_get", 1, _account)
"""id"""
ACCOUNT_BY_KEY = Query("account_by_key", 2, _account)
"""mount, thumbprint"""
ACCOUNT_KEY_IN_USE = Query("account_key_in_use", 1, lambda row: bool(row[0]))
"""SHA-256 of an SPKI: whether any account, of whatever mount or status, has it"""
ACCOUNTS_OF_CREDENTIAL = Query("accounts_of_credential", 3, _account)
"""credential, after (id), limit"""
CREDENTIAL = Query("credential_get", 1, _credential)
"""id"""
CREDENTIAL_BY_IDENTIFIER = Query("credential_by_identifier", 2, _credential)
"""type, identifier"""
CREDENTIALS = Query("credentials_page", 8, _credential)
"""type or "", status or "", user or "", group or "", product or "", text or "", after (id), limit"""
CREDENTIAL_USES = Query("credential_uses", 1, lambda row: int(row[0]))
"""id"""
PRODUCT = Query("product_current", 1, _product)
"""name: the newest version"""
PRODUCT_VERSION = Query("product_get", 2, _product)
"""name, version"""
PRODUCTS = Query("products_current", 0, _product)
MOUNT = Query("mount_get", 1, _mount)
"""key"""
MOUNTS = Query("mounts_all", 0, _mount)
USER = Query("user_get", 1, _body(User))
USERS = Query("users_all", 0, _body(User))
GROUP = Query("group_get", 1, _body(Group))
GROUPS = Query("groups_all", 0, _body(Group))
ORGANISATION = Query("organisation_get", 1, _body(Organisation))
CERTIFICATE = Query("certificate_get", 1, _certificate_and_der)
"""serial (hex)"""
CERTIFICATE_BY_DIGEST = Query("certificate_by_digest", 1, _certificate_and_der)
"""SHA-256 of the DER (hex)"""
CERTIFICATE_OF_ORDER = Query("certificate_of_order", 1, _certificate_and_der)
"""order id"""
REPLACED = Query("certificate_replaced", 1, lambda row: bool(row[0]))
"""serial (hex): whether an order that is open or valid says that it replaces it"""
CERTIFICATES = Query("certificates_page", 4, _certificate_and_der)
"""credential or "", name text or "", after (serial of the last), limit: newest first"""
CERTIFICATES_BY_KEY = Query("certificates_by_key", 2, _certificate)
"""SHA-256 of the SPKI (hex), limit"""
CERTIFICATES_OF_CREDENTIAL = Query("certificates_of_credential", 3, _certificate)
"""credential, after (serial), limit: those that are neither revoked nor expired"""
CERTIFICATE_STATUS = Query("certificate_status", 1, _status)
"""serial (hex)"""
CERTIFICATE_STATUSES = Query("certificate_statuses", 1, _status)
"""serials as a JSON array"""
REVOKED = Query("certificates_revoked", 3, _revoked)
"""issuer id, shard, not expired before (RFC 5280 section 3.3: one CRL past expiry)"""
CRL = Query("crl_get", 2, _crl)
"""issuer id, shard"""
CRLS = Query("crls_all", 0, _crl)
ISSUANCES_OPEN = Query("issuances_open", 1, _issuance)
"""limit: reserved, neither signed nor void"""
ISSUANCE_OF_ORDER = Query("issuance_of_order", 1, _issuance)
"""order id: the open one"""
KEY_BLOCKED = Query("key_blocked", 1, lambda row: bool(row[0]))
"""SHA-256 of the SPKI (hex)"""
AUTHORITIES = Query("authorities_all", 0, _body(StoredAuthority))
"""in the order in which they were made"""
SERVICE_KEYS = Query("service_keys_all", 0, _body(ServiceKey))
AUDIT = Query("audit_page", 2, lambda row: AuditRow(*row))
"""after (seq), limit: in order"""
AUDIT_OF_OBJECT = Query("audit_of_object", 3, lambda row: AuditRow(*row))
"""object, after (seq), limit"""
AUDIT_SIZE = Query("audit_size", 0, lambda row: int(row[0]))
"""the number of the newest event"""
CHECKPOINT = Query("checkpoint_last", 0, _body(Checkpoint))
CHECKPOINTS = Query("checkpoints_page", 2, _body(Checkpoint))
"""after (size), limit"""
UNAUDITED = Query("certificates_unaudited", 1, lambda row: str(row[0]))
"""limit: serials of certificates that have no "issued" event"""


# --------------------------------------------------------------------------- units


@dataclass(slots=True)
class Step:
    """One statement of a unit. A guard (`must`) has to return or change exactly one row."""

    statement: str
    parameters: tuple[Value, ...]
    must: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """Proof that a unit is on disk; ca_core asks it before it signs (`covers`)."""

    intents: frozenset[str]
    epoch: int

    def covers(self, intent: str) -> bool:
        """Whether the issuance with this identifier was reserved in the unit."""
        return intent in self.intents


class Unit:
    """Guards and writes that happen together or not at all. Serialises: statement names and plain parameters only.

    It is also the `Ledger` of ca_core, which appends to it what a CA must have written down.
    """

    __slots__ = ("_recorded", "configuration", "intents", "steps")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.intents: list[str] = []
        self._recorded: dict[int, IssuedCertificate] = {}
        self.configuration = False
        """Whether the unit changes what caches hold: the commit then raises the configuration epoch."""

    def must(self, statement: str, *parameters: Value) -> None:
        """Append a guard: a statement that has to return or change exactly one row."""
        self.steps.append(Step(statement, parameters, True))

    def write(self, statement: str, *parameters: Value) -> None:
        """Append a write, whatever number of rows it changes."""
        self.steps.append(Step(statement, parameters, False))

    # -- entities: `insert` a first version, `save` the next one (a guard: the version before must be there)

    def insert(self, entity: Entity) -> None:
        """Write a new entity. A taken key or unique value is a Conflict."""
        table, columns, _ = _TABLES[type(entity)]
        # A new account or credential makes nothing stale; a new product version or mount does.
        self.configuration |= isinstance(entity, Product | Mount | ServiceKey | StoredAuthority)
        self.write(f"{table}_insert", *columns(entity), entity.version, _encode(entity).decode())

    def save(self, entity: Entity) -> None:
        """Write the next version of an entity; the version before it must be the stored one, else Conflict."""
        table, columns, cached = _TABLES[type(entity)]
        self.configuration |= cached
        self.must(f"{table}_save", *columns(entity), entity.version, _encode(entity).decode())

    # -- guards

    def credential_active(self, credential: str, now: datetime) -> None:
        """The credential is active, begun and not expired, now, inside the transaction."""
        self.must("credential_active", credential, epoch_seconds(now))

    def credential_spend(self, credential: str, now: datetime) -> None:
        """As credential_active, and one use of its use limit is taken."""
        self.must("credential_spend", credential, epoch_seconds(now))

    def account_valid(self, account: str) -> None:
        """The ACME account is valid."""
        self.must("account_valid", account)

    def product_active(self, product: str) -> None:
        """The newest version of the product is active."""
        self.must("product_active", product)

    def mount_active(self, mount: str) -> None:
        """The mount is there and active."""
        self.must("mount_active", mount)

    def key_not_blocked(self, spki: bytes) -> None:
        """The public key is not on the list of blocked keys."""
        self.must("key_not_blocked", fingerprint(spki))

    # -- audit

    def audit(self, event: AuditEvent) -> None:
        """Append an event to the audit stream, which is the outbox as well."""
        self.write("audit_append", epoch_seconds(event.at), event.tag, event.object, leaf(event))

    # -- Ledger of ca_core

    def reserve(self, issuance: Issuance) -> None:
        """Write the intent to sign: serial, TBS, order. One per order, by index."""
        self.intents.append(issuance.id)
        self.write("issuance_insert", issuance.id, issuance.order, issuance.stage, _encode(issuance).decode())

    def finish_issuance(self, issuance_id: str, stage: IssuanceStage) -> None:
        """Move an issuance from reserved to signed or void; a Conflict when somebody else did."""
        self.must("issuance_finish", issuance_id, stage)

    def record(self, certificate: IssuedCertificate) -> None:
        """ca_core's half of commit 2: the issuance is signed; `certificate()` writes the row with the order's facts."""
        self._recorded[certificate.serial] = certificate
        self.finish_issuance(serial_hex(certificate.serial), IssuanceStage.SIGNED)

    def certificate(self, stored: StoredCertificate, der: bytes) -> None:
        """Write a certificate with the facts of its order."""
        self.write(
            "certificate_insert",
            stored.serial,
            stored.issuer_id,
            stored.order,
            stored.credential,
            stored.spki_sha256,
            stored.sha256,
            epoch_seconds(stored.not_after),
            " ".join(str(name) for name in stored.names) or " ".join(value for _, value in stored.subject),
            _encode(stored).decode(),
            der,
        )

    def change(self, event: CertificateEvent, allowed: tuple[CertificateState, ...]) -> None:
        """Change a certificate's state; a Conflict unless it is in one of the allowed states.

        Without allowed states it is the first one, of a certificate that this very unit records.
        """
        serial = serial_hex(event.serial)
        if not allowed:
            issued = self._recorded[event.serial]
            self.write(
                "certificate_status_insert",
                serial,
                event.issuer_id,
                issued.shard,
                event.state,
                epoch_seconds(event.at),
                epoch_seconds(issued.not_after),
            )
            return
        invalidity = epoch_seconds(event.invalidity_date) if event.invalidity_date else None
        reason = event.reason.value if event.reason else None
        at = epoch_seconds(event.at)
        self.must(
            "certificate_status_change",
            serial,
            event.issuer_id,
            event.state,
            reason,
            at,
            invalidity,
            msgspec.json.encode(allowed).decode(),
        )
        self.write("certificate_event_append", serial, event.issuer_id)

    def publish_crl(self, crl: PublishedCRL) -> None:
        """Replace the CRL of a shard; its number must be greater than the one before."""
        self.must(
            "crl_publish",
            crl.issuer_id,
            crl.shard,
            crl.number,
            crl.der,
            epoch_seconds(crl.this_update),
            epoch_seconds(crl.next_update),
        )

    # -- the rest

    def block_key(self, spki: bytes, reason: str, at: datetime) -> None:
        """Never again a certificate for this public key."""
        self.write("key_block", fingerprint(spki), reason, epoch_seconds(at))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a signed checkpoint; one per tree size."""
        self.write("checkpoint_insert", checkpoint.size, _encode(checkpoint).decode())

    def schedule(self, kind: str, of: str, due: datetime) -> None:
        """Have a job done at `due`, or earlier when it is due earlier already."""
        self.write("job_schedule", kind, of, epoch_seconds(due))

    def job_done(self, job: Job) -> None:
        """Remove a job, if its lease is still ours."""
        self.must("job_done", job.kind, job.object, job.fence)
        # It stays when it was scheduled again in the meantime.
        self.write("job_forget", job.kind, job.object)

    def job_again(self, job: Job, due: datetime) -> None:
        """Give a job back, to be done at `due`, if its lease is still ours."""
        self.must("job_again", job.kind, job.object, job.fence, epoch_seconds(due))


Entity = (
    Order
    | Authorization
    | Account
    | Credential
    | Product
    | Mount
    | User
    | Group
    | Organisation
    | ServiceKey
    | StoredAuthority
)

REPLAY_SECONDS = 15 * 60
"""How long after its end an order still answers to its client's reference (a lost answer is asked for again)."""


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else epoch_seconds(at)


_TABLES: dict[type, tuple[str, Callable[[Any], tuple[Value, ...]], bool]] = {
    Order: (
        "order",
        lambda o: (
            o.id,
            o.status,
            o.owner,
            o.credential,
            o.mount,
            o.reference,
            o.replaces,
            epoch_seconds(o.created),
            epoch_seconds(o.updated),
            epoch_seconds(o.expires),
        ),
        False,
    ),
    Authorization: (
        "authorization",
        lambda a: (
            a.id,
            a.owner,
            a.identifier.type,
            a.identifier.value,
            int(a.wildcard),
            a.status,
            epoch_seconds(a.expires),
        ),
        False,
    ),
    Account: (
        "account",
        lambda a: (a.id, a.mount, a.credential, a.status, a.thumbprint, fingerprint(a.spki)),
        True,
    ),
    Credential: (
        "credential",
        lambda c: (
            c.id,
            c.type,
            c.identifier,
            c.state,
            c.user,
            c.group,
            " ".join(c.products),
            _seconds(c.not_before),
            _seconds(c.expires),
            c.use_limit,
        ),
        True,
    ),
    Product: ("product", lambda p: (p.name, p.state), True),
    Mount: ("mount", lambda m: (m.key, int(m.active)), True),
    User: ("user", lambda u: (u.name,), True),
    Group: ("group", lambda g: (g.name,), True),
    Organisation: ("organisation", lambda o: (o.name,), True),
    StoredAuthority: ("authority", lambda a: (a.name,), True),
    ServiceKey: ("service_key", lambda k: (k.purpose, k.issuer), True),
}


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


class Store(Protocol):
    """Durable memory. Implemented in gateway/store."""

    @property
    def replay(self) -> ReplayGuard:
        """Single use of nonces, shared by every server object on this store."""
        ...

    @property
    def configuration_epoch(self) -> int:
        """Grows with every commit of a unit that changes what caches hold."""
        ...

    async def one(self, query: Query[T], *parameters: Value) -> T | None:
        """The value of the first row, or None."""
        ...

    async def many(self, query: Query[T], *parameters: Value) -> list[T]:
        """The values of all rows, in the order of the statement."""
        ...

    async def commit(self, unit: Unit) -> Committed:
        """Write the unit durably. Raises Conflict (nothing written) or StoreUnavailable (nothing acknowledged)."""
        ...

    async def lease_jobs(self, kinds: tuple[str, ...], now: datetime, seconds: int, limit: int) -> list[Job]:
        """Take due jobs of these kinds under a lease of so many seconds; committed before it returns."""
        ...


def translate_conflict(conflict: Conflict, guards: dict[str, Problem]) -> Problem:
    """The Problem that a missed guard means to the client; the conflict itself when nobody said."""
    # An index says more than the statement that ran into it; either may be named.
    problem = guards.get(conflict.index or "") or guards.get(conflict.statement)
    if problem is None:
        raise conflict
    return problem
