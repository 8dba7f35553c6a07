"""One change of many certificates: what the inventory finds by a filter is renewed, rekeyed, held, released or revoked.

Whoever asks sees first what it would come to. It is then done page by page under a lease, so that a server that ends
goes on where it was; what is issued meanwhile is not touched. Each certificate is changed by itself, with its own audit
event, in the name of who asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ca_core.clock import Clock
from ca_core.status import RevocationReason
from policy.access import NOBODY, Actor
from policy.audit import AuditEvent, AuditTag
from policy.authentication import standing_in
from policy.ids import new_id
from policy.inventory import Inventory, ListedCertificate
from policy.problems import BadRevocationReason, Malformed, OrderConflict, Problem, UnknownOrder
from policy.renewal import Renewal
from policy.revocation import Revocation
from policy.store import BULK, BULKS, CREDENTIAL, Bulk, CertificateFilter, Conflict, Store, Unit
from policy.succession import Succession, Successor

BULK_JOB = "bulk"
PAGE = 100
AT_ONCE = 20
"""Certificates that one turn of the worker changes: well within its lease, also where each has to be signed."""
MAX_FAILURES = 100
SAMPLE = 10


class BulkAction(StrEnum):
    """What is done to each certificate."""

    RENEW = "renew"
    """The same again: by the request that was kept, else by asking for one; ACME clients are told by ARI."""
    REKEY = "rekey"
    """The same names with another key: its holder is asked for a request."""
    HOLD = "hold"
    RELEASE = "release"
    REVOKE = "revoke"


_STATES: dict[BulkAction, tuple[str, ...]] = {
    BulkAction.RENEW: ("valid",),
    BulkAction.REKEY: ("valid",),
    BulkAction.HOLD: ("valid",),
    BulkAction.RELEASE: ("on_hold",),
    BulkAction.REVOKE: ("valid", "on_hold"),
}
"""The states in which a certificate is changed; in another one it is passed over."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would come to: certificates found, changed, passed over by state, and the first of them."""

    matched: int
    changed: int
    passed: dict[str, int]
    products: dict[str, int]
    sample: tuple[ListedCertificate, ...]
    newest: str


_PERMISSIONS = {
    BulkAction.HOLD: "certificate:hold",
    BulkAction.RELEASE: "certificate:hold",
    BulkAction.REVOKE: "certificate:revoke",
    BulkAction.RENEW: "certificate:renew",
    BulkAction.REKEY: "certificate:renew",
}
"""What may be done to everybody's certificates: a filter does not stop at a group."""


