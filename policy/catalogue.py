"""Catalogue: mounts, products, credentials, groups and accounts as they stand, read once per configuration epoch.

A cache may be late by nothing that matters: what it says is checked again by the guards of commit 1, inside the
transaction. It empties itself when a commit raised the configuration epoch.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from policy.account import Account, Group, User
from policy.credential import Credential, CredentialType
from policy.domain import Domain
from policy.mount import Mount
from policy.problems import UnknownProduct
from policy.product import Product, ProductState
from policy.store import (
    ACCOUNT,
    ANY_BLOCK,
    CREDENTIAL,
    CREDENTIAL_BY_IDENTIFIER,
    DOMAINS_OF_GROUP,
    GROUP,
    MOUNT,
    MOUNTS,
    PRODUCT,
    PRODUCT_VERSION,
    PRODUCTS,
    USER,
    Query,
    Store,
    Value,
)

T = TypeVar("T")

MAX_ENTRIES = 20_000
"""Entries kept before the cache starts anew: about 40 MB of accounts."""


class Catalogue:
    """Reads through, keeps what it found, forgets everything when the configuration changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._epoch = -1
        self._entries: dict[tuple[Any, ...], Any] = {}

    async def _one(self, query: Query[T], *parameters: Value) -> T | None:
        # The epoch is taken before reading: an entry read across a change is dropped with the next look.
        epoch = self._store.configuration_epoch
        if epoch != self._epoch or len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
            self._epoch = epoch
        key = (query.name, *parameters)
        known = self._entries.get(key)
        if known is not None:
            return cast(T, known)
        found: T | None = await self._store.one(query, *parameters)
        if found is not None and epoch == self._store.configuration_epoch:
            self._entries[key] = found
        return found

    async def mount(self, key: str) -> Mount:
        """The active mount with this key. Raises UnknownProduct."""
        mount = await self._one(MOUNT, key)
        if mount is None or not mount.active:
            raise UnknownProduct(f'nothing is mounted at "{key}"')
        return mount

    async def mounts(self) -> tuple[Mount, ...]:
        """Every mount, active or not."""
        return tuple(await self._store.many(MOUNTS))

    async def product(self, name: str) -> Product | None:
        """The newest version of a product."""
        return await self._one(PRODUCT, name)

    async def product_version(self, name: str, version: int) -> Product:
        """One version of a product. Raises UnknownProduct."""
        product = await self._one(PRODUCT_VERSION, name, version)
        if product is None:
            raise UnknownProduct(f'there is no product "{name}" in version {version}')
        return product

    async def active_product(self, name: str, protocol: str) -> Product:
        """The newest version of a product that is active and may be ordered by this protocol. Raises UnknownProduct."""
        product = await self.product(name)
        if product is None or product.state is not ProductState.ACTIVE or protocol not in product.protocols:
            raise UnknownProduct(f'the product "{name}" cannot be ordered here')
        return product

    async def products(self) -> tuple[Product, ...]:
        """The newest version of every product."""
        return tuple(await self._store.many(PRODUCTS))

    async def credential(self, credential_id: str) -> Credential | None:
        """A credential by its id."""
        return await self._one(CREDENTIAL, credential_id)

    async def credential_by_identifier(self, kind: CredentialType, identifier: str) -> Credential | None:
        """A credential by what its client calls it."""
        return await self._one(CREDENTIAL_BY_IDENTIFIER, kind, identifier)

    async def any_block(self) -> bool:
        """Whether anything is blocked (policy.blocking)."""
        found: bool | None = await self._one(ANY_BLOCK)
        return bool(found)

    async def group(self, name: str) -> Group | None:
        """A group by its name."""
        return await self._one(GROUP, name)

    async def lineage(self, name: str) -> tuple[Group, ...]:
        """A group and those above it, nearest first: all of them have to allow what is asked for."""
        found: list[Group] = []
        above: str | None = name
        while above is not None and (group := await self.group(above)) is not None and group not in found:
            found.append(group)
            above = group.parent
        return tuple(found)

    async def domains(self, group: str) -> tuple[Domain, ...]:
        """The pre-validated domains of a group, those whose time is over included."""
        epoch = self._store.configuration_epoch
        key = (DOMAINS_OF_GROUP.name, group)
        if epoch == self._epoch and key in self._entries:
            return cast(tuple[Domain, ...], self._entries[key])
        found = tuple(await self._store.many(DOMAINS_OF_GROUP, group))
        if epoch == self._epoch == self._store.configuration_epoch:
            self._entries[key] = found
        return found

    async def user(self, name: str) -> User | None:
        """A user by name."""
        return await self._one(USER, name)

    async def account(self, account_id: str) -> Account | None:
        """An ACME account by its id."""
        return await self._one(ACCOUNT, account_id)
