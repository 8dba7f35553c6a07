"""Validation of challenges: tries, retries, and what comes of them for authorizations and orders (RFC 8555 section 8).

A challenge is tried inline for a quarter of a second, so that most clients see "valid" in the answer to their POST;
what takes longer goes on in the background, and as a job of the store should this process end meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.ids import AuthorizationId
from policy.limits import Limits
from policy.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Order,
    OrderEvent,
    OrderStatus,
    StoredProblem,
    advance,
)
from policy.problems import Malformed, OrderConflict, Problem, RateLimited, UnknownOrder, ValidationFailed
from policy.store import (
    ACCOUNT,
    AUTHORIZATION,
    AUTHORIZATIONS,
    ORDERS_OF_AUTHORIZATION,
    Conflict,
    Store,
    Unit,
)
from policy.validation import Attempt, CAAChecker, CAAResolver, Evidence, Validator
from policy.validation.caa import CAAQuery
from policy.validation.challenges import key_authorization

INLINE_SECONDS = 0.25
RETRIES_AFTER_SECONDS = (1.0, 3.0)
"""Pauses before the second and third try: a client may answer before its web server or zone is ready (A7)."""
ATTEMPT_SECONDS = 10.0
RECOVERY_SECONDS = 60
ORDERS_AT_ONCE = 100
VALIDATE_JOB = "validate"


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """`issuer_domains` are the names of this CA in CAA records; `inline_seconds` how long an answer waits."""

    issuer_domains: frozenset[str] = frozenset()
    inline_seconds: float = INLINE_SECONDS
    attempt_seconds: float = ATTEMPT_SECONDS
    retries_after_seconds: tuple[float, ...] = RETRIES_AFTER_SECONDS


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
        self._caa_checker = caa_checker
        self._limits = limits
        self._clock = clock
        self._account_uri = account_uri
        self.settings = settings
        self._running: dict[AuthorizationId, asyncio.Task[None]] = {}

    async def read(self, ids: tuple[AuthorizationId, ...]) -> tuple[Authorization, ...]:
        """The authorizations with these ids, in this order. Raises UnknownOrder when one is gone."""
        found = {one.id: one for one in await self._store.many(AUTHORIZATIONS, msgspec.json.encode(ids).decode())}
        try:
            return tuple(found[one] for one in ids)
        except KeyError as missing:
            raise UnknownOrder("an authorization of the order is gone", authorization=str(missing)) from missing

    async def begin(self, authorization_id: AuthorizationId, method: str, thumbprint: str) -> Authorization:
        """Try a challenge; the authorization as it is after a short while, valid already or going on."""
        task = self._start(authorization_id, method, thumbprint)
        await asyncio.wait({task}, timeout=self.settings.inline_seconds)
        if not task.done():
            await self._mark_processing(authorization_id, method)
        return await self.current(authorization_id)

    def _start(self, authorization_id: AuthorizationId, method: str, thumbprint: str) -> asyncio.Task[None]:
        """The running validation of this authorization, or a new one: never two at once, however often it is asked."""
        task = self._running.get(authorization_id)
        if task is None:
            task = asyncio.create_task(self._validate(authorization_id, method, thumbprint))
            self._running[authorization_id] = task
            task.add_done_callback(lambda _: self._running.pop(authorization_id, None))
        return task

    async def resume(self, authorization_id: str, method: str) -> None:
        """Go on with a challenge that a process left in `processing` (the store's job says so)."""
        authorization = await self._store.one(AUTHORIZATION, authorization_id)
        if authorization is None or authorization.at(self._clock()) is not AuthorizationStatus.PENDING:
            return
        account = await self._store.one(ACCOUNT, authorization.owner)
        if account is None or challenge_of(authorization, method).status is not ChallengeStatus.PROCESSING:
            return
        await self._start(authorization.id, method, account.thumbprint)

    async def drain(self) -> None:
        """Wait for nothing: stop what runs in the background; its jobs are in the store."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _validate(self, authorization_id: AuthorizationId, method: str, thumbprint: str) -> None:
        """All tries of one challenge, and what comes of them."""
        for pause in (*self.settings.retries_after_seconds, None):
            authorization = await self.current(authorization_id)
            if authorization.status is not AuthorizationStatus.PENDING:
                return
            try:
                evidence = await self._attempt(authorization, method, thumbprint)
            except ValidationFailed as problem:
                if pause is None:
                    await self._settle(authorization_id, partial(self._failed, method=method, problem=problem))
                    return
                await self._settle(authorization_id, partial(self._retried, method=method, problem=problem))
                await asyncio.sleep(pause)
            else:
                await self._settle(authorization_id, partial(self._proven, method=method, evidence=evidence))
                return

    async def _attempt(self, authorization: Authorization, method: str, thumbprint: str) -> Evidence:
        """One try: the challenge, and CAA beside it. Raises a kind of ValidationFailed."""
        account_uri = self._account_uri(authorization.mount, authorization.owner)
        token = challenge_of(authorization, method).token
        attempt = Attempt(
            authorization.identifier,
            authorization.wildcard,
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
                    caa = await self.check_caa(authorization, method)
                evidence = await self.validators[method].validate(attempt)
                return replace(evidence, caa=caa) if caa else evidence
        except TimeoutError as late:
            raise ValidationFailed(
                f"validation did not end within {self.settings.attempt_seconds:.0f} seconds"
            ) from late

    async def check_caa(self, authorization: Authorization, method: str | None) -> Mapping[str, Any]:
        """That CAA records of the name permit this CA, account and method; what several perspectives said of it.

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
        if self._caa_checker is not None:
            return await self._caa_checker.check(query)
        query.judge(await self.caa.caa(query.domain))
        return {}

    async def check_caa_again(self, authorization: Authorization, method: str | None) -> None:
        """As `check_caa`, at finalize; where several perspectives were asked, an audit event tells what each said."""
        try:
            told = await self.check_caa(authorization, method)
        except ValidationFailed as problem:
            await self._note_caa(authorization, problem.context.get("corroboration", {}))
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

    async def _settle(self, authorization_id: str, write: Callable[[Authorization, Unit], object]) -> None:
        """Commit an outcome on the newest version of the authorization; nothing when it is not pending any more.

        The orders that wait for it move in the same commit. A guard missed because somebody else wrote meanwhile
        means: read and decide again.
        """
        for _ in range(10):
            authorization = await self.current(authorization_id)
            if authorization.status is not AuthorizationStatus.PENDING:
                return
            unit = Unit()
            outcome = write(authorization, unit)
            if isinstance(outcome, Authorization):
                await self.move_orders(outcome, unit)
            try:
                await self._store.commit(unit)
            except Conflict:
                continue
            return
        raise OrderConflict("the authorization changes too often", authorization=authorization_id)

    def _proven(self, old: Authorization, unit: Unit, *, method: str, evidence: Evidence) -> Authorization:
        now = self._clock()
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
        self._count_failure(old)
        stored = StoredProblem.of(problem)
        new = replace(
            _with(old, replace(challenge_of(old, method), status=ChallengeStatus.INVALID, error=stored)),
            status=AuthorizationStatus.INVALID,
            version=old.version + 1,
        )
        unit.save(new)
        detail = {"identifier": str(old.identifier), "method": method, "problem": problem.kind}
        unit.audit(_event(AuditTag.AUTHORIZATION_INVALID, now, new, detail | _told(problem)))
        return new

    def _retried(self, old: Authorization, unit: Unit, *, method: str, problem: Problem) -> None:
        before = challenge_of(old, method)
        challenge = replace(
            before,
            status=ChallengeStatus.PROCESSING,
            attempts=before.attempts + 1,
            error=StoredProblem.of(problem),
        )
        new = replace(_with(old, challenge), version=old.version + 1)
        unit.save(new)
        unit.schedule(VALIDATE_JOB, f"{old.id}/{method}", self._recovery())
        detail = {"identifier": str(old.identifier), "method": method, "problem": problem.kind}
        unit.audit(_event(AuditTag.CHALLENGE_RETRIED, self._clock(), new, detail | _told(problem)))

    async def _mark_processing(self, authorization_id: AuthorizationId, method: str) -> None:
        def write(old: Authorization, unit: Unit) -> None:
            challenge = challenge_of(old, method)
            if challenge.status is ChallengeStatus.PENDING:
                new = _with(old, replace(challenge, status=ChallengeStatus.PROCESSING))
                unit.save(replace(new, version=old.version + 1))
                unit.schedule(VALIDATE_JOB, f"{old.id}/{method}", self._recovery())

        await self._settle(authorization_id, write)

    def _recovery(self) -> datetime:
        return self._clock() + timedelta(seconds=RECOVERY_SECONDS)

    def _count_failure(self, authorization: Authorization) -> None:
        try:
            key = f"{authorization.owner}/{authorization.identifier.value}"
            self._limits.take("failed_validations_per_account", key, "failed validations")
        except RateLimited:
            return  # the next answer is told

    async def move_orders(self, changed: Authorization, unit: Unit) -> None:
        """Orders that waited for this authorization: ready when all are valid, invalid when it failed."""
        now = self._clock()
        for order in await self._store.many(ORDERS_OF_AUTHORIZATION, changed.id, ORDERS_AT_ONCE):
            if order.status is not OrderStatus.PENDING:
                continue
            if changed.status is AuthorizationStatus.VALID:
                others = [one for one in await self.read(order.authorizations) if one.id != changed.id]
                if all(one.at(now) is AuthorizationStatus.VALID for one in others):
                    unit.save(advance(order, OrderEvent.AUTHORIZE, now))
                    unit.audit(_order_event(AuditTag.ORDER_AUTHORIZED, now, order, {}))
            else:
                error = next((one.error for one in changed.challenges if one.error), None)
                detail = f"{changed.identifier}: {error.detail if error else changed.status}"
                problem = StoredProblem(error.kind if error else "validation-failed", detail, (), changed.identifier)
                unit.save(advance(order, OrderEvent.FAIL, now, problem=problem))
                unit.audit(_order_event(AuditTag.ORDER_FAILED, now, order, {"problem": problem.kind}))


def challenge_of(authorization: Authorization, method: str) -> Challenge:
    """The challenge of this method. Raises Malformed when the authorization has none."""
    for challenge in authorization.challenges:
        if challenge.type == method:
            return challenge
    raise Malformed(f'the authorization has no challenge of type "{method}"')


def _with(authorization: Authorization, challenge: Challenge) -> Authorization:
    return replace(
        authorization,
        challenges=tuple(challenge if one.type == challenge.type else one for one in authorization.challenges),
    )


def _told(problem: Problem) -> dict[str, Any]:
    """What the audit has of a failure: the words, and what each perspective found where several were asked."""
    return {"detail": problem.detail} | _given({"corroboration": problem.context.get("corroboration")})


def _given(detail: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in detail.items() if value}


def _event(tag: AuditTag, at: datetime, authorization: Authorization, detail: dict[str, Any]) -> AuditEvent:
    return AuditEvent(tag, at, f"account:{authorization.owner}", f"authorization:{authorization.id}", detail)


def _order_event(tag: AuditTag, at: datetime, order: Order, detail: dict[str, str]) -> AuditEvent:
    return AuditEvent(tag, at, order.requester, f"order:{order.id}", detail)
