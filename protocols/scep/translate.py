"""pkiMessage <-> order: the only module here that knows both vocabularies."""

from __future__ import annotations

import hashlib

import msgspec

from ca_core.csr import CertificationRequest, read_csr
from policy.credential import CertificateClaim, ChallengeClaim, Claim
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import BadProofOfPossession, Forbidden, Malformed, OrderConflict, kind_of
from policy.sealing import Secret
from protocols.scep.message import UNREADABLE, Message
from protocols.scep.settings import MountOptions

_encode = msgspec.msgpack.Encoder().encode


def read_request(plaintext: bytes, signer_spki: bytes) -> CertificationRequest:
    """The certification request in a message, its proof of possession verified (RFC 8894 section 7.6).

    What is no request at all is said in the words for what could not be decrypted, and so is a wrong signature, unless
    the message is signed with the request's own key: who sends somebody else's request with its last blocks changed
    would learn from the difference how their padding came out. Raises Malformed, BadCSR and what else `read_csr`
    raises.
    """
    try:
        return read_csr(plaintext)
    except Malformed:
        raise Malformed(UNREADABLE) from None
    except BadProofOfPossession:
        if read_csr(plaintext, verify=False).spki == signer_spki:
            raise
        raise Malformed(UNREADABLE) from None


def check_signer(message: Message, csr: CertificationRequest) -> None:
    """That a client which signs for itself signs with the key that it wants certified. Raises BadProofOfPossession.

    Its certificate's subject may be any: micromdm signs as "CN=SCEP SIGNER" (RFC 8894 section 2.3 says SHOULD).
    """
    if message.self_signed and message.spki != csr.spki:
        raise BadProofOfPossession("the message is signed by itself, and not with the key of its request")


def reference(message: Message) -> str:
    """The name under which a transaction is known when its client asks again (RFC 8894 section 3.2.1.1).

    A transactionID is often a digest of the public key, which anybody can compute. With the signer it is a name that
    only the holder of the key can use: the key of a client that signs for itself, else its certificate.
    """
    signer = message.spki if message.self_signed else message.signer
    return hashlib.sha256(_encode((message.transaction_id, message.self_signed, signer))).hexdigest()


def to_order(message: Message, csr: CertificationRequest) -> NewOrder:
    """What a PKCSReq or RenewalReq asks for."""
    return NewOrder(request=csr, reference=reference(message))


def read_claim(csr: CertificationRequest, identifier: str, options: MountOptions) -> ChallengeClaim:
    """What the request shows of its credential.

    The path names the credential, else the mount's option, else the part of the challenge before its first colon.
    """
    challenge = csr.challenge_password
    named = identifier or options.credential
    if not named and challenge is not None and ":" in challenge:
        named, _, challenge = challenge.partition(":")
    return ChallengeClaim(named, None if challenge is None else Secret(challenge.encode("utf-8", "replace")), csr)


def signer_claim(message: Message) -> Claim:
    """The signer's certificate, whose key has signed the message."""
    return CertificateClaim(message.signer, tuple(one for one in message.signed.certificates if one != message.signer))


def check_answered(order: Order, csr: CertificationRequest) -> None:
    """That an order known by its transaction is for this request's key. Raises OrderConflict.

    A transaction asked for again brings its certificate once more; one for another key needs a name of its own.
    """
    if order.csr is not None and order.csr != csr.der and read_csr(order.csr, verify=False).spki != csr.spki:
        raise OrderConflict("this transactionID belongs to a request with another key")


def check_alive(order: Order) -> None:
    """That an order may still come to a certificate. Raises the problem with which it ended, or Forbidden."""
    if order.status in (OrderStatus.INVALID, OrderStatus.CANCELLED):
        if order.problem is not None:
            raise kind_of(order.problem.kind)(order.problem.detail)
        raise Forbidden(f"the order is {order.status.value}")
