from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ca_core import algorithms, der, oids
from ca_core.csr import MAX_CSR_BYTES, CertificationRequest, RequestFormat, read_csr, read_pem_or_der
from ca_core.names import Identifier, IdentifierType, read_identifier
from ca_core.problems import (
    BadAlgorithm,
    BadCSR,
    BadProofOfPossession,
    BadPublicKey,
    Malformed,
    Problem,
    TooLarge,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "ca_core"
KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")])


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def dns(value: str) -> Identifier:
    return Identifier(IdentifierType.DNS, value)


def attribute(oid: str, *values: bytes) -> bytes:
    return der.sequence(der.object_identifier(oid), der.tlv(0x31, b"".join(values)))


def extension_request(*extensions: bytes, oid: str = oids.EXTENSION_REQUEST) -> bytes:
    return attribute(oid, der.sequence(*extensions))


def request(
    *attributes: bytes,
    subject: bytes = b"\x30\x00",
    version: int = 0,
    spki: bytes = SPKI,
    bag: bool = True,
    signature: bytes | None = None,
) -> bytes:
    """A PKCS #10 request built by hand and signed with KEY: what no well-meaning library would build."""
    content = der.integer(version) + subject + spki + (der.tlv(0xA0, b"".join(attributes)) if bag else b"")
    info = der.sequence(content)
    algorithm = algorithms.signature_algorithm_for("ec-p256")
    mark = algorithms.sign(KEY, algorithm, info) if signature is None else signature
    return der.sequence(info, algorithm.identifier_der, der.bit_string(mark))


def san(*values: str) -> bytes:
    content = b"".join(der.tlv(0x82, value.encode()) for value in values)
    return der.extension(oids.SUBJECT_ALT_NAME, der.sequence(content))


def test_strongswan_request_with_unsorted_attributes() -> None:
    """The harmless deviation of strongSwan is read, its signature verified over the bytes received."""
    data = vector("strongswan_unsorted.der")
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        x509.load_der_x509_csr(data)
    assert read_csr(data) == CertificationRequest(
        format=RequestFormat.PKCS10,
        der=data,
        spki=read_csr(data).spki,
        key_type="ec-p256",
        subject=(("C", "DE"), ("O", "Example"), ("CN", "a.example")),
        names=(dns("a.example"), dns("b.example")),
        unknown_names=(),
        challenge_password="xyz",
        must_staple=False,
        extensions=(oids.SUBJECT_ALT_NAME,),
        attributes=(oids.EXTENSION_REQUEST, oids.CHALLENGE_PASSWORD),
        signature_algorithm="ecdsa-with-SHA256",
        ca_requested=False,
    )


def test_openssl_request_with_all_kinds_of_names() -> None:
    """Names are normalised, extensions listed, must-staple seen (RFC 7633)."""
    csr = read_csr(vector("openssl_all_names.der"))
    assert [str(name) for name in csr.names] == [
        "dns:a.example",
        "dns:*.b.example",
        "ip:192.0.2.1",
        "ip:2001:db8::1",
        "email:info@a.example",
        "uri:https://a.example/x",
        "upn:user@realm.example",
    ]
    assert csr.must_staple
    assert not csr.ca_requested
    assert set(csr.extensions) == {
        oids.SUBJECT_ALT_NAME,
        oids.BASIC_CONSTRAINTS,
        oids.KEY_USAGE,
        oids.EXTENDED_KEY_USAGE,
        oids.TLS_FEATURE,
    }


def test_spki_is_that_of_cryptography() -> None:
    """The key is passed on byte for byte."""
    data = vector("keytool_rsa.der")
    key = x509.load_der_x509_csr(data).public_key()
    assert read_csr(data).spki == key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_keytool_request_in_pem() -> None:
    """Java writes NEW CERTIFICATE REQUEST (RFC 7468 section 7)."""
    data = read_pem_or_der(vector("keytool_rsa.pem"))
    assert data == vector("keytool_rsa.der")
    csr = read_csr(data)
    assert (csr.key_type, csr.signature_algorithm) == ("rsa-2048", "sha256WithRSAEncryption")
    assert csr.names == (dns("a.example"), read_identifier("ip", "192.0.2.1"))


def test_openssl_pem_with_text_before_it() -> None:
    """`openssl req -text` writes a page before the block."""
    assert read_csr(read_pem_or_der(vector("openssl_text.pem"))).subject[-1] == ("CN", "a.example")


def test_names_of_unknown_type_are_listed() -> None:
    """They are there for the rules to refuse. Rows: T-1."""
    csr = read_csr(vector("openssl_directory_name.der"))
    assert csr.names == (dns("a.example"),)
    assert csr.unknown_names == ("directoryName", "registeredID")


def test_ca_certificate_asked_for() -> None:
    """basicConstraints with cA is seen, so that it can be refused."""
    assert read_csr(vector("openssl_ca.der")).ca_requested


def test_pss_request() -> None:
    """RSASSA-PSS with SHA-256 is a row of the table."""
    assert read_csr(vector("openssl_pss.der")).signature_algorithm == "RSASSA-PSS-SHA256"


def test_sha1_is_refused_with_the_list_of_what_is_accepted() -> None:
    """RFC 8555 section 6.7: badSignatureAlgorithm names the algorithms."""
    with pytest.raises(BadAlgorithm, match="ecdsa-with-SHA1") as caught:
        read_csr(vector("openssl_sha1.der"))
    assert "ecdsa-with-SHA256" in caught.value.context["algorithms"]
    assert read_csr(vector("openssl_sha1.der"), verify=False).signature_algorithm == ""


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["p384", "ed25519"],
)
def test_other_keys(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """Requests of `cryptography` itself, with and without a hash."""
    digest = hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    csr = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, digest)
    read = read_csr(csr.public_bytes(Encoding.DER))
    assert read.key_type == algorithms.key_type(key.public_key())
    assert read.names == ()


