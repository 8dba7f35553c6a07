"""What an order costs in reads of the store: features that an order does not use are free."""

from __future__ import annotations

from typing import Any

import pytest

from policy.order import NewOrder, Order
from policy.store import Query
from tests.conftest import House, dns
from tests.policy.making import acme, request


async def reads_of(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Order]:
    """The reads for placing an order of an account that has ordered before, whatever its name."""
    principal = await acme(house)
    await house.core.ra.place(principal, NewOrder(identifiers=(dns("warm.certgate.test"),)))
    store, seen = house.core.store, []
    one, many = store.one, store.many

    async def noted_one(query: Query[Any], *parameters: Any) -> Any:
        seen.append(query.name)
        return await one(query, *parameters)

    async def noted_many(query: Query[Any], *parameters: Any) -> Any:
        seen.append(query.name)
        return await many(query, *parameters)

    monkeypatch.setattr(store, "one", noted_one)
    monkeypatch.setattr(store, "many", noted_many)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(name),)))
    reads = list(seen)
    if name.endswith("certgate.test"):
        seen.clear()
        await house.core.ra.finalize(principal, order.id, request(name))
        assert "pauses_of_owner" not in seen
        assert "domains_of_group" not in seen
        assert seen.count("order_get") == 1
    return reads, order


async def test_a_trusted_name_is_ordered_without_any_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products, mounts, groups and their domains are kept until the configuration changes."""
    assert (await reads_of(house, "a.certgate.test", monkeypatch))[0] == []


async def test_a_name_that_is_to_be_proven_costs_one_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the account is paused for it: one look by key."""
    assert (await reads_of(house, "a.example.org", monkeypatch))[0] == ["pauses_of_owner"]
