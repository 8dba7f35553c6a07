"""Who is behind a credential: users, groups, organisations; and ACME accounts, which bring their own key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from policy.access import Owned
from policy.ids import AccountId, CredentialId


class OrganisationStatus(StrEnum):
    """Whether somebody vouches that the data of an organisation is right."""

    PENDING = "pending"
    VALIDATED = "validated"
    EXPIRED = "expired"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Organisation:
    """A legal entity that certificates may name. `title` is its legal name, `country` two letters (ISO 3166).

    `group` administers it; groups that name it see it, too. The data counts as right from `validated_at` until
    `validated_until`; changing it ends that. `agreement` names the terms that were agreed to in its name.
    """

    name: str
    title: str
    country: str | None = None
    group: str | None = None
    registration_number: str = ""
    jurisdiction: str = ""
    street: str = ""
    locality: str = ""
    region: str = ""
    postal_code: str = ""
    phone: str = ""
    validated_at: datetime | None = None
    validated_until: datetime | None = None
    validated_by: str = ""
    agreement: str = ""
    agreed_at: datetime | None = None
    agreed_by: str = ""
    active: bool = True
    version: int = 1

    def at(self, now: datetime) -> OrganisationStatus:
        """The status as it counts now."""
        if not self.active:
            return OrganisationStatus.INACTIVE
        if self.validated_until is None:
            return OrganisationStatus.PENDING
        return OrganisationStatus.VALIDATED if now < self.validated_until else OrganisationStatus.EXPIRED


@dataclass(frozen=True, slots=True)
class Group:
    """People and credentials that belong together, and what they may ask for; a limit that is empty allows all.

    `domains` are DNS suffixes, `products` names of products, `quota` certificates per calendar month (UTC). What a
    group below `parent` may ask for, its parent has to allow as well. An inactive group is archived: it stays for
    what refers to it, is no choice for anything new, and its credentials are refused.
    """

    name: str
    organisation: str | None = None
    domains: tuple[str, ...] = ()
    title: str = ""
    parent: str | None = None
    tags: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    quota: int | None = None
    active: bool = True
    version: int = 1

    @property
    def owned(self) -> Owned:
        """Whose it is: its own."""
        return Owned(groups=(self.name,))


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a service that acts like one. `password` is an argon2id hash, absent where none can log in.

    `roles` are names of roles (policy.access). An inactive user's credentials are refused.
    """

    name: str
    groups: tuple[str, ...]
    roles: tuple[str, ...] = ()
    email: str | None = None
    password: str | None = None
    full_name: str = ""
    mobile: str = ""
    designation: str = ""
    employee_id: str = ""
    active: bool = True
    version: int = 1

    @property
    def owned(self) -> Owned:
        """Whose it is: its own, in its groups."""
        return Owned(self.name, self.groups)


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
