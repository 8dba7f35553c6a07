"""Users, groups and roles: make, look at, change, stop. Each change is one commit with its audit event.

Three rules hold whoever asks: what is out of sight is answered as if it were not there; nobody makes, changes or
stops a user who may do more than they may themselves; a group's limits are its parent's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar

from ca_core.clock import Clock
from policy.access import NOBODY, Actor, Owned, UnknownObject
from policy.account import Group, User
from policy.audit import AuditEvent, AuditTag
from policy.problems import Forbidden, Malformed, OrderConflict, Problem
from policy.roles import PREDEFINED, Grants, Role, grants_of, read_permission
from policy.store import (
    CREDENTIAL,
    GROUP,
    GROUPS,
    ORGANISATION,
    PRODUCT,
    QUOTA_USED,
    ROLE,
    ROLES,
    USER,
    USERS,
    Conflict,
    Store,
    Unit,
)

T = TypeVar("T", Group, User, Role)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}")
"""What users, groups, roles and organisations are called: it stands in URLs, command lines and audit events."""
EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")

_LIMITS = ("domains", "products", "quota", "parent", "organisation")
"""What of a group bounds it: decided by who administers its parent."""


class People:
    """Administers users, groups and roles."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # ----------------------------------------------------------------- users

    async def user(self, name: str, actor: Actor) -> User:
        """A user, with those groups that the actor may see. Raises Malformed."""
        return _seen(await self._user(name, "user:read", actor), actor)

    async def users(self, actor: Actor, *, group: str = "", text: str = "", active: bool | None = None) -> list[User]:
        """The users in the actor's sight, by group, a text in name, e-mail or employee id, and activity."""
        actor.check("user:read")
        seen = [_seen(one, actor) for one in await self._store.many(USERS) if actor.reaches("user:read", one.owned)]
        wanted = text.lower()
        return [
            one
            for one in seen
            if (not group or group in one.groups)
            and (active is None or one.active is active)
            and wanted in f"{one.name} {one.full_name} {one.email or ''} {one.employee_id}".lower()
        ]

    async def create_user(self, user: User, actor: Actor) -> User:
        """Make a user. Raises Malformed, Forbidden, OrderConflict for a name that is taken."""
        actor.check("user:create", Owned(groups=user.groups))
        await self._check_user(user, actor, (), ())
        await check_covers(self._store, actor, user)
        return await self._insert(user, AuditTag.USER_APPLIED, actor, f"the user name {user.name} is taken")

    async def change_user(self, name: str, actor: Actor, *, version: int | None = None, **changes: Any) -> User | None:
        """Change these fields of a user; None when nothing would change. With `version`, only that version.

        Raises Malformed, Forbidden, OrderConflict.
        """
        permission = "user:deactivate" if changes.keys() == {"active"} else "user:change"
        current = await self._user(name, permission, actor)
        wanted = _changed(current, changes)
        if wanted.active is not current.active:
            actor.find("user:deactivate", current, current.owned, _no_user(name))
        await check_covers(self._store, actor, current)
        await self._check_user(wanted, actor, current.groups, current.roles)
        await check_covers(self._store, actor, wanted)
        return await self._save(current, wanted, version, AuditTag.USER_APPLIED, actor)

    async def apply_user(self, user: User, actor: Actor) -> User | None:
        """Make or change a user; None when nothing would change. Raises Malformed, Forbidden, OrderConflict."""
        if await self._store.one(USER, user.name) is None:
            return await self.create_user(user, actor)
        return await self.change_user(user.name, actor, **_fields(user))

    async def _user(self, name: str, permission: str, actor: Actor) -> User:
        actor.check(permission)
        found = await self._store.one(USER, name)
        return actor.find(permission, found, found.owned if found is not None else NOBODY, _no_user(name))

    async def _check_user(self, user: User, actor: Actor, groups: tuple[str, ...], roles: tuple[str, ...]) -> None:
        """That the user can be as described; `groups` and `roles` are those of before, which may stay."""
        check_name("user", user.name)
        if user.email is not None and EMAIL.fullmatch(user.email) is None:
            raise Malformed(f'"{user.email}" is no e-mail address')
        for name in user.groups:
            if name not in groups:
                # A group of the actor's own is no permission to bring others into it.
                await self._choice(name, "user:change" if groups else "user:create", actor)
        for name in user.roles:
            if name not in roles and await role_of(self._store, name) is None:
                known = [*PREDEFINED, *(one.name for one in await self._store.many(ROLES))]
                raise Malformed(f'there is no role "{name}"; there are {", ".join(known)}')

    async def _choice(self, name: str, permission: str, actor: Actor) -> Group:
        """A group that may be chosen for something new: there, in reach, not archived. Raises Malformed."""
        found = await self._store.one(GROUP, name)
        if found is None or not actor.reaches(permission, found.owned):
            raise Malformed(f'there is no group "{name}"')
        if not found.active:
            raise Malformed(f'the group "{name}" is archived')
        return found

    # ----------------------------------------------------------------- groups

    async def group(self, name: str, actor: Actor) -> Group:
        """A group. Raises Malformed."""
        return await self._group(name, "group:read", actor)

    async def groups(self, actor: Actor, *, archived: bool = False, tag: str = "") -> list[Group]:
        """The groups in the actor's sight; archived ones only when asked for, since they are no choice."""
        actor.check("group:read")
        return [
            one
            for one in await self._store.many(GROUPS)
            if actor.reaches("group:read", one.owned) and (archived or one.active) and (not tag or tag in one.tags)
        ]

    async def create_group(self, group: Group, actor: Actor) -> Group:
        """Make a group. Raises Malformed, Forbidden, OrderConflict for a name that is taken."""
        actor.check("group:create", _above(group))
        await self._check_group(group, None, actor)
        return await self._insert(group, AuditTag.GROUP_APPLIED, actor, f"the group name {group.name} is taken")

    async def change_group(
        self, name: str, actor: Actor, *, version: int | None = None, **changes: Any
    ) -> Group | None:
        """Change these fields of a group; None when nothing would change. With `version`, only that version.

        Raises Malformed, Forbidden, OrderConflict.
        """
        permission = "group:deactivate" if changes.keys() == {"active"} else "group:change"
        current = await self._group(name, permission, actor)
        wanted = _changed(current, changes)
        if wanted.active is not current.active:
            actor.find("group:deactivate", current, current.owned, _no_group(name))
        if any(getattr(wanted, one) != getattr(current, one) for one in _LIMITS):
            for owned in {_above(current), _above(wanted)}:
                if not actor.reaches("group:change", owned):
                    raise Forbidden("what a group may ask for is decided by who administers the group above it")
        await self._check_group(wanted, current, actor)
        return await self._save(current, wanted, version, AuditTag.GROUP_APPLIED, actor)

    async def apply_group(self, group: Group, actor: Actor) -> Group | None:
        """Make or change a group; None when nothing would change. Raises Malformed, Forbidden, OrderConflict."""
        if await self._store.one(GROUP, group.name) is None:
            return await self.create_group(group, actor)
        return await self.change_group(group.name, actor, **_fields(group))

    async def lineage(self, name: str) -> list[Group]:
        """A group and those above it, nearest first: what it may ask for, all of them have to allow."""
        found: list[Group] = []
        above: str | None = name
        while above is not None and (group := await self._store.one(GROUP, above)) is not None:
            found.append(group)
            above = group.parent
        return found

    async def quota_used(self, name: str) -> int:
        """How many certificates of its quota a group has had this month."""
        return await self._store.one(QUOTA_USED, name, f"{self._clock():%Y-%m}") or 0

    async def _group(self, name: str, permission: str, actor: Actor) -> Group:
        actor.check(permission)
        found = await self._store.one(GROUP, name)
        return actor.find(permission, found, Owned(groups=(name,)), _no_group(name))

    async def _check_group(self, group: Group, current: Group | None, actor: Actor) -> None:
        check_name("group", group.name)
        if group.quota is not None and group.quota < 0:
            raise Malformed("a quota is a number of certificates per month, not below 0")
        if group.organisation is not None and await self._store.one(ORGANISATION, group.organisation) is None:
            raise Malformed(f'there is no organisation "{group.organisation}"')
        for name in group.products:
            if await self._store.one(PRODUCT, name) is None:
                raise Malformed(f'there is no product "{name}"')
        if group.parent is not None and (current is None or current.parent != group.parent):
            await self._choice(group.parent, "group:create" if current is None else "group:change", actor)
            above: str | None = group.parent
            while above is not None:
                if above == group.name:
                    raise Malformed(f'"{group.parent}" is below "{group.name}" already: groups make no circle')
                found = await self._store.one(GROUP, above)
                above = found.parent if found is not None else None

    # ----------------------------------------------------------------- roles

    async def role(self, name: str, actor: Actor) -> Role:
        """A role, predefined or not. Raises Malformed."""
        actor.check("role:read")
        found = await role_of(self._store, name)
        if found is None:
            raise _no_role(name)
        return found

    async def roles(self, actor: Actor) -> list[Role]:
        """Every role, the predefined ones first."""
        actor.check("role:read")
        return [*PREDEFINED.values(), *await self._store.many(ROLES)]

    async def roles_of(self, name: str) -> tuple[str, ...]:
        """The names of a user's roles."""
        user = await self._store.one(USER, name)
        return user.roles if user is not None else ()

    async def create_role(self, role: Role, actor: Actor) -> Role:
        """Make a role. Raises Malformed, Forbidden for more than the actor may, OrderConflict for a taken name."""
        actor.check("role:create")
        role = _checked(role, actor)
        return await self._insert(role, AuditTag.ROLE_APPLIED, actor, f"the role name {role.name} is taken")

    async def change_role(self, name: str, actor: Actor, *, version: int | None = None, **changes: Any) -> Role | None:
        """Change these fields of a role; None when nothing would change. Raises as create_role."""
        actor.check("role:deactivate" if changes.keys() == {"active"} else "role:change")
        current = await self._store.one(ROLE, name)
        if name in PREDEFINED or current is None:
            raise Forbidden(f'the role "{name}" is predefined') if name in PREDEFINED else _no_role(name)
        wanted = _changed(current, changes)
        if wanted.active is not current.active:
            actor.check("role:deactivate")
        _checked(current, actor)
        return await self._save(current, _checked(wanted, actor), version, AuditTag.ROLE_APPLIED, actor)

    async def apply_role(self, role: Role, actor: Actor) -> Role | None:
        """Make or change a role; None when nothing would change. Raises as create_role."""
        if role.name not in PREDEFINED and await self._store.one(ROLE, role.name) is None:
            return await self.create_role(role, actor)
        return await self.change_role(role.name, actor, **_fields(role))

    # ----------------------------------------------------------------- shared

    async def _insert(self, entity: T, tag: AuditTag, actor: Actor, taken: str) -> T:
        unit = Unit()
        unit.insert(entity)
        unit.audit(self._event(tag, actor, entity, _fields(entity)))
        await self._commit(unit, OrderConflict(taken))
        return entity

    async def _save(self, current: T, wanted: T, version: int | None, tag: AuditTag, actor: Actor) -> T | None:
        kind = type(current).__name__.lower()
        changed_meanwhile = OrderConflict(f'the {kind} "{current.name}" was changed at the same time: look again')
        if version is not None and version != current.version:
            raise changed_meanwhile
        if wanted == current:
            return None
        new = replace(wanted, version=current.version + 1)
        if wanted.active is not current.active:
            tag = _ACTIVITY[type(current), wanted.active]
        unit = Unit()
        unit.save(new)
        before = _fields(current)
        what = {key: value for key, value in _fields(new).items() if value != before[key]}
        unit.audit(self._event(tag, actor, new, what))
        await self._commit(unit, changed_meanwhile)
        return new

    def _event(self, tag: AuditTag, actor: Actor, entity: T, what: dict[str, Any]) -> AuditEvent:
        kind = type(entity).__name__.lower()
        return AuditEvent(tag, self._clock(), actor.name, f"{kind}:{entity.name}", {"version": entity.version, **what})

    async def _commit(self, unit: Unit, problem: Problem) -> None:
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise problem from conflict


