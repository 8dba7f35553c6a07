"""Blocks: what must not be issued (again) until somebody lifts the block or its time is over.

Revoking a certificate does not stop an automatic client from asking for the next one the same night; a block does, on
every door. It is about a name ("identity"), a domain with all that is below it, or a public key. Compromised keys are
blocked for good elsewhere (policy.revocation); these here can be lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

import msgspec

from ca_core.clock import Clock
from ca_core.csr import CertificationRequest
from ca_core.names import Identifier, IdentifierType, Subject, common_name, read_identifier
from policy.access import Actor
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.ids import new_id
from policy.problems import Forbidden, Malformed, OrderConflict, RejectedIdentifier, UnknownOrder
from policy.sealing import fingerprint
from policy.store import BLOCK, BLOCKS, BLOCKS_ON, Block, Conflict, Store, StoredCertificate, Unit


class BlockKind(StrEnum):
    """What a block is about."""

    IDENTITY = "identity"
    """One name, as it stands in a certificate; a common name where that is all there is."""
    DOMAIN = "domain"
    """A domain and every name below it."""
    KEY = "key"
    """A public key, by the SHA-256 of its SubjectPublicKeyInfo."""


def subjects_of(
    identifiers: Iterable[Identifier], subject: Subject = (), spki: bytes | None = None, spki_sha256: str | None = None
) -> list[str]:
    """Every subject whose block would stop a certificate with these names, this common name and this key."""
    found: list[str] = []
    for one in identifiers:
        found.append(f"{BlockKind.IDENTITY}:{one.type}:{one.value}")
        if one.type is IdentifierType.DNS:
            labels = one.base.split(".")
            found += [f"{BlockKind.DOMAIN}:{'.'.join(labels[place:])}" for place in range(len(labels))]
    cn = common_name(subject)
    if cn is not None:
        found.append(f"{BlockKind.IDENTITY}:cn:{cn.lower()}")
    digest = fingerprint(spki) if spki is not None else spki_sha256
    if digest is not None:
        found.append(f"{BlockKind.KEY}:{digest}")
    return found


def asked_for(identifiers: Sequence[Identifier], request: CertificationRequest | None) -> str:
    """As `subjects_of` for an order and its request, as the JSON array that statements take."""
    subject, spki = (request.subject, request.spki) if request is not None else ((), None)
    return msgspec.json.encode(subjects_of(identifiers, subject, spki)).decode()


def subjects_to_block(kinds: Iterable[BlockKind], stored: StoredCertificate) -> list[str]:
    """What to block so that this certificate is not issued again: its names, their domains, its key."""
    found: list[str] = []
    for kind in kinds:
        if kind is BlockKind.KEY:
            found.append(f"{kind}:{stored.spki_sha256}")
        elif kind is BlockKind.DOMAIN:
            found += [f"{kind}:{one.base}" for one in stored.names if one.type is IdentifierType.DNS]
        else:
            found += [f"{kind}:{one.type}:{one.value}" for one in stored.names]
            cn = common_name(stored.subject)
            if not stored.names and cn is not None:
                found.append(f"{kind}:cn:{cn.lower()}")
    return list(dict.fromkeys(found))


def read_subject(kind: str, value: str) -> str:
    """The subject that a person means: a kind, and a domain, "dns:www.example.org" or a digest. Raises Malformed."""
    if kind not in list(BlockKind):
        raise Malformed(f'"{kind}" is nothing that can be blocked; what can: {", ".join(BlockKind)}')
    if kind == BlockKind.KEY:
        digest = value.lower().replace(":", "")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise Malformed("a key is blocked by the SHA-256 of its SubjectPublicKeyInfo, 64 hexadecimal digits")
        return f"{kind}:{digest}"
    type_, divider, name = value.partition(":")
    if kind == BlockKind.DOMAIN:
        type_, name = "dns", value
    elif not divider:
        raise Malformed(f'"{value}" has no type: write "dns:{value}"')
    if type_ == "cn":
        return f"{kind}:cn:{name.lower()}"
    try:
        identifier = read_identifier(type_, name)
    except RejectedIdentifier as problem:
        raise Malformed(problem.detail) from problem
    return f"{kind}:{identifier.base}" if kind == BlockKind.DOMAIN else f"{kind}:{identifier.type}:{identifier.value}"


class Blocking:
    """Makes, lists and lifts blocks, and says what they stop."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock

    async def check(self, identifiers: Sequence[Identifier], request: CertificationRequest | None) -> None:
        """That nothing stops a certificate with these names and this request. Raises Forbidden with what does."""
        if not await self._catalogue.any_block():
            return
        asked = asked_for(identifiers, request)
        found = await self._store.many(BLOCKS_ON, asked, int(self._clock().timestamp()))
        if found:
            listed = "; ".join(f"{one.subject}, since {one.at:%Y-%m-%d} ({one.why})" for one in found[:5])
            raise Forbidden(f"blocked: {listed}", blocks=tuple(one.id for one in found))

    def write(
        self,
        unit: Unit,
        subjects: Iterable[str],
        why: str,
        actor: str,
        until: datetime | None = None,
        certificate: str | None = None,
    ) -> list[Block]:
        """Write blocks into a unit, with their audit events; what they are."""
        now = self._clock()
        made = [Block(new_id(), one, why, actor, now, until, certificate) for one in subjects]
        for one in made:
            unit.insert(one)
            detail = {"subject": one.subject, "why": why, "until": until, "certificate": certificate}
            unit.audit(AuditEvent(AuditTag.BLOCK_MADE, now, actor, f"block:{one.id}", detail))
        return made

    async def block(self, subject: str, why: str, actor: Actor, until: datetime | None = None) -> Block:
        """Block one subject (see `read_subject`). Raises Malformed for a time that is over."""
        actor.check("block:change")
        if until is not None and until <= self._clock():
            raise Malformed("the block would be over before it begins")
        unit = Unit()
        (made,) = self.write(unit, [subject], why, actor.name, until)
        await self._store.commit(unit)
        return made

    async def lift(self, block_id: str, actor: Actor, why: str) -> Block:
        """Let it be issued again. Raises UnknownOrder when there is no such block, OrderConflict when it is lifted."""
        actor.check("block:change")
        block = await self.get(block_id)
        if not block.active:
            raise OrderConflict("the block is lifted already")
        now = self._clock()
        changed = replace(block, active=False, lifted=now, lifted_by=actor.name, version=block.version + 1)
        unit = Unit()
        unit.save(changed)
        detail = {"subject": block.subject, "why": why}
        unit.audit(AuditEvent(AuditTag.BLOCK_LIFTED, now, actor.name, f"block:{block.id}", detail))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("the block was changed at the same time") from conflict
        return changed

    async def get(self, block_id: str) -> Block:
        """One block. Raises UnknownOrder."""
        found = await self._store.one(BLOCK, block_id)
        if found is None:
            raise UnknownOrder(f"there is no block {block_id}")
        return found

    async def page(self, after: str = "", limit: int = 100, *, status: str = "", text: str = "") -> list[Block]:
        """Blocks newest first, those "active", "lifted" or "expired", or with a text in their subject."""
        return await self._store.many(BLOCKS, status, text, after, limit)
