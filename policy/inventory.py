"""Certificate and order search, lists and explanations, for whoever administers. Keyset pages only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ca_core.clock import Clock
from ca_core.status import CertificateState
from policy.access import Actor
from policy.account import Account, Group, User
from policy.audit import AuditEvent, AuditTag, read_leaf
from policy.credential import Credential
from policy.mount import Mount
from policy.order import Authorization, Order
from policy.people import owned_through
from policy.problems import AccountUnknown, Malformed, UnknownCertificate, UnknownOrder, UnknownProduct
from policy.product import Product
from policy.store import (
    ACCOUNT,
    ACCOUNTS,
    ACCOUNTS_OF_CREDENTIAL,
    AUDIT,
    AUDIT_OF_OBJECT,
    AUDIT_SIZE,
    AUTHORITIES,
    AUTHORIZATIONS,
    CERTIFICATE,
    CERTIFICATE_STATUSES,
    CERTIFICATES,
    CERTIFICATES_FOUND,
    CERTIFICATES_OF_CREDENTIAL,
    CREDENTIAL_COUNTS,
    CREDENTIAL_USES,
    CREDENTIALS,
    GROUPS,
    MOUNT,
    MOUNTS,
    OPEN_ORDERS_OF_CREDENTIAL,
    ORDER,
    ORDERS,
    ORDERS_FOUND,
    ORDERS_OF_OWNER_NEWEST,
    PAUSES,
    PRODUCT,
    PRODUCT_VERSION,
    PRODUCT_VERSIONS,
    PRODUCTS,
    SERVICE,
    TAGS_OF,
    USERS,
    Block,
    Bulk,
    CertificateFilter,
    CertificateStatus,
    CredentialCount,
    OrderFilter,
    Pause,
    Store,
    StoredAuthority,
    StoredCertificate,
    Unit,
)

__all__ = [
    "PAGE",
    "REACH",
    "SERVICE",
    "Block",
    "Bulk",
    "CertificateFilter",
    "Inventory",
    "ListedCertificate",
    "OrderFilter",
    "Reach",
    "check_tags",
]

PAGE = 500

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,63}")
MAX_TAGS = 32

REACH = 10_000
"""How far what hangs on a credential is counted: nobody decides differently beyond it."""


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


@dataclass(frozen=True, slots=True)
class Reach:
    """What hangs on a credential: open orders, ACME accounts, live certificates, mounts that are open through it."""

    orders: int
    accounts: int
    certificates: int
    mounts: tuple[str, ...]


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

    async def certificate_page(
        self, after: str = "", limit: int = PAGE, *, credential: str = "", text: str = ""
    ) -> list[ListedCertificate]:
        """Certificates newest first, after the one with serial `after`; of a credential, or with a text in a name."""
        return await self._with_status(await self._store.many(CERTIFICATES, credential, text, after, limit))

    async def certificates(self, credential: str = "", text: str = "") -> AsyncIterator[ListedCertificate]:
        """Every certificate, newest first; of a credential, or with a name that contains a text."""
        after = ""
        while page := await self.certificate_page(after, credential=credential, text=text):
            for one in page:
                yield one
            after = page[-1].stored.serial

    async def find(self, wanted: CertificateFilter, after: str = "", limit: int = PAGE) -> list[ListedCertificate]:
        """Certificates that a filter means, newest first, after the one with serial `after`."""
        return await self._with_status(await self._store.many(CERTIFICATES_FOUND, *wanted.parameters(), after, limit))

    async def find_orders(self, wanted: OrderFilter, after: str = "", limit: int = PAGE) -> list[Order]:
        """Orders that a filter means, newest first, after the one with id `after`."""
        return await self._store.many(ORDERS_FOUND, *wanted.parameters(), after, limit)

    async def tags(self, serials: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The tags of certificates; those without one are left out."""
        found: dict[str, tuple[str, ...]] = {}
        for serial, tag in await self._store.many(TAGS_OF, msgspec.json.encode(list(serials)).decode()):
            found[serial] = (*found.get(serial, ()), tag)
        return found

    async def tag(self, serial: str, tags: Sequence[str], actor: Actor) -> tuple[str, ...]:
        """Give a certificate these tags and no others. Raises UnknownCertificate, Malformed."""
        actor.check("certificate:tag")
        one = await self.certificate(serial)
        owned = await owned_through(self._store, one.stored.credential)
        actor.find("certificate:tag", one, owned, UnknownCertificate(f"there is no certificate with serial {serial}"))
        wanted = check_tags(tags)
        unit = Unit()
        unit.tag(one.stored.serial, wanted)
        of, detail = f"certificate:{one.stored.serial}", {"tags": list(wanted)}
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_TAGGED, self.clock(), actor.name, of, detail))
        await self._store.commit(unit)
        return wanted

    async def product_versions(self, name: str) -> list[Product]:
        """Every version of a product, newest first. Raises UnknownProduct."""
        found = await self._store.many(PRODUCT_VERSIONS, name)
        if not found:
            raise UnknownProduct(f'there is no product "{name}"')
        return found

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

    async def authorizations(self, order: Order) -> list[Authorization]:
        """The authorizations that an order needs, in its order."""
        return await self._store.many(AUTHORIZATIONS, msgspec.json.encode(order.authorizations).decode())

    async def order_page(
        self, after: str = "", limit: int = PAGE, *, status: str = "", credential: str = ""
    ) -> list[Order]:
        """Orders newest first, after the one with id `after`."""
        return await self._store.many(ORDERS, status, credential, after, limit)

    async def orders(self, status: str = "", credential: str = "", limit: int = 0) -> AsyncIterator[Order]:
        """Orders, newest first; `limit` 0 for all."""
        after, given = "", 0
        while page := await self.order_page(after, status=status, credential=credential):
            for order in page:
                yield order
                given += 1
                if limit and given >= limit:
                    return
            after = page[-1].id

    async def credential_page(
        self,
        after: str = "",
        limit: int = PAGE,
        *,
        type: str = "",
        status: str = "",
        user: str = "",
        group: str = "",
        product: str = "",
        text: str = "",
    ) -> list[tuple[Credential, int]]:
        """Credentials with their number of uses, after the one with id `after`, by any of these filters."""
        page = await self._store.many(CREDENTIALS, type, status, user, group, product, text, after, limit)
        return [(one, await self.uses(one.id)) for one in page]

    async def credentials(self, **filters: str) -> AsyncIterator[tuple[Credential, int]]:
        """Credentials with their number of uses, by the filters of `credential_page`."""
        after = ""
        while page := await self.credential_page(after, **filters):  # type: ignore[arg-type]  # all of them texts
            for credential, uses in page:
                yield credential, uses
            after = page[-1][0].id

    async def credential_counts(self) -> list[CredentialCount]:
        """How many credentials there are, by type, state, user and group."""
        return await self._store.many(CREDENTIAL_COUNTS)

    async def account(self, account_id: str) -> Account:
        """An ACME account. Raises AccountUnknown."""
        found = await self._store.one(ACCOUNT, account_id)
        if found is None:
            raise AccountUnknown(f"there is no account {account_id}")
        return found

    async def account_page(
        self,
        after: str = "",
        limit: int = PAGE,
        *,
        mount: str = "",
        credential: str = "",
        status: str = "",
        text: str = "",
    ) -> list[Account]:
        """ACME accounts after the one with id `after`, by any of these filters; oldest first."""
        return await self._store.many(ACCOUNTS, mount, credential, status, text, after, limit)

    async def orders_of_account(self, account_id: str, after: str, limit: int) -> list[Order]:
        """The orders of an account, newest first, after the one with id `after`."""
        return await self._store.many(ORDERS_OF_OWNER_NEWEST, account_id, after, limit)

    async def pauses(self, account_id: str) -> list[Pause]:
        """The names that an account is paused for."""
        return await self._store.many(PAUSES, account_id)

    async def uses(self, credential: str) -> int:
        """How often a credential was used for issuing."""
        return await self._store.one(CREDENTIAL_USES, credential) or 0

    async def reach(self, credential: str) -> Reach:
        """What a revocation of this credential would stop; it is counted up to `REACH`."""
        orders = await self._store.many(OPEN_ORDERS_OF_CREDENTIAL, credential, REACH)
        accounts = await self._store.many(ACCOUNTS_OF_CREDENTIAL, credential, "", REACH)
        certificates = await self._store.many(CERTIFICATES_OF_CREDENTIAL, credential, "", REACH)
        opened = [mount.key for mount in await self._store.many(MOUNTS) if mount.open_credential == credential]
        return Reach(len(orders), len(accounts), len(certificates), tuple(opened))

    async def events(self, of: str) -> list[AuditEvent]:
        """Audit events of one object ("order:…"), oldest first."""
        return [read_leaf(row.leaf) for row in await self._store.many(AUDIT_OF_OBJECT, of, 0, 10_000)]

    async def events_after(self, of: str, after: int, limit: int = PAGE) -> list[tuple[int, AuditEvent]]:
        """Audit events of one object after the one with this number, each with its own, oldest first."""
        return [(row.seq, read_leaf(row.leaf)) for row in await self._store.many(AUDIT_OF_OBJECT, of, after, limit)]

    async def audit_size(self) -> int:
        """How many audit events there are: the number of the newest."""
        return await self._store.one(AUDIT_SIZE) or 0

    async def audit_page(self, after: int, limit: int = PAGE) -> list[tuple[int, AuditEvent]]:
        """Audit events in their order, after the one with this number, each with its own."""
        return [(row.seq, read_leaf(row.leaf)) for row in await self._store.many(AUDIT, after, limit)]

    async def audit(self, after: int = 0) -> AsyncIterator[tuple[int, AuditEvent]]:
        """The audit stream from a place on, with the sequence number of each event."""
        while page := await self.audit_page(after):
            for seq, event in page:
                yield seq, event
            after = page[-1][0]

    # ----------------------------------------------------------------- what is few: all at once

    async def products(self) -> list[Product]:
        """The newest version of every product."""
        return await self._store.many(PRODUCTS)

    async def product(self, name: str, version: int | None = None) -> Product:
        """A product, the newest version unless one is named. Raises UnknownProduct."""
        if version is None:
            found = await self._store.one(PRODUCT, name)
        else:
            found = await self._store.one(PRODUCT_VERSION, name, version)
        if found is None:
            which = f'"{name}"' if version is None else f'"{name}" of version {version}'
            raise UnknownProduct(f"there is no product {which}")
        return found

    async def mounts(self) -> list[Mount]:
        """Every mount, closed ones too."""
        return await self._store.many(MOUNTS)

    async def mount(self, key: str) -> Mount:
        """A mount by its key, "acme/default". Raises Malformed."""
        found = await self._store.one(MOUNT, key)
        if found is None:
            raise Malformed(f'there is no mount "{key}"')
        return found

    async def users(self) -> list[User]:
        """Every user."""
        return await self._store.many(USERS)

    async def groups(self) -> list[Group]:
        """Every group."""
        return await self._store.many(GROUPS)

    async def authorities(self) -> list[StoredAuthority]:
        """Every CA of ours, in the order in which they were made."""
        return await self._store.many(AUTHORITIES)


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags in order and once each. Raises Malformed for what is no tag."""
    for one in tags:
        if TAG.fullmatch(one) is None:
            raise Malformed(f'"{one}" is no tag: up to 64 letters, digits and any of . _ : = -')
    if len(set(tags)) > MAX_TAGS:
        raise Malformed(f"a certificate has {MAX_TAGS} tags at most")
    return tuple(sorted(set(tags)))
