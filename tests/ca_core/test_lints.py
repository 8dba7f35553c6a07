from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ca_core import algorithms, der, oids
from ca_core.lints import Finding, LintSubject, Severity, lint, rule
from ca_core.lints.standard import CABF, RFC5280, STANDARD
from ca_core.names import write_subject
from tests.replacing import replace

CA_KEY = ec.generate_private_key(ec.SECP256R1())
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
ISSUER_NAME = x509.Name.from_rfc4514_string("CN=Issuing,O=Example")


def spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


ISSUER = (
    x509.CertificateBuilder()
    .subject_name(ISSUER_NAME)
    .issuer_name(ISSUER_NAME)
    .public_key(CA_KEY.public_key())
    .serial_number(1 << 100)
    .not_valid_before(BEGIN - timedelta(days=10))
    .not_valid_after(BEGIN + timedelta(days=3650))
    .add_extension(x509.SubjectKeyIdentifier(b"\x01" * 20), False)
    .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    .sign(CA_KEY, hashes.SHA256())
)


def uri(value: str) -> bytes:
    return der.tlv(0x86, value.encode())


def points(*names: bytes) -> bytes:
    return der.sequence(*(der.sequence(der.tlv(0xA0, der.tlv(0xA0, value))) for value in names))


def access(method: str, location: bytes) -> bytes:
    return der.sequence(der.object_identifier(method), location)


def usages(*bits: int) -> bytes:
    value = sum(0x8000 >> bit for bit in bits).to_bytes(2, "big").rstrip(b"\x00")
    unused = (value[-1] & -value[-1]).bit_length() - 1 if value else 0
    return der.tlv(0x03, bytes((unused,)) + value)


def purposes(*values: str) -> bytes:
    return der.sequence(*map(der.object_identifier, values))


def names(*values: bytes) -> bytes:
    return der.sequence(*values)


def host(value: str) -> bytes:
    return der.tlv(0x82, value.encode())


GOOD: dict[str, tuple[bytes, bool]] = {
    oids.AUTHORITY_KEY_IDENTIFIER: (der.sequence(der.tlv(0x80, b"\x01" * 20)), False),
    oids.SUBJECT_KEY_IDENTIFIER: (der.octet_string(b"\x02" * 20), False),
    oids.KEY_USAGE: (usages(0), True),
    oids.EXTENDED_KEY_USAGE: (purposes(oids.EKU_SERVER_AUTH), False),
    oids.SUBJECT_ALT_NAME: (
        names(host("a.example"), host("*.b.example"), der.tlv(0x87, b"\x01\x01\x01\x01")),
        False,
    ),
    oids.BASIC_CONSTRAINTS: (der.sequence(), True),
    oids.CERTIFICATE_POLICIES: (der.sequence(purposes(oids.CABF_DOMAIN_VALIDATED)), False),
    oids.CRL_DISTRIBUTION_POINTS: (points(uri("http://status.example/1.crl")), False),
    oids.AUTHORITY_INFO_ACCESS: (
        der.sequence(
            access(oids.ACCESS_OCSP, uri("http://status.example/ocsp")),
            access(oids.ACCESS_CA_ISSUERS, uri("http://status.example/ca.cer")),
        ),
        False,
    ),
}


@dataclass(frozen=True)
class TBS:
    """A TBSCertificate in parts, so that a test can break one of them."""

    version: int | None = 2
    serial_number: int = 1 << 140
    signature: bytes = algorithms.signature_algorithm_for("ec-p256").identifier_der
    issuer: bytes = ISSUER_NAME.public_bytes()
    not_before: bytes = der.time(BEGIN)
    not_after: bytes = der.time(BEGIN + timedelta(days=90) - timedelta(seconds=1))
    subject: bytes = write_subject((("CN", "a.example"),))
    spki: bytes = spki(LEAF_KEY)
    unique_ids: bytes = b""
    extensions: dict[str, tuple[bytes, bool]] = field(default_factory=lambda: GOOD)
    more_extensions: bytes = b""

    def der(self) -> bytes:
        extensions = b"".join(
            der.extension(oid, value, critical=critical) for oid, (value, critical) in self.extensions.items()
        )
        return der.sequence(
            b"" if self.version is None else der.tlv(0xA0, der.integer(self.version)),
            der.integer(self.serial_number),
            self.signature,
            self.issuer,
            der.sequence(self.not_before, self.not_after),
            self.subject,
            self.spki,
            self.unique_ids,
            der.tlv(0xA3, der.sequence(extensions + self.more_extensions)) if self.extensions else b"",
        )

    def having(self, oid: str, value: bytes, *, critical: bool = False) -> TBS:
        return replace(self, extensions=self.extensions | {oid: (value, critical)})

    def without(self, oid: str) -> TBS:
        return replace(self, extensions={key: value for key, value in self.extensions.items() if key != oid})


