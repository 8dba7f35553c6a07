"""The status door from outside, before a small service with CRLs and OCSP answers of `cryptography`."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca_core.clock import FixedClock
from ca_core.ledger import PublishedCRL
from ca_core.ocsp import MALFORMED_REQUEST, UNAUTHORIZED
from policy.problems import Unavailable, UnknownCertificate
from policy.registration import OCSPAnswer, RegistrationAuthority
from protocols import status
from protocols.endpoint import ProtocolDescription, Services, dispatch
from protocols.http import HTTPRequest, HTTPResponse, PeerIdentity, Route, Transport
from protocols.status.endpoint import StatusEndpoint
from protocols.status.settings import StatusSettings
from tests.replacing import replace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "0a" * 20
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Issuing CA")])


def make_certificate(serial: int) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key())
    builder = builder.serial_number(serial).not_valid_before(NOON).not_valid_after(NOON + timedelta(days=9))
    return builder.sign(KEY, SHA256())


CA = make_certificate(1)
LEAF = make_certificate(77)


def make_crl(number: int) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOON)
    builder = builder.next_update(NOON + timedelta(days=7)).add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)


def make_request(*, nonce: bytes | None = None) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(LEAF, CA, SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@dataclass
class SmallService:
    """One issuer, one shard, one certificate."""

    number: int = 5
    fault: Exception | None = None
    asked: list[bytes] = field(default_factory=list)

    async def crl(self, issuer_id: str, shard: int) -> PublishedCRL:
        if (issuer_id, shard) != (ISSUER, 3):
            raise UnknownCertificate("there is no such CRL")
        return PublishedCRL(issuer_id, shard, self.number, make_crl(self.number), NOON, NOON + timedelta(days=7))

    def ca_certificate(self, issuer_id: str) -> bytes:
        if issuer_id != ISSUER:
            raise UnknownCertificate("there is no such CA")
        return CA.public_bytes(Encoding.DER)

    async def ocsp(self, request: bytes) -> OCSPAnswer:
        self.asked.append(request)
        if self.fault is not None:
            raise self.fault
        try:
            read = ocsp.load_der_ocsp_request(request)
        except ValueError:
            return OCSPAnswer(MALFORMED_REQUEST)
        if read.issuer_key_hash != ocsp.load_der_ocsp_request(make_request()).issuer_key_hash:
            return OCSPAnswer(UNAUTHORIZED)
        builder = ocsp.OCSPResponseBuilder().responder_id(ocsp.OCSPResponderEncoding.NAME, CA)
        builder = builder.add_response(
            LEAF, CA, SHA1(), ocsp.OCSPCertStatus.GOOD, NOON, NOON + timedelta(hours=12), None, None
        )
        der = builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)
        if len(read.extensions):
            return OCSPAnswer(der)
        return OCSPAnswer(der, NOON, NOON + timedelta(hours=12))


@dataclass
class Door:
    """The status door: finds the operation of a route's name and runs it, as the front does."""

    service: SmallService
    clock: FixedClock
    endpoint: StatusEndpoint
    routes: tuple[Route, ...]

    async def send(
        self, method: str, path: str, parameters: dict[str, str], body: bytes, headers: dict[str, str]
    ) -> HTTPResponse:
        first = path.split("/")[1]
        (route,) = [
            one
            for one in self.routes
            if one.path.split("/")[1] == first and (method == "HEAD" or method in one.methods)
        ]
        request = HTTPRequest(
            method=method,
            path=path,
            query="",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=body,
            peer=PeerIdentity("192.0.2.1"),
            url=f"http://ca.certgate.test{path}",
            request_id="r-1",
            parameters=parameters,
        )
        return await dispatch(route.operation, self.endpoint.say, request)

    async def crl(self, issuer: str = ISSUER, shard: str = "3.crl", **headers: str) -> HTTPResponse:
        return await self.send("GET", f"/crl/{issuer}/{shard}", {"issuer": issuer, "shard": shard}, b"", headers)

    async def ca(self, name: str = f"{ISSUER}.cer", **headers: str) -> HTTPResponse:
        return await self.send("GET", f"/ca/{name}", {"certificate": name}, b"", headers)

    async def get(self, text: str, **headers: str) -> HTTPResponse:
        return await self.send("GET", f"/ocsp/{text}", {"request": text}, b"", headers)

    async def post(self, body: bytes, **headers: str) -> HTTPResponse:
        return await self.send("POST", "/ocsp", {}, body, headers)


