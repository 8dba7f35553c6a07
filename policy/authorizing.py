"""Authorizations of an order: create, answer, expire, reuse, give up (RFC 8555 sections 7.1.4, 7.5, 8).

A challenge is tried inline for a quarter of a second, so that most clients see "valid" in the answer to their POST;
what takes longer goes on in the background, and as a job of the store should this process end meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import msgspec

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.ids import AuthorizationId, new_id
from policy.limits import Limits
from policy.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Identifier,
    Order,
    OrderEvent,
    OrderStatus,
    StoredProblem,
    advance,
)
from policy.problems import (
    Malformed,
    OrderConflict,
    Problem,
    RateLimited,
    RejectedIdentifier,
    UnknownOrder,
    ValidationFailed,
)
from policy.product import Product
from policy.rules.identifiers import covered
from policy.store import (
    ACCOUNT,
    AUTHORIZATION,
    AUTHORIZATION_REUSABLE,
    AUTHORIZATIONS,
    OPEN_ORDERS_OF_CREDENTIAL,
    OPEN_ORDERS_OF_OWNER,
    ORDERS_OF_AUTHORIZATION,
    Conflict,
    Store,
    Unit,
)
from policy.validation import Attempt, CAAResolver, Evidence, Validator
from policy.validation.caa import check_caa
from policy.validation.challenges import key_authorization, methods_for, new_token

INLINE_SECONDS = 0.25
RETRIES_AFTER_SECONDS = (1.0, 3.0)
"""Pauses before the second and third try: a client may answer before its web server or zone is ready (A7)."""
ATTEMPT_SECONDS = 10.0
CAA_FRESH = timedelta(hours=8)
"""How long a CAA look-up may serve (RFC 8555 section 7.4 leaves it open; Baseline Requirements section 3.2.2.8)."""
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


class Authorizing:
    """Makes authorizations, has challenges validated, and moves the orders that waited for them."""

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
    ) -> None:
        """`account_uri` gives the URL of an account (mount key, account id), which CAA records may name (RFC 8657)."""
        self._store = store
        self._catalogue = catalogue
        self._validators = validators
        self._caa = caa
        self._limits = limits
        self._clock = clock
        self._account_uri = account_uri
        self._settings = settings
        self._running: dict[AuthorizationId, asyncio.Task[None]] = {}

    # ----------------------------------------------------------------- creating

    async def authorizations_for(
        self, principal: Principal, product: Product, identifiers: tuple[Identifier, ...], unit: Unit
    ) -> list[Authorization]:
        """One authorization per identifier: reused where the product allows, else new, inserted by the unit.

        Raises RejectedIdentifier when no method of the product can prove an identifier.
        """
        return [await self._authorization_for(principal, product, one, unit) for one in identifiers]

    async def _authorization_for(
        self, principal: Principal, product: Product, identifier: Identifier, unit: Unit
    ) -> Authorization:
        now = self._clock()
        rules = product.validation
        base = Identifier(identifier.type, identifier.base)
        trusted = covered(rules.trusted, identifier)
        if rules.reuse_seconds and not trusted:
            found = await self._reusable(principal.owner, product, identifier)
            if found is not None:
                return found
        methods = [one for one in methods_for(base, identifier.wildcard) if one in rules.methods]
        if trusted:
            methods = methods[:1] or ["dns-01"]
        if not methods:
            raise RejectedIdentifier(
                f'no validation method of product "{product.name}" can prove {identifier}', identifier=identifier
            )
        status = AuthorizationStatus.VALID if trusted else AuthorizationStatus.PENDING
        challenge_status = ChallengeStatus.VALID if trusted else ChallengeStatus.PENDING
        authorization = Authorization(
            id=AuthorizationId(new_id()),
            owner=principal.owner,
            mount=principal.mount,
            identifier=base,
            wildcard=identifier.wildcard,
            status=status,
            created=now,
            expires=now + timedelta(seconds=rules.pending_seconds),
            challenges=tuple(
                Challenge(method, new_token(), challenge_status, now if trusted else None) for method in methods
            ),
            product=product.name,
        )
        unit.insert(authorization)
        return authorization

    async def _reusable(
        self, owner: str, product: Product, identifier: Identifier
    ) -> Authorization | None:
        """A valid authorization of the same owner, product and form of name, proven recently enough (trap T-19)."""
        now = self._clock()
        found = await self._store.one(
            AUTHORIZATION_REUSABLE,
            owner,
            identifier.type,
            identifier.base,
            int(identifier.wildcard),
            int((now + timedelta(hours=1)).timestamp()),
        )
        if found is None or found.product != product.name:
            return None
        proven = max((one.validated for one in found.challenges if one.validated), default=None)
        if proven is None or proven + timedelta(seconds=product.validation.reuse_seconds) < now:
            return None
        return found

    async def read(self, ids: tuple[AuthorizationId, ...]) -> tuple[Authorization, ...]:
        """The authorizations with these ids, in this order. Raises UnknownOrder when one is gone."""
        found = {
            one.id: one for one in await self._store.many(AUTHORIZATIONS, msgspec.json.encode(ids).decode())
        }
        try:
            return tuple(found[one] for one in ids)
        except KeyError as missing:
            raise UnknownOrder("an authorization of the order is gone", authorization=str(missing)) from missing

    # ----------------------------------------------------------------- answering

    async def answer(self, principal: Principal, authorization: Authorization, method: str) -> Authorization:
        """Try the challenge of this method; see RegistrationAuthority.answer."""
        challenge = _challenge(authorization, method)
        if challenge.status not in (ChallengeStatus.PENDING, ChallengeStatus.PROCESSING):
            return authorization
        if authorization.at(self._clock()) is not AuthorizationStatus.PENDING:
            raise Malformed(f'the authorization is "{authorization.at(self._clock())}" and cannot be answered any more')
        self._limits.take(
            "failed_validations_per_account",
            f"{authorization.owner}/{authorization.identifier.value}",
            f'failed validations of "{authorization.identifier.value}"',
            count=False,
        )
        if principal.account is None:
            raise Malformed("challenges are answered by accounts")
        task = self._start(authorization.id, method, principal.account.thumbprint)
        await asyncio.wait({task}, timeout=self._settings.inline_seconds)
        if not task.done():
            await self._mark_processing(authorization.id, method)
        return await self._current(authorization.id)

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
        if account is None or _challenge(authorization, method).status is not ChallengeStatus.PROCESSING:
            return
        await self._start(authorization.id, method, account.thumbprint)

    async def drain(self) -> None:
        """Wait for nothing: stop what runs in the background; its jobs are in the store."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _validate(self, authorization_id: AuthorizationId, method: str, thumbprint: str) -> None:
        """All tries of one challenge, and what comes of them."""
        for pause in (*self._settings.retries_after_seconds, None):
            authorization = await self._current(authorization_id)
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
        token = _challenge(authorization, method).token
        attempt = Attempt(
            authorization.identifier,
            authorization.wildcard,
            method,
            token,
            key_authorization(token, thumbprint),
            account_uri,
        )
        product = await self._catalogue.product(authorization.product)
        try:
            async with asyncio.timeout(self._settings.attempt_seconds):
                if product is not None and product.validation.caa:
                    await self.check_caa(authorization, method)
                return await self._validators[method].validate(attempt)
        except TimeoutError as late:
            raise ValidationFailed(
                f"validation did not end within {self._settings.attempt_seconds:.0f} seconds"
            ) from late

    async def check_caa(self, authorization: Authorization, method: str | None) -> None:
        """That CAA records of the name permit this CA, account and method. Raises ValidationCAA, ValidationDNS."""
        if authorization.identifier.type != "dns":
            return  # RFC 8738 section 6: addresses have no CAA records
        check_caa(
            await self._caa.caa(authorization.identifier.value),
            issuer_domains=self._settings.issuer_domains,
            wildcard=authorization.wildcard,
            method=method,
            account_uri=self._account_uri(authorization.mount, authorization.owner),
        )

    async def check_caa_again(self, authorizations: tuple[Authorization, ...]) -> None:
        """At finalize: every name whose CAA look-up is older than eight hours is looked up again (trap T-8)."""
        now = self._clock()
        for authorization in authorizations:
            product = await self._catalogue.product(authorization.product)
            if product is None or not product.validation.caa:
                continue
            identifier = Identifier(
                authorization.identifier.type,
                ("*." if authorization.wildcard else "") + authorization.identifier.value,
            )
            if covered(product.validation.trusted, identifier):
                continue
            if authorization.caa_checked is None or authorization.caa_checked + CAA_FRESH < now:
                method = next((one.type for one in authorization.challenges if one.validated), None)
                await self.check_caa(authorization, method)

    # ----------------------------------------------------------------- outcomes

    async def _current(self, authorization_id: str) -> Authorization:
        found = await self._store.one(AUTHORIZATION, authorization_id)
        if found is None:
            raise UnknownOrder("there is no such authorization")
        return found

    async def _settle(
        self, authorization_id: str, write: Callable[[Authorization, Unit], object]
    ) -> None:
        """Commit an outcome on the newest version of the authorization; nothing when it is not pending any more.

        The orders that wait for it move in the same commit. A guard missed because somebody else wrote meanwhile
        means: read and decide again.
        """
        for _ in range(10):
            authorization = await self._current(authorization_id)
            if authorization.status is not AuthorizationStatus.PENDING:
                return
            unit = Unit()
            outcome = write(authorization, unit)
            if isinstance(outcome, Authorization):
                await self._move_orders(outcome, unit)
            try:
                await self._store.commit(unit)
            except Conflict:
                continue
            return
        raise OrderConflict("the authorization changes too often", authorization=authorization_id)

    def _proven(self, old: Authorization, unit: Unit, *, method: str, evidence: Evidence) -> Authorization:
        now = self._clock()
        challenge = replace(_challenge(old, method), status=ChallengeStatus.VALID, validated=now, error=None)
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
        unit.audit(_event(AuditTag.AUTHORIZATION_VALID, now, new, detail | {"evidence": evidence.detail}))
        return new

    def _failed(self, old: Authorization, unit: Unit, *, method: str, problem: Problem) -> Authorization:
        now = self._clock()
        self._count_failure(old)
        stored = StoredProblem.of(problem)
        new = replace(
            _with(old, replace(_challenge(old, method), status=ChallengeStatus.INVALID, error=stored)),
            status=AuthorizationStatus.INVALID,
            version=old.version + 1,
        )
        unit.save(new)
        detail = {"identifier": str(old.identifier), "method": method, "problem": problem.kind}
        unit.audit(_event(AuditTag.AUTHORIZATION_INVALID, now, new, detail | {"detail": problem.detail}))
        return new

    def _retried(self, old: Authorization, unit: Unit, *, method: str, problem: Problem) -> None:
        before = _challenge(old, method)
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
        unit.audit(_event(AuditTag.CHALLENGE_RETRIED, self._clock(), new, detail | {"detail": problem.detail}))

    async def _mark_processing(self, authorization_id: AuthorizationId, method: str) -> None:
        def write(old: Authorization, unit: Unit) -> None:
            challenge = _challenge(old, method)
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

    async def _move_orders(self, changed: Authorization, unit: Unit) -> None:
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

    # ----------------------------------------------------------------- giving up

    async def deactivate(self, principal: Principal, authorization: Authorization) -> Authorization:
        """Deactivate (RFC 8555 section 7.5.2): never again sufficient, for no order and no reuse."""
        now = self._clock()
        for _ in range(10):
            if authorization.status not in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
                return authorization
            new = replace(
                authorization, status=AuthorizationStatus.DEACTIVATED, version=authorization.version + 1
            )
            unit = Unit()
            unit.save(new)
            await self._move_orders(new, unit)
            tag = AuditTag.AUTHORIZATION_DEACTIVATED
            unit.audit(AuditEvent(tag, now, str(principal.requester), f"authorization:{new.id}"))
            try:
                await self._store.commit(unit)
            except Conflict:
                authorization = await self._current(authorization.id)
                continue
            return new
        raise OrderConflict("the authorization changes too often", authorization=authorization.id)


