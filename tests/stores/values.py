"""Entities, as small as they can be, and a few units that the tests of the stores write again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ca_core.issuance import IssuedCertificate
from ca_core.ledger import CertificateEvent, Issuance, IssuanceStage
from ca_core.names import Identifier, IdentifierType
from ca_core.profile import CertificateProfile
from ca_core.status import CertificateState, RevocationReason
from policy.account import Account, AccountStatus, Group, Organisation, User
from policy.audit import AuditEvent, AuditTag
from policy.credential import AuthenticationMethod, Credential, CredentialState, CredentialType
from policy.domain import Domain, DomainScope
from policy.ids import AccountId, AuthorizationId, CredentialId, OrderId, new_id
from policy.mount import Mount
from policy.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    Order,
    OrderKind,
    OrderStatus,
    StoredProblem,
)
from policy.product import Product
from policy.roles import Role
from policy.store import (
    Block,
    Bulk,
    CertificateFilter,
    Demand,
    Entity,
    OneTimeCode,
    Pause,
    ServiceKey,
    StoredAuthority,
    StoredCertificate,
    Unit,
    stored_certificate,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(**later: float) -> datetime:
    """NOW and a duration in the words of `timedelta`."""
    return NOW + timedelta(**later)


def dns(value: str) -> Identifier:
    """A DNS identifier."""
    return Identifier(IdentifierType.DNS, value)


PAUSE = Pause("a1", dns("www.example.org"), NOW, "it failed too often")
CODE = OneTimeCode("0a", "c1", NOW, at(hours=1), ("www.example.org",))
DOMAIN = Domain("example.org", "web", DomainScope.SUBDOMAINS, at(days=90), NOW, "user:ada")
DEMAND = Demand(f"certificate:{0x40 << 152 | 1:040x}", NOW, "an incident", "user:ada", "https://ca.example/incident")


def order(**changes: Any) -> Order:
    """An order that is ready; `changes` wins."""
    values: dict[str, Any] = {
        "id": OrderId(new_id()),
        "owner": "c1",
        "credential": CredentialId("c1"),
        "requester": "user:c1",
        "mount": "rest/default",
        "product": "tls-server",
        "product_version": 1,
        "kind": OrderKind.ENROLL,
        "status": OrderStatus.READY,
        "identifiers": (dns("www.example.org"),),
        "created": NOW,
        "updated": NOW,
        "expires": at(days=1),
    }
    return Order(**(values | changes))


def authorization(**changes: Any) -> Authorization:
    """A pending authorization for www.example.org."""
    values: dict[str, Any] = {
        "id": AuthorizationId(new_id()),
        "owner": "a1",
        "mount": "acme/default",
        "identifier": dns("www.example.org"),
        "wildcard": False,
        "status": AuthorizationStatus.PENDING,
        "created": NOW,
        "expires": at(days=7),
        "challenges": (Challenge("http-01", "token", error=StoredProblem("dns", "no address")),),
    }
    return Authorization(**(values | changes))


def credential(**changes: Any) -> Credential:
    """An active credential `c1`."""
    values: dict[str, Any] = {
        "id": CredentialId("c1"),
        "type": CredentialType.REST,
        "identifier": changes.get("id", "c1"),
        "user": "ada",
        "group": "web",
        "products": ("tls-server", "device"),
        "method": AuthenticationMethod.ACCESS_KEY,
        "state": CredentialState.ACTIVE,
        "created": NOW,
    }
    return Credential(**(values | changes))


def holders() -> tuple[User, Group]:
    """User and group of the credentials, active."""
    return User("ada", ("web",)), Group("web")


def account(**changes: Any) -> Account:
    """A valid ACME account of `c1`."""
    values: dict[str, Any] = {
        "id": AccountId(new_id()),
        "mount": "acme/default",
        "credential": CredentialId("c1"),
        "status": AccountStatus.VALID,
        "spki": b"a key",
        "jwk": {"kty": "EC"},
        "thumbprint": "thumb",
        "contact": ("mailto:ada@example.org",),
        "created": NOW,
    }
    return Account(**(values | changes))


def product(version: int = 1, **changes: Any) -> Product:
    """The product "tls-server"."""
    values: dict[str, Any] = {
        "name": "tls-server",
        "version": version,
        "title": "TLS server",
        "issuer": "ca",
        "profile": CertificateProfile("tls-server"),
        "protocols": ("rest",),
    }
    return Product(**(values | changes))


def mount(**changes: Any) -> Mount:
    """The mount rest/default."""
    values: dict[str, Any] = {
        "protocol": "rest",
        "label": "default",
        "products": ("tls-server",),
        "issuer": "ca",
        "anchors": (b"\x30\x00",),
        "options": {"depth": {"of": [1, None, "x"]}},
    }
    return Mount(**(values | changes))


def one_of_each() -> list[Entity]:
    """One entity of every kind, in an order in which they can be inserted."""
    return [
        credential(),
        account(),
        order(),
        authorization(),
        product(),
        mount(),
        User("ada", ("web",), ("operator",)),
        Group("web", "acme"),
        Organisation("acme", "ACME Ltd.", "DE"),
        Role("help-desk", "Help desk", ("credential:read:group",)),
        StoredAuthority("ca", "ca-1", b"\x30\x02", (), b"\x30\x03", 4, NOW, {"by": "ada"}),
        Block("b1", "identity:dns:www.example.org", "revoked", "user:ada", NOW),
        Bulk("k1", "hold", CertificateFilter(credential="c1"), "user:ada", NOW, "00", 1),
        ServiceKey("ocsp", "ca", "ocsp-1", b"\x30\x00", (b"\x30\x01",), at(days=30), NOW),
    ]


def serial_of(number: int) -> str:
    """A serial number in the form of ids."""
    return f"{0x40 << 152 | number:040x}"


def issuance(order_id: str, number: int, **changes: Any) -> Issuance:
    """A reserved issuance."""
    values: dict[str, Any] = {
        "id": serial_of(number),
        "issuer_id": "i1",
        "order": order_id,
        "stage": IssuanceStage.RESERVED,
        "tbs": b"to be signed",
        "issuer": "ca",
        "shard": 0,
        "profile_name": "tls-server",
        "profile_version": 1,
        "reserved": NOW,
    }
    return Issuance(**(values | changes))


def issued(of: Order, number: int, *, shard: int = 0, not_after: datetime | None = None) -> IssuedCertificate:
    """What the CA gives for the issuance of that number."""
    return IssuedCertificate(
        order=of.id,
        issuer_id="i1",
        issuer="ca",
        serial=int(serial_of(number), 16),
        der=b"certificate %d" % number,
        not_before=NOW,
        not_after=not_after or at(days=90),
        shard=shard,
        profile_name="tls-server",
        profile_version=1,
        spki=b"key %d" % number,
        subject=(),
        names=of.identifiers,
    )


def issue(
    unit: Unit, of: Order, number: int, *, state: CertificateState = CertificateState.VALID, **changes: Any
) -> StoredCertificate:
    """Append to the unit all that both commits of an issuance write, but for the order itself."""
    certificate = issued(of, number, **changes)
    unit.reserve(issuance(of.id, number))
    unit.record(certificate)
    unit.change(event(number, state), ())
    stored = stored_certificate(of, certificate, "ec-p256", of.credential)
    unit.certificate(stored, certificate.der)
    return stored


def event(number: int, state: CertificateState, reason: RevocationReason | None = None) -> CertificateEvent:
    """A change of the certificate of that number."""
    return CertificateEvent("i1", int(serial_of(number), 16), state, reason, NOW)


def audited(of: str = "order:1", tag: AuditTag = AuditTag.ORDER_PLACED) -> AuditEvent:
    """An audit event."""
    return AuditEvent(tag, NOW, "user:ada", of, {"n": 1})


def inserting(*entities: Entity) -> Unit:
    """A unit that inserts these."""
    unit = Unit()
    for entity in entities:
        unit.insert(entity)
    return unit


def saving(*entities: Entity) -> Unit:
    """A unit that saves these."""
    unit = Unit()
    for entity in entities:
        unit.save(entity)
    return unit
