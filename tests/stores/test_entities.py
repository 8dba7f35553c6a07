"""Entities come back as they were written; versions follow one another; unique values stay unique."""

from __future__ import annotations

from typing import Any

import pytest

from ca_core.clock import FixedClock
from gateway.store import SQLiteStore
from policy import store as interface
from policy.account import AccountStatus
from policy.credential import CredentialState, CredentialType
from policy.ids import AuthorizationId, CredentialId, OrderId
from policy.order import AuthorizationStatus, Order, OrderStatus
from policy.product import ProductState
from policy.store import Conflict, Entity, Query
from tests.replacing import replace
from tests.stores import values
from tests.stores.values import NOW, at, inserting, saving

GET: dict[str, tuple[Query[Any], Any]] = {
    "Order": (interface.ORDER, lambda e: (e.id,)),
    "Authorization": (interface.AUTHORIZATION, lambda e: (e.id,)),
    "Account": (interface.ACCOUNT, lambda e: (e.id,)),
    "Credential": (interface.CREDENTIAL, lambda e: (e.id,)),
    "Product": (interface.PRODUCT, lambda e: (e.name,)),
    "Mount": (interface.MOUNT, lambda e: (e.key,)),
    "User": (interface.USER, lambda e: (e.name,)),
    "Group": (interface.GROUP, lambda e: (e.name,)),
    "Organisation": (interface.ORGANISATION, lambda e: (e.name,)),
    "StoredAuthority": (interface.AUTHORITIES, lambda e: ()),
    "ServiceKey": (interface.SERVICE_KEYS, lambda e: ()),
}


async def read(store: SQLiteStore, entity: Entity) -> object:
    query, key = GET[type(entity).__name__]
    return await store.one(query, *key(entity))


@pytest.mark.parametrize("kind", GET)
async def test_entity_comes_back_as_written(store: SQLiteStore, kind: str) -> None:
    """Inserted and read, saved and read: the same value, of every kind."""
    entities = values.one_of_each()
    await store.commit(inserting(*entities))
    entity = next(one for one in entities if type(one).__name__ == kind)
    assert await read(store, entity) == entity
    following = replace(entity, version=2)
    await store.commit(saving(following))
    assert await read(store, entity) == following


@pytest.mark.parametrize("kind", GET)
async def test_save_of_a_version_that_is_not_next_is_a_conflict(store: SQLiteStore, kind: str) -> None:
    """A save needs the version right before it; so one of two that read the same version fails."""
    entities = values.one_of_each()
    await store.commit(inserting(*entities))
    entity = next(one for one in entities if type(one).__name__ == kind)
    for version in (1, 3):
        with pytest.raises(Conflict, match=r"_save$"):
            await store.commit(saving(replace(entity, version=version)))
    assert await read(store, entity) == entity


@pytest.mark.parametrize("kind", GET)
async def test_second_insert_is_a_conflict(store: SQLiteStore, kind: str) -> None:
    """A key that is taken is a Conflict that names the statement."""
    entities = values.one_of_each()
    await store.commit(inserting(*entities))
    entity = next(one for one in entities if type(one).__name__ == kind)
    with pytest.raises(Conflict) as caught:
        await store.commit(inserting(entity))
    assert caught.value.statement.endswith("_insert")


async def test_conflict_names_the_unique_index(store: SQLiteStore) -> None:
    """What exactly is taken can be told to the client: the index says it."""
    await store.commit(inserting(values.credential(), values.account()))
    with pytest.raises(Conflict) as caught:
        await store.commit(inserting(values.account(spki=b"other")))
    assert (caught.value.statement, caught.value.index) == ("account_insert", "account_thumbprint")


async def test_identifier_of_a_revoked_credential_stays_taken(store: SQLiteStore) -> None:
    """Type and identifier of a credential are unique for good; another type may use the identifier."""
    await store.commit(inserting(values.credential(state=CredentialState.REVOKED)))
    again = values.credential(id=CredentialId("c2"), identifier="c1")
    with pytest.raises(Conflict) as caught:
        await store.commit(inserting(again))
    assert caught.value.index == "credential_identifier"
    await store.commit(inserting(replace(again, type=CredentialType.EST)))


async def test_account_needs_its_credential(store: SQLiteStore) -> None:
    """An account refers to a credential that is there."""
    with pytest.raises(Conflict, match="account_insert"):
        await store.commit(inserting(values.account()))


async def test_order_cannot_change_hands(store: SQLiteStore) -> None:
    """A save repeats what must not change of an order: its owner, for one."""
    one = values.order()
    await store.commit(inserting(one))
    with pytest.raises(Conflict, match="order_save"):
        await store.commit(saving(replace(one, version=2, owner="somebody else")))


