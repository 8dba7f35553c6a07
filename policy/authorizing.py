"""Authorizations of an order: create, answer, reuse, give up (RFC 8555 sections 7.1.4 and 7.5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

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
    OrderEvent,
    StoredProblem,
    advance,
)
from policy.problems import Malformed, OrderConflict, Problem, RejectedIdentifier, ValidationFailed
from policy.product import Product
from policy.rules.identifiers import covered
from policy.store import (
    AUTHORIZATION_REUSABLE,
    OPEN_ORDERS_OF_CREDENTIAL,
    OPEN_ORDERS_OF_OWNER,
    Conflict,
    Store,
    Unit,
)
from policy.validating import Validating, challenge_of
from policy.validation.challenges import methods_for, new_token
from policy.waiting import ORDERS_AT_ONCE

CAA_FRESH = timedelta(hours=8)
"""How long a CAA look-up may serve (RFC 8555 section 7.4 leaves it open; Baseline Requirements section 3.2.2.8)."""


class Authorizing:
    """Makes authorizations, takes answers to their challenges, and gives them up."""

    def __init__(
        self, store: Store, catalogue: Catalogue, validating: Validating, limits: Limits, clock: Clock
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._validating = validating
        self.read = validating.read
        self._limits = limits
        self._clock = clock

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
            trusted=trusted,
            product=product.name,
        )
        unit.insert(authorization)
        return authorization

    async def _reusable(self, owner: str, product: Product, identifier: Identifier) -> Authorization | None:
        """A valid authorization of the same owner, product and form of name, proven recently enough (trap T-19)."""
        now = self._clock()
        found = await self._store.many(
            AUTHORIZATION_REUSABLE,
            owner,
            identifier.type,
            identifier.base,
            int(identifier.wildcard),
            int((now + timedelta(hours=1)).timestamp()),
        )
        oldest = now - timedelta(seconds=product.validation.reuse_seconds)
        return next((one for one in found if _proves(one, product, oldest)), None)

    # ----------------------------------------------------------------- answering

    async def answer(self, principal: Principal, authorization: Authorization, method: str) -> Authorization:
        """Try the challenge of this method; see RegistrationAuthority.answer."""
        challenge = challenge_of(authorization, method)
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
        return await self._validating.begin(authorization, method, principal.account.thumbprint)

    async def check_caa_again(self, authorizations: tuple[Authorization, ...]) -> None:
        """At finalize: every name whose CAA look-up is older than eight hours is looked up again (trap T-8).

        All at once, within the time of one attempt. Raises what the first of them in the order raises, ValidationFailed
        when time is over.
        """
        due = await self._caa_due(authorizations)
        if not due:
            return
        seconds = self._validating.settings.attempt_seconds
        try:
            async with asyncio.timeout(seconds):
                looked = (self._validating.check_caa_again(one, method) for one, method in due)
                # Each is waited for, so that none goes on when the answer is given.
                outcomes = await asyncio.gather(*looked, return_exceptions=True)
        except TimeoutError as late:
            raise ValidationFailed(f"CAA records could not be looked up within {seconds:.0f} seconds") from late
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _caa_due(self, authorizations: tuple[Authorization, ...]) -> list[tuple[Authorization, str | None]]:
        """The authorizations whose CAA look-up is too old, and how each was proven."""
        now = self._clock()
        due: list[tuple[Authorization, str | None]] = []
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
                due.append((authorization, method))
        return due

    # ----------------------------------------------------------------- giving up

    async def deactivate(self, principal: Principal, authorization: Authorization) -> Authorization:
        """Deactivate (RFC 8555 section 7.5.2): never again sufficient, for no order and no reuse."""
        now = self._clock()
        for _ in range(10):
            if authorization.status not in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
                return authorization
            new = replace(authorization, status=AuthorizationStatus.DEACTIVATED, version=authorization.version + 1)
            unit = Unit()
            unit.save(new)
            await self._validating.waiting.move(new, unit)
            tag = AuditTag.AUTHORIZATION_DEACTIVATED
            unit.audit(AuditEvent(tag, now, str(principal.requester), f"authorization:{new.id}"))
            try:
                await self._store.commit(unit)
            except Conflict:
                authorization = await self._validating.current(authorization.id)
                continue
            return new
        raise OrderConflict("the authorization changes too often", authorization=authorization.id)


def _proves(authorization: Authorization, product: Product, oldest: datetime) -> bool:
    """Whether an authorization is a proof by a method that this product takes, not older than that."""
    return (
        authorization.product == product.name
        and not authorization.trusted
        and any(
            one.validated is not None and one.validated >= oldest and one.type in product.validation.methods
            for one in authorization.challenges
        )
    )


async def cancel_open_orders(
    store: Store, now: datetime, *, why: Problem, actor: str, owner: str | None = None, credential: str | None = None
) -> int:
    """End every open order of an owner or credential that is not being signed; how many there were.

    One that is being signed runs into its guards, or is recorded.
    """
    query, key = (OPEN_ORDERS_OF_OWNER, owner) if credential is None else (OPEN_ORDERS_OF_CREDENTIAL, credential)
    ended = 0
    while True:
        found = await store.many(query, key, ORDERS_AT_ONCE)
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
