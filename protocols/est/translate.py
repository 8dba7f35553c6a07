"""EST request <-> order: the only module here that knows both vocabularies."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec.structs import replace

from ca_core import oids
from ca_core.csr import CertificationRequest, read_attribute
from policy.credential import Principal
from policy.order import NewOrder, Order, OrderKind, OrderStatus
from policy.problems import BadCSR, Forbidden
from protocols.est.settings import ESTSettings

_encode = msgspec.msgpack.Encoder().encode


def to_order(principal: Principal, label: str, csr: CertificationRequest) -> NewOrder:
    """What simpleenroll asks for (RFC 7030 section 4.2.1).

    Raises BadCSR for a ChangeSubjectName (RFC 6402 section 2.8): there is no name yet that could change.
    """
    if oids.CMC_CHANGE_SUBJECT_NAME in csr.attributes:
        raise BadCSR("ChangeSubjectName is for simplereenroll: ask for the names in the request itself")
    return NewOrder(kind=OrderKind.ENROLL, request=csr, reference=reference(principal, label, csr, "enroll"))


def to_generated(principal: Principal, label: str, csr: CertificationRequest) -> NewOrder:
    """What serverkeygen asks for (RFC 7030 section 4.4.1): a certificate for a key that is still to be made."""
    # With what it is to be encrypted for: asked for in another way, a key that waits is not the one that is wanted.
    protection = [
        read_attribute(csr, oid) for oid in (oids.DECRYPT_KEY_IDENTIFIER, oids.ASYMMETRIC_DECRYPT_KEY_IDENTIFIER)
    ]
    known = reference(principal, label, csr, f"serverkeygen {protection}")
    return replace(to_order(principal, label, csr), reference=known)


def to_renewal(principal: Principal, label: str, csr: CertificationRequest) -> NewOrder:
    """What simplereenroll asks for (RFC 7030 section 4.2.2); the service sees whether key or names are others."""
    known = reference(principal, label, csr, f"reenroll {principal.certificate}")
    return NewOrder(kind=OrderKind.RENEW, request=csr, reference=known)


def reference(principal: Principal, label: str, csr: CertificationRequest, operation: str) -> str:
    """The name under which the same request is known when it comes again (RFC 7030 section 4.2.3).

    A digest of who asks, where, with which key and for which names. Not of the request's bytes: its
    signature is another one each time, and so is the request itself when it carries the channel binding of
    a new connection. Who asks is part of it, so that nobody fetches another client's certificate by sending
    that client's request.
    """
    requester = principal.requester
    said = (
        operation,
        principal.credential.id,
        requester.kind,
        requester.id,
        label,
        csr.subject,
        sorted([(name.type, name.value) for name in csr.names]),
        csr.unknown_names,
        read_attribute(csr, oids.CMC_CHANGE_SUBJECT_NAME),
        csr.spki,
    )
    # MessagePack writes lengths, so that no two different tuples are written alike.
    return hashlib.sha256(_encode(said)).hexdigest()


def retry_seconds(order: Order, settings: ESTSettings) -> int:
    """When to ask again about an order that has no certificate yet. Raises Forbidden when it never will."""
    if order.status is OrderStatus.HELD:
        return settings.held_retry_after_seconds
    if order.status in (OrderStatus.INVALID, OrderStatus.CANCELLED):
        detail = order.problem.detail if order.problem is not None else f"the order is {order.status.value}"
        raise Forbidden(detail, order=order.id)
    return settings.order_retry_after_seconds
