"""EnvelopedData: what openssl encrypts is decrypted here, what is encrypted here openssl decrypts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import given
from hypothesis import strategies as st

from ca_core import oids
from ca_core.der import object_identifier, octet_string, sequence
from ca_core.keys import DecryptionScheme
from policy.problems import BadAlgorithm, Malformed, Problem
from protocols.cms import algorithms
from protocols.cms.algorithms import (
    AES_128_CBC,
    AES_192_CBC,
    AES_256_CBC,
    AES_CIPHERS,
    DES3_CBC,
    DES_CBC,
    ContentCipher,
)
from protocols.cms.enveloped import EnvelopedData, envelop, read_enveloped
from protocols.cms.recipients import (
    KeyAgreement,
    KeyTransport,
    Password,
    PasswordWrap,
    RecipientIdentifier,
    RecipientInfo,
    SharedKey,
)
from tests.protocols.cms.making import certificate, key, key_identifier, openssl, write_files
from tests.replacing import replace

SPARE = bytes(range(32))
PLAINTEXT = b"what nobody else shall read" * 20


def public_key(kind: str) -> Any:
    return x509.load_der_x509_certificate(certificate(kind)).public_key()


def transport(kind: str = "rsa", scheme: DecryptionScheme = DecryptionScheme.RSA_PKCS1) -> KeyTransport:
    return KeyTransport.to(certificate(kind), public_key(kind), scheme)


def content_key(enveloped: EnvelopedData, kind: str = "rsa") -> bytes:
    recipient = enveloped.find(certificate(kind))
    assert recipient is not None
    private = key(kind)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private.decrypt(recipient.encrypted_key, algorithms.transport_padding(recipient.scheme))


@pytest.mark.parametrize("cipher", AES_CIPHERS, ids=lambda one: one.name)
@pytest.mark.parametrize("scheme", list(DecryptionScheme))
def test_what_is_written_is_read(cipher: ContentCipher, scheme: DecryptionScheme) -> None:
    """Every cipher under every way to transport its key."""
    enveloped = read_enveloped(envelop(PLAINTEXT, [transport(scheme=scheme)], cipher))
    assert enveloped.recipients[0].scheme is scheme
    assert enveloped.cipher() is cipher
    assert enveloped.decrypt(content_key(enveloped), spare=SPARE) == PLAINTEXT


@pytest.mark.parametrize("cipher", [*AES_CIPHERS, DES3_CBC], ids=lambda one: one.name)
@pytest.mark.parametrize("scheme", list(DecryptionScheme))
def test_openssl_decrypts_what_is_written(cipher: ContentCipher, scheme: DecryptionScheme, tmp_path: Path) -> None:
    """RFC 5652 section 6, RFC 3560, RFC 3565."""
    pem, private = write_files(tmp_path, "rsa")
    message = envelop(PLAINTEXT, [transport(scheme=scheme), transport("other")], cipher)
    out = openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", pem, "-inkey", private, data=message)
    assert out == PLAINTEXT


OAEP = ("-keyopt", "rsa_padding_mode:oaep")


@pytest.mark.parametrize(
    ("options", "cipher"),
    [
        (("-aes128",), AES_128_CBC),
        (("-aes-192-cbc",), AES_192_CBC),
        (("-aes256", "-stream"), AES_256_CBC),
        (("-aes128", "-keyid"), AES_128_CBC),
        (("-des3",), DES3_CBC),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
@pytest.mark.parametrize(
    "transported", [(), OAEP, (*OAEP, "-keyopt", "rsa_oaep_md:sha256")], ids=["pkcs1", "oaep", "oaep256"]
)
def test_what_openssl_encrypts_is_decrypted(
    options: tuple[str, ...], cipher: ContentCipher, transported: tuple[str, ...], tmp_path: Path
) -> None:
    """S9, S11: DER and BER, issuer and serial or key identifier, several recipients, OAEP."""
    pem, _ = write_files(tmp_path, "rsa")
    other, _ = write_files(tmp_path, "other")
    recipients = ("-recip", other, "-recip", pem, *transported)
    message = openssl("cms", "-encrypt", "-binary", "-outform", "DER", *options, *recipients, data=PLAINTEXT)
    enveloped = read_enveloped(message)
    assert len(enveloped.recipients) == 2
    if cipher is DES3_CBC:
        with pytest.raises(BadAlgorithm, match="des-ede3-CBC"):
            enveloped.decrypt(bytes(24), spare=SPARE)
    accepted = (*AES_CIPHERS, DES3_CBC)
    assert enveloped.decrypt(content_key(enveloped), spare=SPARE, accepted=accepted) == PLAINTEXT


def test_single_des_is_three_times_the_same_key(tmp_path: Path) -> None:
    """S12: there for the switch of old clients; openssl's legacy provider agrees."""
    pem, private = write_files(tmp_path, "rsa")
    providers = ("-provider", "default", "-provider", "legacy")
    message = envelop(PLAINTEXT, [transport()], DES_CBC)
    out = openssl(
        "cms", "-decrypt", *providers, "-binary", "-inform", "DER", "-recip", pem, "-inkey", private, data=message
    )
    assert out == PLAINTEXT
    with pytest.raises(BadAlgorithm):
        read_enveloped(message).cipher()


