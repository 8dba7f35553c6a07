"""Certs-only messages, read by programs that are not ours."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc5652

from protocols.cms.signed import certs_only

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def certificate(name: str, key: CertificateIssuerPrivateKeyTypes) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOON).not_valid_after(NOON + timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def certificates() -> list[bytes]:
    keys = (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048))
    return [certificate("one", keys[0]), certificate("two", keys[1]), certificate("three", keys[0])]


def test_is_a_degenerate_signed_data_of_version_1(certificates: list[bytes]) -> None:
    """RFC 5652 section 5.1: version 1, id-data without content, no digest algorithms, no signers."""
    info, rest = decoder.decode(certs_only(certificates), asn1Spec=rfc5652.ContentInfo())
    assert not rest
    assert info["contentType"] == rfc5652.id_signedData
    signed, rest = decoder.decode(info["content"], asn1Spec=rfc5652.SignedData())
    assert not rest
    assert signed["version"] == 1
    assert len(signed["digestAlgorithms"]) == 0
    assert signed["encapContentInfo"]["eContentType"] == rfc5652.id_data
    assert not signed["encapContentInfo"]["eContent"].isValue
    assert not signed["crls"].isValue
    assert len(signed["signerInfos"]) == 0
    assert encoder.encode(signed) == bytes(info["content"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_is_what_cryptography_writes(certificates: list[bytes], count: int) -> None:
    """The same octets as another DER writer, whatever the order given."""
    chosen = certificates[:count]
    expected = pkcs7.serialize_certificates([x509.load_der_x509_certificate(one) for one in chosen], Encoding.DER)
    assert certs_only(chosen) == expected
    assert certs_only(chosen[::-1]) == expected


def test_openssl_reads_it(certificates: list[bytes]) -> None:
    """All certificates come out again."""
    run = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs"],
        input=certs_only(certificates),
        capture_output=True,
    )
    assert run.returncode == 0, run.stderr
    shown = x509.load_pem_x509_certificates(run.stdout)
    assert sorted(one.public_bytes(Encoding.DER) for one in shown) == sorted(certificates)


@pytest.mark.parametrize("size", [1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x20000])
def test_lengths_are_in_their_shortest_form(size: int) -> None:
    """X.690 section 10.1: also around the borders of the length's own size."""
    filling = b"\x04" + (bytes((size,)) if size < 0x80 else b"\x84" + size.to_bytes(4, "big")) + bytes(size)
    message = certs_only([filling])
    head, start = message[1], 2
    if head >= 0x80:
        octets = head & 0x7F
        assert message[2] != 0
        head, start = int.from_bytes(message[2 : 2 + octets], "big"), 2 + octets
        assert head >= 0x80
    assert len(message) == start + head


def test_nothing_is_not_a_message() -> None:
    """A message without certificates is a mistake of the caller."""
    with pytest.raises(ValueError, match="without a certificate"):
        certs_only([])
