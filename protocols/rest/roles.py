"""Roles and the permissions that they are made of."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from policy.roles import PREDEFINED, RESOURCES, Role
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery, cut
from protocols.rest.schema import Body, View, given

Permissions = Annotated[
    tuple[str, ...],
    Meta(max_length=500, description="resource:verb[:scope], without a scope the narrowest; see GET /permissions."),
]


class RoleView(View, frozen=True, kw_only=True):
    """A role."""

    name: str
    title: str
    permissions: tuple[str, ...]
    predefined: Annotated[bool, Meta(description="Always there, and not to be changed.")]
    status: Annotated[str, Meta(description="active or deactivated; then it grants nothing.")]
    version: int


class NewRole(Body, frozen=True, kw_only=True):
    """A role to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    permissions: Permissions
    title: str = ""


class RoleChange(Body, frozen=True, kw_only=True):
    """What is to be different; what is left out stays."""

    permissions: Permissions | UnsetType = UNSET
    title: str | UnsetType = UNSET


class PermissionView(View, frozen=True, kw_only=True):
    """A permission, without its scope."""

    permission: str
    scopes: Annotated[tuple[str, ...], Meta(description="Those that it can have, the narrowest first.")]
    allows: str


def role_view(one: Role) -> RoleView:
    """A role as clients see it."""
    return RoleView(
        name=one.name,
        title=one.title,
        permissions=one.permissions,
        predefined=one.name in PREDEFINED,
        status="active" if one.active else "deactivated",
        version=one.version,
    )


async def list_permissions(call: Call, query: PageQuery, after: str, limit: int) -> Page:
    """GET /permissions."""
    found = [
        PermissionView(permission=f"{name}:{verb}", scopes=tuple(map(str, resource.scopes)), allows=sentence)
        for name, resource in RESOURCES.items()
        for verb, sentence in resource.verbs.items()
    ]
    return cut(found, lambda one: one.permission, lambda one: one, after, limit)


async def create_role(call: Call, new: NewRole) -> Reply:
    """POST /roles."""
    made = await call.door.people.create_role(Role(**given(new)), call.actor)
    return Reply(role_view(made), location=f"/roles/{made.name}", version=made.version)


async def list_roles(call: Call, query: PageQuery, after: str, limit: int) -> Page:
    """GET /roles."""
    return cut(await call.door.people.roles(call.actor), lambda one: one.name, role_view, after, limit)


async def get_role(call: Call) -> Reply:
    """GET /roles/{name}."""
    return _said(await call.door.people.role(call.path("name"), call.actor))


async def change_role(call: Call, change: RoleChange) -> Reply:
    """PATCH /roles/{name}."""
    name = call.path("name")
    version = call.matched((await call.door.people.role(name, call.actor)).version)
    await call.door.people.change_role(name, call.actor, version=version, **given(change))
    return _said(await call.door.people.role(name, call.actor))


async def deactivate_role(call: Call) -> Reply:
    """POST /roles/{name}/deactivate."""
    return await _active(call, False)


async def activate_role(call: Call) -> Reply:
    """POST /roles/{name}/activate."""
    return await _active(call, True)


async def _active(call: Call, active: bool) -> Reply:
    name = call.path("name")
    await call.door.people.change_role(name, call.actor, active=active)
    return _said(await call.door.people.role(name, call.actor))


def _said(one: Role) -> Reply:
    return Reply(role_view(one), version=one.version)


OPERATIONS = (
    Operation(
        "GET",
        "/permissions",
        "list-permissions",
        "Every permission, and what it allows",
        "role:read",
        list_permissions,
        query=PageQuery,
        answer=PermissionView,
    ),
    Operation(
        "POST",
        "/roles",
        "create-role",
        "Make a role",
        "role:create",
        create_role,
        body=NewRole,
        answer=RoleView,
        status=201,
        example={"name": "help-desk", "permissions": ["credential:read:group", "credential:rotate:group"]},
    ),
    Operation("GET", "/roles", "list-roles", "Every role", "role:read", list_roles, query=PageQuery, answer=RoleView),
    Operation("GET", "/roles/{name}", "get-role", "A role", "role:read", get_role, answer=RoleView),
    Operation(
        "PATCH",
        "/roles/{name}",
        "change-role",
        "Change a role that is not predefined",
        "role:change",
        change_role,
        body=RoleChange,
        answer=RoleView,
        example={"title": "Help desk"},
    ),
    Operation(
        "POST",
        "/roles/{name}/deactivate",
        "deactivate-role",
        "Have a role grant nothing",
        "role:deactivate",
        deactivate_role,
        answer=RoleView,
    ),
    Operation(
        "POST",
        "/roles/{name}/activate",
        "activate-role",
        "Have a role grant again what it says",
        "role:deactivate",
        activate_role,
        answer=RoleView,
    ),
)
