"""A small registration authority for the EST door: it knows passwords and certificates, and signs."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key, pkcs7

from ca_core import der
from ca_core.profile import CertificateProfile
from policy.credential import (
    AuthenticationMethod,
    CertificateClaim,
    Claim,
    Credential,
    CredentialState,
    CredentialType,
    PasswordClaim,
    Principal,
    Requester,
)
from policy.ids import CredentialId, OrderId
from policy.mount import Mount
from policy.order import NewOrder, Order, OrderKind, OrderStatus
from policy.problems import Forbidden, Problem, Unauthenticated, UnknownProduct
from policy.product import Product
from policy.registration import Certificate, RegistrationAuthority
from protocols.endpoint import Services, dispatch
from protocols.est.endpoint import ESTEndpoint
from protocols.est.settings import ESTSettings
from protocols.http import ChannelBinding, HTTPRequest, HTTPResponse, PeerIdentity, Route
from tests.replacing import replace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VECTORS = Path(__file__).parents[2] / "vectors" / "est"
ROOT = "/.well-known/est"
CHANGE_SUBJECT_NAME = "1.3.6.1.5.5.7.7.36"  # RFC 6402 section 2.8


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def make_csr(
    name: str = "device-1.certgate.test",
    key: ec.EllipticCurvePrivateKey | None = None,
    password: bytes | None = None,
    attributes: Sequence[tuple[str, bytes]] = (),
    der_attributes: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """A PKCS #10 request of `cryptography`; its ECDSA signature is another one each time.

    Values of `attributes` become UTF8Strings; those of `der_attributes` are DER.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(name))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if password is not None:
        builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, password)
    for oid, value in attributes:
        builder = builder.add_attribute(x509.ObjectIdentifier(oid), value)
    made = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    if not der_attributes:
        return made
    info, algorithm, _ = der.elements(made)
    *fixed, present = der.elements(info)
    values = [*der.elements(present, 0xA0)]
    values += [der.sequence(der.object_identifier(oid), der.tlv(0x31, value)) for oid, value in der_attributes]
    info = der.sequence(*fixed, der.tlv(0xA0, b"".join(sorted(values))))
    return der.sequence(info, algorithm, der.bit_string(key.sign(info, ec.ECDSA(SHA256()))))


def change_subject_name(name: str, *, tagged: bool = False) -> bytes:
    """The value of a ChangeSubjectName (RFC 6402 section 2.8) with a common name and a DNS name."""
    general_names = x509.SubjectAlternativeName([x509.DNSName(name)]).public_bytes()
    if tagged:
        general_names = b"\xa1" + general_names[1:]
    return der.sequence(name_of(name).public_bytes(), general_names)


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def post(
    operation: str,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    label: str = "",
    certificate: bytes | None = None,
    tls_version: str = "TLSv1.3",
    bindings: dict[ChannelBinding, bytes] | None = None,
) -> HTTPRequest:
    """A POST as the front makes it: base64 of DER with the right type, unless the headers say otherwise."""
    path = f"{ROOT}/{label}/{operation}" if label else f"{ROOT}/{operation}"
    return HTTPRequest(
        method="POST",
        path=path,
        query="",
        headers={"content-type": "application/pkcs10", **(headers or {})},
        body=body,
        peer=PeerIdentity("192.0.2.1", certificate),
        url=f"https://ca.certgate.test{path}",
        request_id="r-1",
        tls_version=tls_version,
        channel_binding=(bindings or {}).get,
    )


def get(operation: str, headers: dict[str, str] | None = None, label: str = "") -> HTTPRequest:
    return replace(post(operation, b"", label=label), method="GET", headers=headers or {})


def certificates_in(response: HTTPResponse) -> list[x509.Certificate]:
    """What another decoder finds in a certs-only answer."""
    assert isinstance(response.body, bytes)
    return pkcs7.load_der_pkcs7_certificates(b64decode(response.body, validate=True))


def text_of(response: HTTPResponse) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()


def make_credential(identifier: str) -> Credential:
    return Credential(
        id=CredentialId(f"c-{identifier}"),
        type=CredentialType.EST,
        identifier=identifier,
        user="operator",
        group="devices",
        products=("device",),
        method=AuthenticationMethod.PASSWORD,
        state=CredentialState.ACTIVE,
        created=NOON,
    )


PRODUCT = Product(
    "device",
    1,
    "Devices",
    "issuing",
    CertificateProfile("device", key_types=("ec-p256", "ec-p384")),
    ("est",),
)


