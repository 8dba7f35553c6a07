"""Products before they are: product lint, trial of a request, replay of real orders; and the order form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.cli.toml import toml_text
from policy.order import NewOrder
from policy.orderform import order_form
from policy.problems import Malformed, RejectedIdentifier
from policy.product import DocumentRule, NameRules, Product, ValidationRules
from policy.productlint import lint
from policy.store import PRODUCT
from tests.conftest import ACTOR, DEVICE_PROFILE, TLS_PROFILE, House, dns
from tests.policy.making import est, request

TLS = Product("tls", 1, "TLS", "issuing", TLS_PROFILE, ("rest",))
CLIENT = Product("client", 1, "Client", "issuing", DEVICE_PROFILE, ("rest",), names=NameRules(required=False))


def trusting(*patterns: str) -> ValidationRules:
    return ValidationRules(trusted=patterns)


def usages(product: Product, *names: str) -> Product:
    return replace(product, profile=replace(product.profile, extended_key_usage=names))


@pytest.mark.parametrize(
    ("product", "rule", "pointer"),
    [
        pytest.param(replace(CLIENT, validation=trusting("dns:**")), "esc1", "/validation/trusted", id="ESC1 any name"),
        pytest.param(
            replace(CLIENT, names=NameRules(required=False, common_name=".*")),
            "esc1",
            "/names/common_name",
            id="ESC1",
        ),
        pytest.param(usages(TLS), "esc2", "/profile/extended_key_usage", id="ESC2 no purpose"),
        pytest.param(usages(TLS, "anyExtendedKeyUsage"), "esc2", "/profile/extended_key_usage", id="ESC2 any purpose"),
        pytest.param(
            usages(TLS, "1.3.6.1.4.1.311.20.2.1"), "esc3", "/profile/extended_key_usage", id="ESC3 enrolment agent"
        ),
        pytest.param(replace(TLS, validation=trusting("dns:**")), "esc17", "/validation/trusted", id="ESC17 servers"),
        pytest.param(replace(TLS, profile=replace(TLS_PROFILE, ca=True)), "sub-ca", "/profile/ca", id="a CA"),
        pytest.param(replace(TLS, approvers=("bob",), approvals=2), "approvals", "/approvals", id="too few people"),
        pytest.param(
            replace(TLS, profile=replace(TLS_PROFILE, lint_sets=("rfc5280", "cabf"))),
            "suspension",
            "/suspension",
            id="public TLS that can be suspended",
        ),
    ],
)
def test_lint_finds_what_has_given_away_networks(product: Product, rule: str, pointer: str) -> None:
    """security.md section 5.1: each is an error with its place and what would be right."""
    (found,) = (one for one in lint(product) if one.rule == rule)
    assert (found.severity, found.pointer) == ("error", pointer)
    assert found.detail and found.nearest


def test_lint_lets_sound_products_pass() -> None:
    """Proven server names; clients whose names somebody approves."""
    assert lint(TLS) == ()
    approved = replace(CLIENT, validation=trusting("dns:**"), approval=True)
    assert lint(approved) == ()


def test_lint_warns_of_papers_that_other_doors_cannot_hand_in() -> None:
    product = replace(TLS, protocols=("acme", "rest"), documents=(DocumentRule("letter"),))
    assert [(one.rule, one.severity) for one in lint(product)] == [("papers", "warning")]


# --------------------------------------------------------------------------- applying


def text_of(product: Product) -> str:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(product))
    return toml_text(plain)


async def current(house: House, name: str = "tls") -> Product:
    found = await house.core.store.one(PRODUCT, name)
    assert found is not None
    return found


async def test_applying_says_what_changes_and_makes_a_version(house: House) -> None:
    """A dry run writes nothing; what is the same is no new version."""
    product = await current(house)
    wanted = text_of(replace(product, title="Other title"))
    seen = await house.core.proposing.apply(wanted, "file", ACTOR, dry_run=True)
    assert [(one.key, one.old, one.new) for one in seen.changes] == [("title", product.title, "Other title")]
    assert (await current(house)).version == product.version
    made = await house.core.proposing.apply(wanted, "file", ACTOR)
    assert (made.version, made.new) == (product.version + 1, False)
    again = await house.core.proposing.apply(wanted, "file", ACTOR)
    assert again.changes == ()
    versions = await house.core.inventory.product_versions("tls")
    assert [one.version for one in versions] == [product.version + 1, product.version]


async def test_an_error_of_lint_is_not_applied_unless_it_is_accepted(house: House) -> None:
    """By name, so that nobody accepts more than they have read."""
    wanted = text_of(replace(await current(house), validation=trusting("dns:**")))
    for accept in ((), ("esc1",)):
        with pytest.raises(Malformed, match="esc17"):
            await house.core.proposing.apply(wanted, "file", ACTOR, accept=accept)
    made = await house.core.proposing.apply(wanted, "file", ACTOR, accept=("esc17",))
    assert made.version == (await current(house)).version


# --------------------------------------------------------------------------- trial and replay


async def test_a_request_is_tried_without_ordering(house: House) -> None:
    """The same rules and lints as an order's; nothing is written."""
    made = await house.credential("est")
    product = await house.core.proposing.proposed("tls", None)
    csr = request("a.certgate.test")
    good = await house.core.proposing.dry_run(product, made.credential.identifier, csr, ACTOR)
    assert good.problem is None and ("proof", "trusted") in [(rule, outcome) for rule, outcome, _ in good.steps]
    size = await house.core.inventory.audit_size()
    narrower = replace(product, names=replace(product.names, allowed=("dns:*.example.org",)))
    bad = await house.core.proposing.dry_run(narrower, made.credential.identifier, csr, ACTOR)
    assert isinstance(bad.problem, RejectedIdentifier)
    assert await house.core.inventory.audit_size() == size
    assert await house.core.inventory.order_page() == []


