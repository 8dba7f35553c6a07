"""Domains whose control a group has proven once for all its orders: how far such a proof reaches, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ca_core.names import Identifier, IdentifierType


class DomainScope(StrEnum):
    """Which names a pre-validated domain stands for. Each contains the one before it."""

    EXACT = "exact"
    """The domain itself."""
    SUBDOMAINS = "subdomains"
    """And every name below it."""
    WILDCARD = "wildcard"
    """And wildcards right below any of these."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that a group need not prove again. `evidence` says how it was proven, for whoever looks later."""

    name: str
    group: str
    scope: DomainScope
    valid_till: datetime
    created: datetime
    created_by: str
    evidence: str = ""

    def covers(self, identifier: Identifier, now: datetime) -> bool:
        """Whether the proof stands for this identifier at this moment."""
        if identifier.type is not IdentifierType.DNS or self.valid_till <= now:
            return False
        if identifier.wildcard and self.scope is not DomainScope.WILDCARD:
            return False
        name = identifier.base
        return name == self.name or (self.scope is not DomainScope.EXACT and name.endswith("." + self.name))
