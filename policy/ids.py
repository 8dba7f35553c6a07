"""Identifiers of orders, credentials, products and accounts: unguessable (RFC 8555 section 10.5), and in order of time.

The time in front keeps the indexes of the store local, which halves what a commit writes; it says nothing that the
object itself does not tell its owner. What nobody can guess are the 104 bits behind it.
"""

from __future__ import annotations

import time
from secrets import token_hex
from typing import NewType

OrderId = NewType("OrderId", str)
AuthorizationId = NewType("AuthorizationId", str)
AccountId = NewType("AccountId", str)
CredentialId = NewType("CredentialId", str)

RANDOM_BYTES = 13


def new_id() -> str:
    """Thirty-eight hexadecimal digits: milliseconds since 1970 (12), then 104 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{token_hex(RANDOM_BYTES)}"


def short_id() -> str:
    """Twelve random hexadecimal digits, for names that people read and that need not be secret."""
    return token_hex(6)
