"""Who may do what: the one check that every administrative use case asks.

A permission is `resource:verb[:scope]`. The scope says whose objects: the actor's own, those of the actor's groups
(and of the groups below them), or all. Nothing else grants anything: whoever comes through a door or the admin socket
is an `Actor` here, and what is not granted is refused.

Two rules keep what one may not see unseen: without the permission in any scope the answer comes before anything is
read, and an object out of sight is answered with the very problem of one that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from policy.problems import Forbidden, Malformed, Problem
from policy.roles import WIDTH, Grants, Permission, Scope, read_permission

T = TypeVar("T")


class UnknownObject(Malformed):
    """There is no such user, group, role, organisation, domain or credential, or it is out of the actor's sight."""

    title = "There is no such object"


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose an object is: the user's, and the groups' that it is in."""

    user: str = ""
    groups: tuple[str, ...] = ()


NOBODY = Owned()
"""Of what belongs to nobody in particular: only scope `all` reaches it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who administers. Made by `policy.acting`, from a proven principal or the peer of the admin socket.

    `name` is what the audit says; `groups` are the user's and all below them; `behind` is who really asks when it is
    in somebody's name: then only what both may is allowed.
    """

    name: str
    user: str
    groups: frozenset[str]
    grants: Grants = field(repr=False)
    behind: Actor | None = None

    @property
    def users(self) -> frozenset[str]:
        """Every user who has a hand in what this actor does."""
        return frozenset({self.user}) | (self.behind.users if self.behind is not None else frozenset())

    @property
    def permissions(self) -> tuple[str, ...]:
        """Everything that is granted, as texts."""
        return tuple(
            str(Permission(resource, verb, scope))
            for resource, verb in sorted(self.grants)
            if (scope := self.scope(f"{resource}:{verb}")) is not None
        )

    def scope(self, permission: str) -> Scope | None:
        """The scope in which "resource:verb" is granted; of two who act together, the narrower."""
        resource, _, verb = permission.partition(":")
        own = self.grants.get((resource, verb))
        if self.behind is None or own is None:
            return own
        other = self.behind.scope(permission)
        return None if other is None else min(own, other, key=WIDTH.__getitem__)

    def allows(self, text: str) -> bool:
        """Whether the permission in this text is granted, as wide at least; one without a scope, in any."""
        try:
            one = read_permission(text)
        except Malformed:
            return False
        own = self.scope(f"{one.resource}:{one.verb}")
        return own is not None and WIDTH[own] >= WIDTH[one.scope]

    def check(self, permission: str, owned: Owned | None = None) -> None:
        """That "resource:verb" is granted, for an object about to be made with this owner. Raises Forbidden."""
        if self.scope(permission) is None:
            raise Forbidden(f'this needs the permission "{permission}", which {self.user or "nobody"} does not have')
        if owned is not None and not self.reaches(permission, owned):
            raise Forbidden(f'the permission "{permission}" does not reach so far here')

    def reaches(self, permission: str, owned: Owned) -> bool:
        """Whether "resource:verb" is granted for an object of this owner.

        A user's own object in a group that this actor does not speak for (a credential speaks for one) is out of reach.
        Looking needs one of the object's groups in reach, everything else all of them: who administers one group of
        a user does not decide for the others.
        """
        return self._reaches(permission, owned) and (self.behind is None or self.behind.reaches(permission, owned))

    def _reaches(self, permission: str, owned: Owned) -> bool:
        resource, _, verb = permission.partition(":")
        scope = self.grants.get((resource, verb))
        if scope is None:
            return False
        if scope is Scope.ALL:
            return True
        within = [one in self.groups for one in owned.groups]
        if owned.user and owned.user == self.user and (any(within) or not within):
            return True
        enough = any if verb == "read" else all
        return scope is Scope.GROUP and bool(within) and enough(within)

    def find(self, permission: str, found: T | None, owned: Owned, missing: Problem) -> T:
        """The object, when "resource:verb" is granted for it.

        Raises Forbidden without the permission in any scope, whether or not the object is there; `missing` for one
        that is not there or out of sight; Forbidden for one that may be looked at and nothing more.
        """
        self.check(permission)
        if found is None:
            raise missing
        if self.reaches(permission, owned):
            return found
        if self.reaches(f"{permission.partition(':')[0]}:read", owned):
            raise Forbidden(f'the permission "{permission}" does not reach this one')
        raise missing

    def covers(self, grants: Grants) -> bool:
        """Whether this actor has all of these grants, as wide at least: nobody hands on more than they have."""
        return all(
            (own := self.scope(f"{resource}:{verb}")) is not None and WIDTH[own] >= WIDTH[scope]
            for (resource, verb), scope in grants.items()
        )
