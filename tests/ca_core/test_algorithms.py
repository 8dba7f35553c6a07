from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_core import algorithms
from ca_core.problems import BadAlgorithm, BadPublicKey

RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Callable[[], CertificateIssuerPrivateKeyTypes]] = {
    "rsa-2048": lambda: RSA,
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}


@pytest.mark.parametrize("name", KEYS)
def test_every_key_type_signs_and_verifies_by_default(name: str) -> None:
    """The default algorithm of each key type makes signatures that verify, and only over the same data."""
    key = KEYS[name]()
    assert algorithms.key_type(key.public_key()) == name
    algorithm = algorithms.signature_algorithm_for(name)
    signature = algorithms.sign(key, algorithm, b"data")
    algorithms.verify(key.public_key(), algorithm, signature, b"data")
    with pytest.raises(InvalidSignature):
        algorithms.verify(key.public_key(), algorithm, signature, b"other")


@pytest.mark.parametrize("name", ["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048"])
def test_signatures_are_deterministic(name: str) -> None:
    """RFC 6979: an interrupted issuance is finished with the identical certificate."""
    key, algorithm = KEYS[name](), algorithms.signature_algorithm_for(name)
    assert algorithms.sign(key, algorithm, b"data") == algorithms.sign(key, algorithm, b"data")


def test_deterministic_ecdsa_is_that_of_rfc_6979() -> None:
    """RFC 6979 appendix A.2.5, curve P-256, SHA-256, message "sample"."""
    key = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
    signature = algorithms.sign(key, algorithms.signature_algorithm_for("ec-p256"), b"sample")
    assert signature.hex() == (
        "3046"
        "022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    )


@pytest.mark.parametrize("name", list(algorithms.SIGNATURE_ALGORITHMS))
def test_identifiers_are_those_that_certificates_carry(name: str) -> None:
    """Each AlgorithmIdentifier is read back to its own row, and begins with its OID."""
    algorithm = algorithms.SIGNATURE_ALGORITHMS[name]
    assert algorithms.read_signature_algorithm(algorithm.identifier_der) is algorithm
    assert algorithm.identifier_der.endswith(algorithm.parameters_der)


def test_identifiers_agree_with_cryptography() -> None:
    """What `cryptography` writes into a request is found in the table."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    for request, name in (
        (builder.sign(RSA, hashes.SHA512()), "sha512WithRSAEncryption"),
        (builder.sign(RSA, hashes.SHA384(), rsa_padding=pss), "RSASSA-PSS-SHA384"),
        (builder.sign(KEYS["ec-p384"](), hashes.SHA384()), "ecdsa-with-SHA384"),
        (builder.sign(KEYS["ed448"](), None), "Ed448"),
        (builder.sign(KEYS["ml-dsa-65"](), None), "ML-DSA-65"),
    ):
        assert algorithms.SIGNATURE_ALGORITHMS[name].identifier_der in request.public_bytes(Encoding.DER)


def test_openssl_verifies_our_signatures(tmp_path: Path) -> None:
    """An independent implementation accepts them."""
    key = KEYS["ec-p384"]()
    (tmp_path / "key.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "data").write_bytes(b"data")
    algorithm = algorithms.signature_algorithm_for("ec-p384")
    (tmp_path / "signature").write_bytes(algorithms.sign(key, algorithm, b"data"))
    command = ["openssl", "dgst", "-sha384", "-verify", "key.pem", "-signature", "signature", "data"]
    assert b"OK" in subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout


def test_pss_signatures_verify() -> None:
    """RSASSA-PSS with the salt as long as the hash, of any RSA key."""
    algorithm = algorithms.SIGNATURE_ALGORITHMS["RSASSA-PSS-SHA256"]
    signature = algorithms.sign(RSA, algorithm, b"data")
    algorithms.verify(RSA.public_key(), algorithm, signature, b"data")


def test_rsa_of_any_size_has_a_name_and_a_default() -> None:
    """Any RSA size is a key type; whether it is accepted is not decided here."""
    assert algorithms.signature_algorithm_for("rsa-2056").name == "sha256WithRSAEncryption"


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()),
        x25519.X25519PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ],
    ids=["secp256k1", "x25519", "dsa"],
)
def test_other_keys_are_refused(
    key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | dsa.DSAPrivateKey,
) -> None:
    """Curves and kinds without a row are no key types."""
    with pytest.raises(BadPublicKey):
        algorithms.key_type(key.public_key())


@pytest.mark.parametrize("name", ["", "rsa-", "ec-p224", "x"])
def test_unknown_key_types_have_no_algorithm(name: str) -> None:
    """A name that is not in the table is said back."""
    with pytest.raises(BadPublicKey):
        algorithms.signature_algorithm_for(name)


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("300d06092a864886f70d0101050500", "sha1WithRSAEncryption"),
        ("300906072a8648ce3d0401", "ecdsa-with-SHA1"),
        ("300d06092a864886f70d0101040500", "md5WithRSAEncryption"),
        ("300406022a03", "1.2.3"),
        ("0500", "unreadable"),
        ("", "unreadable"),
    ],
)
def test_weak_and_unknown_signature_algorithms_are_refused(identifier: str, shown: str) -> None:
    """The answer names what came and lists what is accepted (RFC 8555 section 6.2 wants the list)."""
    with pytest.raises(BadAlgorithm, match=shown) as caught:
        algorithms.read_signature_algorithm(bytes.fromhex(identifier))
    assert "ecdsa-with-SHA256" in caught.value.context["algorithms"]


def test_a_key_and_an_algorithm_of_another_family_do_not_go_together() -> None:
    """Whatever a message claims, an RSA key makes no ECDSA signature."""
    with pytest.raises(BadAlgorithm):
        algorithms.verify(RSA.public_key(), algorithms.signature_algorithm_for("ec-p256"), b"", b"")
    with pytest.raises(BadAlgorithm):
        algorithms.sign(RSA, algorithms.signature_algorithm_for("ed25519"), b"")
