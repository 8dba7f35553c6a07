"""Validation: proving control of an identifier (RFC 8555 section 8), as interfaces that adapters implement.

What is asked and what answer is expected lives here and is pure; how it is fetched lives in
gateway/validators. Nothing in this package waits for the network or knows an address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ca_core.names import Identifier
from policy.validation.caa import CAASet


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one challenge.

    `identifier` is what is validated, a wildcard without its "*."; `account_uri` is the account that asks,
    for methods that bind it.
    """

    identifier: Identifier
    wildcard: bool
    method: str
    token: str
    key_authorization: str
    account_uri: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What proved control: the method, the address or name that was asked, and what it said. Goes to the
    audit."""

    method: str
    target: str
    detail: str


class Validator(Protocol):
    """Proves control of an identifier by one method."""

    method: str

    async def validate(self, attempt: Attempt) -> Evidence:
        """Ask, and compare. Raises a kind of ValidationFailed; never checks CAA, never changes a
        challenge."""
        ...


class CAAResolver(Protocol):
    """Finds the CAA records that apply to a domain."""

    async def caa(self, domain: str) -> CAASet:
        """The first CAA set from `domain` upwards (RFC 8659 section 3). Raises ValidationDNS when a query
        fails."""
        ...
