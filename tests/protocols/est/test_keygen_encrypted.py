"""Keys that the server makes, encrypted for a key of the client's (E21); opened and verified by openssl."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs7,
)

from ca_core import der
from ca_core.csr import read_csr
from policy.credential import Principal, Requester
from protocols.est import translate
from protocols.http import HTTPResponse
from tests.protocols.est.gate import NAME, Gate
from tests.protocols.est.small import basic, certificates_in, get, make_credential, make_csr, post, text_of
from tests.protocols.est.test_keygen import ASYMMETRIC_KEY, DECRYPT_KEY, orders, parts_of

KEY_PACKAGE = "2.16.840.1.101.2.1.2.78.5"
CAPABILITIES = "1.2.840.113549.1.9.15"
AES_128_CBC, AES_256_CBC, OAEP = "2.16.840.1.101.3.4.1.2", "2.16.840.1.101.3.4.1.42", "1.2.840.113549.1.1.7"


class Client:
    """A client with a certificate of ours, its key, and the password beside it."""

    def __init__(self, gate: Gate, headers: dict[str, str], key: Any, certificate: x509.Certificate) -> None:
        self.gate = gate
        self.headers = headers
        self.key = key
        self.certificate = certificate
        self.identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    @classmethod
    async def enrolled(cls, gate: Gate, key: Any, product: str = "device") -> Client:
        shown = await gate.credential(product)
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("me.certgate.test")]), critical=False)
        hash_ = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
        answer = await gate.enrol(shown, builder.sign(key, hash_).public_bytes(Encoding.DER))
        assert answer.status == 200, text_of(answer)
        headers = basic(shown.credential.identifier, shown.secret or "")
        return cls(gate, headers, key, certificates_in(answer)[0])

    async def ask(self, *attributes: tuple[str, bytes]) -> HTTPResponse:
        csr = make_csr(NAME, der_attributes=attributes)
        certificate = self.certificate.public_bytes(Encoding.DER)
        return await self.gate(post("serverkeygen", b64encode(csr), self.headers, certificate=certificate))

    def named(self) -> tuple[str, bytes]:
        return ASYMMETRIC_KEY, der.octet_string(self.identifier)


def capabilities(*named: str) -> tuple[str, bytes]:
    return CAPABILITIES, der.sequence(*(der.sequence(der.object_identifier(oid)) for oid in named))


async def opened(client: Client, answer: HTTPResponse, folder: Path) -> tuple[Any, x509.Certificate]:
    """Key and certificate of an answer: decrypted, verified up to the root, and taken out by openssl."""
    assert answer.status == 200, text_of(answer)
    (media, enveloped), (_, certificates) = parts_of(answer)
    assert media == "application/pkcs7-mime; smime-type=server-generated-key"
    chain = certificates_in(await client.gate(get("cacerts")))
    (folder / "all.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    (folder / "key.pem").write_bytes(client.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "me.pem").write_bytes(client.certificate.public_bytes(Encoding.PEM))
    (folder / "enveloped.der").write_bytes(enveloped)
    words = ("-decrypt", "-inform", "DER", "-in", "enveloped.der", "-inkey", "key.pem", "-recip", "me.pem")
    signed_data = openssl(folder, *words, "-binary")
    signed = der.sequence(der.object_identifier("1.2.840.113549.1.7.2"), der.tlv(0xA0, signed_data))
    (folder / "signed.der").write_bytes(signed)
    moment = str(int(client.gate.house.clock().timestamp()) + 1)
    words = ("-verify", "-inform", "DER", "-in", "signed.der", "-CAfile", "all.pem", "-purpose", "any")
    package = openssl(folder, *words, "-attime", moment, "-binary")
    inner = cms.ContentInfo.load(signed)["content"]
    assert inner["encap_content_info"]["content_type"].dotted == KEY_PACKAGE
    (one,) = core.SequenceOf.load(package, spec=core.Any)
    (certificate,) = pkcs7.load_der_pkcs7_certificates(certificates)
    return load_der_private_key(one.dump(), None), certificate


def openssl(folder: Path, *words: str) -> bytes:
    run = subprocess.run(["openssl", "cms", *words], cwd=folder, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
async def test_a_key_is_encrypted_to_the_client_certificate(gate: Gate, tmp_path: Path, kind: str) -> None:
    """E21: key transport for RSA, key agreement for EC; inside, an AsymmetricKeyPackage signed by the server."""
    made: dict[str, Any] = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }
    client = await Client.enrolled(gate, made[kind]())
    answer = await client.ask(client.named())
    assert ("Cache-Control", "no-store") in answer.headers
    key, certificate = await opened(client, answer, tmp_path)
    assert key.public_key() == certificate.public_key()
    signers = gate.house.core.service_keys
    usable = await signers.get("cmc", "issuing")
    usages = x509.load_der_x509_certificate(usable.key.certificate).extensions
    assert [one.dotted_string for one in usages.get_extension_for_class(x509.ExtendedKeyUsage).value] == [
        "1.3.6.1.5.5.7.3.27",
        "1.3.6.1.5.5.7.3.32",
    ]


@pytest.mark.parametrize(
    ("named", "cipher", "transport"),
    [
        ((), "aes256_cbc", "rsaes_pkcs1v15"),
        ((AES_128_CBC,), "aes128_cbc", "rsaes_pkcs1v15"),
        (("1.2.840.113549.3.7", AES_128_CBC, AES_256_CBC, OAEP), "aes128_cbc", "rsaes_oaep"),
    ],
)
async def test_capabilities_choose_the_ciphers(
    gate: Gate, tmp_path: Path, named: tuple[str, ...], cipher: str, transport: str
) -> None:
    """E21: the first cipher in the client's SMIMECapabilities that is made here."""
    client = await Client.enrolled(gate, rsa.generate_private_key(65537, 2048))
    wishes = (capabilities(*named),) if named else ()
    answer = await client.ask(client.named(), *wishes)
    await opened(client, answer, tmp_path)
    content = cms.ContentInfo.load(parts_of(answer)[0][1])["content"]
    algorithm = content["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native
    (recipient,) = content["recipient_infos"]
    assert algorithm == cipher
    assert recipient.chosen["key_encryption_algorithm"]["algorithm"].native == transport
    assert recipient.chosen["rid"].name == "subject_key_identifier"


async def test_the_usual_digest_of_a_key_names_it_too(gate: Gate, tmp_path: Path) -> None:
    """E21: SHA-1 of the key (RFC 5280 section 4.2.1.2), which old software computes by itself."""
    client = await Client.enrolled(gate, ec.generate_private_key(ec.SECP256R1()))
    digest = x509.SubjectKeyIdentifier.from_public_key(client.key.public_key()).digest
    assert digest != client.identifier
    answer = await client.ask((ASYMMETRIC_KEY, der.octet_string(digest)))
    assert answer.status == 200, text_of(answer)
    assert parts_of(answer)[0][0].endswith("server-generated-key")


async def test_what_cannot_be_encrypted_is_refused_before_anything_is_made(gate: Gate) -> None:
    """E21: an unknown identifier, a shared key, both, unreadable ones: errors, and never the key in the clear."""
    client = await Client.enrolled(gate, ec.generate_private_key(ec.SECP256R1()))
    shared = (DECRYPT_KEY, der.octet_string(b"shared"))
    for attributes in (
        ((ASYMMETRIC_KEY, der.octet_string(b"another key")),),
        ((ASYMMETRIC_KEY, der.octet_string(b"")),),
        ((ASYMMETRIC_KEY, der.NULL),),
        (shared,),
        (client.named(), shared),
        (client.named(), capabilities("1.2.840.113549.3.7")),
        (client.named(), (CAPABILITIES, der.NULL)),
        (client.named(), (CAPABILITIES, der.sequence(der.sequence()))),
    ):
        answer = await client.ask(*attributes)
        assert answer.status == 400, (attributes, text_of(answer))
    assert len(await orders(gate)) == 1


async def test_a_mount_may_insist_on_encryption(gate: Gate, tmp_path: Path) -> None:
    """E21: without a named key there is none at all."""
    await gate.mount(serverkeygen="encrypted")
    client = await Client.enrolled(gate, ec.generate_private_key(ec.SECP256R1()))
    answer = await client.ask()
    assert answer.status == 400
    assert "encrypted only" in text_of(answer)
    await opened(client, await client.ask(client.named()), tmp_path)


async def test_a_key_that_only_signs_cannot_be_encrypted_to(gate: Gate) -> None:
    """E21: RSA and EC keys can."""
    await gate.product("signing", key_types=("ed25519", "ec-p256"))
    await gate.mount(products=("signing",))
    client = await Client.enrolled(gate, ed25519.Ed25519PrivateKey.generate(), "signing")
    answer = await client.ask(client.named())
    assert answer.status == 400
    assert "RSA or EC key only" in text_of(answer)


async def test_a_key_that_was_to_be_encrypted_is_not_fetched_in_the_clear(gate: Gate) -> None:
    """E21: without the attribute the same request is another one, with a key of its own."""
    client = await Client.enrolled(gate, ec.generate_private_key(ec.SECP256R1()))
    key = ec.generate_private_key(ec.SECP256R1())
    plain, encrypted = make_csr(NAME, key), make_csr(NAME, key, der_attributes=[client.named()])
    principal = Principal(make_credential("device"), Requester("credential", "device"), "est/default", "192.0.2.1")
    references = {
        translate.to_generated(principal, "default", read_csr(csr, verify=False)).reference
        for csr in (plain, encrypted, plain, encrypted)
    }
    assert len(references) == 2