async def test_reference_names_one_open_order(store: SQLiteStore) -> None:
    """(mount, credential, reference) is unique among open orders, and free again when the order has ended."""
    first = values.order(reference="r")
    await store.commit(inserting(first))
    with pytest.raises(Conflict) as caught:
        await store.commit(inserting(values.order(reference="r")))
    assert caught.value.index == "order_reference"
    await store.commit(inserting(values.order(reference="r", mount="est/default"), values.order(), values.order()))
    await store.commit(saving(replace(first, status=OrderStatus.VALID, version=2)))
    second = values.order(reference="r")
    await store.commit(inserting(second))
    key = ("rest/default", "c1", "r")
    assert await store.one(interface.ORDER_BY_REFERENCE, *key, 0) == second


async def test_ended_order_answers_to_its_reference_for_a_while(store: SQLiteStore) -> None:
    """A lost answer can be asked for again within the replay window."""
    one = values.order(reference="r", status=OrderStatus.VALID)
    await store.commit(inserting(one))
    key = ("rest/default", "c1", "r")
    end = int(NOW.timestamp()) + interface.REPLAY_SECONDS
    assert await store.one(interface.ORDER_BY_REFERENCE, *key, end) == one
    assert await store.one(interface.ORDER_BY_REFERENCE, *key, end + 1) is None


async def pages(store: SQLiteStore, query: Query[Any], *filters: str) -> list[Any]:
    """All rows of a query, two at a time."""
    rows: list[Any] = []
    after = ""
    while page := await store.many(query, *filters, after, 2):
        assert len(page) <= 2
        rows += page
        last = page[-1][0] if isinstance(page[-1], tuple) else page[-1]
        after = last.serial if hasattr(last, "sha256") else last.id
    return rows


async def test_orders_by_page(store: SQLiteStore) -> None:
    """Newest first, by status and credential, each order once, however the pages are cut."""
    made = [
        values.order(status=status, credential=CredentialId(who), owner=who)
        for status in (OrderStatus.HELD, OrderStatus.VALID, OrderStatus.INVALID)
        for who in ("c1", "c2", "c1")
    ]
    await store.commit(inserting(*made))
    newest = made[::-1]
    assert await pages(store, interface.ORDERS, "", "") == newest
    assert await pages(store, interface.ORDERS, "held", "") == [o for o in newest if o.status == "held"]
    assert await pages(store, interface.ORDERS, "", "c1") == [o for o in newest if o.credential == "c1"]
    both = [o for o in newest if o.credential == "c1" and o.status == "valid"]
    assert await pages(store, interface.ORDERS, "valid", "c1") == both
    assert await pages(store, interface.ORDERS_OF_OWNER, "c2") == [o for o in made if o.owner == "c2"]
    assert await store.many(interface.ORDERS, "", "", "no such order", 2) == []


def ids(orders: list[Order]) -> set[str]:
    return {one.id for one in orders}


async def test_open_orders(store: SQLiteStore) -> None:
    """Those that have not ended, by credential and owner; those whose time is over."""
    made = {status: values.order(id=OrderId(status.value), status=status) for status in OrderStatus}
    await store.commit(inserting(*made.values()))
    still_open = {"draft", "pending", "ready", "held"}
    assert ids(await store.many(interface.OPEN_ORDERS_OF_CREDENTIAL, "c1", 10)) == still_open
    assert ids(await store.many(interface.OPEN_ORDERS_OF_OWNER, "c1", 10)) == still_open
    assert len(await store.many(interface.OPEN_ORDERS_OF_OWNER, "c1", 2)) == 2
    now = int(NOW.timestamp())
    assert await store.many(interface.ORDERS_EXPIRED, now, 10) == []
    # Only the outcome of signing ends what is in processing.
    expired = await store.many(interface.ORDERS_EXPIRED, now + 86400, 10)
    assert ids(expired) == still_open


async def test_replaced_certificate(store: SQLiteStore) -> None:
    """A certificate counts as replaced while an order that replaces it is open or valid."""
    await store.commit(inserting(values.order(id=OrderId("o"), replaces="01")))
    assert await store.one(interface.REPLACED, "01")
    assert not await store.one(interface.REPLACED, "02")
    failed = values.order(id=OrderId("o"), replaces="01", status=OrderStatus.INVALID, version=2)
    await store.commit(saving(failed))
    assert not await store.one(interface.REPLACED, "01")


