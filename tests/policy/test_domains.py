"""Domains of groups: challenges, looks at them, what a proof reaches, and what begins anew."""

from __future__ import annotations

from datetime import timedelta

import pytest

from policy.access import Actor, UnknownObject
from policy.account import Group
from policy.audit import AuditTag
from policy.domain import Domain, DomainMethod, DomainScope, DomainStatus
from policy.order import NewOrder, OrderStatus
from policy.problems import Malformed, NotReady, OrderConflict
from policy.roles import PREDEFINED, grants_of
from tests.conftest import ACTOR, START, House, dns
from tests.policy.making import acme, events

NAME = "shop.example.org"
SUB, EXACT, WILD = DomainScope.SUBDOMAINS, DomainScope.EXACT, DomainScope.WILDCARD
TXT, FILE = DomainMethod.DNS_TXT, DomainMethod.HTTP_FILE


async def begun(house: House, scope: DomainScope = SUB, method: DomainMethod = TXT, name: str = NAME) -> Domain:
    return await house.core.domains.create(name, "ops", scope, method, ACTOR)


async def test_a_proven_domain_proves_the_orders_of_its_group(house: House) -> None:
    """Before, an order waits for its challenge; afterwards it is ready at once; who looked is in the audit log."""
    domain = await begun(house)
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(f"a.{NAME}"),)))
    assert order.status is OrderStatus.PENDING
    proven = await house.core.domains.verify(NAME, "ops", ACTOR)
    assert (proven.at(START), proven.valid_till) == (DomainStatus.VALIDATED, START + timedelta(days=200))
    (attempt,) = house.validators["dns-01"].attempts
    assert domain.challenge is not None
    assert attempt.key_authorization == domain.challenge.key_authorization
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(f"b.{NAME}"),)))
    assert order.status is OrderStatus.READY
    (event,) = await events(house, AuditTag.DOMAIN_VALIDATED)
    assert (event.actor, event.object) == ("user:tests", f"domain:{NAME}")


async def test_a_failed_look_is_kept_with_what_was_found(house: House) -> None:
    await begun(house)
    house.validators["dns-01"].fail()
    failed = await house.core.domains.verify(NAME, "ops", ACTOR)
    assert failed.at(START) is DomainStatus.PENDING
    (attempt,) = failed.attempts
    assert (attempt.outcome, attempt.detail) == ("validation-incorrect-response", "not what was expected")
    assert failed.challenge is not None, "it may be looked at again"
    house.validators["dns-01"].problem = None
    proven = await house.core.domains.verify(NAME, "ops", ACTOR)
    assert [one.outcome for one in proven.attempts] == ["validation-incorrect-response", "validated"]
    assert len(await events(house, AuditTag.DOMAIN_FAILED)) == 1


async def test_a_new_challenge_makes_the_one_before_worthless(house: House) -> None:
    first = (await begun(house)).challenge
    again = (await house.core.domains.challenge(NAME, "ops", ACTOR)).challenge
    assert first is not None and again is not None
    assert first.key_authorization != again.key_authorization
    await house.core.domains.verify(NAME, "ops", ACTOR)
    (attempt,) = house.validators["dns-01"].attempts
    assert attempt.key_authorization == again.key_authorization


async def test_a_look_that_was_overtaken_by_a_new_challenge_proves_nothing(house: House) -> None:
    """The answer to the old challenge arrives after the new one was begun."""
    import asyncio

    await begun(house)
    house.validators["dns-01"].gate = asyncio.Event()
    looking = asyncio.create_task(house.core.domains.verify(NAME, "ops", ACTOR))
    while not house.validators["dns-01"].attempts:
        await asyncio.sleep(0)
    await house.core.domains.challenge(NAME, "ops", ACTOR)
    house.validators["dns-01"].gate.set()
    with pytest.raises(OrderConflict):
        await looking
    assert (await house.core.domains.one(NAME, "ops", ACTOR)).at(START) is DomainStatus.PENDING


