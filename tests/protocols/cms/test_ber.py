"""BER becomes DER, within limits."""

from __future__ import annotations

import pytest
from asn1crypto import core, parser
from hypothesis import given
from hypothesis import strategies as st

from ca_core.der import octet_string, sequence, tlv
from policy.problems import Malformed, TooLarge
from protocols.cms import ber


def indefinite(tag: int, *parts: bytes) -> bytes:
    return bytes((tag, 0x80)) + b"".join(parts) + b"\x00\x00"


# An element as (tag, content or parts): any tree of those that CMS is made of.
_TREES = st.recursive(
    st.tuples(st.sampled_from([0x02, 0x04, 0x05, 0x06, 0x0C, 0x80, 0x82]), st.binary(max_size=200)),
    lambda inner: st.tuples(st.sampled_from([0x30, 0x31, 0xA1, 0xA3]), st.lists(inner, max_size=4)),
    max_leaves=12,
)


def as_der(tree: tuple[int, bytes | list[object]]) -> bytes:
    tag, content = tree
    if isinstance(content, bytes):
        return tlv(tag, content)
    return tlv(tag, b"".join(as_der(one) for one in content))  # type: ignore[arg-type] # the strategy's own trees


def as_ber(tree: tuple[int, bytes | list[object]], cut: int) -> bytes:
    """The same with indefinite lengths, long lengths and octet strings in pieces."""
    tag, content = tree
    if not isinstance(content, bytes):
        return indefinite(tag, *(as_ber(one, cut) for one in content))  # type: ignore[arg-type] # as above
    if tag == 0x04:
        pieces = [octet_string(content[at : at + cut]) for at in range(0, len(content), cut)]
        return indefinite(0x24, *pieces)
    return bytes((tag, 0x84)) + len(content).to_bytes(4, "big") + content


@given(_TREES)
def test_what_is_der_stays_as_it_is(tree: tuple[int, bytes | list[object]]) -> None:
    """Nothing is changed that needs no change."""
    assert ber.to_der(as_der(tree)) == as_der(tree)


@given(_TREES, st.integers(1, 50))
def test_ber_becomes_the_der_of_the_same(tree: tuple[int, bytes | list[object]], cut: int) -> None:
    """S9: indefinite and long lengths, and octet strings in pieces, whatever stands in what."""
    assert ber.to_der(as_ber(tree, cut)) == as_der(tree)


@given(st.binary(max_size=400))
def test_any_bytes_are_rewritten_or_malformed(data: bytes) -> None:
    """No other exception, and what comes out has the borders that another parser sees."""
    try:
        written = ber.to_der(data)
    except Malformed:
        return
    parser.parse(written, strict=True)
    assert ber.to_der(written) == written


def test_encrypted_content_in_pieces_is_joined() -> None:
    """S9: micromdm sends the encryptedContent [0] constructed, which is the same octets."""
    oid, algorithm = core.ObjectIdentifier("1.2.840.113549.1.7.1").dump(), sequence(b"\x06\x01\x2a")
    pieces = tlv(0xA0, octet_string(b"first ") + tlv(0x24, octet_string(b"sec") + octet_string(b"ond")))
    assert ber.to_der(sequence(oid, algorithm, pieces)) == sequence(oid, algorithm, tlv(0x80, b"first second"))


def test_an_explicit_content_is_left_alone() -> None:
    """EncapsulatedContentInfo has its [0] in the second place, with an OCTET STRING that stays in it."""
    oid = core.ObjectIdentifier("1.2.840.113549.1.7.1").dump()
    assert ber.to_der(
        indefinite(0x30, oid, indefinite(0xA0, indefinite(0x24, octet_string(b"a"), octet_string(b"b"))))
    ) == (sequence(oid, tlv(0xA0, octet_string(b"ab"))))


def test_depth_is_limited() -> None:
    """T11: elements in elements end at MAX_DEPTH, long before Python's own limit."""
    nest = b"\x05\x00"
    for _ in range(ber.MAX_DEPTH):
        nest = tlv(0x30, nest)
    assert ber.to_der(nest) == nest
    with pytest.raises(Malformed, match="deep"):
        ber.to_der(tlv(0x30, nest))
    with pytest.raises(Malformed, match="deep"):
        ber.to_der(b"\x30\x80" * 30_000)


def test_size_is_limited() -> None:
    """T11: nothing above 64 KiB is looked at."""
    with pytest.raises(TooLarge):
        ber.to_der(bytes(ber.MAX_BYTES + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x04\x80\x00\x00",
        b"\x1f\x81\x01\x00",
        b"\x30\x03\x02\x02\x01",
        b"\x05\x00\x05\x00",
        b"\x24\x03\x02\x01\x01",
        b"\x30\xff" + bytes(20),
    ],
    ids=["empty", "no length", "no end", "primitive", "high tag", "cut", "two", "no octets", "reserved length"],
)
def test_what_is_no_ber_is_malformed(data: bytes) -> None:
    """X.690 section 8.1."""
    with pytest.raises(Malformed):
        ber.to_der(data)
