"""CMP message <-> order: the only module here that knows both vocabularies."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from cryptography import x509

from ca_core import oids
from ca_core.crmf import CertTemplate
from ca_core.csr import CertificationRequest
from ca_core.der import object_identifier
from ca_core.names import subject_text
from policy.credential import Principal
from policy.order import NewOrder
from policy.registration import Certificate
from protocols.cmp.bodies import CertStatus
from protocols.cmp.message import BodyType, PKIMessage
from protocols.cmp.problems import PKIFailureInfo, PKIStatus, Refusal
from protocols.cmp.protection import Kind

ANSWERS: dict[BodyType, BodyType] = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
}
"""Bodies that ask for a certificate, and what they are answered with."""

P10CR_ID = -1
"""certReqId of the one certificate of a p10cr (RFC 9483 section 4.1.4, erratum 8806)."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a transaction keeps to from its first message on: kind and algorithm of protection, and who speaks."""

    kind: Kind
    algorithm: str
    who: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is kept of a transaction between its messages; nonces are hex."""

    binding: Binding
    body: BodyType
    cert_req_id: int
    implicit: bool
    sent: str
    nonces: tuple[str, ...] = field(default=())
    delivered: bool = False
    indirect: bool = False
    """Whether the certificate is sent encrypted, for the client to prove its key by reading it."""

    def stored(self) -> dict[str, Any]:
        """As an order keeps it."""
        kept: dict[str, Any] = msgspec.to_builtins(self)
        return kept


def read_transaction(stored: dict[str, Any]) -> Transaction:
    """What an order keeps. Raises Refusal when it is none of this door's."""
    try:
        return msgspec.convert(stored, Transaction)
    except msgspec.ValidationError as exc:
        raise Refusal(PKIFailureInfo.badRequest, "the transaction cannot go on") from exc


def begin(
    message: PKIMessage, binding: Binding, nonce: bytes, *, implicit: bool, indirect: bool = False
) -> Transaction:
    """The transaction that a message begins, with the nonce of the answer."""
    return Transaction(
        binding,
        message.body,
        P10CR_ID if message.body is BodyType.P10CR else 0,
        implicit,
        nonce.hex(),
        (_hex(message.header.sender_nonce),),
        indirect=indirect,
    )


def go_on(transaction: Transaction, message: PKIMessage, binding: Binding, nonce: bytes) -> Transaction:
    """The transaction after a further message. Raises Refusal for one that does not belong to it (RFC 9483 3.5)."""
    before = transaction.binding
    if binding.kind is not before.kind:
        raise Refusal(PKIFailureInfo.wrongIntegrity, f"the transaction began with a {before.kind}; so it goes on")
    if binding != before:
        raise Refusal(PKIFailureInfo.badMessageCheck, "the transaction began with another protection")
    received = _hex(message.header.sender_nonce)
    if received in transaction.nonces:
        raise Refusal(PKIFailureInfo.badSenderNonce, "the senderNonce is that of an earlier message")
    if not hmac.compare_digest(transaction.sent, _hex(message.header.recip_nonce)):
        raise Refusal(PKIFailureInfo.badRecipientNonce, "recipNonce is not the senderNonce of the last answer")
    return replace(transaction, sent=nonce.hex(), nonces=(*transaction.nonces, received))


def deliver(transaction: Transaction) -> Transaction:
    """The transaction once its certificate is with the client."""
    return replace(transaction, delivered=True)


def _hex(nonce: bytes | None) -> str:
    return (nonce or b"").hex()


def to_order(
    request: CertificationRequest,
    transaction: Transaction,
    *,
    reference: str,
    product: str | None,
    confirm_seconds: int,
    template: CertTemplate | None = None,
    replaces: str | None = None,
) -> NewOrder:
    """What ir, cr, p10cr and kur ask for. The service sees by itself whether a renewal is one."""
    return NewOrder(
        product=product,
        request=request,
        not_before=template.not_before if template is not None else None,
        not_after=template.not_after if template is not None else None,
        reference=reference,
        replaces=replaces,
        once=True,
        confirm_seconds=None if transaction.implicit else confirm_seconds,
        transaction=transaction.stored(),
    )


def granted(request: CertificationRequest, certificate: Certificate) -> tuple[PKIStatus, str]:
    """Whether the certificate is what was asked for, or has modifications (RFC 9810 section 5.2.3)."""
    stored, changes = certificate.stored, []
    if stored.subject != request.subject:
        changes.append(f'the subject is "{subject_text(stored.subject)}"')
    if set(stored.names) != set(request.names):
        changes.append("the subject alternative names differ")
    asked = [oid for oid in request.extensions if oid != oids.SUBJECT_ALT_NAME]
    if asked:
        there = {one.oid.dotted_string for one in x509.load_der_x509_certificate(certificate.der).extensions}
        missing = [oid for oid in asked if oid not in there]
        if missing:
            changes.append(f"the extensions {', '.join(missing)} are left out")
    if not changes:
        return PKIStatus.ACCEPTED, ""
    return PKIStatus.GRANTED_WITH_MODS, "; ".join(changes)


def is_authority(principal: Principal, purposes: Iterable[str]) -> bool:
    """Whether this is a registration authority: by the credential's role, and cmcRA where it shows a certificate."""
    if principal.credential.options.get("ra") is not True:
        return False
    return principal.certificate_der is None or oids.EKU_CMC_RA in purposes


_HASH_ALGS = {
    object_identifier(f"2.16.840.1.101.3.4.2.{arc}"): name
    for arc, name in {
        1: "sha256",
        2: "sha384",
        3: "sha512",
        8: "sha3_256",
        9: "sha3_384",
        10: "sha3_512",
        12: "shake_256",
    }.items()
}
# What hashes inside its signature scheme (RFC 9481 section 3.3, RFC 9810 section 5.3.18).
_HASH_OF_SCHEME = {"1.3.101.112": "sha512", "1.3.101.113": "shake_256"}


def certificate_hash(certificate: bytes, hash_alg: bytes | None) -> bytes:
    """What certHash has to be: by hashAlg (DER of its OID), else by the hash of the certificate's own signature.

    Raises Refusal (badCertId).
    """
    if hash_alg is not None:
        name = _HASH_ALGS.get(hash_alg)
        if name is None:
            raise Refusal(PKIFailureInfo.badCertId, "the hashAlg is not known here")
    else:
        read = x509.load_der_x509_certificate(certificate)
        inner = read.signature_hash_algorithm
        name = inner.name if inner is not None else _HASH_OF_SCHEME.get(read.signature_algorithm_oid.dotted_string)
        if name is None:
            raise Refusal(PKIFailureInfo.badCertId, "hashAlg is missing: the certificate's signature names no hash")
    if name == "shake_256":
        return hashlib.shake_256(certificate).digest(64)
    return hashlib.new(name, certificate).digest()


def one_status(statuses: tuple[CertStatus, ...], transaction: Transaction, *, strict: bool) -> CertStatus:
    """The one CertStatus of a certConf (RFC 9483 section 4.1.1). Raises Refusal (badRequest)."""
    if len(statuses) != 1:
        raise Refusal(PKIFailureInfo.badRequest, f"certConf has {len(statuses)} CertStatus instead of one")
    (status,) = statuses
    known = (transaction.cert_req_id,) if strict else (transaction.cert_req_id, 0)
    if status.cert_req_id not in known:
        raise Refusal(PKIFailureInfo.badRequest, f"certReqId is {status.cert_req_id} instead of {known[0]}")
    if status.contradicting:
        raise Refusal(PKIFailureInfo.badRequest, "certConf says accepted and names a failure")
    return status
