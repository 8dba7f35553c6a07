"""SignedData of one signer: what openssl signs is verified here, what is signed here openssl verifies."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from asn1crypto import cms, core
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from ca_core import algorithms, oids
from ca_core.der import elements, object_identifier, octet_string, sequence, tlv
from policy.problems import BadAlgorithm, Malformed, Problem
from protocols.cms.signed import ALGORITHM_PROTECTION, CONTENT_TYPE, SignedData, crls_only, read_signed, unsigned
from tests.protocols.cms.making import certificate, key, key_identifier, openssl, write_files
from tests.replacing import replace

KINDS = ["rsa", "p256", "p384", "p521", "ed25519", "mldsa"]
ATTRIBUTE = "2.16.840.1.113733.1.9.7"
VALUE = core.PrintableString("transaction").dump()


def signature_algorithm(kind: str) -> algorithms.SignatureAlgorithm:
    return algorithms.signature_algorithm_for(algorithms.key_type(key(kind).public_key()))


@cache
def message(kind: str = "rsa", content: bytes | None = b"content", content_type: str = oids.CMS_DATA) -> bytes:
    draft = unsigned(
        content_type,
        content,
        signer=certificate(kind),
        algorithm=signature_algorithm(kind),
        attributes={ATTRIBUTE: VALUE},
        certificates=(certificate("other"), certificate(kind)),
    )
    return draft.finish(algorithms.sign(key(kind), signature_algorithm(kind), draft.to_sign()))


def verify(signed: SignedData, *, sha1: bool = False) -> None:
    signed.verify(x509.load_der_x509_certificate(signed.signer_certificate()).public_key(), sha1=sha1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_and_verified(kind: str) -> None:
    """Every kind of key that CMS has a profile for."""
    signed = read_signed(message(kind))
    verify(signed)
    assert (signed.content, signed.content_type) == (b"content", oids.CMS_DATA)
    assert signed.attribute(ATTRIBUTE) == VALUE
    assert signed.signer_certificate() == certificate(kind)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
@pytest.mark.parametrize("content_type", [oids.CMS_DATA, oids.CMC_PKI_RESPONSE])
def test_openssl_verifies_what_is_written(kind: str, content_type: str, tmp_path: Path) -> None:
    """RFC 5652 section 5: signature, digest, versions and encodings are right for another program."""
    pem, _ = write_files(tmp_path, kind)
    arguments = ("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", pem, "-purpose", "any", "-no_check_time")
    assert openssl(*arguments, data=message(kind, content_type=content_type)) == b"content"


@pytest.mark.parametrize("kind", KINDS[:-1])  # asn1crypto does not know ML-DSA
def test_what_is_written_is_der(kind: str) -> None:
    """asn1crypto decodes it and encodes it to the same octets, its sets sorted."""
    info = cms.ContentInfo.load(message(kind), strict=True)
    assert info["content"]["version"].native == "v1"
    again = info.copy()
    again["content"]["signer_infos"].native  # noqa: B018 - parse to the last leaf
    assert again.dump(force=True) == message(kind)


def test_content_of_another_type_makes_version_3() -> None:
    """RFC 5652 section 5.1."""
    info = cms.ContentInfo.load(message(content_type=oids.CMC_PKI_RESPONSE))
    assert info["content"]["version"].native == "v3"


def test_content_may_be_left_out() -> None:
    """Signed is then the digest of nothing."""
    signed = read_signed(message(content=None))
    verify(signed)
    assert signed.content is None


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-keyid",),
        ("-md", "sha512"),
        ("-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:32"),
        ("-stream",),
    ],
)
def test_what_openssl_signs_is_verified(options: tuple[str, ...], tmp_path: Path) -> None:
    """Issuer and serial or key identifier, other digests, PSS, and BER of indefinite length (S9, S10)."""
    pem, private = write_files(tmp_path, "rsa")
    signer = ("-signer", pem, "-inkey", private)
    signed = openssl("cms", "-sign", "-binary", "-nodetach", "-outform", "DER", *signer, *options, data=b"from openssl")
    read = read_signed(signed)
    verify(read)
    assert read.content == b"from openssl"


def test_without_signed_attributes_the_content_is_signed(tmp_path: Path) -> None:
    """RFC 5652 section 5.4."""
    pem, private = write_files(tmp_path, "rsa")
    signed = openssl(
        "cms",
        "-sign",
        "-binary",
        "-nodetach",
        "-noattr",
        "-outform",
        "DER",
        "-signer",
        pem,
        "-inkey",
        private,
        data=b"c",
    )
    read = read_signed(signed)
    verify(read)
    assert read.signed_attributes is None
    with pytest.raises(Malformed, match="no signed attributes"):
        verify(replace(read, content_type=oids.CMC_PKI_DATA))


def test_several_signers_are_refused(tmp_path: Path) -> None:
    """T8: whose request would it be?"""
    one, other = write_files(tmp_path, "rsa"), write_files(tmp_path, "other")
    signers = ("-signer", one[0], "-inkey", one[1], "-signer", other[0], "-inkey", other[1])
    with pytest.raises(Malformed, match="2 signers"):
        read_signed(openssl("cms", "-sign", "-nodetach", "-outform", "DER", *signers, data=b"content"))


def test_the_signer_is_found_by_name_and_not_by_place() -> None:
    """T8: a further certificate in the message does not take the signer's place, nor does any without a name."""
    signed = read_signed(message())
    assert replace(signed, certificates=signed.certificates[::-1]).signer_certificate() == certificate("rsa")
    with pytest.raises(Malformed, match="certificate of the signer"):
        replace(signed, certificates=(certificate("other"),)).signer_certificate()
    by_key = replace(signed, signer=tlv(0x80, key_identifier("rsa")))
    assert by_key.signer_certificate() == certificate("rsa")


