"""The matrix of credentials, doors and what is done there: it passes on its diagonal only."""

from __future__ import annotations

import pytest

from policy.credential import (
    AccessKeyClaim,
    AuthenticationMethod,
    CertificateClaim,
    Claim,
    ClientSecretClaim,
    PasswordClaim,
    Principal,
    TokenClaim,
)
from policy.mount import Mount
from policy.order import NewOrder
from policy.problems import Problem
from policy.sealing import Secret
from tests.conftest import ACTOR, House
from tests.policy.making import ADDRESS, acme, binding, change_product, est, request

DOORS = ("acme", "est", "rest", "scep", "cmp")


@pytest.fixture
async def doors(house: House) -> House:
    """The house with every door open for the product tls."""
    await change_product(house, protocols=DOORS)
    for door in ("rest", "scep", "cmp"):
        await house.core.administration.apply_mount(Mount(door, "default", ("tls",), "issuing"), ACTOR)
    return house


async def claims_of_rest(house: House) -> list[Claim]:
    """Everything that a REST credential can show."""
    key = await house.credential("rest", "tls")
    client = await house.credential("rest", "tls", method=AuthenticationMethod.OAUTH)
    secret = Secret((client.secret or "").encode())
    shown: list[Claim] = [
        AccessKeyClaim(key.credential.identifier, Secret((key.secret or "").encode())),
        ClientSecretClaim(client.credential.identifier, secret),
    ]
    principal = await house.core.ra.authenticate("rest/default", (shown[1],), ADDRESS)
    proof: str = principal.requester.attributes["proof"]
    token, _ = await house.core.admission.tokens.issue(client.credential, proof, (), {})
    return [*shown, TokenClaim(token)]


@pytest.mark.parametrize("door", [one for one in DOORS if one != "rest"])
async def test_what_speaks_rest_speaks_nothing_else(doors: House, door: str) -> None:
    """Access keys, client secrets and access tokens at every other door; and their texts in its own words."""
    shown = await claims_of_rest(doors)
    for claim in shown:
        assert (await doors.core.ra.authenticate("rest/default", (claim,), ADDRESS)).credential.type == "rest"
        with pytest.raises(Problem):
            await doors.core.ra.authenticate(f"{door}/default", (claim,), ADDRESS)
    key = shown[0]
    assert isinstance(key, AccessKeyClaim)
    for disguised in (PasswordClaim(key.identifier, key.key), binding(key.identifier)):
        with pytest.raises(Problem):
            await doors.core.ra.authenticate(f"{door}/default", (disguised,), ADDRESS)


async def test_what_speaks_another_protocol_does_not_speak_rest(doors: House) -> None:
    """EAB keys, passwords, shared secrets and enrolled certificates at the API."""
    foreign: list[Claim] = [binding((await doors.credential("acme", "tls")).credential.identifier)]
    for kind in ("est", "scep", "cmp", "acme"):
        made = await doors.credential(kind, "tls")
        name, secret = made.credential.identifier, Secret((made.secret or "").encode())
        foreign += [PasswordClaim(name, secret), AccessKeyClaim(name, secret), ClientSecretClaim(name, secret)]
    order = await doors.core.ra.enroll(await est(doors), NewOrder(request=request("b.certgate.test")))
    foreign.append(CertificateClaim((await doors.core.ra.certificate_of(order)).der))
    for claim in foreign:
        with pytest.raises(Problem):
            await doors.core.ra.authenticate("rest/default", (claim,), ADDRESS)


async def test_nobody_reads_renews_or_revokes_what_came_through_another_door(doors: House) -> None:
    """Issue, renew, revoke and read: each with its own credential, none with that of another door."""
    (key, *_) = await claims_of_rest(doors)
    rest = await doors.core.ra.authenticate("rest/default", (key,), ADDRESS)
    device = await est(doors)
    ra = doors.core.ra
    others: list[tuple[Principal, Principal]] = [(rest, device), (device, rest), (await acme(doors), rest)]
    for stranger, owner in others:
        order = await ra.enroll(owner, NewOrder(request=request("c.certgate.test")))
        der = (await ra.certificate_of(order)).der
        assert order.serial is not None
        for attempt in (
            ra.order(stranger, order.id),
            ra.certificate(stranger, order.serial),
            ra.renew(stranger, NewOrder(request=request("c.certgate.test"))),
            ra.revoke(stranger, der, None),
        ):
            with pytest.raises(Problem):
                await attempt
        assert (await ra.order(owner, order.id)).id == order.id
        await ra.revoke(owner, der, None)
