"""A certificate as doors get it."""

from __future__ import annotations

import msgspec

from policy.store import StoredCertificate


class Certificate(msgspec.Struct, frozen=True):
    """A certificate with what is said about it: the stored facts, DER, and the issuer's chain without the root.

    `alternates` are further chains; `issuer_url` is where the issuer's own certificate can be fetched.
    """

    stored: StoredCertificate
    der: bytes
    chain: tuple[bytes, ...]
    alternates: tuple[tuple[bytes, ...], ...] = ()
    issuer_url: str = ""
