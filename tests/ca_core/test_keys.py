"""Identifiers of public keys."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from asn1crypto.keys import PublicKeyInfo
from hypothesis import given
from hypothesis import strategies as st

from ca_core.keys import key_identifier, public_key_bits


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048", "ed25519"])
def test_key_identifier_is_method_1_of_rfc_7093(key_type: str, spki_of: Callable[[str], bytes]) -> None:
    """RFC 7093 section 2 method 1: the left 160 bits of SHA-256 over the BIT STRING's value."""
    spki = spki_of(key_type)
    bits = PublicKeyInfo.load(spki)["public_key"].contents[1:]
    assert public_key_bits(spki) == bits
    assert key_identifier(spki) == sha256(bits).digest()[:20]


@given(st.binary(max_size=120))
def test_public_key_bits_refuses_with_value_error_only(data: bytes) -> None:
    """Octets from outside give a ValueError, whatever they are."""
    try:
        public_key_bits(data)
    except ValueError:
        return


def test_public_key_bits_refuses_octets_after_the_end(spki_of: Callable[[str], bytes]) -> None:
    """Two encodings of one key must not have one identifier."""
    with pytest.raises(ValueError):
        public_key_bits(spki_of("ec-p256") + b"\x00")
