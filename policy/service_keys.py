"""The keys that the service itself uses, by purpose and issuer, renewed by themselves: TLS, OCSP, CMC, SCEP.

Their certificates come from the same signing core, with the same two commits and audit events as any other; the
"order" is the service's own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog
from cryptography.x509 import load_der_x509_certificate

from ca_core.authority import CertificateAuthority
from ca_core.ceremony import (
    CMC_SIGNER_PROFILE,
    CMP_SIGNER_PROFILE,
    OCSP_RESPONDER_PROFILE,
    SCEP_RA_PROFILE,
    SERVICE_TLS_PROFILE,
)
from ca_core.clock import Clock
from ca_core.issuance import Decision, IssuanceRequest
from ca_core.keys import Decrypter, KeyNotFound, KeyStore, KeyUnusable, Signer
from ca_core.ledger import IssuanceStage, serial_hex
from ca_core.names import Identifier, Subject
from ca_core.profile import CertificateProfile
from ca_core.status import CertificateState
from policy.audit import AuditEvent, AuditTag
from policy.ids import new_id, short_id
from policy.problems import OrderConflict, Unavailable
from policy.sealing import fingerprint
from policy.store import (
    CERTIFICATE_STATUS,
    SERVICE,
    SERVICE_KEYS,
    Conflict,
    PastKey,
    ServiceKey,
    Store,
    StoredCertificate,
    StoreUnavailable,
    Unit,
)

_log = structlog.get_logger("certgate.service-keys")

RENEW_FRACTION = 2 / 3
"""The part of its life after which a service key is replaced, key pair and all."""

ACTOR = "system:service-keys"
KEY_TYPE = "ec-p256"
LOOK_AGAIN = timedelta(seconds=10)
"""How late a revoked key, or one that another server object made, is noticed."""
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
SCEP_RA = "scep-ra"
PROFILES: dict[str, CertificateProfile] = {
    "tls": SERVICE_TLS_PROFILE,
    "ocsp": OCSP_RESPONDER_PROFILE,
    "cmc": CMC_SIGNER_PROFILE,
    "cmp": CMP_SIGNER_PROFILE,
    SCEP_RA: SCEP_RA_PROFILE,
}
KEY_TYPES = {SCEP_RA: "rsa-2048"}
"""What is not of KEY_TYPE: a SCEP client encrypts to its RA, which takes RSA, whatever the CA's key is."""
KEPT = frozenset({SCEP_RA})
"""Keys that still decrypt after they were replaced: a router keeps the RA's certificate that it fetched once."""


@dataclass(frozen=True, slots=True)
class UsableKey:
    """A service key with its certificate and the signer that holds the private key."""

    key: ServiceKey
    signer: Signer


