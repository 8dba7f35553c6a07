"""CRL, OCSP and CA certificate of a certificate of the real services, found by what it says itself."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from ca_core.csr import read_csr
from ca_core.status import RevocationReason
from gateway.routing import Door, RouteTable
from policy.credential import PasswordClaim
from policy.order import NewOrder
from policy.sealing import Secret
from protocols.endpoint import Services, dispatch
from protocols.http import HTTPRequest, HTTPResponse, PeerIdentity
from protocols.status.endpoint import StatusEndpoint
from protocols.status.settings import StatusSettings
from tests.conftest import ACTOR, House
from tests.replacing import replace

NAME = "status.certgate.test"


@dataclass
class Relying:
    """A relying party: knows one certificate, and asks where that says."""

    house: House
    certificate: x509.Certificate

    async def fetch(self, url: str, body: bytes | None = None) -> HTTPResponse:
        core = self.house.core
        services = Services(
            ra=core.ra,
            settings=StatusSettings(),
            base_url="https://x",
            mtls_url="https://x",
            status_url="http://x",
        )
        endpoint = StatusEndpoint(replace(services, clock=self.house.clock))
        table = RouteTable([Door("status", endpoint.say, endpoint.routes(()))])
        path = urlsplit(url).path
        found = table.find(path)
        assert found.resource is not None, path
        method = "GET" if body is None else "POST"
        request = HTTPRequest(
            method=method,
            path=path,
            query="",
            headers={} if body is None else {"content-type": "application/ocsp-request"},
            body=body or b"",
            peer=PeerIdentity("192.0.2.1"),
            url=url,
            request_id="r-1",
            parameters=found.parameters,
        )
        return await dispatch(found.resource.targets[method].route.operation, endpoint.say, request)

    async def bytes_at(self, url: str, body: bytes | None = None) -> bytes:
        answer = await self.fetch(url, body)
        assert answer.status == 200, answer.body
        assert isinstance(answer.body, bytes)
        return answer.body

    def access(self, method: x509.ObjectIdentifier) -> str:
        found = self.certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        (location,) = [str(one.access_location.value) for one in found if one.access_method == method]
        return location

    @property
    def crl_url(self) -> str:
        points = self.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert points[0].full_name is not None
        return str(points[0].full_name[0].value)

    async def issuer(self) -> x509.Certificate:
        url = self.access(AuthorityInformationAccessOID.CA_ISSUERS)
        return x509.load_der_x509_certificate(await self.bytes_at(url))

    async def crl(self) -> x509.CertificateRevocationList:
        return x509.load_der_x509_crl(await self.bytes_at(self.crl_url))

    async def request(self, nonce: bytes | None = None, serial: int | None = None) -> bytes:
        builder = ocsp.OCSPRequestBuilder()
        if serial is None:
            builder = builder.add_certificate(self.certificate, await self.issuer(), SHA1())
        else:
            known = ocsp.load_der_ocsp_request(await self.request())
            builder = builder.add_certificate_by_hash(known.issuer_name_hash, known.issuer_key_hash, serial, SHA1())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    async def get(self, request: bytes) -> ocsp.OCSPResponse:
        url = self.access(AuthorityInformationAccessOID.OCSP)
        text = quote(b64encode(request).decode(), safe="")
        return ocsp.load_der_ocsp_response(await self.bytes_at(f"{url}/{text}"))

    async def post(self, request: bytes) -> ocsp.OCSPResponse:
        url = self.access(AuthorityInformationAccessOID.OCSP)
        return ocsp.load_der_ocsp_response(await self.bytes_at(url, request))

    async def revoke(self) -> None:
        revocation = self.house.core.revocation
        stored = await revocation.by_serial(f"{self.certificate.serial_number:040x}")
        await revocation.revoke(stored, RevocationReason.KEY_COMPROMISE, ACTOR.name)


@pytest.fixture
async def relying(house: House) -> Relying:
    shown = await house.credential("est", "device")
    claim = PasswordClaim(shown.credential.identifier, Secret((shown.secret or "").encode()))
    principal = await house.core.ra.authenticate("est/default", [claim], "192.0.2.1")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
    order = await house.core.ra.enroll(principal, NewOrder(request=read_csr(csr), reference="1"))
    issued = await house.core.ra.certificate_of(order)
    return Relying(house, x509.load_der_x509_certificate(issued.der))


async def test_the_issuer_is_where_the_certificate_says(relying: Relying) -> None:
    """RFC 5280 section 4.2.2.1: caIssuers leads to the certificate whose key signed."""
    relying.certificate.verify_directly_issued_by(await relying.issuer())


async def test_the_crl_is_where_the_certificate_says(relying: Relying) -> None:
    """RFC 5280 section 6.3.3: signed by the issuer, for this very distribution point."""
    crl = await relying.crl()
    assert crl.is_signature_valid((await relying.issuer()).public_key())  # type: ignore[arg-type]
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert [str(name.value) for name in point.full_name or ()] == [relying.crl_url]
    assert crl.get_revoked_certificate_by_serial_number(relying.certificate.serial_number) is None


async def test_good_then_revoked(relying: Relying) -> None:
    """OCSP says it with the commit; by GET and by POST, with a nonce and without."""
    for answer in (
        await relying.get(await relying.request()),
        await relying.post(await relying.request(nonce=bytes(32))),
    ):
        assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    await relying.revoke()
    for answer in (
        await relying.get(await relying.request()),
        await relying.post(await relying.request(nonce=bytes(32))),
    ):
        assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert answer.revocation_reason is x509.ReasonFlags.key_compromise


async def test_a_nonce_comes_back(relying: Relying) -> None:
    """RFC 9654 section 2.1."""
    nonce = bytes(range(32))
    answer = await relying.get(await relying.request(nonce=nonce))
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


async def test_a_serial_that_was_never_issued_is_unknown(relying: Relying) -> None:
    """RFC 6960 section 2.2: never "good"."""
    answer = await relying.get(await relying.request(serial=1234567890))
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


async def test_openssl_verifies_the_answer(relying: Relying, tmp_path: Path) -> None:
    """The delegated responder's certificate, as another implementation judges it."""
    issuer = await relying.issuer()
    (tmp_path / "issuer.pem").write_bytes(issuer.public_bytes(Encoding.PEM))
    (tmp_path / "leaf.pem").write_bytes(relying.certificate.public_bytes(Encoding.PEM))
    answer = await relying.post(await relying.request())
    (tmp_path / "answer.der").write_bytes(answer.public_bytes(Encoding.DER))
    moment = str(int(relying.house.clock().timestamp()) + 1)
    words = ("ocsp", "-respin", "answer.der", "-issuer", "issuer.pem", "-cert", "leaf.pem")
    trust = ("-CAfile", "issuer.pem", "-partial_chain", "-attime", moment)
    run = subprocess.run(["openssl", *words, *trust], cwd=tmp_path, capture_output=True)
    assert b"Response verify OK" in run.stderr, run.stderr


async def test_the_crl_after_the_next_signing_lists_it(relying: Relying) -> None:
    """The number grows, the tag is another, and the certificate is there with its reason."""
    before = await relying.fetch(relying.crl_url)
    await relying.revoke()
    relying.house.clock.advance(seconds=5)
    issuer_id, shard = urlsplit(relying.crl_url).path.split("/")[2:]
    await relying.house.core.publication.publish(issuer_id, int(shard.removesuffix(".crl")))
    after = await relying.fetch(relying.crl_url)
    assert dict(after.headers)["ETag"] != dict(before.headers)["ETag"]
    entry = (await relying.crl()).get_revoked_certificate_by_serial_number(relying.certificate.serial_number)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
