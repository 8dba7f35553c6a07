from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ca_core import oids
from ca_core.trust import PathError, TrustAnchors, same_certificate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(12)]
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def usage(*names: str) -> x509.KeyUsage:
    fields = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{field: field in names for field in fields})


@dataclass
class Holder:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def make(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: Holder | None,
    *extensions: tuple[x509.ExtensionType, bool],
    before: datetime = NOW - timedelta(days=1),
    after: datetime = NOW + timedelta(days=1),
    key_id: bool = True,
) -> Holder:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(before)
        .not_valid_after(after)
    )
    signer = key if issuer is None else issuer.key
    if key_id:
        extensions += (
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return Holder(builder.sign(signer, hashes.SHA256()), key)


def ca(path_length: int | None = None) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(ca=True, path_length=path_length), True


CERT_SIGN = (usage("key_cert_sign"), True)
ROOT = make(name("Root"), KEYS[0], None, ca(), CERT_SIGN)
ISSUING = make(name("Issuing"), KEYS[1], ROOT, ca(0), CERT_SIGN)
LEAF = make(name("device"), KEYS[2], ISSUING, (CLIENT, False), (usage("digital_signature"), True))
ANCHORS = TrustAnchors([ROOT.certificate])


def subjects(path: tuple[x509.Certificate, ...]) -> list[str]:
    return [str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value) for certificate in path]


def test_a_path_is_found_whatever_else_comes_along() -> None:
    """Order and surplus of the chain do not matter; the anchor may be in it."""
    other = make(name("Other"), KEYS[3], None, ca())
    path = ANCHORS.validate(LEAF.der, (other.der, ROOT.der, ISSUING.der, LEAF.der), NOW)
    assert subjects(path) == ["device", "Issuing", "Root"]


def test_an_intermediate_may_be_an_anchor() -> None:
    """Then nothing above it is looked for, and its root need not be known."""
    anchors = TrustAnchors([ISSUING.certificate])
    assert subjects(anchors.validate(LEAF.der, (), NOW)) == ["device", "Issuing"]
    assert len(anchors) == 1
    assert list(anchors) == [ISSUING.certificate]


def test_a_leaf_that_is_an_anchor_is_its_own_path() -> None:
    """A pinned signer; its time and purpose are still looked at."""
    pinned = make(name("signer"), KEYS[4], None, (CLIENT, False))
    anchors = TrustAnchors([pinned.certificate])
    assert anchors.validate(pinned.der, (), NOW) == (pinned.certificate,)
    with pytest.raises(PathError, match="expired"):
        anchors.validate(pinned.der, (), NOW + timedelta(days=2))


def test_of_two_anchors_of_one_name_the_right_one_is_taken() -> None:
    """A CA whose key was changed, with and without key identifiers to tell them apart."""
    for key_id in (True, False):
        old = make(name("CA"), KEYS[5], None, ca(), key_id=key_id)
        new = make(name("CA"), KEYS[6], None, ca(), key_id=key_id)
        leaf = make(name("x"), KEYS[2], new, key_id=key_id)
        anchors = TrustAnchors([old.certificate, new.certificate])
        assert anchors.validate(leaf.der, (), NOW)[-1] == new.certificate


def test_an_untrusted_self_signed_certificate() -> None:
    """A stranger with the name of an anchor is not the anchor."""
    stranger = make(name("Root"), KEYS[7], None, ca(), CERT_SIGN)
    leaf = make(name("x"), KEYS[2], stranger, key_id=False)
    with pytest.raises(PathError, match="not signed by"):
        ANCHORS.validate(leaf.der, (stranger.der,), NOW)
    with pytest.raises(PathError, match="no trust anchor"):
        TrustAnchors([]).validate(LEAF.der, (ISSUING.der, ROOT.der), NOW)


def test_times_are_inclusive() -> None:
    """RFC 5280 section 4.1.2.5: both ends count."""
    first, last = LEAF.certificate.not_valid_before_utc, LEAF.certificate.not_valid_after_utc
    for at in (first, last):
        ANCHORS.validate(LEAF.der, (ISSUING.der,), at)
    for at in (first - timedelta(seconds=1), last + timedelta(seconds=1)):
        with pytest.raises(PathError, match=r"not valid before|expired"):
            ANCHORS.validate(LEAF.der, (ISSUING.der,), at)


@pytest.mark.parametrize("eku", [oids.EKU_CMC_RA, oids.EKU_SERVER_AUTH])
def test_extended_key_usage_must_be_named(eku: str) -> None:
    """What a certificate is not for, it does not authenticate."""
    ANCHORS.validate(LEAF.der, (ISSUING.der,), NOW, eku=oids.EKU_CLIENT_AUTH)
    with pytest.raises(PathError, match=eku):
        ANCHORS.validate(LEAF.der, (ISSUING.der,), NOW, eku=eku)


