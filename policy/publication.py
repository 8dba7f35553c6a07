"""What is told about certificates: CRL shards, OCSP answers, CA certificates.

A CRL is signed when something changed, and long before the one that is out would end; it is served from the store.
OCSP reads the state of the certificate at each request, so that a revocation shows with its commit; the signed
answer is reused while state and time allow.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import structlog
from cryptography.x509 import load_der_x509_certificate

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.issuer import Issuer
from ca_core.ledger import PublishedCRL, serial_hex
from ca_core.ocsp import (
    MALFORMED_REQUEST,
    TRY_LATER,
    UNAUTHORIZED,
    OCSPQuery,
    Responder,
    issuer_keys,
    read_ocsp_request,
)
from ca_core.ocsp import CertificateStatus as SaidStatus
from ca_core.status import CertificateState
from policy.audit import AuditEvent, AuditTag
from policy.problems import Malformed, OrderConflict, Problem, UnknownCertificate
from policy.service_keys import ServiceKeys
from policy.store import (
    CERTIFICATE_STATUS,
    CRL,
    CRLS,
    REVOKED,
    CertificateStatus,
    Conflict,
    Store,
    Unit,
    Value,
)

_log = structlog.get_logger("certgate.publication")

ATTEMPTS = 10
"""How often a CRL is signed anew because another server object was first."""
MAX_ANSWERS = 10_000
"""Signed OCSP answers kept, some 700 octets each."""


@dataclass(frozen=True, slots=True)
class PublicationSettings:
    """How long what is published lasts, in seconds; a CRL is signed anew after `crl_refresh_seconds` at the latest."""

    crl_lifetime_seconds: int = 7 * 86400
    crl_refresh_seconds: int = 86400
    ocsp_lifetime_seconds: int = 12 * 3600


@dataclass(frozen=True, slots=True)
class OCSPAnswer:
    """The DER of an OCSP response and how long it may be cached; without times it must not be."""

    der: bytes
    this_update: datetime | None = None
    next_update: datetime | None = None


class Publication:
    """Signs and serves CRLs and OCSP answers."""

    def __init__(
        self,
        store: Store,
        ca: CertificateAuthority,
        service_keys: ServiceKeys,
        clock: Clock,
        settings: PublicationSettings,
    ) -> None:
        self._store = store
        self._ca = ca
        self._service_keys = service_keys
        self._clock = clock
        self._settings = settings
        self._by_hash: dict[tuple[str, bytes, bytes], Issuer] = {
            key: issuer
            for issuer in ca.issuers.values()
            if not is_root(issuer)  # a root's key signs CRLs and CA certificates, never because a client asks
            for key in issuer_keys(issuer.certificate)
        }
        self._responders: dict[str, tuple[str, Responder]] = {}
        self._answers: OrderedDict[tuple[Value | bytes, ...], OCSPAnswer] = OrderedDict()

    # ----------------------------------------------------------------- CRL

    async def crl(self, issuer_id: str, shard: int) -> PublishedCRL:
        """The current CRL of a shard; signed now when there is none yet. Raises UnknownCertificate."""
        issuer = self._ca.issuer_by_id(issuer_id)
        if issuer is None or not 0 <= shard < issuer.shards:
            raise UnknownCertificate("there is no such CRL")
        return await self._store.one(CRL, issuer_id, shard) or await self.publish(issuer_id, shard)

    async def publish(self, issuer_id: str, shard: int) -> PublishedCRL:
        """Sign and publish the next CRL of a shard; for a CA that has expired, the last one stands.

        Raises UnknownCertificate, Unavailable, OrderConflict when others are first again and again.
        """
        issuer = self._ca.issuer_by_id(issuer_id)
        if issuer is None:
            raise UnknownCertificate("there is no such CRL")
        for _ in range(ATTEMPTS):
            now = self._clock()
            before = await self._store.one(CRL, issuer_id, shard)
            if _is_over(issuer, now):
                if before is None:
                    raise UnknownCertificate("the CA has expired without a CRL")
                return before
            crl, unit = await self._next(issuer, shard, before, now)
            try:
                await self._store.commit(unit)
            except Conflict:
                # Whoever was first may have read the entries before the revocation that this one is about.
                continue
            return crl
        raise OrderConflict("the CRL is being published by others at the same time, again and again")

    async def _next(
        self, issuer: Issuer, shard: int, before: PublishedCRL | None, now: datetime
    ) -> tuple[PublishedCRL, Unit]:
        """The CRL that follows this one, with the entries of now, and the unit that publishes it."""
        # What has expired stays until it was on one CRL after its end (RFC 5280 section 3.3).
        since = before.this_update if before is not None else now
        entries = await self._store.many(REVOKED, issuer.id, shard, int(since.timestamp()))
        crl = await issuer.sign_crl(
            shard,
            before.number + 1 if before is not None else 1,
            now,
            min(now + timedelta(seconds=self._settings.crl_lifetime_seconds), issuer.not_after),
            tuple(entries),
            ca_certificates=is_root(issuer),
        )
        unit = Unit()
        unit.publish_crl(crl)
        detail = {"number": crl.number, "entries": len(entries), "next_update": crl.next_update}
        unit.audit(AuditEvent(AuditTag.CRL_PUBLISHED, now, "system:publication", f"crl:{issuer.id}/{shard}", detail))
        return crl, unit

    async def publish_due(self) -> int:
        """Sign every CRL that is missing or due for refreshing; how many.

        One that cannot be signed keeps no other from it; what it raised is raised at the end.
        """
        now = self._clock()
        refresh = timedelta(seconds=self._settings.crl_refresh_seconds)
        there = {(crl.issuer_id, crl.shard): crl.this_update for crl in await self._store.many(CRLS)}
        published = 0
        fault: Exception | None = None
        for issuer in self._ca.issuers.values():
            for shard in range(issuer.shards):
                last = there.get((issuer.id, shard))
                if _is_over(issuer, now) or (last is not None and now < last + refresh):
                    continue
                try:
                    await self.publish(issuer.id, shard)
                    published += 1
                except Exception as problem:  # noqa: BLE001 - the key of one CA may be away while others sign
                    _log.error("a CRL cannot be signed", issuer=issuer.name, shard=shard, fault=_said_of(problem))
                    fault = problem
        if fault is not None:
            raise fault
        return published

    def ca_certificate(self, issuer_id: str) -> bytes:
        """DER of the certificate of a CA of ours. Raises UnknownCertificate."""
        issuer = self._ca.issuer_by_id(issuer_id)
        if issuer is None:
            raise UnknownCertificate("there is no such CA")
        return issuer.certificate_der

    def ca_certificates(self, name: str) -> tuple[bytes, ...]:
        """DER of a CA's certificate, its intermediates and its root, in this order; then what a key update brings.

        That is what other CAs have certified this key or its root with, and roots of the same name with theirs: for as
        long as they last, clients of the old root find the new one and the other way round (RFC 7030 section 4.1.3,
        OldWithNew and NewWithOld). Raises Unavailable for a CA that is not in service.
        """
        issuer = self._ca.issuer(name)
        own = (*issuer.chain_der, *((issuer.root_der,) if issuer.root_der else ()))
        further = [der for chain in issuer.alternates_der for der in chain]
        roots = [one for one in self._ca.issuers.values() if is_root(one)]
        named = {one.facts.name_der for one in roots if one.certificate_der == issuer.root_der}
        for root in roots:
            if root.facts.name_der in named:
                further += [root.certificate_der, *(der for chain in root.alternates_der for der in chain)]
        now = self._clock()
        return tuple(dict.fromkeys((*own, *(der for der in further if _lasts(der, now)))))

    async def crls(self, name: str) -> tuple[bytes, ...]:
        """DER of the current CRLs of a CA, shard by shard, and of the CAs of ours above it. Raises Unavailable."""
        issuer = self._ca.issuer(name)
        above = (*issuer.chain_der, issuer.root_der)
        found = [issuer, *(one for one in self._ca.issuers.values() if one.certificate_der in above)]
        return tuple(
            [(await self.crl(one.id, shard)).der for one in dict.fromkeys(found) for shard in range(one.shards)]
        )

    # ----------------------------------------------------------------- OCSP

    async def ocsp(self, request: bytes) -> OCSPAnswer:
        """The answer to an OCSP request; what goes wrong is an answer of the protocol too (RFC 6960 section 2.3)."""
        try:
            query = read_ocsp_request(request)
        except Malformed:
            return OCSPAnswer(MALFORMED_REQUEST)
        issuer = self._by_hash.get(query.issuer_key)
        if issuer is None:
            return OCSPAnswer(UNAUTHORIZED)
        try:
            status = await self._store.one(CERTIFICATE_STATUS, _hex(query.serial))
            if status is not None and status.issuer_id != issuer.id:
                status = None
            return await self._answer(issuer, query, status)
        except Problem as problem:
            _log.error("OCSP cannot be answered", issuer=issuer.name, fault=_said_of(problem))
            return OCSPAnswer(TRY_LATER)

    async def _answer(self, issuer: Issuer, query: OCSPQuery, status: CertificateStatus | None) -> OCSPAnswer:
        now = self._clock()
        # State and moment of its change are part of the key, so an answer from before a revocation is never found.
        key = (query.cert_id, status.state if status else None, int(status.at.timestamp()) if status else 0)
        if query.nonce is None:
            kept = self._answers.get(key)
            if kept is not None and kept.this_update is not None and kept.next_update is not None:
                half = kept.this_update + (kept.next_update - kept.this_update) / 2
                if now < half:
                    return kept
        responder, until = await self._responder(issuer)
        next_update = min(now + timedelta(seconds=self._settings.ocsp_lifetime_seconds), until)
        der = await responder.respond(query, _said(status), produced_at=now, this_update=now, next_update=next_update)
        if query.nonce is not None:
            return OCSPAnswer(der)
        answer = OCSPAnswer(der, now, next_update)
        self._answers[key] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return answer

    async def renew_responders(self) -> None:
        """Replace keys that are due or revoked before a client has to wait for it."""
        for issuer in {issuer.id: issuer for issuer in self._by_hash.values()}.values():
            if issuer.name in self._responders and not _is_over(issuer, self._clock()):
                await self._responder(issuer)

    async def _responder(self, issuer: Issuer) -> tuple[Responder, datetime]:
        """The delegated responder of an issuer, and when its certificate ends."""
        subject = (("CN", f"OCSP responder of {issuer.name} {issuer.id[:8]}"),)
        usable = await self._service_keys.get("ocsp", issuer.name, subject=subject)
        known = self._responders.get(issuer.name)
        if known is None or known[0] != usable.key.label:
            made = Responder(issuer.certificate, usable.key.certificate, usable.signer)
            # What the key before has signed is not said any more: it may have been replaced because it was stolen.
            self._answers.clear()
            known = self._responders[issuer.name] = (usable.key.label, made)
        return known[1], usable.key.not_after


def is_root(issuer: Issuer) -> bool:
    """Whether this issuer is its own trust anchor, so that it issues CA certificates only."""
    return issuer.root_der == issuer.certificate_der


@lru_cache(maxsize=256)
def _end(der: bytes) -> datetime:
    return load_der_x509_certificate(der).not_valid_after_utc


def _lasts(der: bytes, now: datetime) -> bool:
    return now <= _end(der)


def _is_over(issuer: Issuer, now: datetime) -> bool:
    """Whether a CA can sign no further CRL: the last one that it can ends a second from now at the earliest."""
    return issuer.not_after <= now + timedelta(seconds=1)


def _said_of(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"


def _hex(serial: int) -> str:
    return serial_hex(serial) if serial >= 0 else ""


def _said(status: CertificateStatus | None) -> SaidStatus | None:
    """A status as OCSP says it; an unconfirmed certificate is not "good" (RFC 9483 section 4.1), so unknown."""
    if status is None or status.state is CertificateState.UNCONFIRMED:
        return None
    gone = status.state is not CertificateState.VALID
    return SaidStatus(status.state, status.at if gone else None, status.reason)