LEAF = TBS()
CA_CERTIFICATE = (
    replace(LEAF, extensions={oid: GOOD[oid] for oid in list(GOOD)[:2]})
    .having(oids.BASIC_CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE, der.integer(0)), critical=True)
    .having(oids.KEY_USAGE, usages(5, 6), critical=True)
)


def found(tbs: TBS, issuer: x509.Certificate | None = ISSUER) -> set[str]:
    return {finding.lint for finding in lint(tbs.der(), issuer, STANDARD)}


def test_sound_certificates_have_no_findings() -> None:
    """A server certificate under both sets; a CA certificate and a root under RFC 5280."""
    assert lint(LEAF.der(), ISSUER, STANDARD) == ()
    assert lint(CA_CERTIFICATE.der(), ISSUER, RFC5280) == ()
    root = replace(CA_CERTIFICATE, subject=CA_CERTIFICATE.issuer).without(oids.AUTHORITY_KEY_IDENTIFIER)
    assert lint(root.der(), None, RFC5280) == ()
    assert lint(ISSUER.tbs_certificate_bytes, ISSUER, RFC5280) != ()


def test_pkilint_agrees_that_the_sound_certificate_is_sound(
    pkilint: Callable[[str, bytes], list[str]],
) -> None:
    """An independent linter has nothing to say of what these tests call good (it knows no wildcards)."""
    tbs = LEAF.having(oids.SUBJECT_ALT_NAME, names(host("a.example"))).der()
    data = der.sequence(tbs, LEAF.signature, der.bit_string(CA_KEY.sign(tbs, ec.ECDSA(hashes.SHA256()))))
    assert pkilint("certificate", data) == []


AT_2050 = datetime(2050, 1, 1, tzinfo=UTC)


def raw_name(value: bytes) -> bytes:
    return der.sequence(der.tlv(0x31, der.sequence(der.object_identifier("2.5.4.3"), value)))


