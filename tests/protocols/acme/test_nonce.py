"""Nonces: what was given out is good, once; everything else is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.problems import Malformed, Replayed
from policy.replay import NonceWindow
from protocols import base64url
from protocols.acme.nonce import NonceSeal


def sealed(key: bytes = bytes(32)) -> tuple[NonceSeal, NonceWindow]:
    window = NonceWindow(b"epoch", 1024)
    return NonceSeal(key, window.number), window


async def test_a_nonce_is_good_once() -> None:
    """RFC 8555 section 6.5."""
    seal, window = sealed()
    nonce = seal.fresh()
    assert await window.redeem(seal.open(nonce))
    assert not await window.redeem(seal.open(nonce))


async def test_a_nonce_that_fell_out_of_the_window_is_dead() -> None:
    """Memory stays flat whatever clients do. Rows: A3."""
    seal, window = sealed()
    old = seal.fresh()
    for _ in range(1024):
        seal.fresh()
    assert not await window.redeem(seal.open(old))


def test_nonces_are_base64url_of_at_least_128_bits_and_differ() -> None:
    """RFC 8555 section 6.5.1: the alphabet of base64url. Rows: A3."""
    seal, _ = sealed()
    made = {seal.fresh() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(base64url.decode(nonce.encode())) == 24 for nonce in made)


def test_nonces_of_another_opening_of_the_store_are_unknown() -> None:
    """Another key: after a restart every older nonce is badNonce, never an internal error (trap T-16).

    Rows: C3, T-16.
    """
    mine, _ = sealed()
    other, _ = sealed(bytes(range(32)))
    with pytest.raises(Replayed):
        mine.open(other.fresh())


@pytest.mark.parametrize("nonce", ["", "AAAA", "A" * 32, "A" * 36, "A" * 4000])
def test_made_up_nonces_are_unknown(nonce: str) -> None:
    """They are base64url, so it is badNonce."""
    with pytest.raises(Replayed):
        sealed()[0].open(nonce)


@pytest.mark.parametrize("nonce", ["A", "AA==", "nonce with spaces", "+" * 32, "é" * 32, "A" * 31 + "\n", "AB"])
def test_what_is_not_base64url_is_malformed(nonce: str) -> None:
    """RFC 8555 section 6.5.2. Rows: R8."""
    with pytest.raises(Malformed):
        sealed()[0].open(nonce)


@given(st.text(max_size=40))
def test_any_text_is_a_problem(nonce: str) -> None:
    """No other exception."""
    with pytest.raises((Malformed, Replayed)):
        sealed()[0].open(nonce)


@given(st.integers(0, 31), st.integers(1, 255))
def test_no_altered_nonce_opens(place: int, flip: int) -> None:
    """The seal is over all of it."""
    seal, _ = sealed()
    octets = bytearray(base64url.decode(seal.fresh().encode()))
    octets[place % 24] ^= flip
    with pytest.raises(Replayed):
        seal.open(base64url.encode(bytes(octets)))