@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
def test_openssl_agrees_on_a_key(kind: str, tmp_path: Path) -> None:
    """RFC 5753: ephemeral-static ECDH, by issuer and serial and by key identifier."""
    pem, private = write_files(tmp_path, kind)
    by_key = KeyAgreement(public_key(kind), RecipientIdentifier.of_key(key_identifier(kind)))
    for recipient in (KeyAgreement.to(certificate(kind), public_key(kind)), by_key):
        message = envelop(PLAINTEXT, [recipient])
        out = openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", pem, "-inkey", private, data=message)
        assert out == PLAINTEXT


def test_openssl_finds_the_key_by_its_identifier(tmp_path: Path) -> None:
    """RFC 5652 section 6.2.1: key transport with a key identifier has version 2."""
    pem, private = write_files(tmp_path, "rsa")
    message = envelop(PLAINTEXT, [KeyTransport(public_key("rsa"), RecipientIdentifier.of_key(key_identifier("rsa")))])
    out = openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", pem, "-inkey", private, data=message)
    assert out == PLAINTEXT
    recipient = cms.ContentInfo.load(message)["content"]["recipient_infos"][0].chosen
    assert recipient["version"].native == "v2"


@pytest.mark.parametrize("size", [16, 24, 32])
def test_openssl_unwraps_with_a_shared_key(size: int) -> None:
    """RFC 5652 section 6.2.3, RFC 3565 section 2.3.2."""
    shared = bytes(range(size))
    message = envelop(PLAINTEXT, [SharedKey(shared, b"device 7")], AES_128_CBC)
    arguments = ("-secretkey", shared.hex(), "-secretkeyid", b"device 7".hex())
    assert openssl("cms", "-decrypt", "-binary", "-inform", "DER", *arguments, data=message) == PLAINTEXT


@pytest.mark.parametrize("cipher", AES_CIPHERS, ids=lambda one: one.name)
def test_openssl_unwraps_with_a_password(cipher: ContentCipher) -> None:
    """RFC 5652 section 6.2.4, RFC 3211."""
    message = envelop(PLAINTEXT, [Password(b"correct horse")], cipher)
    arguments = ("-pwri_password", "correct horse")
    assert openssl("cms", "-decrypt", "-binary", "-inform", "DER", *arguments, data=message) == PLAINTEXT


def test_a_password_with_aes_wrap() -> None:
    """RFC 9481 section 4.4: PBKDF2 and AES key wrap, as another decoder finds them."""
    message = envelop(PLAINTEXT, [Password(b"secret", PasswordWrap.AES_WRAP, iterations=1000)], AES_128_CBC)
    content = cms.ContentInfo.load(message)["content"]
    recipient = content["recipient_infos"][0].chosen
    derivation = recipient["key_derivation_algorithm"]
    assert (derivation["algorithm"].native, derivation["parameters"]["iteration_count"].native) == ("pbkdf2", 1000)
    assert recipient["key_encryption_algorithm"]["algorithm"].native == "aes256_wrap"
    salt = derivation["parameters"]["salt"].native
    unwrapped = aes_key_unwrap(
        hashlib.pbkdf2_hmac("sha256", b"secret", salt, 1000, 32), recipient["encrypted_key"].native
    )
    read = read_enveloped(message)
    assert read.recipients == ()
    assert read.decrypt(unwrapped, spare=SPARE) == PLAINTEXT


@pytest.mark.parametrize(
    ("recipients", "version"),
    [
        ([transport()], "v0"),
        ([SharedKey(bytes(16), b"1")], "v2"),
        ([transport(), SharedKey(bytes(16), b"1")], "v2"),
        ([transport(), Password(b"p")], "v3"),
    ],
    ids=["transport", "shared", "both", "password"],
)
def test_versions(recipients: list[RecipientInfo], version: str) -> None:
    """RFC 5652 section 6.1."""
    assert cms.ContentInfo.load(envelop(b"content", recipients))["content"]["version"].native == version


def test_what_is_written_is_der() -> None:
    """asn1crypto decodes it and encodes it to the same octets."""
    message = envelop(
        PLAINTEXT, [transport(), SharedKey(bytes(16), b"1"), KeyAgreement.to(certificate("p256"), public_key("p256"))]
    )
    info = cms.ContentInfo.load(message, strict=True)
    assert len(info["content"]["recipient_infos"].native) == 3
    assert info.copy().dump(force=True) == message