BROKEN: list[tuple[str, TBS]] = [
    ("rfc5280_version", replace(LEAF, version=None)),
    ("rfc5280_structure", replace(LEAF, serial_number=0)),
    ("rfc5280_structure", replace(LEAF, serial_number=-5)),
    ("rfc5280_serial_number", replace(LEAF, serial_number=1 << 159)),
    ("rfc5280_serial_number_long", replace(LEAF, serial_number=(1 << 63) - 1)),
    ("rfc5280_signature_algorithm", replace(LEAF, signature=bytes.fromhex("300d06092a864886f70d0101050500"))),
    (
        "rfc5280_signature_algorithm",
        replace(LEAF, signature=algorithms.signature_algorithm_for("rsa-2048").identifier_der),
    ),
    ("rfc5280_issuer_name", replace(LEAF, issuer=LEAF.subject)),
    ("rfc5280_validity_order", replace(LEAF, not_after=der.time(BEGIN - timedelta(seconds=1)))),
    ("rfc5280_validity_encoding", replace(LEAF, not_after=der.generalized_time(BEGIN + timedelta(days=1)))),
    ("rfc5280_validity_within_issuer", replace(LEAF, not_after=der.time(AT_2050))),
    ("rfc5280_validity_within_issuer", replace(LEAF, not_before=der.time(BEGIN - timedelta(days=11)))),
    ("rfc5280_subject_name", replace(LEAF, subject=raw_name(der.tlv(0x0C, b"a\0b")))),
    ("rfc5280_subject_name", replace(LEAF, subject=raw_name(der.tlv(0x0C, b"x" * 65)))),
    ("rfc5280_subject_name", replace(LEAF, subject=raw_name(der.tlv(0x0C, b"")))),
    ("rfc5280_subject_name", replace(LEAF, subject=raw_name(der.tlv(0x13, b"a.example")))),
    ("rfc5280_subject_empty", replace(LEAF, subject=b"\x30\x00")),
    ("rfc5280_subject_empty", replace(LEAF, subject=b"\x30\x00").without(oids.SUBJECT_ALT_NAME)),
    ("rfc5280_subject_empty", replace(CA_CERTIFICATE, subject=b"\x30\x00")),
    ("rfc5280_unique_ids", replace(LEAF, unique_ids=der.tlv(0x81, b"\x00\x01"))),
    ("rfc5280_unique_ids", replace(LEAF, unique_ids=der.tlv(0x82, b"\x00\x01"))),
    (
        "rfc5280_extensions_unique",
        replace(LEAF, more_extensions=der.extension(oids.KEY_USAGE, usages(0), critical=True)),
    ),
    (
        "rfc5280_extensions_criticality",
        LEAF.having(oids.SUBJECT_KEY_IDENTIFIER, der.octet_string(b"x"), critical=True),
    ),
    ("rfc5280_extensions_criticality", LEAF.having(oids.NAME_CONSTRAINTS, der.sequence())),
    ("rfc5280_name_constraints", LEAF.having(oids.NAME_CONSTRAINTS, der.sequence(), critical=True)),
    ("rfc5280_authority_key_identifier", LEAF.without(oids.AUTHORITY_KEY_IDENTIFIER)),
    (
        "rfc5280_authority_key_identifier",
        LEAF.having(oids.AUTHORITY_KEY_IDENTIFIER, der.sequence(der.tlv(0x80, b"x"))),
    ),
    ("rfc5280_authority_key_identifier", LEAF.having(oids.AUTHORITY_KEY_IDENTIFIER, der.sequence())),
    ("rfc5280_subject_key_identifier", CA_CERTIFICATE.without(oids.SUBJECT_KEY_IDENTIFIER)),
    ("rfc5280_subject_key_identifier", LEAF.having(oids.SUBJECT_KEY_IDENTIFIER, der.octet_string(b""))),
    ("rfc5280_subject_key_identifier_of_leaf", LEAF.without(oids.SUBJECT_KEY_IDENTIFIER)),
    ("rfc5280_key_usage", CA_CERTIFICATE.without(oids.KEY_USAGE)),
    ("rfc5280_key_usage", LEAF.having(oids.KEY_USAGE, usages(), critical=True)),
    ("rfc5280_key_usage", LEAF.having(oids.KEY_USAGE, usages(0, 5), critical=True)),
    ("rfc5280_key_usage", CA_CERTIFICATE.having(oids.KEY_USAGE, usages(6), critical=True)),
    ("rfc5280_key_usage", LEAF.having(oids.KEY_USAGE, usages(0, 8), critical=True)),
    ("rfc5280_key_usage_critical", LEAF.having(oids.KEY_USAGE, usages(0))),
    ("rfc5280_key_usage_of_key", LEAF.having(oids.KEY_USAGE, usages(0, 2), critical=True)),
    (
        "rfc5280_key_usage_of_key",
        replace(LEAF, spki=spki(ED_KEY)).having(oids.KEY_USAGE, usages(0, 4), critical=True),
    ),
    (
        "rfc5280_key_usage_of_key",
        replace(LEAF, spki=spki(RSA_KEY)).having(oids.KEY_USAGE, usages(0, 4), critical=True),
    ),
    ("rfc5280_certificate_policies", LEAF.having(oids.CERTIFICATE_POLICIES, der.sequence())),
    (
        "rfc5280_certificate_policies",
        LEAF.having(oids.CERTIFICATE_POLICIES, der.sequence(purposes("1.2.3"), purposes("1.2.3"))),
    ),
    ("rfc5280_subject_alt_name", LEAF.having(oids.SUBJECT_ALT_NAME, names())),
    ("rfc5280_subject_alt_name", LEAF.having(oids.SUBJECT_ALT_NAME, names(host("a_b.example")))),
    ("rfc5280_subject_alt_name", LEAF.having(oids.SUBJECT_ALT_NAME, names(host("A.example")))),
    ("rfc5280_subject_alt_name", LEAF.having(oids.SUBJECT_ALT_NAME, names(der.tlv(0x88, b"\x2a\x03")))),
    (
        "rfc5280_subject_alt_name_unique",
        LEAF.having(oids.SUBJECT_ALT_NAME, names(host("a.example"), host("a.example"))),
    ),
    (
        "rfc5280_basic_constraints",
        CA_CERTIFICATE.having(oids.BASIC_CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE)),
    ),
    (
        "rfc5280_basic_constraints",
        LEAF.having(oids.BASIC_CONSTRAINTS, der.sequence(der.integer(0)), critical=True),
    ),
    (
        "rfc5280_basic_constraints",
        CA_CERTIFICATE.having(oids.BASIC_CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE, der.integer(-1)), critical=True),
    ),
    ("rfc5280_extended_key_usage", LEAF.having(oids.EXTENDED_KEY_USAGE, purposes())),
    ("rfc5280_extended_key_usage", LEAF.having(oids.EXTENDED_KEY_USAGE, purposes(oids.EKU_ANY))),
    (
        "rfc5280_extended_key_usage",
        LEAF.having(oids.EXTENDED_KEY_USAGE, purposes(oids.EKU_SERVER_AUTH, oids.EKU_SERVER_AUTH)),
    ),
    ("rfc5280_crl_distribution_points", LEAF.having(oids.CRL_DISTRIBUTION_POINTS, points(uri("https://a/")))),
    ("rfc5280_crl_distribution_points", LEAF.having(oids.CRL_DISTRIBUTION_POINTS, points(host("a.example")))),
    ("rfc5280_crl_distribution_points", LEAF.having(oids.CRL_DISTRIBUTION_POINTS, der.sequence())),
    (
        "rfc5280_crl_distribution_points",
        LEAF.having(oids.CRL_DISTRIBUTION_POINTS, der.sequence(der.sequence())),
    ),
    (
        "rfc5280_crl_distribution_points_not_critical",
        LEAF.having(oids.CRL_DISTRIBUTION_POINTS, points(uri("http://a/")), critical=True),
    ),
    ("rfc5280_authority_info_access", LEAF.having(oids.AUTHORITY_INFO_ACCESS, der.sequence())),
    (
        "rfc5280_authority_info_access",
        LEAF.having(oids.AUTHORITY_INFO_ACCESS, der.sequence(access(oids.ACCESS_OCSP, uri("ldap://a/")))),
    ),
    ("rfc5280_ocsp_nocheck", LEAF.having(oids.OCSP_NOCHECK, der.NULL)),
    ("rfc5280_structure", replace(LEAF, spki=b"\x05\x00")),
    ("rfc5280_structure", LEAF.having(oids.KEY_USAGE, b"\x05\x00")),
    ("rfc5280_structure", LEAF.having(oids.AUTHORITY_INFO_ACCESS, der.sequence(der.sequence()))),
    ("rfc5280_structure", replace(LEAF, version=7)),
    ("cabf_validity", replace(LEAF, not_after=der.time(BEGIN + timedelta(days=200)))),
    ("cabf_names_present", LEAF.without(oids.SUBJECT_ALT_NAME)),
    (
        "cabf_names_present",
        LEAF.having(oids.SUBJECT_ALT_NAME, names(host("a.example"), der.tlv(0x81, b"x@a.example"))),
    ),
    ("cabf_common_name_is_alternative_name", replace(LEAF, subject=write_subject((("CN", "c.example"),)))),
    (
        "cabf_common_name_is_alternative_name",
        replace(LEAF, subject=write_subject((("CN", "a.example"), ("CN", "a.example")))),
    ),
    ("cabf_reserved_name", LEAF.having(oids.SUBJECT_ALT_NAME, names(host("localhost")))),
    ("cabf_reserved_name", LEAF.having(oids.SUBJECT_ALT_NAME, names(host("1.2.0.192.in-addr.arpa")))),
    (
        "cabf_reserved_name",
        LEAF.having(oids.SUBJECT_ALT_NAME, names(host("a.example"), der.tlv(0x87, b"\x0a\x00\x00\x01"))),
    ),
    ("cabf_server_authentication", LEAF.having(oids.EXTENDED_KEY_USAGE, purposes(oids.EKU_CLIENT_AUTH))),
    (
        "cabf_server_authentication",
        LEAF.having(oids.EXTENDED_KEY_USAGE, purposes(oids.EKU_SERVER_AUTH, oids.EKU_CODE_SIGNING)),
    ),
    (
        "cabf_client_authentication",
        LEAF.having(oids.EXTENDED_KEY_USAGE, purposes(oids.EKU_SERVER_AUTH, oids.EKU_CLIENT_AUTH)),
    ),
    ("cabf_key_size", replace(LEAF, spki=spki(ED_KEY))),
    ("cabf_signature_algorithm", replace(LEAF, signature=bytes.fromhex("300506032b6570"))),
    ("cabf_signature_algorithm", replace(LEAF, signature=bytes.fromhex("300406022a03"))),
    ("cabf_serial_number", replace(LEAF, serial_number=1 << 62)),
    ("cabf_policy", LEAF.without(oids.CERTIFICATE_POLICIES)),
    (
        "cabf_domain_validated_subject",
        replace(LEAF, subject=write_subject((("O", "Example"), ("CN", "a.example")))),
    ),
    ("cabf_key_usage", LEAF.having(oids.KEY_USAGE, usages(0))),
    ("cabf_key_usage", LEAF.having(oids.KEY_USAGE, usages(4), critical=True)),
    ("cabf_authority_key_identifier", LEAF.without(oids.AUTHORITY_KEY_IDENTIFIER)),
    ("cabf_status_source", LEAF.without(oids.CRL_DISTRIBUTION_POINTS).without(oids.AUTHORITY_INFO_ACCESS)),
]


