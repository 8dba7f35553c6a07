"""CRLs, one per shard of an issuer (RFC 5280 section 5).

Entries are kept encoded and spliced: the builder of `cryptography` takes time quadratic in their number. A
CRL says in a critical issuingDistributionPoint which certificates it speaks for, by the very URL that those
carry. Signing and numbering are the caller's; so is the choice of entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Protocol

from ca_core import der, oids
from ca_core.algorithms import SignatureAlgorithm
from ca_core.compiled import IssuerFacts
from ca_core.ledger import RevokedEntry
from ca_core.status import RevocationReason

_VERSION_2 = b"\x02\x01\x01"
_MAX_NUMBER: Final = (1 << 159) - 1  # RFC 5280 section 5.2.3: at most 20 octets


class CRLIssuer(Protocol):
    """What a CRL has to know of its issuer."""

    @property
    def facts(self) -> IssuerFacts:
        """Name, key identifier, algorithm and addresses."""


# RFC 5280 section 5.3.1: "unspecified" is said by leaving the extension out.
_REASON_EXTENSION: dict[RevocationReason, bytes] = {
    reason: der.extension(oids.REASON_CODE, der.integer(reason.code, der.ENUMERATED))
    for reason in RevocationReason
    if reason is not RevocationReason.UNSPECIFIED
}


def encode_entry(entry: RevokedEntry) -> bytes:
    """One element of revokedCertificates, fit to be stored and spliced into every later CRL.

    Raises ValueError for removeFromCRL, which only a delta CRL may say (RFC 5280 section 5.3.1).
    """
    if entry.reason is RevocationReason.REMOVE_FROM_CRL:
        raise ValueError("removeFromCRL is not a reason in a full CRL")
    extensions = b"" if entry.reason is None else _REASON_EXTENSION.get(entry.reason, b"")
    if entry.invalidity_date is not None:
        extensions += der.extension(oids.INVALIDITY_DATE, der.generalized_time(entry.invalidity_date))
    content = der.integer(entry.serial) + der.time(entry.revoked_at)
    if extensions:
        content += der.tlv(der.SEQUENCE, extensions)
    return der.tlv(der.SEQUENCE, content)


def crl_to_sign(
    issuer: CRLIssuer,
    shard: int,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Iterable[RevokedEntry | bytes],
    *,
    ca_certificates: bool = False,
) -> bytes:
    """Write the TBSCertList of a full CRL. Entries may come already encoded by `encode_entry`.

    `ca_certificates` makes it the CRL of a CA that issues to CAs only (onlyContainsCACerts). Raises
    ValueError when number or times are impossible.
    """
    if not 0 <= number <= _MAX_NUMBER:
        raise ValueError(f"CRL number {number} does not fit into 20 octets")
    if next_update <= this_update:
        raise ValueError("a CRL has to be valid for some time")
    facts = issuer.facts
    encoded = b"".join(entry if isinstance(entry, bytes) else encode_entry(entry) for entry in entries)
    return der.sequence(
        _VERSION_2,
        facts.algorithm.identifier_der,
        facts.name_der,
        der.time(this_update),
        der.time(next_update),
        # RFC 5280 section 5.1.2.6: absent, not empty, when there is nothing to list.
        der.tlv(der.SEQUENCE, encoded) if encoded else b"",
        der.tlv(0xA0, _extensions(facts, shard, number, ca_certificates=ca_certificates)),
    )


def _extensions(facts: IssuerFacts, shard: int, number: int, *, ca_certificates: bool) -> bytes:
    return der.sequence(
        der.extension(oids.AUTHORITY_KEY_IDENTIFIER, der.sequence(der.tlv(0x80, facts.key_id))),
        der.extension(oids.CRL_NUMBER, der.integer(number)),
        der.extension(
            oids.ISSUING_DISTRIBUTION_POINT,
            distribution_point(facts.crl_url(shard), ca_certificates=ca_certificates),
            critical=True,
        ),
    )


def distribution_point(url: str, *, ca_certificates: bool = False) -> bytes:
    """The IssuingDistributionPoint of the CRL at this URL (RFC 5280 section 5.2.5).

    The fullName has to be the URL in the certificates' cRLDistributionPoints byte for byte (section 6.3.3 b
    2 i).
    """
    full_name = der.tlv(0xA0, der.tlv(0x86, url.encode("ascii")))
    only = b"\x82\x01\xff" if ca_certificates else b"\x81\x01\xff"  # onlyContainsCACerts, onlyContainsUserCerts
    return der.sequence(der.tlv(0xA0, full_name), only)


def finish_crl(tbs: bytes, algorithm: SignatureAlgorithm, signature: bytes) -> bytes:
    """The CertificateList from its signed part and the signature."""
    return der.sequence(tbs, algorithm.identifier_der, der.bit_string(signature))
