"""Who may revoke what, and why; suspend and reinstate; cascade.

Revoking is one commit: the state changes, the event and the audit row are written, and the CRL of the shard is due.
OCSP reads the state itself, so it says "revoked" from that commit on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509 import load_der_x509_certificate

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.ledger import serial_hex
from ca_core.status import CertificateState, RevocationReason
from policy.audit import AuditEvent, AuditTag
from policy.blocking import Blocking, BlockKind, subjects_to_block
from policy.credential import Principal
from policy.order import Identifier
from policy.problems import (
    AlreadyRevoked,
    BadRevocationReason,
    Forbidden,
    OrderConflict,
    UnknownCertificate,
)
from policy.sealing import fingerprint
from policy.store import (
    AUTHORIZATION_REUSABLE,
    CERTIFICATE,
    CERTIFICATE_STATUS,
    CERTIFICATES_BY_KEY,
    CERTIFICATES_OF_CREDENTIAL,
    PRODUCT,
    SERVICE,
    Conflict,
    Store,
    StoredCertificate,
    Unit,
)

CRL_JOB = "crl"
BLOCKED_KEY_JOB = "blocked-key"
CASCADE_JOB = "cascade"
CONFIRM_JOB = "confirm"
"""Looks whether a client accepted its certificate in time."""

SUBSCRIBER_REASONS = (
    RevocationReason.UNSPECIFIED,
    RevocationReason.KEY_COMPROMISE,
    RevocationReason.AFFILIATION_CHANGED,
    RevocationReason.SUPERSEDED,
    RevocationReason.CESSATION_OF_OPERATION,
)
"""What a subscriber may give as reason; privilegeWithdrawn is the CA's to say (Baseline Requirements 7.2.2)."""


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Somebody who proved to hold a private key by signing the request with it (RFC 8555 section 7.6)."""

    spki: bytes
    mount: str
    address: str


class Revocation:
    """Revokes, suspends and reinstates."""

    def __init__(self, store: Store, ca: CertificateAuthority, blocking: Blocking, clock: Clock) -> None:
        self._store = store
        self._blocking = blocking
        self._ca = ca
        self._clock = clock

    async def revoke_certificate(
        self, revoker: Principal | KeyHolder, certificate: bytes, reason: RevocationReason | None
    ) -> None:
        """A client's revocation of the certificate with this DER; see RegistrationAuthority.revoke.

        All bytes of the certificate have to be those that were issued, so a forged one with a known serial finds
        nothing (trap T-21), and the key that counts is the stored one's.
        """
        if reason is not None and reason not in SUBSCRIBER_REASONS:
            raise BadRevocationReason(
                f'the reason "{reason}" ({reason.code}) is not yours to give; allowed are '
                + ", ".join(f"{one} ({one.code})" for one in SUBSCRIBER_REASONS)
            )
        try:
            serial = serial_hex(load_der_x509_certificate(certificate).serial_number)
        except ValueError as fault:
            raise UnknownCertificate("this certificate was not issued here") from fault
        found = await self._store.one(CERTIFICATE, serial)
        if found is None or found[1] != certificate:
            raise UnknownCertificate("this certificate was not issued here")
        stored, _ = found
        if isinstance(revoker, KeyHolder):
            if fingerprint(revoker.spki) != stored.spki_sha256:
                raise Forbidden("the request is not signed by the key of the certificate")
            actor = f"key:{stored.spki_sha256}"
            if reason is RevocationReason.KEY_COMPROMISE:
                # Its holder showed us the key in the most direct way: block it, whatever became of this certificate.
                await self._block(revoker.spki, actor)
            await self.revoke(stored, reason, actor)
            return
        if revoker.owner != stored.owner and not await self._authorized_for_all(revoker, stored):
            raise Forbidden("the account neither owns the certificate nor holds authorizations for all its names")
        await self.revoke(stored, reason, str(revoker.requester))

    async def _authorized_for_all(self, principal: Principal, stored: StoredCertificate) -> bool:
        """The third way of RFC 8555 section 7.6: valid authorizations for every identifier of the certificate."""
        now = self._clock()
        if stored.owner == SERVICE:
            return False
        for name in stored.names:
            base = Identifier(name.type, name.base)
            found = await self._store.many(
                AUTHORIZATION_REUSABLE,
                principal.owner,
                base.type,
                base.value,
                int(name.wildcard),
                int(now.timestamp()),
            )
            if all(one.trusted for one in found):
                return False  # what a credential is trusted with is no control of the name
        return bool(stored.names)

    async def revoke(
        self,
        stored: StoredCertificate,
        reason: RevocationReason | None,
        actor: str,
        *,
        block: Sequence[BlockKind] = (),
        invalidity_date: datetime | None = None,
        unit: Unit | None = None,
    ) -> None:
        """Revoke for good; with `block`, its names, domains or key are not certified again until that is lifted.

        `invalidity_date` is since when its key is suspected (RFC 5280 section 5.3.2); `unit` has guards that have to
        hold as well. Raises AlreadyRevoked, BadRevocationReason.
        """
        now = self._clock()
        reason = reason or RevocationReason.UNSPECIFIED
        unit = unit or Unit()
        self._ca.revoke(stored.issuer_id, int(stored.serial, 16), reason, now, unit)
        detail = {"reason": reason.value, "issuer": stored.issuer, "order": stored.order}
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_REVOKED, now, actor, f"certificate:{stored.serial}", detail))
        why = f"certificate {stored.serial} was revoked ({reason})"
        self._blocking.write(unit, subjects_to_block(block, stored), why, actor, certificate=stored.serial)
        await self._commit(unit, stored)

    async def _block(self, spki: bytes, actor: str) -> None:
        """Never again a certificate for this key (trap T-23); those that it has are revoked by the job."""
        now = self._clock()
        digest = fingerprint(spki)
        unit = Unit()
        unit.block_key(spki, RevocationReason.KEY_COMPROMISE.value, now)
        unit.schedule(BLOCKED_KEY_JOB, digest, now)
        detail = {"reason": RevocationReason.KEY_COMPROMISE.value}
        unit.audit(AuditEvent(AuditTag.KEY_BLOCKED, now, actor, f"key:{digest}", detail))
        await self._store.commit(unit)

    async def revoke_siblings(self, spki_sha256: str) -> int:
        """Revoke every live certificate of a blocked key; how many there were."""
        revoked = 0
        for stored in await self._store.many(CERTIFICATES_BY_KEY, spki_sha256):
            try:
                await self.revoke(stored, RevocationReason.KEY_COMPROMISE, "system:blocked-key")
                revoked += 1
            except AlreadyRevoked:
                continue
        return revoked

    async def hold(self, stored: StoredCertificate, actor: str, unit: Unit | None = None) -> None:
        """Suspend: OCSP and CRL say certificateHold until it is released or revoked.

        Raises Forbidden for a product whose certificates cannot be suspended.
        """
        now = self._clock()
        product = await self._store.one(PRODUCT, stored.product)
        if product is not None and not product.suspension:
            raise Forbidden(
                f'certificates of product "{product.name}" cannot be suspended (Baseline Requirements 4.9.13): '
                "revoke it, or leave it"
            )
        unit = unit or Unit()
        self._ca.hold(stored.issuer_id, int(stored.serial, 16), now, unit)
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_HELD, now, actor, f"certificate:{stored.serial}"))
        await self._commit(unit, stored)

    async def release(self, stored: StoredCertificate, actor: str, unit: Unit | None = None) -> None:
        """Reinstate a suspended certificate."""
        now = self._clock()
        unit = unit or Unit()
        self._ca.release(stored.issuer_id, int(stored.serial, 16), now, unit)
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_RELEASED, now, actor, f"certificate:{stored.serial}"))
        await self._commit(unit, stored)

    async def cascade(self, credential: str, reason: RevocationReason, actor: str) -> int:
        """Revoke every live certificate of a credential; how many there were."""
        revoked, after = 0, ""
        while page := await self._store.many(CERTIFICATES_OF_CREDENTIAL, credential, after, 100):
            for stored in page:
                try:
                    await self.revoke(stored, reason, actor)
                    revoked += 1
                except AlreadyRevoked:
                    continue
            after = page[-1].serial
        return revoked

    async def by_serial(self, serial: str) -> StoredCertificate:
        """The certificate with this serial (hex). Raises UnknownCertificate."""
        found = await self._store.one(CERTIFICATE, serial)
        if found is None:
            raise UnknownCertificate(f"there is no certificate with serial {serial}")
        return found[0]

    async def _commit(self, unit: Unit, stored: StoredCertificate) -> None:
        unit.schedule(CRL_JOB, f"{stored.issuer_id}/{stored.shard}", self._clock())
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            if conflict.statement in ("reference_free", "spent_claim"):
                raise OrderConflict("the transaction is known already: begin a new one") from conflict
            status = await self._store.one(CERTIFICATE_STATUS, stored.serial)
            if status is not None and status.state is CertificateState.REVOKED:
                raise AlreadyRevoked("the certificate is revoked already") from conflict
            said = status.state if status else "unknown"
            raise OrderConflict(f"the certificate is {said}: this is not possible now") from conflict
