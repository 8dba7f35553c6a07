"""What each body does: requests for certificates, their confirmation, polling, revocation."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from ca_core.clock import Clock
from ca_core.crmf import OLD_CERT_ID, CertRequest, read_recorded, to_request, to_unsigned
from ca_core.csr import CertificationRequest, read_csr
from ca_core.der import NULL
from ca_core.status import CertificateState
from policy.mount import Mount
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import (
    AlreadyReplaced,
    BadCSR,
    BadProofOfPossession,
    Forbidden,
    NotReady,
    Unavailable,
    UnknownProduct,
    kind_of,
)
from policy.product import Product
from policy.registration import RegistrationAuthority
from policy.sealing import Secret
from protocols.cmp import bodies, general, keygen, nested, revoking, translate
from protocols.cmp.bodies import Answer
from protocols.cmp.exchange import Exchange
from protocols.cmp.message import (
    CERT_PROFILE,
    CONFIRM_WAIT_TIME,
    IMPLICIT_CONFIRM,
    ORIG_PKI_MESSAGE,
    BodyType,
    PKIMessage,
)
from protocols.cmp.problems import PKIFailureInfo, PKIStatus, Refusal
from protocols.cmp.protection import Kind, MACProtector
from protocols.cmp.settings import Additional, CMPSettings, MountOptions, Profile, Waiting
from protocols.cmp.translate import ANSWERS, P10CR_ID, Transaction
from protocols.cms.recipients import RecipientInfo
from protocols.crmf import CertReqMsg, Possession, read_messages, verify_signature

_F = PKIFailureInfo
ENCRYPTED_CERTIFICATE = b"\x81\x01\x00"
"""POPOPrivKey with subsequentMessage encrCert (RFC 4211 section 4.2)."""
THREE_GPP_BODIES = frozenset({BodyType.IR, BodyType.KUR, BodyType.CERTCONF, BodyType.POLLREQ, BodyType.ERROR})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a body asks to be certified: the request, what CRMF says beside it, and its CertRequest if it was CRMF."""

    request: CertificationRequest
    crmf: CertRequest | None = None
    key_wanted: bool = False
    indirect: bool = False
    """Whether possession of the key is proven by reading the certificate (RFC 9810 section 5.2.8.3.2)."""


