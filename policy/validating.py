"""Validation of challenges: tries, retries, and what comes of them for authorizations and orders (RFC 8555 section 8).

A challenge is tried inline for a quarter of a second, so that most clients see "valid" in the answer to their POST;
what takes longer goes on in the background, and as a job of the store should this process end meanwhile. So many go on
at once in this server and for one account; the others wait in the store, as jobs that the worker looks at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from msgspec.structs import replace

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.ids import AuthorizationId
from policy.limits import Limits
from policy.order import (
    Authorization,
    AuthorizationStatus,
    ChallengeStatus,
    StoredProblem,
    challenge_of,
    with_challenge,
)
from policy.pausing import Pausing
from policy.problems import OrderConflict, Problem, UnknownOrder, ValidationFailed
from policy.store import ACCOUNT, AUTHORIZATION, Conflict, Store, Unit
from policy.validation import Attempt, CAAChecker, CAAResolver, Evidence, Validator
from policy.validation.caa import CAAQuery
from policy.validation.challenges import HTTP_01, TLS_ALPN_01, credential_thumbprint, key_authorization
from policy.waiting import WaitingOrders

_log = structlog.get_logger("certgate.validating")

INLINE_SECONDS = 0.25
RETRIES_AFTER_SECONDS = (1.0, 3.0)
"""Pauses before the second and third try: a client may answer before its web server or zone is ready (A7)."""
ATTEMPT_SECONDS = 10.0
RECOVERY_SECONDS = 60
"""How long after it began a validation is looked at by its job: it has ended, or its process has."""
QUEUE_SECONDS = 2
RUNNING_AT_ONCE = 100
RUNNING_PER_OWNER = 20
"""One account, whose targets may all hang, leaves room for others; 20 is more than a client answers at a time."""
VALIDATE_JOB = "validate"
_CONNECTING = frozenset({HTTP_01, TLS_ALPN_01})


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """`issuer_domains` are the names of this CA in CAA records; `inline_seconds` how long an answer waits.

    `running_at_once` validations go on in this server, `running_per_owner` of them for one account.
    """

    issuer_domains: frozenset[str] = frozenset()
    inline_seconds: float = INLINE_SECONDS
    attempt_seconds: float = ATTEMPT_SECONDS
    retries_after_seconds: tuple[float, ...] = RETRIES_AFTER_SECONDS
    running_at_once: int = RUNNING_AT_ONCE
    running_per_owner: int = RUNNING_PER_OWNER


class Validating:
    """Has challenges validated, and moves the orders that waited for them."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        validators: Mapping[str, Validator],
        caa: CAAResolver,
        limits: Limits,
        clock: Clock,
        account_uri: Callable[[str, str], str],
        settings: ValidationSettings,
        caa_checker: CAAChecker | None = None,
    ) -> None:
        """`account_uri` gives the URL of an account (mount key, account id), which CAA records may name (RFC 8657).

        `caa_checker` decides about CAA instead of one look with `caa`, where several perspectives have to agree.
        """
        self._store = store
        self._catalogue = catalogue
        self.validators = validators
        self.caa = caa
        self.caa_checker = caa_checker
        self._pausing = Pausing(limits)
        self._clock = clock
        self._account_uri = account_uri
        self.settings = settings
        self.waiting = WaitingOrders(store, clock)
        self.read = self.waiting.read
        self._running: dict[AuthorizationId, asyncio.Task[Authorization]] = {}
        self._about: dict[AuthorizationId, tuple[str, str]] = {}
        """Owner and method of what is running."""

    async def begin(self, authorization: Authorization, method: str, thumbprint: str) -> Authorization:
        """Try a challenge; the authorization as it is after a short while, valid already or going on.

        Raises Unavailable when the store cannot write.
        """
        if not self._room(authorization):
            return await self._mark_processing(authorization, method, QUEUE_SECONDS)
        task = self._start(authorization, method, thumbprint)
        if await _ends_within(task, self.settings.inline_seconds):
            return await self.current(authorization.id) if task.cancelled() else task.result()
        authorization = await self.current(authorization.id)
        # Where another method is being tried, nobody tries this one; its outcome decides (section 7.1.6).
        if self._about.get(authorization.id) == (authorization.owner, method):
            return await self._mark_processing(authorization, method, RECOVERY_SECONDS)
        return authorization

    def _room(self, authorization: Authorization) -> bool:
        """Whether the validation of this authorization is running, or may begin."""
        if authorization.id in self._running:
            return True
        if len(self._about) < min(self.settings.running_at_once, self.settings.running_per_owner):
            return True
        owners = [owner for owner, _ in self._about.values()]
        return (
            len(owners) < self.settings.running_at_once
            and owners.count(authorization.owner) < self.settings.running_per_owner
        )

    def _start(self, authorization: Authorization, method: str, thumbprint: str) -> asyncio.Task[Authorization]:
        """The running validation of this authorization, or a new one: never two at once, however often it is asked."""
        task = self._running.get(authorization.id)
        if task is None:
            task = asyncio.create_task(self._validate(authorization, method, thumbprint))
            self._running[authorization.id] = task
            self._about[authorization.id] = authorization.owner, method
            task.add_done_callback(partial(self._ended, authorization.id))
        return task

    def _ended(self, authorization_id: AuthorizationId, task: asyncio.Task[Authorization]) -> None:
        del self._running[authorization_id]
        del self._about[authorization_id]
        if not task.cancelled() and (fault := task.exception()) is not None:
            # Its job tries again, or the client does.
            _log.warning(
                "a validation was interrupted", object=authorization_id, fault=f"{type(fault).__name__}: {fault}"
            )

    async def resume(self, authorization_id: str, method: str) -> int | None:
        """Have a challenge tried that is in `processing` and that nobody tries (the store's job says so).

        The seconds after which its job looks again, None when there is nothing more to do. Does not wait for it.
        """
        authorization = await self._store.one(AUTHORIZATION, authorization_id)
        if authorization is None or authorization.at(self._clock()) is not AuthorizationStatus.PENDING:
            return None
        thumbprint = await self._thumbprint(authorization.owner)
        if thumbprint is None or challenge_of(authorization, method).status is not ChallengeStatus.PROCESSING:
            return None
        if not self._room(authorization):
            return QUEUE_SECONDS
        self._start(authorization, method, thumbprint)
        return RECOVERY_SECONDS

    async def _thumbprint(self, owner: str) -> str | None:
        """What the answers of this owner are bound to; None when there is no such owner."""
        if (account := await self._store.one(ACCOUNT, owner)) is not None:
            return account.thumbprint
        credential = await self._catalogue.credential(owner)
        return None if credential is None else credential_thumbprint(credential.id)

    async def drain(self) -> None:
        """Wait for nothing: stop what runs in the background; its jobs are in the store."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _validate(self, authorization: Authorization, method: str, thumbprint: str) -> Authorization:
        """All tries of one challenge, and what comes of them: the authorization as it is then."""
        for pause in (*self.settings.retries_after_seconds, None):
            if authorization.status is not AuthorizationStatus.PENDING:
                break
            try:
                evidence = await self._attempt(authorization, method, thumbprint)
            except ValidationFailed as problem:
                if pause is None:
                    return await self._settle(authorization, partial(self._failed, method=method, problem=problem))
                await self._settle(authorization, partial(self._retried, method=method, problem=problem))
                await asyncio.sleep(pause)
                authorization = await self.current(authorization.id)
            else:
                return await self._settle(authorization, partial(self._proven, method=method, evidence=evidence))
        return authorization

    async def _attempt(self, authorization: Authorization, method: str, thumbprint: str) -> Evidence:
        """One try: the challenge, and CAA beside it. Raises a kind of ValidationFailed."""
        account_uri = self._account_uri(authorization.mount, authorization.owner)
        token = challenge_of(authorization, method).token
        attempt = Attempt(
            authorization.identifier,
            # Who may have every name below a domain may have its wildcard, and the other way round.
            authorization.wildcard or authorization.subdomains,
            method,
            token,
            key_authorization(token, thumbprint),
            account_uri,
        )
        product = await self._catalogue.product(authorization.product)
        caa: Mapping[str, Any] = {}
        try:
            async with asyncio.timeout(self.settings.attempt_seconds):
                if product is not None and product.validation.caa:
                    caa = await self.check_caa(authorization, method, connects=method in _CONNECTING)
                evidence = await self.validators[method].validate(attempt)
                return replace(evidence, caa=caa) if caa else evidence
        except ValidationFailed as problem:
            if caa:
                problem.context["caa"] = caa
            raise
        except TimeoutError as late:
            raise ValidationFailed(
                f"validation did not end within {self.settings.attempt_seconds:.0f} seconds"
            ) from late
        except Exception as fault:  # a mistake of ours, or an answer that nobody thought of: it is no proof
            _log.error("a validator failed", method=method, identifier=str(attempt.identifier), exc_info=fault)
            raise ValidationFailed("internal error in validation") from fault

    async def check_caa(
        self, authorization: Authorization, method: str | None, *, connects: bool = False
    ) -> Mapping[str, Any]:
        """That CAA records of the name permit this CA, account and method; what several perspectives said of it.

        `connects` says that the method is tried right after, by a connection to the name.
        Raises ValidationCAA, ValidationDNS, and ValidationFailed where perspectives do not agree.
        """
        if authorization.identifier.type != "dns":
            return {}  # RFC 8738 section 6: addresses have no CAA records
        query = CAAQuery(
            domain=authorization.identifier.value,
            issuer_domains=tuple(sorted(self.settings.issuer_domains)),
            wildcard=authorization.wildcard,
            method=method,
            account_uri=self._account_uri(authorization.mount, authorization.owner),
        )
        if self.caa_checker is not None:
            return await self.caa_checker.check(query)
        query.judge(await self.caa.caa(query.domain, addresses=connects))
        return {}

    async def check_caa_again(self, authorization: Authorization, method: str | None) -> None:
        """As `check_caa`, at finalize; where several perspectives were asked, an audit event tells what each said."""
        try:
            told = await self.check_caa(authorization, method)
        except ValidationFailed as problem:
            await self._note_caa(authorization, problem.context.get("caa", {}))
            raise
        await self._note_caa(authorization, told)

    async def _note_caa(self, authorization: Authorization, told: Mapping[str, Any]) -> None:
        if not told:
            return
        unit = Unit()
        detail = {"identifier": str(authorization.identifier), "caa": told}
        unit.audit(_event(AuditTag.CAA_CHECKED, self._clock(), authorization, detail))
        await self._store.commit(unit)

    # ----------------------------------------------------------------- outcomes

    async def current(self, authorization_id: str) -> Authorization:
        """The authorization as it is stored now. Raises UnknownOrder."""
        found = await self._store.one(AUTHORIZATION, authorization_id)
        if found is None:
            raise UnknownOrder("there is no such authorization")
        return found

    async def _settle(
        self, authorization: Authorization, write: Callable[[Authorization, Unit], Authorization | None]
    ) -> Authorization:
        """Commit an outcome on the newest version of the authorization, and give it back.

        Nothing is written when it is not pending any more, or `write` says None. The orders that wait for it move in
        the same commit. A guard missed because somebody else wrote meanwhile means: read and decide again.
        """
        for _ in range(10):
            if authorization.status is not AuthorizationStatus.PENDING:
                return authorization
            unit = Unit()
            outcome = write(authorization, unit)
            if outcome is None:
                return authorization
            # While it is pending, so is what waits for it.
            decided = outcome.status is not AuthorizationStatus.PENDING
            waits = decided and await self.waiting.move(outcome, unit)
            try:
                await self._store.commit(unit)
            except Conflict:
                authorization = await self.current(authorization.id)
                continue
            if waits:
                await self.waiting.look_again(outcome.id)
            return outcome
        raise OrderConflict("the authorization changes too often", authorization=authorization.id)

    def _proven(self, old: Authorization, unit: Unit, *, method: str, evidence: Evidence) -> Authorization:
        now = self._clock()
        self._pausing.proven(old)
        challenge = replace(challenge_of(old, method), status=ChallengeStatus.VALID, validated=now, error=None)
        # The others are moot; showing only the one that counted is what RFC 8555 section 7.1.4 describes.
        new = replace(
            old,
            status=AuthorizationStatus.VALID,
            challenges=(challenge,),
            caa_checked=now,
            version=old.version + 1,
        )
        unit.save(new)
        detail = {"identifier": str(old.identifier), "method": method, "target": evidence.target}
        more = {"evidence": evidence.detail, "corroboration": evidence.corroboration, "caa": evidence.caa}
        unit.audit(_event(AuditTag.AUTHORIZATION_VALID, now, new, detail | _given(more)))
        return new

    def _failed(self, old: Authorization, unit: Unit, *, method: str, problem: Problem) -> Authorization:
        now = self._clock()
        self._pausing.failed(old, problem, now, unit)
        error = StoredProblem.of(problem)
        failed = with_challenge(old, replace(challenge_of(old, method), status=ChallengeStatus.INVALID, error=error))
        new = replace(failed, status=AuthorizationStatus.INVALID, version=old.version + 1)
        unit.save(new)
        detail = {"identifier": str(old.identifier), "method": method, "problem": problem.kind}
        unit.audit(_event(AuditTag.AUTHORIZATION_INVALID, now, new, detail | _told(problem)))
        return new

    def _retried(self, old: Authorization, unit: Unit, *, method: str, problem: Problem) -> Authorization:
        before = challenge_of(old, method)
        challenge = replace(
            before,
            status=ChallengeStatus.PROCESSING,
            attempts=before.attempts + 1,
            error=StoredProblem.of(problem),
        )
        new = replace(with_challenge(old, challenge), version=old.version + 1)
        unit.save(new)
        unit.schedule(VALIDATE_JOB, f"{old.id}/{method}", self._in(RECOVERY_SECONDS))
        detail = {"identifier": str(old.identifier), "method": method, "problem": problem.kind}
        unit.audit(_event(AuditTag.CHALLENGE_RETRIED, self._clock(), new, detail | _told(problem)))
        return new

    async def _mark_processing(self, authorization: Authorization, method: str, seconds: int) -> Authorization:
        def write(old: Authorization, unit: Unit) -> Authorization | None:
            challenge = challenge_of(old, method)
            if challenge.status is not ChallengeStatus.PENDING:
                return None
            new = with_challenge(old, replace(challenge, status=ChallengeStatus.PROCESSING))
            new = replace(new, version=old.version + 1)
            unit.save(new)
            unit.schedule(VALIDATE_JOB, f"{old.id}/{method}", self._in(seconds))
            return new

        return await self._settle(authorization, write)

    def _in(self, seconds: int) -> datetime:
        return self._clock() + timedelta(seconds=seconds)


async def _ends_within(task: asyncio.Task[Any], seconds: float) -> bool:
    """Wait for a task, at most so long; whether it has ended. Never raises what it raised, and never cancels it."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiting.done():
            waiting.set_result(None)

    timer = loop.call_later(seconds, wake)
    task.add_done_callback(wake)
    try:
        await waiting
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
    return task.done()


def _told(problem: Problem) -> dict[str, Any]:
    """What the audit has of a failure: the words, and what each perspective found where several were asked."""
    return {"detail": problem.detail} | _given({key: problem.context.get(key) for key in ("corroboration", "caa")})


def _given(detail: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in detail.items() if value}


def _event(tag: AuditTag, at: datetime, authorization: Authorization, detail: dict[str, Any]) -> AuditEvent:
    return AuditEvent(tag, at, f"account:{authorization.owner}", f"authorization:{authorization.id}", detail)
