"""Guards hold or do not hold inside the transaction; certificates, CRLs, audit and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from ca_core.clock import FixedClock
from ca_core.ledger import IssuanceStage, PublishedCRL, RevokedEntry
from ca_core.status import CertificateState, RevocationReason
from gateway.store import SQLiteStore
from policy import store as interface
from policy.account import AccountStatus
from policy.audit import AuditTag, Checkpoint, leaf, read_leaf
from policy.credential import CredentialState
from policy.ids import CredentialId
from policy.product import ProductState
from policy.store import Conflict, Unit
from tests.replacing import replace
from tests.stores import values
from tests.stores.values import NOW, at, inserting, saving

VALID, REVOKED, ON_HOLD = CertificateState.VALID, CertificateState.REVOKED, CertificateState.ON_HOLD


async def holds(store: SQLiteStore, guard: Callable[[Unit], None]) -> bool:
    """Whether a unit with this guard is written; if not, none of it is."""
    unit = Unit()
    guard(unit)
    unit.audit(values.audited("guard:x"))
    before = len(await store.many(interface.AUDIT, 0, 1000))
    try:
        await store.commit(unit)
    except Conflict as conflict:
        assert conflict.statement == unit.steps[0].statement
        assert len(await store.many(interface.AUDIT, 0, 1000)) == before
        return False
    return True


async def test_credential_active(store: SQLiteStore) -> None:
    """Active, begun, not expired; the end is exclusive, the beginning inclusive."""
    one = values.credential(not_before=at(hours=1), expires=at(hours=2))
    await store.commit(inserting(one, *values.holders()))

    async def active(moment: datetime) -> bool:
        return await holds(store, lambda unit: unit.credential_active("c1", moment))

    assert not await active(NOW)
    assert await active(at(hours=1))
    assert not await active(at(hours=2))
    await store.commit(saving(replace(one, state=CredentialState.SUSPENDED, version=2)))
    assert not await active(at(hours=1))
    assert not await holds(store, lambda unit: unit.credential_active("nobody", NOW))


async def test_credential_spend(store: SQLiteStore) -> None:
    """Uses are counted with and without a limit, and a save of the credential leaves the count alone."""
    limited = values.credential(use_limit=2)
    free = values.credential(id=CredentialId("c2"))
    await store.commit(inserting(limited, free, *values.holders()))
    assert [await holds(store, lambda unit: unit.credential_spend("c1", NOW)) for _ in range(3)] == [
        True,
        True,
        False,
    ]
    assert [await holds(store, lambda unit: unit.credential_spend("c2", NOW)) for _ in range(3)] == [True] * 3
    assert await store.one(interface.CREDENTIAL_USES, "c1") == 2
    assert await store.one(interface.CREDENTIAL_USES, "c2") == 3
    await store.commit(saving(replace(limited, use_limit=3, version=2)))
    assert await holds(store, lambda unit: unit.credential_spend("c1", NOW))
    assert not await holds(store, lambda unit: unit.credential_spend("c1", NOW))


async def test_account_product_and_mount(store: SQLiteStore) -> None:
    """A valid account, a product whose newest version is active, a mount that is active."""
    account = values.account()
    await store.commit(inserting(values.credential(), account, values.product(), values.mount()))
    guards: list[Callable[[Unit], None]] = [
        lambda unit: unit.account_valid(account.id),
        lambda unit: unit.product_active("tls-server"),
        lambda unit: unit.mount_active("rest/default"),
    ]
    assert [await holds(store, guard) for guard in guards] == [True] * 3
    await store.commit(
        saving(
            replace(account, status=AccountStatus.DEACTIVATED, version=2),
            values.product(2, state=ProductState.RETIRED),
            values.mount(active=False, version=2),
        )
    )
    assert [await holds(store, guard) for guard in guards] == [False] * 3


async def test_blocked_key(store: SQLiteStore) -> None:
    """A key is blocked for good, also when it is blocked twice."""
    assert await holds(store, lambda unit: unit.key_not_blocked(b"key"))
    for _ in range(2):
        unit = Unit()
        unit.block_key(b"key", "stolen", NOW)
        await store.commit(unit)
    assert not await holds(store, lambda unit: unit.key_not_blocked(b"key"))


async def test_one_issuance_per_order(store: SQLiteStore) -> None:
    """A second intent needs the first to be void; signed is final, and the certificate is unique per order itself."""

    def reserve(number: int) -> Unit:
        unit = Unit()
        unit.reserve(values.issuance("o", number))
        return unit

    def finish(number: int, stage: IssuanceStage) -> Unit:
        unit = Unit()
        unit.finish_issuance(values.serial_of(number), stage)
        return unit

    committed = await store.commit(reserve(1))
    assert committed.covers(values.serial_of(1))
    assert not committed.covers(values.serial_of(2))
    assert await store.many(interface.ISSUANCES_OPEN, 10) == [values.issuance("o", 1)]
    assert await store.one(interface.ISSUANCE_OF_ORDER, "o") == values.issuance("o", 1)
    with pytest.raises(Conflict) as caught:
        await store.commit(reserve(2))
    assert caught.value.index == "issuance_order"
    await store.commit(finish(1, IssuanceStage.VOID))
    await store.commit(reserve(2))
    await store.commit(finish(2, IssuanceStage.SUBMITTED))
    submitted = await store.one(interface.ISSUANCE_OF_ORDER, "o")
    assert submitted is not None
    assert submitted.stage is IssuanceStage.SUBMITTED
    await store.commit(finish(2, IssuanceStage.SIGNED))
    for stage in (IssuanceStage.VOID, IssuanceStage.SIGNED):
        with pytest.raises(Conflict, match="issuance_s"):
            await store.commit(finish(2, stage))
    assert await store.many(interface.ISSUANCES_OPEN, 10) == []
    assert await store.one(interface.ISSUANCE_OF_ORDER, "o") is None


async def test_certificate_comes_back(store: SQLiteStore) -> None:
    """By serial, digest, order, key; a second one with that serial or order is a Conflict."""
    order = values.order()
    unit = inserting(order)
    stored = values.issue(unit, order, 1)
    await store.commit(unit)
    found = (stored, b"certificate 1")
    assert await store.one(interface.CERTIFICATE, stored.serial) == found
    assert await store.one(interface.CERTIFICATE_OF_ORDER, order.id) == found
    assert await store.one(interface.CERTIFICATE, values.serial_of(2)) is None
    for again in (replace(stored, order="o2"), replace(stored, serial=values.serial_of(2))):
        unit = Unit()
        unit.certificate(again, b"der")
        with pytest.raises(Conflict, match=r"certificate_insert: certificate_(serial|order)"):
            await store.commit(unit)


async def test_certificates_without_an_order_do_not_exclude_each_other(store: SQLiteStore) -> None:
    """What the service issues for itself has no order."""
    unit = Unit()
    for number in (1, 2):
        values.issue(unit, values.order(id=""), number)
    await store.commit(unit)
    assert await store.one(interface.CERTIFICATE_OF_ORDER, "") is None


async def test_certificates_by_page(store: SQLiteStore) -> None:
    """Newest first, by credential and by part of a name; what a client has not confirmed is not listed."""
    unit = Unit()
    names = ["a.example.org", "b.example.net", "c.Example.org", "d.example.org"]
    made = []
    for number, name in enumerate(names):
        order = values.order(identifiers=(values.dns(name),), credential=CredentialId(f"c{number % 2}"))
        state = CertificateState.UNCONFIRMED if name.startswith("d") else VALID
        made.append(values.issue(unit, order, number, state=state))
    await store.commit(unit)

    async def found(credential: str, text: str) -> list[int]:
        rows: list[int] = []
        after = ""
        while page := await store.many(interface.CERTIFICATES, credential, text, after, 1):
            ((stored, _),) = page
            rows.append(made.index(stored))
            after = stored.serial
        return rows

    assert await found("", "") == [2, 1, 0]
    assert await found("c0", "") == [2, 0]
    assert await found("", "EXAMPLE.ORG") == [2, 0]
    assert await found("c1", "example.net") == [1]
    assert await found("c0", "example.net") == []


async def test_certificates_of_credential(store: SQLiteStore, clock: FixedClock) -> None:
    """Those that can still be revoked: neither revoked nor expired by the server's clock."""
    unit = Unit()
    made = [values.issue(unit, values.order(), n, not_after=at(hours=n)) for n in range(1, 5)]
    unit.change(values.event(3, REVOKED, RevocationReason.SUPERSEDED), (VALID,))
    unit.change(values.event(4, ON_HOLD, RevocationReason.CERTIFICATE_HOLD), (VALID,))
    await store.commit(unit)
    query = interface.CERTIFICATES_OF_CREDENTIAL
    assert await store.many(query, "c1", "", 2) == [made[0], made[1]]
    assert await store.many(query, "c1", made[1].serial, 2) == [made[3]]
    clock.advance(hours=1)
    assert await store.many(query, "c1", "", 9) == [made[1], made[3]]


