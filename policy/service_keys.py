"""The keys that the service itself uses, by purpose and issuer, renewed by themselves: TLS and OCSP.

Their certificates come from the same signing core, with the same two commits and audit events as any other; the
"order" is the service's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from ca_core.authority import CertificateAuthority
from ca_core.ceremony import OCSP_RESPONDER_PROFILE, SERVICE_TLS_PROFILE
from ca_core.clock import Clock
from ca_core.issuance import Decision, IssuanceRequest
from ca_core.keys import KeyStore, Signer
from ca_core.ledger import serial_hex
from ca_core.names import Identifier, Subject
from ca_core.profile import CertificateProfile
from policy.audit import AuditEvent, AuditTag
from policy.ids import CredentialId, new_id, short_id
from policy.problems import OrderConflict
from policy.sealing import fingerprint
from policy.store import SERVICE_KEYS, Conflict, ServiceKey, Store, StoredCertificate, Unit

RENEW_FRACTION = 2 / 3
"""The part of its life after which a service key is replaced, key pair and all."""

SERVICE = CredentialId("service")
KEY_TYPE = "ec-p256"
PROFILES: dict[str, CertificateProfile] = {"tls": SERVICE_TLS_PROFILE, "ocsp": OCSP_RESPONDER_PROFILE}


@dataclass(frozen=True, slots=True)
class UsableKey:
    """A service key with its certificate and the signer that holds the private key."""

    key: ServiceKey
    signer: Signer


class ServiceKeys:
    """Finds service keys, makes missing ones, replaces old ones."""

    def __init__(self, store: Store, ca: CertificateAuthority, keystore: KeyStore, clock: Clock) -> None:
        self._store = store
        self._ca = ca
        self._keystore = keystore
        self._clock = clock
        self._making = asyncio.Lock()
        self._usable: dict[tuple[str, str], UsableKey] = {}

    async def get(
        self, purpose: str, issuer: str, *, subject: Subject = (), names: tuple[Identifier, ...] = ()
    ) -> UsableKey:
        """The key for this purpose and issuer; made when there is none, or when the one there is due or lacks names."""
        known = self._usable.get((purpose, issuer))
        if known is not None and not self._due(known.key):
            return known
        async with self._making:
            return await self._get(purpose, issuer, subject, names)

    async def _get(self, purpose: str, issuer: str, subject: Subject, names: tuple[Identifier, ...]) -> UsableKey:
        stored = {(one.purpose, one.issuer): one for one in await self._store.many(SERVICE_KEYS)}
        key = stored.get((purpose, issuer))
        if key is None or self._due(key) or (names and key.names != names):
            key = await self._make(purpose, issuer, subject, names, key)
        usable = UsableKey(key, await self._keystore.load(key.label))
        self._usable[(purpose, issuer)] = usable
        return usable

    def _due(self, key: ServiceKey) -> bool:
        life = key.not_after - key.created
        return self._clock() >= key.created + timedelta(seconds=life.total_seconds() * RENEW_FRACTION)

    async def due(self) -> Sequence[ServiceKey]:
        """Service keys that should be replaced now."""
        return [key for key in await self._store.many(SERVICE_KEYS) if self._due(key)]

    async def _make(
        self,
        purpose: str,
        issuer: str,
        subject: Subject,
        names: tuple[Identifier, ...],
        before: ServiceKey | None,
    ) -> ServiceKey:
        """A new key pair and certificate, recorded like any issuance.

        Raises OrderConflict when another server object was first.
        """
        now = self._clock()
        label = f"{purpose}-{issuer}-{short_id()}"
        signer = await self._keystore.create(label, KEY_TYPE)
        prepared = self._ca.prepare(IssuanceRequest(issuer, PROFILES[purpose], signer.spki, KEY_TYPE, subject, names))
        order = f"service-{new_id()}"
        trace = msgspec.json.encode({"purpose": purpose, "issuer": issuer})
        unit = Unit()
        token = self._ca.reserve(prepared, Decision(order, prepared.digest, trace), unit)
        receipt = await self._store.commit(unit)
        issued = await self._ca.sign(token, receipt)
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
                key_type=KEY_TYPE,
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
        )
        if before is None:
            unit.insert(key)
        else:
            unit.save(key)
        detail = {"order": order, "purpose": purpose, "sha256": fingerprint(issued.der), "issuer": issuer}
        unit.audit(AuditEvent(AuditTag.CERTIFICATE_ISSUED, now, "system:service-keys", f"certificate:{serial}", detail))
        unit.audit(AuditEvent(AuditTag.SERVICE_KEY_CREATED, now, "system:service-keys", f"service-key:{label}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict(f"another server made the {purpose} key of {issuer} at the same time") from conflict
        return key