async def test_orders_of_the_last_days_are_replayed_against_a_draft(house: House) -> None:
    """Who would break is named, with the reason; what is older is not looked at."""
    principal = await est(house)
    for name in ("old.certgate.test", "a.certgate.test", "b.certgate.test"):
        new = NewOrder(identifiers=(dns(name),), request=request(name))
        last = await house.core.lifecycle.ordering.place(principal, new)
        if name.startswith("old"):
            house.clock.advance(days=40)
    product = await house.core.proposing.proposed("tls", None)
    same = await house.core.proposing.replay(product, 30, ACTOR)
    assert (same.looked, same.broken) == (2, ())
    narrower = replace(product, names=replace(product.names, denied=("dns:b.certgate.test",)))
    found = await house.core.proposing.replay(narrower, 30, ACTOR)
    assert [(one.order.id, one.problem.kind) for one in found.broken] == [(last.id, "rejected-identifier")]
    shorter = replace(product, profile=replace(product.profile, key_types=("rsa-2048",)))
    assert len((await house.core.proposing.replay(shorter, 3650, ACTOR)).broken) == 3


async def test_a_proposal_is_about_the_product_that_is_named(house: House) -> None:
    wanted = text_of(await current(house, "device"))
    with pytest.raises(Malformed, match="not about"):
        await house.core.proposing.proposed("tls", wanted)


# --------------------------------------------------------------------------- the order form


def test_the_order_form_says_what_would_be_refused() -> None:
    """Where a product cannot suspend, its schema has no such verbs; reasons are those really accepted (W12)."""
    rule = DocumentRule("letter", "Letter", ("application/pdf",), 100)
    form = order_form(replace(TLS, suspension=False, documents=(rule,), terms="terms/1", approval=True, approvals=2))
    assert form["verbs"] == ["renew", "reissue", "revoke"] and form["suspension"] is False
    assert form["documents"][0]["max_bytes"] == 100
    assert (form["terms"], form["approvals"]) == ("terms/1", 2)
    assert "certificateHold" not in form["revocation_reasons"] and "superseded" in form["revocation_reasons"]
    assert form["order"]["properties"]["names"]["maxItems"] == 100
    assert "hold" in order_form(TLS)["verbs"]