def _challenge(authorization: Authorization, method: str) -> Challenge:
    for challenge in authorization.challenges:
        if challenge.type == method:
            return challenge
    raise Malformed(f'the authorization has no challenge of type "{method}"')


def _with(authorization: Authorization, challenge: Challenge) -> Authorization:
    return replace(
        authorization,
        challenges=tuple(challenge if one.type == challenge.type else one for one in authorization.challenges),
    )


def _event(tag: AuditTag, at: datetime, authorization: Authorization, detail: dict[str, str]) -> AuditEvent:
    return AuditEvent(tag, at, f"account:{authorization.owner}", f"authorization:{authorization.id}", detail)


def _order_event(tag: AuditTag, at: datetime, order: Order, detail: dict[str, str]) -> AuditEvent:
    return AuditEvent(tag, at, order.requester, f"order:{order.id}", detail)


async def cancel_open_orders(
    store: Store, now: datetime, *, why: Problem, actor: str, owner: str | None = None, credential: str | None = None
) -> int:
    """End every open order of an owner or credential that is not being signed; how many there were.

    One that is being signed runs into its guards, or is recorded (DESIGN.md section 3).
    """
    query, key = (
        (OPEN_ORDERS_OF_OWNER, owner) if credential is None else (OPEN_ORDERS_OF_CREDENTIAL, credential)
    )
    ended = 0
    while True:
        found = [
            order
            for order in await store.many(query, key, ORDERS_AT_ONCE)
            if order.status is not OrderStatus.PROCESSING
        ]
        if not found:
            return ended
        for order in found:
            unit = Unit()
            unit.save(advance(order, OrderEvent.FAIL, now, problem=StoredProblem.of(why)))
            detail = {"problem": why.kind, "detail": why.detail}
            unit.audit(AuditEvent(AuditTag.ORDER_FAILED, now, actor, f"order:{order.id}", detail))
            try:
                await store.commit(unit)
                ended += 1
            except Conflict:
                continue  # it moved on by itself; the next look tells where to
