"""Organisations: legal entities that certificates may name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from policy.account import Organisation
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery, cut
from protocols.rest.schema import Body, View, given, moment

Text = Annotated[str, Meta(max_length=300)]
Title = Annotated[str, Meta(min_length=1, max_length=300, description="The legal name.")]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166.")]


class OrganizationView(View, frozen=True, kw_only=True):
    """An organisation, and whether somebody vouches for its data."""

    name: str
    title: str
    country: str | None
    group: str | None
    registration_number: str
    jurisdiction: str
    street: str
    locality: str
    region: str
    postal_code: str
    phone: str
    status: Annotated[str, Meta(description="pending, validated, expired or inactive.")]
    validated_at: str | None
    validated_until: str | None
    validated_by: str
    agreement: str
    agreed_at: str | None
    agreed_by: str
    version: int


class NewOrganization(Body, frozen=True, kw_only=True):
    """An organisation to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="What it is called here; never changes.")]
    title: Title
    country: Country | None = None
    group: Annotated[str | None, Meta(description="The group that administers it.")] = None
    registration_number: Text = ""
    jurisdiction: Text = ""
    street: Text = ""
    locality: Text = ""
    region: Text = ""
    postal_code: Text = ""
    phone: Text = ""


class OrganizationChange(Body, frozen=True, kw_only=True):
    """What is to be different; what is left out stays. New legal data has to be vouched for again."""

    title: Title | UnsetType = UNSET
    country: Country | UnsetType | None = UNSET
    group: str | UnsetType | None = UNSET
    registration_number: Text | UnsetType = UNSET
    jurisdiction: Text | UnsetType = UNSET
    street: Text | UnsetType = UNSET
    locality: Text | UnsetType = UNSET
    region: Text | UnsetType = UNSET
    postal_code: Text | UnsetType = UNSET
    phone: Text | UnsetType = UNSET


class Vouching(Body, frozen=True, kw_only=True):
    """Until when the data counts as right."""

    until: datetime


class AgreementBody(Body, frozen=True, kw_only=True):
    """Which terms are agreed to, in which edition."""

    agreement: Annotated[str, Meta(min_length=1, max_length=200)]


class OrganizationQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of the list."""

    text: Annotated[str, Meta(description="In name or title.")] = ""
    inactive: Annotated[bool, Meta(description="Deactivated ones, too.")] = False


def _view(call: Call, one: Organisation) -> OrganizationView:
    return OrganizationView(
        name=one.name,
        title=one.title,
        country=one.country,
        group=one.group,
        registration_number=one.registration_number,
        jurisdiction=one.jurisdiction,
        street=one.street,
        locality=one.locality,
        region=one.region,
        postal_code=one.postal_code,
        phone=one.phone,
        status=one.at(call.door.clock()).value,
        validated_at=moment(one.validated_at) if one.validated_at else None,
        validated_until=moment(one.validated_until) if one.validated_until else None,
        validated_by=one.validated_by,
        agreement=one.agreement,
        agreed_at=moment(one.agreed_at) if one.agreed_at else None,
        agreed_by=one.agreed_by,
        version=one.version,
    )


async def create_organization(call: Call, new: NewOrganization) -> Reply:
    """POST /organizations."""
    made = await call.door.organisations.create(Organisation(**given(new)), call.actor)
    return Reply(_view(call, made), location=f"/organizations/{made.name}", version=made.version)


async def list_organizations(call: Call, query: OrganizationQuery, after: str, limit: int) -> Page:
    """GET /organizations."""
    found = await call.door.organisations.all(call.actor, inactive=query.inactive, text=query.text)
    return cut(found, lambda one: one.name, lambda one: _view(call, one), after, limit)


async def get_organization(call: Call) -> Reply:
    """GET /organizations/{name}."""
    return _said(call, await call.door.organisations.one(call.path("name"), call.actor))


async def change_organization(call: Call, change: OrganizationChange) -> Reply:
    """PATCH /organizations/{name}."""
    name, version = await _matched(call)
    await call.door.organisations.change(name, call.actor, version=version, **given(change))
    return await get_organization(call)


async def validate_organization(call: Call, body: Vouching) -> Reply:
    """POST /organizations/{name}/validate."""
    name, version = await _matched(call)
    return _said(call, await call.door.organisations.validate(name, body.until, call.actor, version))


async def agree_organization(call: Call, body: AgreementBody) -> Reply:
    """POST /organizations/{name}/agreement."""
    name, version = await _matched(call)
    return _said(call, await call.door.organisations.agree(name, body.agreement, call.actor, version))


async def deactivate_organization(call: Call) -> Reply:
    """POST /organizations/{name}/deactivate."""
    await call.door.organisations.change(call.path("name"), call.actor, active=False)
    return await get_organization(call)


async def activate_organization(call: Call) -> Reply:
    """POST /organizations/{name}/activate."""
    await call.door.organisations.change(call.path("name"), call.actor, active=True)
    return await get_organization(call)


async def _matched(call: Call) -> tuple[str, int]:
    name = call.path("name")
    return name, call.matched((await call.door.organisations.one(name, call.actor)).version)


def _said(call: Call, one: Organisation) -> Reply:
    return Reply(_view(call, one), version=one.version)


_ONE = "/organizations/{name}"

OPERATIONS = (
    Operation(
        "POST",
        "/organizations",
        "create-organization",
        "Make an organisation",
        "organization:create",
        create_organization,
        body=NewOrganization,
        answer=OrganizationView,
        status=201,
        example={"name": "acme", "title": "ACME Ltd", "country": "DE", "group": "operations"},
    ),
    Operation(
        "GET",
        "/organizations",
        "list-organizations",
        "Organisations, by any filter",
        "organization:read",
        list_organizations,
        query=OrganizationQuery,
        answer=OrganizationView,
    ),
    Operation(
        "GET",
        _ONE,
        "get-organization",
        "An organisation",
        "organization:read",
        get_organization,
        answer=OrganizationView,
    ),
    Operation(
        "PATCH",
        _ONE,
        "change-organization",
        "Change an organisation",
        "organization:change",
        change_organization,
        body=OrganizationChange,
        answer=OrganizationView,
        example={"locality": "Berlin"},
    ),
    Operation(
        "POST",
        f"{_ONE}/validate",
        "validate-organization",
        "Vouch that its data is right as it stands, until a day",
        "organization:validate",
        validate_organization,
        body=Vouching,
        answer=OrganizationView,
    ),
    Operation(
        "POST",
        f"{_ONE}/agreement",
        "agree-organization",
        "Agree to terms in its name",
        "organization:change",
        agree_organization,
        body=AgreementBody,
        answer=OrganizationView,
        example={"agreement": "subscriber agreement of 2026-01"},
    ),
    Operation(
        "POST",
        f"{_ONE}/deactivate",
        "deactivate-organization",
        "Stop an organisation",
        "organization:deactivate",
        deactivate_organization,
        answer=OrganizationView,
    ),
    Operation(
        "POST",
        f"{_ONE}/activate",
        "activate-organization",
        "Let a deactivated organisation go on",
        "organization:deactivate",
        activate_organization,
        answer=OrganizationView,
    ),
)