def test_our_own_builder_is_understood_by_openssl(tmp_path: Path) -> None:
    """The hand-built requests of this module are real ones."""
    (tmp_path / "csr.der").write_bytes(request(extension_request(san("a.example"))))
    command = ["openssl", "req", "-inform", "DER", "-in", "csr.der", "-verify", "-noout", "-text"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert b"DNS:a.example" in done.stdout


def test_proof_of_possession_is_verified() -> None:
    """RFC 2986 section 3: a signature by another key, over other bytes or none at all is no proof."""
    good = request(extension_request(san("a.example")))
    read_csr(good)
    for bad in (
        good.replace(b"a.example", b"b.example"),
        request(signature=b""),
        request(signature=b"\x30\x06\x02\x01\x00\x02\x01\x00"),
    ):
        with pytest.raises(BadProofOfPossession):
            read_csr(bad)
        read_csr(bad, verify=False)


def test_a_signature_with_unused_bits_is_no_signature() -> None:
    """The BIT STRING holds whole octets."""
    data = request()
    signature = data.rindex(b"\x03", 0, data.index(b"\x30", len(data) - 74))
    changed = bytearray(data)
    changed[signature + 2] = 1
    changed[-1] &= 0xFE
    with pytest.raises(BadProofOfPossession):
        read_csr(bytes(changed))


def test_the_algorithm_of_another_key_family_is_refused() -> None:
    """An RSA key with an ECDSA signature algorithm."""
    key = rsa.generate_private_key(65537, 2048)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(BadAlgorithm):
        read_csr(request(spki=spki))


def test_server_key_generation_ignores_key_and_signature() -> None:
    """RFC 7030 section 4.4.1: neither an unreadable key nor a missing proof matters."""
    csr = read_csr(request(spki=der.sequence(), signature=b"x"), verify=False)
    assert (csr.key_type, csr.signature_algorithm) == ("unknown", "")


def test_without_attributes() -> None:
    """Some devices leave the empty set out; harmless."""
    assert read_csr(request(bag=False)).attributes == ()


@pytest.mark.parametrize(
    "spki",
    [
        der.sequence(),
        x25519.X25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ec.generate_private_key(ec.SECP224R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        SPKI[:-1] + bytes((SPKI[-1] ^ 1,)),
    ],
    ids=["empty", "x25519", "p224", "off the curve"],
)
def test_unusable_keys(spki: bytes) -> None:
    """Undecodable, not for signatures, a curve that is not accepted, no point."""
    with pytest.raises(BadPublicKey):
        read_csr(request(spki=spki))


CHALLENGE = der.tlv(0x0C, b"secret")
CA = der.sequence(der.BOOLEAN_TRUE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (request(extension_request(san("a.example", "A.example"))), "twice"),
        (request(extension_request(san("a.example"), san("b.example"))), "twice"),
        (request(extension_request(san("a.example")), extension_request(san("b.example"))), "twice"),
        (
            request(
                extension_request(san("a.example")),
                extension_request(san("b.example"), oid=oids.MS_EXTENSION_REQUEST),
            ),
            "twice",
        ),
        (request(attribute(oids.CHALLENGE_PASSWORD, CHALLENGE, CHALLENGE)), "content"),
        (request(attribute(oids.CHALLENGE_PASSWORD, der.integer(1))), "character string"),
        (request(attribute(oids.CHALLENGE_PASSWORD, b"\x0c\x01\xff")), "content"),
        (request(der.sequence(der.object_identifier("1.2.3"), b"\x05\x00")), "SET"),
        (request(extension_request(san())), "without names"),
        (request(extension_request(san("a_b.example"))), '"_"'),
        (request(extension_request(san("a.example\0.evil.example"))), "character"),
        (request(extension_request(der.extension(oids.SUBJECT_ALT_NAME, b"\x05\x00"))), "content"),
        (request(subject=der.sequence(der.tlv(0x30, b""))), "content"),
        (
            request(
                subject=der.sequence(
                    der.tlv(0x31, der.sequence(der.object_identifier("2.5.4.3"), der.tlv(0x0C, b"a\0b")))
                )
            ),
            "control",
        ),
        (request(version=1), "version"),
        (request(version=3), "version"),
    ],
)
def test_bad_content(data: bytes, why: str) -> None:
    """Duplicates, broken values and names that no certificate can have."""
    with pytest.raises(BadCSR, match=why):
        read_csr(data)


def test_rejected_names_come_as_subproblems() -> None:
    """All of them at once, each with its identifier."""
    with pytest.raises(BadCSR) as caught:
        read_csr(request(extension_request(san("a_b.example", "c_d.example"))))
    assert len(caught.value.subproblems) == 2


def test_windows_request() -> None:
    """Windows uses its own attribute for extensions, and names its template (MS-WCCE section 2.2.2.7)."""
    template = der.sequence(der.object_identifier("1.3.6.1.4.1.311.21.8.1"), der.integer(100))
    data = request(
        attribute("1.3.6.1.4.1.311.13.2.3", der.tlv(0x16, b"10.0.26100.2")),
        extension_request(
            der.extension(oids.MS_TEMPLATE, template), san("pc.a.example"), oid=oids.MS_EXTENSION_REQUEST
        ),
    )
    csr = read_csr(data)
    assert csr.template == template
    assert csr.names == (dns("pc.a.example"),)
    assert csr.attributes == ("1.3.6.1.4.1.311.13.2.3", oids.MS_EXTENSION_REQUEST)


def test_an_explicit_false_is_harmless() -> None:
    """DER leaves a default out; some clients write critical = FALSE and cA = FALSE all the same."""
    false = b"\x01\x01\x00"
    extension = der.sequence(
        der.object_identifier(oids.BASIC_CONSTRAINTS), false, der.octet_string(der.sequence(false))
    )
    assert not read_csr(request(extension_request(extension))).ca_requested
    assert read_csr(request(extension_request(der.extension(oids.BASIC_CONSTRAINTS, CA)))).ca_requested


@pytest.mark.parametrize("tag", [0x0C, 0x13, 0x16, 0x14])
def test_challenge_password_in_several_strings(tag: int) -> None:
    """RFC 2985 section 5.4.1, and IA5String as some devices send it."""
    csr = read_csr(request(attribute(oids.CHALLENGE_PASSWORD, der.tlv(tag, b"secret"))))
    assert csr.challenge_password == "secret"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x80\x00\x00", b"hello", request() + b"\x00", request()[:-1], b"\x30\x00"],
    ids=["empty", "short", "indefinite", "text", "trailing", "cut", "empty sequence"],
)
def test_what_is_no_der_is_malformed(data: bytes) -> None:
    """Not DER, or more than one structure."""
    with pytest.raises(Malformed):
        read_csr(data)


