"""Base64url: one spelling for each byte string, and no other text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import base64url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=200))
def test_what_is_encoded_is_decoded(data: bytes) -> None:
    """decode(encode(x)) = x, and the text is that of the standard library without padding."""
    text = base64url.encode(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert base64url.decode(text.encode()) == data


@given(st.text(ALPHABET + "+/= \n.", max_size=12))
def test_only_the_one_spelling_is_read(text: str) -> None:
    """Whatever is read is written the same way again."""
    try:
        data = base64url.decode(text.encode())
    except ValueError:
        return
    assert base64url.encode(data) == text


@pytest.mark.parametrize(
    "text", ["AA==", "AAA=", "A", "AAAAA", "AB", "AAB", "A+AA", "A/AA", "AA AA", "AAAA\n", "\0AAA", "AA=A", "=", "===="]
)
def test_padding_foreign_characters_and_unused_bits_are_refused(text: str) -> None:
    """RFC 8555 section 6.1, RFC 4648 section 3.5. Rows: R1."""
    with pytest.raises(ValueError):
        base64url.decode(text.encode())


@given(st.binary(max_size=20))
def test_no_bytes_make_another_exception(data: bytes) -> None:
    """Any bytes give octets or a ValueError."""
    try:
        base64url.decode(data)
    except ValueError:
        return
