"""Tokens: good for one signature, at the authority that made them, with proof of the intent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from ca_core.issuance import Decision, IssuanceToken, Prepared, TokenMisused
from ca_core.names import Identifier, Subject

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Parsed:
    """What the lints read from the bytes; a token does not look at it."""

    spki: bytes = b"spki"
    subject: Subject = ()
    names: tuple[Identifier, ...] = ()
    not_before: datetime = NOON
    not_after: datetime = NOON
    is_ca: bool = False


PREPARED = Prepared("aa", "issuing", 1, b"tbs", NOON, NOON, 0, "tls", 1, b"spki", (), (), (), Parsed())
DECISION = Decision("order", PREPARED.digest, b"trace")


class Receipt:
    """A commit that had these intents in it."""

    def __init__(self, *intents: str) -> None:
        self._intents = intents

    def covers(self, intent: str) -> bool:
        return intent in self._intents


def test_digest_is_that_of_the_to_be_signed_bytes() -> None:
    """What a decision names."""
    assert PREPARED.digest == sha256(b"tbs").digest()


def test_token_is_redeemed_once() -> None:
    """A second certificate for the same decision is refused."""
    maker = object()
    token = IssuanceToken("01", PREPARED, DECISION, maker)
    assert token.redeem(maker, Receipt("01")) is PREPARED
    with pytest.raises(TokenMisused, match="signed already"):
        token.redeem(maker, Receipt("01"))


def test_token_of_another_maker_is_refused() -> None:
    """A token that anybody could make would be no authorisation."""
    token = IssuanceToken("01", PREPARED, DECISION, object())
    with pytest.raises(TokenMisused, match="another authority"):
        token.redeem(object(), Receipt("01"))


def test_token_needs_a_receipt_that_covers_it() -> None:
    """Nothing is signed before its intent is on disk; the refused try does not spend the token."""
    maker = object()
    token = IssuanceToken("01", PREPARED, DECISION, maker)
    with pytest.raises(TokenMisused, match="not in the commit"):
        token.redeem(maker, Receipt("02"))
    assert token.redeem(maker, Receipt("01", "02")) is PREPARED
