"""Placing an order: which product, identifiers and dates. The order is drafted here and written by the caller."""

from __future__ import annotations

from datetime import timedelta

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.issuance import IssuanceRequest
from policy.authorizing import Authorizing
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.ids import OrderId, new_id
from policy.limits import Limits
from policy.order import Authorization, AuthorizationStatus, Identifier, NewOrder, Order, OrderStatus
from policy.problems import AlreadyReplaced, BadCSR, BadTime, Forbidden, UnknownCertificate, UnknownProduct
from policy.product import Product
from policy.rules import Case, judge
from policy.rules.identifiers import trusted
from policy.rules.standard import AT_PLACING
from policy.store import CERTIFICATE, ORDER_BY_REFERENCE, REPLACED, Store, Unit

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

    async def draft(self, principal: Principal, new: NewOrder, unit: Unit, *, judged: bool = True) -> Order:
        """The new order with its authorizations in the unit; not yet written itself.

        Judged by the rules of placing, unless it is fulfilled at once, by rules that contain them.
        """
        self._limits.take("new_orders_per_credential", principal.credential.id, "new orders with this credential")
        if principal.account is not None:
            self._limits.take("new_orders_per_account", principal.account.id, "new orders of this account")
        product = await self._product(principal, new)
        identifiers = tuple(dict.fromkeys(new.identifiers or (new.request.names if new.request else ())))
        case = Case(
            product=product,
            credential=principal.credential,
            identifiers=identifiers,
            group=await self._catalogue.group(principal.credential.group),
        )
        trace = judge(case, AT_PLACING) if judged else ()
        self._check_dates(product, new)
        if new.replaces is not None:
            await self._check_replaces(principal, new.replaces, identifiers)
        now = self._clock()
        authorizations: list[Authorization] = []
        if principal.account is not None:
            authorizations = await self._authorizing.authorizations_for(principal, product, identifiers, unit)
        else:
            self._check_trusted(case)
        proven = all(one.status is AuthorizationStatus.VALID for one in authorizations)
        return Order(
            id=OrderId(new_id()),
            owner=principal.owner,
            credential=principal.credential.id,
            requester=str(principal.requester),
            mount=principal.mount,
            product=product.name,
            product_version=product.version,
            kind=new.kind,
            status=OrderStatus.READY if proven else OrderStatus.PENDING,
            identifiers=identifiers,
            created=now,
            updated=now,
            # An order lives no longer than the proofs that it counts on.
            expires=min((now + ORDER_LIFETIME, *(one.expires for one in authorizations))),
            account=principal.account.id if principal.account else None,
            profile=new.product,
            reference=new.reference,
            authorizations=tuple(one.id for one in authorizations),
            not_before=new.not_before,
            not_after=new.not_after,
            replaces=new.replaces,
            predecessor=new.predecessor,
            trace=trace,
        )

    async def _product(self, principal: Principal, new: NewOrder) -> Product:
        """The product asked for, or the first that mount and credential share. Raises UnknownProduct."""
        mount = await self._catalogue.mount(principal.mount)
        granted = [name for name in principal.credential.products if name in mount.products]
        if new.product is not None and new.product not in granted:
            raise UnknownProduct(
                f'the product "{new.product}" cannot be ordered with this credential here; '
                f"what can: {', '.join(granted) or 'nothing'}"
            )
        if not granted:
            raise UnknownProduct("this credential has no product that can be ordered here")
        return await self._catalogue.active_product(new.product or granted[0], mount.protocol)

    def _check_trusted(self, case: Case) -> None:
        """Doors without challenges issue for names only for which the product trusts the credential."""
        untrusted = [one for one in case.identifiers if not trusted(case, one)]
        if untrusted:
            names = ", ".join(f'"{one.value}"' for one in untrusted[:5])
            raise Forbidden(
                f'product "{case.product.name}" wants control of {names} proven by a challenge, which only ACME can do'
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
        if not set(stored.names) & set(identifiers):
            raise Forbidden("the certificate named by replaces shares no name with this order")
        if await self._store.one(REPLACED, serial):
            raise AlreadyReplaced("the certificate named by replaces has a successor already")