@pytest.mark.parametrize(
    "change",
    [
        {"content": b"other content"},
        {"signature": bytes(256)},
        {"signed_attributes": tlv(0x31, b"")},
    ],
    ids=["content", "signature", "attributes"],
)
def test_a_change_is_noticed(change: dict[str, object]) -> None:
    """S10: content, attributes and signature belong together."""
    with pytest.raises(InvalidSignature):
        verify(replace(read_signed(message()), **change))


def test_the_content_type_is_signed() -> None:
    """RFC 5652 section 11.1: the attribute repeats the type, so that content cannot pass for another kind."""
    with pytest.raises(Malformed, match="content-type"):
        verify(replace(read_signed(message()), content_type=oids.CMC_PKI_DATA))


def hand_signed(attributes: list[bytes], *, signed_in_order: bool, hash_name: str = "sha256") -> bytes:
    """A message whose attributes are sent as given, and signed so or in DER's order."""
    hashed = {"sha256": hashes.SHA256(), "sha1": hashes.SHA1()}[hash_name]
    digest_algorithm = sequence(object_identifier({"sha256": oids.SHA256, "sha1": oids.SHA1}[hash_name]))
    to_sign = tlv(0x31, b"".join(sorted(attributes) if signed_in_order else attributes))
    private = key("rsa")
    assert isinstance(private, rsa.RSAPrivateKey)
    signer = sequence(
        b"\x02\x01\x01",
        read_signed(message()).signer,
        digest_algorithm,
        tlv(0xA0, b"".join(attributes)),
        sequence(object_identifier(oids.RSA_ENCRYPTION), b"\x05\x00"),
        octet_string(private.sign(to_sign, padding.PKCS1v15(), hashed)),
    )
    content = sequence(object_identifier(oids.CMS_DATA), tlv(0xA0, octet_string(b"content")))
    bag = tlv(0xA0, certificate("rsa"))
    body = sequence(b"\x02\x01\x01", tlv(0x31, digest_algorithm), content, bag, tlv(0x31, signer))
    return sequence(object_identifier(oids.CMS_SIGNED_DATA), tlv(0xA0, body))


def attribute(oid: str, value: bytes) -> bytes:
    return sequence(object_identifier(oid), tlv(0x31, value))


def own_attributes(hash_name: str = "sha256") -> list[bytes]:
    digest = hashes.Hash(hashes.SHA256() if hash_name == "sha256" else hashes.SHA1())
    digest.update(b"content")
    return [
        attribute("1.2.840.113549.1.9.4", octet_string(digest.finalize())),
        attribute(CONTENT_TYPE, object_identifier(oids.CMS_DATA)),
        attribute(ATTRIBUTE, VALUE),
    ]