def test_size_is_limited_before_anything_is_parsed() -> None:
    """64 KiB are enough for everybody."""
    with pytest.raises(TooLarge):
        read_csr(bytes(MAX_CSR_BYTES + 1))
    with pytest.raises(TooLarge):
        read_pem_or_der(bytes(3 * MAX_CSR_BYTES))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE REQUEST-----\nA\n-----END CERTIFICATE REQUEST-----",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END NEW CERTIFICATE REQUEST-----",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n" * 2,
    ],
)
def test_pem_that_is_no_request(data: bytes) -> None:
    """Exactly one block of the right kind."""
    with pytest.raises(Malformed):
        read_pem_or_der(data)


def test_der_passes_the_pem_reader() -> None:
    """DER is recognised by its first octet."""
    assert read_pem_or_der(request()).startswith(b"\x30")


GOOD = vector("openssl_all_names.der")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda data: b"\x30" + data)), st.booleans())
def test_any_bytes_are_a_request_or_a_problem(data: bytes, verify: bool) -> None:
    """Never another exception."""
    for read in (read_pem_or_der, lambda data: read_csr(data, verify=verify)):
        try:
            read(data)
        except Problem as problem:
            problem.detail.encode()


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(0, 2))
def test_any_changed_octet_is_noticed(position: int, flip: int, cut: int) -> None:
    """One changed octet makes another, valid content or a problem; with verification always a problem."""
    changed = bytearray(GOOD)
    changed[position] ^= flip
    data = bytes(changed[: len(GOOD) - cut])
    with pytest.raises(Problem):
        read_csr(data)
    with suppress(Problem):
        read_csr(data, verify=False)


@given(st.lists(st.tuples(st.sampled_from([0x81, 0x82, 0x86, 0x87, 0x88, 0xA0, 0xA4]), st.binary(max_size=20))))
def test_any_general_names_in_a_request(names: list[tuple[int, bytes]]) -> None:
    """Whatever is asked for is read or refused with a problem."""
    value = der.sequence(*(der.tlv(tag, content) for tag, content in names))
    try:
        csr = read_csr(request(extension_request(der.extension(oids.SUBJECT_ALT_NAME, value))))
    except Problem:
        return
    assert len(csr.names) + len(csr.unknown_names) == len(names)