class Bulks:
    """Begins, lists and does changes of many certificates."""

    def __init__(
        self,
        store: Store,
        inventory: Inventory,
        succession: Succession,
        renewal: Renewal,
        revocation: Revocation,
        clock: Clock,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._succession = succession
        self._renewal = renewal
        self._revocation = revocation
        self._clock = clock

    async def preview(self, action: BulkAction, wanted: CertificateFilter, actor: Actor) -> Preview:
        """What it would come to now. Raises Forbidden, Malformed for a filter that says nothing: never meant."""
        actor.check(_PERMISSIONS[action], NOBODY)
        if wanted == CertificateFilter():
            raise Malformed("say which certificates: a change of all there are is not possible")
        passed: Counter[str] = Counter()
        products: Counter[str] = Counter()
        sample: list[ListedCertificate] = []
        matched, newest = 0, ""
        async for one in self._found(wanted):
            matched += 1
            newest = newest or one.stored.serial
            state = one.said(self._clock())
            if state not in _STATES[action]:
                passed[state] += 1
                continue
            products[one.stored.product] += 1
            if len(sample) < SAMPLE:
                sample.append(one)
        changed = matched - passed.total()
        return Preview(matched, changed, dict(passed), dict(products), tuple(sample), newest)

    async def _found(self, wanted: CertificateFilter, after: str = "") -> AsyncIterator[ListedCertificate]:
        while page := await self._inventory.find(wanted, after, PAGE):
            for one in page:
                yield one
            after = page[-1].stored.serial

    async def begin(
        self,
        action: BulkAction,
        wanted: CertificateFilter,
        expected: int,
        actor: Actor,
        reason: RevocationReason | None = None,
    ) -> Bulk:
        """Have it done. `expected` is how many the preview would have changed: OrderConflict when that is not so now.

        Raises Malformed, BadRevocationReason, OrderConflict.
        """
        if reason in (RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL):
            raise BadRevocationReason(f'"{reason}" does not revoke a certificate: hold and release do that')
        if (reason is not None) != (action is BulkAction.REVOKE):
            raise Malformed("a reason belongs to revoking, and revoking needs one")
        seen = await self.preview(action, wanted, actor)
        if seen.changed != expected:
            raise OrderConflict(
                f"{expected} certificates were expected, but {seen.changed} would be changed now: look again"
            )
        if seen.changed == 0:
            raise Malformed("no certificate would be changed")
        now = self._clock()
        bulk = Bulk(new_id(), action, wanted, actor.name, now, seen.newest, seen.changed, reason)
        unit = Unit()
        unit.insert(bulk)
        unit.schedule(BULK_JOB, bulk.id, now)
        detail = {"action": action, "certificates": seen.changed, "filter": _said(wanted), "reason": reason}
        unit.audit(AuditEvent(AuditTag.BULK_BEGUN, now, actor.name, f"bulk:{bulk.id}", detail))
        await self._store.commit(unit)
        return bulk

    async def find(self, bulk_id: str, actor: Actor) -> Bulk:
        """One change and how far it has come. Raises UnknownOrder, Forbidden."""
        actor.check("certificate:read", NOBODY)
        return await self.get(bulk_id)

    async def get(self, bulk_id: str) -> Bulk:
        """As `find`, for the worker."""
        found = await self._store.one(BULK, bulk_id)
        if found is None:
            raise UnknownOrder(f"there is no bulk change {bulk_id}")
        return found

    async def page(self, actor: Actor, after: str = "", limit: int = 100) -> list[Bulk]:
        """Changes, newest first. Raises Forbidden."""
        actor.check("certificate:read", NOBODY)
        return await self._store.many(BULKS, after, limit)

    async def go_on(self, bulk_id: str) -> int | None:
        """The next certificates of a change; 0 seconds until the ones after these, None when it has ended."""
        bulk = await self.get(bulk_id)
        if bulk.ended is not None:
            return None
        found = await self._next(bulk)
        for one in found:
            bulk = await self._change(bulk, one)
        if not found:
            bulk = replace(bulk, ended=self._clock())
        unit = Unit()
        unit.save(replace(bulk, version=bulk.version + 1))
        if bulk.ended is not None:
            detail = {"done": bulk.done, "passed": bulk.skipped, "failed": bulk.failures}
            unit.audit(AuditEvent(AuditTag.BULK_ENDED, bulk.ended, bulk.actor, f"bulk:{bulk.id}", detail))
        try:
            await self._store.commit(unit)
        except Conflict:
            return 1  # another server object has done these as well; what was changed twice was changed once
        return None if bulk.ended is not None else 0

    async def _next(self, bulk: Bulk) -> list[ListedCertificate]:
        """Those after the last one. A state in the filter is left out: what was changed does not have it any more."""
        wanted = replace(bulk.filter, status="")
        found: list[ListedCertificate] = []
        if not bulk.after:
            found.append(await self._inventory.certificate(bulk.newest))
        found += await self._inventory.find(wanted, bulk.after or bulk.newest, AT_ONCE - len(found))
        return found

    async def _change(self, bulk: Bulk, one: ListedCertificate) -> Bulk:
        serial, action = one.stored.serial, BulkAction(bulk.action)
        said = one.said(self._clock())
        if said not in _STATES[action] or bulk.filter.status not in ("", said):
            return replace(bulk, after=serial, skipped=bulk.skipped + 1)
        try:
            await self._do(action, one, bulk)
        except Problem as problem:
            failed = (*bulk.failed, (serial, problem.detail))[:MAX_FAILURES]
            return replace(bulk, after=serial, failed=failed, failures=bulk.failures + 1)
        return replace(bulk, after=serial, done=bulk.done + 1)

    async def _do(self, action: BulkAction, one: ListedCertificate, bulk: Bulk) -> None:
        stored = one.stored
        if action is BulkAction.HOLD:
            await self._revocation.hold(stored, bulk.actor)
        elif action is BulkAction.RELEASE:
            await self._revocation.release(stored, bulk.actor)
        elif action is BulkAction.REVOKE:
            await self._revocation.revoke(stored, bulk.reason, bulk.actor)
        elif stored.mount.startswith("acme/"):
            # An ACME client renews by itself, once it is told to; nobody can do it in its place.
            await self._renewal.demand_one(stored.serial, f"bulk {bulk.id}", bulk.actor)
        else:
            credential = await self._store.one(CREDENTIAL, stored.credential)
            if credential is None:
                raise UnknownOrder("the certificate belongs to no credential")
            principal = standing_in(credential, stored.mount, bulk.actor)
            wanted = Successor(new_key=action is BulkAction.REKEY)
            order = await self._succession.follow(principal, stored, wanted)
            if order.problem is not None:
                raise OrderConflict(order.problem.detail)


def _said(wanted: CertificateFilter) -> dict[str, object]:
    """A filter as the audit has it: what was said, and nothing else."""
    empty = CertificateFilter()
    return {
        name: getattr(wanted, name)
        for name in CertificateFilter.__slots__
        if getattr(wanted, name) != getattr(empty, name)
    }