async def test_a_challenge_ends_with_its_time(house: House) -> None:
    await begun(house)
    house.clock.advance(days=8)
    with pytest.raises(NotReady):
        await house.core.domains.verify(NAME, "ops", ACTOR)
    assert house.validators["dns-01"].attempts == []


async def test_a_file_cannot_be_told_from_the_address_of_it(house: House) -> None:
    """A server that echoes paths proves nothing."""
    challenge = (await begun(house, EXACT, FILE)).challenge
    assert challenge is not None
    assert challenge.key_authorization.startswith(challenge.token + ".")
    assert challenge.proof not in challenge.token
    proven = await house.core.domains.verify(NAME, "ops", ACTOR)
    assert len(house.validators["http-01"].attempts) == 1
    assert proven.covers(dns(NAME), START) and not proven.covers(dns(f"a.{NAME}"), START)


@pytest.mark.parametrize(("scope", "method"), [(SUB, FILE), (WILD, FILE), (EXACT, DomainMethod.VOUCHED)])
async def test_a_method_that_could_not_prove_so_much_is_refused(
    house: House, scope: DomainScope, method: DomainMethod
) -> None:
    with pytest.raises(Malformed):
        await begun(house, scope, method)


async def test_a_domain_below_a_proven_one_inherits_unless_it_is_excluded(house: House) -> None:
    await begun(house, WILD)
    below = await begun(house, EXACT, name=f"deep.{NAME}")
    assert await house.core.domains.inherited_from(below) is None
    proven = await house.core.domains.verify(NAME, "ops", ACTOR)
    assert await house.core.domains.inherited_from(below) == NAME
    assert proven.covers(dns(f"*.{NAME}"), START)
    changed = await house.core.domains.change(NAME, "ops", ACTOR, (f"deep.{NAME}",))
    assert await house.core.domains.inherited_from(below) is None
    for excluded in (f"deep.{NAME}", f"a.deep.{NAME}", f"*.deep.{NAME}", f"*.{NAME}"):
        assert not changed.covers(dns(excluded), START), "a wildcard would serve the excluded name"
    assert changed.covers(dns(f"other.{NAME}"), START)
    with pytest.raises(Malformed, match="not below"):
        await house.core.domains.change(NAME, "ops", ACTOR, ("elsewhere.org",))


async def test_a_deactivated_domain_counts_no_more_until_it_is_proven_again(house: House) -> None:
    await begun(house)
    await house.core.domains.verify(NAME, "ops", ACTOR)
    stopped = await house.core.domains.deactivate(NAME, "ops", ACTOR)
    assert stopped.at(START) is DomainStatus.INACTIVE
    order = await house.core.ra.place(await acme(house), NewOrder(identifiers=(dns(NAME),)))
    assert order.status is OrderStatus.PENDING
    with pytest.raises(NotReady):
        await house.core.domains.verify(NAME, "ops", ACTOR)
    await house.core.domains.challenge(NAME, "ops", ACTOR)
    assert (await house.core.domains.verify(NAME, "ops", ACTOR)).at(START) is DomainStatus.VALIDATED


async def test_a_foreign_groups_domain_is_missing(house: House) -> None:
    """By list, by name and by error text; neither made nor vouched for in another group's name."""
    await house.core.people.apply_group(Group("red"), ACTOR)
    await begun(house)
    red = Actor("user:ruth", "ruth", frozenset({"red"}), grants_of((PREDEFINED["operator"],)))
    domains = house.core.domains
    assert await domains.all(red) == []
    for use in (domains.one, domains.verify, domains.challenge, domains.deactivate, domains.remove):
        said = []
        for name in (NAME, "nothing.org"):
            with pytest.raises(UnknownObject) as told:
                await use(name, "ops", red)
            said.append(told.value.detail.replace(name, "NAME"))
        assert said[0] == said[1]
    with pytest.raises(Malformed, match="no group"):
        await domains.create("x.example.org", "ops", EXACT, TXT, red)
    assert (await domains.create("x.example.org", "red", EXACT, TXT, red)).group == "red"
