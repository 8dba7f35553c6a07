"""Small parts: rate limits, sealing and hashing, the nonce window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.limits import MAX_KEYS, ROOM, Limit, Limits
from policy.problems import RateLimited
from policy.replay import NonceWindow
from policy.sealing import SealBroken, Sealing, Secret


def test_a_limit_lets_a_burst_through_and_then_a_trickle() -> None:
    now = [1000.0]
    limits = Limits({"x": Limit(3, 30)}, lambda: now[0])
    for _ in range(3):
        limits.take("x", "a", "things")
    with pytest.raises(RateLimited) as told:
        limits.take("x", "a", "things")
    assert told.value.retry_after == 11
    limits.take("x", "b", "things")
    now[0] += 11
    limits.take("x", "a", "things")
    with pytest.raises(RateLimited):
        limits.take("x", "a", "things", count=False)


def test_limits_keep_bounded_memory() -> None:
    limits = Limits({"x": Limit(1, 10)}, lambda: 0.0)
    for number in range(MAX_KEYS + 10):
        limits.take("x", str(number), "things")
    assert len(limits._arrival) <= MAX_KEYS


def test_limits_that_are_full_make_room_for_many() -> None:
    """Making room costs a look at all keys: once in so many takes, not at each; those used up most are kept."""
    limits = Limits({"x": Limit(2, 1000)}, lambda: 0.0)
    for _ in range(2):
        limits.take("x", "0", "things")
    for number in range(1, MAX_KEYS + 1):
        limits.take("x", str(number), "things")
    assert len(limits._arrival) == MAX_KEYS - ROOM + 1
    with pytest.raises(RateLimited):
        limits.take("x", "0", "things")


def test_addresses_of_one_ipv6_subnet_count_as_one() -> None:
    """Whoever has one of them has them all; the IPv4 address in a mapped one is that address."""
    limits = Limits({"new_accounts_per_address": Limit(1, 10), "x": Limit(1, 10)}, lambda: 0.0)

    def take(address: str) -> None:
        limits.take("new_accounts_per_address", address, "new accounts")

    take("2001:db8::1")
    take("2001:db8:0:1::1")
    take("192.0.2.1")
    take("192.0.2.2")
    for address in ("2001:db8::ffff", "2001:0db8:0:1::2", "::ffff:192.0.2.1"):
        with pytest.raises(RateLimited):
            take(address)
    limits.take("x", "2001:db8::1", "things")
    limits.take("x", "2001:db8::2", "things")


@pytest.mark.parametrize("text", ["0/1h", "5", "x/1h", "5/1w", ""])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="300/3h"):
        Limit.read(text)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_context_only(secret: bytes, context: str) -> None:
    sealing = Sealing(bytes(32))
    sealed = sealing.seal(Secret(secret), context)
    assert sealing.open(sealed, context).reveal() == secret
    with pytest.raises(SealBroken):
        sealing.open(sealed, context + "x")
    with pytest.raises(SealBroken):
        Sealing(bytes(31) + b"x").open(sealed, context)
    with pytest.raises(SealBroken):
        sealing.open(sealed[:20], context)


def test_secrets_do_not_show_themselves() -> None:
    secret = Secret(b"swordfish")
    assert "swordfish" not in f"{secret!r} {secret} {[secret]}"
    sealing = Sealing(bytes(32))
    assert sealing.hash(secret) == sealing.hash(Secret(b"swordfish")) != sealing.hash(Secret(b"other"))
    assert sealing.key("nonce") != sealing.key("cursor")
    with pytest.raises(ValueError, match="32"):
        Sealing(b"short")


async def test_each_number_is_redeemed_once_and_old_ones_fall_out() -> None:
    window = NonceWindow(b"epoch", window=64)
    first = [window.number() for _ in range(64)]
    assert await window.redeem(first[3])
    assert not await window.redeem(first[3])
    more = [window.number() for _ in range(40)]
    assert not await window.redeem(first[0])  # out of the window
    assert await window.redeem(first[63])
    assert await window.redeem(more[-1])
    assert not await window.redeem(more[-1] + 1)  # never given out
    assert not await window.redeem(-1)
