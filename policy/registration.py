"""RegistrationAuthority: the one service that every protocol calls, and the only door to issuance and revocation.

Lists are `inventory`'s, changes of products, credentials and users `administration`'s. Each operation here is short:
it finds and checks what it is about, and leaves the work to the module named for it.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from ca_core.csr import CertificationRequest
from ca_core.ledger import PublishedCRL
from ca_core.status import CertificateState, RevocationReason
from policy.account import Account
from policy.credential import Claim, Principal
from policy.fulfilment import placed_event
from policy.issued import Certificate
from policy.mount import Mount
from policy.order import (
    Authorization,
    Identifier,
    NewOrder,
    Order,
    OrderStatus,
)
from policy.parts import Parts
from policy.problems import (
    AccountUnknown,
    Forbidden,
    OrderConflict,
    Unauthenticated,
    UnknownCertificate,
    UnknownOrder,
    UnknownProduct,
    kind_of,
)
from policy.product import Product
from policy.publication import OCSPAnswer
from policy.registering import NewAccount
from policy.renewal import RenewalWindow
from policy.replay import ReplayGuard
from policy.revocation import KeyHolder
from policy.sealing import Secret
from policy.service_keys import UsableKey
from policy.store import (
    ACCOUNT_BY_KEY,
    AUTHORIZATION,
    CERTIFICATE_STATUS,
    ORDER,
    ORDERS_OF_OWNER,
    StoredCertificate,
    Unit,
)

__all__ = [
    "Certificate",
    "KeyHolder",
    "NewAccount",
    "OCSPAnswer",
    "RegistrationAuthority",
    "RenewalWindow",
]


class RegistrationAuthority:
    """The service. Made once per server by `gateway.app`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._catalogue = parts.catalogue
        self._clock = parts.clock
        self.transactions = parts.transactions

    # ----------------------------------------------------------------- before anybody is known

    async def mount(self, key: str) -> Mount:
        """The active mount "protocol/label". Raises UnknownProduct when there is none."""
        return await self._catalogue.mount(key)

    async def products(self, mount: Mount) -> tuple[Product, ...]:
        """The active products of a mount, in its order."""
        found: list[Product] = []
        for name in mount.products:
            try:
                found.append(await self._catalogue.active_product(name, mount.protocol))
            except UnknownProduct:
                continue
        return tuple(found)

    async def ca_certificates(self, mount: Mount) -> tuple[bytes, ...]:
        """DER of the issuing CA's certificate, its intermediates and the root, in this order; then, while keys are
        updated, what links old and new (see Publication.ca_certificates)."""
        return self._parts.publication.ca_certificates(mount.issuer)

    async def service_key(self, purpose: str, mount: Mount) -> UsableKey:
        """The key with which the service itself speaks at a mount, with its certificate. Raises Unavailable."""
        subject = (("CN", f"{purpose.upper()} signer of {mount.issuer}"),)
        return await self._parts.service_keys.get(purpose, mount.issuer, subject=subject)

    @property
    def configuration_epoch(self) -> int:
        """Grows when mounts, products, credentials or accounts change: doors may keep what they derived until then."""
        return self._store.configuration_epoch

    @property
    def replay(self) -> ReplayGuard:
        """Where ACME nonces are numbered and redeemed."""
        return self._store.replay

    def nonce_key(self) -> bytes:
        """32 bytes that seal nonces; another key after each opening of the store."""
        return self._parts.sealing.key("nonce", self._store.replay.epoch)

    # ----------------------------------------------------------------- who asks

    async def authenticate(self, mount: str, claims: Sequence[Claim], address: str) -> Principal:
        """What these claims prove at this mount ("est/default").

        All claims must agree on one credential. Raises Unauthenticated (nothing or something wrong shown),
        Forbidden (proven, but revoked, suspended, expired, of another protocol or mount, or from a foreign address).
        """
        refusals = self._parts.refusals
        try:
            refusals.check_locked_out(mount, claims, address)
            return await self._parts.authentication.authenticate(await self.mount(mount), claims, address)
        except (Unauthenticated, Forbidden) as problem:
            await refusals.authentication(mount, problem, address, claims)
            raise

    async def check_usable(self, principal: Principal) -> None:
        """That the credential of somebody who was proven a while ago may still be used here. Raises Forbidden."""
        credential = await self._catalogue.credential(principal.credential.id)
        if credential is None:
            raise Forbidden("the credential is gone")
        mount = await self.mount(principal.mount)
        await self._parts.authentication.check_usable(credential, mount, principal.address)

    async def account(self, mount: str, account_id: str) -> Account:
        """The ACME account with this identifier at this mount, whatever its status. Raises AccountUnknown."""
        account = await self._catalogue.account(account_id)
        if account is None or account.mount != mount:
            raise AccountUnknown("there is no such account")
        return account

    async def account_by_key(self, mount: str, thumbprint: str) -> Account | None:
        """The ACME account with this key at this mount, whatever its status."""
        return await self._store.one(ACCOUNT_BY_KEY, mount, thumbprint)

    async def register(self, mount: str, new: NewAccount, claims: Sequence[Claim], address: str) -> Account:
        """Make an ACME account, bound to the credential that the claims prove.

        Raises AccountBindingRequired without a binding where the mount wants one, Unauthenticated for a wrong one,
        Forbidden for a credential that may not (any more), OrderConflict when the key has an account already.
        """
        principal = await self.authenticate(mount, claims, address)
        async with self._parts.refusals.noted(principal):
            return await self._parts.registering.register(principal, new)

    async def update_account(
        self, principal: Principal, *, contact: tuple[str, ...] | None = None, agreed: str | None = None
    ) -> Account:
        """Change contacts, or agree to the terms."""
        return await self._parts.registering.update(principal, contact, agreed)

    async def deactivate_account(self, principal: Principal) -> Account:
        """Deactivate for good (RFC 8555 section 7.3.6): its open orders end, its key is never accepted again."""
        return await self._parts.registering.deactivate(principal)

    async def rollover(self, principal: Principal, spki: bytes, jwk: dict[str, str], thumbprint: str) -> Account:
        """Replace the account's key (RFC 8555 section 7.3.5). Raises OrderConflict when the key has an account."""
        return await self._parts.registering.rollover(principal, spki, jwk, thumbprint)

    # ----------------------------------------------------------------- orders

    async def place(self, principal: Principal, new: NewOrder) -> Order:
        """Write an order down, with an authorization per identifier; `pending`, or `ready` when nothing is owed.

        The same client's same `reference` gives the same order again. Raises RejectedIdentifier and
        UnsupportedIdentifier (all mistakes at once, as subproblems), UnknownProduct, BadTime, RateLimited,
        AlreadyReplaced, Forbidden.
        """
        async with self._parts.refusals.noted(principal):
            return await self._parts.placing.place(principal, new)

    async def order(self, principal: Principal, order_id: str) -> Order:
        """An order of this principal's. Raises UnknownOrder, also for the order of somebody else."""
        order = await self._store.one(ORDER, order_id)
        if order is None or order.owner != principal.owner or order.mount != principal.mount:
            raise UnknownOrder("there is no such order")
        return await self._expired(order)

    async def _expired(self, order: Order) -> Order:
        """An open order whose time is over is invalid for whoever looks; the worker writes it down."""
        if (
            order.status in (OrderStatus.PENDING, OrderStatus.READY, OrderStatus.HELD)
            and order.expires <= self._clock()
        ):
            return replace(order, status=OrderStatus.INVALID)
        return order

    async def poll(self, mount: str, reference: str) -> Order:
        """The order behind a client's reference, which says something that only this client can prove.

        For clients that ask without a credential. Raises UnknownOrder.
        """
        order = await self._parts.placing.of_client(mount, reference)
        await self._check_still_valid(order)
        return await self._expired(order)

    async def orders(self, principal: Principal, after: str, limit: int) -> list[Order]:
        """A page of this principal's orders; `after` is the last identifier of the page before, or ""."""
        return await self._store.many(ORDERS_OF_OWNER, principal.owner, after, limit)

    async def authorizations(self, order: Order) -> tuple[Authorization, ...]:
        """The authorizations of an order, in its order."""
        return await self._parts.authorizing.read(order.authorizations)

    async def authorization(self, principal: Principal, authorization_id: str) -> Authorization:
        """An authorization of this principal's. Raises UnknownOrder, also for that of somebody else."""
        found = await self._store.one(AUTHORIZATION, authorization_id)
        if found is None or found.owner != principal.owner or found.mount != principal.mount:
            raise UnknownOrder("there is no such authorization")
        return found

    async def authorize(
        self, principal: Principal, identifier: Identifier, *, subdomains: bool = False, product: str | None = None
    ) -> Authorization:
        """An authorization before any order (RFC 8555 section 7.4.1); with `subdomains` for the names below, too.

        Raises RejectedIdentifier, UnknownProduct, RateLimited, Forbidden.
        """
        async with self._parts.refusals.noted(principal):
            chosen = await self._parts.placing.judged(principal, identifier, product, subdomains=subdomains)
            return await self._parts.authorizing.authorize(principal, chosen, identifier, subdomains=subdomains)

    async def ticket(self, mount: str, order_id: str) -> Order:
        """The ticket with this identifier, which whoever was given its address may look at. Raises UnknownOrder."""
        order = await self._store.one(ORDER, order_id)
        if order is None or order.mount != mount or not order.ticket:
            raise UnknownOrder("there is no such ticket")
        return await self._expired(order)

    async def answer(self, principal: Principal, authorization_id: str, method: str) -> Authorization:
        """The client says that the challenge of this method can be tried (RFC 8555 section 7.5.1).

        Tries at once for a short while, so that the answer often says "valid" already; goes on in the background
        else. Raises UnknownOrder, Malformed (no such challenge, or over), RateLimited.
        """
        authorization = await self.authorization(principal, authorization_id)
        return await self._parts.authorizing.answer(principal, authorization, method)

    async def deactivate_authorization(self, principal: Principal, authorization_id: str) -> Authorization:
        """Give up an authorization (RFC 8555 section 7.5.2)."""
        authorization = await self.authorization(principal, authorization_id)
        return await self._parts.authorizing.deactivate(principal, authorization)

    async def finalize(self, principal: Principal, order_id: str, request: CertificationRequest) -> Order:
        """Issue: `valid`, `processing` (ask again), `held` (a person decides) or `invalid`.

        Raises UnknownOrder, NotReady, BadCSR and its kind (the order stays `ready`), Forbidden when credential,
        account or product may not issue any more.
        """
        async with self._parts.refusals.noted(principal):
            order = await self.order(principal, order_id)
            return await self._parts.fulfilment.fulfil(principal, order, request)

    async def enroll(self, principal: Principal, new: NewOrder) -> Order:
        """`place` followed by `finalize`, for protocols of one step, in one commit less. Raises what either raises;
        also for an order that ended `invalid`, so that the caller has either an order that goes on or a Problem.
        """
        if principal.renewal_only:
            raise Forbidden(
                "a certificate of ours speaks for its own renewal only: show the credential's secret as well"
            )
        async with self._parts.refusals.noted(principal):
            return await self._enroll(principal, new)

    async def generate(self, principal: Principal, new: NewOrder) -> NewOrder:
        """What to `enroll` for a request whose key the server is to make. Raises BadPublicKey, UnknownProduct."""
        async with self._parts.refusals.noted(principal):
            return await self._parts.generating.prepare(principal, new)

    async def make_key(self, principal: Principal, new: NewOrder) -> tuple[NewOrder, Secret]:
        """As `generate`, with the private key at once and kept nowhere. Raises Forbidden as well."""
        async with self._parts.refusals.noted(principal):
            return await self._parts.generating.make(principal, new)

    async def generated_key(self, principal: Principal, order: Order) -> Secret:
        """The private key (PKCS #8) that was made for a `valid` order, once. Raises OrderConflict."""
        return await self._parts.generating.deliver(principal, order)

    async def erase_key(self, order_id: str) -> None:
        """Erase a key that was made and not fetched; for the worker."""
        await self._parts.generating.erase(order_id)

    async def _enroll(self, principal: Principal, new: NewOrder) -> Order:
        if new.request is None:
            raise OrderConflict("enrolling needs a certification request")
        placing = self._parts.placing
        # What may come once only is found out by the guard of commit 1, which asks inside the transaction.
        order = None if new.once else await placing.known(principal, new)
        if order is not None:
            await self._check_still_valid(order)
        else:
            # Judged once, on the to-be-signed certificate: it follows at once.
            order = await placing.draft(principal, new, Unit(), judged=False)
            placed = placed_event(order, new, principal)
            try:
                order = await self._parts.fulfilment.fulfil(principal, order, new.request, placed=placed)
            except OrderConflict:
                # The same reference came twice at the same moment: the other one made the order.
                order = None if new.once else await placing.known(principal, new)
                if order is None:
                    raise
        if order.status in (OrderStatus.INVALID, OrderStatus.CANCELLED):
            problem = order.problem
            raise kind_of(problem.kind)(problem.detail) if problem else Forbidden("the order was cancelled")
        return order

    async def _check_still_valid(self, order: Order) -> None:
        """An answer that is asked for again must not be a certificate that was revoked meanwhile."""
        if order.serial is None:
            return
        status = await self._store.one(CERTIFICATE_STATUS, order.serial)
        if status is not None and status.state not in (CertificateState.VALID, CertificateState.UNCONFIRMED):
            raise Forbidden("the certificate of this request was revoked: make a new key pair and ask again")

    async def renew(
        self, principal: Principal, new: NewOrder, *, same_names: bool = True, rename: bool = False, after: float = 0.0
    ) -> Order:
        """As `enroll`, for a client that shows the certificate to be renewed (`principal.certificate`).

        With `same_names`, subject and names must be those of that certificate (RFC 7030 section 4.2.2); with
        `rename`, a ChangeSubjectName attribute (RFC 6402 section 2.8) then says which others are wanted. Forbidden
        when there is no certificate of ours, or not of this credential, or revoked, and for a ChangeSubjectName
        that may not be, or before the part `after` of its life is over. BadCSR for other names. An RA's renewal for
        somebody else is judged as an enrolment.
        """
        async with self._parts.refusals.noted(principal):
            new = await self._parts.renewal.successor(principal, new, same_names, rename=rename, after=after)
            return await self._enroll(principal, new)

    # ----------------------------------------------------------------- certificates

    async def certificate(self, principal: Principal, serial: str) -> Certificate:
        """A certificate of this principal's, by serial (hex). Raises UnknownCertificate."""
        found = await self._parts.fulfilment.certificate(serial)
        if found is None or found[0].owner != principal.owner:
            raise UnknownCertificate("there is no such certificate")
        return self.with_chain(*found)

    async def certificate_of(self, order: Order) -> Certificate:
        """The certificate of a `valid` order. Raises UnknownCertificate."""
        found = await self._parts.fulfilment.certificate(order.serial or "")
        if found is None:
            raise UnknownCertificate("the order has no certificate")
        return self.with_chain(*found)

    def with_chain(self, stored: StoredCertificate, der: bytes) -> Certificate:
        """A certificate with the chain of its issuer."""
        issuer = self._parts.ca.issuer_by_id(stored.issuer_id)
        if issuer is None:
            return Certificate(stored, der, ())
        return Certificate(stored, der, issuer.chain_der, issuer.alternates_der, issuer.ca_url)

    async def revoke(self, revoker: Principal | KeyHolder, certificate: bytes, reason: RevocationReason | None) -> None:
        """Revoke the certificate with this DER.

        Allowed to its owner, to an account with valid authorizations for all its names, and to the holder of its
        key. Raises UnknownCertificate, Forbidden, AlreadyRevoked, BadRevocationReason.
        """
        if isinstance(revoker, KeyHolder):
            await self._parts.revocation.revoke_certificate(revoker, certificate, reason)
            return
        async with self._parts.refusals.noted(revoker):
            await self._parts.revocation.revoke_certificate(revoker, certificate, reason)

    async def renewal_window(self, issuer_id: str, serial: str) -> RenewalWindow:
        """When this certificate should be renewed. Raises UnknownCertificate."""
        return await self._parts.renewal.window(issuer_id, serial)

    # ----------------------------------------------------------------- status services

    async def crl(self, issuer_id: str, shard: int) -> PublishedCRL:
        """The current CRL of a shard. Raises UnknownCertificate when there is no such issuer or shard."""
        return await self._parts.publication.crl(issuer_id, shard)

    async def crls(self, mount: Mount) -> tuple[bytes, ...]:
        """DER of every current CRL of the mount's issuing CA and of those above it."""
        return await self._parts.publication.crls(mount.issuer)

    async def ocsp(self, request: bytes) -> OCSPAnswer:
        """The answer to an OCSP request; an error of the protocol is an answer too. Never raises a Problem."""
        return await self._parts.publication.ocsp(request)

    def ca_certificate(self, issuer_id: str) -> bytes:
        """DER of the certificate of a CA of ours (issuing or root). Raises UnknownCertificate."""
        return self._parts.publication.ca_certificate(issuer_id)
