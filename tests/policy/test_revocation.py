"""Revocation: who may, which reasons, CRL and OCSP after it, hold and release, cascade."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from ca_core.status import RevocationReason
from policy.order import NewOrder
from policy.problems import (
    AlreadyRevoked,
    BadPublicKey,
    BadRevocationReason,
    Forbidden,
    OrderConflict,
    UnknownCertificate,
)
from policy.registration import KeyHolder
from policy.store import CERTIFICATE
from tests.conftest import ACTOR, House, dns
from tests.policy.making import ADDRESS, acme, est, new_key, request, spki

NAME = "a.certgate.test"


async def issued(house: House, principal: Any = None, key: Any = None) -> tuple[Any, str, bytes]:
    principal = principal or await est(house)
    order = await house.core.ra.enroll(principal, NewOrder(request=request(NAME, key=key)))
    certificate = await house.core.ra.certificate_of(order)
    return principal, certificate.stored.serial, certificate.der


async def said(house: House, der: bytes, nonce: bytes | None = None) -> ocsp.OCSPResponse:
    issuer = house.core.ca.issuer("issuing").certificate
    builder = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(der), issuer, hashes.SHA256())
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), False)
    from cryptography.hazmat.primitives.serialization import Encoding

    answer = await house.core.ra.ocsp(builder.build().public_bytes(Encoding.DER))
    return ocsp.load_der_ocsp_response(answer.der)


async def crl_serials(house: House) -> set[int]:
    issuer = house.core.ca.issuer("issuing")
    published = await house.core.publication.publish(issuer.id, 0)
    crl = x509.load_der_x509_crl(published.der)
    assert crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
    return {entry.serial_number for entry in crl}


async def test_the_owner_revokes_and_ocsp_and_crl_say_so(house: House) -> None:
    """Rows: A10."""
    principal, serial, der = await issued(house)
    before = await said(house, der)
    assert before.certificate_status is ocsp.OCSPCertStatus.GOOD
    await house.core.ra.revoke(principal, der, RevocationReason.SUPERSEDED)
    after = await said(house, der)
    assert after.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert after.revocation_reason is x509.ReasonFlags.superseded
    assert int(serial, 16) in await crl_serials(house)
    jobs = await house.core.store.lease_jobs(("crl",), house.clock(), 60, 10)
    assert len(jobs) == 1  # the CRL is due at once


async def test_ocsp_echoes_a_nonce_and_answers_from_its_cache_without_one(house: House) -> None:
    _, _, der = await issued(house)
    with_nonce = await said(house, der, b"n" * 32)
    assert with_nonce.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32
    first, second = await said(house, der), await said(house, der)
    assert first.signature == second.signature
    house.clock.advance(hours=7)
    assert (await said(house, der)).signature != first.signature


async def test_ocsp_never_says_good_of_what_was_not_issued(house: House) -> None:
    await issued(house)
    issuer = house.core.ca.issuer("issuing")
    from cryptography.hazmat.primitives.serialization import Encoding

    for algorithm, expected in ((hashes.SHA256(), ocsp.OCSPCertStatus.UNKNOWN),):
        request_ = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            *hashes_of(issuer.certificate, algorithm), 0x1234, algorithm
        )
        answer = await house.core.ra.ocsp(request_.build().public_bytes(Encoding.DER))
        assert ocsp.load_der_ocsp_response(answer.der).certificate_status is expected
    assert ocsp.load_der_ocsp_response((await house.core.ra.ocsp(b"junk")).der).response_status is (
        ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    )


def hashes_of(issuer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    from ca_core.ocsp import issuer_keys

    return next((name, key) for kind, name, key in issuer_keys(issuer) if kind == algorithm.name)


async def test_a_second_revocation_is_told_and_changes_nothing(house: House) -> None:
    principal, _, der = await issued(house)
    await house.core.ra.revoke(principal, der, None)
    with pytest.raises(AlreadyRevoked):
        await house.core.ra.revoke(principal, der, RevocationReason.KEY_COMPROMISE)


async def test_ten_parallel_revocations_are_one(house: House) -> None:
    principal, _, der = await issued(house)
    outcomes = await asyncio.gather(
        *(house.core.ra.revoke(principal, der, None) for _ in range(10)), return_exceptions=True
    )
    assert [one for one in outcomes if one is None] == [None]
    assert all(isinstance(one, AlreadyRevoked) for one in outcomes if one is not None)


async def test_a_stranger_may_not_revoke(house: House) -> None:
    _, _, der = await issued(house)
    with pytest.raises(Forbidden):
        await house.core.ra.revoke(await est(house), der, None)
    with pytest.raises(Forbidden):
        await house.core.ra.revoke(KeyHolder(spki(new_key()), "acme/open", ADDRESS), der, None)


async def test_the_holder_of_the_key_revokes_and_a_compromised_key_is_blocked(house: House) -> None:
    """Trap T-23: never again a certificate for a key that was shown to be compromised. Rows: A10, T-23."""
    key = new_key()
    principal, _, der = await issued(house, key=key)
    await house.core.ra.revoke(KeyHolder(spki(key), "acme/open", ADDRESS), der, RevocationReason.KEY_COMPROMISE)
    with pytest.raises(BadPublicKey, match="blocked"):
        await issued(house, principal, key)


async def test_an_account_with_authorizations_for_all_names_revokes(house: House) -> None:
    """The third way of RFC 8555 section 7.6. Rows: R21."""
    _, _, der = await issued(house)
    account = await acme(house)
    with pytest.raises(Forbidden):
        await house.core.ra.revoke(account, der, None)
    await house.core.ra.place(account, NewOrder(identifiers=(dns(NAME),)))
    with pytest.raises(Forbidden):  # what the credential is trusted with is no control of the name
        await house.core.ra.revoke(account, der, None)
    proven = await house.core.ra.place(account, NewOrder(identifiers=(dns("shop.example.org"),)))
    await house.core.ra.answer(account, proven.authorizations[0], "http-01")
    owner = await acme(house)
    order = await house.core.ra.place(owner, NewOrder(identifiers=(dns("shop.example.org"),)))
    await house.core.ra.answer(owner, order.authorizations[0], "http-01")
    order = await house.core.ra.finalize(owner, order.id, request("shop.example.org"))
    await house.core.ra.revoke(account, (await house.core.ra.certificate_of(order)).der, None)


@pytest.mark.parametrize(
    "reason", [RevocationReason.CA_COMPROMISE, RevocationReason.CERTIFICATE_HOLD, RevocationReason.PRIVILEGE_WITHDRAWN]
)
async def test_reasons_that_are_not_the_clients_are_refused_with_the_list(
    house: House, reason: RevocationReason
) -> None:
    principal, _, der = await issued(house)
    with pytest.raises(BadRevocationReason, match="keyCompromise"):
        await house.core.ra.revoke(principal, der, reason)


async def test_a_forged_certificate_with_a_known_serial_finds_nothing(house: House) -> None:
    """Trap T-21: the certificate is looked up by all its bytes. Rows: T-21."""
    principal, _, der = await issued(house)
    forged = der[:-1] + bytes([der[-1] ^ 1])
    with pytest.raises(UnknownCertificate):
        await house.core.ra.revoke(principal, forged, None)


async def test_hold_and_release(house: House) -> None:
    _, serial, der = await issued(house)
    found = await house.core.store.one(CERTIFICATE, serial)
    assert found is not None
    await house.core.revocation.hold(found[0], ACTOR.name)
    held = await said(house, der)
    assert held.revocation_reason is x509.ReasonFlags.certificate_hold
    assert int(serial, 16) in await crl_serials(house)
    with pytest.raises(OrderConflict):
        await house.core.revocation.hold(found[0], ACTOR.name)
    await house.core.revocation.release(found[0], ACTOR.name)
    assert (await said(house, der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert int(serial, 16) not in await crl_serials(house)
    await house.core.revocation.revoke(found[0], None, ACTOR.name)
    with pytest.raises((AlreadyRevoked, OrderConflict)):
        await house.core.revocation.release(found[0], ACTOR.name)


async def test_a_cascade_revokes_the_certificates_of_the_credential(house: House) -> None:
    principal, *_ = await issued(house)
    await issued(house, principal)
    _, ended, revoked = await house.core.administration.revoke_credential(
        principal.credential.id, "stolen", ACTOR, cascade=RevocationReason.KEY_COMPROMISE
    )
    assert (ended, revoked) == (0, 2)
    assert len(await crl_serials(house)) == 2


async def test_crl_numbers_grow_and_expired_certificates_leave_after_one_crl(house: House) -> None:
    principal, serial, der = await issued(house)
    await house.core.ra.revoke(principal, der, None)
    issuer = house.core.ca.issuer("issuing").id
    first = await house.core.publication.publish(issuer, 0)
    second = await house.core.publication.publish(issuer, 0)
    assert second.number == first.number + 1
    house.clock.advance(days=91)
    assert int(serial, 16) in await crl_serials(house)  # on one CRL past its end (RFC 5280 section 3.3)
    house.clock.advance(days=1)
    assert int(serial, 16) not in await crl_serials(house)
