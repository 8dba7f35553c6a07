"""Domains of groups: have control proven once, by a challenge or by somebody's word, for all orders of the group."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ca_core.clock import Clock
from ca_core.names import Identifier, IdentifierType, read_identifier
from policy.access import Actor, Owned, UnknownObject
from policy.audit import AuditEvent, AuditTag
from policy.domain import Domain, DomainAttempt, DomainChallenge, DomainMethod, DomainScope
from policy.problems import Malformed, NotReady, OrderConflict, RejectedIdentifier, ValidationFailed
from policy.rules.identifiers import is_public_suffix
from policy.store import DOMAINS, DOMAINS_OF_GROUP, GROUP, Conflict, Store, Unit
from policy.validating import Validating
from policy.validation import Attempt
from policy.validation.challenges import DNS_01, DNS_01_LABEL, HTTP_01, dns_01_value, http_01_path, new_token

LONGEST = timedelta(days=825)
"""For so long at most a proof counts (the longest that the Baseline Requirements ever allowed, section 4.2.1)."""
PROVEN = timedelta(days=200)
"""How long a proof by challenge counts (Baseline Requirements section 4.2.1, from March 2026 on)."""
CHALLENGE_LIFETIME = timedelta(days=7)
ATTEMPTS_KEPT = 50

_METHODS = {DomainMethod.DNS_TXT: DNS_01, DomainMethod.HTTP_FILE: HTTP_01}
"""The validators that look: the same as for challenges of orders, with the same perspectives."""


class Prevalidation:
    """Adds, proves, changes and removes domains. They count for orders from the commit on."""

    def __init__(self, store: Store, validating: Validating, clock: Clock) -> None:
        self._store = store
        self._validating = validating
        self._clock = clock

    # ----------------------------------------------------------------- by somebody's word

    async def add(
        self, name: str, group: str, scope: DomainScope, valid_till: datetime, actor: Actor, evidence: str = ""
    ) -> Domain:
        """A domain that the group need not prove until then; one that is there is replaced. Raises Malformed."""
        actor.check("domain:vouch")
        now = self._clock()
        normal = _checked(name, scope)
        if not now < valid_till <= now + LONGEST:
            detail = f"a domain counts as proven for {LONGEST.days} days at most, and until a time to come"
            raise Malformed(detail, pointer="/valid_till")
        await self._check_group(group, "domain:vouch", actor)
        domain = Domain(normal, group, scope, valid_till, now, actor.name, evidence, validated_at=now)
        unit = Unit()
        unit.put_domain(domain)
        detail_ = {"group": group, "scope": scope, "until": valid_till, "evidence": evidence}
        unit.audit(AuditEvent(AuditTag.DOMAIN_ADDED, now, actor.name, f"domain:{normal}", detail_))
        await self._store.commit(unit)
        return domain

    async def remove(self, name: str, group: str, actor: Actor) -> None:
        """Have the group prove it again. An order that counts on it is not issued any more. Raises UnknownObject."""
        domain = await self.one(name, group, actor, "domain:deactivate")
        unit = Unit()
        unit.remove_domain(group, domain.name)
        tag = AuditTag.DOMAIN_REMOVED
        unit.audit(AuditEvent(tag, self._clock(), actor.name, f"domain:{domain.name}", {"group": group}))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise _missing(name, group) from conflict

    # ----------------------------------------------------------------- by a challenge

    async def create(self, name: str, group: str, scope: DomainScope, method: DomainMethod, actor: Actor) -> Domain:
        """A domain to be proven, with its challenge. Raises Malformed, OrderConflict when the group has it."""
        actor.check("domain:create")
        normal = _checked(name, scope)
        _check_method(method, scope)
        await self._check_group(group, "domain:create", actor)
        if any(one.name == normal for one in await self._store.many(DOMAINS_OF_GROUP, group)):
            raise OrderConflict(f'group "{group}" has the domain "{normal}" already')
        now = self._clock()
        domain = Domain(normal, group, scope, None, now, actor.name, method=method, challenge=self._challenge(method))
        unit = Unit()
        unit.put_domain(domain)
        detail = {"group": group, "scope": scope, "method": method}
        unit.audit(AuditEvent(AuditTag.DOMAIN_ADDED, now, actor.name, f"domain:{normal}", detail))
        await self._store.commit(unit)
        return domain

    async def challenge(self, name: str, group: str, actor: Actor, method: DomainMethod | None = None) -> Domain:
        """Begin anew: a challenge whose predecessor proves nothing any more; a proof that counts goes on counting.

        Raises UnknownObject, Forbidden, Malformed.
        """
        domain = await self.one(name, group, actor, "domain:verify")
        chosen = method or (domain.method if domain.method in _METHODS else DomainMethod.DNS_TXT)
        _check_method(chosen, domain.scope)
        changed = replace(domain, method=chosen, challenge=self._challenge(chosen), active=True)
        return await self._save(changed, AuditTag.DOMAIN_CHALLENGED, actor, method=chosen)

    async def verify(self, name: str, group: str, actor: Actor) -> Domain:
        """Look whether the challenge is answered; the domain as it is then, with the attempt and what it found.

        Raises UnknownObject, Forbidden, NotReady without a challenge in its time, OrderConflict when another one was
        begun meanwhile.
        """
        domain = await self.one(name, group, actor, "domain:verify")
        challenge, now = domain.challenge, self._clock()
        if not domain.active:
            raise NotReady("the domain is inactive: begin a challenge")
        if challenge is None or challenge.expires <= now:
            raise NotReady("there is no challenge in its time: begin one")
        attempt = Attempt(
            Identifier(IdentifierType.DNS, domain.name),
            domain.scope is not DomainScope.EXACT,
            _METHODS[challenge.method],
            challenge.token,
            challenge.key_authorization,
            "",
        )
        try:
            evidence = await self._validating.validators[attempt.method].validate(attempt)
        except ValidationFailed as problem:
            looked = DomainAttempt(now, challenge.method, problem.kind, problem.detail)
            failed = replace(domain, attempts=(*domain.attempts, looked)[-ATTEMPTS_KEPT:])
            return await self._save(failed, AuditTag.DOMAIN_FAILED, actor, problem=problem.kind, detail=problem.detail)
        looked = DomainAttempt(now, challenge.method, "validated", f"{evidence.detail} ({evidence.target})")
        proven = replace(
            domain,
            valid_till=now + PROVEN,
            validated_at=now,
            evidence=f"{challenge.method}: {evidence.detail}",
            challenge=None,
            attempts=(*domain.attempts, looked)[-ATTEMPTS_KEPT:],
        )
        what = {"target": evidence.target, "until": proven.valid_till, "corroboration": evidence.corroboration}
        return await self._save(proven, AuditTag.DOMAIN_VALIDATED, actor, **what)

    # ----------------------------------------------------------------- looking, changing, stopping

    async def one(self, name: str, group: str, actor: Actor, permission: str = "domain:read") -> Domain:
        """A domain of a group. Raises UnknownObject, Forbidden."""
        actor.check(permission)
        try:
            normal = _normal(name)
        except Malformed:
            normal = ""
        found = next((one for one in await self._store.many(DOMAINS_OF_GROUP, group) if one.name == normal), None)
        return actor.find(permission, found, Owned(groups=(group,)), _missing(name, group))

    async def all(self, actor: Actor, group: str = "") -> list[Domain]:
        """Every one in the actor's sight, or those of a group."""
        actor.check("domain:read")
        found = await (self._store.many(DOMAINS_OF_GROUP, group) if group else self._store.many(DOMAINS))
        return [one for one in found if actor.reaches("domain:read", one.owned)]

    async def inherited_from(self, domain: Domain) -> str | None:
        """The domain above it whose proof stands for it, too, while it has none of its own."""
        now, identifier = self._clock(), Identifier(IdentifierType.DNS, domain.name)
        for one in await self._store.many(DOMAINS_OF_GROUP, domain.group):
            if one.name != domain.name and domain.active and one.covers(identifier, now):
                return one.name
        return None

    async def change(self, name: str, group: str, actor: Actor, exclusions: tuple[str, ...]) -> Domain:
        """Name what is not part of the domain, with all below it. Raises UnknownObject, Forbidden, Malformed."""
        domain = await self.one(name, group, actor, "domain:change")
        normal = tuple(dict.fromkeys(_normal(one) for one in exclusions))
        foreign = [one for one in normal if not one.endswith("." + domain.name)]
        if foreign:
            raise Malformed(f"{', '.join(foreign)}: not below {domain.name}", pointer="/exclusions")
        return await self._save(
            replace(domain, exclusions=normal), AuditTag.DOMAIN_CHANGED, actor, exclusions=list(normal)
        )

    async def deactivate(self, name: str, group: str, actor: Actor) -> Domain:
        """Have it count no more; a new challenge lets it be proven again. Raises UnknownObject, Forbidden."""
        domain = await self.one(name, group, actor, "domain:deactivate")
        stopped = replace(domain, active=False, challenge=None, valid_till=None)
        return await self._save(stopped, AuditTag.DOMAIN_DEACTIVATED, actor)

    # ----------------------------------------------------------------- shared

    def _challenge(self, method: DomainMethod) -> DomainChallenge:
        return DomainChallenge(method, new_token(), new_token(), self._clock() + CHALLENGE_LIFETIME)

    async def _check_group(self, name: str, permission: str, actor: Actor) -> None:
        group = await self._store.one(GROUP, name)
        if group is None or not actor.reaches(permission, group.owned):
            raise Malformed(f'there is no group "{name}"', pointer="/group")

    async def _save(self, domain: Domain, tag: AuditTag, actor: Actor, **what: Any) -> Domain:
        new = replace(domain, version=domain.version + 1)
        unit = Unit()
        unit.save_domain(new)
        detail = {"group": new.group, **what}
        unit.audit(AuditEvent(tag, self._clock(), actor.name, f"domain:{new.name}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the domain was changed at the same time: look again") from conflict
        return new


def answer(name: str, challenge: DomainChallenge) -> tuple[str, str]:
    """Where the answer to a challenge has to be, and what it is: name and value of a record, URL and text of a file."""
    if challenge.method is DomainMethod.DNS_TXT:
        return f"{DNS_01_LABEL}.{name}", dns_01_value(challenge.key_authorization)
    return f"http://{name}{http_01_path(challenge.token)}", challenge.key_authorization


def _missing(name: str, group: str) -> UnknownObject:
    return UnknownObject(f'group "{group}" has no domain "{name}"')


def _check_method(method: DomainMethod, scope: DomainScope) -> None:
    if method not in _METHODS:
        raise Malformed(f"a challenge is one of {', '.join(_METHODS)}", pointer="/method")
    if method is DomainMethod.HTTP_FILE and scope is not DomainScope.EXACT:
        # RFC 8555 section 8.3: one host that answers says nothing about all the others.
        raise Malformed("a file proves the domain itself and nothing below it: use dns-txt", pointer="/method")


def _checked(name: str, scope: DomainScope) -> str:
    normal = _normal(name)
    if scope is not DomainScope.EXACT and is_public_suffix(normal):
        raise Malformed(f'"{normal}" is a public suffix: nobody has all names below it', pointer="/name")
    return normal


def _normal(name: str) -> str:
    try:
        identifier = read_identifier("dns", name)
    except RejectedIdentifier as problem:
        raise Malformed(problem.detail) from problem
    if identifier.wildcard:
        raise Malformed(f'write the domain without "*.", and say scope wildcard: {name}')
    return identifier.value
