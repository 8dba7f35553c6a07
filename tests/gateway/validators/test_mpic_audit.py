"""What the audit log has of several perspectives, from the challenge to finalize (Baseline Requirements 5.4.1)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.app import put_together
from gateway.config import load
from gateway.validators.mpic import MPICCAAChecker, MPICValidator
from policy.audit import AuditTag
from policy.order import AuthorizationStatus, NewOrder
from policy.problems import ValidationCAA
from tests.conftest import House, dns
from tests.gateway.validators.test_mpic import Other, panel, three
from tests.policy.making import acme, request
from tests.replacing import replace

NAME = "shop.example.org"


@pytest.fixture
def others(house: House) -> list[Other]:
    """Three perspectives behind the validators and the CAA look-ups of the house."""
    others = three("", "", "")
    validating = house.core.validating
    validating.validators = {name: MPICValidator(one, panel(others)) for name, one in house.validators.items()}
    validating.caa_checker = MPICCAAChecker(house.caa, panel(others))
    validating.settings = replace(validating.settings, retries_after_seconds=(), inline_seconds=5.0)
    return others


async def details(house: House, tag: AuditTag) -> list[dict[str, Any]]:
    return [event.detail async for _, event in house.core.inventory.audit() if event.tag is tag]


def results(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["perspective"], one["result"]) for one in told["perspectives"]]


async def answered(house: House) -> tuple[Any, str, Any]:
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),)))
    return principal, order.id, await house.core.ra.answer(principal, order.authorizations[0], "http-01")


async def test_success_has_every_perspective_and_the_quorum(house: House, others: list[Other]) -> None:
    others[1].problem = "validation-connection"
    _, _, authorization = await answered(house)
    assert authorization.status is AuthorizationStatus.VALID
    [detail] = await details(house, AuditTag.AUTHORIZATION_VALID)
    for told in (detail["corroboration"], detail["caa"]):
        assert told["quorum"] == "2/3"
        assert results(told) == [("primary", "pass"), ("eu-1", "pass"), ("us-1", "fail"), ("ap-1", "pass")]
        assert told["perspectives"][2]["problem"] == "validation-connection"
    assert [request_.attempt is None for request_ in others[0].asked] == [True, False]


async def test_failure_has_them_too(house: House, others: list[Other]) -> None:
    others[0].problem = others[1].problem = "validation-dns"
    _, _, authorization = await answered(house)
    assert authorization.status is AuthorizationStatus.INVALID
    [detail] = await details(house, AuditTag.AUTHORIZATION_INVALID)
    assert detail["caa"]["quorum"] == "1/3"
    assert "corroboration" not in detail  # CAA forbade it, and nobody was asked for more


async def test_a_challenge_that_fails_after_caa_tells_of_both(house: House, others: list[Other]) -> None:
    house.validators["http-01"].fail()
    await answered(house)
    [detail] = await details(house, AuditTag.AUTHORIZATION_INVALID)
    assert (detail["caa"]["quorum"], detail["corroboration"]["quorum"]) == ("3/3", "3/3")
    assert results(detail["corroboration"])[0] == ("primary", "fail")


async def test_caa_at_finalize_is_told_as_well(house: House, others: list[Other]) -> None:
    principal, order, _ = await answered(house)
    house.clock.advance(hours=9)
    others[0].problem = others[1].problem = "validation-caa"
    with pytest.raises(ValidationCAA):
        await house.core.ra.finalize(principal, order, request(NAME))
    others[0].problem = ""
    await house.core.ra.finalize(principal, order, request(NAME))
    told = await details(house, AuditTag.CAA_CHECKED)
    assert [one["caa"]["quorum"] for one in told] == ["1/3", "2/3"]
    assert {one["identifier"] for one in told} == {f"dns:{NAME}"}


async def test_without_perspectives_nothing_is_added(house: House) -> None:
    house.core.validating.settings = replace(house.core.validating.settings, inline_seconds=5.0)
    await answered(house)
    [detail] = await details(house, AuditTag.AUTHORIZATION_VALID)
    assert not {"corroboration", "caa"} & set(detail)
    assert house.core.perspectives is None


async def test_configured_perspectives_are_put_together(house: House, tmp_path: Any) -> None:
    """From the configuration to the services: wrapped validators, a checker for CAA, connections that close."""
    from datetime import UTC, datetime

    from gateway.perspectives.keys import make_keys

    make_keys(tmp_path / "keys", {}, datetime.now(UTC))
    given = {
        "perspectives": "eu-1=eu=https://127.0.0.1:1,us-1=us=https://127.0.0.1:2",
        "perspective_certificate_file": str(tmp_path / "keys/coordinator.pem"),
        "perspective_key_file": str(tmp_path / "keys/coordinator.key"),
        "perspective_ca_file": str(tmp_path / "keys/perspective-ca.pem"),
        "timeout_seconds": "4",
    }
    config = load(tmp_path, None, {}, [(f"validation.{key}", value) for key, value in given.items()])
    core = house.core
    made = await put_together(config, core.store, core.keystore, core.sealing, core.clock)
    assert made.perspectives is not None
    assert all(isinstance(one, MPICValidator) for one in made.validating.validators.values())
    assert isinstance(made.validating.caa_checker, MPICCAAChecker)
    assert made.validating.settings.attempt_seconds > 8
    await made.perspectives.close()
    await asyncio.sleep(0)
