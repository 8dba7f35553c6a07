"""Organisations: their legal data, who vouches for it and until when, and the agreement made in their name."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from ca_core.clock import Clock
from policy.access import NOBODY, Actor, Owned, UnknownObject
from policy.account import Organisation
from policy.audit import AuditEvent, AuditTag
from policy.people import check_name
from policy.problems import Malformed, OrderConflict, Problem
from policy.store import GROUP, GROUPS, ORGANISATION, ORGANISATIONS, Conflict, Store, Unit

LONGEST = timedelta(days=825)
"""For so long at most the data of an organisation counts as right (Baseline Requirements section 4.2.1)."""

_COUNTRY = re.compile(r"[A-Z]{2}")
_OTHERS = (
    "name",
    "version",
    "validated_at",
    "validated_until",
    "validated_by",
    "agreement",
    "agreed_at",
    "agreed_by",
)
"""Fields that have a use case of their own, or none."""


class Organisations:
    """Administers organisations."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def one(self, name: str, actor: Actor) -> Organisation:
        """An organisation. Raises Malformed."""
        return await self._find(name, "organization:read", actor)

    async def all(self, actor: Actor, *, inactive: bool = False, text: str = "") -> list[Organisation]:
        """The organisations in the actor's sight, with a text in name or title; stopped ones when asked for."""
        actor.check("organization:read")
        groups = await self._store.many(GROUPS)
        wanted = text.lower()
        return [
            one
            for one in await self._store.many(ORGANISATIONS)
            if (inactive or one.active)
            and wanted in f"{one.name} {one.title}".lower()
            and actor.reaches("organization:read", _owned(one, [g.name for g in groups if g.organisation == one.name]))
        ]

    async def create(self, organisation: Organisation, actor: Actor) -> Organisation:
        """Make an organisation, whose data nobody vouches for yet. Raises Malformed, Forbidden, OrderConflict."""
        actor.check("organization:create", _owned(organisation, []))
        await self._check(organisation, None, actor)
        unit = Unit()
        unit.insert(organisation)
        unit.audit(self._event(AuditTag.ORGANISATION_APPLIED, actor, organisation, _said(organisation)))
        await self._commit(unit, OrderConflict(f"the organisation name {organisation.name} is taken"))
        return organisation

    async def change(
        self, name: str, actor: Actor, *, version: int | None = None, **changes: Any
    ) -> Organisation | None:
        """Change these fields; None when nothing would change. New legal data has to be vouched for again.

        Raises Malformed, Forbidden, OrderConflict.
        """
        permission = "organization:deactivate" if changes.keys() == {"active"} else "organization:change"
        current = await self._find(name, permission, actor)
        if not changes.keys() <= _said(current).keys():
            raise Malformed(f"an organisation has {', '.join(_said(current))} to change")
        wanted = replace(current, **changes)
        if wanted.active is not current.active:
            await self._find(name, "organization:deactivate", actor)
        await self._check(wanted, current, actor)
        if replace(wanted, active=current.active, group=current.group) != current:
            wanted = replace(wanted, validated_at=None, validated_until=None, validated_by="")
        tag = AuditTag.ORGANISATION_APPLIED
        if wanted.active is not current.active:
            tag = AuditTag.ORGANISATION_REACTIVATED if wanted.active else AuditTag.ORGANISATION_DEACTIVATED
        return await self._save(current, wanted, version, tag, actor)

    async def apply(self, organisation: Organisation, actor: Actor) -> Organisation | None:
        """Make or change an organisation; None when nothing would change."""
        if await self._store.one(ORGANISATION, organisation.name) is None:
            return await self.create(organisation, actor)
        return await self.change(organisation.name, actor, **_said(organisation))

    async def validate(self, name: str, until: datetime, actor: Actor, version: int | None = None) -> Organisation:
        """Vouch that the data as it stands is right. Raises Malformed, Forbidden, OrderConflict."""
        current = await self._find(name, "organization:validate", actor)
        now = self._clock()
        if not now < until <= now + LONGEST:
            detail = f"the data counts as right for {LONGEST.days} days at most, and until a time to come"
            raise Malformed(detail, pointer="/until")
        wanted = replace(current, validated_at=now, validated_until=until, validated_by=actor.name)
        return await self._save(current, wanted, version, AuditTag.ORGANISATION_VALIDATED, actor) or current

    async def agree(self, name: str, agreement: str, actor: Actor, version: int | None = None) -> Organisation:
        """Agree to terms, by their name and edition, in the organisation's name. Raises as validate."""
        current = await self._find(name, "organization:change", actor)
        if not agreement.strip():
            raise Malformed("say which terms are agreed to")
        wanted = replace(current, agreement=agreement, agreed_at=self._clock(), agreed_by=actor.name)
        return await self._save(current, wanted, version, AuditTag.ORGANISATION_AGREED, actor) or current

    async def _find(self, name: str, permission: str, actor: Actor) -> Organisation:
        actor.check(permission)
        found = await self._store.one(ORGANISATION, name)
        naming = [one.name for one in await self._store.many(GROUPS) if one.organisation == name]
        owned = _owned(found, naming) if found is not None else NOBODY
        return actor.find(permission, found, owned, UnknownObject(f'there is no organisation "{name}"'))

    async def _check(self, wanted: Organisation, current: Organisation | None, actor: Actor) -> None:
        check_name("organisation", wanted.name)
        if not wanted.title:
            raise Malformed("an organisation has a title: its legal name")
        if wanted.country is not None and _COUNTRY.fullmatch(wanted.country) is None:
            raise Malformed(f'"{wanted.country}" is no country: two capital letters (ISO 3166)')
        if wanted.group is not None and (current is None or wanted.group != current.group):
            group = await self._store.one(GROUP, wanted.group)
            permission = "organization:create" if current is None else "organization:change"
            if group is None or not actor.reaches(permission, group.owned):
                raise Malformed(f'there is no group "{wanted.group}"')

    async def _save(
        self, current: Organisation, wanted: Organisation, version: int | None, tag: AuditTag, actor: Actor
    ) -> Organisation | None:
        meanwhile = OrderConflict(f'the organisation "{current.name}" was changed at the same time: look again')
        if version is not None and version != current.version:
            raise meanwhile
        if wanted == current:
            return None
        new = replace(wanted, version=current.version + 1)
        unit = Unit()
        unit.save(new)
        changed = {one.name: getattr(new, one.name) for one in fields(new) if one.name != "version"}
        what = {key: value for key, value in changed.items() if value != getattr(current, key)}
        unit.audit(self._event(tag, actor, new, what))
        await self._commit(unit, meanwhile)
        return new

    def _event(self, tag: AuditTag, actor: Actor, one: Organisation, what: dict[str, Any]) -> AuditEvent:
        detail = {"version": one.version, **what}
        return AuditEvent(tag, self._clock(), actor.name, f"organisation:{one.name}", detail)

    async def _commit(self, unit: Unit, problem: Problem) -> None:
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise problem from conflict


def _owned(organisation: Organisation, naming: list[str]) -> Owned:
    """Whose it is: its group's; while it has none, that of the groups which name it."""
    return Owned(groups=(organisation.group, *naming) if organisation.group is not None else tuple(naming))


def _said(organisation: Organisation) -> dict[str, Any]:
    """What can be changed as a field, by name."""
    return {one.name: getattr(organisation, one.name) for one in fields(organisation) if one.name not in _OTHERS}
