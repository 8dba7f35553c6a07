"""The caller: what this credential is, what it may do and order."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.schema import View, moment


class OrderableProduct(View, frozen=True, kw_only=True):
    """A product that this credential may order through the API."""

    name: str
    title: str
    version: int


class QuotaView(View, frozen=True, kw_only=True):
    """How many certificates a group may have in this month, and has had."""

    group: str
    limit: int
    used: int


class Me(View, frozen=True, kw_only=True):
    """The caller, as far as proven."""

    user: str
    group: str
    roles: tuple[str, ...]
    credential: str
    identifier: str
    method: str
    permissions: Annotated[tuple[str, ...], Meta(description="What may be asked: resource:verb[:scope].")]
    groups: Annotated[tuple[str, ...], Meta(description="The groups that scope `group` is about.")]
    products: tuple[OrderableProduct, ...]
    domains: Annotated[tuple[str, ...], Meta(description="DNS suffixes that the group may ask for; empty for any.")]
    quotas: tuple[QuotaView, ...]
    acting_for: Annotated[str | None, Meta(description="The user in whose name this is asked.")]
    uses: Annotated[int, Meta(description="Certificates enrolled so far.")]
    use_limit: int | None
    expires: str | None


async def get_me(call: Call) -> Reply:
    """GET /me."""
    door, credential = call.door, call.principal.credential
    mount = await door.ra.mount(call.principal.mount)
    groups = await door.people.lineage(credential.group)
    products = [
        one
        for one in await door.ra.products(mount)
        if one.name in credential.products and all(one.name in group.products or not group.products for group in groups)
    ]
    actor = call.actor
    quotas = [
        QuotaView(group=group.name, limit=group.quota, used=await door.people.quota_used(group.name))
        for group in groups
        if group.quota is not None and (group.name == credential.group or actor.reaches("group:read", group.owned))
    ]
    return Reply(
        Me(
            user=credential.user,
            group=credential.group,
            roles=await door.people.roles_of(credential.user),
            credential=credential.id,
            identifier=credential.identifier,
            method=credential.method.value,
            permissions=actor.permissions,
            groups=tuple(sorted(actor.groups)),
            products=tuple(OrderableProduct(name=one.name, title=one.title, version=one.version) for one in products),
            domains=groups[0].domains if groups else (),
            quotas=tuple(quotas),
            acting_for=actor.user if actor.user != credential.user else None,
            uses=await door.inventory.uses(credential.id),
            use_limit=credential.use_limit,
            expires=None if credential.expires is None else moment(credential.expires),
        )
    )


OPERATIONS = (
    Operation(
        "GET", "/me", "get-me", "The caller: user, group, permissions, products, limits", None, get_me, answer=Me
    ),
)