def test_any_extended_key_usage_names_nothing() -> None:
    """In a leaf it does not count; in a CA it limits nothing."""
    anything = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)
    issuing = make(name("I"), KEYS[1], ROOT, ca(), anything)
    leaf = make(name("x"), KEYS[2], issuing, (CLIENT, False))
    ANCHORS.validate(leaf.der, (issuing.der,), NOW, eku=oids.EKU_CLIENT_AUTH)
    unnamed = make(name("x"), KEYS[2], issuing, anything)
    with pytest.raises(PathError):
        ANCHORS.validate(unnamed.der, (issuing.der,), NOW, eku=oids.EKU_CLIENT_AUTH)


@pytest.mark.parametrize(
    ("issuing", "why"),
    [
        ((), "not a CA"),
        (((x509.BasicConstraints(ca=False, path_length=None), True),), "not a CA"),
        ((ca(), (usage("digital_signature"), True)), "key usage"),
        ((ca(), (UNKNOWN, True)), "unknown critical extension 1.2.3.4"),
        ((ca(), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)), "extended key usage"),
    ],
)
def test_who_may_not_issue(issuing: tuple[tuple[x509.ExtensionType, bool], ...], why: str) -> None:
    """RFC 5280 section 6.1.4: basicConstraints, keyUsage, critical extensions."""
    middle = make(name("I"), KEYS[1], ROOT, *issuing)
    leaf = make(name("x"), KEYS[2], middle, (CLIENT, False))
    with pytest.raises(PathError, match=why):
        ANCHORS.validate(leaf.der, (middle.der,), NOW, eku=oids.EKU_CLIENT_AUTH)


def test_path_length_counts_what_is_not_self_issued() -> None:
    """RFC 5280 section 6.1.4 l and m."""
    root = make(name("R"), KEYS[3], None, ca(0))
    rolled = make(name("R"), KEYS[4], root, ca(0))
    under = make(name("x"), KEYS[2], rolled)
    assert len(TrustAnchors([root.certificate]).validate(under.der, (rolled.der,), NOW)) == 3
    middle = make(name("M"), KEYS[5], root, ca())
    leaf = make(name("x"), KEYS[2], middle)
    with pytest.raises(PathError, match="path length"):
        TrustAnchors([root.certificate]).validate(leaf.der, (middle.der,), NOW)


def test_a_leaf_with_an_unknown_critical_extension() -> None:
    """RFC 5280 section 4.2; not critical, it may be there."""
    for critical in (True, False):
        leaf = make(name("x"), KEYS[2], ROOT, (UNKNOWN, critical))
        if critical:
            with pytest.raises(PathError, match=r"1\.2\.3\.4"):
                ANCHORS.validate(leaf.der, (), NOW)
        else:
            ANCHORS.validate(leaf.der, (), NOW)


def test_a_leaf_must_be_allowed_to_sign() -> None:
    """keyEncipherment alone authenticates nobody."""
    leaf = make(name("x"), KEYS[2], ROOT, (usage("key_encipherment"), True))
    with pytest.raises(PathError, match="signatures"):
        ANCHORS.validate(leaf.der, (), NOW)


def test_weak_keys_and_broken_hashes() -> None:
    """RSA-1024, secp256k1 and SHA-1 end the path."""
    small = rsa.generate_private_key(65537, 1024)
    odd = ec.generate_private_key(ec.SECP256K1())
    for key in (small, odd):
        builder = x509.CertificateBuilder().subject_name(name("x")).issuer_name(ROOT.certificate.subject)
        builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW)
        leaf = builder.public_key(key.public_key()).sign(ROOT.key, hashes.SHA256())
        with pytest.raises(PathError, match="kind that is not accepted"):
            ANCHORS.validate(leaf.public_bytes(Encoding.DER), (), NOW)


def test_a_maze_does_not_cost_seconds() -> None:
    """Twelve CAs that all certify each other, and none of them an anchor."""
    holders = [make(name(f"CA {number}"), key, None, ca(), key_id=False) for number, key in enumerate(KEYS[:4])]
    maze = [
        make(child.certificate.subject, child.key, parent, ca(), key_id=False).der
        for parent in holders
        for child in holders
    ]
    leaf = make(name("x"), KEYS[8], holders[0], key_id=False)
    with pytest.raises(PathError, match=r"too many paths|no trust anchor"):
        ANCHORS.validate(leaf.der, tuple(maze), NOW)
    with pytest.raises(PathError, match="limit"):
        ANCHORS.validate(leaf.der, tuple(maze) * 2, NOW)


# --- name constraints -------------------------------------------------------------------------------------


def host(value: str) -> x509.DNSName:
    return x509.DNSName(value)


def mailbox(value: str) -> x509.RFC822Name:
    return x509.RFC822Name(value)


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


def address(value: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(value))


def network(value: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(value))


