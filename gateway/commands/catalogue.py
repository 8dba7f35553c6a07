"""Commands about what may be had, and where: products, mounts.

What is applied is checked as the server will use it, before it is written: a product by its issuer and profile, a
mount by its door. `changes` says, key by key, what differs from what is there; with `dry_run` that is all.
"""

from __future__ import annotations

from dataclasses import replace
from ssl import PEM_cert_to_DER_cert
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.app import services_for
from gateway.commands.order_steps import request_of
from gateway.seeds import mount_of, read_product, read_toml
from policy.access import NOBODY, Actor
from policy.credential import CredentialType
from policy.mount import Mount
from policy.orderform import order_form
from policy.problems import Malformed
from policy.product import Product, ProductState
from policy.productlint import lint
from policy.proposing import Change, changes_between, without_versions
from protocols import available

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


# --------------------------------------------------------------------------- products


async def product_list(core: Core, *, actor: Actor) -> list[dict[str, Any]]:
    """The newest version of every product, in short."""
    actor.check("product:read", NOBODY)
    return [
        {
            "name": one.name,
            "version": one.version,
            "state": one.state.value,
            "title": one.title,
            "issuer": one.issuer,
            "profile": one.profile.name,
            "protocols": list(one.protocols),
            "approval": one.approval,
        }
        for one in await core.inventory.products()
    ]


async def product_show(core: Core, *, name: str, actor: Actor, version: int | None = None) -> dict[str, Any]:
    """Everything about a product, in the form in which a file has it. Raises UnknownProduct."""
    actor.check("product:read", NOBODY)
    return _plain(await core.inventory.product(name, version))


async def product_apply(
    core: Core,
    *,
    text: str,
    actor: Actor,
    source: str = "the product",
    dry_run: bool = False,
    accept: list[str] | None = None,
) -> dict[str, Any]:
    """Make what a TOML text says the newest version of its product. Raises Malformed, OrderConflict."""
    actor.check("product:change", NOBODY)
    await _check_product(core, read_product(text, source), source)
    made = await core.proposing.apply(text, source, actor, dry_run=dry_run, accept=tuple(accept or ()))
    return {
        "name": made.product.name,
        "new": made.new,
        "changes": [_change(one) for one in made.changes],
        "version": made.version,
        "findings": [msgspec.to_builtins(one) for one in made.findings],
    }


def _change(one: Change) -> dict[str, Any]:
    return {"key": one.key, "old": one.old, "new": one.new}


async def product_versions(core: Core, *, name: str, actor: Actor) -> list[dict[str, Any]]:
    """Every version of a product, newest first. Raises UnknownProduct."""
    actor.check("product:read", NOBODY)
    found = await core.inventory.product_versions(name)
    return [{"version": one.version, "state": one.state.value, "title": one.title} for one in found]


