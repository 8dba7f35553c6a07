"""Names in paths, OCSP requests in URLs, entity tags and dates."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from policy.problems import Malformed, TooLarge, UnknownCertificate
from protocols.status import codec

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def request_for(serial: int, name_hash: bytes = bytes(20), key_hash: bytes = bytes(20)) -> bytes:
    """An OCSP request by `cryptography`."""
    builder = ocsp.OCSPRequestBuilder()
    kind = SHA1() if len(name_hash) == 20 else SHA256()
    return bytes(builder.add_certificate_by_hash(name_hash, key_hash, serial, kind).build().public_bytes(Encoding.DER))


hashes = st.binary(min_size=20, max_size=20)
serials = st.integers(1, 2**159 - 1)


@pytest.mark.parametrize(("segment", "shard"), [("0.crl", 0), ("7.crl", 7), ("120.crl", 120)])
def test_a_shard_has_one_spelling(segment: str, shard: int) -> None:
    assert codec.read_shard(segment) == shard


@pytest.mark.parametrize(
    "segment",
    ["", "0", ".crl", "00.crl", "+1.crl", "1.CRL", "1.crl.crl", "1.crl/", " 1.crl", "١.crl", "1234567.crl"],
)
def test_other_spellings_are_not_found(segment: str) -> None:
    """One URL for each CRL, the one in the certificates."""
    with pytest.raises(UnknownCertificate):
        codec.read_shard(segment)


def test_an_issuer_is_named_by_its_key_identifier() -> None:
    """Lower-case hexadecimal with the suffix, and nothing else."""
    assert codec.read_issuer("00ff.cer") == "00ff"
    for segment in ("00FF.cer", "00ff", "00ff.crt", ".cer", "../00ff.cer", "00ff.cer "):
        with pytest.raises(UnknownCertificate):
            codec.read_issuer(segment)


@given(serials, hashes, hashes)
def test_every_spelling_of_a_request_is_read(serial: int, name_hash: bytes, key_hash: bytes) -> None:
    """RFC 6960 appendix A.1: base64, percent-encoded; clients also send it raw, half encoded, unpadded."""
    der = request_for(serial, name_hash, key_hash)
    text = b64encode(der).decode()
    spellings = (
        quote(text, safe=""),
        text,
        quote(text, safe="/"),
        text.replace("=", "%3D"),
        text.rstrip("="),
        text.replace("+", " "),
        text.replace("+", "%20"),
        text.replace("+", "-").replace("/", "_"),
        "/" + text,
    )
    for spelling in spellings:
        assert codec.read_ocsp_path(spelling) == (der,)


@given(serials, hashes, hashes)
def test_a_collapsed_path_is_read_again(serial: int, name_hash: bytes, key_hash: bytes) -> None:
    """Proxies turn "//" into "/": the right request is among the readings, all of the right length."""
    der = request_for(serial, b"\xff\xff\xff" + name_hash[3:], key_hash)
    text = b64encode(der).decode()
    collapsed = text
    while "//" in collapsed:
        collapsed = collapsed.replace("//", "/")
    try:
        readings = codec.read_ocsp_path(collapsed)
    except Malformed:
        # Several runs of slashes have more readings than are tried.
        assert len(text) - len(collapsed) > 1
        return
    assert len(readings) <= codec.MAX_REPAIRS
    assert {len(one) for one in readings} == {len(der)}
    if len(text) - len(collapsed) == 1:
        assert der in readings


@given(st.text(max_size=200))
def test_any_path_is_read_or_malformed(path: str) -> None:
    """No other exception, whatever comes."""
    with suppress(Malformed):
        assert codec.read_ocsp_path(path)


@given(st.binary(max_size=150))
def test_any_octets_are_read_or_malformed(der: bytes) -> None:
    """The same for what is base64."""
    with suppress(Malformed):
        assert codec.read_ocsp_path(b64encode(der).decode())


def test_slashes_alone_cost_little() -> None:
    """A path made to have many readings is given up soon."""
    path = b64encode(b"\x30\x81\x90" + bytes(60)).decode() + "/" * 60
    with pytest.raises(Malformed):
        codec.read_ocsp_path(path)


def test_a_long_path_is_not_decoded() -> None:
    """Checked before anything is done."""
    with pytest.raises(TooLarge):
        codec.read_ocsp_path("A" * 9000)


def test_dates_are_those_of_http() -> None:
    """RFC 9110 section 5.6.7."""
    assert codec.http_date(NOON) == "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("none_match", "since", "fresh"),
    [
        (None, None, False),
        ('"a"', None, True),
        ('W/"a"', None, True),
        ('"b", "a"', None, True),
        ("*", None, True),
        ('"b"', None, False),
        ('"b"', codec.http_date(NOON), False),
        (None, codec.http_date(NOON), True),
        (None, codec.http_date(NOON + timedelta(seconds=1)), True),
        (None, codec.http_date(NOON - timedelta(seconds=1)), False),
        (None, "Sun, 01 Mar 2026 12:00:00 -0000", True),
        (None, "yesterday", False),
        (None, "", False),
    ],
)
def test_who_has_it_already(none_match: str | None, since: str | None, fresh: bool) -> None:
    """RFC 9110 section 13.2.2: the tag first; the date only without one."""
    assert codec.is_fresh('"a"', NOON, none_match=none_match, modified_since=since) is fresh


@given(st.text(max_size=60))
def test_any_date_is_read_or_does_not_count(field: str) -> None:
    """No exception, whatever comes."""
    codec.is_fresh('"a"', NOON, none_match=None, modified_since=field)


@pytest.mark.parametrize(
    "field", ["Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359", "1 Jan 99999 00:00:00"]
)
def test_dates_at_the_borders(field: str) -> None:
    """The calendar ends somewhere."""
    codec.is_fresh('"a"', NOON, none_match=None, modified_since=field)


def test_nothing_is_kept_beyond_its_next_update() -> None:
    """The operator's wish counts while the answer lasts."""
    assert codec.max_age(60, NOON, NOON + timedelta(hours=1)) == 60
    assert codec.max_age(60, NOON, NOON + timedelta(seconds=5)) == 5
    assert codec.max_age(60, NOON, NOON - timedelta(seconds=5)) == 0
