"""Store: reads, and units of guards and writes that are committed as one. Interface and vocabulary; no SQL here.

A `Unit` is decided after reading and outside any transaction. `await store.commit(unit)` returns only after the
COMMIT is on disk. A guard that no longer holds drops that unit alone, with `Conflict`; so what was read may have
been stale, and nothing wrong is written. Statements are named here and written in
gateway/store/*.sql; a test holds names and numbers of parameters of both sides together.

Every entity is one row: the columns that statements search or guard by, then `version` and `body`, the whole value
as JSON. Only what a statement needs is a column, so there is one place where a value's form is known: its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, TypeVar

from policy.problems import Problem, Unavailable
from policy.replay import ReplayGuard
from policy.store.queries import (
    ACCOUNT,
    ACCOUNT_BY_KEY,
    ACCOUNTS,
    ACCOUNTS_OF_CREDENTIAL,
    ANY_BLOCK,
    AUDIT,
    AUDIT_OF_OBJECT,
    AUDIT_SIZE,
    AUTHORITIES,
    AUTHORIZATION,
    AUTHORIZATION_COVERING,
    AUTHORIZATION_REUSABLE,
    AUTHORIZATIONS,
    BLOCK,
    BLOCKS,
    BLOCKS_ON,
    BULK,
    BULKS,
    CERTIFICATE,
    CERTIFICATE_OF_ORDER,
    CERTIFICATE_STATUS,
    CERTIFICATE_STATUSES,
    CERTIFICATES,
    CERTIFICATES_BY_KEY,
    CERTIFICATES_FOUND,
    CERTIFICATES_OF_CREDENTIAL,
    CHECKPOINT,
    CHECKPOINTS,
    CREDENTIAL,
    CREDENTIAL_BY_IDENTIFIER,
    CREDENTIAL_COUNTS,
    CREDENTIAL_USES,
    CREDENTIALS,
    CRL,
    CRLS,
    DEMANDS,
    DEMANDS_ON,
    DOCUMENT,
    DOMAINS,
    DOMAINS_OF_GROUP,
    GROUP,
    GROUPS,
    IDEMPOTENT,
    ISSUANCE_OF_ORDER,
    ISSUANCES_OPEN,
    ISSUANCES_OPEN_AFTER,
    KEY_CERTIFIED,
    MOUNT,
    MOUNTS,
    ONE_TIME_CODE,
    ONE_TIME_CODES_OPEN,
    OPEN_ORDERS_OF_CREDENTIAL,
    OPEN_ORDERS_OF_OWNER,
    ORDER,
    ORDER_BY_REFERENCE,
    ORDER_OF_CLIENT,
    ORDER_REPLACING,
    ORDERS,
    ORDERS_EXPIRED,
    ORDERS_FOUND,
    ORDERS_OF_AUTHORIZATION,
    ORDERS_OF_OWNER,
    ORDERS_OF_OWNER_NEWEST,
    ORDERS_PROVEN,
    ORGANISATION,
    ORGANISATIONS,
    PAUSES,
    PRODUCT,
    PRODUCT_VERSION,
    PRODUCT_VERSIONS,
    PRODUCTS,
    QUOTA_USED,
    REPLACED,
    REVOKED,
    ROLE,
    ROLES,
    SERVICE_KEYS,
    SPENT,
    TAGS_OF,
    UNAUDITED,
    USER,
    USERS,
    Query,
    Row,
)
from policy.store.tables import Entity, Value
from policy.store.units import REPLAY_SECONDS, Committed, Step, Unit
from policy.store.values import (
    SERVICE,
    AuditRow,
    Block,
    Bulk,
    CertificateFilter,
    CertificateStatus,
    CredentialCount,
    Demand,
    Job,
    KnownRequest,
    OneTimeCode,
    OrderFilter,
    PastKey,
    Pause,
    ServiceKey,
    StoredAuthority,
    StoredCertificate,
    stored_certificate,
)

__all__ = [
    "ACCOUNT",
    "ACCOUNTS",
    "ACCOUNTS_OF_CREDENTIAL",
    "ACCOUNT_BY_KEY",
    "ANY_BLOCK",
    "AUDIT",
    "AUDIT_OF_OBJECT",
    "AUDIT_SIZE",
    "AUTHORITIES",
    "AUTHORIZATION",
    "AUTHORIZATIONS",
    "AUTHORIZATION_COVERING",
    "AUTHORIZATION_REUSABLE",
    "BLOCK",
    "BLOCKS",
    "BLOCKS_ON",
    "BULK",
    "BULKS",
    "CERTIFICATE",
    "CERTIFICATES",
    "CERTIFICATES_BY_KEY",
    "CERTIFICATES_FOUND",
    "CERTIFICATES_OF_CREDENTIAL",
    "CERTIFICATE_OF_ORDER",
    "CERTIFICATE_STATUS",
    "CERTIFICATE_STATUSES",
    "CHECKPOINT",
    "CHECKPOINTS",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDENTIAL_BY_IDENTIFIER",
    "CREDENTIAL_COUNTS",
    "CREDENTIAL_USES",
    "CRL",
    "CRLS",
    "DEMANDS",
    "DEMANDS_ON",
    "DOCUMENT",
    "DOMAINS",
    "DOMAINS_OF_GROUP",
    "GROUP",
    "GROUPS",
    "IDEMPOTENT",
    "ISSUANCES_OPEN",
    "ISSUANCES_OPEN_AFTER",
    "ISSUANCE_OF_ORDER",
    "KEY_CERTIFIED",
    "MOUNT",
    "MOUNTS",
    "ONE_TIME_CODE",
    "ONE_TIME_CODES_OPEN",
    "OPEN_ORDERS_OF_CREDENTIAL",
    "OPEN_ORDERS_OF_OWNER",
    "ORDER",
    "ORDERS",
    "ORDERS_EXPIRED",
    "ORDERS_FOUND",
    "ORDERS_OF_AUTHORIZATION",
    "ORDERS_OF_OWNER",
    "ORDERS_OF_OWNER_NEWEST",
    "ORDERS_PROVEN",
    "ORDER_BY_REFERENCE",
    "ORDER_OF_CLIENT",
    "ORDER_REPLACING",
    "ORGANISATION",
    "ORGANISATIONS",
    "PAUSES",
    "PRODUCT",
    "PRODUCTS",
    "PRODUCT_VERSION",
    "PRODUCT_VERSIONS",
    "QUOTA_USED",
    "REPLACED",
    "REPLAY_SECONDS",
    "REVOKED",
    "ROLE",
    "ROLES",
    "SERVICE",
    "SERVICE_KEYS",
    "SPENT",
    "TAGS_OF",
    "UNAUDITED",
    "USER",
    "USERS",
    "AuditRow",
    "Block",
    "Bulk",
    "CertificateFilter",
    "CertificateStatus",
    "Committed",
    "Conflict",
    "CredentialCount",
    "Demand",
    "Entity",
    "Job",
    "KnownRequest",
    "OneTimeCode",
    "OrderFilter",
    "PastKey",
    "Pause",
    "Query",
    "Row",
    "ServiceKey",
    "Step",
    "Store",
    "StoreUnavailable",
    "StoredAuthority",
    "StoredCertificate",
    "Unit",
    "Value",
    "stored_certificate",
    "translate_conflict",
]

T = TypeVar("T")


class Conflict(Exception):
    """A guard of the unit did not hold, or a unique value is taken; nothing of the unit was written."""

    def __init__(self, statement: str, index: str | None = None) -> None:
        """`statement` names the guard or write that failed, `index` the unique index where it was that."""
        super().__init__(statement if index is None else f"{statement}: {index}")
        self.statement = statement
        self.index = index


class StoreUnavailable(Unavailable):
    """The store cannot write now (disk full, connection lost): nothing of the unit was acknowledged.

    It is a Problem, so that a door says "try again later" wherever it happens; `reason` is for the log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("the store cannot write at the moment", retry_after=30, reason=reason)

    def __str__(self) -> str:
        return f"{self.detail}: {self.context['reason']}"


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


def translate_conflict(conflict: Conflict, guards: Mapping[str, tuple[type[Problem], str]]) -> Problem:
    """The Problem that a missed guard means to the client; raises the conflict itself when nobody said."""
    # An index says more than the statement that ran into it; either may be named.
    said = guards.get(conflict.index or "") or guards.get(conflict.statement)
    if said is None:
        raise conflict
    kind, detail = said
    return kind(detail)
