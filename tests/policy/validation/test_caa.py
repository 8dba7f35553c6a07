"""The CAA decision, case by case (RFC 8659, RFC 8657)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.problems import ValidationCAA
from policy.validation.caa import SHOWN_CHARACTERS, CAARecord, CAASet, check_caa

OURS = frozenset({"ca.example", "Other-CA.example"})
ACCOUNT = "https://ca.example/acme/acct/1"


def issue(value: str, flags: int = 0) -> CAARecord:
    return CAARecord(flags, "issue", value)


def wild(value: str) -> CAARecord:
    return CAARecord(0, "issuewild", value)


def check(
    *records: CAARecord,
    wildcard: bool = False,
    method: str | None = "http-01",
    account_uri: str | None = ACCOUNT,
    issuer_domains: frozenset[str] = OURS,
) -> None:
    found = CAASet("example.com" if records else None, tuple(records))
    check_caa(found, issuer_domains=issuer_domains, wildcard=wildcard, method=method, account_uri=account_uri)


Records = tuple[CAARecord, ...]

PERMITTED: dict[str, tuple[Records, dict[str, Any]]] = {
    "no records": ((), {}),
    "no records and nothing configured": ((), {"issuer_domains": frozenset()}),
    "our name": ((issue("ca.example"),), {}),
    "our name among others": ((issue("evil.example"), issue("ca.example")), {}),
    "our name in other case": ((issue("CA.Example"),), {}),
    "configured name in other case": ((issue("other-ca.example"),), {}),
    "tag in other case": ((CAARecord(0, "ISSUE", "ca.example"),), {}),
    "blanks around": ((issue("  ca.example \t; "),), {}),
    "a semicolon and nothing": ((issue("ca.example;"),), {}),
    "only iodef": ((CAARecord(0, "iodef", "mailto:a@example.com"),), {}),
    "critical iodef": ((CAARecord(128, "iodef", "mailto:a@example.com"),), {}),
    "critical issue": ((issue("ca.example", flags=128),), {}),
    "issuemail is not about us": ((CAARecord(128, "issuemail", ";"),), {}),
    "unknown tag, not critical": ((CAARecord(0, "future", "x"),), {}),
    "unknown tag with a reserved flag": ((CAARecord(1, "future", "x"),), {}),
    "issuewild says nothing about other names": ((wild(";"),), {}),
    "wildcard by issuewild": ((issue(";"), wild("ca.example")), {"wildcard": True}),
    "wildcard falls back to issue": ((issue("ca.example"),), {"wildcard": True}),
    "wildcard with unrelated records": ((CAARecord(0, "iodef", "mailto:a@b"),), {"wildcard": True}),
    "unknown parameter": ((issue("ca.example; policy=ev"),), {}),
    "our account": ((issue(f"ca.example; accounturi={ACCOUNT}"),), {}),
    "accounturi tag in other case": ((issue(f"ca.example; AccountURI={ACCOUNT}"),), {}),
    "our method": ((issue("ca.example; validationmethods=dns-01,http-01"),), {}),
    "account and method": ((issue(f"ca.example;accounturi={ACCOUNT} ; validationmethods = http-01"),), {}),
    "one of two with the right account": (
        (issue("ca.example; accounturi=https://x/"), issue(f"ca.example; accounturi={ACCOUNT}")),
        {},
    ),
}

REFUSED: dict[str, tuple[Records, dict[str, Any], str]] = {
    "nobody": ((issue(";"),), {}, "permits nobody"),
    "empty value": ((issue(""),), {}, "permits nobody"),
    "another CA": ((issue("evil.example"),), {}, "names another CA"),
    "a suffix of our name": ((issue("example"),), {}, "another CA"),
    "our name as a suffix": ((issue("not.ca.example"),), {}, "another CA"),
    "nothing configured": ((issue("ca.example"),), {"issuer_domains": frozenset()}, "another CA"),
    "nothing configured, wildcard": (
        (wild("x.example"),), {"issuer_domains": frozenset(), "wildcard": True}, "another CA",
    ),
    "unknown critical tag": ((issue("ca.example"), CAARecord(128, "future", "x")), {}, "critical"),
    "unknown critical tag with more flags": ((CAARecord(255, "future", "x"),), {}, "critical"),
    "wildcard: issue forbids, no issuewild": ((issue(";"),), {"wildcard": True}, "for a wildcard"),
    "wildcard: issuewild forbids, issue permits": ((issue("ca.example"), wild(";")), {"wildcard": True}, ""),
    "malformed name": ((issue("ca_.example"),), {}, "malformed"),
    "trailing dot": ((issue("ca.example."),), {}, "malformed"),
    "two names": ((issue("ca.example evil.example"),), {}, "malformed"),
    "control characters": ((issue("ca.example\n"),), {}, "malformed"),
    "Latin-1": ((issue("ca.ex\xe4mple"),), {}, "malformed"),
    "parameter without value sign": ((issue("ca.example; accounturi"),), {}, "malformed"),
    "parameter with a blank inside": ((issue("ca.example; a=b c"),), {}, "malformed"),
    "semicolon after the last parameter": ((issue("ca.example; a=b;"),), {}, "malformed"),
    "parameter tag with underscore": ((issue("ca.example; a_b=c"),), {}, "malformed"),
    "another account": ((issue(f"ca.example; accounturi={ACCOUNT[:-1]}2"),), {}, "another account"),
    "account in other case": ((issue(f"ca.example; accounturi={ACCOUNT.upper()}"),), {}, "another account"),
    "account as prefix": ((issue(f"ca.example; accounturi={ACCOUNT}1"),), {}, "another account"),
    "no account to compare": (
        (issue(f"ca.example; accounturi={ACCOUNT}"),), {"account_uri": None}, "another account",
    ),
    "accounturi twice": (
        (issue(f"ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}"),), {}, "another account",
    ),
    "empty accounturi": ((issue("ca.example; accounturi="),), {}, "another account"),
    "another method": ((issue("ca.example; validationmethods=dns-01"),), {}, "method http-01"),
    "no method used": ((issue("ca.example; validationmethods=dns-01"),), {"method": None}, "used here"),
    "method in other case": ((issue("ca.example; validationmethods=HTTP-01"),), {}, "method http-01"),
    "no method listed": ((issue("ca.example; validationmethods="),), {}, "method"),
    "malformed method list": ((issue("ca.example; validationmethods=http-01,,dns-01"),), {}, "method"),
    "validationmethods twice": (
        (issue("ca.example; validationmethods=http-01; validationmethods=http-01"),), {}, "method",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("records", "options"), PERMITTED.values(), ids=PERMITTED)
def test_permits(records: Records, options: dict[str, Any]) -> None:
    """RFC 8659 sections 4.2 and 4.3, RFC 8657 sections 3 and 4. Rows: R28, R29."""
    check(*records, **options)


@pytest.mark.parametrize(("records", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_refuses_and_says_which_record_where(records: Records, options: dict[str, Any], said: str) -> None:
    """Every refusal names the zone and the reason. Rows: R28, R29, A8, T-9."""
    with pytest.raises(ValidationCAA) as caught:
        check(*records, **options)
    assert "example.com" in caught.value.detail
    assert said in caught.value.detail


def test_record_text_in_a_problem_is_bounded_and_printable() -> None:
    """The text of a record belongs to whoever runs the zone."""
    with pytest.raises(ValidationCAA) as caught:
        check(*[issue("\x1b[31m" + "x" * 10_000)] * 50)
    assert len(caught.value.detail) < 5 * SHOWN_CHARACTERS + 200
    assert caught.value.detail.replace("…", "").isascii()
    assert caught.value.detail.replace("…", "").isprintable()


@given(
    st.lists(
        st.builds(
            CAARecord,
            st.integers(0, 255),
            st.sampled_from(["issue", "issuewild", "iodef", "ISSUE", "x"]) | st.text(max_size=5),
            st.text(alphabet=" \t;=,.-ab1", max_size=12)
            | st.just("ca.example")
            | st.text(st.characters(max_codepoint=255), max_size=30),
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_any_records_give_a_decision(records: list[CAARecord], wildcard: bool) -> None:
    """Any records: permission or ValidationCAA; permission needs our name where issue records stand."""
    try:
        check(*records, wildcard=wildcard)
    except ValidationCAA:
        return
    tags = {record.tag.lower() for record in records}
    if "issue" in tags and not (wildcard and "issuewild" in tags):
        assert any("ca.example" in record.value.lower() for record in records)


@given(st.text(alphabet=" \t;=.-a", max_size=2000))
def test_long_values_are_read_quickly(text: str) -> None:
    """The grammar must not be a way to stop the server."""
    with pytest.raises(ValidationCAA):
        check(issue(text + "\x00"))