class ServiceKeys:
    """Finds service keys, makes missing ones, replaces old and revoked ones.

    What cannot be renewed now is used until its end, and is tried again ever more seldom.
    """

    def __init__(self, store: Store, ca: CertificateAuthority, keystore: KeyStore, clock: Clock) -> None:
        self._store = store
        self._ca = ca
        self._keystore = keystore
        self._clock = clock
        self._making = asyncio.Lock()
        self._usable: dict[tuple[str, str], UsableKey] = {}
        self._looked: dict[tuple[str, str], datetime] = {}
        self._failed: dict[tuple[str, str], tuple[int, datetime]] = {}

    async def decrypters(self, key: ServiceKey) -> tuple[tuple[bytes, Decrypter], ...]:
        """What may open a message to the holder of this key, each behind its certificate, the newest first.

        Beside the key itself those that it replaced, until their certificates expire. Raises KeyNotFound, KeyUnusable.
        """
        now = self._clock()
        places = [
            (key.certificate, key.label),
            *((one.certificate, one.label) for one in key.past if one.not_after > now),
        ]
        return tuple([(certificate, await self._keystore.load_decrypter(label)) for certificate, label in places])

    async def get(
        self, purpose: str, issuer: str, *, subject: Subject = (), names: tuple[Identifier, ...] = ()
    ) -> UsableKey:
        """The key for this purpose and issuer; made when there is none, or when the one there is due or lacks names.

        Raises Unavailable when there is none and none can be made.
        """
        place = (purpose, issuer)
        known = self._known(place, names)
        if known is None and self._making.locked():
            known = self._unexpired(place)  # it is being renewed just now
        if known is not None:
            return known
        async with self._making:
            # Whoever was in here before may have made it.
            return self._known(place, names) or await self._get(place, subject, names)

    def _known(self, place: tuple[str, str], names: tuple[Identifier, ...]) -> UsableKey | None:
        """The key as it was found a moment ago, if nothing is to be done about it."""
        usable = self._unexpired(place)
        if usable is None or self._clock() >= self._looked[place] + LOOK_AGAIN:
            return None
        wanted = not self._due(usable.key) and names in ((), usable.key.names)
        return usable if wanted or self._pauses(place) else None

    def _unexpired(self, place: tuple[str, str]) -> UsableKey | None:
        usable = self._usable.get(place)
        return usable if usable is not None and self._clock() < usable.key.not_after else None

    def _pauses(self, place: tuple[str, str]) -> bool:
        return place in self._failed and self._clock() < self._failed[place][1]

    async def _get(self, place: tuple[str, str], subject: Subject, names: tuple[Identifier, ...]) -> UsableKey:
        before, usable = await self._find(place)
        if usable is None:
            self._usable.pop(place, None)
        if usable is None or self._due(usable.key) or names not in ((), usable.key.names):
            usable = await self._renew(place, subject, names, before, usable)
        self._usable[place], self._looked[place] = usable, self._clock()
        return usable

    async def _find(self, place: tuple[str, str]) -> tuple[ServiceKey | None, UsableKey | None]:
        """The key that is stored, and the same with its signer when it can be used."""
        stored = {(one.purpose, one.issuer): one for one in await self._store.many(SERVICE_KEYS)}
        key = stored.get(place)
        if key is None or key.not_after <= self._clock():
            return key, None
        serial = serial_hex(load_der_x509_certificate(key.certificate).serial_number)
        status = await self._store.one(CERTIFICATE_STATUS, serial)
        if status is not None and status.state is not CertificateState.VALID:
            return key, None
        try:
            return key, UsableKey(key, await self._keystore.load(key.label))
        except (KeyNotFound, KeyUnusable) as fault:
            _log.error("a service key cannot be used", label=key.label, fault=str(fault))
            return key, None

    async def _renew(
        self,
        place: tuple[str, str],
        subject: Subject,
        names: tuple[Identifier, ...],
        before: ServiceKey | None,
        usable: UsableKey | None,
    ) -> UsableKey:
        """A new key; the old one, as long as it can be used, when that does not work out. Raises Unavailable."""
        purpose, issuer = place
        wanting = Unavailable(f"the {purpose} key of {issuer} cannot be made at the moment", retry_after=30)
        if self._pauses(place):
            if usable is None:
                raise wanting
            return usable
        try:
            key = await self._make(purpose, issuer, subject, names, before)
            made = UsableKey(key, await self._keystore.load(key.label))
        except Exception as fault:
            # Another server object may have been first; its key is as good.
            _, found = await self._find(place)
            if found is not None and not self._due(found.key) and names in ((), found.key.names):
                return found
            failures = self._failed.get(place, (0, None))[0]
            pause = min(FIRST_PAUSE * 2 ** min(failures, 20), LONGEST_PAUSE)
            self._failed[place] = failures + 1, self._clock() + pause
            _log.error(
                "a service key cannot be renewed",
                purpose=purpose,
                issuer=issuer,
                not_after=usable.key.not_after.isoformat() if usable else None,
                fault=f"{type(fault).__name__}: {fault}",
            )
            if usable is None:
                raise wanting from fault
            return usable
        self._failed.pop(place, None)
        return made

    def _due(self, key: ServiceKey) -> bool:
        if key.not_after >= self._ca.issuer(key.issuer).not_after:
            return False  # a new one would end no later
        life = key.not_after - key.created
        return self._clock() >= key.created + timedelta(seconds=life.total_seconds() * RENEW_FRACTION)

    async def _make(
        self,
        purpose: str,
        issuer: str,
        subject: Subject,
        names: tuple[Identifier, ...],
        before: ServiceKey | None,
    ) -> ServiceKey:
        """A new key pair and certificate, recorded like any issuance; nothing is left of one that fails.

        Raises OrderConflict when another server object was first.
        """
        now = self._clock()
        label = f"{purpose}-{issuer}-{short_id()}"
        key_type = KEY_TYPES.get(purpose, KEY_TYPE)
        signer = await self._keystore.create(label, key_type)
        order = f"service-{new_id()}"
        issuance: str | None = None
        try:
            request = IssuanceRequest(issuer, PROFILES[purpose], signer.spki, key_type, subject, names)
            prepared = self._ca.prepare(request)
            trace = msgspec.json.encode({"purpose": purpose, "issuer": issuer})
            unit = Unit()
            token = self._ca.reserve(prepared, Decision(order, prepared.digest, trace), unit)
            what = {"order": order, "purpose": purpose, "issuer": issuer}
            unit.audit(AuditEvent(AuditTag.ISSUANCE_RESERVED, now, ACTOR, f"issuance:{token.id}", what))
            receipt = await self._store.commit(unit)
            issuance = token.id
            issued = await self._ca.sign(token, receipt)
        except BaseException:
            await self._give_up(label, issuance)
            raise
        unit = Unit()
        self._ca.record(issued, unit)
        serial = serial_hex(issued.serial)
        unit.certificate(
            StoredCertificate(
                serial=serial,
                issuer_id=issued.issuer_id,
                issuer=issued.issuer,
                order=order,
                owner=SERVICE,
                credential=SERVICE,
                mount="",
                product=f"service-{purpose}",
                subject=issued.subject,
                names=issued.names,
                not_before=issued.not_before,
                not_after=issued.not_after,
                key_type=key_type,
                spki_sha256=fingerprint(issued.spki),
                sha256=fingerprint(issued.der),
                profile=issued.profile_name,
                profile_version=issued.profile_version,
                shard=issued.shard,
            ),
            issued.der,
        )
        key = ServiceKey(
            purpose=purpose,
            issuer=issuer,
            label=label,
            certificate=issued.der,
            chain=self._ca.issuer(issuer).chain_der,
            names=names,
            not_after=issued.not_after,
            created=now,
            version=before.version + 1 if before else 1,
            past=_past(before, now) if before and purpose in KEPT else (),
        )
        if before is None:
            unit.insert(key)
        else:
            unit.save(key)
        detail = {"order": order, "purpose": purpose, "sha256": fingerprint(issued.der), "issuer": issuer}
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_ISSUED, now, ACTOR, f"certificate:{serial}", detail))
        unit.audit(AuditEvent(AuditTag.SERVICE_KEY_CREATED, now, ACTOR, f"service-key:{label}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            await self._give_up(label, issuance)
            raise OrderConflict(f"another server made the {purpose} key of {issuer} at the same time") from conflict
        except StoreUnavailable:
            # Not acknowledged, and yet perhaps written: only the store knows whether the key is needed.
            if all(one.label != label for one in await self._store.many(SERVICE_KEYS)):
                await self._give_up(label, issuance)
            raise
        return key

    async def _give_up(self, label: str, issuance: str | None) -> None:
        """Leave nothing of a key that came to nothing: no file, no serial that waits for a signature."""
        try:
            await self._keystore.delete(label)
        except OSError as fault:
            _log.warning("the file of a service key is left behind", label=label, fault=str(fault))
        if issuance is None:
            return
        unit = Unit()
        unit.finish_issuance(issuance, IssuanceStage.VOID)
        unit.audit(AuditEvent(AuditTag.ISSUANCE_VOIDED, self._clock(), ACTOR, f"issuance:{issuance}"))
        try:
            await self._store.commit(unit)
        except (Conflict, StoreUnavailable):
            return  # recovery voids what nobody finishes


def _past(key: ServiceKey, now: datetime) -> tuple[PastKey, ...]:
    """A key that is replaced now, and those before it, as long as their certificates last."""
    replaced = PastKey(key.label, key.certificate, key.not_after)
    return tuple(one for one in (replaced, *key.past) if one.not_after > now)


def ra_subject(issuer: str) -> Subject:
    """The subject of the SCEP RA of an issuer."""
    return (("CN", f"SCEP RA of {issuer}"),)
