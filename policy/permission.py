"""Who may do what: permissions "resource:verb", roles as sets of them, and whose objects they reach."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policy.problems import Forbidden

EVERYTHING = "*"
"""In place of a permission: every one there is."""

REQUESTER = frozenset(
    {
        "product:read",
        "order:read",
        "order:place",
        "order:cancel",
        "certificate:read",
        "certificate:revoke",
    }
)
"""What everybody may who has a credential: order and look after what they ordered."""

ROLES: dict[str, frozenset[str]] = {
    "administrator": frozenset({EVERYTHING}),
    "requester": REQUESTER,
}
"""Roles that come with certgate. Users of no role are requesters."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do. `groups` are those whose objects it reaches; None reaches everybody's."""

    roles: tuple[str, ...]
    permissions: frozenset[str]
    groups: frozenset[str] | None

    def allows(self, permission: str) -> bool:
        """Whether this permission is among them."""
        return permission in self.permissions or EVERYTHING in self.permissions

    def check(self, permission: str) -> None:
        """Raises Forbidden without this permission."""
        if not self.allows(permission):
            raise Forbidden(f'this needs the permission "{permission}"', permission=permission)

    def narrowed(self, scopes: tuple[str, ...]) -> Grant:
        """The same, limited to these permissions; no scopes are no limit."""
        return replace(self, permissions=frozenset(filter(self.allows, scopes))) if scopes else self

    def reaches(self, group: str) -> bool:
        """Whether objects of this group are the caller's to see."""
        return self.groups is None or group in self.groups


def grant_of(roles: tuple[str, ...], groups: frozenset[str], scopes: tuple[str, ...]) -> Grant:
    """What a user of these roles and groups may do with a credential of these scopes; no scopes are no limit."""
    roles = roles or ("requester",)
    granted: frozenset[str] = frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
    everywhere = EVERYTHING in granted
    return Grant(roles, granted, None if everywhere else groups).narrowed(scopes)