@pytest.mark.parametrize(("name", "tbs"), BROKEN, ids=[name for name, _ in BROKEN])
def test_what_is_wrong_is_found(name: str, tbs: TBS) -> None:
    """Each lint finds what its description says is wrong."""
    assert name in found(tbs)


def test_every_lint_finds_something_here() -> None:
    """No lint without a certificate that it objects to."""
    assert {item.name for item in STANDARD} == {name for name, _ in BROKEN} - {"rfc5280_structure"}


def test_lints_are_described_and_cited() -> None:
    """Name, description and citation, for the report."""
    assert len({item.name for item in STANDARD}) == len(STANDARD) == len(RFC5280) + len(CABF)
    for item in STANDARD:
        assert item.name.startswith(f"{item.source}_")
        assert item.description.endswith(".")
        assert item.citation


def test_findings_say_what_and_where() -> None:
    """A finding carries the lint, its severity, what was found and the clause."""
    assert lint(replace(LEAF, serial_number=1 << 159).der(), ISSUER, RFC5280[1:2]) == (
        Finding(
            "rfc5280_serial_number",
            Severity.ERROR,
            "the serial number has more than 20 octets",
            "RFC 5280 section 4.1.2.2",
        ),
    )


@pytest.mark.parametrize(
    ("begins", "days"),
    [(date(2026, 3, 14), 398), (date(2026, 3, 15), 200), (date(2027, 3, 15), 100), (date(2029, 3, 15), 47)],
)
def test_validity_by_the_day_it_begins(begins: date, days: int) -> None:
    """Baseline Requirements section 6.3.2: both ends count, so the last second is one too many."""
    start = datetime(begins.year, begins.month, begins.day, tzinfo=UTC)
    longest = replace(
        LEAF,
        not_before=der.time(start),
        not_after=der.time(start + timedelta(days=days) - timedelta(seconds=1)),
    )
    assert "cabf_validity" not in found(longest)
    assert "cabf_validity" in found(replace(longest, not_after=der.time(start + timedelta(days=days))))


