"""A user with group and credential in one call, all of it stopped in another; asked again, nothing is done twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ca_core.status import RevocationReason
from policy.access import Actor
from policy.account import Group, User
from policy.administration import Administration
from policy.credential import Credential, CredentialState
from policy.credentialing import NewCredential
from policy.people import People
from policy.problems import OrderConflict
from policy.store import CREDENTIAL_BY_IDENTIFIER, CREDENTIALS, Store

PAGE = 100


@dataclass(frozen=True, slots=True)
class Onboarded:
    """What there is now. `secret` is that of a credential which this very call made, shown this once."""

    user: User
    group: Group
    credential: Credential
    secret: str | None
    made: tuple[str, ...]
    """Which of the three were not there before: "group", "user", "credential"."""


@dataclass(frozen=True, slots=True)
class Offboarded:
    """What was stopped by this call: how many credentials, open orders and certificates."""

    user: User
    credentials: tuple[str, ...]
    orders: int
    certificates: int


class Onboarding:
    """Brings users in and takes them out. Each step asks for its own permission, as if it came alone."""

    def __init__(self, store: Store, people: People, administration: Administration) -> None:
        self._store = store
        self._people = people
        self._administration = administration

    async def onboard(self, group: Group | str, user: User, new: NewCredential, actor: Actor) -> Onboarded:
        """Make what is not there: the group (a name is one that has to be there), its user, the user's credential.

        What is there stays as it is. A call that was cut short goes on where it stopped when it comes again. Raises
        what the steps raise; OrderConflict when the credential's identifier is somebody else's.
        """
        made: list[str] = []
        if isinstance(group, Group) and group.name not in {one.name for one in await self._seen_groups(actor)}:
            await self._people.create_group(group, actor)
            made.append("group")
        name = group.name if isinstance(group, Group) else group
        there = await self._people.group(name, actor)
        if user.name not in {one.name for one in await self._people.users(actor)}:
            await self._people.create_user(replace(user, groups=(name,)), actor)
            made.append("user")
        wanted = replace(new, user=user.name, group=name, identifier=new.identifier or f"{user.name}-{new.type}")
        credential, secret = await self._credential(wanted, actor)
        if secret is not None:
            made.append("credential")
        return Onboarded(await self._people.user(user.name, actor), there, credential, secret, tuple(made))

    async def _seen_groups(self, actor: Actor) -> list[Group]:
        return await self._people.groups(actor, archived=True)

    async def _credential(self, wanted: NewCredential, actor: Actor) -> tuple[Credential, str | None]:
        found = await self._store.one(CREDENTIAL_BY_IDENTIFIER, wanted.type, wanted.identifier)
        if found is None:
            created = await self._administration.create_credential(wanted, actor)
            return created.credential, created.secret
        same = (found.user, found.group) == (wanted.user, wanted.group)
        if not same or found.state is CredentialState.REVOKED or not actor.reaches("credential:read", found.owned):
            raise OrderConflict(f'the identifier "{wanted.identifier}" is taken: name another one')
        return found, None

    async def offboard(
        self, name: str, why: str, actor: Actor, *, cascade: RevocationReason | None = None
    ) -> Offboarded:
        """Deactivate a user and revoke every credential of theirs; with `cascade`, their live certificates, too.

        Raises what the steps raise: whoever may not revoke all of the credentials is told before anything is done.
        """
        await self._people.user(name, actor)
        live = await self._live(name)
        for one in live:
            await self._administration.find_credential(one.id, "credential:revoke", actor)
        await self._people.change_user(name, actor, active=False)
        orders = certificates = 0
        for one in live:
            _, ended, revoked = await self._administration.revoke_credential(one.id, why, actor, cascade=cascade)
            orders, certificates = orders + ended, certificates + revoked
        user = await self._people.user(name, actor)
        return Offboarded(user, tuple(one.identifier for one in live), orders, certificates)

    async def _live(self, user: str) -> list[Credential]:
        """The credentials of a user that are not revoked."""
        found: list[Credential] = []
        after = ""
        while page := await self._store.many(CREDENTIALS, "", "", user, "", "", "", after, PAGE):
            found += [one for one in page if one.state is not CredentialState.REVOKED]
            after = page[-1].id
        return found
