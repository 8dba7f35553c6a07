"""Groups: users and credentials that belong together, and what they may ask for."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from policy.account import Group
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery, cut
from protocols.rest.schema import Body, View, given

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Names = Annotated[tuple[str, ...], Meta(max_length=200)]
Domains = Annotated[Names, Meta(description="DNS suffixes that it may ask for; empty for any.")]
Products = Annotated[Names, Meta(description="Products that it may have; empty for any.")]
Quota = Annotated[int, Meta(ge=0, description="Certificates in a calendar month (UTC), of it and all below it.")]
Parent = Annotated[str, Meta(description="The group above it, which has to allow what it may ask for.")]


class GroupView(View, frozen=True, kw_only=True):
    """A group."""

    name: str
    title: str
    parent: str | None
    organization: str | None
    tags: tuple[str, ...]
    allowed_products: tuple[str, ...]
    allowed_domains: tuple[str, ...]
    quota: int | None
    status: Annotated[str, Meta(description="active or archived.")]
    version: int


class NewGroup(Body, frozen=True, kw_only=True):
    """A group to be made."""

    name: Annotated[Name, Meta(description="What the group is called; never changes.")]
    title: str = ""
    parent: Parent | None = None
    organization: str | None = None
    tags: Names = ()
    allowed_products: Products = ()
    allowed_domains: Domains = ()
    quota: Quota | None = None


class GroupChange(Body, frozen=True, kw_only=True):
    """What is to be different; what is left out stays."""

    title: str | UnsetType = UNSET
    parent: Parent | UnsetType | None = UNSET
    organization: str | UnsetType | None = UNSET
    tags: Names | UnsetType = UNSET
    allowed_products: Products | UnsetType = UNSET
    allowed_domains: Domains | UnsetType = UNSET
    quota: Quota | UnsetType | None = UNSET


class GroupQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of the list."""

    tag: str = ""
    archived: Annotated[bool, Meta(description="Archived ones, too: they are no choice for anything new.")] = False


_FIELDS = {"organization": "organisation", "allowed_products": "products", "allowed_domains": "domains"}
"""Members that the model calls by another word."""


def group_view(one: Group) -> GroupView:
    """A group as clients see it."""
    return GroupView(
        name=one.name,
        title=one.title,
        parent=one.parent,
        organization=one.organisation,
        tags=one.tags,
        allowed_products=one.products,
        allowed_domains=one.domains,
        quota=one.quota,
        status="active" if one.active else "archived",
        version=one.version,
    )


def group_model(new: NewGroup) -> Group:
    """The group that a body describes."""
    return Group(**given(new, _FIELDS))


async def create_group(call: Call, new: NewGroup) -> Reply:
    """POST /groups."""
    made = await call.door.people.create_group(group_model(new), call.actor)
    return Reply(group_view(made), location=f"/groups/{made.name}", version=made.version)


async def list_groups(call: Call, query: GroupQuery, after: str, limit: int) -> Page:
    """GET /groups."""
    found = await call.door.people.groups(call.actor, archived=query.archived, tag=query.tag)
    return cut(found, lambda one: one.name, group_view, after, limit)


async def get_group(call: Call) -> Reply:
    """GET /groups/{name}."""
    return _said(await call.door.people.group(call.path("name"), call.actor))


async def change_group(call: Call, change: GroupChange) -> Reply:
    """PATCH /groups/{name}."""
    name = call.path("name")
    version = call.matched((await call.door.people.group(name, call.actor)).version)
    await call.door.people.change_group(name, call.actor, version=version, **given(change, _FIELDS))
    return _said(await call.door.people.group(name, call.actor))


async def archive_group(call: Call) -> Reply:
    """POST /groups/{name}/archive."""
    return await _active(call, False)


async def restore_group(call: Call) -> Reply:
    """POST /groups/{name}/restore."""
    return await _active(call, True)


async def _active(call: Call, active: bool) -> Reply:
    name = call.path("name")
    await call.door.people.change_group(name, call.actor, active=active)
    return _said(await call.door.people.group(name, call.actor))


def _said(one: Group) -> Reply:
    return Reply(group_view(one), version=one.version)


OPERATIONS = (
    Operation(
        "POST",
        "/groups",
        "create-group",
        "Make a group",
        "group:create",
        create_group,
        body=NewGroup,
        answer=GroupView,
        status=201,
        example={"name": "web", "parent": "operations", "allowed_domains": ["certgate.test"], "quota": 100},
    ),
    Operation(
        "GET",
        "/groups",
        "list-groups",
        "Groups, by any filter",
        "group:read",
        list_groups,
        query=GroupQuery,
        answer=GroupView,
    ),
    Operation("GET", "/groups/{name}", "get-group", "A group", "group:read", get_group, answer=GroupView),
    Operation(
        "PATCH",
        "/groups/{name}",
        "change-group",
        "Change a group",
        "group:change",
        change_group,
        body=GroupChange,
        answer=GroupView,
        example={"tags": ["production"]},
    ),
    Operation(
        "POST",
        "/groups/{name}/archive",
        "archive-group",
        "Archive a group: its credentials are refused, and it is no choice any more",
        "group:deactivate",
        archive_group,
        answer=GroupView,
    ),
    Operation(
        "POST",
        "/groups/{name}/restore",
        "restore-group",
        "Bring an archived group back",
        "group:deactivate",
        restore_group,
        answer=GroupView,
    ),
)
