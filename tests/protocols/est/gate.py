"""The EST door of a whole certgate: real store in memory, CA and rules; only the listener is missing."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from policy.credentialing import CreatedCredential
from policy.mount import Mount
from protocols.endpoint import Services, dispatch
from protocols.est.endpoint import ESTEndpoint
from protocols.est.settings import ESTSettings
from protocols.http import HTTPRequest, HTTPResponse
from tests.conftest import ACTOR, House
from tests.protocols.est.small import basic, make_csr, post
from tests.replacing import replace

NAME = "device-1.certgate.test"


@dataclass
class Gate:
    """The EST door of a house."""

    house: House
    labels: tuple[str, ...] = ()
    settings: ESTSettings = field(default_factory=ESTSettings)

    async def __call__(self, request: HTTPRequest) -> HTTPResponse:
        core = self.house.core
        services = Services(
            ra=core.ra,
            settings=self.settings,
            base_url="https://x",
            mtls_url="https://x",
            status_url="http://x",
            clock=self.house.clock,
        )
        endpoint = ESTEndpoint(services)
        mounts = [await core.ra.mount(key) for key in ("est/default", *self.labels)]
        (route,) = [one for one in endpoint.routes(tuple(mounts)) if _leads(one.path, request.path)]
        if route.path != request.path:
            request = replace(request, parameters={"certid": request.path.rpartition("/")[2]})
        return await dispatch(route.operation, endpoint.say, request)

    async def mount(self, label: str = "default", products: tuple[str, ...] = ("device",), **options: object) -> None:
        """Make or change a mount."""
        mount = Mount("est", label, products, "issuing", options=options)
        await self.house.core.administration.apply_mount(mount, ACTOR)
        if mount.label != "default" and mount.key not in self.labels:
            self.labels = (*self.labels, mount.key)

    async def product(self, name: str, **profile: Any) -> None:
        """Make a product like "device", with another profile."""
        core = self.house.core
        (device,) = await core.ra.products(Mount("est", "any", ("device",), "issuing"))
        changed = replace(device, name=name, profile=replace(device.profile, name=name, **profile))
        await core.administration.apply_product(changed, ACTOR)

    async def credential(self, product: str = "device", **more: object) -> CreatedCredential:
        return await self.house.credential("est", product, **more)

    def basic(self, shown: CreatedCredential) -> dict[str, str]:
        return basic(shown.credential.identifier, shown.secret or "")

    async def enrol(self, shown: CreatedCredential, csr: bytes | None = None) -> HTTPResponse:
        assert shown.secret is not None
        headers = basic(shown.credential.identifier, shown.secret)
        return await self(post("simpleenroll", b64encode(csr or make_csr(NAME)), headers))

    async def reenrol(self, certificate: x509.Certificate, csr: bytes) -> HTTPResponse:
        der = certificate.public_bytes(Encoding.DER)
        return await self(post("simplereenroll", b64encode(csr), certificate=der))


def _leads(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("{certid}") and path.startswith(pattern.removesuffix("{certid}")))


def names_of(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)
