"""Validation: proving control of an identifier (RFC 8555 section 8), as interfaces that adapters implement.

What is asked and what answer is expected lives here and is pure; how it is fetched lives in
gateway/validators. Nothing in this package waits for the network or knows an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ca_core.names import Identifier
from policy.validation.caa import CAAQuery, CAASet


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


class Evidence(msgspec.Struct, frozen=True):
    """What proved control: the method, the address or name that was asked, and what it said. Goes to the
    audit, with what other perspectives found of the challenge and of CAA (perspectives.Decision.record)."""

    method: str
    target: str
    detail: str
    corroboration: Mapping[str, Any] = msgspec.field(default_factory=dict)
    caa: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Validator(Protocol):
    """Proves control of an identifier by one method."""

    method: str

    async def validate(self, attempt: Attempt) -> Evidence:
        """Ask, and compare. Raises a kind of ValidationFailed; never checks CAA, never changes a
        challenge."""
        ...


class CAAResolver(Protocol):
    """Finds the CAA records that apply to a domain."""

    async def caa(self, domain: str, *, addresses: bool = False) -> CAASet:
        """The first CAA set from `domain` upwards (RFC 8659 section 3). Raises ValidationDNS when a query fails.

        `addresses` says that a connection to the domain follows at once, so that both can be asked for together.
        """
        ...


class CAAChecker(Protocol):
    """Decides about CAA with more than one view of DNS, in place of a CAAResolver and check_caa."""

    async def check(self, query: CAAQuery) -> Mapping[str, Any]:
        """What the audit has to know (perspectives.Decision.record). Raises a kind of ValidationFailed, with
        the same under `caa` of its context."""
        ...
