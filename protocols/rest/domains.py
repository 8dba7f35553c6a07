"""Domains of groups: proven once, by a challenge or by somebody's word, for all orders of the group."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from policy.domain import Domain, DomainChallenge, DomainMethod, DomainScope, DomainStatus
from policy.prevalidation import answer
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery, cut
from protocols.rest.schema import Body, View, moment

Name = Annotated[str, Meta(min_length=1, max_length=253, description="The domain, without a wildcard.")]


class ChallengeView(View, frozen=True, kw_only=True):
    """What has to be shown until when: a TXT record, or a file on the domain's web server."""

    method: str
    expires: str
    record_name: str | None = None
    record_value: str | None = None
    file_url: str | None = None
    file_content: str | None = None


class AttemptView(View, frozen=True, kw_only=True):
    """One look at a challenge, and what was found."""

    number: Annotated[int, Meta(description="0 is the newest.")]
    at: str
    method: str
    outcome: Annotated[str, Meta(description='"validated", or the kind of problem.')]
    detail: str


class DomainView(View, frozen=True, kw_only=True):
    """A domain of a group."""

    name: str
    group: str
    scope: str
    status: Annotated[str, Meta(description="pending, validated, expired or inactive.")]
    verification: Annotated[str, Meta(description="independent, inherited or none.")]
    inherited_from: str | None
    method: str
    validated_at: str | None
    valid_till: str | None
    exclusions: tuple[str, ...]
    evidence: str
    challenge: ChallengeView | None
    created: str
    created_by: str
    version: int


class NewDomain(Body, frozen=True, kw_only=True):
    """A domain to be proven by a challenge; with `valid_till`, somebody vouches for it instead."""

    name: Name
    group: Annotated[str, Meta(min_length=1)]
    scope: DomainScope = DomainScope.EXACT
    method: DomainMethod = DomainMethod.DNS_TXT
    valid_till: Annotated[datetime | None, Meta(description="Vouched for until then: needs domain:vouch.")] = None
    evidence: Annotated[str, Meta(max_length=1000, description="How it was proven, where somebody vouches.")] = ""


class DomainChange(Body, frozen=True, kw_only=True):
    """What is to be different."""

    exclusions: Annotated[
        tuple[str, ...], Meta(max_length=200, description="Names that are no part of it, with all below them.")
    ]


class NewChallenge(Body, frozen=True, kw_only=True):
    """By which method; left out, by the one before."""

    method: DomainMethod | UnsetType = UNSET


class DomainQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of the list."""

    group: str = ""
    status: DomainStatus | None = None
    text: Annotated[str, Meta(description="In the name.")] = ""


def _challenge(name: str, one: DomainChallenge) -> ChallengeView:
    place, value = answer(name, one)
    if one.method is DomainMethod.DNS_TXT:
        return ChallengeView(
            method=one.method.value,
            expires=moment(one.expires),
            record_name=place,
            record_value=value,
        )
    return ChallengeView(
        method=one.method.value,
        expires=moment(one.expires),
        file_url=place,
        file_content=value,
    )


async def _view(call: Call, one: Domain) -> DomainView:
    now = call.door.clock()
    status, inherited = one.at(now), None
    if status in (DomainStatus.PENDING, DomainStatus.EXPIRED):
        inherited = await call.door.domains.inherited_from(one)
    own = "independent" if status is DomainStatus.VALIDATED else "none"
    return DomainView(
        name=one.name,
        group=one.group,
        scope=one.scope.value,
        status=DomainStatus.VALIDATED.value if inherited else status.value,
        verification="inherited" if inherited else own,
        inherited_from=inherited,
        method=one.method.value,
        validated_at=moment(one.validated_at) if one.validated_at else None,
        valid_till=moment(one.valid_till) if one.valid_till else None,
        exclusions=one.exclusions,
        evidence=one.evidence,
        challenge=None if one.challenge is None else _challenge(one.name, one.challenge),
        created=moment(one.created),
        created_by=one.created_by,
        version=one.version,
    )


async def create_domain(call: Call, new: NewDomain) -> Reply:
    """POST /domains."""
    domains = call.door.domains
    if new.valid_till is None:
        made = await domains.create(new.name, new.group, new.scope, new.method, call.actor)
    else:
        made = await domains.add(new.name, new.group, new.scope, new.valid_till, call.actor, new.evidence)
    view = await _view(call, made)
    return Reply(view, location=f"/domains/{made.group}/{made.name}", version=made.version)


async def list_domains(call: Call, query: DomainQuery, after: str, limit: int) -> Page:
    """GET /domains."""
    found = await call.door.domains.all(call.actor, query.group)
    views = [await _view(call, one) for one in found if query.text in one.name]
    wanted = [one for one in views if query.status is None or one.status == query.status]
    return cut(wanted, lambda one: f"{one.group}/{one.name}", lambda one: one, after, limit)


async def get_domain(call: Call) -> Reply:
    """GET /domains/{group}/{name}."""
    return await _said(call, await call.door.domains.one(call.path("name"), call.path("group"), call.actor))


async def change_domain(call: Call, change: DomainChange) -> Reply:
    """PATCH /domains/{group}/{name}."""
    name, group = call.path("name"), call.path("group")
    call.match((await call.door.domains.one(name, group, call.actor)).version)
    return await _said(call, await call.door.domains.change(name, group, call.actor, change.exclusions))


async def begin_challenge(call: Call, new: NewChallenge) -> Reply:
    """POST /domains/{group}/{name}/challenge."""
    method = None if new.method is UNSET else new.method
    return await _said(
        call, await call.door.domains.challenge(call.path("name"), call.path("group"), call.actor, method)
    )


async def verify_domain(call: Call) -> Reply:
    """POST /domains/{group}/{name}/verify."""
    return await _said(call, await call.door.domains.verify(call.path("name"), call.path("group"), call.actor))


async def list_attempts(call: Call, query: PageQuery, after: str, limit: int) -> Page:
    """GET /domains/{group}/{name}/attempts."""
    domain = await call.door.domains.one(call.path("name"), call.path("group"), call.actor)
    views = [
        AttemptView(number=number, at=moment(one.at), method=one.method.value, outcome=one.outcome, detail=one.detail)
        for number, one in enumerate(reversed(domain.attempts))
    ]
    return cut(views, lambda one: f"{one.number:03d}", lambda one: one, after, limit)


async def deactivate_domain(call: Call) -> Reply:
    """POST /domains/{group}/{name}/deactivate."""
    return await _said(call, await call.door.domains.deactivate(call.path("name"), call.path("group"), call.actor))


async def _said(call: Call, one: Domain) -> Reply:
    return Reply(await _view(call, one), version=one.version)


_ONE = "/domains/{group}/{name}"

OPERATIONS = (
    Operation(
        "POST",
        "/domains",
        "create-domain",
        "Have a domain proven for a group, or vouch for it",
        "domain:create",
        create_domain,
        body=NewDomain,
        answer=DomainView,
        status=201,
        example={"name": "shop.example.org", "group": "operations", "scope": "subdomains"},
    ),
    Operation(
        "GET",
        "/domains",
        "list-domains",
        "Domains, by any filter",
        "domain:read",
        list_domains,
        query=DomainQuery,
        answer=DomainView,
    ),
    Operation("GET", _ONE, "get-domain", "A domain of a group", "domain:read", get_domain, answer=DomainView),
    Operation(
        "PATCH",
        _ONE,
        "change-domain",
        "Say what is not part of a domain",
        "domain:change",
        change_domain,
        body=DomainChange,
        answer=DomainView,
    ),
    Operation(
        "POST",
        f"{_ONE}/challenge",
        "begin-domain-challenge",
        "Begin a challenge; the one before proves nothing any more",
        "domain:verify",
        begin_challenge,
        body=NewChallenge,
        answer=DomainView,
    ),
    Operation(
        "POST",
        f"{_ONE}/verify",
        "verify-domain",
        "Look whether the challenge is answered",
        "domain:verify",
        verify_domain,
        answer=DomainView,
    ),
    Operation(
        "GET",
        f"{_ONE}/attempts",
        "list-domain-attempts",
        "Looks at the challenges of a domain, newest first, with what was found",
        "domain:read",
        list_attempts,
        query=PageQuery,
        answer=AttemptView,
    ),
    Operation(
        "POST",
        f"{_ONE}/deactivate",
        "deactivate-domain",
        "Have a domain count no more",
        "domain:deactivate",
        deactivate_domain,
        answer=DomainView,
    ),
)
