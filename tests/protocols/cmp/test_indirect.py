"""Proof of possession by reading the certificate (encrCert, RFC 9810 section 5.2.8.3.2): keys that cannot sign."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca_core.profile import CertificateProfile
from policy.audit import AuditTag
from tests.policy.making import change_product, events
from tests.protocols.cmp.maker import (
    IMPLICIT,
    Gate,
    cert_conf,
    elements,
    info,
    inner,
    new_key,
    request_for,
    seq,
    tlv,
)

ENCR_CERT = b"\xa2\x03\x81\x01\x00"


def opened(der: bytes, key: Any, folder: Path) -> bytes:
    """The certificate, as `openssl cms -decrypt` reads it with the key alone."""
    _, body, *_ = elements(inner(der))
    (response,) = elements(inner(elements(inner(inner(body)))[-1]))
    pair = elements(inner(response))[2]
    (either,) = elements(inner(pair))
    assert either[0] == 0xA1
    message = seq(bytes.fromhex("06092a864886f70d010703"), tlv(0xA0, seq(inner(inner(either)))))
    (folder / "in.der").write_bytes(message)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "one.key").write_bytes(private)
    words = ("-decrypt", "-inform", "DER", "-in", "in.der", "-inkey", "one.key", "-out", "out", "-binary")
    done = subprocess.run(["openssl", "cms", *words], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    return (folder / "out").read_bytes()


@pytest.mark.parametrize("kind", ["rsa", "ec"])
async def test_who_reads_the_certificate_has_the_key(gate: Gate, kind: str, tmp_path: Path) -> None:
    """Nothing shows the certificate before certConf (§7, RFC 9810 section 8.11), implicitly it is never confirmed."""
    key: Any = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    secret = await gate.secret()
    content = request_for("device-1", key, proof=ENCR_CERT)
    asked = gate.message("ir", content, secret, pvno=3, infos=[info(IMPLICIT)])
    response = await gate.post(asked.der)
    assert isinstance(response.body, bytes)
    der = opened(response.body, key, tmp_path)
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.public_key() == key.public_key()
    assert der not in response.body
    assert await gate.state(der) == "unconfirmed"
    listed = [one.der async for one in gate.house.core.inventory.certificates()]
    assert der not in listed
    header, *_ = elements(inner(response.body))
    sent = next(inner(inner(one)) for one in elements(inner(header)) if one[0] == 0xA5)
    confirm = gate.message(
        "certConf", cert_conf(der), secret, pvno=3, transaction_id=asked.transaction_id, recip_nonce=sent
    )
    assert (await gate.send(confirm)).body == "pkiconf"
    assert await gate.state(der) == "valid"
    assert len(await events(gate.house, AuditTag.CERTIFICATE_CONFIRMED)) == 1


async def test_rows(gate: Gate) -> None:
    """Version 2, a challenge instead, a key to which nothing can be encrypted: badPOP, and nothing issued."""
    secret, key = await gate.secret(), new_key()
    challenge = b"\xa2\x03\x81\x01\x01"
    for content, pvno in (
        (request_for("device-1", key, proof=ENCR_CERT), 2),
        (request_for("device-1", key, proof=challenge), 3),
        (request_for("device-1", key, proof=b"\xa3\x00"), 3),
    ):
        answer = await gate.send(gate.message("ir", content, secret, pvno=pvno))
        assert answer.told() == ("ip", "badPOP")
    await change_product(gate.house, "device", profile=CertificateProfile("device", key_types=("ed25519",)))
    signing = request_for("device-1", ed25519.Ed25519PrivateKey.generate(), proof=ENCR_CERT)
    answer = await gate.send(gate.message("ir", signing, secret, pvno=3))
    assert answer.told() == ("ip", "badPOP")
    assert [one async for one in gate.house.core.inventory.orders()] == []
