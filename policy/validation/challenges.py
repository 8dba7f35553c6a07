"""Challenges: tokens, expected answers, and which method can prove which identifier. Pure.

Sections: RFC 8555 8.1 to 8.4 (key authorization, http-01, dns-01), RFC 8737 3 (tls-alpn-01), RFC 8738
(addresses).
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable

from ca_core.names import Identifier, IdentifierType

HTTP_01 = "http-01"
DNS_01 = "dns-01"
TLS_ALPN_01 = "tls-alpn-01"
DNS_ACCOUNT_01 = "dns-account-01"
DNS_PERSIST_01 = "dns-persist-01"

WITHOUT_TOKEN = frozenset({DNS_PERSIST_01})
"""Challenges whose answer stands in DNS before they are made. Installed clients stumble over them (uacme, ruby-acme),
so a product offers them only when it names them."""

TOKEN_BYTES = 32
"""RFC 8555 section 8.1 asks for 128 bits at least; 256 cost nothing and give 43 characters."""

HTTP_01_PREFIX = "/.well-known/acme-challenge/"
"""Where the answer to http-01 is looked for (RFC 8555 section 8.3)."""

DNS_01_LABEL = "_acme-challenge"
"""The label under which the TXT record of dns-01 lives (RFC 8555 section 8.4)."""

DNS_ACCOUNT_BYTES = 10
"""How much of the digest of the account's URL the label of dns-account-01 has: sixteen characters of base32."""

ACME_TLS_1 = "acme-tls/1"
"""The ALPN protocol of tls-alpn-01 (RFC 8737 section 6.2)."""

ACME_IDENTIFIER_OID = "1.3.6.1.5.5.7.1.31"
"""id-pe-acmeIdentifier (RFC 8737 section 3). The draft's 1.30 is not accepted anywhere."""


def new_token(random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A fresh token: 256 random bits, base64url without padding."""
    return _base64url(random(TOKEN_BYTES))


def key_authorization(token: str, thumbprint: str) -> str:
    """Token and account key thumbprint (RFC 8555 section 8.1).

    The thumbprint is that of the stored account key, never of a key taken from a request.
    """
    return f"{token}.{thumbprint}"


def credential_thumbprint(credential: str) -> str:
    """What stands for the account key's thumbprint where no account is: it binds the answer to the credential."""
    return _base64url(hashlib.sha256(f"credential:{credential}".encode("ascii")).digest())


def http_01_path(token: str) -> str:
    """The path that http-01 asks for."""
    return HTTP_01_PREFIX + token


def dns_01_value(authorization: str) -> str:
    """The TXT value that answers dns-01: the digest of the key authorization, base64url."""
    return _base64url(hashlib.sha256(authorization.encode("ascii")).digest())


def dns_account_label(account_uri: str) -> str:
    """The label of dns-account-01: made of the account's URL, so that no other account has it."""
    digest = hashlib.sha256(account_uri.encode("ascii")).digest()
    return f"_{b32encode(digest[:DNS_ACCOUNT_BYTES]).decode('ascii').lower()}.{DNS_01_LABEL}"


def acme_identifier(authorization: str) -> bytes:
    """The value of the acmeIdentifier extension for tls-alpn-01: a DER OCTET STRING of the 32 octet
    digest."""
    return b"\x04\x20" + hashlib.sha256(authorization.encode("ascii")).digest()


_METHODS: dict[tuple[IdentifierType, bool], tuple[str, ...]] = {
    (IdentifierType.DNS, False): (HTTP_01, DNS_01, TLS_ALPN_01, DNS_ACCOUNT_01, DNS_PERSIST_01),
    # One host that answers says nothing about all the others: RFC 8555 section 8.3, RFC 8737 section 3.
    (IdentifierType.DNS, True): (DNS_01, DNS_ACCOUNT_01, DNS_PERSIST_01),
    # RFC 8738 section 7: dns-01 is not for addresses.
    (IdentifierType.IP, False): (HTTP_01, TLS_ALPN_01),
}


def methods_for(identifier: Identifier, wildcard: bool) -> tuple[str, ...]:
    """The methods that can prove this identifier; none where no challenge exists for its type.

    Nor for names below "onion": they are not in DNS (RFC 7686 section 2), so what answers there is not who has the key
    (RFC 9799 has challenges of its own for them).
    """
    if identifier.type is IdentifierType.DNS and identifier.value.rpartition(".")[2] == "onion":
        return ()
    return _METHODS.get((identifier.type, wildcard or identifier.wildcard), ())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
