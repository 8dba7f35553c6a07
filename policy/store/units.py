"""Unit: guards and writes that happen together or not at all."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ca_core.clock import epoch_seconds
from ca_core.issuance import IssuedCertificate
from ca_core.ledger import CertificateEvent, Issuance, IssuanceStage, PublishedCRL, serial_hex
from ca_core.status import CertificateState
from policy.account import Group
from policy.audit import AuditEvent, Checkpoint, leaf
from policy.domain import Domain
from policy.mount import Mount
from policy.product import Product
from policy.roles import Role
from policy.sealing import fingerprint
from policy.store.tables import TABLES, Entity, Value
from policy.store.values import (
    Block,
    Demand,
    Job,
    OneTimeCode,
    Pause,
    ServiceKey,
    StoredAuthority,
    StoredCertificate,
)

REPLAY_SECONDS = 15 * 60
"""How long after its end an order still answers to its client's reference (a lost answer is asked for again)."""

_encode = msgspec.json.Encoder().encode
_LISTED = Product | Mount | ServiceKey | StoredAuthority | Block | Group | Role


class Step(msgspec.Struct):
    """One statement of a unit. A guard (`must`) has to return or change exactly one row."""

    statement: str
    parameters: tuple[Value, ...]
    must: bool


class Committed(msgspec.Struct, frozen=True):
    """Proof that a unit is on disk; ca_core asks it before it signs (`covers`)."""

    intents: frozenset[str]
    epoch: int

    def covers(self, intent: str) -> bool:
        """Whether the issuance with this identifier was reserved in the unit."""
        return intent in self.intents


