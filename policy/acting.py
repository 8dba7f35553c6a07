"""Who acts: an `Actor` from what authentication proved, or from the peer of the admin socket. Made nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from policy.access import Actor
from policy.account import User
from policy.credential import Principal
from policy.people import below, grants_of_user
from policy.problems import Forbidden
from policy.roles import Grants, Role, every_permission, grants_of, widest
from policy.store import GROUPS, USER, Store

_EVERYTHING: Grants = grants_of((Role("", "", tuple(str(one) for one in every_permission())),))


def operator(name: str) -> Actor:
    """Whoever runs certgate on its own machine: the store is theirs, so everything is allowed, and audited.

    `name` is "user:alice@cli"; alice decides about her own orders neither here nor elsewhere.
    """
    return Actor(name, name.partition(":")[2].removesuffix("@cli"), frozenset(), _EVERYTHING)


MAX_KNOWN = 10_000


class Acting:
    """Finds out what whoever asks may do. What was found holds until the configuration epoch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._epoch = -1
        self._known: dict[tuple[str, str, tuple[tuple[str, ...], ...]], Actor] = {}

    async def of(
        self, principal: Principal, *, limits: Sequence[tuple[str, ...]] = (), on_behalf_of: str | None = None
    ) -> Actor:
        """The actor behind an authenticated request: the user of its credential, in the credential's group.

        Each of `limits` (scopes of a credential, of an access token: permissions as texts, of which one without a
        scope of its own narrows the verb only) narrows what the user may; an empty one does not. `on_behalf_of` names
        the user for whom it asks. Raises Forbidden.
        """
        credential, epoch = principal.credential, self._store.configuration_epoch
        if epoch != self._epoch or len(self._known) >= MAX_KNOWN:
            self._known.clear()
            self._epoch = epoch
        key = credential.id, credential.group, tuple(limits)
        actor = self._known.get(key)
        if actor is None:
            actor = await self._of(principal, limits)
            if epoch == self._store.configuration_epoch:
                self._known[key] = actor
        return actor if on_behalf_of is None else await self.in_name_of(actor, on_behalf_of)

    async def _of(self, principal: Principal, limits: Sequence[tuple[str, ...]]) -> Actor:
        user = await self._active(principal.credential.user)
        if user is None:
            raise Forbidden("the user of this credential is deactivated")
        name = f"user:{user.name}@{principal.credential.identifier}"
        actor = await self._actor(name, user, (principal.credential.group,))
        for scopes in filter(None, limits):
            narrow = grants_of((Role("", "", tuple(map(widest, scopes))),))
            actor = replace(actor, behind=replace(actor, grants=narrow))
        return actor

    async def in_name_of(self, actor: Actor, name: str) -> Actor:
        """The actor asking in the name of a user: what both may, and both in the audit. Raises Forbidden."""
        actor.check("user:act-for")
        user = await self._active(name)
        if user is None or not actor.reaches("user:act-for", user.owned):
            raise Forbidden(f'you may not act for a user "{name}"')
        own = await self._actor(f"user:{name}", user, user.groups)
        return Actor(f"{own.name} by {actor.name}", own.user, own.groups, own.grants, actor)

    async def _active(self, name: str) -> User | None:
        user = await self._store.one(USER, name)
        return user if user is not None and user.active else None

    async def _actor(self, name: str, user: User, groups: Iterable[str]) -> Actor:
        reached = below(await self._store.many(GROUPS), groups)
        return Actor(name, user.name, reached, await grants_of_user(self._store, user))
