"""Commands about ACME accounts: what they ordered and got, stop them, let them go on, end them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.commands.certificates import certificate_value
from gateway.commands.orders import order_value
from gateway.commands.plain import event_value, moment, page_size
from policy.access import NOBODY, Actor
from policy.account import Account, AccountStatus
from policy.problems import Malformed
from policy.sealing import fingerprint
from policy.store import Pause

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command

ORDERS_SHOWN = 20


def account_value(account: Account) -> dict[str, Any]:
    """An account, without its key but for the two names that it has."""
    return {
        "id": account.id,
        "mount": account.mount,
        "credential": account.credential,
        "status": account.status.value,
        "contact": list(account.contact),
        "created": moment(account.created),
        "agreed": account.agreed,
        "bound": account.binding is not None,
        "thumbprint": account.thumbprint,
        "spki_sha256": fingerprint(account.spki),
        "version": account.version,
    }


def pause_value(pause: Pause) -> dict[str, Any]:
    """A name that an account is paused for."""
    return {"identifier": str(pause.identifier), "at": moment(pause.at), "detail": pause.detail}


async def page(
    core: Core,
    *,
    actor: Actor,
    after: str = "",
    limit: int = 500,
    mount: str = "",
    credential: str = "",
    status: str = "",
    text: str = "",
) -> dict[str, Any]:
    """Accounts by any of these filters, and where the next page begins ("" at the end). Raises Malformed."""
    actor.check("account:read", NOBODY)
    if status and status not in list(AccountStatus):
        raise Malformed(f'"{status}" is no status of an account; there are {", ".join(AccountStatus)}')
    if credential:
        credential = (await core.administration.credential(credential)).id
    size = page_size(limit)
    found = await core.inventory.account_page(after, size, mount=mount, credential=credential, status=status, text=text)
    return {"items": [account_value(one) for one in found], "next": found[-1].id if len(found) == size else ""}


async def show(core: Core, *, id: str, actor: Actor, orders: int = ORDERS_SHOWN) -> dict[str, Any]:
    """An account with its newest orders, their certificates, what it is paused for, and its events.

    Raises AccountUnknown.
    """
    actor.check("account:read", NOBODY)
    account = await core.inventory.account(id)
    found = await core.inventory.orders_of_account(account.id, "", page_size(orders))
    now = core.clock()
    certificates = [
        certificate_value(await core.inventory.certificate(order.serial), now) for order in found if order.serial
    ]
    credential = await core.administration.credential(account.credential)
    return {
        **account_value(account),
        "credential_identifier": credential.identifier,
        "paused": [pause_value(one) for one in await core.inventory.pauses(account.id)],
        "orders": [order_value(order) for order in found],
        "certificates": [{name: value for name, value in one.items() if name != "pem"} for one in certificates],
        "events": [event_value(event) for event in await core.inventory.events(f"account:{account.id}")],
    }


async def orders_page(core: Core, *, id: str, actor: Actor, after: str = "", limit: int = 500) -> dict[str, Any]:
    """The orders of an account, newest first, and where the next page begins. Raises AccountUnknown."""
    actor.check("order:read", NOBODY)
    account = await core.inventory.account(id)
    size = page_size(limit)
    found = await core.inventory.orders_of_account(account.id, after, size)
    return {"items": [order_value(order) for order in found], "next": found[-1].id if len(found) == size else ""}


async def suspend(core: Core, *, id: str, actor: Actor, why: str = "") -> dict[str, Any]:
    """Refuse it until it is resumed. Raises AccountUnknown, OrderConflict."""
    return account_value(await core.registering.suspend(id, why or "no reason was given", actor))


async def resume(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """Accept it again. Raises AccountUnknown, OrderConflict."""
    return account_value(await core.registering.resume(id, actor))


async def deactivate(core: Core, *, id: str, actor: Actor, why: str = "") -> dict[str, Any]:
    """End it for good, with its open orders. Raises AccountUnknown, OrderConflict."""
    return account_value(await core.registering.revoke(id, why or "no reason was given", actor))


async def unpause(core: Core, *, id: str, actor: Actor, names: list[str] | None = None) -> list[dict[str, Any]]:
    """Let it order these names again, or all that it is paused for. Raises AccountUnknown, Malformed, OrderConflict."""
    return [pause_value(one) for one in await core.registering.unpause(id, names or (), actor)]


COMMANDS: dict[str, Command] = {
    "account.page": page,
    "account.show": show,
    "account.orders": orders_page,
    "account.suspend": suspend,
    "account.resume": resume,
    "account.deactivate": deactivate,
    "account.unpause": unpause,
}
