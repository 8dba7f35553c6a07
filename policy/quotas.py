"""Limits on what is issued: certificates per registered domain, for exactly the same names, and of a group's quota.

They are looked at when an order is placed and counted when it is about to be signed. A renewal is exempt: what is
there may go on (RFC 9773 section 5 for `replaces`; other doors show the certificate that they renew).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ca_core.names import Identifier, IdentifierType
from policy.account import Group
from policy.limits import Limits
from policy.rules.identifiers import registered_domain
from policy.store import Unit

PER_DOMAIN = "certificates_per_domain"
DUPLICATES = "duplicate_certificates"


class Quotas:
    """Looks at and counts what is issued."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def look(self, identifiers: Iterable[Identifier]) -> None:
        """Raises RateLimited when a certificate for these names would be one too many now."""
        self._each(tuple(identifiers), count=False)

    def take(self, identifiers: Iterable[Identifier]) -> None:
        """Count a certificate for these names. Raises RateLimited, and then counts nothing."""
        names = tuple(identifiers)
        self._each(names, count=False)
        self._each(names, count=True)

    def _each(self, identifiers: tuple[Identifier, ...], *, count: bool) -> None:
        if self._limits.has(PER_DOMAIN):
            domains = {registered_domain(one.base) for one in identifiers if one.type is IdentifierType.DNS}
            self._limits.take_all(PER_DOMAIN, sorted(domains), "certificates for", count=count)
        if self._limits.has(DUPLICATES) and identifiers:
            names = " ".join(sorted(str(one) for one in identifiers))
            self._limits.take(DUPLICATES, names, "certificates for exactly these names", count=count)


def spend(unit: Unit, groups: Iterable[Group], now: datetime) -> None:
    """Guard that each of these groups has certificates of this month (UTC) left, and take one of each quota."""
    for group in groups:
        if group.quota is not None:
            unit.must("quota_spend", group.name, f"{now:%Y-%m}", group.quota)
