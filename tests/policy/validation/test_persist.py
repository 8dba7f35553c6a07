"""Records of dns-persist-01 (spec: draft-ietf-acme-dns-persist)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.problems import ValidationIncorrectResponse
from policy.validation.persist import PersistRecord, find_permission, read_record

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ACCOUNT = "https://ca.example/acme/default/account/1"
GOOD = f"ca.example; accounturi={ACCOUNT}"


def find(*records: str, wildcard: bool = False) -> PersistRecord:
    return find_permission(
        [one.encode("latin-1") for one in records],
        issuer_domains=frozenset({"ca.example"}),
        account_uri=ACCOUNT,
        wildcard=wildcard,
        now=NOW,
    )


@pytest.mark.parametrize(
    "record",
    [
        GOOD,
        f"CA.example.;accounturi={ACCOUNT}",
        f"ca.example ;\taccounturi = {ACCOUNT}",
        f"ca.example; color=blue; accounturi={ACCOUNT}; policy=other",
        f"ca.example; accounturi={ACCOUNT}; persistUntil={int((NOW + timedelta(seconds=1)).timestamp())}",
    ],
)
def test_b_a_record_permits_the_account(record: str) -> None:
    """Whatever its spelling, and whatever else it says."""
    assert find("v=spf1 -all", "other.example; accounturi=x", record).account_uri == ACCOUNT


def test_b_wildcards_need_the_policy() -> None:
    """And a record with it permits the name itself, too."""
    wild = GOOD + "; Policy=WILDCARD"
    assert find(wild, wildcard=True).wildcard
    assert find(wild).wildcard
    with pytest.raises(ValidationIncorrectResponse, match="policy=wildcard"):
        find(GOOD, wildcard=True)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (GOOD + ";", "tag=value"),
        (GOOD + "; ;", "tag=value"),
        ("ca.example", "accounturi"),
        ("ca.example; accounturi=", "accounturi"),
        (f"ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}", "twice"),
        (f"ca.example; accounturi={ACCOUNT}2", "another account"),
        (f"ca.example; accounturi={ACCOUNT.upper()}", "another account"),
        (f"ca.example; accounturi={ACCOUNT}; persistUntil={int(NOW.timestamp())}", "ended"),
        (f"ca.example; accounturi={ACCOUNT}; persistUntil=tomorrow", "persistUntil"),
        (f"ca.example; accounturi={ACCOUNT}; persistUntil=99999999999999999", "persistUntil"),
        (f"ca.example; accounturi={ACCOUNT}; persistUntil=²", "allowed"),
        (f"ca.example; accounturi={ACCOUNT} x", "not allowed"),
        ("other.example; accounturi=" + ACCOUNT, "none is about this CA"),
    ],
)
def test_b_records_that_permit_nothing(record: str, why: str) -> None:
    """What is malformed counts as not there; the client learns what is wrong with those that name this CA."""
    with pytest.raises(ValidationIncorrectResponse, match=why):
        find(record)


@given(st.binary(max_size=80))
def test_any_record_is_judged(record: bytes) -> None:
    """Whoever runs the zone writes it: nothing but a permission or a refusal comes of it."""
    with pytest.raises(ValidationIncorrectResponse):
        find(record.decode("latin-1"), "ca.example;" + record.decode("latin-1"))


def test_what_is_read() -> None:
    record = read_record(GOOD + "; policy=wildcard; persistuntil=1800000000")
    assert record == PersistRecord("ca.example", ACCOUNT, True, datetime.fromtimestamp(1800000000, UTC))
