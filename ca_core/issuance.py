"""What goes in and out of the core when a certificate is issued, as values.

An IssuanceRequest is prepared (Prepared: the to-be-signed bytes and what the lints said of them), decided
upon by policy (Decision), reserved (IssuanceToken), signed once (IssuedCertificate). Nothing here signs or
stores.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Protocol

import msgspec

from ca_core.names import Identifier, Subject
from ca_core.profile import CertificateProfile


class Finding(Protocol):
    """What a lint said of the to-be-signed certificate; `ca_core.lints.Finding` is the one that is made."""

    @property
    def lint(self) -> str:
        """The name of the lint."""

    @property
    def severity(self) -> str:
        """One of `ca_core.lints.Severity`."""

    @property
    def detail(self) -> str:
        """What was found, with the value."""

    @property
    def citation(self) -> str:
        """The clause that the lint stands for."""


class Content(Protocol):
    """A to-be-signed certificate read back from its bytes; a `ca_core.lints.LintSubject` is one."""

    spki: bytes
    subject: Subject
    names: tuple[Identifier, ...]
    not_before: datetime
    not_after: datetime

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints says so."""


class Receipt(Protocol):
    """What the store gives back after a commit: proof of what is on disk."""

    def covers(self, intent: str) -> bool:
        """Whether the issuance with this id was part of the commit."""


class IssuanceRequest(msgspec.Struct, frozen=True):
    """What is asked for, after policy has looked at it: a profile and the things it leaves open.

    `issuer` is the name of an Issuer. `not_before` and `not_after` are inclusive (RFC 5280 section 4.1.2.5);
    without them the profile decides.
    """

    issuer: str
    profile: CertificateProfile
    spki: bytes
    key_type: str
    subject: Subject
    names: tuple[Identifier, ...]
    not_before: datetime | None = None
    not_after: datetime | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A to-be-signed certificate that passed the lints. `issuer_id` is the issuer's key identifier in hex."""

    issuer_id: str
    issuer: str
    serial: int
    tbs: bytes
    not_before: datetime
    not_after: datetime
    shard: int
    profile_name: str
    profile_version: int
    spki: bytes
    subject: Subject
    names: tuple[Identifier, ...]
    findings: tuple[Finding, ...]
    content: Content
    """What the bytes themselves say, for policy to judge: never what was asked for."""

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the to-be-signed bytes, which a Decision has to name."""
        return sha256(self.tbs).digest()


class Decision(msgspec.Struct, frozen=True):
    """Authorisation as a value: policy judged these to-be-signed bytes for this order. Made by policy only.

    `tbs_digest` is the SHA-256 of the bytes that were judged, `trace` the recorded decision.
    """

    order: str
    tbs_digest: bytes
    trace: bytes


class IssuedCertificate(msgspec.Struct, frozen=True):
    """A signed certificate with what was asked for, ready to be recorded."""

    order: str
    issuer_id: str
    issuer: str
    serial: int
    der: bytes
    not_before: datetime
    not_after: datetime
    shard: int
    profile_name: str
    profile_version: int
    spki: bytes
    subject: Subject
    names: tuple[Identifier, ...]


class TokenMisused(RuntimeError):
    """A token was redeemed twice, at another authority, or without proof that its intent is on disk."""


class IssuanceToken:
    """The right to one signature, made by `CertificateAuthority.reserve` and good for one redemption.

    `id` names the intent that the ledger was given; it is the serial number in hex.
    """

    __slots__ = ("_maker", "_spent", "decision", "id", "prepared")

    def __init__(self, id: str, prepared: Prepared, decision: Decision, maker: object) -> None:
        self.id = id
        self.prepared = prepared
        self.decision = decision
        self._maker = maker
        self._spent = False

    def redeem(self, maker: object, receipt: Receipt) -> Prepared:
        """Spend the token and hand out what may be signed. Raises TokenMisused.

        `maker` is the secret object of the authority that made the token, so that no other code can make one.
        A receipt that does not cover the intent leaves the token unspent: nothing was signed.
        """
        if maker is not self._maker:
            raise TokenMisused(f"issuance {self.id} was reserved by another authority")
        if not receipt.covers(self.id):
            raise TokenMisused(f"issuance {self.id} is not in the commit that the receipt stands for")
        if self._spent:
            raise TokenMisused(f"issuance {self.id} was signed already")
        self._spent = True
        return self.prepared