@dataclass
class SmallRA:
    """Credentials in a table, orders by reference, certificates signed on the spot; held when told to."""

    passwords: dict[str, str] = field(default_factory=lambda: {"device": "secret", "other": "secret-2"})
    mounts: dict[str, Mount] = field(default_factory=dict)
    status: OrderStatus = OrderStatus.VALID
    refuse: Problem | None = None
    orders: dict[str, Order] = field(default_factory=dict)
    certificates: dict[str, bytes] = field(default_factory=dict)
    owners: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    rename: bool = False
    products_here: tuple[Product, ...] = (PRODUCT,)

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.sign(name_of("Root"), self.key.public_key(), 1, ca=True)

    def sign(self, subject: x509.Name, key: Any, serial: int, *, ca: bool = False) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name_of("Root")).public_key(key)
        builder = builder.serial_number(serial)
        builder = builder.not_valid_before(NOON).not_valid_after(NOON + timedelta(days=9))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.DER)

    async def mount(self, key: str) -> Mount:
        if key not in self.mounts:
            raise UnknownProduct(f'nothing is mounted at "{key}"')
        return self.mounts[key]

    async def products(self, mount: Mount) -> tuple[Product, ...]:
        return self.products_here

    async def ca_certificates(self, mount: Mount) -> tuple[bytes, ...]:
        return (self.root,)

    async def authenticate(self, mount: str, claims: Sequence[Claim], address: str) -> Principal:
        self.claims = list(claims)
        proven = [self._prove(claim, mount, address) for claim in claims]
        if len({one.credential.id for one in proven}) != 1:
            raise Unauthenticated("the claims do not agree")
        return next((one for one in proven if one.certificate is not None), proven[0])

    def _prove(self, claim: Claim, mount: str, address: str) -> Principal:
        if isinstance(claim, PasswordClaim):
            if self.passwords.get(claim.username) != claim.password.reveal().decode():
                raise Unauthenticated("user name or password is wrong")
            requester = Requester("credential", claim.username)
            return Principal(make_credential(claim.username), requester, mount, address)
        assert isinstance(claim, CertificateClaim)
        if claim.certificate not in self.owners:
            raise Unauthenticated("the client certificate belongs to no credential")
        owner, serial = self.owners[claim.certificate]
        requester = Requester("certificate", serial or "maker")
        return Principal(make_credential(owner), requester, mount, address, None, serial or None, claim.certificate)

    async def enroll(self, principal: Principal, new: NewOrder) -> Order:
        if self.refuse is not None:
            raise self.refuse
        assert new.reference is not None
        assert new.request is not None
        known = self.orders.get(new.reference)
        if known is None:
            serial = f"{len(self.orders) + 2:040x}"
            known = Order(
                id=OrderId(f"o-{serial[-2:]}"),
                owner=principal.owner,
                credential=principal.credential.id,
                requester=str(principal.requester),
                mount=principal.mount,
                product="device",
                product_version=1,
                kind=new.kind,
                status=self.status,
                identifiers=new.request.names,
                created=NOON,
                updated=NOON,
                expires=NOON + timedelta(days=7),
                csr=new.request.der,
                key_type=new.request.key_type,
                reference=new.reference,
                serial=serial,
            )
            public_key = load_der_public_key(new.request.spki)
            der = self.sign(name_of(new.request.names[0].value), public_key, int(serial, 16))
            self.certificates[serial] = der
            self.owners[der] = (principal.credential.identifier, serial)
        order = replace(known, status=self.status)
        self.orders[new.reference] = order
        return order

    async def renew(
        self, principal: Principal, new: NewOrder, *, same_names: bool = True, rename: bool = False
    ) -> Order:
        assert same_names
        self.rename = rename
        if principal.certificate is None:
            raise Forbidden("no certificate")
        return await self.enroll(principal, replace(new, kind=OrderKind.REKEY))

    async def certificate_of(self, order: Order) -> Certificate:
        assert order.serial is not None
        return Certificate(cast(Any, None), self.certificates[order.serial], ())


@dataclass
class Door:
    """The EST door before a small RA: runs the operation behind a request's path, as the front does."""

    ra: SmallRA
    endpoint: ESTEndpoint
    routes: dict[str, Route]

    async def __call__(self, request: HTTPRequest) -> HTTPResponse:
        route = self.routes[request.path]
        assert request.method in route.methods
        return await dispatch(route.operation, self.endpoint.say, request)


MakeDoor = Callable[..., Door]


def make_door(*labels: str, settings: ESTSettings | None = None, **options: Any) -> Door:
    """The door with a mount for each label ("default" if none is named), all with the same options."""
    ra = SmallRA()
    for label in labels or ("default",):
        mount = Mount("est", label, ("device",), "issuing", options=options)
        ra.mounts[mount.key] = mount
    services = Services(
        ra=cast(RegistrationAuthority, ra),
        settings=settings or ESTSettings(),
        base_url="https://ca.certgate.test",
        mtls_url="https://ca.certgate.test:8444",
        status_url="http://ca.certgate.test",
    )
    endpoint = ESTEndpoint(services)
    return Door(ra, endpoint, {one.path: one for one in endpoint.routes(tuple(ra.mounts.values()))})
