"""Keys that are made for clients (§1.6, RFC 9483 section 4.1.6), opened as a client does: by openssl, and by hand."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from asn1crypto import cms, keys
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from ca_core.profile import CertificateProfile
from policy.mount import Mount
from tests.conftest import ACTOR
from tests.policy.making import change_product
from tests.protocols.cmp.maker import (
    IMPLICIT,
    Answer,
    Gate,
    Secret,
    Signer,
    Template,
    cert_req,
    elements,
    info,
    inner,
    name,
    new_key,
    read_answer,
    seq,
    tlv,
)

P384 = seq(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06052b81040022"))


def wish(algorithm: bytes = b"", **more: Any) -> bytes:
    """A request without a key, or with the algorithm of one."""
    spki = seq(algorithm, b"\x03\x01\x00") if algorithm else None
    return seq(cert_req(Template(name("device-1"), spki, **more), None))


async def ask(gate: Gate, protection: Any, content: bytes = b"", body: str = "ir", **more: Any) -> tuple[bytes, Answer]:
    """The answer as it came, whose EnvelopedData pyasn1-modules of RFC 4210 does not know, and its certificate."""
    message = gate.message(body, content or wish(), protection, **{"pvno": 3, **more})
    response = await gate.post(message.der)
    assert isinstance(response.body, bytes)
    return response.body, read_answer(response, message)


def enveloped(der: bytes) -> bytes:
    """The EnvelopedData in privateKey of the one CertifiedKeyPair, as a ContentInfo."""
    _, body, *_ = elements(inner(der))
    return seq(bytes.fromhex("06092a864886f70d010703"), tlv(0xA0, seq(inner(_find(body)))))


def _find(der: bytes) -> bytes:
    """CertRepMessage -> response -> certifiedKeyPair -> [0] privateKey -> [0] envelopedData."""
    message = inner(der)  # the content of the body's tag
    (response,) = elements(inner(elements(inner(message))[-1]))
    pair = elements(inner(response))[2]
    private_key = elements(inner(pair))[1]
    assert private_key[0] == 0xA0
    return inner(private_key)


def key_of(package: bytes, answer: Answer) -> Any:
    """The one key in the signed AsymmetricKeyPackage; its signature is verified."""
    signed = cms.SignedData.load(package)
    content = signed["encap_content_info"]
    assert content["content_type"].dotted == "2.16.840.1.101.2.1.2.78.5"
    der = bytes(content["content"].contents)
    (signer,) = signed["signer_infos"]
    attributes = {one["type"].native: one["values"][0].native for one in signer["signed_attrs"]}
    assert attributes["message_digest"] == hashlib.sha256(der).digest()
    (certificate,) = signed["certificates"]
    authority = x509.load_der_x509_certificate(certificate.dump())
    purposes = authority.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert "1.3.6.1.5.5.7.3.32" in [one.dotted_string for one in purposes]
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    to_verify = b"\x31" + signer["signed_attrs"].dump()[1:]
    key.verify(signer["signature"].native, to_verify, ec.ECDSA(SHA256()))
    (one,) = elements(inner(der))
    keys.PrivateKeyInfo.load(one)
    private = load_der_private_key(one, None)
    assert private.public_key() == answer.x509.public_key()
    return private


def by_openssl(der: bytes, signer: Signer, folder: Path) -> bytes:
    """What `openssl cms -decrypt` makes of it: a SignedData."""
    (folder / "in.der").write_bytes(enveloped(der))
    pem = x509.load_der_x509_certificate(signer.certificate).public_bytes(Encoding.PEM)
    (folder / "one.pem").write_bytes(pem)
    private = signer.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "one.key").write_bytes(private)
    words = ("-decrypt", "-inform", "DER", "-in", "in.der", "-recip", "one.pem", "-inkey", "one.key", "-out", "out")
    done = subprocess.run(["openssl", "cms", *words, "-binary"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    return (folder / "out").read_bytes()


def by_password(der: bytes, secret: bytes) -> bytes:
    """PWRI with PBKDF2 and AES key wrap (RFC 9481 section 4.4), opened by hand."""
    message = cms.ContentInfo.load(enveloped(der))["content"]
    (recipient,) = message["recipient_infos"]
    password = recipient.chosen
    derivation = password["key_derivation_algorithm"]
    parameters = derivation["parameters"]
    key = hashlib.pbkdf2_hmac("sha256", secret, parameters["salt"].native, parameters["iteration_count"].native, 32)
    content_key = aes_key_unwrap(key, password["encrypted_key"].native)
    encrypted = message["encrypted_content_info"]
    vector = encrypted["content_encryption_algorithm"]["parameters"].native
    decryptor = Cipher(algorithms.AES(content_key), modes.CBC(vector)).decryptor()
    plain = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
    return plain[: -plain[-1]]


async def enrolled(gate: Gate, key: Any, usages: tuple[str, ...]) -> Signer:
    """A certificate of ours with these key usages."""
    profile = CertificateProfile("device", extended_key_usage=("clientAuth",), key_usage=usages, common_name="keep")
    await change_product(gate.house, "device", profile=profile)
    return await gate.enrol(await gate.secret(), "device-1", key=key)


async def test_for_an_rsa_key(gate: Gate, tmp_path: Path) -> None:
    """KTRI: cr and kur, for the key of the certificate that signs them (erratum 8183: its subjectKeyIdentifier)."""
    key = rsa.generate_private_key(65537, 2048)
    signer = await enrolled(gate, key, ("digitalSignature", "keyEncipherment"))
    der, answer = await ask(gate, signer, body="kur")
    assert answer.told() == ("kup", None), answer.text
    assert isinstance(key_of(by_openssl(der, signer, tmp_path), answer), ec.EllipticCurvePrivateKey)
    (recipient,) = cms.ContentInfo.load(enveloped(der))["content"]["recipient_infos"]
    assert recipient.chosen["rid"].chosen.native == signer.key_id
    done = await gate.confirm(answer, signer, pvno=3)
    assert done.body == "pkiconf"


async def test_for_an_ec_key(gate: Gate, tmp_path: Path) -> None:
    """KARI: ephemeral-static ECDH, with the algorithm that the template names."""
    signer = await enrolled(gate, new_key(), ("digitalSignature", "keyAgreement"))
    der, answer = await ask(gate, signer, wish(P384), body="cr")
    assert answer.told() == ("cp", None), answer.text
    made = key_of(by_openssl(der, signer, tmp_path), answer)
    assert made.curve.name == "secp384r1"


async def test_for_a_shared_secret(gate: Gate) -> None:
    """PWRI by RFC 9481: PBKDF2 and AES key wrap; the certificate counts only once it is confirmed."""
    secret = await gate.secret()
    der, answer = await ask(gate, secret, infos=[info(IMPLICIT)])
    assert answer.told() == ("ip", None), answer.text
    assert IMPLICIT not in answer.infos
    key_of(by_password(der, secret.secret), answer)
    assert await gate.state(answer.certificate) == "unconfirmed"
    assert (await gate.confirm(answer, secret, pvno=3)).body == "pkiconf"


async def test_each_answer_has_a_key_and_content_key_of_its_own(gate: Gate) -> None:
    """§7 KGA: one recipient, fresh keys, nothing kept."""
    secret = await gate.secret()
    first, second = [await ask(gate, secret) for _ in range(2)]
    assert first[1].x509.public_key() != second[1].x509.public_key()
    stored = [one async for one in gate.house.core.inventory.orders()]
    private = key_of(by_password(first[0], secret.secret), first[1])
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert der[-32:] not in repr(stored).encode("latin-1", "replace")
    assert all(order.sealed_key is None for order in stored)


async def test_key_usage_has_to_allow_it(gate: Gate) -> None:
    """§1.6: notAuthorized without keyEncipherment or keyAgreement."""
    signer = await enrolled(gate, new_key(), ("digitalSignature",))
    _, answer = await ask(gate, signer, body="cr")
    assert answer.told() == ("cp", "notAuthorized")


async def test_rows(gate: Gate) -> None:
    """Version 2, a proof of a key that is not there, kur under a MAC, a held product, p10cr without a key."""
    secret = await gate.secret()
    assert (await ask(gate, secret, pvno=2))[1].told() == ("ip", "badRequest")
    proven = seq(cert_req(Template(name("device-1")), None, proof=b"\x80\x00"))
    assert (await ask(gate, secret, proven))[1].told() == ("ip", "badPOP")
    assert (await ask(gate, secret, body="kur"))[1].told() == ("kup", "wrongIntegrity")
    held = await gate.secret("held")
    assert (await ask(gate, held))[1].told() == ("ip", "notAuthorized")
    unknown = wish(seq(bytes.fromhex("06032a0304")))
    assert (await ask(gate, secret, unknown))[1].told() == ("ip", None), "an algorithm that is not known is a wish"


async def test_a_mount_may_leave_it_out(gate: Gate) -> None:
    mount = Mount("cmp", "default", ("device",), "issuing", options={"key_generation": False}, version=2)
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    assert (await ask(gate, await gate.secret()))[1].told() == ("ip", "badCertTemplate")


async def test_openssl_reads_the_other_wrapping(gate: Gate, tmp_path: Path) -> None:
    """§1.6 interop trap: id-alg-PWRI-KEK by an option of the mount."""
    options = {"password_wrapping": "pwri-kek"}
    mount = Mount("cmp", "default", ("device",), "issuing", options=options, version=2)
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    secret: Secret = await gate.secret()
    der, answer = await ask(gate, secret)
    (tmp_path / "in.der").write_bytes(enveloped(der))
    words = ("-decrypt", "-inform", "DER", "-in", "in.der", "-out", "out", "-binary")
    password = ("-pwri_password", secret.secret.decode())
    done = subprocess.run(["openssl", "cms", *words, *password], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    key_of((tmp_path / "out").read_bytes(), answer)
