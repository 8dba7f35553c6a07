"""What policy's tests make: requests, keys, claims, principals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ca_core.csr import CertificationRequest, read_csr
from policy.account import Account
from policy.audit import AuditEvent, AuditTag
from policy.credential import AccountClaim, BindingClaim, CertificateClaim, OpenClaim, PasswordClaim, Principal
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import Unauthenticated
from policy.registration import Certificate, NewAccount
from policy.sealing import Secret
from policy.store import PRODUCT, StoreUnavailable, Unit
from tests.conftest import ACTOR, House, dns
from tests.replacing import replace

DER = serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
ADDRESS = "127.0.0.1"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@lru_cache(maxsize=1)
def some_key() -> ec.EllipticCurvePrivateKey:
    """One key for tests to which keys do not matter."""
    return new_key()


def request(*names: str, cn: str | None = None, key: ec.EllipticCurvePrivateKey | None = None) -> CertificationRequest:
    """A certification request for DNS names, as read."""
    subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)] if cn else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    return read_csr(builder.sign(key or new_key(), hashes.SHA256()).public_bytes(DER))


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DER of a public key."""
    return key.public_key().public_bytes(DER, SPKI)


async def est(house: House, product: str = "tls", **more: object) -> Principal:
    """A new EST credential, authenticated by its password."""
    made = await house.credential("est", product, **more)
    claim = PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))
    return await house.core.ra.authenticate("est/default", [claim], ADDRESS)


async def account(house: House, mount: str = "acme/open", product: str = "tls") -> Account:
    """A new ACME account: at acme/open without binding, elsewhere with a credential of its own."""
    new = NewAccount(spki(new_key()), {"kty": "EC"}, f"thumbprint-{spki(new_key()).hex()[-20:]}")
    if mount == "acme/open":
        return await house.core.ra.register(mount, new, [OpenClaim()], ADDRESS)
    made = await house.credential("acme", product)
    return await house.core.ra.register(mount, new, [binding(made.credential.identifier)], ADDRESS)


def binding(kid: str, *, good: bool = True) -> BindingClaim:
    """An external account binding whose MAC is good, or not."""

    def verify(_: Secret) -> None:
        if not good:
            raise Unauthenticated("wrong MAC")

    return BindingClaim(kid, verify)


async def acme(house: House, mount: str = "acme/open", product: str = "tls") -> Principal:
    """An ACME account, authenticated."""
    made = await account(house, mount, product)
    return await house.core.ra.authenticate(mount, [AccountClaim(made)], ADDRESS)


async def showing(house: House, certificate: Certificate, mount: str = "est/default") -> Principal:
    """Who shows a client certificate, and nothing else."""
    return await house.core.ra.authenticate(mount, [CertificateClaim(certificate.der)], ADDRESS)


async def enrolled(house: House, principal: Principal, csr: CertificationRequest, **more: Any) -> Certificate:
    """The certificate that a protocol of one step gives for a request."""
    order = await house.core.ra.enroll(principal, NewOrder(request=csr, **more))
    return await house.core.ra.certificate_of(order)


async def proven(house: House, principal: Principal, *names: str) -> Order:
    """An order of an account that has proven its names by challenges."""
    order = await house.core.ra.place(principal, NewOrder(identifiers=tuple(dns(one) for one in names)))
    for authorization in order.authorizations:
        await house.core.ra.answer(principal, authorization, "http-01")
    order = await house.core.ra.order(principal, order.id)
    assert order.status is OrderStatus.READY
    return order


async def change_product(house: House, product: str = "tls", **changes: Any) -> None:
    """Make these changes in the next version of a product."""
    current = await house.core.store.one(PRODUCT, product)
    assert current is not None
    await house.core.administration.apply_product(replace(current, **changes), ACTOR)


async def change_validation(house: House, **changes: Any) -> None:
    """Make these changes in the validation rules of the product "tls"."""
    current = await house.core.store.one(PRODUCT, "tls")
    assert current is not None
    await change_product(house, validation=replace(current.validation, **changes))


async def change_names(house: House, **changes: Any) -> None:
    """Make these changes in the name rules of the product "tls"."""
    current = await house.core.store.one(PRODUCT, "tls")
    assert current is not None
    await change_product(house, names=replace(current.names, **changes))


async def events(house: House, tag: AuditTag) -> list[AuditEvent]:
    """The audit events with this tag, oldest first."""
    return [event async for _, event in house.core.inventory.audit() if event.tag is tag]


def after_judging(house: House, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]]) -> None:
    """Have something happen after an order was judged, before its commit 1."""
    decide = house.fulfilment.deciding.decide

    async def decided(*arguments: Any) -> Any:
        decision = await decide(*arguments)
        await happens()
        return decision

    monkeypatch.setattr(house.fulfilment.deciding, "decide", decided)


@contextmanager
def crash_while_signing(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within this, the process ends between the two commits of an issuance."""

    async def die(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as crash:
        crash.setattr(house.core.ca, "sign", die)
        with pytest.raises(asyncio.CancelledError):
            yield


@contextmanager
def full_disk(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within this, the store reads and cannot write."""

    async def fail(_: Unit) -> None:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as failure:
        failure.setattr(house.core.store, "commit", fail)
        yield
