"""Administration: what would fail at the first order is refused when it is set up, and nothing of it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from policy.account import Group, User
from policy.credential import AuthenticationMethod
from policy.mount import Mount
from policy.order import NewOrder, OrderStatus
from policy.problems import Malformed, OrderConflict, Problem, UnknownProduct
from policy.product import NameRules, ValidationRules
from policy.store import GROUP, MOUNT, PRODUCT, USER
from tests.conftest import ACTOR, START, TLS_PROFILE, House
from tests.policy.making import change_product, est, request
from tests.replacing import replace

NAME = "a.certgate.test"


# --------------------------------------------------------------------------- products


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"issuer": "nowhere"}, "nowhere", id="issuer"),
        pytest.param({"profile": replace(TLS_PROFILE, lint_sets=("nonsense",))}, "nonsense", id="lints"),
        pytest.param({"names": NameRules(allowed=("ip:10.0.0.0/99",))}, "10.0.0.0/99", id="network"),
        pytest.param({"names": NameRules(allowed=("example.org",))}, "dns:", id="allowed without a type"),
        pytest.param({"names": NameRules(denied=("dns:a*.example.org",))}, "character", id="denied with an inner star"),
        pytest.param({"names": NameRules(common_name="(")}, "tls", id="common name"),
        pytest.param({"validation": ValidationRules(trusted=("host:example.org",))}, "host", id="trusted"),
        pytest.param({"renewal_fraction": 0.0}, "renewal_fraction", id="renewed at once"),
        pytest.param({"renewal_fraction": 1.5}, "renewal_fraction", id="renewed after the end"),
        pytest.param({"ticket_seconds": 0}, "ticket_seconds", id="ticket of no time"),
    ],
)
async def test_a_product_that_could_never_be_issued_is_refused(house: House, wrong: dict[str, Any], said: str) -> None:
    """It is told to who writes the product, not to the first client; the product stays as it was."""
    before = await house.core.store.one(PRODUCT, "tls")
    with pytest.raises(Malformed, match=said):
        await change_product(house, **wrong)
    assert await house.core.store.one(PRODUCT, "tls") == before
    done = await house.core.ra.enroll(await est(house), NewOrder(request=request(NAME)))
    assert done.status is OrderStatus.VALID


async def test_a_ca_that_was_made_while_the_server_runs_serves_after_the_next_start(house: House) -> None:
    """Its key is not loaded here: a product of it would turn every client away."""
    subject = (("CN", "Second"),)
    await house.core.authorities.make_issuing("second", "root", subject, "ec-p256", timedelta(days=365), ACTOR)
    with pytest.raises(Malformed, match="second"):
        await change_product(house, issuer="second")


async def test_an_unchanged_product_makes_no_version(house: House) -> None:
    """Applying the same file every night fills no table."""
    before = await house.core.store.one(PRODUCT, "tls")
    assert before is not None
    assert await house.core.administration.apply_product(before, ACTOR) is None
    assert await house.core.store.one(PRODUCT, "tls") == before


# --------------------------------------------------------------------------- mounts


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        pytest.param(Mount("est", "new", ("device",), "nowhere"), Malformed, id="issuer"),
        pytest.param(Mount("acme", "new", ("tls",), "issuing", options={"nonsense": 1}), Malformed, id="options"),
        pytest.param(Mount("gopher", "new", ("tls",), "issuing"), Malformed, id="protocol"),
        pytest.param(Mount("acme", "New One", ("tls",), "issuing"), Malformed, id="label"),
        pytest.param(Mount("acme", "new", ("nothing",), "issuing"), UnknownProduct, id="product"),
        pytest.param(Mount("acme", "new", ("device",), "issuing"), Malformed, id="product of another door"),
        pytest.param(Mount("est", "new", ("device",), "issuing", anchors=(b"0",)), Malformed, id="anchor"),
        pytest.param(
            Mount("acme", "new", ("tls",), "issuing", open_credential="nobody"), Malformed, id="open credential"
        ),
    ],
)
async def test_a_mount_that_could_never_be_served_is_refused(house: House, mount: Mount, said: type[Problem]) -> None:
    """One mount that its door cannot read would keep every other one from being served."""
    with pytest.raises(said):
        await house.core.administration.apply_mount(mount, ACTOR)
    assert await house.core.store.one(MOUNT, mount.key) is None


async def test_a_credential_that_has_something_to_show_opens_no_mount(house: House) -> None:
    """Only one that was made for it stands for everybody."""
    made = await house.credential("acme")
    mount = Mount("acme", "new", ("tls",), "issuing", open_credential=made.credential.id)
    with pytest.raises(Malformed, match="method none"):
        await house.core.administration.apply_mount(mount, ACTOR)
    opened = await house.credential("acme", method=AuthenticationMethod.NONE)
    mount = replace(mount, open_credential=opened.credential.id)
    assert await house.core.administration.apply_mount(mount, ACTOR) == mount


# --------------------------------------------------------------------------- users and groups


async def test_users_and_groups_name_what_there_is(house: House) -> None:
    """A misspelt group would be found out when its user may do nothing."""
    with pytest.raises(Malformed, match="nobody"):
        await house.core.people.apply_user(User("ann", ("nobody",)), ACTOR)
    with pytest.raises(Malformed, match="Nothing Ltd"):
        await house.core.people.apply_group(Group("printers", organisation="Nothing Ltd"), ACTOR)
    assert await house.core.store.one(USER, "ann") is None
    assert await house.core.store.one(GROUP, "printers") is None


# --------------------------------------------------------------------------- credentials


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "example.org", ""])
async def test_a_network_that_is_none_is_refused_with_the_reason(house: House, network: str) -> None:
    """An address with the bits of its host set is told, not guessed at."""
    with pytest.raises(Malformed, match="not a network"):
        await house.credential("est", allowed_cidrs=("192.0.2.0/24", network))


@pytest.mark.parametrize("network", ["127.0.0.0/8", "127.0.0.1"])
async def test_networks_are_those_that_the_address_is_compared_with(house: House, network: str) -> None:
    """An address alone is a network of one."""
    assert (await est(house, allowed_cidrs=("192.0.2.0/24", network))).address == "127.0.0.1"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"product": "nothing"}, UnknownProduct, id="product"),
        pytest.param({"kind": "acme", "product": "device"}, Malformed, id="product of another door"),
        pytest.param({"kind": "waep"}, Malformed, id="door that does not exist"),
        pytest.param({"mounts": ("acme/default",)}, Malformed, id="mount of another door"),
        pytest.param({"identifier": "print:er"}, Malformed, id="user name that HTTP cannot say"),
        pytest.param({"expires": START}, Malformed, id="already over"),
        pytest.param(
            {"not_before": START + timedelta(days=2), "expires": START + timedelta(days=1)}, Malformed, id="ends first"
        ),
    ],
)
async def test_a_credential_that_could_order_nothing_is_refused(
    house: House, wrong: dict[str, Any], said: type[Problem]
) -> None:
    """It would only be found out by its client."""
    with pytest.raises(said):
        await house.credential(**{"kind": "est", **wrong})


async def test_an_identifier_is_taken_once_per_type_and_for_good(house: House) -> None:
    """Also by a credential that was revoked: what it was called never means somebody else."""
    made = await house.credential("est", identifier="printer")
    await house.core.administration.revoke_credential(made.credential.id, "gone", ACTOR)
    with pytest.raises(OrderConflict, match="taken"):
        await house.credential("est", identifier="printer")
    assert (await house.credential("acme", identifier="printer")).credential.identifier == "printer"
