"""How a key that the server makes is protected on its way (RFC 7030 section 4.4.1)."""

from __future__ import annotations

from ca_core import oids
from ca_core.csr import CertificationRequest
from policy.problems import BadCSR

_ASKED = (oids.DECRYPT_KEY_IDENTIFIER, oids.ASYMMETRIC_DECRYPT_KEY_IDENTIFIER)


def check_unprotected(csr: CertificationRequest) -> None:
    """That the client does not ask for an encrypted key: it never gets one in the clear instead. Raises BadCSR."""
    if any(oid in csr.attributes for oid in _ASKED):
        raise BadCSR("the key cannot be encrypted for a key that is not known here (RFC 7030 section 4.4.1)")
