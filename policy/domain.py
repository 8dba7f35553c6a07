"""Domains whose control a group has proven once for all its orders: how far such a proof reaches, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ca_core.names import Identifier, IdentifierType
from policy.access import Owned


class DomainScope(StrEnum):
    """Which names a pre-validated domain stands for. Each contains the one before it."""

    EXACT = "exact"
    """The domain itself."""
    SUBDOMAINS = "subdomains"
    """And every name below it."""
    WILDCARD = "wildcard"
    """And wildcards right below any of these."""


class DomainMethod(StrEnum):
    """How a domain is proven."""

    VOUCHED = "vouched"
    """Somebody who may says so; the evidence is theirs."""
    DNS_TXT = "dns-txt"
    """A TXT record (Baseline Requirements section 3.2.2.4.7), where dns-01 has it."""
    HTTP_FILE = "http-file"
    """A file on the web server of the domain (section 3.2.2.4.19), where http-01 has it; for the domain itself only."""


class DomainStatus(StrEnum):
    """What a domain counts for now."""

    PENDING = "pending"
    VALIDATED = "validated"
    EXPIRED = "expired"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class DomainChallenge:
    """What has to be shown, until when. A new one makes the one before worthless.

    `token` names the file; `proof` cannot be told from it, so that a server which echoes paths proves nothing.
    """

    method: DomainMethod
    token: str
    proof: str
    expires: datetime

    @property
    def key_authorization(self) -> str:
        """The content of the file; its digest is the value of the TXT record."""
        return f"{self.token}.{self.proof}"


@dataclass(frozen=True, slots=True)
class DomainAttempt:
    """One look at a challenge, and what was found."""

    at: datetime
    method: DomainMethod
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of a group, which need not prove it again while it counts. `evidence` says how it was proven.

    `exclusions` are names that are not part of it, with all below them. `attempts` are the newest looks, oldest first.
    """

    name: str
    group: str
    scope: DomainScope
    valid_till: datetime | None
    created: datetime
    created_by: str
    evidence: str = ""
    method: DomainMethod = DomainMethod.VOUCHED
    validated_at: datetime | None = None
    exclusions: tuple[str, ...] = ()
    challenge: DomainChallenge | None = None
    attempts: tuple[DomainAttempt, ...] = ()
    active: bool = True
    version: int = 1

    @property
    def owned(self) -> Owned:
        """Whose it is: its group's."""
        return Owned(groups=(self.group,))

    def at(self, now: datetime) -> DomainStatus:
        """The status as it counts now, by a proof of its own."""
        if not self.active:
            return DomainStatus.INACTIVE
        if self.valid_till is None:
            return DomainStatus.PENDING
        return DomainStatus.VALIDATED if now < self.valid_till else DomainStatus.EXPIRED

    def covers(self, identifier: Identifier, now: datetime) -> bool:
        """Whether the proof stands for this identifier at this moment."""
        if identifier.type is not IdentifierType.DNS or self.at(now) is not DomainStatus.VALIDATED:
            return False
        if identifier.wildcard and self.scope is not DomainScope.WILDCARD:
            return False
        name = identifier.base
        if any(name == one or name.endswith("." + one) for one in self.exclusions):
            return False
        # A wildcard would serve an excluded name right below it.
        if identifier.wildcard and any(one.partition(".")[2] == name for one in self.exclusions):
            return False
        return name == self.name or (self.scope is not DomainScope.EXACT and name.endswith("." + self.name))