_ACTIVITY: dict[tuple[type, bool], AuditTag] = {
    (User, False): AuditTag.USER_DEACTIVATED,
    (User, True): AuditTag.USER_REACTIVATED,
    (Group, False): AuditTag.GROUP_ARCHIVED,
    (Group, True): AuditTag.GROUP_RESTORED,
    (Role, False): AuditTag.ROLE_DEACTIVATED,
    (Role, True): AuditTag.ROLE_REACTIVATED,
}


async def role_of(store: Store, name: str) -> Role | None:
    """The role of this name, predefined or made."""
    if name in PREDEFINED:
        return PREDEFINED[name]
    return await store.one(ROLE, name)


async def grants_of_user(store: Store, user: User) -> Grants:
    """What the roles of a user grant; a role that is not there (any more) grants nothing."""
    roles = [await role_of(store, name) for name in user.roles]
    return grants_of(one for one in roles if one is not None)


async def check_covers(store: Store, actor: Actor, user: User) -> None:
    """That the user may do nothing that the actor may not: else administering users would be a way up.

    Raises Forbidden.
    """
    if not actor.covers(await grants_of_user(store, user)):
        raise Forbidden(f'the user "{user.name}" would be allowed more than you are')


async def owned_through(store: Store, credential_id: str | None) -> Owned:
    """Whose an order, account or certificate is: that of the credential which it was made with."""
    if credential_id is None:
        return NOBODY
    credential = await store.one(CREDENTIAL, credential_id)
    return NOBODY if credential is None else credential.owned


