"""Pre-validated domains: what an administrator vouches for in the name of a group, and takes back."""

from __future__ import annotations

from datetime import datetime, timedelta

from ca_core.clock import Clock
from ca_core.names import read_identifier
from policy.access import Actor
from policy.audit import AuditEvent, AuditTag
from policy.domain import Domain, DomainScope
from policy.problems import Malformed, RejectedIdentifier
from policy.rules.identifiers import is_public_suffix
from policy.store import DOMAINS, DOMAINS_OF_GROUP, GROUP, Conflict, Store, Unit

LONGEST = timedelta(days=825)
"""For so long at most a proof counts (the longest that the Baseline Requirements ever allowed, section 4.2.1)."""


class Prevalidation:
    """Adds, lists and removes them. They count for orders from the commit on."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(
        self, name: str, group: str, scope: DomainScope, valid_till: datetime, actor: Actor, evidence: str = ""
    ) -> Domain:
        """A domain that the group need not prove until then; one that is there is replaced. Raises Malformed."""
        now = self._clock()
        normal = _normal(name)
        if scope is not DomainScope.EXACT and is_public_suffix(normal):
            raise Malformed(f'"{normal}" is a public suffix: nobody has all names below it')
        if not now < valid_till <= now + LONGEST:
            raise Malformed(f"a domain counts as proven for {LONGEST.days} days at most, and until a time to come")
        if await self._store.one(GROUP, group) is None:
            raise Malformed(f'there is no group "{group}"')
        domain = Domain(normal, group, scope, valid_till, now, actor.name, evidence)
        unit = Unit()
        unit.put_domain(domain)
        detail = {"group": group, "scope": scope, "until": valid_till, "evidence": evidence}
        unit.audit(AuditEvent(AuditTag.DOMAIN_ADDED, now, actor.name, f"domain:{normal}", detail))
        await self._store.commit(unit)
        return domain

    async def remove(self, name: str, group: str, actor: Actor) -> None:
        """Have the group prove it again. An order that counts on it is not issued any more. Raises Malformed."""
        normal = _normal(name)
        unit = Unit()
        unit.remove_domain(group, normal)
        tag = AuditTag.DOMAIN_REMOVED
        unit.audit(AuditEvent(tag, self._clock(), actor.name, f"domain:{normal}", {"group": group}))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise Malformed(f'group "{group}" has no pre-validated domain "{normal}"') from conflict

    async def all(self, group: str = "") -> list[Domain]:
        """Every one, or those of a group."""
        return await (self._store.many(DOMAINS_OF_GROUP, group) if group else self._store.many(DOMAINS))


def _normal(name: str) -> str:
    try:
        identifier = read_identifier("dns", name)
    except RejectedIdentifier as problem:
        raise Malformed(problem.detail) from problem
    if identifier.wildcard:
        raise Malformed(f'write the domain without "*.", and say scope wildcard: {name}')
    return identifier.value
