"""What doors may do with orders and certificates beyond placing one: the services together, and what is said of proofs.

`acting` is the one place where it is decided in whose name somebody goes on with an order that is not their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from policy.access import Actor
from policy.approval import Approval
from policy.audit import AuditEvent, AuditTag
from policy.authentication import standing_in
from policy.blocking import Blocking
from policy.bulk import Bulks
from policy.credential import Principal
from policy.documents import Documents
from policy.inventory import Inventory, ListedCertificate
from policy.order import Authorization, ChallengeStatus, Order, StoredProblem
from policy.ordering import Ordering
from policy.people import owned_through
from policy.problems import UnknownCertificate, UnknownOrder
from policy.roles import Scope
from policy.store import CREDENTIAL, ORDER, Store
from policy.succession import Succession
from policy.supervision import Supervision
from policy.validation.challenges import (
    DNS_01,
    DNS_01_LABEL,
    HTTP_01,
    credential_thumbprint,
    dns_01_value,
    http_01_path,
    key_authorization,
)

_ATTEMPTS = frozenset(
    {AuditTag.CHALLENGE_RETRIED, AuditTag.AUTHORIZATION_INVALID, AuditTag.AUTHORIZATION_VALID, AuditTag.CAA_CHECKED}
)


@dataclass(frozen=True, slots=True)
class Method:
    """One way to prove a name, and what has to be where: a TXT record, or a file under an address."""

    method: str
    status: ChallengeStatus
    place: str
    value: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Validation:
    """One proof that an order needs: its ways, and every attempt with what was found."""

    authorization: Authorization
    methods: tuple[Method, ...]
    attempts: tuple[AuditEvent, ...]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The services that lead orders and certificates through their lives."""

    store: Store
    inventory: Inventory
    ordering: Ordering
    documents: Documents
    approval: Approval
    succession: Succession
    supervision: Supervision
    blocking: Blocking
    bulks: Bulks

    async def order(self, permission: str, order_id: str, actor: Actor) -> Order:
        """An order that the actor may do this with. Raises UnknownOrder, also for one out of sight, Forbidden."""
        actor.check(permission)
        order = await self.store.one(ORDER, order_id)
        owned = await owned_through(self.store, None if order is None else order.credential)
        return actor.find(permission, order, owned, UnknownOrder("there is no such order"))

    async def certificate(self, permission: str, serial: str, actor: Actor) -> ListedCertificate:
        """As `order`, for a certificate. Raises UnknownCertificate, Forbidden."""
        actor.check(permission)
        missing = UnknownCertificate("there is no such certificate")
        try:
            one = await self.inventory.certificate(serial)
        except UnknownCertificate as problem:
            raise missing from problem
        return actor.find(permission, one, await owned_through(self.store, one.stored.credential), missing)

    async def acting(self, principal: Principal, actor: Actor, credential_id: str, mount: str) -> Principal:
        """Who goes on with what a credential made: its own holder as itself, another one in its place.

        What is issued is judged and guarded by the credential that made it, and written down as done by who asks.
        """
        if principal.credential.id != credential_id or principal.mount != mount:
            credential = await self.store.one(CREDENTIAL, credential_id)
            if credential is None:
                raise UnknownOrder("the credential of the order is gone")
            return standing_in(credential, mount, actor.name)
        return self.asking(principal, actor)

    def asking(self, principal: Principal, actor: Actor) -> Principal:
        """The principal as what it does is written down: with both names, where it asks in the name of a user."""
        if actor.users == {principal.credential.user}:
            return principal
        return standing_in(principal.credential, principal.mount, actor.name)

    async def validations(self, order: Order) -> tuple[Validation, ...]:
        """The proofs of an order, with what a client has to put where."""
        found = []
        for one in await self.inventory.authorizations(order):
            events = await self.inventory.events(f"authorization:{one.id}")
            attempts = tuple(event for event in events if event.tag in _ATTEMPTS)
            thumbprint = credential_thumbprint(one.owner)
            methods = tuple(
                Method(each.type, each.status, *_placed(one, each.type, each.token, thumbprint), _said(each.error))
                for each in one.challenges
                if each.type in (DNS_01, HTTP_01)
            )
            found.append(Validation(one, methods, attempts))
        return tuple(found)


def _placed(authorization: Authorization, method: str, token: str, thumbprint: str) -> tuple[str, str]:
    """Where the answer has to be, and what it is."""
    answer, name = key_authorization(token, thumbprint), authorization.identifier.value
    if method == DNS_01:
        return f"{DNS_01_LABEL}.{name}", dns_01_value(answer)
    host = f"[{name}]" if ":" in name else name
    return f"http://{host}{http_01_path(token)}", answer


def _said(problem: StoredProblem | None) -> str | None:
    return None if problem is None else problem.detail


def reach_of(actor: Actor, permission: str) -> tuple[str, tuple[str, ...]]:
    """Whose objects a list may show, as filters have it: a user, and groups; both empty for everybody's.

    The same as asking `Actor.reaches` for each object, without reading those that are out of sight.
    """
    resource, _, verb = permission.partition(":")
    user, groups = "", None
    one: Actor | None = actor
    while one is not None:
        scope = one.grants.get((resource, verb))
        if scope is None or (scope is Scope.OWN and user not in ("", one.user)):
            return "", (NO_GROUP,)
        if scope is not Scope.ALL:
            groups = one.groups if groups is None else groups & one.groups
        if scope is Scope.OWN:
            user = one.user
        one = one.behind
    if groups is None:
        return "", ()
    return user, tuple(sorted(groups)) or (NO_GROUP,)


NO_GROUP = ""
"""Matches no object: every group has a name."""