def directory(common_name: str, organization: str) -> x509.DirectoryName:
    return x509.DirectoryName(name(common_name, organization))


ORGANIZATION = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "acme  CORP")]))


@pytest.mark.parametrize(
    ("permitted", "excluded", "asked", "accepted"),
    [
        (host("a.example"), None, host("a.example"), True),
        (host("a.example"), None, host("x.A.example"), True),
        (host("a.example"), None, host("ba.example"), False),
        (host(".a.example"), None, host("x.a.example"), True),
        (host(".a.example"), None, host("a.example"), False),
        (host(""), None, host("b.example"), True),
        (None, host("a.example"), host("x.a.example"), False),
        (None, host("a.example"), host("b.example"), True),
        (None, host("x.a.example"), host("*.a.example"), False),
        (host("a.example"), host("x.a.example"), host("y.a.example"), True),
        (host("a.example"), None, address("192.0.2.1"), True),
        (network("192.0.2.0/24"), None, address("192.0.2.1"), True),
        (network("192.0.2.0/24"), None, address("198.51.100.1"), False),
        (network("192.0.2.0/24"), None, address("2001:db8::1"), False),
        (None, network("2001:db8::/32"), address("2001:db8::1"), False),
        (mailbox("a.example"), None, mailbox("x@a.example"), True),
        (mailbox("a.example"), None, mailbox("x@y.a.example"), False),
        (mailbox(".a.example"), None, mailbox("x@y.a.example"), True),
        (mailbox("x@a.example"), None, mailbox("x@A.example"), True),
        (mailbox("x@a.example"), None, mailbox("y@a.example"), False),
        (uri("a.example"), None, uri("https://a.example:8443/x"), True),
        (uri("a.example"), None, uri("https://b.example/a.example"), False),
        (uri(".a.example"), None, uri("https://x.a.example/"), True),
        (uri("a.example"), None, uri("urn:x:y"), False),
        (ORGANIZATION, None, directory("device", "Acme Corp"), True),
        (ORGANIZATION, None, directory("device", "Other"), False),
        (None, ORGANIZATION, directory("device", "ACME corp"), False),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), None, host("a.example"), True),
        (
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            None,
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            False,
        ),
    ],
)
def test_name_constraints(
    permitted: x509.GeneralName | None,
    excluded: x509.GeneralName | None,
    asked: x509.GeneralName,
    accepted: bool,
) -> None:
    """RFC 5280 section 4.2.1.10, for each kind of name; a name of another kind is not constrained."""
    constraints = x509.NameConstraints(
        None if permitted is None else [permitted], None if excluded is None else [excluded]
    )
    anchor = make(name("NC"), KEYS[9], None, ca(), (constraints, True))
    subject = asked.value if isinstance(asked, x509.DirectoryName) else x509.Name([])
    names = [] if isinstance(asked, x509.DirectoryName) else [(x509.SubjectAlternativeName([asked]), True)]
    leaf = make(subject, KEYS[2], anchor, *names)
    anchors = TrustAnchors([anchor.certificate])
    if accepted:
        anchors.validate(leaf.der, (), NOW)
    else:
        with pytest.raises(PathError, match="name"):
            anchors.validate(leaf.der, (), NOW)


def test_name_constraints_see_the_address_in_the_subject() -> None:
    """RFC 5280 section 4.2.1.10: emailAddress of the subject is a mailbox."""
    constraints = x509.NameConstraints([mailbox("a.example")], None)
    anchor = make(name("NC"), KEYS[9], None, ca(), (constraints, True))
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "x@b.example")])
    with pytest.raises(PathError, match="name constraints"):
        TrustAnchors([anchor.certificate]).validate(make(subject, KEYS[2], anchor).der, (), NOW)


def test_same_certificate() -> None:
    """By bytes, whatever the serial number says."""
    assert same_certificate(LEAF.certificate, x509.load_der_x509_certificate(LEAF.der))
    assert not same_certificate(LEAF.certificate, ISSUING.certificate)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_with_a_path_error(data: bytes) -> None:
    """Never another exception, for the leaf or in the chain."""
    with pytest.raises(PathError):
        ANCHORS.validate(data, (), NOW)
    with pytest.raises(PathError):
        ANCHORS.validate(LEAF.der, (ISSUING.der, data), NOW)


@given(st.integers(0, len(LEAF.der) - 1), st.integers(1, 255))
def test_any_changed_octet_breaks_the_path(position: int, flip: int) -> None:
    """A certificate is what was signed, or nothing."""
    changed = bytearray(LEAF.der)
    changed[position] ^= flip
    try:
        path = ANCHORS.validate(bytes(changed), (ISSUING.der,), NOW)
    except PathError:
        return
    # The count of unused bits in the signature's BIT STRING is all that may differ.
    assert path[0].tbs_certificate_bytes == LEAF.certificate.tbs_certificate_bytes
    assert path[0].signature == LEAF.certificate.signature
