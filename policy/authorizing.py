"""Authorizations of an order: create, answer, reuse, give up (RFC 8555 sections 7.1.4 and 7.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.domain import Domain
from policy.ids import AuthorizationId, new_id
from policy.limits import Limits
from policy.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Identifier,
    IdentifierType,
    NewOrder,
    OrderEvent,
    StoredProblem,
    advance,
    challenge_of,
)
from policy.problems import (
    Forbidden,
    Malformed,
    OrderConflict,
    Problem,
    RateLimited,
    RejectedIdentifier,
    ValidationFailed,
)
from policy.product import Product
from policy.rules.identifiers import covered
from policy.store import (
    AUTHORIZATION_COVERING,
    AUTHORIZATION_REUSABLE,
    OPEN_ORDERS_OF_CREDENTIAL,
    OPEN_ORDERS_OF_OWNER,
    PAUSES,
    Conflict,
    Store,
    Unit,
)
from policy.validating import Validating
from policy.validation.challenges import WITHOUT_TOKEN, credential_thumbprint, methods_for, new_token
from policy.waiting import ORDERS_AT_ONCE

CAA_FRESH = timedelta(hours=8)
"""How long a CAA look-up may serve (RFC 8555 section 7.4 leaves it open; Baseline Requirements section 3.2.2.8)."""

PAUSED_RETRY_SECONDS = 86400
"""When to ask again for a name that is paused; only a person ends that."""


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
        self, principal: Principal, product: Product, identifiers: tuple[Identifier, ...], new: NewOrder, unit: Unit
    ) -> list[Authorization]:
        """What proves these identifiers: known proofs where they count, else new ones, inserted by the unit.

        Raises RejectedIdentifier when no method of the product can prove an identifier, RateLimited when the account
        is paused for one.
        """
        domains = await self._catalogue.domains(principal.credential.group)
        found: list[Authorization] = []
        for identifier in identifiers:
            one = next((one for one in found if one.covers(identifier)), None)
            if one is None:
                one = await self._known(principal, product, identifier, new, domains)
            if one is None:
                ancestor = new.ancestors.get(identifier)
                about = identifier if ancestor is None else Identifier(identifier.type, ancestor)
                one = self.drafted(principal, product, about, domains, subdomains=ancestor is not None)
                unit.insert(one)
            found.append(one)
        await self.check_pauses(principal, [one for one in found if one.status is AuthorizationStatus.PENDING])
        return found

    async def _known(
        self,
        principal: Principal,
        product: Product,
        identifier: Identifier,
        new: NewOrder,
        domains: tuple[Domain, ...],
    ) -> Authorization | None:
        """A proof of before that counts for this order. Looked for only where there can be one."""
        rules = product.validation
        if covered(rules.trusted, identifier) or any(one.covers(identifier, self._clock()) for one in domains):
            return None
        if new.preauthorized:
            return await self._requested(principal.owner, product, identifier)
        if rules.reuse_seconds:
            return await self._reusable(principal.owner, product, identifier)
        return None

    def drafted(
        self,
        principal: Principal,
        product: Product,
        identifier: Identifier,
        domains: tuple[Domain, ...] = (),
        *,
        subdomains: bool = False,
        requested: bool = False,
    ) -> Authorization:
        """A new authorization; valid already where product or group vouch for the name. Raises RejectedIdentifier."""
        now, rules = self._clock(), product.validation
        base = Identifier(identifier.type, identifier.base)
        trusted = covered(rules.trusted, identifier)
        domain = None if trusted else next((one for one in domains if one.covers(identifier, now)), None)
        # Who answers for one host says nothing about those below: as with wildcards (RFC 8555 section 8.3).
        methods = [one for one in methods_for(base, identifier.wildcard or subdomains) if one in rules.methods]
        if trusted or domain is not None:
            methods = methods[:1] or ["dns-01"]
        if not methods:
            raise RejectedIdentifier(
                f'no validation method of product "{product.name}" can prove {identifier}', identifier=identifier
            )
        proven = trusted or domain is not None
        challenge_status = ChallengeStatus.VALID if proven else ChallengeStatus.PENDING
        expires = now + timedelta(seconds=rules.pending_seconds)
        return Authorization(
            id=AuthorizationId(new_id()),
            owner=principal.owner,
            mount=principal.mount,
            identifier=base,
            wildcard=identifier.wildcard,
            status=AuthorizationStatus.VALID if proven else AuthorizationStatus.PENDING,
            created=now,
            expires=expires if domain is None or domain.valid_till is None else min(expires, domain.valid_till),
            challenges=tuple(
                Challenge(
                    method,
                    "" if method in WITHOUT_TOKEN else new_token(),
                    challenge_status,
                    now if proven else None,
                )
                for method in methods
            ),
            trusted=trusted,
            product=product.name,
            subdomains=subdomains,
            requested=requested,
            domain=None if domain is None else domain.name,
        )

    async def authorize(
        self, principal: Principal, product: Product, identifier: Identifier, *, subdomains: bool
    ) -> Authorization:
        """An authorization by itself, before any order (RFC 8555 section 7.4.1). One that is valid is given again.

        Raises RejectedIdentifier, RateLimited, Forbidden when credential or account are not valid any more.
        """
        found = await self._requested(principal.owner, product, identifier)
        if found is not None and found.subdomains >= subdomains:
            return found
        domains = await self._catalogue.domains(principal.credential.group) if not subdomains else ()
        made = self.drafted(principal, product, identifier, domains, subdomains=subdomains, requested=True)
        if made.status is AuthorizationStatus.PENDING:
            await self.check_pauses(principal, [made])
        unit = Unit()
        unit.credential_active(principal.credential.id, made.created)
        unit.account_valid(principal.owner)
        unit.insert(made)
        what = {"identifier": str(identifier), "subdomains": subdomains, "product": product.name}
        tag, actor = AuditTag.AUTHORIZATION_CREATED, str(principal.requester)
        unit.audit(AuditEvent(tag, made.created, actor, f"authorization:{made.id}", what))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise Forbidden("the credential or account is not valid any more") from conflict
        return made

    async def check_pauses(self, principal: Principal, owed: Sequence[Authorization]) -> None:
        """That the account may try to prove these. Raises RateLimited with a subproblem for each that is paused."""
        if not owed:
            return
        names = {one.identifier for one in owed}
        paused = [one for one in await self._store.many(PAUSES, principal.owner) if one.identifier in names]
        if paused:
            listed = ", ".join(f'"{one.identifier.value}"' for one in paused[:5])
            raise RateLimited(
                f"validation of {listed} failed too often, so this account is paused for it: mend it, then ask the "
                f"administrator of this CA to unpause account {principal.owner}",
                retry_after=PAUSED_RETRY_SECONDS,
                subproblems=tuple(RateLimited(one.detail, identifier=one.identifier) for one in paused),
            )

    async def _requested(self, owner: str, product: Product, identifier: Identifier) -> Authorization | None:
        """A proof of the same product that was made before any order, for the name or for one above it."""
        labels = identifier.base.split(".")
        names = [".".join(labels[place:]) for place in range(len(labels))]
        until = int((self._clock() + timedelta(hours=1)).timestamp())
        listed = msgspec.json.encode(names if identifier.type is IdentifierType.DNS else names[:1]).decode()
        if identifier.type is IdentifierType.DNS:
            found = await self._store.many(AUTHORIZATION_COVERING, owner, listed, until)
        else:
            found = await self._store.many(
                AUTHORIZATION_REUSABLE, owner, identifier.type, identifier.base, int(identifier.wildcard), until
            )
        return next(
            (
                one
                for one in found
                if one.requested
                and not one.trusted
                and one.product == product.name
                and one.covers(identifier)
                and not any(each.type in WITHOUT_TOKEN for each in one.challenges)
            ),
            None,
        )

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
        if not principal.proves:
            raise Malformed("challenges are answered by ACME accounts and over REST")
        account = principal.account
        thumbprint = account.thumbprint if account is not None else credential_thumbprint(principal.credential.id)
        return await self._validating.begin(authorization, method, thumbprint)

    async def check_caa_again(
        self, authorizations: tuple[Authorization, ...], identifiers: tuple[Identifier, ...] = ()
    ) -> None:
        """At finalize: every name whose CAA look-up is older than eight hours is looked up again (trap T-8).

        All at once, within the time of one attempt. Raises what the first of them in the order raises, ValidationFailed
        when time is over.
        """
        due = [*await self._caa_due(authorizations), *_below(authorizations, identifiers)]
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


def _below(
    authorizations: tuple[Authorization, ...], identifiers: tuple[Identifier, ...]
) -> Iterator[tuple[Authorization, str | None]]:
    """Names that a proof of a domain above them stands for, each as if it had been proven: CAA may differ below."""
    for one in authorizations:
        method = next((each.type for each in one.challenges if each.validated), None)
        for identifier in identifiers if one.subdomains else ():
            base = Identifier(identifier.type, identifier.base)
            if base != one.identifier and one.covers(identifier):
                yield replace(one, identifier=base, wildcard=identifier.wildcard), method


def _proves(authorization: Authorization, product: Product, oldest: datetime) -> bool:
    """Whether an authorization is a proof by a method that this product takes, not older than that."""
    return (
        authorization.product == product.name
        and not authorization.trusted
        and any(
            one.validated is not None
            and one.validated >= oldest
            and one.type in product.validation.methods
            and one.type not in WITHOUT_TOKEN  # its answer stands in DNS, or has been withdrawn: look again
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
