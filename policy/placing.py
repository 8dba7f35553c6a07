"""Placing an order: which product, identifiers and dates. The order is drafted here and written by the caller."""

from __future__ import annotations

import difflib
from datetime import timedelta

from msgspec.structs import replace

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.issuance import IssuanceRequest
from policy.authorizing import Authorizing
from policy.blocking import Blocking
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.dossier import Dossier, completed
from policy.fulfilment import placed_event
from policy.guards import GUARD_PROBLEMS
from policy.ids import OrderId, new_id
from policy.limits import Limits
from policy.order import (
    Authorization,
    AuthorizationStatus,
    Identifier,
    IdentifierType,
    NewOrder,
    Order,
    OrderStatus,
)
from policy.problems import (
    AlreadyReplaced,
    BadCSR,
    BadTime,
    Forbidden,
    RejectedIdentifier,
    UnknownCertificate,
    UnknownOrder,
    UnknownProduct,
)
from policy.product import Product, ProductState
from policy.quotas import Quotas
from policy.rules import Case, judge
from policy.rules.identifiers import is_public_suffix, trusted
from policy.rules.standard import AT_PLACING
from policy.store import (
    CERTIFICATE,
    ORDER_BY_REFERENCE,
    ORDER_OF_CLIENT,
    REPLACED,
    Conflict,
    Store,
    Unit,
    translate_conflict,
)
from policy.ticketing import Ticketing, Wanted, needs_ticket

ORDER_LIFETIME = timedelta(days=7)
"""How long an order may stay open."""