@pytest.fixture
def door() -> Door:
    service = SmallService()
    clock = FixedClock(NOON + timedelta(minutes=1))
    services = Services(
        ra=cast(RegistrationAuthority, service),
        settings=StatusSettings(),
        base_url="https://ca.certgate.test",
        mtls_url="https://ca.certgate.test:8444",
        status_url="http://ca.certgate.test",
    )
    endpoint = StatusEndpoint(replace(services, clock=clock))
    return Door(service, clock, endpoint, endpoint.routes(()))


def body_of(response: HTTPResponse) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def ocsp_status(response: HTTPResponse) -> ocsp.OCSPResponseStatus:
    assert response.content_type == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(body_of(response)).response_status


MEDIA: dict[str, Any] = {"content_type": "application/ocsp-request"}


def test_protocol_is_described() -> None:
    """No credentials: what this door says is public."""
    assert isinstance(status.PROTOCOL, ProtocolDescription)
    assert status.PROTOCOL.credential_form == ()
    assert all(one.metadata["help"].endswith(".") for one in fields(StatusSettings))


def test_everything_is_served_without_tls_too(door: Door) -> None:
    """Relying parties fetch CRLs to check TLS: over TLS alone they would turn in circles."""
    assert {route.transport for route in door.routes} == {Transport.ANY}
    assert {route.path for route in door.routes} == {
        "/crl/{issuer}/{shard}",
        "/ca/{certificate}",
        "/ocsp",
        "/ocsp/{request:*}",
    }


# --- CRL


async def test_a_crl_is_served_in_der_and_may_be_kept(door: Door) -> None:
    """RFC 5280 section 4.2.1.13: one DER CRL, application/pkix-crl; with what caches want to know."""
    answer = await door.crl()
    assert answer.status == 200
    assert answer.content_type == "application/pkix-crl"
    number = x509.load_der_x509_crl(body_of(answer)).extensions.get_extension_for_class(x509.CRLNumber)
    assert number.value.crl_number == 5
    assert dict(answer.headers) == {
        "ETag": '"5"',
        "Cache-Control": "public, max-age=60",
        "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT",
    }


async def test_a_crl_is_not_sent_again_to_who_has_it(door: Door) -> None:
    """By tag or by date; a new number is a new CRL, even one of the same second."""
    assert (await door.crl(if_none_match='"5"')).status == 304
    assert (await door.crl(if_modified_since="Sun, 01 Mar 2026 12:00:00 GMT")).status == 304
    assert (await door.crl(if_modified_since="Sun, 01 Mar 2026 11:59:59 GMT")).status == 200
    door.service.number = 6
    assert (await door.crl(if_none_match='"5"')).status == 200


async def test_a_crl_is_not_kept_beyond_its_next_update(door: Door) -> None:
    """max-age shrinks to nothing, also when the next one is late."""
    for days, seconds in ((6.9999, 8), (8, 0)):
        door.clock.at = NOON + timedelta(days=days)
        assert dict((await door.crl()).headers)["Cache-Control"] == f"public, max-age={seconds}"


@pytest.mark.parametrize(("issuer", "shard"), [(ISSUER, "4.crl"), (ISSUER, "3"), (ISSUER, "03.crl"), ("00", "3.crl")])
async def test_other_crls_are_not_found(door: Door, issuer: str, shard: str) -> None:
    """404 as text."""
    answer = await door.crl(issuer, shard)
    assert answer.status == 404
    assert answer.content_type == "text/plain; charset=utf-8"


# --- CA certificates


