"""What a CA must have written down, and when: serial and intent before signing, certificate and state after.

The core does no input or output on a store. A Ledger only appends these rows to the caller's unit of work,
which the caller commits as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from ca_core.issuance import IssuedCertificate
from ca_core.status import CertificateState, RevocationReason


class IssuanceStage(StrEnum):
    """How far an issuance has come. Signed and void are final."""

    RESERVED = "reserved"
    SUBMITTED = "submitted"
    """Handed to an upstream CA that has not answered yet."""
    SIGNED = "signed"
    VOID = "void"


class Issuance(msgspec.Struct, frozen=True):
    """The intent to sign: everything needed to finish it after a crash. `id` is the serial number in hex."""

    id: str
    issuer_id: str
    order: str
    stage: IssuanceStage
    tbs: bytes
    issuer: str
    shard: int
    profile_name: str
    profile_version: int
    reserved: datetime


class CertificateEvent(msgspec.Struct, frozen=True):
    """One change of a certificate's state. `invalidity_date` as in RFC 5280 section 5.3.2."""

    issuer_id: str
    serial: int
    state: CertificateState
    reason: RevocationReason | None
    at: datetime
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """A revoked certificate or one on hold, as a CRL lists it; `not_after` says until when it has to."""

    serial: int
    revoked_at: datetime
    reason: RevocationReason | None
    not_after: datetime
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class PublishedCRL:
    """A signed CRL of one shard."""

    issuer_id: str
    shard: int
    number: int
    der: bytes
    this_update: datetime
    next_update: datetime


class Ledger(Protocol):
    """Takes down what has to be on disk; every method appends to one unit of work and does not wait."""

    def reserve(self, issuance: Issuance) -> None:
        """Write the intent. The serial number has to be unique among all issuances of this issuer."""

    def record(self, certificate: IssuedCertificate) -> None:
        """Write the certificate, and its issuance as signed."""

    def change(self, event: CertificateEvent, allowed: tuple[CertificateState, ...]) -> None:
        """Write a state, guarded: the present state has to be one of `allowed`.

        An empty `allowed` is the first event of a certificate, which must have no state yet.
        """

    def publish_crl(self, crl: PublishedCRL) -> None:
        """Write a CRL, guarded: its number has to be higher than every earlier one of this shard."""


def serial_hex(serial: int) -> str:
    """A serial number as forty hexadecimal digits, the form of ids, lists and logs."""
    return f"{serial:040x}"
