"""Commands about pre-validated domains: what a group need not prove again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.commands.plain import moment, read_moment
from policy.access import NOBODY, Actor
from policy.domain import Domain, DomainScope
from policy.problems import Malformed

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


def domain_value(domain: Domain, now: datetime) -> dict[str, Any]:
    """A pre-validated domain, and whether it counts now."""
    return {
        "name": domain.name,
        "group": domain.group,
        "scope": domain.scope.value,
        "valid_till": moment(domain.valid_till),
        "active": domain.valid_till > now,
        "created": moment(domain.created),
        "created_by": domain.created_by,
        "evidence": domain.evidence,
    }


async def add(
    core: Core, *, name: str, group: str, until: str, actor: Actor, scope: str = "exact", evidence: str = ""
) -> dict[str, Any]:
    """Have a group's orders for this domain need no challenge until then. Raises Malformed."""
    actor.check("domain:vouch", NOBODY)
    if scope not in list(DomainScope):
        raise Malformed(f'"{scope}" is no scope; there are {", ".join(DomainScope)}')
    ends = read_moment(until)
    if ends is None:
        raise Malformed("say until when the domain counts as proven")
    made = await core.domains.add(name, group, DomainScope(scope), ends, actor, evidence)
    return domain_value(made, core.clock())


async def list_(core: Core, *, actor: Actor, group: str = "") -> list[dict[str, Any]]:
    """Every pre-validated domain, or those of a group."""
    actor.check("domain:read", NOBODY)
    return [domain_value(one, core.clock()) for one in await core.domains.all(group)]


async def remove(core: Core, *, name: str, group: str, actor: Actor) -> dict[str, Any]:
    """Have it proven again; also for orders that count on it and are not issued yet. Raises Malformed."""
    actor.check("domain:deactivate", NOBODY)
    await core.domains.remove(name, group, actor)
    return {"name": name, "group": group}


COMMANDS: dict[str, Command] = {"domain.add": add, "domain.list": list_, "domain.remove": remove}