def test_a_key_of_another_kind_gets_nothing() -> None:
    """S21: who cannot decrypt is told so before anything is encrypted."""
    with pytest.raises(BadAlgorithm, match="no RSA key"):
        KeyTransport.to(certificate("p256"), public_key("p256"))
    with pytest.raises(BadAlgorithm, match="P-256"):
        KeyAgreement.to(certificate("rsa"), public_key("rsa"))


def test_a_message_for_others_has_no_part_for_us() -> None:
    """S11."""
    assert read_enveloped(envelop(PLAINTEXT, [transport("other")])).find(certificate("rsa")) is None


def test_every_fault_behind_the_key_has_the_same_words() -> None:
    """T6: a key of another size, another key, broken padding and a cut message cannot be told apart."""
    enveloped = read_enveloped(envelop(PLAINTEXT, [transport()], AES_128_CBC))
    right = content_key(enveloped)
    faults = [
        (enveloped, right + b"x"),
        (enveloped, b""),
        (enveloped, bytes(16)),
        (replace(enveloped, ciphertext=enveloped.ciphertext[:-1]), right),
        (replace(enveloped, ciphertext=enveloped.ciphertext[:-1] + b"x"), right),
        (replace(enveloped, ciphertext=b""), right),
    ]
    said = set()
    for message, tried in faults:
        with pytest.raises(Malformed) as caught:
            message.decrypt(tried, spare=SPARE)
        assert caught.value.__cause__ is None
        said.add(str(caught.value))
    assert len(said) == 1


def test_the_number_of_recipients_is_limited() -> None:
    """T11."""
    shared = [SharedKey(bytes(16), bytes((number,))) for number in range(17)]
    with pytest.raises(Malformed, match="17 recipients"):
        read_enveloped(envelop(b"content", shared))


@pytest.mark.parametrize(
    "identifier",
    [sequence(b"\x06\x01\x2a"), sequence(b"\x06\x08\x2a\x86\x48\x86\xf7\x0d\x03\x02", octet_string(bytes(8)))],
)
def test_unknown_and_broken_ciphers(identifier: bytes) -> None:
    """S12: RC2 and whatever nobody knows; the reason is said without decrypting anything."""
    enveloped = replace(read_enveloped(envelop(b"content", [transport()])), algorithm=identifier)
    with pytest.raises(BadAlgorithm):
        enveloped.cipher()


@pytest.mark.parametrize(
    "identifier",
    [AES_128_CBC.identifier(bytes(8)), sequence(), b"\x05\x00", AES_128_CBC.identifier(bytes(16)) + b"\x05\x00"],
)
def test_an_algorithm_without_its_vector_is_malformed(identifier: bytes) -> None:
    """RFC 3565 section 4.1: the parameter is the initialisation vector."""
    enveloped = replace(read_enveloped(envelop(b"content", [transport()])), algorithm=identifier)
    with pytest.raises(Malformed):
        enveloped.cipher()


def test_an_unknown_way_to_transport_the_key() -> None:
    """S11: badAlg, not a guess."""
    recipient = read_enveloped(envelop(b"content", [transport()])).recipients[0]
    with pytest.raises(BadAlgorithm):
        _ = replace(recipient, algorithm=sequence(b"\x06\x01\x2a")).scheme


MESSAGE = envelop(PLAINTEXT, [transport(), transport("other")])


@given(st.binary(max_size=300) | st.tuples(st.integers(0, 2000), st.integers(0, 255)))
def test_any_bytes_are_read_or_a_problem(data: bytes | tuple[int, int]) -> None:
    """Rubbish, and messages with one octet changed, give a value or a Problem, never another exception."""
    if isinstance(data, tuple):
        changed = bytearray(MESSAGE)
        changed[data[0] % len(changed)] = data[1]
        data = bytes(changed)
    try:
        enveloped = read_enveloped(data)
        enveloped.cipher()
        _ = [one.scheme for one in enveloped.recipients]
        enveloped.find(certificate("rsa"))
        enveloped.decrypt(bytes(16), spare=SPARE)
    except Problem:
        return


def test_pkcs1_of_a_wrong_key_gives_random_bytes() -> None:
    """T6: the library's implicit rejection is on: a wrong padding is no error."""
    private = key("rsa")
    assert isinstance(private, rsa.RSAPrivateKey)
    assert isinstance(private.decrypt(b"\x01" * 256, padding.PKCS1v15()), bytes)


def test_the_type_is_looked_at() -> None:
    """id-signedData with the content of an EnvelopedData is neither."""
    message = MESSAGE.replace(object_identifier(oids.CMS_ENVELOPED_DATA), object_identifier(oids.CMS_SIGNED_DATA))
    with pytest.raises(Malformed, match="not an EnvelopedData"):
        read_enveloped(message)
