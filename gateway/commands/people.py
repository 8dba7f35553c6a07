"""Commands about users, groups, roles and organisations: look at them, make, change and stop them.

`apply` makes what is not there and changes what is; what is not said stays as it is.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.commands.plain import moment, read_moment
from policy.access import Actor
from policy.account import Group, Organisation, User
from policy.problems import Malformed
from policy.roles import PREDEFINED, RESOURCES, Permission, Role

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command

T = TypeVar("T", User, Group, Role, Organisation)


def plain(one: User | Group | Role | Organisation) -> dict[str, Any]:
    """A value as scripts get it: no password, moments as texts."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(one))
    for name in ("validated_at", "validated_until", "agreed_at"):
        if name in found:
            found[name] = moment(getattr(one, name))
    found.pop("password", None)
    return found


def _changes(kind: type[T], wanted: dict[str, Any]) -> dict[str, Any]:
    """What was said about the fields of this kind, as its fields have it. Raises Malformed."""
    known = {one.name for one in fields(kind)} - {"name", "version", "password"}
    unknown = wanted.keys() - known
    if unknown:
        raise Malformed(f"there is no field {', '.join(sorted(unknown))}")
    said = {key: value for key, value in wanted.items() if value is not None}
    return {
        key: tuple(one for one in value if one) if isinstance(value, list) else value for key, value in said.items()
    }


def _outcome(name: str, changed: User | Group | Role | Organisation | None) -> dict[str, Any]:
    return {"name": name, "changed": changed is not None}


# --------------------------------------------------------------------------- users


async def user_list(core: Core, *, actor: Actor, group: str = "", text: str = "") -> list[dict[str, Any]]:
    """Every user, or those of a group, or with a text in name, e-mail or employee id; never a password."""
    return [plain(one) for one in await core.people.users(actor, group=group, text=text)]


async def user_show(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """One user. Raises Malformed."""
    return plain(await core.people.user(name, actor))


async def user_apply(core: Core, *, name: str, actor: Actor, **wanted: Any) -> dict[str, Any]:
    """Make or change a user; a password that is there stays. Raises Malformed, Forbidden, OrderConflict."""
    changes = _changes(User, wanted)
    there = {one.name for one in await core.people.users(actor)}
    if name in there:
        return _outcome(name, await core.people.change_user(name, actor, **changes))
    if not changes.get("groups"):
        raise Malformed("a new user is in some group")
    return _outcome(name, await core.people.create_user(User(name, **changes), actor))


# --------------------------------------------------------------------------- groups


async def group_list(core: Core, *, actor: Actor, archived: bool = False, tag: str = "") -> list[dict[str, Any]]:
    """Every group, archived ones when asked for."""
    return [plain(one) for one in await core.people.groups(actor, archived=archived, tag=tag)]


async def group_show(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """One group. Raises Malformed."""
    return plain(await core.people.group(name, actor))


async def group_apply(core: Core, *, name: str, actor: Actor, **wanted: Any) -> dict[str, Any]:
    """Make or change a group. Raises Malformed, Forbidden, OrderConflict."""
    changes = _changes(Group, wanted)
    if changes.get("quota", 0) < 0:
        changes["quota"] = None
    there = {one.name for one in await core.people.groups(actor, archived=True)}
    if name in there:
        return _outcome(name, await core.people.change_group(name, actor, **changes))
    return _outcome(name, await core.people.create_group(Group(name, **changes), actor))


# --------------------------------------------------------------------------- roles


def _role(one: Role) -> dict[str, Any]:
    return {**plain(one), "predefined": one.name in PREDEFINED}


async def role_list(core: Core, *, actor: Actor) -> list[dict[str, Any]]:
    """Every role, the predefined ones first."""
    return [_role(one) for one in await core.people.roles(actor)]


async def role_show(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """One role. Raises Malformed."""
    return _role(await core.people.role(name, actor))


async def role_apply(core: Core, *, name: str, actor: Actor, **wanted: Any) -> dict[str, Any]:
    """Make or change a role that is not predefined. Raises Malformed, Forbidden, OrderConflict."""
    changes = _changes(Role, wanted)
    there = {one.name for one in await core.people.roles(actor)}
    if name in there:
        return _outcome(name, await core.people.change_role(name, actor, **changes))
    new = Role(name, changes.pop("title", name), changes.pop("permissions", ()), **changes)
    return _outcome(name, await core.people.create_role(new, actor))


async def role_permissions(core: Core, *, actor: Actor) -> list[dict[str, Any]]:
    """Every permission, the scopes it can have, and what it allows."""
    actor.check("role:read")
    return [
        {
            "permission": f"{name}:{verb}",
            "scopes": [scope.value for scope in resource.scopes],
            "widest": str(Permission(name, verb, resource.scopes[-1])),
            "allows": sentence,
        }
        for name, resource in RESOURCES.items()
        for verb, sentence in resource.verbs.items()
    ]


# --------------------------------------------------------------------------- organisations


def _organisation(core: Core, one: Organisation) -> dict[str, Any]:
    return {**plain(one), "status": one.at(core.clock()).value}


async def organisation_list(
    core: Core, *, actor: Actor, inactive: bool = False, text: str = ""
) -> list[dict[str, Any]]:
    """Every organisation, stopped ones when asked for."""
    return [_organisation(core, one) for one in await core.organisations.all(actor, inactive=inactive, text=text)]


async def organisation_show(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """One organisation. Raises Malformed."""
    return _organisation(core, await core.organisations.one(name, actor))


async def organisation_apply(core: Core, *, name: str, actor: Actor, **wanted: Any) -> dict[str, Any]:
    """Make or change an organisation. Raises Malformed, Forbidden, OrderConflict."""
    changes = _changes(Organisation, wanted)
    there = {one.name for one in await core.organisations.all(actor, inactive=True)}
    if name in there:
        return _outcome(name, await core.organisations.change(name, actor, **changes))
    new = Organisation(name, changes.pop("title", ""), **changes)
    return _outcome(name, await core.organisations.create(new, actor))


async def organisation_validate(core: Core, *, name: str, until: str, actor: Actor) -> dict[str, Any]:
    """Vouch for the data as it stands. Raises Malformed, Forbidden, OrderConflict."""
    ends = read_moment(until)
    if ends is None:
        raise Malformed("say until when the data counts as right")
    return _organisation(core, await core.organisations.validate(name, ends, actor))


async def organisation_agree(core: Core, *, name: str, agreement: str, actor: Actor) -> dict[str, Any]:
    """Agree to terms in its name. Raises Malformed, Forbidden, OrderConflict."""
    return _organisation(core, await core.organisations.agree(name, agreement, actor))


COMMANDS: dict[str, Command] = {
    "user.list": user_list,
    "user.show": user_show,
    "user.apply": user_apply,
    "group.list": group_list,
    "group.show": group_show,
    "group.apply": group_apply,
    "role.list": role_list,
    "role.show": role_show,
    "role.apply": role_apply,
    "role.permissions": role_permissions,
    "organization.list": organisation_list,
    "organization.show": organisation_show,
    "organization.apply": organisation_apply,
    "organization.validate": organisation_validate,
    "organization.agree": organisation_agree,
}