async def test_status_changes_only_from_allowed_states(store: SQLiteStore) -> None:
    """A revocation is guarded by the present state and is written down as an event."""
    unit = Unit()
    for number in (1, 2):
        values.issue(unit, values.order(), number, shard=7)
    await store.commit(unit)
    first = await store.one(interface.CERTIFICATE_STATUS, values.serial_of(1))
    assert first is not None
    assert (first.state, first.reason, first.not_after) == (VALID, None, at(days=90))

    async def change(state: CertificateState, reason: RevocationReason | None, *allowed: CertificateState) -> None:
        unit = Unit()
        unit.change(replace(values.event(1, state, reason), invalidity_date=at(hours=-1)), allowed)
        await store.commit(unit)

    await change(ON_HOLD, RevocationReason.CERTIFICATE_HOLD, VALID)
    with pytest.raises(Conflict, match="certificate_status_change"):
        await change(ON_HOLD, RevocationReason.CERTIFICATE_HOLD, VALID)
    held = RevokedEntry(int(values.serial_of(1), 16), NOW, RevocationReason.CERTIFICATE_HOLD, at(days=90), at(hours=-1))
    listed = ("i1", 7, int(NOW.timestamp()))
    assert await store.many(interface.REVOKED, *listed) == [held]
    await change(REVOKED, RevocationReason.KEY_COMPROMISE, VALID, ON_HOLD)
    revoked = replace(held, reason=RevocationReason.KEY_COMPROMISE)
    assert await store.many(interface.REVOKED, *listed) == [revoked]
    assert await store.many(interface.REVOKED, "i1", 6, 0) == []
    assert await store.many(interface.REVOKED, "i1", 7, int(at(days=91).timestamp())) == []
    wanted = f'["{values.serial_of(2)}","{values.serial_of(1)}","none"]'
    states = [one.state for one in await store.many(interface.CERTIFICATE_STATUSES, wanted)]
    assert states == [VALID, REVOKED]