async def product_schema(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """What an order of a product may say. Raises UnknownProduct."""
    actor.check("product:read", NOBODY)
    return order_form(await core.inventory.product(name))


async def product_lint(core: Core, *, name: str, actor: Actor, text: str | None = None) -> list[dict[str, Any]]:
    """What product lint finds in a product, as it is or as a text has it. Raises UnknownProduct, Malformed."""
    actor.check("product:read", NOBODY)
    return [msgspec.to_builtins(one) for one in lint(await core.proposing.proposed(name, text))]


async def product_try(
    core: Core, *, name: str, credential: str, csr: str, actor: Actor, text: str | None = None
) -> dict[str, Any]:
    """What a request would get, without ordering. Raises UnknownProduct, Malformed."""
    actor.check("product:read", NOBODY)
    request = request_of(csr)
    assert request is not None
    tried = await core.proposing.dry_run(await core.proposing.proposed(name, text), credential, request, actor)
    problem = tried.problem
    return {
        "issued": problem is None,
        "decision": [dict(zip(("rule", "outcome", "detail"), one, strict=True)) for one in tried.steps],
        "problem": None if problem is None else {"kind": problem.kind, "detail": problem.detail},
    }


async def product_replay(core: Core, *, name: str, days: int, actor: Actor, text: str | None = None) -> dict[str, Any]:
    """Which orders of the last days a product would refuse. Raises UnknownProduct, Malformed."""
    actor.check("product:read", NOBODY)
    found = await core.proposing.replay(await core.proposing.proposed(name, text), days, actor)
    broken = [
        {"order": one.order.id, "names": [str(name) for name in one.order.identifiers], "detail": one.problem.detail}
        for one in found.broken
    ]
    return {"looked": found.looked, "broken": broken}


async def _check_product(core: Core, product: Product, source: str) -> None:
    issuers = {one.name for one in await core.inventory.authorities()}
    if product.issuer not in issuers:
        raise Malformed(f'{source}: there is no CA "{product.issuer}"; there are {_list(issuers)}')
    foreign = set(product.protocols) - set(CredentialType)
    if foreign or not product.protocols:
        raise Malformed(f"{source}: protocols are some of {_list(set(CredentialType))}, not {_list(foreign)}")
    if product.issuer in core.ca.issuers:
        try:
            core.ca.check_profile(product.issuer, product.profile)
        except ValueError as fault:
            raise Malformed(f"{source}: {fault}") from fault


async def product_state(core: Core, *, name: str, state: str, actor: Actor) -> dict[str, Any]:
    """Activate, suspend or retire a product: a new version with that state. Raises UnknownProduct, Malformed."""
    actor.check("product:change", NOBODY)
    if state not in list(ProductState):
        raise Malformed(f'"{state}" is no state of a product; there are {", ".join(ProductState)}')
    changed = await core.administration.set_product_state(name, ProductState(state), actor)
    return {"name": changed.name, "version": changed.version, "state": changed.state.value}


# --------------------------------------------------------------------------- mounts


async def mount_list(core: Core, *, actor: Actor) -> list[dict[str, Any]]:
    """Every mount, closed ones too."""
    actor.check("mount:read", NOBODY)
    return [{"key": one.key, **_plain(one)} for one in await core.inventory.mounts()]


async def mount_show(core: Core, *, key: str, actor: Actor) -> dict[str, Any]:
    """Everything about a mount, in the form in which a file has it. Raises Malformed."""
    actor.check("mount:read", NOBODY)
    return _plain(await core.inventory.mount(key))


async def mount_apply(
    core: Core, *, text: str, actor: Actor, source: str = "the mount", dry_run: bool = False
) -> dict[str, Any]:
    """Open a door at a place, or change it, as a TOML text says. Raises Malformed, UnknownProduct, OrderConflict."""
    actor.check("mount:change", NOBODY)
    table = read_toml(text, source)
    if isinstance(table.get("anchors"), list):
        table["anchors"] = [_anchor(one, source) for one in table["anchors"]]
    if table.get("open_credential"):
        table["open_credential"] = (await core.administration.credential(str(table["open_credential"]))).id
    mount = mount_of(table, source)
    _check_mount(core, mount, source)
    return await _apply_mount(core, mount, actor, dry_run=dry_run)


async def mount_activate(core: Core, *, key: str, active: bool, actor: Actor) -> dict[str, Any]:
    """Open a mount again, or close it: a closed one is not served. Raises Malformed."""
    actor.check("mount:change", NOBODY)
    mount = await core.inventory.mount(key)
    return await _apply_mount(core, replace(mount, active=active), actor)


async def _apply_mount(core: Core, mount: Mount, actor: Actor, *, dry_run: bool = False) -> dict[str, Any]:
    current = next((one for one in await core.inventory.mounts() if one.key == mount.key), None)
    changes = [_change(one) for one in changes_between(without_versions(current), without_versions(mount))]
    if changes and not dry_run:
        await core.administration.apply_mount(mount, actor)
    return {"key": mount.key, "new": current is None, "changes": changes, "active": mount.active}


def _anchor(value: Any, source: str) -> Any:
    """A trust anchor as PEM, which is what people have; the base64 of DER is what `mount show` writes."""
    if not isinstance(value, str) or "BEGIN CERTIFICATE" not in value:
        return value
    try:
        return PEM_cert_to_DER_cert(value.strip() + "\n")
    except ValueError as fault:
        raise Malformed(f"{source}: an anchor is no PEM certificate: {fault}") from fault


def _check_mount(core: Core, mount: Mount, source: str) -> None:
    """Let the door make its routes: what it refuses now would stop the next start of the server."""
    doors = {one.name: one for one in available() if one.credential_form}
    if mount.protocol not in doors:
        raise Malformed(f'{source}: there is no door "{mount.protocol}"; there are {_list(set(doors))}')
    if mount.issuer not in core.ca.issuers:
        raise Malformed(f'{source}: there is no CA "{mount.issuer}" in use; there are {_list(set(core.ca.issuers))}')
    try:
        doors[mount.protocol].factory(services_for(core, mount.protocol)).routes((mount,))
    except ValueError as fault:
        raise Malformed(f"{source}: {fault}") from fault


# --------------------------------------------------------------------------- what differs


def _plain(value: Product | Mount) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain


def _list(names: set[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names)) or "none"


COMMANDS: dict[str, Command] = {
    "product.list": product_list,
    "product.show": product_show,
    "product.apply": product_apply,
    "product.state": product_state,
    "product.versions": product_versions,
    "product.schema": product_schema,
    "product.lint": product_lint,
    "product.try": product_try,
    "product.replay": product_replay,
    "mount.list": mount_list,
    "mount.show": mount_show,
    "mount.apply": mount_apply,
    "mount.activate": mount_activate,
}
