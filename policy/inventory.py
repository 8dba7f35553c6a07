"""Certificate and order search, lists and explanations, for whoever administers. Keyset pages only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ca_core.clock import Clock
from ca_core.status import CertificateState
from policy.audit import AuditEvent, read_leaf
from policy.credential import Credential
from policy.order import Order
from policy.problems import UnknownCertificate, UnknownOrder
from policy.store import (
    AUDIT,
    AUDIT_OF_OBJECT,
    CERTIFICATE,
    CERTIFICATE_STATUSES,
    CERTIFICATES,
    CREDENTIAL_USES,
    CREDENTIALS,
    ORDER,
    ORDERS,
    CertificateStatus,
    Store,
    StoredCertificate,
)

PAGE = 500


@dataclass(frozen=True, slots=True)
class ListedCertificate:
    """A certificate with its state and DER."""

    stored: StoredCertificate
    der: bytes
    status: CertificateStatus | None

    def said(self, now: datetime) -> str:
        """The state as people call it: what is valid and over is "expired"."""
        if self.status is None:
            return "unknown"
        if self.status.state is CertificateState.VALID and self.stored.not_after < now:
            return "expired"
        return self.status.state.value


class Inventory:
    """What there is."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self.clock = clock

    async def certificate(self, serial: str) -> ListedCertificate:
        """A certificate by its serial in hex, whatever its case and leading zeros. Raises UnknownCertificate."""
        normal = serial.strip().lower().removeprefix("0x").replace(":", "")
        found = await self._store.one(CERTIFICATE, normal.rjust(40, "0"))
        if found is None:
            raise UnknownCertificate(f"there is no certificate with serial {serial}")
        return (await self._with_status([found]))[0]

    async def certificates(self, credential: str = "", text: str = "") -> AsyncIterator[ListedCertificate]:
        """Every certificate, newest first; of a credential, or with a name that contains a text."""
        after = ""
        while page := await self._store.many(CERTIFICATES, credential, text, after, PAGE):
            for one in await self._with_status(page):
                yield one
            after = page[-1][0].serial

    async def _with_status(self, found: list[tuple[StoredCertificate, bytes]]) -> list[ListedCertificate]:
        serials = msgspec.json.encode([stored.serial for stored, _ in found]).decode()
        statuses = {one.serial: one for one in await self._store.many(CERTIFICATE_STATUSES, serials)}
        return [ListedCertificate(stored, der, statuses.get(stored.serial)) for stored, der in found]

    async def order(self, order_id: str) -> tuple[Order, list[AuditEvent]]:
        """An order and everything that was written down about it. Raises UnknownOrder."""
        order = await self._store.one(ORDER, order_id)
        if order is None:
            raise UnknownOrder(f"there is no order {order_id}")
        events = await self.events(f"order:{order_id}")
        if order.serial:
            events += await self.events(f"certificate:{order.serial}")
        return order, sorted(events, key=lambda event: event.at)

    async def orders(self, status: str = "", credential: str = "", limit: int = 0) -> AsyncIterator[Order]:
        """Orders, newest first; `limit` 0 for all."""
        after, given = "", 0
        while page := await self._store.many(ORDERS, status, credential, after, PAGE):
            for order in page:
                yield order
                given += 1
                if limit and given >= limit:
                    return
            after = page[-1].id

    async def credentials(
        self,
        *,
        type: str = "",
        status: str = "",
        user: str = "",
        group: str = "",
        product: str = "",
        text: str = "",
    ) -> AsyncIterator[tuple[Credential, int]]:
        """Credentials with their number of uses, by any of these filters."""
        after = ""
        while page := await self._store.many(CREDENTIALS, type, status, user, group, product, text, after, PAGE):
            for credential in page:
                yield credential, await self._store.one(CREDENTIAL_USES, credential.id) or 0
            after = page[-1].id

    async def events(self, of: str) -> list[AuditEvent]:
        """Audit events of one object ("order:…"), oldest first."""
        return [read_leaf(row.leaf) for row in await self._store.many(AUDIT_OF_OBJECT, of, 0, 10_000)]

    async def audit(self, after: int = 0) -> AsyncIterator[tuple[int, AuditEvent]]:
        """The audit stream from a place on, with the sequence number of each event."""
        while page := await self._store.many(AUDIT, after, PAGE):
            for row in page:
                yield row.seq, read_leaf(row.leaf)
            after = page[-1].seq
