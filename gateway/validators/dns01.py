"""The dns-01 validator: look up the TXT record of the challenge and compare (RFC 8555 section 8.4).

dns-account-01 (draft-ietf-acme-dns-account-label) is the same under a label of the account's own, so that several
accounts can prove one name at the same time, each with a delegation of its own.
"""

from __future__ import annotations

from typing import Protocol

from policy.problems import ValidationIncorrectResponse
from policy.validation import Attempt, Evidence
from policy.validation.challenges import DNS_01, DNS_01_LABEL, DNS_ACCOUNT_01, dns_01_value, dns_account_label

SHOWN_RECORDS = 3
SHOWN_CHARACTERS = 64


class TXTResolver(Protocol):
    """What dns-01 needs of DNS."""

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """The TXT records of a name, aliases followed. Raises ValidationDNS."""
        ...


class DNS01Validator:
    """Proves control of a domain, wildcards included, through a TXT record."""

    method: str = DNS_01

    def __init__(self, resolver: TXTResolver) -> None:
        self._resolver = resolver

    def label(self, attempt: Attempt) -> str:
        """Below which label the record stands."""
        return DNS_01_LABEL

    async def validate(self, attempt: Attempt) -> Evidence:
        """Look up and compare; one matching record suffices. Raises ValidationDNS,
        ValidationIncorrectResponse."""
        name = f"{self.label(attempt)}.{attempt.identifier.value}"
        expected = dns_01_value(attempt.key_authorization)
        records = await self._resolver.txt(name)
        if expected.encode("ascii") in records:
            return Evidence(self.method, name, f"one of {len(records)} TXT records has the expected value")
        if not records:
            raise ValidationIncorrectResponse(f"{name} has no TXT record")
        shown = ", ".join(f'"{_shown(record)}"' for record in records[:SHOWN_RECORDS])
        more = f" and {len(records) - SHOWN_RECORDS} more" if len(records) > SHOWN_RECORDS else ""
        raise ValidationIncorrectResponse(f'{name} has no TXT record "{expected}" but {shown}{more}')


class DNSAccount01Validator(DNS01Validator):
    """As dns-01, under a label that only this account has."""

    method: str = DNS_ACCOUNT_01

    def label(self, attempt: Attempt) -> str:
        """The label of the account that asks."""
        return dns_account_label(attempt.account_uri)


def _shown(record: bytes) -> str:
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '<>&"\\' else "?" for byte in record[:SHOWN_CHARACTERS]
    )
    return plain + ("…" if len(record) > SHOWN_CHARACTERS else "")
