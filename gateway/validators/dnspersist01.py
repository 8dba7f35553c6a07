"""The dns-persist-01 validator: look up the standing permission of the account (draft-ietf-acme-dns-persist)."""

from __future__ import annotations

from ca_core.clock import Clock, system_clock
from gateway.validators.dns01 import TXTResolver
from policy.problems import ValidationIncorrectResponse
from policy.validation import Attempt, Evidence
from policy.validation.challenges import DNS_PERSIST_01
from policy.validation.persist import LABEL, find_permission


class DNSPersist01Validator:
    """Proves control of a domain, wildcards included where the record says so, through a TXT record that stays."""

    method: str = DNS_PERSIST_01

    def __init__(self, resolver: TXTResolver, issuer_domains: tuple[str, ...], clock: Clock = system_clock) -> None:
        """`issuer_domains` are the names of this CA in DNS, those that CAA records name."""
        self._resolver = resolver
        self._issuer_domains = frozenset(one.lower() for one in issuer_domains)
        self._clock = clock

    async def validate(self, attempt: Attempt) -> Evidence:
        """Look up and judge; one record that permits suffices. Raises ValidationDNS, ValidationIncorrectResponse."""
        name = f"{LABEL}.{attempt.identifier.value}"
        records = await self._resolver.txt(name)
        try:
            found = find_permission(
                records,
                issuer_domains=self._issuer_domains,
                account_uri=attempt.account_uri,
                wildcard=attempt.wildcard,
                now=self._clock(),
            )
        except ValidationIncorrectResponse as problem:
            raise ValidationIncorrectResponse(
                f"{name} has no TXT record that permits this account: {problem.detail}"
            ) from problem
        until = f", until {found.until:%Y-%m-%d}" if found.until else ""
        return Evidence(DNS_PERSIST_01, name, f"one of {len(records)} TXT records permits the account{until}")
