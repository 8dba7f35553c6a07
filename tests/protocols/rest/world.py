"""The API on a real house (store, CA, rules in memory): requests take the real routes, answers are read as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.app import kits_of
from gateway.routing import Door, RouteTable
from policy.account import Group, User
from policy.credential import CredentialType
from policy.credentialing import NewCredential
from policy.mount import Mount
from policy.product import Product
from policy.store import PRODUCTS
from protocols.endpoint import Services, dispatch
from protocols.http import HTTPRequest, HTTPResponse, PeerIdentity
from protocols.rest.endpoint import RESTEndpoint
from protocols.rest.settings import RESTSettings
from tests.conftest import ACTOR, House
from tests.replacing import replace

BASE = "https://127.0.0.1:8443"


def make_csr(*names: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """PEM of a request for these names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, which has to look like one."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.json["status"] == self.status
        assert self.json["type"].endswith(self.json["code"])
        found: str = self.json["code"]
        return found

    @property
    def pointers(self) -> list[str]:
        """The fields that a problem is about."""
        return [one["pointer"] for one in self.json["errors"]]


class API:
    """A client of the API, with one access key."""

    def __init__(self, house: House, key: str = "") -> None:
        self.house = house
        self.key = key
        core = house.core
        self.endpoint = RESTEndpoint(
            Services(
                ra=core.ra,
                settings=RESTSettings(),
                base_url=BASE,
                mtls_url="https://127.0.0.1:8444",
                status_url="http://ca.certgate.test",
                clock=house.clock,
                administration=core.administration,
                people=core.people,
                organisations=core.organisations,
                onboarding=core.onboarding,
                domains=core.domains,
                inventory=core.inventory,
                lifecycle=core.lifecycle,
                proposing=core.proposing,
                admission=core.admission,
                kits=kits_of(core),
            )
        )
        mount = Mount("rest", "default", (), "issuing")
        self.table = RouteTable([Door("rest", self.endpoint.say, self.endpoint.routes((mount,)))])

    def with_key(self, key: str) -> API:
        """The same server, asked with another key."""
        other = API(self.house, key)
        other.endpoint, other.table = self.endpoint, self.table
        return other

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        address: str = "192.0.2.1",
        certificate: bytes | None = None,
    ) -> Answer:
        """Ask; `body` is sent as JSON unless it is bytes."""
        path, _, query = path.partition("?")
        whole = path if path.startswith(("/oauth", "/.well-known")) else f"/api/v1{path}"
        found = self.table.find(whole)
        assert found.resource is not None, f"nothing at {whole}"
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {"content-type": "application/json"} if body is not None else {}
        if self.key:
            fields["authorization"] = f"Bearer {self.key}"
        fields |= {name.lower(): value for name, value in (headers or {}).items()}
        request = HTTPRequest(
            method=method,
            path=whole,
            query=query,
            headers=fields,
            body=data,
            peer=PeerIdentity(address, certificate),
            url=BASE + whole,
            request_id="r-1",
            parameters=found.parameters,
        )
        target = found.resource.targets[method]
        return await _answer(await dispatch(target.route.operation, target.door.say, request))


async def _answer(response: HTTPResponse) -> Answer:
    body = response.body
    if isinstance(body, AsyncIterator):
        body = b"".join([part async for part in body])
    headers: dict[str, str] = {}
    for name, value in response.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if response.content_type is not None:
        headers["Content-Type"] = response.content_type
    return Answer(response.status, headers, body)


async def open_api(house: House) -> API:
    """The API of a house, whose products may be ordered over it, asked by an administrator."""
    admin = house.core.administration
    for product in await house.core.store.many(PRODUCTS):
        if product.name in ("tls", "held"):
            await admin.apply_product(_with_rest(product), ACTOR)
    await admin.apply_mount(Mount("rest", "default", ("tls", "held"), "issuing"), ACTOR)
    await house.core.people.apply_user(User("root", ("ops",), roles=("administrator",)), ACTOR)
    return API(house, await access_key(house, "root"))


def _with_rest(product: Product) -> Product:
    return replace(product, protocols=(*product.protocols, "rest"))


async def access_key(house: House, user: str = "alice", group: str = "ops", **more: Any) -> str:
    """A new access key of a user."""
    new = NewCredential(CredentialType.REST, user, group, more.pop("products", ("tls",)), **more)
    made = await house.core.administration.create_credential(new, ACTOR)
    assert made.secret is not None
    return made.secret


async def stranger_key(house: House) -> str:
    """A new access key of somebody in another group."""
    await house.core.people.apply_group(Group("sales"), ACTOR)
    await house.core.people.apply_user(User("eve", ("sales",), roles=("requester",)), ACTOR)
    return await access_key(house, "eve", "sales")
