"""May this certificate be renewed by who shows it; and when should it be (RFC 9773)?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_core.clock import Clock
from ca_core.csr import CertificationRequest
from ca_core.names import subject_text
from ca_core.status import CertificateState
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.problems import BadCSR, Forbidden, UnknownCertificate
from policy.store import CERTIFICATE, CERTIFICATE_STATUS, Store, StoredCertificate

RETRY_AFTER_SECONDS = 6 * 3600
"""How long a client may wait before it looks at its window again (RFC 9773 section 4.3)."""


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """When to renew a certificate (RFC 9773 section 4.2); `retry_after` in seconds."""

    start: datetime
    end: datetime
    retry_after: int
    explanation_url: str | None = None


class Renewal:
    """Renewal windows and the right to renew."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock

    async def window(self, issuer_id: str, serial: str) -> RenewalWindow:
        """The window of a certificate: after the product's fraction of its life, or at once when it is revoked."""
        found = await self._store.one(CERTIFICATE, serial)
        if found is None or found[0].issuer_id != issuer_id:
            raise UnknownCertificate("there is no such certificate")
        stored = found[0]
        status = await self._store.one(CERTIFICATE_STATUS, serial)
        now = self._clock()
        if status is None or status.state is not CertificateState.VALID:
            return RenewalWindow(now - timedelta(hours=1), now - timedelta(minutes=30), RETRY_AFTER_SECONDS)
        product = await self._catalogue.product(stored.product)
        fraction = product.renewal_fraction if product is not None else 2 / 3
        life = stored.not_after - stored.not_before
        start = stored.not_before + timedelta(seconds=int(life.total_seconds() * fraction))
        # A window, not a moment: each client picks its own time in it, so renewals spread (RFC 9773 section 4.2).
        return RenewalWindow(start, start + timedelta(seconds=int(life.total_seconds() * 0.06)), RETRY_AFTER_SECONDS)

    async def predecessor(
        self, principal: Principal, request: CertificationRequest, *, same_names: bool
    ) -> StoredCertificate:
        """The certificate that the principal shows and may renew with this request.

        With `same_names` the request repeats its subject and names (RFC 7030 section 4.2.2). Raises Forbidden when
        none of ours was shown, BadCSR for another subject or other names.
        """
        if principal.certificate is None:
            raise Forbidden("renewing needs the certificate that is to be renewed, as TLS client certificate")
        found = await self._store.one(CERTIFICATE, principal.certificate)
        if found is None or found[0].credential != principal.credential.id:
            raise Forbidden("the client certificate is not one that this credential may renew")
        stored = found[0]
        if same_names:
            if frozenset(request.names) != frozenset(stored.names):
                raise BadCSR("the names are not those of the certificate that is to be renewed")
            if _compared(request.subject) != _compared(stored.subject):
                raise BadCSR(
                    f'the subject "{subject_text(request.subject)}" is not that of the certificate that is to be '
                    f'renewed, "{subject_text(stored.subject)}"'
                )
        return stored


def _compared(subject: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """A subject as RFC 5280 section 7.1 compares it: without case, inner white space as one blank."""
    return tuple((kind, " ".join(value.split()).casefold()) for kind, value in subject)