def below(groups: Iterable[Group], names: Iterable[str]) -> frozenset[str]:
    """These groups and all below them."""
    children: dict[str, list[str]] = {}
    for one in groups:
        if one.parent is not None:
            children.setdefault(one.parent, []).append(one.name)
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += children.get(name, ())
    return frozenset(found)


def _above(group: Group) -> Owned:
    """Who decides about the limits of a group: the administrators of its parent, of a top one those of everything."""
    return Owned(groups=(group.parent,)) if group.parent is not None else NOBODY


def _seen(user: User, actor: Actor) -> User:
    """The user without the groups that the actor may not know of."""
    known = tuple(one for one in user.groups if actor.reaches("user:read", Owned(user.name, (one,))))
    return replace(user, groups=known)


def _checked(role: Role, actor: Actor) -> Role:
    """The role with its permissions in full. Raises Malformed, Forbidden."""
    check_name("role", role.name)
    if role.name in PREDEFINED:
        raise Forbidden(f'the role "{role.name}" is predefined')
    full = replace(role, permissions=tuple(dict.fromkeys(str(read_permission(one)) for one in role.permissions)))
    if not actor.covers(grants_of((replace(full, active=True),))):
        raise Forbidden("a role cannot be given permissions that you do not have yourself")
    return full


def _changed(current: T, changes: dict[str, Any]) -> T:
    fixed = {"name", "version", "password"} & changes.keys()
    if fixed or not changes.keys() <= {one.name for one in fields(current)}:
        raise Malformed(f"a change has no {', '.join(sorted(fixed)) or 'such fields'}")
    return replace(current, **changes)


def _fields(entity: T) -> dict[str, Any]:
    """What can be changed, by name; never a password."""
    left_out = ("name", "version", "password")
    return {one.name: getattr(entity, one.name) for one in fields(entity) if one.name not in left_out}


def check_name(kind: str, name: str) -> None:
    """That something may be called so. Raises Malformed."""
    if NAME.fullmatch(name) is None:
        raise Malformed(
            f'"{name}" is no name of a {kind}: letters, digits and @ . _ + -, at most 100, no sign in front'
        )


def _no_user(name: str) -> Problem:
    return UnknownObject(f'there is no user "{name}"')


def _no_group(name: str) -> Problem:
    return UnknownObject(f'there is no group "{name}"')


def _no_role(name: str) -> Problem:
    return UnknownObject(f'there is no role "{name}"')
