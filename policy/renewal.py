"""May this certificate be renewed by who shows it; and when should it be (RFC 9773)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from ca_core.clock import Clock
from ca_core.csr import CertificationRequest
from ca_core.names import subject_text
from ca_core.status import CertificateState
from policy.access import NOBODY, Actor
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.order import NewOrder, OrderKind
from policy.people import owned_through
from policy.problems import BadCSR, Forbidden, Malformed, OrderConflict, UnknownCertificate, UnknownProduct
from policy.renaming import asks_for_other_names, renamed
from policy.sealing import fingerprint
from policy.store import (
    CERTIFICATE,
    CERTIFICATE_STATUS,
    DEMANDS,
    DEMANDS_ON,
    Conflict,
    Demand,
    Store,
    StoredCertificate,
    Unit,
)

RETRY_AFTER_SECONDS = 6 * 3600
"""How long a client may wait before it looks at its window again (RFC 9773 section 4.3)."""

CERTIFICATE_, PRODUCT = "certificate:", "product:"
"""How the objects of demands begin, as they do in the audit log."""


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """When to renew a certificate (RFC 9773 section 4.2); `retry_after` in seconds."""

    start: datetime
    end: datetime
    retry_after: int
    explanation_url: str | None = None


class Renewal:
    """Renewal windows and the right to renew."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock

    async def window(self, issuer_id: str, serial: str) -> RenewalWindow:
        """The window of a certificate: after the product's fraction of its life, or at once when it is revoked."""
        found = await self._store.one(CERTIFICATE, serial)
        if found is None or found[0].issuer_id != issuer_id:
            raise UnknownCertificate("there is no such certificate")
        stored = found[0]
        status = await self._store.one(CERTIFICATE_STATUS, serial)
        now = self._clock()
        if status is None or status.state is not CertificateState.VALID:
            return RenewalWindow(now - timedelta(hours=1), now - timedelta(minutes=30), RETRY_AFTER_SECONDS)
        demand = self._demand(stored, await self._store.many(DEMANDS_ON, *_objects(stored)))
        if demand is not None:
            return RenewalWindow(demand.at - timedelta(hours=1), demand.at, RETRY_AFTER_SECONDS, demand.explanation_url)
        product = await self._catalogue.product(stored.product)
        fraction = product.renewal_fraction if product is not None else 2 / 3
        life = stored.not_after - stored.not_before
        start = stored.not_before + timedelta(seconds=int(life.total_seconds() * fraction))
        # A window, not a moment: each client picks its own time in it, so renewals spread (RFC 9773 section 4.2).
        return RenewalWindow(start, start + timedelta(seconds=int(life.total_seconds() * 0.06)), RETRY_AFTER_SECONDS)

    def _demand(self, stored: StoredCertificate, found: list[Demand]) -> Demand | None:
        """What concerns this certificate: one about itself, or about its product when it was there by then."""
        return next((one for one in found if not one.object.startswith(PRODUCT) or stored.not_before <= one.at), None)

    async def demand(
        self,
        actor: Actor,
        *,
        why: str,
        serials: Sequence[str] = (),
        product: str | None = None,
        explanation_url: str | None = None,
    ) -> list[Demand]:
        """Have certificates renewed now, whatever their age: these, or all that the product has until now.

        Their windows lie in the past from the commit on, with the URL of a page for people (RFC 9773 section 4.2).
        Raises UnknownCertificate, UnknownProduct, Malformed.
        """
        actor.check("certificate:renew")
        if explanation_url is not None and not _is_page(explanation_url):
            raise Malformed(f'"{explanation_url}" is not the http or https URL of a page')
        now = self._clock()
        objects = [f"{CERTIFICATE_}{await self._known(serial, actor)}" for serial in dict.fromkeys(serials)]
        if product is not None:
            actor.check("certificate:renew", NOBODY)
            if await self._catalogue.product(product) is None:
                raise UnknownProduct(f'there is no product "{product}"')
            objects.append(PRODUCT + product)
        if not objects:
            raise Malformed("say which certificates: serials, or a product")
        return await self._demanded([Demand(one, now, why, actor.name, explanation_url) for one in objects])

    async def demand_one(self, serial: str, why: str, actor: str) -> None:
        """Have a certificate renewed now, as part of a bulk change that was allowed as a whole."""
        await self._demanded([Demand(CERTIFICATE_ + serial, self._clock(), why, actor)])

    async def _demanded(self, made: list[Demand]) -> list[Demand]:
        unit = Unit()
        for one in made:
            unit.demand(one)
            detail = {"why": one.why, "explanation_url": one.explanation_url}
            unit.audit(AuditEvent(AuditTag.RENEWAL_DEMANDED, one.at, one.actor, one.object, detail))
        await self._store.commit(unit)
        return made

    async def withdraw(self, actor: Actor, *, serials: Sequence[str] = (), product: str | None = None) -> list[str]:
        """Take demands back: the ordinary windows count again. Raises UnknownCertificate, OrderConflict."""
        actor.check("certificate:renew")
        objects = [f"{CERTIFICATE_}{await self._known(serial, actor)}" for serial in dict.fromkeys(serials)]
        if product is not None:
            actor.check("certificate:renew", NOBODY)
            objects.append(PRODUCT + product)
        unit = Unit()
        for one in objects:
            unit.withdraw(one)
        for one in objects:
            unit.audit(AuditEvent(AuditTag.RENEWAL_WITHDRAWN, self._clock(), actor.name, one))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise OrderConflict("not all of these were to be renewed now; nothing was changed") from conflict
        return objects

    async def demands(self) -> list[Demand]:
        """Everything that is to be renewed before its time."""
        return await self._store.many(DEMANDS)

    async def _known(self, serial: str, actor: Actor) -> str:
        normal = serial.strip().lower().removeprefix("0x").replace(":", "").rjust(40, "0")
        found = await self._store.one(CERTIFICATE, normal)
        owned = await owned_through(self._store, None if found is None else found[0].credential)
        missing = UnknownCertificate(f"there is no certificate with serial {serial}")
        actor.find("certificate:renew", found, owned, missing)
        return normal

    async def successor(
        self, principal: Principal, new: NewOrder, same_names: bool, *, rename: bool, after: float
    ) -> NewOrder:
        """The order that renews the certificate shown; see RegistrationAuthority.renew."""
        request = new.request
        if request is None:
            raise OrderConflict("renewing needs a certification request")
        renaming = asks_for_other_names(request)
        if renaming and not rename:
            raise Forbidden("names are not changed by a renewal here: enrol anew with the other names")
        stored = await self._shown(principal)
        wanted = renamed(request) if renaming else request
        if principal.registration_authority and not _has_names_of(request, stored):
            return replace(new, kind=OrderKind.ENROLL, request=wanted)
        if same_names:
            _check_names(request, stored)
        await self._check_due(stored, after)
        kind = OrderKind.RENEW if fingerprint(request.spki) == stored.spki_sha256 else OrderKind.REKEY
        return replace(new, kind=kind, predecessor=stored.serial, request=wanted)

    async def _check_due(self, stored: StoredCertificate, after: float) -> None:
        """That this part of the certificate's life is over, or that its renewal is demanded. Raises Forbidden."""
        due = stored.not_before + (stored.not_after - stored.not_before) * after
        if self._clock() < due and self._demand(stored, await self._store.many(DEMANDS_ON, *_objects(stored))) is None:
            raise Forbidden(f"the certificate may not be renewed before {due:%Y-%m-%d %H:%M} UTC")

    async def _shown(self, principal: Principal) -> StoredCertificate:
        """The certificate that the principal shows and may renew. Raises Forbidden when none of ours was shown."""
        if principal.certificate is None:
            raise Forbidden("renewing needs the certificate that is to be renewed, as TLS client certificate")
        found = await self._store.one(CERTIFICATE, principal.certificate)
        if found is None or found[0].credential != principal.credential.id:
            raise Forbidden("the client certificate is not one that this credential may renew")
        return found[0]


