"""Permissions and roles: what can be allowed, in words. Who is allowed what is `policy.access`.

A permission is `resource:verb[:scope]`; the scope says whose objects it reaches. A role is a named set of permissions.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from policy.problems import Malformed


class Scope(StrEnum):
    """Whose objects a permission is about. Each contains the one before it."""

    OWN = "own"
    GROUP = "group"
    ALL = "all"


WIDTH = {scope: width for width, scope in enumerate(Scope)}
"""How far a scope reaches, for comparing."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: the scopes that make sense for it, narrowest first, and its verbs with a sentence each."""

    scopes: tuple[Scope, ...]
    verbs: Mapping[str, str]


_OWNED = (Scope.OWN, Scope.GROUP, Scope.ALL)
_GROUPED = (Scope.GROUP, Scope.ALL)
_SHARED = (Scope.ALL,)

RESOURCES: Mapping[str, Resource] = MappingProxyType(
    {
        "user": Resource(
            _OWNED,
            {
                "read": "look at users",
                "create": "make users, with no more than one may oneself",
                "change": "change users: their data, groups and roles",
                "deactivate": "stop users and all their credentials, and let them go on",
                "act-for": "ask in the name of a user, with no more than both may",
            },
        ),
        "group": Resource(
            _GROUPED,
            {
                "read": "look at groups",
                "create": "make groups",
                "change": "change groups: their limits, tags and parent",
                "deactivate": "archive groups, which stops their credentials, and bring them back",
            },
        ),
        "role": Resource(
            _SHARED,
            {
                "read": "look at roles and permissions",
                "create": "make roles, with no more than one may oneself",
                "change": "change roles",
                "deactivate": "stop roles from granting anything, and let them again",
            },
        ),
        "organization": Resource(
            _GROUPED,
            {
                "read": "look at organisations",
                "create": "make organisations",
                "change": "change the legal data of organisations, and agree for them",
                "validate": "vouch that the data of an organisation is right, until a day",
                "deactivate": "stop organisations",
            },
        ),
        "domain": Resource(
            _GROUPED,
            {
                "read": "look at domains and at the attempts to prove them",
                "create": "have a domain proven for a group",
                "change": "change scope, exclusions and method of domains",
                "verify": "have a challenge made and looked at",
                "vouch": "have a domain count as proven without a challenge",
                "deactivate": "have a domain count no more",
            },
        ),
        "credential": Resource(
            _OWNED,
            {
                "read": "look at credentials, never at secrets",
                "create": "make credentials",
                "change": "change credentials",
                "rotate": "give credentials a new secret",
                "suspend": "suspend and resume credentials",
                "revoke": "revoke credentials",
            },
        ),
        "order": Resource(
            _OWNED,
            {
                "read": "look at orders and at why they ended as they did",
                "place": "order certificates",
                "change": "change orders that are not submitted, their documents and agreements",
                "review": "accept and reject documents of orders",
                "approve": "approve and reject held orders of others",
                "cancel": "withdraw orders",
            },
        ),
        "certificate": Resource(
            _OWNED,
            {
                "read": "look at certificates",
                "renew": "renew and reissue certificates, and demand that they be renewed",
                "hold": "put certificates on hold and release them",
                "revoke": "revoke certificates",
                "tag": "give certificates tags",
            },
        ),
        "block": Resource(
            _SHARED, {"read": "look at what is blocked", "change": "block names, domains and keys, and lift blocks"}
        ),
        "account": Resource(
            _OWNED,
            {
                "read": "look at ACME accounts",
                "change": "suspend, resume, unpause and deactivate ACME accounts",
            },
        ),
        "product": Resource(_SHARED, {"read": "look at products", "change": "make and change products"}),
        "mount": Resource(_SHARED, {"read": "look at mounts", "change": "open, change and close mounts"}),
        "authority": Resource(_SHARED, {"read": "look at CAs", "change": "make CAs and publish CRLs"}),
        "audit": Resource(_SHARED, {"read": "read and verify the audit log", "seal": "sign the log as it stands"}),
        "system": Resource(
            _SHARED, {"read": "look at the state of server and store", "change": "back the store up, reload the server"}
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission; in text the scope is left out where the resource has only one."""

    resource: str
    verb: str
    scope: Scope

    def __str__(self) -> str:
        if len(RESOURCES[self.resource].scopes) == 1:
            return f"{self.resource}:{self.verb}"
        return f"{self.resource}:{self.verb}:{self.scope}"


def read_permission(text: str) -> Permission:
    """A permission from its text; a scope that is left out is the narrowest there is. Raises Malformed."""
    resource, _, rest = text.partition(":")
    verb, _, scope = rest.partition(":")
    known = RESOURCES.get(resource)
    if known is None:
        raise Malformed(f'"{text}" is no permission: there is no resource "{resource}"{_near(resource, RESOURCES)}')
    if verb not in known.verbs:
        raise Malformed(f'"{text}" is no permission: "{resource}" has no verb "{verb}"{_near(verb, known.verbs)}')
    if scope and scope not in known.scopes:
        raise Malformed(f'"{text}" is no permission: its scope is one of {", ".join(known.scopes)}')
    return Permission(resource, verb, Scope(scope) if scope else known.scopes[0])


def _near(text: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(text, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(known)}"


def widest(text: str) -> str:
    """The permission with the widest scope where the text says none: what narrows a verb leaves its scope alone."""
    resource = RESOURCES.get(text.partition(":")[0])
    return f"{text}:{resource.scopes[-1]}" if resource is not None and text.count(":") == 1 else text


def every_permission() -> list[Permission]:
    """Every permission there is, in its widest scope."""
    return [
        Permission(name, verb, resource.scopes[-1]) for name, resource in RESOURCES.items() for verb in resource.verbs
    ]


# --------------------------------------------------------------------------- roles


@dataclass(frozen=True, slots=True)
class Role:
    """What its users may do, as texts of permissions. An inactive one grants nothing."""

    name: str
    title: str
    permissions: tuple[str, ...]
    active: bool = True
    version: int = 1


def _in(scope: Scope, **verbs: str) -> tuple[str, ...]:
    """Permissions in a scope, or in the narrowest one above it that the resource has; verbs as words of a text."""
    found = []
    for name, listed in verbs.items():
        scopes = RESOURCES[name].scopes
        fitting = next(one for one in scopes if WIDTH[one] >= WIDTH[scope])
        found += [str(Permission(name, verb, fitting)) for verb in listed.split()]
    return tuple(found)


PREDEFINED: Mapping[str, Role] = MappingProxyType(
    {
        one.name: one
        for one in (
            Role("administrator", "Everything", tuple(str(one) for one in every_permission())),
            Role(
                "operator",
                "Registration authority: people, credentials, domains, orders and certificates of its groups",
                _in(
                    Scope.GROUP,
                    user="read create change deactivate",
                    group="read",
                    role="read",
                    organization="read create change validate",
                    domain="read create change verify deactivate",
                    credential="read create change rotate suspend revoke",
                    order="read place change review cancel",
                    certificate="read renew hold revoke tag",
                    account="read change",
                    product="read",
                    mount="read",
                ),
            ),
            Role(
                "approver",
                "Decides about held orders of its groups",
                _in(
                    Scope.GROUP,
                    user="read",
                    group="read",
                    organization="read",
                    domain="read",
                    order="read review approve",
                    certificate="read",
                    product="read",
                ),
            ),
            Role(
                "requester",
                "Orders certificates, and looks after its own",
                (
                    *_in(
                        Scope.OWN,
                        user="read",
                        credential="read rotate",
                        order="read place change cancel",
                        certificate="read renew revoke hold tag",
                        account="read",
                        product="read",
                    ),
                    *_in(Scope.GROUP, group="read", organization="read", domain="read verify"),
                ),
            ),
            Role(
                "auditor",
                "Looks at everything and changes nothing",
                _in(Scope.ALL, **dict.fromkeys(RESOURCES, "read")),
            ),
        )
    }
)
"""Roles that are always there and cannot be changed."""

Grants = Mapping[tuple[str, str], Scope]
"""The widest scope by resource and verb."""


def grants_of(roles: Iterable[Role]) -> Grants:
    """What these roles grant together. A stored text that is no permission (any more) grants nothing."""
    found: dict[tuple[str, str], Scope] = {}
    for role in roles:
        for text in role.permissions if role.active else ():
            try:
                one = read_permission(text)
            except Malformed:
                continue
            key = one.resource, one.verb
            if key not in found or WIDTH[found[key]] < WIDTH[one.scope]:
                found[key] = one.scope
    return MappingProxyType(found)
