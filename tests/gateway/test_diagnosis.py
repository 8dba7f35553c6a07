"""gateway.diagnosis: facts in, findings out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.diagnosis import Finding, Outcome, diagnose

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def soon(**more: float) -> str:
    """A moment so far from now."""
    return (NOW + timedelta(**more)).isoformat()


def authority(name: str, *, root: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "root": root,
        "not_before": soon(days=-100),
        "not_after": soon(days=1000),
        "loaded": True,
    }


GOOD: dict[str, Any] = {
    "version": "1.0",
    "pid": 1,
    "now": NOW.isoformat(),
    "loop": "uvloop",
    "listen": "127.0.0.1",
    "origins": ["https://127.0.0.1:8443", "http://127.0.0.1:8080"],
    "authorities": [authority("root", root=True), authority("issuing")],
    "crls": [{"issuer": "issuing", "shard": 0, "this_update": soon(hours=-1), "next_update": soon(days=6)}],
    "service_keys": [{"purpose": "tls", "issuer": "issuing", "not_after": soon(days=60)}],
    "products": [{"name": "tls", "state": "active", "issuer": "issuing"}],
    "mounts": [{"key": "acme/default", "active": True, "issuer": "issuing", "products": ["tls"]}],
    "expiring_credentials": [],
    "held_orders": 0,
    "interrupted_issuances": 0,
    "store": {"events": 10, "sealed": 10, "sealed_at": soon(minutes=-1)},
}


def findings(change: Callable[[dict[str, Any]], object], *, running: bool = True) -> list[Finding]:
    """What is not well after a change to facts that are."""
    facts = copy.deepcopy(GOOD)
    change(facts)
    return [one for one in diagnose(facts, NOW, running=running, version="1.0") if one.outcome is not Outcome.OK]


@pytest.mark.parametrize("running", [True, False])
def test_nothing_is_wrong_where_nothing_is(running: bool) -> None:
    assert findings(lambda facts: None, running=running) == []


@pytest.mark.parametrize(
    ("change", "outcome", "check"),
    [
        (lambda f: f["authorities"][1].update(not_after=soon(days=-1)), "problem", "CA issuing"),
        (lambda f: f["authorities"][1].update(not_before=soon(days=1)), "problem", "CA issuing"),
        (lambda f: f["authorities"][1].update(not_after=soon(days=5)), "warning", "CA issuing"),
        (lambda f: f["authorities"][1].update(loaded=False), "warning", "CA issuing"),
        (lambda f: f["crls"][0].update(next_update=soon(hours=-1)), "problem", "CRLs"),
        (lambda f: f["crls"][0].update(next_update=None, this_update=None), "problem", "CRLs"),
        (lambda f: f["crls"][0].update(this_update=soon(days=-3)), "warning", "CRLs"),
        (lambda f: f["service_keys"][0].update(not_after=soon(days=-1)), "warning", "service keys"),
        (lambda f: f["products"][0].update(issuer="elsewhere"), "problem", "products"),
        (lambda f: f["products"][0].update(issuer="root"), "problem", "products"),
        (lambda f: f["products"][0].update(state="suspended"), "warning", "mounts"),
        (lambda f: f["mounts"][0].update(issuer="elsewhere"), "problem", "mounts"),
        (lambda f: f.update(mounts=[]), "warning", "mounts"),
        (
            lambda f: f.update(expiring_credentials=[{"identifier": "r", "expires": soon(days=3)}]),
            "warning",
            "credentials",
        ),
        (lambda f: f.update(held_orders=3), "warning", "held orders"),
        (lambda f: f.update(interrupted_issuances=3), "warning", "issuances"),
        (lambda f: f["store"].update(events=5000, sealed_at=soon(hours=-2)), "warning", "audit log"),
        (lambda f: f["store"].update(sealed_at=soon(hours=2)), "problem", "clock"),
        (lambda f: f.update(listen="0.0.0.0"), "warning", "addresses"),
        (lambda f: f.update(version="0.9"), "warning", "server version"),
        (lambda f: f.update(loop="asyncio"), "warning", "event loop"),
        (lambda f: f.update(now=soon(seconds=60)), "problem", "server clock"),
    ],
)
def test_each_fault_is_one_finding_with_advice(
    change: Callable[[dict[str, Any]], object], outcome: str, check: str
) -> None:
    """And what to do about it."""
    (found,) = findings(change)
    assert (found.check, found.outcome.value) == (check, outcome)
    assert found.detail
    assert found.advice


def test_without_an_issuing_ca() -> None:
    """What names it is a problem as well."""
    found = findings(lambda f: f.update(authorities=[authority("root", root=True)]))
    assert [one.check for one in found] == ["CA", "products", "mounts"]


def test_without_products_nothing_can_be_ordered() -> None:
    """Two findings: no product, and a mount that offers none."""
    assert {one.check for one in findings(lambda f: f.update(products=[]))} == {"products", "mounts"}


def test_a_crl_that_waits_for_a_server_is_no_fault_of_its_worker() -> None:
    assert findings(lambda f: f["crls"][0].update(this_update=soon(days=-3)), running=False) == []


def test_many_names_are_cut_short() -> None:
    many = [{"issuer": f"ca-{n}", "shard": 0, "this_update": None, "next_update": None} for n in range(9)]
    (found,) = findings(lambda f: f.update(crls=many))
    assert "and 4 more" in found.detail