class Operations:
    """The operations of one mount."""

    def __init__(
        self, ra: RegistrationAuthority, settings: CMPSettings, options: MountOptions, mount: Mount, clock: Clock
    ) -> None:
        self._ra = ra
        self._settings = settings
        self._options = options
        self._mount = mount
        self._clock = clock
        self._implicit = options.implicit_confirm and options.profile is not Profile.THREE_GPP
        self._handlers: Mapping[BodyType, Callable[[Exchange], Awaitable[Answer]]] = {
            BodyType.IR: self._certify,
            BodyType.CR: self._certify,
            BodyType.P10CR: self._certify,
            BodyType.KUR: self._certify,
            BodyType.CERTCONF: self._confirm,
            BodyType.POLLREQ: self._poll,
            BodyType.RR: partial(revoking.revoke, ra),
            BodyType.ERROR: self._give_up,
            BodyType.GENM: self._inform,
        }

    async def run(self, exchange: Exchange) -> Answer:
        """Do what the body asks. Raises Refusal and what the registration authority raises."""
        body = exchange.message.body
        handler = self._handlers.get(body)
        if self._options.profile is Profile.THREE_GPP:
            if exchange.signer is None:
                raise Refusal(_F.wrongIntegrity, "messages are signed here (3GPP TS 33.310 section 9)")
            handler = handler if body in THREE_GPP_BODIES else None
        if handler is None:
            raise Refusal(_F.badRequest, f"the body {body.name.lower()} is not served here")
        self._check_originals(exchange)
        return await handler(exchange)

    def _check_originals(self, exchange: Exchange) -> None:
        """origPKIMessage: what a registration authority received and changed (RFC 9810 section 5.1.1.3).

        It is for the record: what counts is what the authority says. Raises Forbidden, Malformed, Refusal.
        """
        told, value = exchange.message.header.info_value(ORIG_PKI_MESSAGE)
        if told and not exchange.authority:
            raise Forbidden("origPKIMessage is for registration authorities, which change the messages of others")
        if told:
            nested.read_messages(value or b"")

    # ----------------------------------------------------------------- ir, cr, p10cr, kur

    async def _certify(self, exchange: Exchange) -> Answer:
        message = exchange.message
        wish = self._read_wish(exchange)
        asked, _ = message.header.info_value(IMPLICIT_CONFIRM)
        # A key that got lost with its answer must not leave a valid certificate: the client says that it has it.
        implicit = asked and self._implicit and not (wish.key_wanted or wish.indirect)
        transaction = translate.begin(
            message, exchange.binding, exchange.nonce, implicit=implicit, indirect=wish.indirect
        )
        new = translate.to_order(
            wish.request,
            transaction,
            reference=exchange.reference,
            product=self._product(message),
            confirm_seconds=self._settings.confirm_wait_seconds,
            template=wish.crmf.template if wish.crmf is not None else None,
            replaces=exchange.principal.certificate if message.body is BodyType.KUR else None,
        )
        recipient, made = None, None
        if wish.key_wanted:
            recipient = self._recipient(exchange)
            new, made = await self._ra.make_key(exchange.principal, new)
        if message.body is BodyType.KUR:
            order = await self._update(exchange, wish, new)
        else:
            order = await self._enroll(exchange, new)
        if recipient is not None and made is not None:
            if order.status is not OrderStatus.VALID:
                raise Unavailable("the certificate cannot be signed at the moment; its key is lost, ask again")
            return await self._issued(order, transaction, wish.request, exchange, await self._seal(made, recipient))
        return await self._issued(order, transaction, wish.request, exchange)

    def _recipient(self, exchange: Exchange) -> RecipientInfo:
        """For whom a key that is made is encrypted: by what protects the request (RFC 9483 section 4.1.6)."""
        if exchange.signer is not None:
            return keygen.for_certificate(exchange.message.extra_certs[0], exchange.signer.key_id)
        protector = exchange.principal.protector
        if not isinstance(protector, MACProtector) or protector.recipient is None:
            raise Refusal(_F.badRequest, "a key that is made needs version 3 of the protocol")
        return protector.recipient

    async def _seal(self, made: Secret, recipient: RecipientInfo) -> bytes:
        """The key as it travels: signed by the service as key generation authority, and encrypted."""
        usable = await self._ra.service_key("cmp", self._mount)
        package = keygen.package(made, usable.key.certificate, usable.signer.algorithm)
        return keygen.encrypt(package.finish(await usable.signer.sign(package.to_sign())), recipient)

    def _read_wish(self, exchange: Exchange) -> Wish:
        """The request in the body, possession of its key proven."""
        message = exchange.message
        if message.body is BodyType.P10CR:
            return Wish(read_csr(message.content))
        found = read_messages(message.content)
        if len(found) != 1:
            raise Refusal(_F.badRequest, f"there are {len(found)} requests instead of one (RFC 9483 section 4.1.1)")
        (one,) = found
        if one.request.id != 0:
            raise Refusal(_F.badRequest, f"certReqId is {one.request.id} instead of 0 (RFC 9483 section 4.1.1)")
        if one.request.template.key_wanted:
            return self._keyless(one, message.header.pvno)
        if one.possession in (Possession.KEY_ENCIPHERMENT, Possession.KEY_AGREEMENT):
            return self._indirect(one, message.header.pvno)
        return Wish(to_request(one.request, algorithm=self._possession(one, exchange)), one.request)

    def _indirect(self, message: CertReqMsg, pvno: int) -> Wish:
        """A request for a key that decrypts: its certificate is sent encrypted (RFC 9810 section 5.2.8.3.2)."""
        if message.proof != ENCRYPTED_CERTIFICATE:
            raise BadProofOfPossession("a key that decrypts proves itself by its encrypted certificate (encrCert) here")
        if pvno < 3:
            raise BadProofOfPossession("an encrypted certificate needs version 3 of the protocol (RFC 9810 section 7)")
        request = to_request(message.request)
        if not request.key_type.startswith(("rsa-", "ec-")):
            raise BadProofOfPossession(f"nothing can be encrypted to a key of type {request.key_type}")
        return Wish(request, message.request, indirect=True)

    def _keyless(self, message: CertReqMsg, pvno: int) -> Wish:
        """A request whose key is to be made here (RFC 9483 section 4.1.6)."""
        if not self._options.key_generation:
            raise BadCSR("the certificate template has no public key, and keys are not made here")
        if pvno < 3:
            raise Refusal(_F.badRequest, "a key that is made needs version 3 of the protocol (RFC 9810 section 7)")
        if message.possession is not None:
            raise BadProofOfPossession("there is no key yet whose possession could be proven")
        return Wish(to_unsigned(message.request), message.request, key_wanted=True)

    def _possession(self, message: CertReqMsg, exchange: Exchange) -> str:
        """Check how possession is proven (RFC 9810 section 4.2.2); the signature's algorithm, if there is one."""
        if message.possession is Possession.SIGNATURE:
            return verify_signature(message)
        if message.possession is not Possession.RA_VERIFIED:
            raise BadProofOfPossession("the request has no signature that proves possession of its key")
        if not exchange.authority:
            # Only who is trusted with it says so for others (RFC 9810 section 5.2.8.1).
            raise Forbidden("raVerified counts only from a registration authority")
        return ""

    def _product(self, message: PKIMessage) -> str | None:
        asked, value = message.header.info_value(CERT_PROFILE)
        return bodies.first_text(value) if asked else None

    async def _enroll(self, exchange: Exchange, new: NewOrder) -> Order:
        principal = exchange.principal
        if principal.renewal_only:
            # RFC 9483 section 4.1.2: a further certificate on the strength of one that was enrolled here.
            if self._options.additional is Additional.NEVER:
                raise Forbidden("a certificate that was enrolled here renews itself only")
            same = self._options.additional is Additional.SAME_NAMES
            return await self._ra.renew(principal, new, same_names=same)
        foreign = exchange.binding.kind is Kind.SIGNATURE and principal.certificate is None
        if exchange.message.body is BodyType.CR and foreign and not exchange.authority:
            raise Forbidden("cr is for those who have a certificate of this PKI; the first one is enrolled by ir")
        return await self._ra.enroll(principal, new)

    async def _update(self, exchange: Exchange, wish: Wish, new: NewOrder) -> Order:
        """kur: the certificate that protects the message is the one to be updated (RFC 9483 section 4.1.3)."""
        serial = exchange.principal.certificate
        if exchange.signer is None:
            raise Refusal(_F.wrongIntegrity, "kur is protected by the certificate that is to be updated, not by a MAC")
        if serial is None or wish.crmf is None:
            raise Forbidden("kur updates a certificate of this PKI, the one that protects the message")
        for value in [value for oid, value in wish.crmf.controls if oid == OLD_CERT_ID]:
            if bodies.read_old_cert_id(value) != (exchange.signer.issuer, exchange.signer.serial):
                raise Refusal(_F.badCertId, "oldCertID is not the certificate that protects the message")
        before = await self._ra.transactions.successor(serial)
        if before is not None:
            state = await self._ra.transactions.state(before.serial)
            if state in (None, CertificateState.UNCONFIRMED):
                raise Refusal(_F.badRequest, "an update of this certificate is under way already")
            raise AlreadyReplaced("the certificate was updated already")
        return await self._ra.renew(exchange.principal, new)

    async def _issued(
        self,
        order: Order,
        transaction: Transaction,
        request: CertificationRequest,
        exchange: Exchange,
        private_key: bytes = b"",
    ) -> Answer:
        """The certificate of an order, or that the client has to ask again for it."""
        body = ANSWERS[transaction.body]
        if order.status is not OrderStatus.VALID:
            text = (
                "the request waits for a person" if order.status is OrderStatus.HELD else "the request is being served"
            )
            waiting = bodies.status_info(PKIStatus.WAITING, text)
            if self._options.waiting is Waiting.ERROR:
                return bodies.error(waiting)
            return bodies.cert_rep(body, transaction.cert_req_id, waiting, info=self._time(transaction))
        certificate = await self._ra.certificate_of(order)
        status = bodies.status_info(*translate.granted(request, certificate))
        root: tuple[bytes, ...] = ()
        chain = certificate.chain
        if self._options.profile is Profile.THREE_GPP:
            chain = await self._ra.ca_certificates(self._mount)
        if body is BodyType.IP and exchange.signer is None and self._options.ca_pubs:
            # Only the shared secret vouches for new trust anchors (RFC 9810 section 5.3.4).
            root = (await self._ra.ca_certificates(self._mount))[-1:]
        return bodies.cert_rep(
            body,
            transaction.cert_req_id,
            status,
            certificate.der,
            encrypted=keygen.encrypt_certificate(certificate.der) if transaction.indirect else b"",
            private_key=private_key,
            ca_pubs=root,
            info=self._time(transaction),
            chain=chain,
        )

    def _time(self, transaction: Transaction) -> tuple[bytes, ...]:
        """implicitConfirm granted, or until when to confirm (RFC 9810 section 5.1.1.1 and 5.1.1.2)."""
        if transaction.implicit:
            return (bodies.info(IMPLICIT_CONFIRM, NULL),)
        until = self._clock() + timedelta(seconds=self._settings.confirm_wait_seconds)
        return (bodies.info(CONFIRM_WAIT_TIME, bodies.confirm_wait_time(until)),)

    # ----------------------------------------------------------------- what goes on with a transaction

    async def _known(self, exchange: Exchange) -> tuple[Order, Transaction]:
        """The order that the message goes on with, and what its transaction is now. Raises Refusal."""
        order = await self._ra.transactions.find(exchange.principal, exchange.reference)
        if order is None:
            raise Refusal(_F.badRequest, "there is no such transaction")
        before = translate.read_transaction(order.transaction)
        return order, translate.go_on(before, exchange.message, exchange.binding, exchange.nonce)

    async def _confirm(self, exchange: Exchange) -> Answer:
        """certConf (RFC 9810 section 5.3.18): the certificate is valid from now on, or revoked."""
        order, transaction = await self._known(exchange)
        if order.status is not OrderStatus.VALID:
            raise Refusal(_F.badRequest, "there is no certificate yet that could be confirmed")
        if await self._ra.transactions.state(order.serial) is not CertificateState.UNCONFIRMED:
            raise Refusal(_F.certConfirmed, "the certificate was confirmed or revoked already")
        statuses = bodies.read_cert_conf(exchange.message.content)
        try:
            if not statuses:
                await self._ra.transactions.reject(exchange.principal, order, "the client rejected it")
                return bodies.pki_conf()
            lenient = self._options.profile is Profile.RFC9810
            status = translate.one_status(statuses, transaction, strict=not lenient)
            await self._check_hash(order, status, exchange.message.header.pvno)
            if status.accepted:
                await self._ra.transactions.confirm(exchange.principal, order)
            else:
                await self._ra.transactions.reject(exchange.principal, order, "the client rejected it")
        except NotReady as problem:
            raise Refusal(_F.certConfirmed, problem.detail) from problem
        return bodies.pki_conf()

    async def _check_hash(self, order: Order, status: bodies.CertStatus, pvno: int) -> None:
        if status.hash_alg is not None and pvno == 2:
            raise Refusal(_F.badCertId, "hashAlg needs version 3 of the protocol (RFC 9810 section 5.3.18)")
        certificate = await self._ra.certificate_of(order)
        if status.cert_hash != translate.certificate_hash(certificate.der, status.hash_alg):
            raise Refusal(_F.badCertId, "certHash is not the hash of the certificate")

    async def _poll(self, exchange: Exchange) -> Answer:
        """pollReq (RFC 9810 section 5.3.22): pollRep while the order waits, then the answer to its request."""
        order, transaction = await self._known(exchange)
        ids = bodies.read_poll_req(exchange.message.content)
        if len(ids) != 1 or ids[0] not in (transaction.cert_req_id, P10CR_ID) or transaction.delivered:
            raise Refusal(_F.badRequest, "nothing of this kind is waiting in this transaction")
        if order.status in (OrderStatus.INVALID, OrderStatus.CANCELLED):
            problem = order.problem
            raise kind_of(problem.kind)(problem.detail) if problem else Forbidden("the order was cancelled")
        ready = order.status is OrderStatus.VALID
        if ready:
            transaction = translate.deliver(transaction)
        order = await self._ra.transactions.remember(order, transaction.stored(), delivered=ready)
        if not ready:
            return bodies.poll_rep(ids[0], self._settings.check_after_seconds, "the request is not decided yet")
        return await self._issued(order, transaction, read_recorded(order.csr or b""), exchange)

    async def _give_up(self, exchange: Exchange) -> Answer:
        """error from the client (RFC 9483 section 3.6.4): it does not want what it waits for."""
        with contextlib.suppress(Refusal, NotReady):
            order, _ = await self._known(exchange)
            if await self._ra.transactions.state(order.serial) is CertificateState.UNCONFIRMED:
                await self._ra.transactions.reject(exchange.principal, order, "the client answered with an error")
        return bodies.pki_conf()

    # ----------------------------------------------------------------- genm

    async def _inform(self, exchange: Exchange) -> Answer:
        """genm (RFC 9810 section 5.3.19): what the mount can tell, and which types it does not know."""
        asked = general.read_genm(exchange.message.content)
        known = general.Knowledge(
            await self._ra.ca_certificates(self._mount),
            await self._ra.crls(self._mount) if any(oid in general.NEED_CRLS for oid, _ in asked) else (),
            await self._described(exchange),
        )
        told = general.answer(asked, known)
        await self._ra.transactions.spend(exchange.principal, exchange.reference, exchange.until)
        return told

    async def _described(self, exchange: Exchange) -> Product | None:
        """The product that certProfile names, else the credential's first one that can be had here."""
        wanted = self._product(exchange.message)
        granted = exchange.principal.credential.products
        found = [one for one in await self._ra.products(self._mount) if one.name in granted]
        if wanted is None:
            return min(found, key=lambda one: granted.index(one.name), default=None)
        product = next((one for one in found if one.name == wanted), None)
        if product is None:
            raise UnknownProduct(f'the profile "{wanted}" cannot be had here')
        return product