class Placing:
    """Drafts orders, judged as far as they can be before a certification request is there."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        ca: CertificateAuthority,
        authorizing: Authorizing,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._quotas = Quotas(limits)
        self._blocking = Blocking(store, catalogue, clock)
        self._ticketing = Ticketing(store, clock)
        self._store = store
        self._ca = ca
        self._catalogue = catalogue
        self._authorizing = authorizing
        self._limits = limits
        self._clock = clock

    def guard(self, principal: Principal, new: NewOrder, unit: Unit) -> None:
        """What has to hold inside the transaction that writes the order down. Comes before any write."""
        now = self._clock()
        unit.credential_active(principal.credential.id, now)
        if principal.account is not None:
            unit.account_valid(principal.account.id)
        if new.reference is not None:
            unit.reference_free(principal.mount, principal.credential.id, new.reference, now)
        if new.replaces is not None:
            unit.not_replaced(new.replaces)

    async def known(self, principal: Principal, new: NewOrder) -> Order | None:
        """The order that this reference stands for, while it is open or within the replay window."""
        if new.reference is None:
            return None
        return await self._store.one(
            ORDER_BY_REFERENCE,
            principal.mount,
            principal.credential.id,
            new.reference,
            int(self._clock().timestamp()),
        )

    async def of_client(self, mount: str, reference: str) -> Order:
        """The order that this reference stands for, whatever credential it was placed with. Raises UnknownOrder."""
        oldest = int((self._clock() - ORDER_LIFETIME).timestamp())
        order = await self._store.one(ORDER_OF_CLIENT, mount, reference, oldest)
        if order is None:
            raise UnknownOrder("there is no such transaction")
        return order

    async def place(self, principal: Principal, new: NewOrder) -> Order:
        """The order, written down; see RegistrationAuthority.place."""
        known = await self.known(principal, new)
        if known is not None:
            return known
        unit = Unit()
        self.guard(principal, new, unit)
        order = await self.draft(principal, new, unit)
        unit.insert(order)
        unit.audit(placed_event(order, new, principal))
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            known = await self.known(principal, new)
            if known is not None:
                return known
            raise translate_conflict(conflict, GUARD_PROBLEMS) from conflict
        return order

    async def draft(self, principal: Principal, new: NewOrder, unit: Unit, *, judged: bool = True) -> Order:
        """The new order with its authorizations in the unit; not yet written itself.

        Judged by the rules of placing, unless it is fulfilled at once, by rules that contain them.
        """
        identifiers = tuple(dict.fromkeys(new.identifiers or (new.request.names if new.request else ())))
        if new.replaces is None and new.predecessor is None:
            # What is there may be renewed: whoever replaces a certificate is not counted (RFC 9773 section 5).
            self._take(principal, identifiers)
        product = await self.product(principal, new, identifiers)
        if judged:
            await self._blocking.check(identifiers, new.request)
        case = Case(
            product=product,
            credential=principal.credential,
            identifiers=identifiers,
            groups=await self._catalogue.lineage(principal.credential.group),
        )
        trace = judge(case, AT_PLACING) if judged else ()
        self._check_ancestors(product, new)
        self._check_dates(product, new)
        if new.replaces is not None:
            await self._check_replaces(principal, new.replaces, identifiers)
        tickets: tuple[Order, ...] = ()
        if needs_ticket(product, principal):
            tickets = (await self._ticketing.granted(Wanted(principal, product, identifiers)),)
        now = self._clock()
        authorizations: list[Authorization] = []
        if principal.account is not None or (principal.proves and not _all_trusted(case)):
            authorizations = await self._authorizing.authorizations_for(principal, product, identifiers, new, unit)
        elif principal.account is None:
            self._check_trusted(case)
        proven = all(one.status is AuthorizationStatus.VALID for one in authorizations)
        dossier = dossier_for(product, new.dossier)
        return Order(
            id=OrderId(new_id()),
            owner=principal.owner,
            credential=principal.credential.id,
            requester=str(principal.requester),
            mount=principal.mount,
            product=product.name,
            product_version=product.version,
            kind=new.kind,
            status=OrderStatus.READY if proven and (dossier is None or dossier.complete) else OrderStatus.PENDING,
            identifiers=identifiers,
            created=now,
            updated=now,
            # An order lives no longer than what it counts on.
            expires=min(
                (now + ORDER_LIFETIME, *(one.expires for one in authorizations), *(one.expires for one in tickets))
            ),
            account=principal.account.id if principal.account else None,
            profile=new.product,
            reference=new.reference,
            authorizations=tuple(dict.fromkeys(one.id for one in authorizations)),
            not_before=new.not_before,
            not_after=new.not_after,
            replaces=new.replaces,
            predecessor=new.predecessor,
            trace=(*trace, *(ticket.trace[-1] for ticket in tickets)),
            approved=next((ticket.id for ticket in tickets), None),
            dossier=dossier,
            sealed_key=new.sealed_key,
            confirm_seconds=new.confirm_seconds,
            transaction=new.transaction,
        )

    async def judged(
        self, principal: Principal, identifier: Identifier, product: str | None, *, subdomains: bool
    ) -> Product:
        """The product under which this name is to be proven before any order. Raises what the rules object to."""
        chosen = await self.product(principal, NewOrder(product=product), (identifier,))
        groups = await self._catalogue.lineage(principal.credential.group)
        judge(Case(chosen, principal.credential, (identifier,), groups), AT_PLACING)
        if subdomains and not chosen.names.public_suffixes and is_public_suffix(identifier.base):
            raise RejectedIdentifier(f'"{identifier.base}" is a public suffix: nobody has all names below it')
        self._limits.take("new_orders_per_credential", principal.credential.id, "new orders with this credential")
        self._limits.take("new_orders_per_account", principal.owner, "new orders of this account")
        return chosen

    def _check_ancestors(self, product: Product, new: NewOrder) -> None:
        """RFC 9444 section 4.1: an ancestor domain is a domain above the name, and no public suffix."""
        for identifier, ancestor in new.ancestors.items():
            if identifier.type is not IdentifierType.DNS or not identifier.base.endswith("." + ancestor):
                raise RejectedIdentifier(f'"{ancestor}" is no domain above "{identifier.value}"', identifier=identifier)
            if not product.names.public_suffixes and is_public_suffix(ancestor):
                raise RejectedIdentifier(
                    f'"{ancestor}" is a public suffix: nobody has all names below it', identifier=identifier
                )

    def _take(self, principal: Principal, identifiers: tuple[Identifier, ...]) -> None:
        """Count an order. Raises RateLimited, also when a certificate for these names would be one too many now."""
        self._limits.take("new_orders_per_credential", principal.credential.id, "new orders with this credential")
        if principal.account is not None:
            self._limits.take("new_orders_per_account", principal.account.id, "new orders of this account")
        self._quotas.look(identifiers)

    async def product(self, principal: Principal, new: NewOrder, identifiers: tuple[Identifier, ...]) -> Product:
        """The product asked for, else the one whose selector fits, else the first that mount and credential share.

        Raises UnknownProduct.
        """
        mount = await self._catalogue.mount(principal.mount)
        granted = [name for name in principal.credential.products if name in mount.products]
        if new.product is not None and new.product not in granted:
            raise UnknownProduct(
                f'the product "{new.product}" cannot be ordered with this credential here; '
                f"what can: {', '.join(granted) or 'nothing'}",
                nearest=next(iter(difflib.get_close_matches(new.product, granted, 1, 0) or granted), None),
            )
        if not granted:
            raise UnknownProduct("this credential has no product that can be ordered here")
        if new.product is not None or len(granted) == 1:
            return await self._catalogue.active_product(new.product or granted[0], mount.protocol)
        key_type = new.request.key_type if new.request is not None else None
        for name in granted:
            product = await self._catalogue.product(name)
            if (
                product is not None
                and product.selector is not None
                and product.selector.fits(identifiers, key_type)
                and product.state is ProductState.ACTIVE
                and mount.protocol in product.protocols
            ):
                return product
        return await self._catalogue.active_product(granted[0], mount.protocol)

    def _check_trusted(self, case: Case) -> None:
        """Doors without challenges issue for names only for which the product trusts the credential."""
        untrusted = [one for one in case.identifiers if not trusted(case, one)]
        if untrusted:
            names = ", ".join(f'"{one.value}"' for one in untrusted[:5])
            raise Forbidden(
                f'product "{case.product.name}" wants control of {names} proven by a challenge, which only ACME and '
                "REST can do"
            )

    def _check_dates(self, product: Product, new: NewOrder) -> None:
        """A validity that cannot be granted exactly is refused (RFC 8555 section 7.4), never silently changed."""
        if new.not_before is None and new.not_after is None:
            return
        request = IssuanceRequest(
            product.issuer, product.profile, b"", "", (), (), not_before=new.not_before, not_after=new.not_after
        )
        try:
            self._ca.check_validity(request)
        except BadCSR as problem:
            raise BadTime(problem.detail) from problem

    async def _check_replaces(self, principal: Principal, serial: str, identifiers: tuple[Identifier, ...]) -> None:
        """RFC 9773 section 5: the predecessor is this account's, shares a name, and has no successor yet."""
        found = await self._store.one(CERTIFICATE, serial)
        if found is None:
            raise UnknownCertificate("the certificate named by replaces is not known")
        stored = found[0]
        if stored.owner != principal.owner:
            raise Forbidden("the certificate named by replaces is not this account's")
        if stored.names and not set(stored.names) & set(identifiers):
            raise Forbidden("the certificate named by replaces shares no name with this order")
        if await self._store.one(REPLACED, serial):
            raise AlreadyReplaced("the certificate named by replaces has a successor already")


def _all_trusted(case: Case) -> bool:
    return all(trusted(case, one) for one in case.identifiers)


def dossier_for(product: Product, given: Dossier | None) -> Dossier | None:
    """What comes with an order, and what the product wants beside it; None where there is neither."""
    required = tuple(one.type for one in product.documents)
    if given is None and not required and product.terms is None:
        return None
    return completed(replace(given or Dossier(), required=required, terms=product.terms))
