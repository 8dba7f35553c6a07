"""DER written here is what two other encoders write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from ca_core import der


@given(st.integers(-(1 << 170), 1 << 170))
def test_integer_is_the_shortest_form(value: int) -> None:
    """X.690 section 8.3.2: no leading octet that says nothing."""
    assert der.integer(value) == core.Integer(value).dump()


@given(st.binary(max_size=300))
def test_octet_string_and_bit_string_agree_with_asn1crypto(content: bytes) -> None:
    """X.690 sections 8.6, 8.7 and 10.1: definite lengths in the shortest form."""
    assert der.octet_string(content) == core.OctetString(content).dump()
    assert der.bit_string(content) == core.OctetBitString(content).dump()


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65535, 65536, 1 << 24])
def test_length_changes_form_at_its_limits(size: int) -> None:
    """X.690 section 10.1."""
    encoded = der.octet_string(bytes(size))
    assert encoded == core.OctetString(bytes(size)).dump()
    element = der.read_tlv(encoded, 0, der.OCTET_STRING)
    assert (element.end - element.start, element.end) == (size, len(encoded))


@given(st.lists(st.integers(0, 1 << 70), max_size=6), st.sampled_from(["0.9", "1.3", "2.5", "2.999"]))
def test_object_identifier_agrees_with_asn1crypto(arcs: list[int], root: str) -> None:
    """X.690 section 8.19."""
    dotted = ".".join([root, *map(str, arcs)])
    assert der.object_identifier(dotted) == core.ObjectIdentifier(dotted).dump()


@pytest.mark.parametrize("dotted", ["", "1", "serverAuth", "3.1", "1.40", "1.-2", "1..2", "1.2.x"])
def test_object_identifier_refuses_what_is_none(dotted: str) -> None:
    """X.660: the first arc is 0 to 2, the second below 40 under the first two."""
    with pytest.raises(ValueError):
        der.object_identifier(dotted)


def test_time_changes_form_in_2050() -> None:
    """RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050."""
    assert der.time(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)) == b"\x17\x0d491231235959Z"
    assert der.time(datetime(2050, 1, 1, tzinfo=UTC)) == b"\x18\x0f20500101000000Z"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x81\x01\x00",
        b"\x30\x80\x00\x00",
        b"\x30\x82\x00\x80" + bytes(128),
        b"\x30\x02\x00",
    ],
    ids=["empty", "no length", "long form of 1", "indefinite", "leading zero", "cut"],
)
def test_read_refuses_what_is_not_der(data: bytes) -> None:
    """X.690 section 10.1: one encoding for each length, and all of it there."""
    with pytest.raises(ValueError):
        der.read_tlv(data, 0, der.SEQUENCE)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_elements_come_back_whole(contents: list[bytes]) -> None:
    """What a sequence was made of is what is found in it."""
    parts = tuple(der.octet_string(content) for content in contents)
    assert der.elements(der.sequence(*parts)) == parts


def test_elements_refuses_octets_after_the_end() -> None:
    """A second element behind the first is not part of it."""
    with pytest.raises(ValueError):
        der.elements(der.sequence() + der.NULL)