def _has_names_of(request: CertificationRequest, stored: StoredCertificate) -> bool:
    return frozenset(request.names) == frozenset(stored.names) and _compared(request.subject) == _compared(
        stored.subject
    )


def _check_names(request: CertificationRequest, stored: StoredCertificate) -> None:
    """That the request repeats subject and names (RFC 7030 section 4.2.2). Raises BadCSR."""
    if _has_names_of(request, stored):
        return
    if frozenset(request.names) != frozenset(stored.names):
        raise BadCSR("the names are not those of the certificate that is to be renewed")
    raise BadCSR(
        f'the subject "{subject_text(request.subject)}" is not that of the certificate that is to be '
        f'renewed, "{subject_text(stored.subject)}"'
    )


def _objects(stored: StoredCertificate) -> tuple[str, str]:
    return CERTIFICATE_ + stored.serial, PRODUCT + stored.product


def _is_page(url: str) -> bool:
    """Whether a URL can be shown to people and sent in JSON: http or https, printable ASCII."""
    return url.startswith(("https://", "http://")) and all("!" <= one <= "~" for one in url)


def _compared(subject: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """A subject as RFC 5280 section 7.1 compares it: without case, inner white space as one blank."""
    return tuple((kind, " ".join(value.split()).casefold()) for kind, value in subject)
