"""Commands about pre-validated domains: what a group need not prove again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.commands.plain import moment, read_moment
from policy.access import Actor
from policy.domain import Domain, DomainMethod, DomainScope, DomainStatus
from policy.prevalidation import answer
from policy.problems import Malformed

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


def domain_value(domain: Domain, now: datetime) -> dict[str, Any]:
    """A domain of a group, whether it counts now, and what its challenge wants to see."""
    challenge = domain.challenge
    wanted: dict[str, Any] | None = None
    if challenge is not None:
        place, value = answer(domain.name, challenge)
        names = ("record", "value") if challenge.method is DomainMethod.DNS_TXT else ("url", "content")
        shown = dict(zip(names, (place, value), strict=True))
        wanted = {"method": challenge.method.value, "expires": moment(challenge.expires), **shown}
    return {
        "name": domain.name,
        "group": domain.group,
        "scope": domain.scope.value,
        "status": domain.at(now).value,
        "method": domain.method.value,
        "valid_till": moment(domain.valid_till),
        "active": domain.at(now) is DomainStatus.VALIDATED,
        "exclusions": list(domain.exclusions),
        "challenge": wanted,
        "attempts": [
            {"at": moment(one.at), "method": one.method.value, "outcome": one.outcome, "detail": one.detail}
            for one in domain.attempts
        ],
        "created": moment(domain.created),
        "created_by": domain.created_by,
        "evidence": domain.evidence,
    }


async def add(
    core: Core,
    *,
    name: str,
    group: str,
    actor: Actor,
    until: str = "",
    scope: str = "exact",
    evidence: str = "",
    method: str = "",
) -> dict[str, Any]:
    """Have a group's orders for a domain need no challenge: until then by the caller's word, else once it is proven.

    Raises Malformed, OrderConflict.
    """
    if scope not in list(DomainScope):
        raise Malformed(f'"{scope}" is no scope; there are {", ".join(DomainScope)}')
    ends = read_moment(until)
    if ends is None:
        proving = await core.domains.create(name, group, DomainScope(scope), _method(method or "dns-txt"), actor)
        return domain_value(proving, core.clock())
    made = await core.domains.add(name, group, DomainScope(scope), ends, actor, evidence)
    return domain_value(made, core.clock())


async def list_(core: Core, *, actor: Actor, group: str = "") -> list[dict[str, Any]]:
    """Every pre-validated domain, or those of a group."""
    return [domain_value(one, core.clock()) for one in await core.domains.all(actor, group)]


async def remove(core: Core, *, name: str, group: str, actor: Actor) -> dict[str, Any]:
    """Have it proven again; also for orders that count on it and are not issued yet. Raises Malformed."""
    await core.domains.remove(name, group, actor)
    return {"name": name, "group": group}


def _method(text: str) -> DomainMethod:
    if text not in list(DomainMethod):
        raise Malformed(f'"{text}" is no method; there are dns-txt and http-file')
    return DomainMethod(text)


async def challenge(core: Core, *, name: str, group: str, actor: Actor, method: str = "") -> dict[str, Any]:
    """Begin a challenge; the one before proves nothing any more. Raises UnknownObject, Malformed."""
    chosen = _method(method) if method else None
    return domain_value(await core.domains.challenge(name, group, actor, chosen), core.clock())


async def verify(core: Core, *, name: str, group: str, actor: Actor) -> dict[str, Any]:
    """Look whether the challenge is answered. Raises UnknownObject, NotReady, OrderConflict."""
    return domain_value(await core.domains.verify(name, group, actor), core.clock())


async def show(core: Core, *, name: str, group: str, actor: Actor) -> dict[str, Any]:
    """One domain with its challenge and the looks at it. Raises UnknownObject."""
    return domain_value(await core.domains.one(name, group, actor), core.clock())


COMMANDS: dict[str, Command] = {
    "domain.add": add,
    "domain.list": list_,
    "domain.show": show,
    "domain.challenge": challenge,
    "domain.verify": verify,
    "domain.remove": remove,
}
