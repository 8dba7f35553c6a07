"""URLs of a mount, and which kid is an account of it."""

from __future__ import annotations

import pytest

from protocols.acme.urls import URLs, is_id

ORIGIN = "https://ca.certgate.test"
HERE = URLs(ORIGIN, "default")


def test_a_kid_is_the_exact_account_url() -> None:
    """What was given out is found again."""
    assert HERE.account_of(HERE.account("abc")) == "abc"


@pytest.mark.parametrize(
    "kid",
    [
        "abc",
        "",
        f"{ORIGIN}/acme/default/account/",
        f"{ORIGIN}/acme/default/account/abc/",
        f"{ORIGIN}/acme/default/account/abc/orders",
        f"{ORIGIN}/acme/default/account/abc?x",
        f"{ORIGIN}/acme/default/account/a%62c",
        f"{ORIGIN}/acme/default/account/../account/abc",
        f"{ORIGIN}/acme/other/account/abc",
        f"{ORIGIN}/acme/default/order/abc",
        f"{ORIGIN}:443/acme/default/account/abc",
        "http://ca.certgate.test/acme/default/account/abc",
        "https://evil.test/acme/default/account/abc",
        "HTTPS://ca.certgate.test/acme/default/account/abc",
        f"{ORIGIN}/acme/default/account/abc\n",
        f"{ORIGIN}/acme/default/account/é",
        f"{ORIGIN}/acme/default/account/" + "a" * 65,
    ],
)
def test_every_other_kid_is_none_of_ours(kid: str) -> None:
    """Trap T-15: no foreign host, suffix, mount or spelling. Rows: T-15."""
    assert HERE.account_of(kid) is None


@pytest.mark.parametrize(("text", "right"), [("a-b_9", True), ("", False), ("a/b", False), ("a\n", False)])
def test_identifiers(text: str, right: bool) -> None:
    """What can stand in a path."""
    assert is_id(text) is right
