"""Use cases of API credentials: create, rotate, suspend, resume, revoke. A secret leaves here once, in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

from ca_core.clock import Clock
from ca_core.status import RevocationReason
from policy.access import Actor, Owned, UnknownObject
from policy.accesskey import IDENTIFIER
from policy.audit import AuditEvent, AuditTag
from policy.authorizing import cancel_open_orders
from policy.credential import (
    AuthenticationMethod,
    Credential,
    CredentialState,
    CredentialType,
    StoredSecret,
)
from policy.credential_secret import has_secret, keep, new_secret
from policy.forms import CredentialSettings, check_options
from policy.ids import CredentialId, new_id, short_id
from policy.oauth import check_client
from policy.people import check_covers
from policy.problems import Forbidden, Malformed, OrderConflict, UnknownProduct
from policy.revocation import CASCADE_JOB, Revocation
from policy.sealing import Sealing
from policy.store import (
    ACCOUNTS_OF_CREDENTIAL,
    CREDENTIAL,
    CREDENTIAL_BY_IDENTIFIER,
    GROUP,
    MOUNT,
    PRODUCT,
    USER,
    Conflict,
    Entity,
    Store,
    Unit,
)

CASCADE_AGAIN_SECONDS = 60
"""After this long, what was past its first commit at the revocation is recorded, and revoked as well."""

SECRET_AGE_JOB = "secret-age"  # noqa: S105 - the kind of a job

_METHODS: dict[CredentialType, tuple[AuthenticationMethod, ...]] = {
    CredentialType.ACME: (AuthenticationMethod.EAB, AuthenticationMethod.NONE),
    CredentialType.EST: (
        *(AuthenticationMethod.PASSWORD, AuthenticationMethod.CERTIFICATE),
        AuthenticationMethod.SHARED_SECRET,  # HTTP Digest, which computes with the secret
    ),
    CredentialType.REST: (AuthenticationMethod.ACCESS_KEY, AuthenticationMethod.OAUTH),
    CredentialType.CMP: (AuthenticationMethod.SHARED_SECRET, AuthenticationMethod.CERTIFICATE),
    CredentialType.SCEP: (
        AuthenticationMethod.PASSWORD,
        AuthenticationMethod.ONE_TIME,
        AuthenticationMethod.CERTIFICATE,
        AuthenticationMethod.MANUAL,
    ),
}
"""How each type of credential may authenticate, the default first; a door that comes adds its line."""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What an administrator fills in. `identifier` is made up when it is left out."""

    type: CredentialType
    user: str
    group: str
    products: tuple[str, ...]
    method: AuthenticationMethod | None = None
    identifier: str | None = None
    mounts: tuple[str, ...] = ()
    expires: datetime | None = None
    not_before: datetime | None = None
    use_limit: int | None = None
    allowed_cidrs: tuple[str, ...] = ()
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreatedCredential:
    """A new credential, and its secret in the form in which its client takes it; shown this once."""

    credential: Credential
    secret: str | None


