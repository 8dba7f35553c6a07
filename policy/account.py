"""Who is behind a credential: users, groups, organisations; and ACME accounts, which bring their own key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from policy.ids import AccountId, CredentialId


@dataclass(frozen=True, slots=True)
class Organisation:
    """A legal entity that certificates may name."""

    name: str
    title: str
    country: str | None = None
    active: bool = True
    version: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """People and credentials that belong together; `domains` are the DNS suffixes it may ask for, empty for any."""

    name: str
    organisation: str | None = None
    domains: tuple[str, ...] = ()
    active: bool = True
    version: int = 1


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a service that acts like one. `password` is an argon2id hash, absent where none can log in."""

    name: str
    groups: tuple[str, ...]
    roles: tuple[str, ...] = ()
    email: str | None = None
    password: str | None = None
    active: bool = True
    version: int = 1


class AccountStatus(StrEnum):
    """RFC 8555 section 7.1.6."""

    VALID = "valid"
    SUSPENDED = "suspended"
    """Stopped by an administrator for the time being. ACME has no word for it, and the account never sees it."""
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Account:
    """An ACME account (RFC 8555 section 7.1.2): a public key that a credential vouches for.

    `spki` is the DER of the account key, `jwk` the key as the client sent it, `thumbprint` its RFC 7638 thumbprint
    (base64url). `binding` is the external account binding to echo (RFC 8555 section 7.3.4).
    """

    id: AccountId
    mount: str
    credential: CredentialId
    status: AccountStatus
    spki: bytes
    jwk: dict[str, str]
    thumbprint: str
    contact: tuple[str, ...]
    created: datetime
    agreed: str | None = None
    binding: dict[str, Any] | None = None
    version: int = 1