async def test_crl_number_has_to_grow(store: SQLiteStore) -> None:
    """A CRL replaces the one of its shard only with a greater number."""

    async def publish(shard: int, number: int) -> PublishedCRL:
        crl = PublishedCRL("i1", shard, number, b"crl %d" % number, NOW, at(days=1))
        unit = Unit()
        unit.publish_crl(crl)
        await store.commit(unit)
        return crl

    await publish(0, 5)
    other = await publish(1, 1)
    for number in (4, 5):
        with pytest.raises(Conflict, match="crl_publish"):
            await publish(0, number)
    newest = await publish(0, 7)
    assert await store.one(interface.CRL, "i1", 0) == newest
    assert await store.many(interface.CRLS) == [newest, other]


async def test_audit_is_numbered_without_gaps(store: SQLiteStore) -> None:
    """The sequence is given at commit and has no gaps, though units in between are undone."""
    for number in range(4):
        unit = Unit()
        unit.audit(values.audited(f"order:{number % 2}"))
        if number == 1:
            unit.account_valid("nobody")
            with pytest.raises(Conflict):
                await store.commit(unit)
        else:
            await store.commit(unit)
    rows = await store.many(interface.AUDIT, "", 10)
    assert [row.seq for row in rows] == [1, 2, 3]
    assert rows[0].leaf == leaf(values.audited("order:0"))
    assert read_leaf(rows[2].leaf) == values.audited("order:1")
    assert [row.seq for row in await store.many(interface.AUDIT, 1, 1)] == [2]
    assert [row.seq for row in await store.many(interface.AUDIT_OF_OBJECT, "order:0", "1", 9)] == [2]


async def test_checkpoints(store: SQLiteStore) -> None:
    """One per tree size; the last one, and pages."""
    made = [Checkpoint(size, b"r", (b"r",), NOW, "k", b"s") for size in (3, 20, 100)]
    for one in made:
        unit = Unit()
        unit.checkpoint(one)
        await store.commit(unit)
    with pytest.raises(Conflict, match="checkpoint_insert"):
        await store.commit(unit)
    assert await store.one(interface.CHECKPOINT) == made[-1]
    assert await store.many(interface.CHECKPOINTS, "", 2) == made[:2]
    assert await store.many(interface.CHECKPOINTS, 20, 2) == made[2:]


async def test_unaudited_certificates_are_found(store: SQLiteStore) -> None:
    """A certificate without its "issued" event is a finding."""
    unit = Unit()
    for number in (1, 2):
        values.issue(unit, values.order(), number)
    unit.audit(values.audited(f"certificate:{values.serial_of(1)}", AuditTag.CERTIFICATE_ISSUED))
    unit.audit(values.audited(f"certificate:{values.serial_of(2)}", AuditTag.CERTIFICATE_REVOKED))
    await store.commit(unit)
    assert await store.many(interface.UNAUDITED, 10) == [values.serial_of(2)]
