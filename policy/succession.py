"""Certificates that take the place of others: renewed, with another key, with other names; by hand or by the server.

The new certificate is an order like any other: judged, approved where the product wants that, and guarded against
whatever was revoked meanwhile. A certificate has one successor at most (`replaces`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ca_core.clock import Clock
from ca_core.crmf import read_recorded
from ca_core.csr import CertificationRequest
from ca_core.names import Identifier
from ca_core.status import CertificateState, RevocationReason
from policy.audit import AuditEvent, AuditTag
from policy.authentication import standing_in
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.dossier import Dossier
from policy.order import TERMINAL, NewOrder, Order, OrderKind, OrderStatus
from policy.ordering import Ordering
from policy.problems import (
    AlreadyReplaced,
    AlreadyRevoked,
    Forbidden,
    Malformed,
    Problem,
    Unavailable,
)
from policy.renewal import Renewal
from policy.requirements import RequirementKind
from policy.revocation import Revocation
from policy.sealing import fingerprint
from policy.store import (
    ACCOUNT,
    CERTIFICATE,
    CERTIFICATE_STATUS,
    CREDENTIAL,
    ORDER,
    ORDER_REPLACING,
    REPLACED,
    Store,
    StoredCertificate,
    Unit,
)

RENEWER = "system:renewal"
FIRST_PAUSE = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=1)
"""Between two looks at a renewal that is not done. The pause is a tenth of what is left of the certificate, within
these."""
ESCALATE_FROM = 0.5
"""The part of the time from the opening of the window to the end after which somebody has to look."""


@dataclass(frozen=True, slots=True)
class Successor:
    """What is wanted of the new certificate. Without a request the key stays, where its request was kept."""

    request: CertificationRequest | None = None
    identifiers: tuple[Identifier, ...] | None = None
    """Other names; None for the same."""
    new_key: bool = False
    """Whether the key has to be another one."""
    retire: RevocationReason | None = None
    """Why the old certificate is revoked when the new one is there; None leaves it."""
    automatic: bool | None = None
    """Whether the new one renews itself; None as the old one."""
    reference: str | None = None


class Succession:
    """Renews and reissues. Whose certificate it is has been checked by whoever calls."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        ordering: Ordering,
        renewal: Renewal,
        revocation: Revocation,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._ordering = ordering
        self._renewal = renewal
        self._revocation = revocation
        self._clock = clock

    async def follow(self, principal: Principal, stored: StoredCertificate, wanted: Successor) -> Order:
        """The order of the successor: `valid` at once when nothing is owed, else it says what is.

        Raises Forbidden for a certificate that is revoked or on hold, AlreadyReplaced, and what placing raises.
        """
        before = await self._store.one(ORDER, stored.order)
        request = wanted.request
        if request is None and not wanted.new_key and wanted.identifiers in (None, stored.names):
            request = await self._kept(before, stored)
        if request is not None and wanted.new_key and fingerprint(request.spki) == stored.spki_sha256:
            raise Malformed("the request has the key of the certificate that gets another one")
        await self._check_valid(stored)
        known = before.dossier if before is not None and before.dossier is not None else Dossier()
        automatic = known.automatic if wanted.automatic is None else wanted.automatic
        dossier = None
        if automatic or wanted.retire is not None or known.tags:
            dossier = Dossier(tags=known.tags, automatic=automatic, retire=wanted.retire)
        new = NewOrder(
            kind=_kind(stored, wanted, request),
            product=stored.product,
            identifiers=stored.names if wanted.identifiers is None else wanted.identifiers,
            request=request,
            reference=wanted.reference,
            replaces=stored.serial,
            predecessor=stored.serial,
            dossier=dossier,
        )
        return await self._ordering.place(principal, new)

    async def _kept(self, before: Order | None, stored: StoredCertificate) -> CertificationRequest | None:
        """The request of the certificate, when it was kept and the product lets its key be certified again."""
        product = await self._catalogue.product(stored.product)
        if before is None or before.csr is None or product is None or not product.renew_same_key:
            return None
        return read_recorded(before.csr)

    async def _check_valid(self, stored: StoredCertificate) -> None:
        status = await self._store.one(CERTIFICATE_STATUS, stored.serial)
        if status is None or status.state is not CertificateState.VALID:
            said = status.state.replace("_", " ") if status else "unknown"
            raise Forbidden(f"the certificate is {said}: it has no successor; order a new one")
        if await self._store.one(REPLACED, stored.serial):
            raise AlreadyReplaced("the certificate has a successor already, or an order for one is open")

    # ----------------------------------------------------------------- what the worker does

    async def retire(self, order_id: str) -> None:
        """Revoke the certificate that the one of this order has replaced, as was wished for with the order."""
        order = await self._store.one(ORDER, order_id)
        if order is None or order.serial is None or order.replaces is None or order.dossier is None:
            return
        found = await self._store.one(CERTIFICATE, order.replaces)
        if found is None or order.dossier.retire is None:
            return
        try:
            await self._revocation.revoke(found[0], order.dossier.retire, order.requester)
        except AlreadyRevoked:
            return

    async def renew(self, serial: str) -> int | None:
        """Renew a certificate whose window has opened; the seconds after which to look again, None when it is over.

        Never renews what is revoked, on hold or replaced, nor for a credential that may not issue any more.
        """
        found = await self._store.one(CERTIFICATE, serial)
        status = await self._store.one(CERTIFICATE_STATUS, serial)
        now = self._clock()
        if found is None or status is None or found[0].not_after <= now:
            return None
        stored = found[0]
        if status.state is CertificateState.ON_HOLD:
            return int(LONGEST_PAUSE.total_seconds())  # it may be released
        if status.state is not CertificateState.VALID:
            return None
        opens = (await self._renewal.window(stored.issuer_id, serial)).start
        if now < opens:
            return max(1, int((opens - now).total_seconds()))
        successor = await self._store.one(ORDER_REPLACING, serial)
        if successor is not None:
            return await self._look_at(stored, successor)
        try:
            order = await self._begin(stored)
        except AlreadyReplaced:
            return int(FIRST_PAUSE.total_seconds())
        except Unavailable:
            raise
        except Problem as problem:
            await self._note(AuditTag.RENEWAL_FAILED, stored, problem=problem.kind, detail=problem.detail)
            return await self._escalated(stored, f"{problem.kind}: {problem.detail}")
        return await self._look_at(stored, order, new=True)

    async def _begin(self, stored: StoredCertificate) -> Order:
        credential = await self._store.one(CREDENTIAL, stored.credential)
        if credential is None or credential.at(self._clock()) != "active":
            raise Forbidden("the credential of the certificate is not active any more")
        account = await self._store.one(ACCOUNT, stored.owner)
        principal = standing_in(credential, stored.mount, RENEWER, account)
        order = await self.follow(principal, stored, Successor())
        await self._note(AuditTag.RENEWAL_BEGUN, stored, order=order.id)
        return order

    async def _look_at(self, stored: StoredCertificate, order: Order, *, new: bool = False) -> int | None:
        """How far the successor is. What it waits for is said once, and again with more weight when time runs out."""
        if order.status is OrderStatus.VALID:
            return None
        owed = await self._ordering.owed(order)
        if new and order.status not in TERMINAL:
            wants = any(one.kind is RequirementKind.REQUEST for one in owed)
            tag = AuditTag.RENEWAL_WANTS_REQUEST if wants else AuditTag.RENEWAL_WAITS
            await self._note(tag, stored, order=order.id, owed=[one.detail for one in owed])
        if order.problem is not None:
            problem = {"problem": order.problem.kind, "detail": order.problem.detail}
            await self._note(AuditTag.RENEWAL_FAILED, stored, order=order.id, **problem)
            return await self._escalated(stored, order.problem.detail)
        return await self._escalated(stored, "; ".join(one.detail for one in owed) or f'the order is "{order.status}"')

    async def _escalated(self, stored: StoredCertificate, why: str) -> int:
        """Tell somebody when half of the time is gone; how long to wait until the next look."""
        now = self._clock()
        opens = (await self._renewal.window(stored.issuer_id, stored.serial)).start
        left = stored.not_after - now
        if now >= opens + (stored.not_after - opens) * ESCALATE_FROM:
            await self._note(AuditTag.RENEWAL_ESCALATED, stored, why=why, ends=stored.not_after)
        return int(min(max(left / 10, FIRST_PAUSE), LONGEST_PAUSE).total_seconds())

    async def _note(self, tag: AuditTag, stored: StoredCertificate, **detail: object) -> None:
        unit = Unit()
        of = {"credential": stored.credential, "names": [str(one) for one in stored.names], **detail}
        unit.audit(AuditEvent(tag, self._clock(), RENEWER, f"certificate:{stored.serial}", of))
        await self._store.commit(unit)


def _kind(stored: StoredCertificate, wanted: Successor, request: CertificationRequest | None) -> OrderKind:
    if wanted.identifiers is not None and set(wanted.identifiers) != set(stored.names):
        return OrderKind.CHANGE_NAMES
    if wanted.new_key or (request is not None and fingerprint(request.spki) != stored.spki_sha256):
        return OrderKind.REKEY
    return OrderKind.RENEW
