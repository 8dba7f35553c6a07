"""Users: who answers for credentials and orders."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from policy.account import User
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery, cut
from protocols.rest.schema import Body, View, given

UserName = Annotated[str, Meta(min_length=1, max_length=100, description="What the user is called; never changes.")]
Email = Annotated[str, Meta(max_length=320)]
Text = Annotated[str, Meta(max_length=200)]
Names = Annotated[tuple[str, ...], Meta(max_length=100)]


class UserView(View, frozen=True, kw_only=True):
    """A user. Of the groups, those that the caller may see."""

    name: str
    full_name: str
    email: str | None
    mobile: str
    designation: str
    employee_id: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    status: Annotated[str, Meta(description="active or deactivated.")]
    version: int


class NewUser(Body, frozen=True, kw_only=True):
    """A user to be made."""

    name: UserName
    groups: Annotated[Names, Meta(min_length=1, description="The groups that the user belongs to.")]
    roles: Annotated[Names, Meta(description="What the user may do; no more than the caller.")] = ()
    email: Email | None = None
    full_name: Text = ""
    mobile: Text = ""
    designation: Text = ""
    employee_id: Text = ""


class UserChange(Body, frozen=True, kw_only=True):
    """What is to be different; what is left out stays."""

    groups: Names | UnsetType = UNSET
    roles: Names | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    full_name: Text | UnsetType = UNSET
    mobile: Text | UnsetType = UNSET
    designation: Text | UnsetType = UNSET
    employee_id: Text | UnsetType = UNSET


class UserQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of the list."""

    group: str = ""
    text: Annotated[str, Meta(description="In name, e-mail or employee id.")] = ""
    active: bool | None = None


def user_view(one: User) -> UserView:
    """A user as clients see it."""
    return UserView(
        name=one.name,
        full_name=one.full_name,
        email=one.email,
        mobile=one.mobile,
        designation=one.designation,
        employee_id=one.employee_id,
        groups=one.groups,
        roles=one.roles,
        status="active" if one.active else "deactivated",
        version=one.version,
    )


async def create_user(call: Call, new: NewUser) -> Reply:
    """POST /users."""
    made = await call.door.people.create_user(User(**given(new)), call.actor)
    return Reply(user_view(made), location=f"/users/{made.name}", version=made.version)


async def list_users(call: Call, query: UserQuery, after: str, limit: int) -> Page:
    """GET /users."""
    found = await call.door.people.users(call.actor, group=query.group, text=query.text, active=query.active)
    return cut(found, lambda one: one.name, user_view, after, limit)


async def get_user(call: Call) -> Reply:
    """GET /users/{name}."""
    return _said(await call.door.people.user(call.path("name"), call.actor))


async def change_user(call: Call, change: UserChange) -> Reply:
    """PATCH /users/{name}."""
    name = call.path("name")
    version = call.matched((await call.door.people.user(name, call.actor)).version)
    await call.door.people.change_user(name, call.actor, version=version, **given(change))
    return _said(await call.door.people.user(name, call.actor))


async def deactivate_user(call: Call) -> Reply:
    """POST /users/{name}/deactivate."""
    return await _active(call, False)


async def activate_user(call: Call) -> Reply:
    """POST /users/{name}/activate."""
    return await _active(call, True)


async def _active(call: Call, active: bool) -> Reply:
    name = call.path("name")
    await call.door.people.change_user(name, call.actor, active=active)
    return _said(await call.door.people.user(name, call.actor))


def _said(one: User) -> Reply:
    return Reply(user_view(one), version=one.version)


OPERATIONS = (
    Operation(
        "POST",
        "/users",
        "create-user",
        "Make a user",
        "user:create",
        create_user,
        body=NewUser,
        answer=UserView,
        status=201,
        example={"name": "bob", "groups": ["operations"], "roles": ["requester"], "email": "bob@example.org"},
    ),
    Operation(
        "GET", "/users", "list-users", "Users, by any filter", "user:read", list_users, query=UserQuery, answer=UserView
    ),
    Operation("GET", "/users/{name}", "get-user", "A user", "user:read", get_user, answer=UserView),
    Operation(
        "PATCH",
        "/users/{name}",
        "change-user",
        "Change a user",
        "user:change",
        change_user,
        body=UserChange,
        answer=UserView,
        example={"designation": "Network operations"},
    ),
    Operation(
        "POST",
        "/users/{name}/deactivate",
        "deactivate-user",
        "Stop a user, and with them all their credentials",
        "user:deactivate",
        deactivate_user,
        answer=UserView,
    ),
    Operation(
        "POST",
        "/users/{name}/activate",
        "activate-user",
        "Let a deactivated user go on",
        "user:deactivate",
        activate_user,
        answer=UserView,
    ),
)
