"""Certificate states and revocation reasons."""

from __future__ import annotations

from enum import StrEnum


class CertificateState(StrEnum):
    """What became of a certificate after it was signed. Expiry is not written down: the clock knows it."""

    UNCONFIRMED = "unconfirmed"
    """Signed, but not yet accepted by a CMP client: not published, not listed, not "good" (RFC 9483 section 4.1)."""
    VALID = "valid"
    ON_HOLD = "on_hold"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"


class RevocationReason(StrEnum):
    """CRLReason (RFC 5280 section 5.3.1) by its ASN.1 name; `code` is the number on the wire. 7 is not used there."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    REMOVE_FROM_CRL = "removeFromCRL"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"

    @property
    def code(self) -> int:
        """The number of this reason (RFC 5280 section 5.3.1)."""
        return _CODES[self]

    @classmethod
    def from_code(cls, code: int) -> RevocationReason:
        """The reason with this number. Raises ValueError when there is none."""
        return _BY_CODE[code] if code in _BY_CODE else cls(f"code {code}")


_CODES = {
    reason: code
    for code, reason in enumerate(RevocationReason)
    if code < 7  # unspecified (0) to certificateHold (6) are in order; 7 is unused
} | {
    RevocationReason.REMOVE_FROM_CRL: 8,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
    RevocationReason.AA_COMPROMISE: 10,
}
_BY_CODE = {code: reason for reason, code in _CODES.items()}
