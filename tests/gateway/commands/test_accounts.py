"""gateway.commands.accounts and domains: what an account did, stopping it, and what its group need not prove."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.commands import accounts, certificates, domains
from policy.order import NewOrder
from policy.problems import AccountUnknown, Forbidden, Malformed, OrderConflict, Unauthenticated
from tests.conftest import House, dns
from tests.gateway.commands.issuing import ACTOR
from tests.policy.making import account, acme, request


async def ordered(house: House, *names: str) -> str:
    """An account with a valid certificate for each name."""
    principal = await acme(house)
    for name in names:
        order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(name),)))
        await house.core.ra.finalize(principal, order.id, request(name))
    return principal.owner


async def test_show_leads_from_the_account_to_its_certificates(house: House) -> None:
    """Account → orders → certificates with their state; newest first, no keys, no PEM."""
    id = await ordered(house, "a.certgate.test", "b.certgate.test")
    shown = await accounts.show(house.core, id=id, actor=ACTOR)
    assert shown["credential_identifier"] == "open"
    assert [one["identifiers"] for one in shown["orders"]] == [["dns:b.certgate.test"], ["dns:a.certgate.test"]]
    assert [one["serial"] for one in shown["certificates"]] == [one["serial"] for one in shown["orders"]]
    assert {one["status"] for one in shown["certificates"]} == {"valid"}
    assert not any("pem" in one for one in shown["certificates"])
    assert shown["events"][0]["tag"] == "ra:account:registered"
    assert len((await accounts.show(house.core, id=id, actor=ACTOR, orders=1))["orders"]) == 1
    with pytest.raises(AccountUnknown):
        await accounts.show(house.core, id="nothing", actor=ACTOR)


async def test_orders_come_in_pages(house: House) -> None:
    """Newest first, each once."""
    id = await ordered(house, *(f"h{number}.certgate.test" for number in range(5)))
    seen: list[Any] = []
    after = ""
    while True:
        page = await accounts.orders_page(house.core, id=id, actor=ACTOR, after=after, limit=2)
        seen += [one["identifiers"][0] for one in page["items"]]
        after = page["next"]
        if not after:
            break
    assert seen == [f"dns:h{number}.certgate.test" for number in (4, 3, 2, 1, 0)]


async def test_list_by_filters(house: House) -> None:
    """Mount, credential, status and text; oldest first, page by page."""
    first, second = await account(house), await account(house, "acme/default")
    await accounts.suspend(house.core, id=first.id, actor=ACTOR)

    async def found(**filters: str) -> list[str]:
        page = await accounts.page(house.core, actor=ACTOR, **filters)  # type: ignore[arg-type]
        return [one["id"] for one in page["items"]]

    assert await found() == sorted([first.id, second.id])
    assert await found(mount="acme/default") == [second.id]
    assert await found(credential="open") == [first.id]
    assert await found(status="suspended") == [first.id]
    assert await found(text=second.thumbprint[-12:]) == [second.id]
    page = await accounts.page(house.core, actor=ACTOR, limit=1)
    assert (await accounts.page(house.core, actor=ACTOR, after=page["next"]))["items"][0]["id"] != page["next"]
    with pytest.raises(Malformed, match="no status"):
        await found(status="odd")


async def test_suspend_resume_deactivate(house: House) -> None:
    """Nobody speaks for it meanwhile; what has ended never comes back."""
    principal = await acme(house)
    assert principal.account is not None
    id = principal.account.id
    now = await accounts.suspend(house.core, id=id, actor=ACTOR, why="odd")
    assert now["status"] == "suspended"
    with pytest.raises(Forbidden):
        await house.core.ra.place(principal, NewOrder(identifiers=(dns("a.certgate.test"),)))
    assert (await accounts.resume(house.core, id=id, actor=ACTOR))["status"] == "valid"
    assert (await accounts.deactivate(house.core, id=id, actor=ACTOR))["status"] == "revoked"
    for change in (accounts.suspend, accounts.resume, accounts.deactivate):
        with pytest.raises(OrderConflict):
            await change(house.core, id=id, actor=ACTOR)
    with pytest.raises((Unauthenticated, Forbidden)):
        await house.core.ra.place(principal, NewOrder(identifiers=(dns("a.certgate.test"),)))


async def test_an_account_that_is_not_paused(house: House) -> None:
    made = await account(house)
    with pytest.raises(Malformed, match="not paused"):
        await accounts.unpause(house.core, id=made.id, actor=ACTOR)


async def test_domains(house: House) -> None:
    """Added, shown with who vouched for it, replaced, removed."""
    add: dict[str, Any] = {"name": "Example.org", "group": "ops", "actor": ACTOR}
    made = await domains.add(house.core, until="2027-01-31", scope="wildcard", evidence="by letter", **add)
    assert (made["name"], made["scope"], made["active"]) == ("example.org", "wildcard", True)
    await domains.add(house.core, until="2027-02-28", **add)
    (one,) = await domains.list_(house.core, actor=ACTOR)
    assert (one["scope"], one["valid_till"], one["created_by"]) == ("exact", "2027-02-28T00:00:00Z", ACTOR.name)
    assert await domains.list_(house.core, actor=ACTOR, group="nobody") == []
    await domains.remove(house.core, name="example.org", group="ops", actor=ACTOR)
    assert await domains.list_(house.core, actor=ACTOR) == []
    wrongs: tuple[dict[str, Any], ...] = (
        {"until": "", "method": "guess"},
        {"until": "2027-01-31", "scope": "all"},
        {"until": "yesterday"},
    )
    for wrong in wrongs:
        with pytest.raises(Malformed):
            await domains.add(house.core, **add, **wrong)


async def test_renew_now_and_later(house: House) -> None:
    """Demands are listed until they are withdrawn."""
    id = await ordered(house, "a.certgate.test")
    serial = (await accounts.show(house.core, id=id, actor=ACTOR))["certificates"][0]["serial"]
    page = "https://ca.certgate.test/incident"
    made = await certificates.renew_now(
        house.core, actor=ACTOR, serials=[serial.upper()], product="tls", explanation_url=page
    )
    assert [one["object"] for one in made] == [f"certificate:{serial}", "product:tls"]
    assert await certificates.demands(house.core, actor=ACTOR) == made
    left = await certificates.renew_later(house.core, actor=ACTOR, serials=[serial])
    assert [one["object"] for one in left] == ["product:tls"]
