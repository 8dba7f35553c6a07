"""Keys that the server makes for clients (EST serverkeygen): sealed with the order until they leave, once.

The private key is never written otherwise: it is sealed in the transaction that writes its order down, and erased in
the one before the answer that carries it. An answer that gets lost takes the key with it; who asks again gets another.
"""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from ca_core.clock import Clock
from ca_core.csr import CertificationRequest, read_csr
from ca_core.generation import KEY_TYPES, generate
from policy.audit import AuditEvent, AuditTag
from policy.credential import Principal
from policy.order import NewOrder, Order, OrderStatus
from policy.placing import Placing
from policy.problems import BadPublicKey, Forbidden, OrderConflict
from policy.product import Product
from policy.sealing import Sealing, Secret
from policy.store import ORDER, Conflict, Store, Unit

AT_ONCE = 2
"""Keys made at the same time: an RSA key takes up to a second of a core."""


class Generating:
    """Makes keys, hands them over, erases what nobody fetched."""

    def __init__(self, store: Store, placing: Placing, sealing: Sealing, clock: Clock) -> None:
        self._store = store
        self._placing = placing
        self._sealing = sealing
        self._clock = clock
        self._bench = asyncio.Semaphore(AT_ONCE)

    async def prepare(self, principal: Principal, new: NewOrder) -> NewOrder:
        """The order with a key pair of its own, or with that of the order which its reference stands for.

        The names and extensions of the request stay; its key says which type is preferred. Raises BadPublicKey when
        none can be made that the product takes, UnknownProduct.
        """
        request, reference = new.request, new.reference
        if request is None or reference is None:
            raise OrderConflict("making a key needs a certification request and a reference")
        known = await self._placing.known(principal, new)
        if known is not None and known.csr is not None:
            return replace(new, request=read_csr(known.csr, verify=False))
        product = await self._placing.product(principal, new, request.names)
        async with self._bench:
            made = await asyncio.to_thread(generate, _key_type(product, request), request.der)
        return replace(
            new,
            product=product.name,
            request=read_csr(made.request, verify=False),
            sealed_key=self._sealing.seal(Secret(made.private_key), _context(principal.credential.id, reference)),
        )

    async def make(self, principal: Principal, new: NewOrder) -> tuple[NewOrder, Secret]:
        """The order with a key pair of its own, and the private key (PKCS #8, DER), which is kept nowhere.

        Raises BadPublicKey as `prepare`, UnknownProduct, Forbidden where the order would wait for a person.
        """
        if new.request is None:
            raise OrderConflict("making a key needs a certification request")
        product = await self._placing.product(principal, new, new.request.names)
        if product.approval:
            raise Forbidden(f'orders of product "{product.name}" wait for a person: a key made now would be lost')
        async with self._bench:
            made = await asyncio.to_thread(generate, _key_type(product, new.request), new.request.der)
        return replace(new, product=product.name, request=read_csr(made.request, verify=False)), Secret(
            made.private_key
        )

    async def deliver(self, principal: Principal, order: Order) -> Secret:
        """The private key (PKCS #8, DER) of an order that is valid; it is erased, and the reference is free again.

        Raises OrderConflict when the key has left already.
        """
        stored = await self._store.one(ORDER, order.id)
        gone = OrderConflict("the key of this request was handed over already: ask again for another")
        if stored is None or stored.sealed_key is None or stored.status is not OrderStatus.VALID:
            raise gone
        key = self._sealing.open(stored.sealed_key, _context(stored.credential, stored.reference or ""))
        try:
            await self._erase(stored, AuditTag.KEY_DELIVERED, str(principal.requester))
        except Conflict as conflict:
            raise gone from conflict
        return key

    async def erase(self, order_id: str) -> None:
        """Erase a key that nobody has fetched while its order was open."""
        stored = await self._store.one(ORDER, order_id)
        if stored is not None and stored.sealed_key is not None:
            await self._erase(stored, AuditTag.KEY_ERASED, "system:generating")

    async def _erase(self, order: Order, tag: AuditTag, actor: str) -> None:
        now = self._clock()
        unit = Unit()
        unit.save(replace(order, sealed_key=None, reference=None, updated=now, version=order.version + 1))
        unit.audit(AuditEvent(tag, now, actor, f"order:{order.id}"))
        await self._store.commit(unit)


def _context(credential: str, reference: str) -> str:
    return f"generated key/{credential}/{reference}"


def _key_type(product: Product, request: CertificationRequest) -> str:
    possible = [one for one in product.profile.key_types if one in KEY_TYPES]
    if not possible:
        raise BadPublicKey(f'no key can be made here that the product "{product.name}" takes')
    return request.key_type if request.key_type in possible else possible[0]
