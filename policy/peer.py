"""Client certificates at a mount: those of ours while they are valid, and those under an anchor of the mount."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from cryptography.x509 import load_der_x509_certificate

from ca_core.ledger import serial_hex
from ca_core.status import CertificateState
from ca_core.trust import PathError, TrustAnchors
from policy.credential import CertificateClaim
from policy.mount import Mount
from policy.problems import Forbidden, Unauthenticated
from policy.store import CERTIFICATE, CERTIFICATE_STATUS, Store, StoredCertificate


def serial_of(der: bytes) -> str:
    """The serial (hex) of a certificate that the TLS handshake accepted. Raises Unauthenticated for what is none."""
    try:
        return serial_hex(load_der_x509_certificate(der).serial_number)
    except ValueError as fault:
        raise Unauthenticated("the client certificate cannot be read") from fault


async def own(store: Store, claim: CertificateClaim, now: datetime) -> StoredCertificate | None:
    """The certificate when it is one of ours. Raises Forbidden unless it is valid now, or on hold where that counts."""
    found = await store.one(CERTIFICATE, serial_of(claim.certificate))
    # All its bytes count: a certificate of somebody else's may have a serial of ours.
    if found is None or found[1] != claim.certificate:
        return None
    serial = found[0].serial
    status = await store.one(CERTIFICATE_STATUS, serial)
    allowed = (CertificateState.VALID, CertificateState.ON_HOLD) if claim.held else (CertificateState.VALID,)
    if status is None or status.state not in allowed:
        state = status.state if status else None
        said = state.replace("_", " ") if state else "unknown"
        raise Forbidden(f"the client certificate is {said}", certificate=serial, state=state)
    if status.not_after < now:
        raise Forbidden("the client certificate has expired", certificate=serial)
    return found[0]


def anchors_of(mount: Mount, claim: CertificateClaim, now: datetime) -> Iterator[bytes]:
    """The anchors of the mount to which the certificate has a path (RFC 7030 section 3.1, Implicit TA database)."""
    for anchor in mount.anchors:
        try:
            _anchor(anchor).validate(claim.certificate, claim.chain, now)
        except PathError:
            continue
        yield anchor


@lru_cache(maxsize=256)
def _anchor(der: bytes) -> TrustAnchors:
    return TrustAnchors((load_der_x509_certificate(der),))
