"""The SCEP door of a whole certgate: real store in memory, CA and rules; only the listener is missing."""

from __future__ import annotations

import dataclasses
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from msgspec.structs import replace

from gateway.app import services_for
from policy.credentialing import CreatedCredential
from policy.mount import Mount
from policy.order import Order, OrderStatus
from policy.store import CERTIFICATES, ORDERS
from protocols.endpoint import dispatch
from protocols.http import HTTPRequest, HTTPResponse, PeerIdentity
from protocols.scep.endpoint import SCEPEndpoint
from protocols.scep.settings import SCEPSettings
from tests.conftest import ACTOR, House
from tests.protocols.scep.client import CertRep, Client, make_csr, read_cert_rep

NAME = "device-1.certgate.test"
PATH = "/scep/default"


@dataclass
class Gate:
    """The SCEP door of a house, and what its operator does."""

    house: House
    labels: list[str] = field(default_factory=lambda: ["default"])
    settings: SCEPSettings | None = None

    # -- HTTP

    async def __call__(self, request: HTTPRequest) -> HTTPResponse:
        services = services_for(self.house.core, "scep")
        if self.settings is not None:
            services = dataclasses.replace(services, settings=self.settings)
        endpoint = SCEPEndpoint(services)
        mounts = tuple([await self.house.core.ra.mount(f"scep/{label}") for label in self.labels])
        for route in endpoint.routes(mounts):
            parameters = _fits(route.path, request.path)
            if parameters is not None:
                assert request.method in route.methods
                request = replace(request, parameters=parameters)
                return await dispatch(route.operation, endpoint.say, request)
        raise AssertionError(f"nothing is at {request.path}")

    async def get(self, operation: str, message: str | None = None, path: str = PATH) -> HTTPResponse:
        query = f"operation={operation}" + ("" if message is None else f"&message={message}")
        return await self(http("GET", path, query))

    async def post(self, body: bytes, path: str = PATH, query: str = "operation=PKIOperation") -> HTTPResponse:
        return await self(http("POST", path, query, body))

    # -- SCEP

    async def ra(self, path: str = PATH) -> bytes:
        """The certificate to which messages are encrypted: the first of GetCACert."""
        return (await self.ca(path))[0].public_bytes(Encoding.DER)

    async def ca(self, path: str = PATH) -> list[x509.Certificate]:
        answer = await self.get("GetCACert", path=path)
        assert isinstance(answer.body, bytes)
        if answer.content_type == "application/x-x509-ca-cert":
            return [x509.load_der_x509_certificate(answer.body)]
        return certificates_in(answer.body)

    async def send(self, body: bytes, path: str = PATH) -> CertRep:
        """The CertRep to a message; HTTP is as it should be."""
        answer = await self.post(body, path)
        assert answer.status == 200, answer.body
        assert answer.content_type == "application/x-pki-message"
        assert isinstance(answer.body, bytes)
        return read_cert_rep(answer.body)

    async def ask(
        self, client: Client, plaintext: bytes, message_type: int | str = 19, path: str = PATH, **more: Any
    ) -> CertRep:
        return await self.send(client.message(plaintext, [await self.ra(path)], message_type, **more), path)

    async def enrol(self, client: Client, challenge: str | None, name: str = NAME, path: str = PATH) -> CertRep:
        return await self.ask(client, make_csr(name, client.key, challenge), path=path)

    async def enrolled(self, client: Client, shown: CreatedCredential, name: str = NAME) -> x509.Certificate:
        answer = await self.enrol(client, challenge_of(shown), name)
        assert answer.status == "0", answer.fail_text
        (certificate,) = client.certificates(answer)
        return certificate

    # -- the operator

    async def credential(self, product: str = "device", **more: object) -> CreatedCredential:
        return await self.house.credential("scep", product, **more)

    async def mount(self, label: str = "default", **changes: Any) -> None:
        """Make or change a mount; what is no field of a mount is an option."""
        known: dict[str, Any] = {"products": ("device", "tls", "held"), "issuer": "issuing"}
        known |= {name: changes.pop(name) for name in ("products", "issuer", "anchors") if name in changes}
        mount = Mount("scep", label, **known, options=changes)
        await self.house.core.administration.apply_mount(mount, ACTOR)
        if label not in self.labels:
            self.labels.append(label)

    async def certificates(self) -> int:
        """How many certificates there are that clients enrolled."""
        found = await self.house.core.store.many(CERTIFICATES, "", "", "", 1000)
        return sum(stored.credential != "service" for stored, _ in found)

    async def orders(self, status: OrderStatus) -> list[Order]:
        found: list[Order] = await self.house.core.store.many(ORDERS, status, "", "", 1000)
        return found


def http(method: str, path: str, query: str, body: bytes = b"", **more: Any) -> HTTPRequest:
    return HTTPRequest(
        method=method,
        path=path,
        query=query,
        headers={},
        body=body,
        peer=PeerIdentity("192.0.2.1"),
        url=f"http://ca.certgate.test{path}",
        request_id="r-1",
        **more,
    )


def _fits(pattern: str, path: str) -> dict[str, str] | None:
    if pattern == path:
        return {}
    parts, given = pattern.split("/"), path.split("/")
    if len(parts) != len(given):
        return None
    found: dict[str, str] = {}
    for part, value in zip(parts, given, strict=True):
        if part == "{credential}" and value and value != "pkiclient.exe":
            found["credential"] = value
        elif part != value:
            return None
    return found


def challenge_of(shown: CreatedCredential) -> str:
    """A challenge password as a client is told it: it names its credential."""
    return f"{shown.credential.identifier}:{shown.secret}"


def in_query(body: bytes) -> str:
    return quote(b64encode(body).decode(), safe="")


def certificates_in(body: bytes) -> list[x509.Certificate]:
    """The certificates of a degenerate SignedData in the order in which they stand."""
    from asn1crypto import cms

    found = cms.ContentInfo.load(body)["content"]["certificates"]
    return [x509.load_der_x509_certificate(one.chosen.dump()) for one in found]


__all__ = ["NAME", "PATH", "Gate", "certificates_in", "challenge_of", "http", "in_query", "pkcs7"]