class Unit:
    """Guards and writes that happen together or not at all. Serialises: statement names and plain parameters only.

    It is also the `Ledger` of ca_core, which appends to it what a CA must have written down.
    """

    __slots__ = ("_recorded", "configuration", "intents", "steps")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.intents: list[str] = []
        self._recorded: dict[int, IssuedCertificate] = {}
        self.configuration = False
        """Whether the unit changes what caches hold: the commit then raises the configuration epoch."""

    def must(self, statement: str, *parameters: Value) -> None:
        """Append a guard: a statement that has to return or change exactly one row."""
        self.steps.append(Step(statement, parameters, True))

    def write(self, statement: str, *parameters: Value) -> None:
        """Append a write, whatever number of rows it changes."""
        self.steps.append(Step(statement, parameters, False))

    # -- entities: `insert` a first version, `save` the next one (a guard: the version before must be there)

    def insert(self, entity: Entity) -> None:
        """Write a new entity. A taken key or unique value is a Conflict."""
        table, columns, _ = TABLES[type(entity)]
        self.configuration |= isinstance(entity, _LISTED)  # a new account or credential makes nothing stale
        self.write(f"{table}_insert", *columns(entity), entity.version, _encode(entity).decode())

    def save(self, entity: Entity) -> None:
        """Write the next version of an entity; the version before it must be the stored one, else Conflict."""
        table, columns, cached = TABLES[type(entity)]
        self.configuration |= cached
        self.must(f"{table}_save", *columns(entity), entity.version, _encode(entity).decode())

    # -- guards

    def credential_active(self, credential: str, now: datetime) -> None:
        """The credential is active, begun and not expired, now, inside the transaction."""
        self.must("credential_active", credential, epoch_seconds(now))

    def credential_spend(self, credential: str, now: datetime) -> None:
        """As credential_active, and one use of its use limit is taken."""
        self.must("credential_spend", credential, epoch_seconds(now))

    def code_spend(self, code: str | None, order: str, now: datetime) -> None:
        """The one-time code with this hash, if there is one, is unused and has not expired; the order uses it up."""
        if code is not None:
            self.must("one_time_code_spend", code, order, epoch_seconds(now))

    def account_valid(self, account: str) -> None:
        """The ACME account is valid."""
        self.must("account_valid", account)

    def authorizations_valid(self, ids: tuple[str, ...], now: datetime) -> None:
        """Every one of these authorizations is valid and has not expired, now, inside the transaction."""
        if ids:
            self.must("authorizations_valid", msgspec.json.encode(ids).decode(), epoch_seconds(now))

    def certificate_valid(self, serial: str) -> None:
        """The certificate is neither revoked nor on hold nor unconfirmed."""
        self.must("certificate_valid", serial)

    def not_account_key(self, spki: bytes) -> None:
        """No ACME account has this key (RFC 8555 section 11.1)."""
        self.must("not_account_key", fingerprint(spki))

    def account_key_fresh(self, spki: bytes) -> None:
        """No account with this key was stopped, at whatever mount: a revoked credential's key never comes back."""
        self.must("account_key_fresh", fingerprint(spki))

    def product_active(self, product: str) -> None:
        """The newest version of the product is active."""
        self.must("product_active", product)

    def mount_active(self, mount: str) -> None:
        """The mount is there and active."""
        self.must("mount_active", mount)

    def reference_free(self, mount: str, credential: str, reference: str, now: datetime) -> None:
        """No order answers to this reference: none that is open, none that ended within the replay window."""
        self.must("reference_free", mount, credential, reference, epoch_seconds(now) - REPLAY_SECONDS)

    def not_replaced(self, serial: str) -> None:
        """No order that is open or valid replaces this certificate (RFC 9773 section 5)."""
        self.must("not_replaced", serial)

    def key_not_blocked(self, spki: bytes) -> None:
        """The public key is not on the list of blocked keys."""
        self.must("key_not_blocked", fingerprint(spki))

    def not_blocked(self, subjects: str, now: datetime) -> None:
        """None of these subjects (a JSON array, see policy.blocking) is blocked now."""
        self.must("not_blocked", subjects, epoch_seconds(now))

    # -- audit

    def audit(self, event: AuditEvent) -> None:
        """Append an event to the audit stream, which is the outbox as well."""
        self.write("audit_append", epoch_seconds(event.at), event.tag, event.object, leaf(event))

    # -- Ledger of ca_core

    def reserve(self, issuance: Issuance) -> None:
        """Write the intent to sign: serial, TBS, order. One per order, by index."""
        self.intents.append(issuance.id)
        self.write("issuance_insert", issuance.id, issuance.order, issuance.stage, _encode(issuance).decode())

    def finish_issuance(self, issuance_id: str, stage: IssuanceStage) -> None:
        """Move an issuance on, or end it as signed or void; a Conflict when somebody else ended it."""
        if stage is IssuanceStage.SIGNED:
            self.must("issuance_signed", issuance_id)
        else:
            self.must("issuance_stage", issuance_id, stage)

    def record(self, certificate: IssuedCertificate) -> None:
        """ca_core's half of commit 2: the issuance is signed; `certificate()` writes the row with the order's facts."""
        self._recorded[certificate.serial] = certificate
        self.finish_issuance(serial_hex(certificate.serial), IssuanceStage.SIGNED)

    def certificate(self, stored: StoredCertificate, der: bytes) -> None:
        """Write a certificate with the facts of its order."""
        self.write(
            "certificate_insert",
            stored.serial,
            stored.issuer_id,
            stored.order,
            stored.credential,
            epoch_seconds(stored.not_after),
            " ".join(str(name) for name in stored.names) or " ".join(value for _, value in stored.subject),
            _encode(stored).decode(),
            der,
        )

    def change(self, event: CertificateEvent, allowed: tuple[CertificateState, ...]) -> None:
        """Change a certificate's state; a Conflict unless it is in one of the allowed states.

        Without allowed states it is the first one, of a certificate that this very unit records.
        """
        serial = serial_hex(event.serial)
        if not allowed:
            issued = self._recorded[event.serial]
            self.write(
                "certificate_status_insert",
                serial,
                event.issuer_id,
                issued.shard,
                event.state,
                epoch_seconds(event.at),
                epoch_seconds(issued.not_after),
            )
            return
        invalidity = epoch_seconds(event.invalidity_date) if event.invalidity_date else None
        reason = event.reason.value if event.reason else None
        at = epoch_seconds(event.at)
        self.must(
            "certificate_status_change",
            serial,
            event.issuer_id,
            event.state,
            reason,
            at,
            invalidity,
            msgspec.json.encode(allowed).decode(),
        )
        self.write("certificate_event_append", serial, event.issuer_id)

    def publish_crl(self, crl: PublishedCRL) -> None:
        """Replace the CRL of a shard; its number must be greater than the one before."""
        self.must(
            "crl_publish",
            crl.issuer_id,
            crl.shard,
            crl.number,
            crl.der,
            epoch_seconds(crl.this_update),
            epoch_seconds(crl.next_update),
        )

    # -- the rest

    def block_key(self, spki: bytes, reason: str, at: datetime) -> None:
        """Never again a certificate for this public key."""
        self.write("key_block", fingerprint(spki), reason, epoch_seconds(at))

    def pause(self, pause: Pause) -> None:
        """Let an account order this name no more; one that is there already stays as it is."""
        identifier = pause.identifier
        self.write("pause_put", pause.owner, identifier.type, identifier.value, _encode(pause).decode())

    def unpause(self, pause: Pause) -> None:
        """Let it be ordered again; a Conflict when somebody else did."""
        self.must("pause_remove", pause.owner, pause.identifier.type, pause.identifier.value)

    def claim(self, scope: str, key: str, digest: str, now: datetime, *, lease: int, keep: int) -> None:
        """Begin to serve a request under an idempotency key; a Conflict when it is known. `lease`, `keep`: seconds."""
        at = epoch_seconds(now)
        self.must("idempotency_claim", scope, key, digest, at + lease, at + keep, at)
        self.write("idempotency_sweep", at)

    def keep_answer(self, scope: str, key: str, answer: bytes) -> None:
        """Keep the answer to the request that was claimed."""
        self.write("idempotency_keep", scope, key, answer)

    def release(self, scope: str, key: str) -> None:
        """Give a claim back: nothing came of the request."""
        self.write("idempotency_release", scope, key)

    def once(self, scope: str, value: str, now: datetime, until: datetime) -> None:
        """Use a value up until then; a Conflict when it was before."""
        self.must("spent_claim", scope, value, epoch_seconds(until), epoch_seconds(now))
        self.write("spent_sweep", epoch_seconds(now))

    def put_code(self, code: OneTimeCode, keep_from: datetime) -> None:
        """Let one certificate be enrolled with a code; codes that expired before `keep_from` are forgotten."""
        self.write("one_time_codes_forget", epoch_seconds(keep_from))
        body = _encode(code).decode()
        self.write("one_time_code_insert", code.hash, code.credential, epoch_seconds(code.expires), body)

    def save_domain(self, domain: Domain) -> None:
        """Write the next version of a domain; the version before it must be the stored one, else Conflict."""
        self.configuration = True
        self.must("domain_save", domain.group, domain.name, domain.version, _encode(domain).decode())

    def put_domain(self, domain: Domain) -> None:
        """Write a domain of a group, in place of one that is there."""
        self.configuration = True
        self.write("domain_put", domain.group, domain.name, _encode(domain).decode())

    def remove_domain(self, group: str, name: str) -> None:
        """Forget a pre-validated domain; a Conflict when there is none."""
        self.configuration = True
        self.must("domain_remove", group, name)

    def demand(self, demand: Demand) -> None:
        """Have certificates renewed before their time; a new demand replaces the one on the same object."""
        self.write("demand_put", demand.object, _encode(demand).decode())

    def withdraw(self, object: str) -> None:
        """Take a demand back; a Conflict when there is none."""
        self.must("demand_remove", object)

    def put_document(self, document_id: str, order: str, content: bytes) -> None:
        """Keep a document of an order as it was handed in."""
        self.write("document_insert", document_id, order, content)

    def tag(self, serial: str, tags: tuple[str, ...]) -> None:
        """Give a certificate these tags and no others."""
        self.write("tags_clear", serial)
        for one in tags:
            self.write("tag_put", one, serial)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a signed checkpoint; one per tree size."""
        self.write("checkpoint_insert", checkpoint.size, _encode(checkpoint).decode())

    def schedule(self, kind: str, of: str, due: datetime | None) -> None:
        """Have a job done at `due`, or earlier when it is due earlier already; with None no more, if nobody has it."""
        if due is None:
            self.write("job_remove", kind, of)
        else:
            self.write("job_schedule", kind, of, epoch_seconds(due))

    def schedule_if_blocked(self, kind: str, spki_sha256: str, due: datetime) -> None:
        """As schedule, but only when this key is blocked."""
        self.write("job_schedule_if_blocked", kind, spki_sha256, epoch_seconds(due))

    def job_done(self, job: Job) -> None:
        """Remove a job, if its lease is still ours."""
        self.must("job_done", job.kind, job.object, job.fence)
        self.write("job_forget", job.kind, job.object)  # unless it was scheduled again in the meantime

    def job_again(self, job: Job, due: datetime) -> None:
        """Give a job back, to be done at `due`, if its lease is still ours."""
        self.must("job_again", job.kind, job.object, job.fence, epoch_seconds(due))
