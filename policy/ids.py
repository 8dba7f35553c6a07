"""Identifiers of orders, credentials, products and accounts: random and unguessable (RFC 8555 section 10.5)."""

from __future__ import annotations

import secrets
from base64 import b32encode
from typing import NewType

OrderId = NewType("OrderId", str)
AuthorizationId = NewType("AuthorizationId", str)
AccountId = NewType("AccountId", str)
CredentialId = NewType("CredentialId", str)


def new_id() -> str:
    """Twenty-six characters [a-z2-7] that carry 130 random bits; safe in URLs, file names and spoken words."""
    return b32encode(secrets.token_bytes(17)).decode().lower()[:26]