def test_short_lived_certificates_need_no_status() -> None:
    """Baseline Requirements section 7.1.2.11.2: up to seven days."""
    week = replace(LEAF, not_after=der.time(BEGIN + timedelta(days=7) - timedelta(seconds=1)))
    assert found(week.without(oids.CRL_DISTRIBUTION_POINTS).without(oids.AUTHORITY_INFO_ACCESS)) == set()


def test_generalized_time_from_2050() -> None:
    """RFC 5280 section 4.1.2.5: the right type on both sides of the border."""
    later = replace(LEAF, not_after=der.time(AT_2050))
    assert "rfc5280_validity_encoding" not in found(later)


def test_rsa_keys_of_all_sizes_are_named() -> None:
    """The size comes out of the SubjectPublicKeyInfo."""
    tbs = replace(LEAF, spki=spki(RSA_KEY)).having(oids.KEY_USAGE, usages(0, 2), critical=True)
    assert LintSubject(tbs.der()).common.key_type == "rsa-2048"
    assert found(tbs) == set()


def test_lints_take_effect_on_their_day() -> None:
    """A certificate whose validity begins earlier is not judged by the later rule."""

    def always(subject: LintSubject) -> str | None:
        """Nothing is good enough."""
        return "no"

    for effective, count in ((BEGIN.date(), 1), (BEGIN.date() + timedelta(days=1), 0)):
        strict = rule("test", "none", severity=Severity.NOTICE, effective=effective)(always)
        assert len(lint(LEAF.der(), ISSUER, (strict,))) == count
        assert strict.name == "test_always"


def test_the_dummy_signature_never_verifies() -> None:
    """What the lints look at is no certificate that anybody would accept."""
    subject = LintSubject(LEAF.der(), ISSUER)
    assert subject.certificate.tbs_certificate_bytes == LEAF.der()
    with pytest.raises(InvalidSignature):
        subject.certificate.verify_directly_issued_by(ISSUER)


@given(st.integers(0, len(LEAF.der()) - 1), st.integers(1, 255))
def test_any_changed_octet_is_linted_or_found(position: int, flip: int) -> None:
    """Findings or none, never an exception."""
    data = bytearray(LEAF.der())
    data[position] ^= flip
    lint(bytes(data), ISSUER, STANDARD)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_finding(data: bytes) -> None:
    """What is no certificate is said to be none."""
    assert [finding.lint for finding in lint(data, None, STANDARD)] == ["rfc5280_structure"]
