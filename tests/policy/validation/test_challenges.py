"""Tokens and expected answers."""

from __future__ import annotations

import base64
import hashlib

import pytest
from asn1crypto import core

from ca_core.names import Identifier, IdentifierType
from policy.validation import challenges


def test_token_is_256_random_bits_without_padding() -> None:
    """RFC 8555 section 8.1: at least 128 bits, base64url alphabet, no padding."""
    token = challenges.new_token(lambda size: bytes(range(size)))
    assert base64.urlsafe_b64decode(token + "=") == bytes(range(32))
    assert "=" not in token
    assert challenges.new_token() != challenges.new_token()


def test_key_authorization_joins_token_and_thumbprint() -> None:
    """RFC 8555 section 8.1."""
    assert challenges.key_authorization("token", "thumb") == "token.thumb"


def test_dns_01_value_is_the_digest_in_base64url() -> None:
    """RFC 8555 section 8.4."""
    expected = base64.urlsafe_b64encode(hashlib.sha256(b"token.thumb").digest()).rstrip(b"=").decode()
    assert challenges.dns_01_value("token.thumb") == expected


def test_acme_identifier_is_a_der_octet_string_of_the_digest() -> None:
    """RFC 8737 section 3; decoded by another decoder."""
    value = core.OctetString.load(challenges.acme_identifier("token.thumb"), strict=True)
    assert value.native == hashlib.sha256(b"token.thumb").digest()


def test_http_01_path_is_under_well_known() -> None:
    """RFC 8555 section 8.3."""
    assert challenges.http_01_path("abc") == "/.well-known/acme-challenge/abc"


DNS = ("dns-01", "dns-account-01", "dns-persist-01")


@pytest.mark.parametrize(
    ("identifier", "wildcard", "methods"),
    [
        (Identifier(IdentifierType.DNS, "a.example"), False, ("http-01", *DNS[:1], "tls-alpn-01", *DNS[1:])),
        (Identifier(IdentifierType.DNS, "a.example"), True, DNS),
        (Identifier(IdentifierType.DNS, "*.a.example"), False, DNS),
        (Identifier(IdentifierType.IP, "192.0.2.1"), False, ("http-01", "tls-alpn-01")),
        (Identifier(IdentifierType.IP, "192.0.2.1"), True, ()),
        (Identifier(IdentifierType.EMAIL, "a@a.example"), False, ()),
        (Identifier(IdentifierType.DNS, "onion"), False, ()),
        (Identifier(IdentifierType.DNS, f"{'a' * 56}.onion"), False, ()),
        (Identifier(IdentifierType.DNS, f"*.{'a' * 56}.onion"), True, ()),
        (Identifier(IdentifierType.DNS, "onion.example"), True, DNS),
    ],
)
def test_methods_fit_the_identifier(identifier: Identifier, wildcard: bool, methods: tuple[str, ...]) -> None:
    """Wildcards only by DNS (RFC 8555 section 8.3, RFC 8737), addresses never (RFC 8738 section 7), nor names that
    are not in DNS (RFC 7686).

    Rows: R22.
    """
    assert challenges.methods_for(identifier, wildcard) == methods
