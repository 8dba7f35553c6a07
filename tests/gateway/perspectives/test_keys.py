"""The certificates of perspectives: one purpose each, kept while they are good, keys for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.perspectives.keys import CERTIFICATE_DAYS, make_keys

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTS = {"eu-1": "eu.example", "us-1": "192.0.2.1"}


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())


def test_each_certificate_serves_one_purpose(tmp_path: Path) -> None:
    written = make_keys(tmp_path, HOSTS, NOW)
    assert {path.name for path in written} == {
        f"{name}.{kind}" for name in ("perspective-ca", "coordinator", "eu-1", "us-1") for kind in ("pem", "key")
    }
    issuer = certificate(tmp_path, "perspective-ca")
    for name, usage in (
        ("coordinator", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("eu-1", ExtendedKeyUsageOID.SERVER_AUTH),
        ("us-1", ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        made = certificate(tmp_path, name)
        made.verify_directly_issued_by(issuer)
        assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    assert all((path.stat().st_mode & 0o077) == 0 for path in tmp_path.glob("*.key"))


def test_what_is_good_stays_and_what_is_missing_comes(tmp_path: Path) -> None:
    make_keys(tmp_path, HOSTS, NOW)
    assert list(make_keys(tmp_path, HOSTS, NOW)) == []
    added = make_keys(tmp_path, {**HOSTS, "ap-1": "ap.example"}, NOW)
    assert {path.name for path in added} == {"ap-1.pem", "ap-1.key"}
    moved = make_keys(tmp_path, {"eu-1": "elsewhere.example"}, NOW)
    assert {path.name for path in moved} == {"eu-1.pem", "eu-1.key"}


def test_certificates_are_renewed_before_their_end(tmp_path: Path) -> None:
    make_keys(tmp_path, HOSTS, NOW)
    later = NOW + timedelta(days=CERTIFICATE_DAYS * 3 / 4)
    renewed = {path.stem for path in make_keys(tmp_path, HOSTS, later)}
    assert renewed == {"coordinator", "eu-1", "us-1"}
    assert certificate(tmp_path, "eu-1").not_valid_after_utc > later + timedelta(days=700)