@pytest.mark.parametrize("signed_in_order", [True, False])
def test_attributes_in_any_order(signed_in_order: bool) -> None:
    """S10: signed as they were sent, or sorted as DER wants it although they were not sent so."""
    attributes = own_attributes()
    assert attributes != sorted(attributes)
    verify(read_signed(hand_signed(attributes, signed_in_order=signed_in_order)))


def test_sha1_needs_its_switch() -> None:
    """S24, T7."""
    signed = read_signed(hand_signed(own_attributes("sha1"), signed_in_order=True, hash_name="sha1"))
    with pytest.raises(BadAlgorithm, match="SHA-1"):
        verify(signed)
    verify(signed, sha1=True)


def test_algorithm_protection_is_compared() -> None:
    """S10, RFC 6211: jscep sends it; one that names other algorithms is an attack."""
    rsa_encryption = elements(sequence(object_identifier(oids.RSA_ENCRYPTION), b"\x05\x00"))
    for hash_oid, fits in ((oids.SHA256, True), (oids.SHA512, False)):
        said = sequence(sequence(object_identifier(hash_oid)), tlv(0xA1, b"".join(rsa_encryption)))
        signed = read_signed(
            hand_signed([*own_attributes(), attribute(ALGORITHM_PROTECTION, said)], signed_in_order=True)
        )
        if fits:
            verify(signed)
        else:
            with pytest.raises(InvalidSignature):
                verify(signed)


def test_an_attribute_is_there_once_with_one_value() -> None:
    """S9: two transactionIDs would be two transactions."""
    twice = [*own_attributes(), attribute(ATTRIBUTE, core.PrintableString("other").dump())]
    with pytest.raises(Malformed, match="signed attributes"):
        read_signed(hand_signed(twice, signed_in_order=True))
    values = [*own_attributes()[:2], attribute(ATTRIBUTE, VALUE + VALUE)]
    with pytest.raises(Malformed, match="2 values"):
        read_signed(hand_signed(values, signed_in_order=True)).attribute(ATTRIBUTE)


def test_numbers_are_limited() -> None:
    """T11: certificates and attributes of a message that is read."""
    many = [attribute(f"1.2.3.{number}", VALUE) for number in range(40)]
    with pytest.raises(Malformed, match="signed attributes"):
        read_signed(hand_signed([*own_attributes(), *many], signed_in_order=True))
    draft = unsigned(
        oids.CMS_DATA,
        b"",
        signer=certificate("rsa"),
        algorithm=signature_algorithm("rsa"),
        attributes={},
        certificates=[tlv(0x30, bytes((number,))) for number in range(9)],
    )
    with pytest.raises(Malformed, match="9 certificates"):
        read_signed(draft.finish(b"signature"))


@given(st.binary(max_size=300) | st.tuples(st.integers(0, 2000), st.integers(0, 255)))
def test_any_bytes_are_read_or_a_problem(data: bytes | tuple[int, int]) -> None:
    """Rubbish, and messages with one octet changed, give a value or a Problem, never another exception."""
    if isinstance(data, tuple):
        changed = bytearray(message())
        changed[data[0] % len(changed)] = data[1]
        data = bytes(changed)
    try:
        signed = read_signed(data)
        signed.attribute(ATTRIBUTE)
        if signed.signer_certificate() == certificate("rsa"):
            signed.verify(key("rsa").public_key())
    except (Problem, InvalidSignature):
        return


def test_ed448_is_not_made() -> None:
    """RFC 8419: it needs a digest that nothing here has."""
    with pytest.raises(ValueError, match="Ed448"):
        unsigned(
            oids.CMS_DATA,
            b"",
            signer=certificate("rsa"),
            algorithm=algorithms.SIGNATURE_ALGORITHMS["Ed448"],
            attributes={},
        )


def test_a_message_of_crls_only() -> None:
    """RFC 8894 section 4.6.1: asn1crypto finds the lists and nothing else."""
    crl = sequence(sequence(b"\x02\x01\x01"), sequence(), b"\x03\x01\x00")
    content = cms.ContentInfo.load(crls_only([crl]))["content"]
    assert content["crls"].contents == crl
    assert content["certificates"].native is None
    assert len(content["signer_infos"]) == 0
