"""Changes of many certificates: seen first, done page by page, and only to what was seen."""

from __future__ import annotations

from typing import Any

import pytest

from ca_core.status import RevocationReason
from policy.audit import AuditTag
from policy.bulk import BulkAction
from policy.order import NewOrder
from policy.problems import BadRevocationReason, Malformed, OrderConflict
from policy.store import Bulk, CertificateFilter
from policy.succession import Successor
from tests.conftest import ACTOR, House, dns
from tests.policy.making import acme, est, events, request

NAMES = tuple(f"n{number}.certgate.test" for number in range(25))


async def certificates(house: House, *names: str) -> tuple[Any, list[Any]]:
    """A client and its certificates."""
    principal = await est(house)
    stored = []
    for name in names:
        order = await house.core.lifecycle.ordering.place(
            principal, NewOrder(identifiers=(dns(name),), request=request(name))
        )
        stored.append((await house.core.ra.certificate_of(order)).stored)
    return principal, stored


async def done(house: House, bulk: Bulk) -> Bulk:
    for _ in range(20):
        if await house.core.lifecycle.bulks.go_on(bulk.id) is None:
            break
    return await house.core.lifecycle.bulks.get(bulk.id)


async def said(house: House, serial: str) -> str:
    return (await house.core.inventory.certificate(serial)).said(house.clock())


async def test_a_filter_is_previewed_and_held(house: House) -> None:
    """All of one credential, over several turns; those of another one stay as they are."""
    principal, stored = await certificates(house, *NAMES)
    _, (foreign,) = await certificates(house, "z.certgate.test")
    wanted = CertificateFilter(credential=principal.credential.id)
    seen = await house.core.lifecycle.bulks.preview(BulkAction.HOLD, wanted, ACTOR)
    assert (seen.matched, seen.changed, len(seen.sample)) == (25, 25, 10)
    bulk = await done(house, await house.core.lifecycle.bulks.begin(BulkAction.HOLD, wanted, 25, ACTOR))
    assert (bulk.done, bulk.skipped, bulk.failures, bulk.ended is not None) == (25, 0, 0, True)
    assert {await said(house, one.serial) for one in stored} == {"on_hold"}
    assert await said(house, foreign.serial) == "valid"
    again = await house.core.lifecycle.bulks.preview(BulkAction.HOLD, wanted, ACTOR)
    assert (again.changed, again.passed) == (0, {"on_hold": 25})


async def test_what_is_issued_after_the_preview_is_not_touched(house: House) -> None:
    """Neither silently changed, when it comes between preview and beginning, nor when it comes later."""
    principal, (old,) = await certificates(house, NAMES[0])
    wanted = CertificateFilter(credential=principal.credential.id)
    bulk = await house.core.lifecycle.bulks.begin(BulkAction.REVOKE, wanted, 1, ACTOR, RevocationReason.SUPERSEDED)
    order = await house.core.lifecycle.ordering.place(
        principal, NewOrder(identifiers=(dns(NAMES[1]),), request=request(NAMES[1]))
    )
    bulk = await done(house, bulk)
    assert (bulk.done, await said(house, old.serial)) == (1, "revoked")
    assert await said(house, order.serial or "") == "valid"
    with pytest.raises(OrderConflict, match="look again"):
        await house.core.lifecycle.bulks.begin(BulkAction.REVOKE, wanted, 2, ACTOR, RevocationReason.SUPERSEDED)


async def test_certificates_are_renewed_by_their_kept_requests(house: House) -> None:
    """And ACME clients are told by renewal information, since only they can renew theirs."""
    principal, (stored,) = await certificates(house, NAMES[0])
    account = await acme(house, "acme/default")
    order = await house.core.ra.place(account, NewOrder(identifiers=(dns(NAMES[1]),)))
    theirs = (
        await house.core.ra.certificate_of(await house.core.ra.finalize(account, order.id, request(NAMES[1])))
    ).stored
    wanted = CertificateFilter(product="tls")
    bulk = await done(house, await house.core.lifecycle.bulks.begin(BulkAction.RENEW, wanted, 2, ACTOR))
    assert (bulk.done, bulk.failures) == (2, 0)
    assert [one.object for one in await house.core.renewal.demands()] == [f"certificate:{theirs.serial}"]
    newest, *_ = await house.core.inventory.find(CertificateFilter(credential=principal.credential.id))
    assert newest.stored.replaces == stored.serial


async def test_a_certificate_that_cannot_be_changed_does_not_stop_the_others(house: House) -> None:
    """It is named with the reason."""
    principal, (first, second) = await certificates(house, *NAMES[:2])
    await house.core.lifecycle.succession.follow(principal, first, Successor())
    wanted = CertificateFilter(name=".certgate.test", expires_before=None, credential=principal.credential.id)
    bulk = await done(house, await house.core.lifecycle.bulks.begin(BulkAction.RENEW, wanted, 3, ACTOR))
    assert (bulk.done, bulk.failures) == (2, 1)
    assert [serial for serial, _ in bulk.failed] == [first.serial]
    begun, ended = await events(house, AuditTag.BULK_BEGUN), await events(house, AuditTag.BULK_ENDED)
    assert (begun[0].detail["certificates"], ended[0].detail["failed"]) == (3, 1)
    assert second.serial != first.serial


@pytest.mark.parametrize(
    ("action", "filter", "reason", "said"),
    [
        pytest.param(BulkAction.HOLD, CertificateFilter(), None, Malformed, id="everything"),
        pytest.param(BulkAction.REVOKE, CertificateFilter(text="n"), None, Malformed, id="revoke without a reason"),
        pytest.param(
            BulkAction.REVOKE,
            CertificateFilter(text="n"),
            RevocationReason.CERTIFICATE_HOLD,
            BadRevocationReason,
            id="a reason that does not revoke",
        ),
        pytest.param(BulkAction.HOLD, CertificateFilter(text="nothing"), None, Malformed, id="nothing"),
    ],
)
async def test_a_change_that_cannot_be_meant_is_refused(
    house: House, action: BulkAction, filter: CertificateFilter, reason: RevocationReason | None, said: type[Exception]
) -> None:
    """Before anything is changed."""
    await certificates(house, NAMES[0])
    with pytest.raises(said):
        await house.core.lifecycle.bulks.begin(action, filter, 0, ACTOR, reason)


async def test_certificates_are_found_by_every_filter_together(house: House) -> None:
    """Filters combine (W5, W7): names below a domain, state, group, key type, tag, end."""
    principal, (one, other) = await certificates(house, "x.a.certgate.test", "b.certgate.test")
    await house.core.inventory.tag(one.serial, ["web", "team:ops"], ACTOR)
    end = one.not_after

    async def found(**fields: Any) -> list[str]:
        page = await house.core.inventory.find(CertificateFilter(**fields))
        return [each.stored.serial for each in page]

    assert await found(name=".certgate.test", groups=("ops",), key_type="ec-p256") == [other.serial, one.serial]
    assert await found(name=".a.certgate.test") == [one.serial]
    assert await found(name="b.certgate.test", status="valid") == [other.serial]
    assert await found(name=".certgate.test", status="revoked") == []
    assert await found(tag="web", credential=principal.credential.id) == [one.serial]
    assert await found(groups=("nobody",)) == []
    assert await found(expires_before=end) == []
    assert await found(expires_from=end, spki_sha256=other.spki_sha256, owner=other.owner) == [other.serial]
    assert await house.core.inventory.tags([one.serial, other.serial]) == {one.serial: ("team:ops", "web")}