async def test_a_ca_certificate_is_served_in_der(door: Door) -> None:
    """RFC 5280 section 4.2.2.1: a single DER certificate, application/pkix-cert."""
    answer = await door.ca()
    assert answer.status == 200
    assert answer.content_type == "application/pkix-cert"
    assert x509.load_der_x509_certificate(body_of(answer)) == CA
    again = await door.ca(if_none_match=dict(answer.headers)["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert (await door.ca("00.cer")).status == 404
    assert (await door.ca(ISSUER)).status == 404


# --- OCSP


@pytest.mark.parametrize("media", ["application/ocsp-request", "Application/OCSP-Request; x=y"])
async def test_ocsp_by_post(door: Door, media: str) -> None:
    """RFC 6960 appendix A."""
    answer = await door.post(make_request(), content_type=media)
    assert answer.status == 200
    assert ocsp_status(answer) is ocsp.OCSPResponseStatus.SUCCESSFUL


@pytest.mark.parametrize("safe", ["", "/+="])
async def test_ocsp_by_get_may_be_kept(door: Door, safe: str) -> None:
    """RFC 5019 section 6.2: every field that it names, and no longer than the answer lasts."""
    text = quote(b64encode(make_request()).decode(), safe=safe)
    answer = await door.get(text)
    assert ocsp_status(answer) is ocsp.OCSPResponseStatus.SUCCESSFUL
    headers = dict(answer.headers)
    assert headers["Cache-Control"] == "max-age=300, public, no-transform, must-revalidate"
    assert headers["Last-Modified"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    assert headers["Expires"] == "Mon, 02 Mar 2026 00:00:00 GMT"
    assert headers["ETag"].startswith('"')
    door.clock.at = NOON + timedelta(hours=11, minutes=59)
    assert "max-age=60," in dict((await door.get(text)).headers)["Cache-Control"]


async def test_an_answer_with_a_nonce_is_kept_by_nobody(door: Door) -> None:
    """RFC 9654: it is for one client and one moment."""
    request = make_request(nonce=bytes(32))
    for answer in (await door.post(request, **MEDIA), await door.get(quote(b64encode(request).decode()))):
        assert answer.headers == (("Cache-Control", "no-store"),)


async def test_ocsp_requests_are_not_compared_by_date(door: Door) -> None:
    """A certificate may be revoked in the second of an older answer."""
    text = quote(b64encode(make_request()).decode(), safe="")
    assert (await door.get(text, if_modified_since="Sun, 01 Mar 2026 13:00:00 GMT")).status == 200


async def test_a_path_that_a_proxy_collapsed_is_understood(door: Door) -> None:
    """The reading that an issuer answers for is the one that counts."""
    sample = ocsp.load_der_ocsp_request(make_request())
    for number in range(10_000):
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            sample.issuer_name_hash, sample.issuer_key_hash, number << 80 | 0xFFF << 36 | number, SHA1()
        )
        text = b64encode(builder.build().public_bytes(Encoding.DER)).decode()
        if text.count("//") == 1 and "///" not in text:
            break
    assert "//" in text
    answer = await door.get(text.replace("//", "/"))
    assert ocsp_status(answer) is ocsp.OCSPResponseStatus.SUCCESSFUL


@pytest.mark.parametrize("text", ["nonsense", "%00", "MA==", "////", b64encode(b"\x30\x03\x0a\x01\x00").decode()])
async def test_what_is_no_request_is_told_in_ocsp(door: Door, text: str) -> None:
    """RFC 6960 section 2.3: malformedRequest, in an HTTP answer that is fine."""
    answer = await door.get(text)
    assert answer.status == 200
    assert ocsp_status(answer) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert answer.headers == (("Cache-Control", "no-store"),)


async def test_what_the_transport_refuses_stays_http(door: Door) -> None:
    """415 and 413: not the answer to any OCSP request."""
    assert (await door.post(make_request(), content_type="text/plain")).status == 415
    assert (await door.post(make_request())).status == 415
    assert (await door.post(bytes(5000), **MEDIA)).status == 413
    assert (await door.get("A" * 9000)).status == 413


async def test_faults_are_told_in_ocsp(door: Door) -> None:
    """tryLater and internalError; nothing of the fault."""
    door.service.fault = Unavailable("the store is away")
    assert ocsp_status(await door.post(make_request(), **MEDIA)) is ocsp.OCSPResponseStatus.TRY_LATER
    door.service.fault = RuntimeError("a bug")
    answer = await door.post(make_request(), **MEDIA)
    assert ocsp_status(answer) is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    assert b"bug" not in body_of(answer)


async def test_openssl_reads_answers(door: Door, tmp_path: Path) -> None:
    """Another implementation on the other side of both formats."""
    (tmp_path / "r.der").write_bytes(body_of(await door.post(make_request(), **MEDIA)))
    (tmp_path / "c.der").write_bytes(body_of(await door.crl()))
    for words in (
        ("ocsp", "-respin", "r.der", "-noverify", "-resp_text"),
        ("crl", "-inform", "DER", "-in", "c.der", "-noout"),
    ):
        run = subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True)
        assert run.returncode == 0, run.stderr