async def test_authorizations(store: SQLiteStore) -> None:
    """Many at once in the order asked; the one that can be reused; the pending orders that wait for one."""
    pending, valid = (
        values.authorization(id=AuthorizationId(status.value), status=status)
        for status in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID)
    )
    wildcard = values.authorization(status=AuthorizationStatus.VALID, wildcard=True)
    waiting = values.order(owner="a1", status=OrderStatus.PENDING, authorizations=(pending.id, valid.id))
    others = [
        values.order(owner="a1", status=OrderStatus.PENDING, product="pending"),
        values.order(owner="a2", status=OrderStatus.PENDING, authorizations=(pending.id,)),
        values.order(owner="a1", status=OrderStatus.INVALID, authorizations=(pending.id,)),
    ]
    await store.commit(inserting(pending, valid, wildcard, waiting, *others))
    assert await store.many(interface.AUTHORIZATIONS, '["valid","none","pending"]') == [valid, pending]
    assert await store.many(interface.ORDERS_OF_AUTHORIZATION, pending.id, 10) == [waiting]
    key = ("a1", "dns", "www.example.org")
    until = int(at(days=7).timestamp())
    assert await store.one(interface.AUTHORIZATION_REUSABLE, *key, 0, until) == valid
    assert await store.one(interface.AUTHORIZATION_REUSABLE, *key, 1, until) == wildcard
    assert await store.one(interface.AUTHORIZATION_REUSABLE, *key, 0, until + 1) is None


async def test_accounts(store: SQLiteStore) -> None:
    """By key at its mount, by credential in pages; a key counts as in use at any mount, for good."""
    made = sorted((values.account(thumbprint=str(n), spki=b"key %d" % n) for n in range(5)), key=lambda one: one.id)
    made[0] = replace(made[0], status=AccountStatus.DEACTIVATED)
    await store.commit(inserting(values.credential(), *made))
    one = made[0]
    assert await store.one(interface.ACCOUNT_BY_KEY, one.mount, one.thumbprint) == one
    assert await store.one(interface.ACCOUNT_BY_KEY, "acme/other", one.thumbprint) is None
    assert await pages(store, interface.ACCOUNTS_OF_CREDENTIAL, "c1") == made


async def test_credentials_by_page(store: SQLiteStore, clock: FixedClock) -> None:
    """Every filter, alone and together; the state is the one that counts now."""
    a = values.credential(id=CredentialId("a"), label="Printer 50% off")
    b = values.credential(id=CredentialId("b"), type=CredentialType.EST, user="bob", expires=at(hours=1))
    c = values.credential(id=CredentialId("c"), group="lab", products=("device",), not_before=at(hours=1))
    d = values.credential(id=CredentialId("d"), state=CredentialState.REVOKED)
    await store.commit(inserting(d, c, b, a))

    async def found(**wanted: str) -> list[str]:
        keys = ("type", "status", "user", "group", "product", "text")
        filters = [wanted.get(key, "") for key in keys]
        return [one.id for one in await pages(store, interface.CREDENTIALS, *filters)]

    assert await found() == ["a", "b", "c", "d"]
    assert await found(type="est") == ["b"]
    assert await found(status="active") == ["a", "b"]
    assert await found(status="pending") == ["c"]
    assert await found(user="bob") == ["b"]
    assert await found(group="lab") == ["c"]
    assert await found(product="tls-server") == ["a", "b", "d"]
    assert await found(product="tls") == []
    assert await found(text="50% OFF") == ["a"]
    assert await found(text="_") == []
    assert await found(status="active", user="ada") == ["a"]
    clock.advance(hours=1)
    assert await found(status="expired") == ["b"]
    assert await found(status="active") == ["a", "c"]
    assert await store.one(interface.CREDENTIAL_BY_IDENTIFIER, "est", "b") == b


async def test_product_versions_are_rows_of_their_own(store: SQLiteStore) -> None:
    """A save writes the next version; the one before can still be read as it was."""
    first, second = values.product(), values.product(2, state=ProductState.SUSPENDED)
    other = values.product(name="device")
    await store.commit(inserting(first, other))
    await store.commit(saving(second))
    assert await store.one(interface.PRODUCT, "tls-server") == second
    assert await store.one(interface.PRODUCT_VERSION, "tls-server", 1) == first
    assert await store.many(interface.PRODUCTS) == [other, second]


async def test_lists_of_what_is_few(store: SQLiteStore) -> None:
    """Users, groups, mounts, authorities and service keys come all at once."""
    entities = values.one_of_each()
    await store.commit(inserting(*entities))
    queries: tuple[Query[Any], ...] = (
        interface.USERS,
        interface.GROUPS,
        interface.MOUNTS,
        interface.AUTHORITIES,
        interface.SERVICE_KEYS,
    )
    for query in queries:
        (only,) = await store.many(query)
        assert only in entities
