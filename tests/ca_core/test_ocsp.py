"""OCSP: requests of cryptography and openssl, answers read by both and by pkilint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from ca_core import der, oids
from ca_core import ocsp as ca_ocsp
from ca_core.algorithms import verify
from ca_core.ceremony import create_responder
from ca_core.clock import FixedClock
from ca_core.issuance import Decision, IssuanceRequest, IssuedCertificate
from ca_core.keys import public_key_bits
from ca_core.keystores.software import SoftwareKeyStore
from ca_core.ocsp import CertificateStatus, OCSPQuery, Responder, read_ocsp_request
from ca_core.problems import Malformed
from ca_core.status import CertificateState, RevocationReason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
VALID = CertificateStatus(CertificateState.VALID)


@dataclass
class Service:
    """A certificate, its issuer and the responder for it."""

    world: Any
    leaf: IssuedCertificate
    responder: Responder
    responder_der: bytes
    signer: Any

    def request(self, hash_algorithm: hashes.HashAlgorithm | None = None, nonce: bytes | None = None) -> bytes:
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            x509.load_der_x509_certificate(self.leaf.der),
            self.world.issuer.certificate,
            hash_algorithm or hashes.SHA1(),
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    async def answer(self, query: OCSPQuery, status: CertificateStatus | None, **times: datetime) -> ocsp.OCSPResponse:
        return ocsp.load_der_ocsp_response(await self.answer_der(query, status, **times))

    async def answer_der(
        self, query: OCSPQuery, status: CertificateStatus | None, next_update: datetime = NOON + DAY
    ) -> bytes:
        return await self.responder.respond(query, status, produced_at=NOON, this_update=NOON, next_update=next_update)


@pytest.fixture
def make_service(
    make_world: Callable[..., Any],
    clock: FixedClock,
    ledger: Any,
    make_request: Callable[..., IssuanceRequest],
    tmp_path: Path,
) -> Callable[..., Any]:
    async def make(key_type: str = "ec-p256") -> Service:
        world = make_world(key_type)
        authority = world.authority(clock)
        prepared = authority.prepare(make_request())
        token = authority.reserve(prepared, Decision("order", prepared.digest, b""), ledger)
        leaf = await authority.sign(token, ledger)
        signer = await SoftwareKeyStore(tmp_path, b"passphrase").create("ocsp", key_type)
        issued = await create_responder(world.issuer, signer, clock)
        responder = Responder(world.issuer.certificate, issued.der, signer)
        return Service(world, leaf, responder, issued.der, signer)

    return make


# --- requests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])
async def test_request_reads_as_what_was_asked(
    make_service: Callable[..., Any], algorithm: hashes.HashAlgorithm
) -> None:
    """RFC 6960 section 4.1.1: the query finds its responder by both hashes."""
    service = await make_service()
    query = read_ocsp_request(service.request(algorithm, b"n" * 32))
    assert (query.hash_name, query.serial, query.nonce) == (algorithm.name, service.leaf.serial, b"n" * 32)
    assert service.responder.serves(query)
    assert query.issuer_key in ca_ocsp.issuer_keys(service.world.issuer.certificate)
    assert not service.responder.serves(
        OCSPQuery(b"", query.issuer_key_hash, query.hash_name, query.serial, None, query.cert_id)
    )


async def test_other_hash_belongs_to_no_issuer(make_service: Callable[..., Any]) -> None:
    """SHA-384 is readable and served by nobody: the answer is "unauthorized"."""
    service = await make_service()
    query = read_ocsp_request(service.request(hashes.SHA384()))
    assert not service.responder.serves(query)
    with pytest.raises(ValueError, match="another issuer"):
        await service.answer(query, VALID)


def _raw_request(*requests: bytes, extensions: bytes = b"", version: bytes = b"") -> bytes:
    tail = der.tlv(0xA2, der.sequence(extensions)) if extensions else b""
    return der.sequence(der.sequence(version, der.sequence(*requests), tail))


def _raw_cert_id(algorithm_parameters: bytes = der.NULL, serial: int = 5, hash_oid: str = oids.SHA1) -> bytes:
    algorithm = der.sequence(der.object_identifier(hash_oid), algorithm_parameters)
    return der.sequence(algorithm, der.octet_string(b"a" * 20), der.octet_string(b"b" * 20), der.integer(serial))


@pytest.mark.parametrize("parameters", [der.NULL, b""], ids=["null", "absent"])
def test_cert_id_is_kept_as_received(parameters: bytes) -> None:
    """Clients write the hash algorithm with NULL and without, and get back what they wrote."""
    cert_id = _raw_cert_id(parameters)
    query = read_ocsp_request(_raw_request(der.sequence(cert_id)))
    assert query.cert_id == cert_id
    assert query.hash_name == "sha1"


def test_requestor_name_and_version_are_passed_over() -> None:
    """RFC 6960 section 4.1.1: both may stand before the list."""
    request = der.sequence(
        der.sequence(der.tlv(0xA1, der.tlv(0x82, b"client.example")), der.sequence(der.sequence(_raw_cert_id())))
    )
    assert read_ocsp_request(request).serial == 5


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_nonce_of_1_to_128_octets_is_taken(length: int) -> None:
    """RFC 9654 section 2.1."""
    nonce = der.extension(oids.OCSP_NONCE, der.octet_string(b"n" * length))
    query = read_ocsp_request(_raw_request(der.sequence(_raw_cert_id()), extensions=nonce))
    assert query.nonce == b"n" * length


@pytest.mark.parametrize(
    "request_der",
    [
        _raw_request(der.sequence(_raw_cert_id()), extensions=der.extension(oids.OCSP_NONCE, der.octet_string(b""))),
        _raw_request(
            der.sequence(_raw_cert_id()),
            extensions=der.extension(oids.OCSP_NONCE, der.octet_string(bytes(129))),
        ),
        _raw_request(der.sequence(_raw_cert_id()), extensions=der.extension(oids.OCSP_NONCE, b"naked")),
        _raw_request(
            der.sequence(_raw_cert_id()),
            extensions=der.extension(oids.OCSP_NONCE, der.octet_string(b"n")) * 2,
        ),
        _raw_request(der.sequence(_raw_cert_id()), extensions=der.extension("1.2.3", der.NULL, critical=True)),
        _raw_request(der.sequence(_raw_cert_id()), der.sequence(_raw_cert_id(serial=6))),
        _raw_request(),
        _raw_request(der.sequence(_raw_cert_id())) + b"\x00",
        bytes(5000),
        b"",
        der.sequence(),
    ],
    ids=[
        *("empty nonce", "long nonce", "naked nonce", "two nonces", "critical extension", "two certificates"),
        *("no certificate", "octets after the end", "too long", "nothing", "empty sequence"),
    ],
)
def test_bad_request_is_malformed(request_der: bytes) -> None:
    """RFC 9654 section 2.1 and what this responder does not serve."""
    with pytest.raises(Malformed):
        read_ocsp_request(request_der)


@given(st.binary(max_size=200))
def test_any_octets_are_a_request_or_malformed(data: bytes) -> None:
    """Never another exception."""
    try:
        read_ocsp_request(data)
    except Malformed:
        return


_GOOD_REQUEST = _raw_request(
    der.sequence(_raw_cert_id()), extensions=der.extension(oids.OCSP_NONCE, der.octet_string(b"n" * 16))
)


@given(
    position=st.integers(0, len(_GOOD_REQUEST) - 1),
    octet=st.integers(0, 255),
    cut=st.integers(0, len(_GOOD_REQUEST)),
)
def test_any_damage_is_a_request_or_malformed(position: int, octet: int, cut: int) -> None:
    """One octet changed, or the end missing."""
    for data in (
        _GOOD_REQUEST[:position] + bytes((octet,)) + _GOOD_REQUEST[position + 1 :],
        _GOOD_REQUEST[:cut],
    ):
        try:
            read_ocsp_request(data)
        except Malformed:
            continue


# --- answers ----------------------------------------------------------------------------------------------

REVOKED = CertificateStatus(CertificateState.REVOKED, NOON - DAY, RevocationReason.KEY_COMPROMISE)
STATES = [
    (VALID, ocsp.OCSPCertStatus.GOOD, None),
    (CertificateStatus(CertificateState.SUPERSEDED), ocsp.OCSPCertStatus.GOOD, None),
    (None, ocsp.OCSPCertStatus.UNKNOWN, None),
    (CertificateStatus(CertificateState.UNCONFIRMED), ocsp.OCSPCertStatus.UNKNOWN, None),
    (REVOKED, ocsp.OCSPCertStatus.REVOKED, x509.ReasonFlags.key_compromise),
    (CertificateStatus(CertificateState.REVOKED, NOON - DAY), ocsp.OCSPCertStatus.REVOKED, None),
    (
        CertificateStatus(CertificateState.REVOKED, NOON - DAY, RevocationReason.UNSPECIFIED),
        ocsp.OCSPCertStatus.REVOKED,
        None,
    ),
    (
        CertificateStatus(CertificateState.ON_HOLD, NOON - DAY),
        ocsp.OCSPCertStatus.REVOKED,
        x509.ReasonFlags.certificate_hold,
    ),
]


@pytest.mark.parametrize(("status", "wire", "reason"), STATES)
async def test_each_state_has_its_answer(
    make_service: Callable[..., Any],
    pkilint: Callable[..., list[str]],
    status: CertificateStatus | None,
    wire: ocsp.OCSPCertStatus,
    reason: x509.ReasonFlags | None,
) -> None:
    """RFC 6960 section 2.2; on hold is revoked with certificateHold, never issued is unknown."""
    service = await make_service()
    query = read_ocsp_request(service.request(nonce=b"n" * 32))
    encoded = await service.answer_der(query, status)
    assert pkilint("ocsp", encoded) == []
    answer = ocsp.load_der_ocsp_response(encoded)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert answer.certificate_status is wire
    assert answer.revocation_reason == reason
    if wire is ocsp.OCSPCertStatus.REVOKED:
        assert answer.revocation_time_utc == NOON - DAY


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048", "ed25519"])
async def test_answer_is_signed_by_the_delegated_responder(
    key_type: str, make_service: Callable[..., Any], pkilint: Callable[..., list[str]]
) -> None:
    """Section 4.2.2: byKey, one certificate, echoed nonce, times as given."""
    service = await make_service(key_type)
    query = read_ocsp_request(service.request(nonce=b"n" * 32))
    encoded = await service.answer_der(query, VALID)
    assert pkilint("ocsp", encoded) == []
    answer = ocsp.load_der_ocsp_response(encoded)
    (certificate,) = answer.certificates
    assert certificate.public_bytes(Encoding.DER) == service.responder_der
    assert answer.responder_key_hash == sha1(public_key_bits(service.signer.spki)).digest()
    assert answer.responder_name is None
    verify(certificate.public_key(), service.signer.algorithm, answer.signature, answer.tbs_response_bytes)
    assert (answer.produced_at_utc, answer.this_update_utc) == (NOON, NOON)
    assert answer.next_update_utc == NOON + DAY
    assert answer.serial_number == service.leaf.serial
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32


async def test_answer_without_nonce_has_no_extensions(make_service: Callable[..., Any]) -> None:
    """An answer that may be cached says nothing about one request; SHA-256 is echoed as SHA-1 is."""
    service = await make_service()
    query = read_ocsp_request(service.request(hashes.SHA256()))
    answer = await service.answer(query, VALID)
    assert len(answer.extensions) == 0
    assert isinstance(answer.hash_algorithm, hashes.SHA256)


async def test_answer_does_not_outlive_the_responder(make_service: Callable[..., Any]) -> None:
    """An answer is not accepted after its signer's certificate has ended."""
    service = await make_service()
    query = read_ocsp_request(service.request())
    answer = await service.answer(query, VALID, next_update=NOON + 365 * DAY)
    assert answer.next_update_utc == service.responder.not_after


