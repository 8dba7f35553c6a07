"""PEM as RFC 8555 section 9.1 wants it: strict (RFC 7468 section 3), nothing between the certificates.
Pure."""

from __future__ import annotations

from binascii import b2a_base64
from functools import lru_cache

_LINE = 64
"""Characters of a line (RFC 7468 section 2)."""


def write_certificate(der: bytes) -> bytes:
    """One certificate."""
    text = b2a_base64(der, newline=False)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"


def write_chain(chain: tuple[bytes, ...]) -> bytes:
    """The leaf first, then each one's issuer."""
    return write_certificate(chain[0]) + _issuers(chain[1:])


@lru_cache(maxsize=64)
def _issuers(chain: tuple[bytes, ...]) -> bytes:
    """Those above the leaf: the same few for every certificate."""
    return b"".join([write_certificate(one) for one in chain])
