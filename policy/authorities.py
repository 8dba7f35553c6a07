"""The CAs of an installation: made by ceremony, written down, and loaded as issuers at start."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

from ca_core.ceremony import CreatedCA, create_issuing, create_root, cross_certify
from ca_core.clock import Clock
from ca_core.issuer import Issuer
from ca_core.keys import KeyExists, KeyStore
from ca_core.names import Subject
from policy.access import Actor
from policy.audit import AuditEvent, AuditTag
from policy.ids import short_id
from policy.problems import Malformed, OrderConflict
from policy.sealing import fingerprint
from policy.store import AUTHORITIES, Conflict, Store, StoredAuthority, Unit


class Authorities:
    """Makes CAs and finds them again."""

    def __init__(self, store: Store, keystore: KeyStore, clock: Clock, status_url: str) -> None:
        """`status_url` is the plain http origin that certificates name for CRL, OCSP and CA certificates."""
        self._store = store
        self._keystore = keystore
        self._clock = clock
        self._status_url = status_url

    async def load(self) -> dict[str, Issuer]:
        """Every CA as an issuer, by name, in the order in which they were made. Raises KeyNotFound, KeyUnusable."""
        return {one.name: await self._issuer(one) for one in await self._store.many(AUTHORITIES)}

    async def _issuer(self, stored: StoredAuthority) -> Issuer:
        return Issuer(
            stored.name,
            stored.certificate,
            await self._keystore.load(stored.label),
            status_url=self._status_url,
            intermediates_der=stored.intermediates,
            root_der=stored.root,
            shards=stored.shards,
            alternates_der=stored.alternates,
        )

    async def add_chain(self, name: str, chain: tuple[bytes, ...], actor: Actor) -> StoredAuthority:
        """Offer another chain for a CA, from its (cross-certified) certificate up, without the root.

        It is checked as the server will check it at its next start. Raises Malformed, OrderConflict.
        """
        actor.check("authority:change")
        stored = next((one for one in await self._store.many(AUTHORITIES) if one.name == name), None)
        if stored is None:
            raise Malformed(f'there is no CA "{name}"')
        if chain in stored.alternates:
            raise OrderConflict(f'the CA "{name}" has this chain already')
        changed = replace(stored, alternates=(*stored.alternates, chain), version=stored.version + 1)
        try:
            await self._issuer(changed)
        except ValueError as fault:
            raise Malformed(str(fault)) from fault
        unit = Unit()
        unit.save(changed)
        what = {"chain": [fingerprint(one) for one in chain]}
        unit.audit(AuditEvent(AuditTag.CA_CHAIN_ADDED, self._clock(), actor.name, f"authority:{name}", what))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict(f'the CA "{name}" was changed at the same time') from conflict
        return changed

    async def cross_certify(self, name: str, root: str, actor: Actor) -> StoredAuthority:
        """Have another root of ours certify this CA, and offer the chain that comes of it.

        For a root and its successor, done both ways, these are the certificates of a key update (RFC 4210 section
        4.4). Raises Malformed, OrderConflict.
        """
        actor.check("authority:change")
        loaded = await self.load()
        issuer, above = loaded.get(name), loaded.get(root)
        if issuer is None:
            raise Malformed(f'there is no CA "{name}"')
        if above is None or above.root_der != above.certificate_der or above is issuer:
            raise Malformed(f'there is no other root CA "{root}"')
        created = await _said(cross_certify(issuer, self._clock, above))
        return await self.add_chain(name, (created.certificate_der,), actor)

    async def make_root(
        self, name: str, subject: Subject, key_type: str, validity: timedelta, actor: Actor
    ) -> StoredAuthority:
        """A new root with its key. Raises Malformed for a key type or subject that cannot be, OrderConflict."""
        actor.check("authority:change")
        label = f"ca-{name}-{short_id()}"
        created = await _said(create_root(self._keystore, label, subject, key_type, validity, self._clock))
        return await self._write(name, label, created, (), created.certificate_der, 1, actor)

    async def make_issuing(
        self,
        name: str,
        root: str,
        subject: Subject,
        key_type: str,
        validity: timedelta,
        actor: Actor,
        *,
        shards: int = 1,
    ) -> StoredAuthority:
        """A new issuing CA under a root of ours. Raises Malformed, OrderConflict."""
        actor.check("authority:change")
        above = (await self.load()).get(root)
        if above is None or above.root_der != above.certificate_der:
            raise Malformed(f'there is no root CA "{root}"')
        label = f"ca-{name}-{short_id()}"
        created = await _said(
            create_issuing(self._keystore, label, subject, key_type, validity, self._clock, above, crl=True)
        )
        return await self._write(name, label, created, (), above.certificate_der, shards, actor)

    async def _write(
        self,
        name: str,
        label: str,
        created: CreatedCA,
        intermediates: tuple[bytes, ...],
        root: bytes,
        shards: int,
        actor: Actor,
    ) -> StoredAuthority:
        now = self._clock()
        stored = StoredAuthority(
            name, label, created.certificate_der, intermediates, root, shards, now, created.transcript
        )
        unit = Unit()
        unit.insert(stored)
        unit.audit(AuditEvent(AuditTag.CA_CREATED, now, actor.name, f"authority:{name}", dict(created.transcript)))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict(f'there is a CA "{name}" already') from conflict
        return stored


async def _said(ceremony: Awaitable[CreatedCA]) -> CreatedCA:
    """A ceremony whose mistakes are the caller's."""
    try:
        return await ceremony
    except KeyExists as fault:
        raise OrderConflict("a key of this name exists already") from fault
    except ValueError as fault:
        raise Malformed(str(fault)) from fault