async def test_revocation_without_time_is_a_mistake_of_the_caller(make_service: Callable[..., Any]) -> None:
    """RFC 6960 section 4.2.1: revocationTime is not optional."""
    service = await make_service()
    query = read_ocsp_request(service.request())
    with pytest.raises(ValueError, match="time of revocation"):
        await service.answer(query, CertificateStatus(CertificateState.REVOKED))


@pytest.mark.parametrize(
    ("encoded", "status"),
    [
        (ca_ocsp.MALFORMED_REQUEST, ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (ca_ocsp.INTERNAL_ERROR, ocsp.OCSPResponseStatus.INTERNAL_ERROR),
        (ca_ocsp.TRY_LATER, ocsp.OCSPResponseStatus.TRY_LATER),
        (ca_ocsp.UNAUTHORIZED, ocsp.OCSPResponseStatus.UNAUTHORIZED),
    ],
)
def test_error_answers_are_unsigned(encoded: bytes, status: ocsp.OCSPResponseStatus) -> None:
    """RFC 6960 section 2.3."""
    assert ocsp.load_der_ocsp_response(encoded).response_status is status


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
async def test_openssl_asks_and_believes(
    key_type: str, make_service: Callable[..., Any], openssl: Callable[..., str], tmp_path: Path
) -> None:
    """A request that openssl wrote, and an answer that it verifies up to the root."""
    service = await make_service(key_type)
    certificates = {
        "leaf": service.leaf.der,
        "issuing": service.world.issuer.certificate_der,
        "root": service.world.root.certificate_der,
    }
    for name, certificate_der in certificates.items():
        pem = x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    about = ("-issuer", tmp_path / "issuing.pem", "-cert", tmp_path / "leaf.pem")
    openssl("ocsp", *about, "-reqout", tmp_path / "request.der", "-no_nonce")
    query = read_ocsp_request((tmp_path / "request.der").read_bytes())
    (tmp_path / "answer.der").write_bytes(await service.answer_der(query, REVOKED))
    said = openssl(
        *("ocsp", *about, "-respin", tmp_path / "answer.der", "-no_nonce"),
        *("-CAfile", tmp_path / "root.pem", "-verify_other", tmp_path / "issuing.pem"),
        # The answer is about a fixed moment: accept its age, and verify the path at that moment.
        *("-validity_period", "9999999999", "-attime", str(int(NOON.timestamp()))),
    )
    assert "Response verify OK" in said
    assert "leaf.pem: revoked" in said
    assert "keyCompromise" in said


# --- responders -------------------------------------------------------------------------------------------


async def test_responder_has_to_be_one_of_the_issuer(make_service: Callable[..., Any], make_world: Any) -> None:
    """Section 4.2.2.2: issued by the very key that issued the certificates, for OCSP signing."""
    service = await make_service()
    issuer = service.world.issuer.certificate
    with pytest.raises(ValueError):
        Responder(make_world("rsa-2048").issuer.certificate, service.responder_der, service.signer)
    with pytest.raises(ValueError, match="OCSPSigning"):
        Responder(issuer, service.leaf.der, service.signer)
    with pytest.raises(ValueError, match="does not belong"):
        Responder(issuer, service.responder_der, service.world.issuer.signer)
    with pytest.raises(ValueError, match="no extended key usage"):
        Responder(service.world.root.certificate, service.world.issuer.certificate_der, service.signer)
