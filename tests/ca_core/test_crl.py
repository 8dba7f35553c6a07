"""CRLs: read by cryptography, openssl and pkilint."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ca_core import der
from ca_core.clock import FixedClock
from ca_core.crl import crl_to_sign, encode_entry, finish_crl
from ca_core.issuance import IssuanceRequest
from ca_core.ledger import RevokedEntry
from ca_core.status import RevocationReason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FULL_CRL_REASONS = [reason for reason in RevocationReason if reason is not RevocationReason.REMOVE_FROM_CRL]


def _entry(serial: int, reason: RevocationReason | None = None, **changes: Any) -> RevokedEntry:
    return RevokedEntry(serial, NOON - DAY, reason, NOON + 30 * DAY, **changes)


@pytest.mark.parametrize("issuer_key_type", ["ec-p256", "rsa-2048", "ed25519"])
@pytest.mark.parametrize("count", [0, 1, 300], ids=["empty", "one", "many"])
async def test_crl_satisfies_pkilint_and_openssl(
    issuer_key_type: str,
    count: int,
    make_world: Callable[..., Any],
    pkilint: Callable[..., list[str]],
    openssl: Callable[..., str],
    tmp_path: Path,
) -> None:
    """RFC 5280 section 5: signed by the CA, with number, key identifier and distribution point."""
    issuer = make_world(issuer_key_type).issuer
    entries = tuple(_entry(number + 1, FULL_CRL_REASONS[number % 9]) for number in range(count))
    published = await issuer.sign_crl(0, 7, NOON, NOON + DAY, entries)
    assert pkilint("crl", published.der) == []
    (tmp_path / "ca.der").write_bytes(issuer.certificate_der)
    (tmp_path / "list.crl").write_bytes(published.der)
    openssl("x509", "-inform", "DER", "-in", tmp_path / "ca.der", "-out", tmp_path / "ca.pem")
    said = openssl(
        *("crl", "-inform", "DER", "-in", tmp_path / "list.crl", "-CAfile", tmp_path / "ca.pem"),
        *("-noout", "-crlnumber"),
    )
    assert "verify OK" in said
    assert "crlNumber=0x07" in said or "crlNumber=07" in said or "crlNumber=7" in said


async def test_crl_says_what_went_in(world: Any) -> None:
    """Reason, dates and shard read back; "unspecified" is said by silence (section 5.3.1)."""
    entries = (
        _entry(1, RevocationReason.CERTIFICATE_HOLD),
        _entry(2, RevocationReason.UNSPECIFIED),
        _entry(3, None),
        _entry(4, RevocationReason.KEY_COMPROMISE, invalidity_date=NOON - 9 * DAY),
    )
    published = await world.issuer.sign_crl(0, 1 << 100, NOON, NOON + DAY, entries)
    found = x509.load_der_x509_crl(published.der)
    assert (published.issuer_id, published.shard, published.number) == (world.issuer.id, 0, 1 << 100)
    assert (found.last_update_utc, found.next_update_utc) == (NOON, NOON + DAY)
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 1 << 100
    by_serial = {entry.serial_number: entry for entry in found}
    assert by_serial[1].extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "certificateHold"
    assert len(by_serial[2].extensions) == len(by_serial[3].extensions) == 0
    date = by_serial[4].extensions.get_extension_for_class(x509.InvalidityDate).value
    assert date.invalidity_date_utc == NOON - 9 * DAY
    assert all(entry.revocation_date_utc == NOON - DAY for entry in found)


async def test_distribution_point_is_that_of_the_certificates(
    make_world: Callable[..., Any], clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """RFC 5280 section 6.3.3 b 2 i: the names in CRL and certificate match."""
    world = make_world("ec-p256", shards=16)
    prepared = world.authority(clock).prepare(make_request())
    published = await world.issuer.sign_crl(prepared.shard, 1, NOON, NOON + DAY, ())
    found = x509.load_der_x509_crl(published.der).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert found.critical
    assert found.value.only_contains_user_certs
    assert found.value.full_name == [x509.UniformResourceIdentifier(world.issuer.crl_url(prepared.shard))]
    url = der.tlv(0x86, world.issuer.crl_url(prepared.shard).encode())
    assert url in prepared.tbs
    assert url in published.der


async def test_root_lists_ca_certificates_only(world: Any, pkilint: Callable[..., list[str]]) -> None:
    """RFC 5280 section 5.2.5: onlyContainsCACerts for a CA that issues to CAs."""
    published = await world.root.sign_crl(0, 1, NOON, NOON + DAY, (), ca_certificates=True)
    found = x509.load_der_x509_crl(published.der).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert found.value.only_contains_ca_certs
    assert not found.value.only_contains_user_certs
    assert pkilint("crl", published.der) == []


@given(
    st.lists(
        st.builds(
            RevokedEntry,
            st.integers(0, (1 << 159) - 1),
            st.datetimes(datetime(1970, 1, 1), datetime(2120, 1, 1)).map(lambda at: at.replace(microsecond=0)),
            st.sampled_from([None, *FULL_CRL_REASONS]),
            st.just(NOON),
            st.none() | st.just(NOON),
        ),
        max_size=20,
        unique_by=lambda entry: entry.serial,
    )
)
def test_entries_read_back(world: Any, entries: list[RevokedEntry]) -> None:
    """Encoded beforehand or not, an entry is the same, and it is what went in."""
    tbs = crl_to_sign(world.issuer, 0, 1, NOON, NOON + DAY, entries)
    assert tbs == crl_to_sign(world.issuer, 0, 1, NOON, NOON + DAY, map(encode_entry, entries))
    found = x509.load_der_x509_crl(finish_crl(tbs, world.issuer.signer.algorithm, b"\x00"))
    assert [entry.serial_number for entry in found] == [entry.serial for entry in entries]
    dates = [entry.revocation_date_utc.replace(tzinfo=None) for entry in found]
    assert dates == [entry.revoked_at for entry in entries]


async def test_impossible_crls_are_refused(world: Any) -> None:
    """Numbers beyond 20 octets, no validity, a shard that is not there, a reason of delta CRLs."""
    issuer = world.issuer
    for number in (-1, 1 << 160):
        with pytest.raises(ValueError, match="20 octets"):
            crl_to_sign(issuer, 0, number, NOON, NOON + DAY, ())
    with pytest.raises(ValueError, match="valid for some time"):
        crl_to_sign(issuer, 0, 1, NOON, NOON, ())
    with pytest.raises(ValueError, match="shards 0 to 0"):
        await issuer.sign_crl(1, 1, NOON, NOON + DAY, ())
    with pytest.raises(ValueError, match="removeFromCRL"):
        encode_entry(_entry(1, RevocationReason.REMOVE_FROM_CRL))