class CredentialAdministration:
    """Makes, changes and revokes credentials; each change is one commit with its audit event."""

    def __init__(
        self,
        store: Store,
        sealing: Sealing,
        revocation: Revocation,
        clock: Clock,
        settings: CredentialSettings = CredentialSettings(),  # noqa: B008 - a frozen value
    ) -> None:
        self.settings = settings
        self._store = store
        self._sealing = sealing
        self._revocation = revocation
        self._clock = clock

    async def create_credential(self, new: NewCredential, actor: Actor) -> CreatedCredential:
        """Make a credential and its secret.

        Raises Malformed for what does not exist or fit, OrderConflict for a taken identifier (also one that was
        revoked: it never comes back).
        """
        actor.check("credential:create")
        method = await self._check(new, actor)
        now = self._clock()
        credential_id = CredentialId(new_id())
        identifier = new.identifier or f"cg-{new.type}-{short_id()}"
        secret: str | None = None
        kept: tuple[StoredSecret, ...] = ()
        if has_secret(method, new.options):
            secret, stored = self._make(credential_id, new.type, method, identifier)
            kept = (stored,)
        credential = Credential(
            id=credential_id,
            type=new.type,
            identifier=identifier,
            user=new.user,
            group=new.group,
            products=new.products,
            method=method,
            state=CredentialState.ACTIVE,
            created=now,
            mounts=new.mounts,
            secrets=kept,
            not_before=new.not_before,
            expires=new.expires,
            use_limit=new.use_limit,
            allowed_cidrs=new.allowed_cidrs,
            options=new.options,
            label=new.label,
        )
        unit = Unit()
        unit.insert(credential)
        detail = {"type": new.type, "user": new.user, "group": new.group, "products": list(new.products)}
        self._schedule_warning(unit, credential)
        unit.audit(AuditEvent(AuditTag.CREDENTIAL_CREATED, now, actor.name, f"credential:{credential.id}", detail))
        await self._commit(unit, f'the identifier "{credential.identifier}" is taken')
        return CreatedCredential(credential, secret)

    async def _check(self, new: NewCredential, actor: Actor) -> AuthenticationMethod:
        methods = _METHODS.get(new.type)
        if methods is None:
            known = ", ".join(_METHODS)
            raise Malformed(f'there is no door for credentials of type "{new.type}" yet (there are: {known})')
        method = new.method or methods[0]
        if method not in methods:
            known = ", ".join(methods)
            raise Malformed(f'a credential of type "{new.type}" authenticates by {known}, not by "{method}"')
        await self._check_owner(new, actor)
        if not new.products:
            raise Malformed("a credential needs at least one product")
        for name in new.products:
            product = await self._store.one(PRODUCT, name)
            if product is None:
                raise UnknownProduct(f'there is no product "{name}"')
            if new.type not in product.protocols:
                raise Malformed(f'the product "{name}" cannot be ordered by {new.type}')
        for key in new.mounts:
            if not key.startswith(f"{new.type}/") or await self._store.one(MOUNT, key) is None:
                raise Malformed(f'there is no {new.type} mount "{key}"')
        for network in new.allowed_cidrs:
            try:
                ip_network(network)
            except ValueError as fault:
                raise Malformed(f'"{network}" is not a network: {fault}') from fault
        if new.use_limit is not None and new.use_limit < 1:
            raise Malformed("a use limit is at least 1")
        self._check_options(new.type, new.options)
        if method is AuthenticationMethod.OAUTH:
            try:
                check_client(new.options)
            except ValueError as fault:
                raise Malformed(str(fault)) from fault
        if new.type is CredentialType.REST and IDENTIFIER.fullmatch(new.identifier or "a") is None:
            raise Malformed(
                f'"{new.identifier}" cannot be part of an access key: an identifier has letters, digits, inner '
                "hyphens and dots, 64 at most"
            )
        if method is AuthenticationMethod.PASSWORD and ":" in (new.identifier or ""):
            raise Malformed('a user name has no ":": HTTP ends it there (RFC 7617 section 2)')
        if new.expires is not None and new.expires <= (new.not_before or self._clock()):
            raise Malformed("the credential would expire before it begins")
        return method

    def _check_options(self, kind: CredentialType, options: Mapping[str, Any]) -> None:
        """Against the form of the type. Raises Malformed, with a subproblem for each mistake."""
        mistakes = check_options(self.settings.options(kind), options)
        if mistakes:
            each = tuple(Malformed(said, pointer=f"/options/{name}") for name, said in mistakes.items())
            said = "; ".join(f'the option "{name}": {said}' for name, said in mistakes.items())
            raise Malformed(said, subproblems=each)

    def _make(
        self, credential: CredentialId, kind: CredentialType, method: AuthenticationMethod, identifier: str
    ) -> tuple[str, StoredSecret]:
        """A new secret, and what is kept of it; it ends where secrets of this type have a greatest age."""
        now, days = self._clock(), self.settings.max_secret_days.get(kind)
        secret = new_secret(method, self.settings.environment, identifier)
        ends = None if days is None else now + timedelta(days=days)
        return secret, keep(self._sealing, credential, method, secret, now, ends)

    def _schedule_warning(self, unit: Unit, credential: Credential) -> None:
        """Have it told in time that the newest secret ends."""
        if credential.secrets and credential.secrets[0].expires is not None:
            due = credential.secrets[0].expires - timedelta(days=self.settings.warning_days)
            unit.schedule(SECRET_AGE_JOB, credential.id, due)

    async def _check_owner(self, new: NewCredential, actor: Actor) -> None:
        """That user and group are there, in reach and not above the actor: a credential acts as its user."""
        user = await self._store.one(USER, new.user)
        if user is None or not actor.reaches("user:read", user.owned):
            raise Malformed(f'there is no user "{new.user}"')
        group = await self._store.one(GROUP, new.group)
        if group is None or not actor.reaches("credential:create", Owned(new.user, (group.name,))):
            raise Malformed(f'there is no group "{new.group}"')
        if not group.active:
            raise Malformed(f'the group "{new.group}" is archived')
        foreign = set(new.products) - set(group.products)
        if group.products and foreign:
            raise Malformed(f'the group "{new.group}" may not have {", ".join(sorted(foreign))}', pointer="/products")
        await check_covers(self._store, actor, user)

    async def credential(self, name: str) -> Credential:
        """A credential by id, or by identifier of any type. Raises Malformed when there is none."""
        return _the_one(await self._named(name), name)

    async def find_credential(self, name: str, permission: str, actor: Actor) -> Credential:
        """As `credential`, among those in the actor's reach. Raises Malformed, Forbidden."""
        actor.check(permission)
        seen = [
            one
            for one in await self._named(name)
            if actor.reaches(permission, one.owned) or actor.reaches("credential:read", one.owned)
        ]
        found = _the_one(seen, name)
        return actor.find(permission, found, found.owned, UnknownObject(f'there is no credential "{name}"'))

    async def _named(self, name: str) -> list[Credential]:
        by_id = await self._by_id(name)
        if by_id is not None:
            return [by_id]
        return [one for kind in CredentialType if (one := await self._by_identifier(kind, name)) is not None]

    async def _by_id(self, credential_id: str) -> Credential | None:
        return await self._store.one(CREDENTIAL, credential_id)

    async def _by_identifier(self, kind: CredentialType, identifier: str) -> Credential | None:
        return await self._store.one(CREDENTIAL_BY_IDENTIFIER, kind, identifier)

    async def rotate_credential(self, name: str, overlap_seconds: int, actor: Actor) -> CreatedCredential:
        """Give a credential a new secret; the old one ends after the overlap, which may be zero. Not when revoked."""
        credential = await self._live(name, "credential:rotate", actor)
        user = await self._store.one(USER, credential.user)
        if user is not None:
            await check_covers(self._store, actor, user)
        if not credential.secrets:
            raise Malformed("this credential has no secret to rotate")
        now = self._clock()
        until = now + timedelta(seconds=overlap_seconds)
        old = tuple(
            replace(one, expires=min(one.expires or until, until))
            for one in credential.secrets
            if overlap_seconds > 0 and (one.expires is None or one.expires > now)
        )
        secret, stored = self._make(credential.id, credential.type, credential.method, credential.identifier)
        changed = replace(credential, secrets=(stored, *old), version=credential.version + 1)
        detail = {"overlap_seconds": overlap_seconds}
        unit = Unit()
        unit.save(changed)
        self._schedule_warning(unit, changed)
        unit.audit(AuditEvent(AuditTag.CREDENTIAL_ROTATED, now, actor.name, f"credential:{credential.id}", detail))
        await self._commit(unit, f"credential:{credential.id} was changed at the same time")
        return CreatedCredential(changed, secret)

    async def suspend_credential(self, name: str, actor: Actor) -> Credential:
        """Stop a credential until it is resumed."""
        return await self._set_state(name, CredentialState.SUSPENDED, AuditTag.CREDENTIAL_SUSPENDED, actor)

    async def resume_credential(self, name: str, actor: Actor) -> Credential:
        """Let a suspended credential go on. A revoked one never does."""
        return await self._set_state(name, CredentialState.ACTIVE, AuditTag.CREDENTIAL_RESUMED, actor)

    async def _set_state(self, name: str, state: CredentialState, tag: AuditTag, actor: Actor) -> Credential:
        credential = await self._live(name, "credential:suspend", actor)
        changed = replace(credential, state=state, version=credential.version + 1)
        await self._save(changed, tag, f"credential:{credential.id}", {}, actor)
        return changed

    async def revoke_credential(
        self, name: str, why: str, actor: Actor, *, cascade: RevocationReason | None = None
    ) -> tuple[Credential, int, int]:
        """Revoke for good: nothing begins to be issued from the commit on; open orders end.

        With `cascade`, its live certificates are revoked for that reason. Gives the credential and how many orders
        ended and certificates were revoked.
        """
        credential = await self._live(name, "credential:revoke", actor)
        now = self._clock()
        changed = replace(
            credential,
            state=CredentialState.REVOKED,
            revoked_at=now,
            revoked_reason=why,
            cascade=cascade,
            version=credential.version + 1,
        )
        unit = Unit()
        unit.save(changed)
        # Whatever interrupts what follows, the job does it again; it also finds what was being signed just now.
        unit.schedule(CASCADE_JOB, credential.id, now + timedelta(seconds=CASCADE_AGAIN_SECONDS))
        detail = {"why": why, "cascade": cascade}
        unit.audit(AuditEvent(AuditTag.CREDENTIAL_REVOKED, now, actor.name, f"credential:{credential.id}", detail))
        await self._commit(unit, "the credential was changed at the same time")
        ended, certificates = await self.finish_revocation(credential.id, actor.name)
        return changed, ended, certificates

    async def finish_revocation(self, credential_id: str, actor: str) -> tuple[int, int]:
        """End the open orders of a revoked credential and revoke its certificates if that was wanted; how many of each.

        May be repeated: what is done is not there any more.
        """
        credential = await self.credential(credential_id)
        why = Forbidden("the credential was revoked")
        ended = await cancel_open_orders(self._store, self._clock(), why=why, actor=actor, credential=credential.id)
        if credential.cascade is None:
            return ended, 0
        return ended, await self._revocation.cascade(credential.id, credential.cascade, actor)

    async def accounts(self, credential: str, after: str, limit: int) -> list[Any]:
        """ACME accounts bound to a credential."""
        return await self._store.many(ACCOUNTS_OF_CREDENTIAL, credential, after, limit)

    async def _live(self, name: str, permission: str, actor: Actor) -> Credential:
        credential = await self.find_credential(name, permission, actor)
        if credential.state is CredentialState.REVOKED:
            raise OrderConflict("the credential is revoked; that is final")
        return credential

    async def _save(self, entity: Entity, tag: AuditTag, of: str, detail: dict[str, Any], actor: Actor) -> None:
        unit = Unit()
        unit.save(entity)
        unit.audit(AuditEvent(tag, self._clock(), actor.name, of, detail))
        await self._commit(unit, f"{of} was changed at the same time")

    async def _commit(self, unit: Unit, taken: str) -> None:
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict(taken) from conflict


def _the_one(known: list[Credential], name: str) -> Credential:
    if len(known) > 1:
        ids = ", ".join(f"{one.type} {one.id}" for one in known)
        raise Malformed(f'"{name}" names several credentials: {ids}; say which by its id')
    if not known:
        raise UnknownObject(f'there is no credential "{name}"')
    return known[0]
