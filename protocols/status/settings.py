"""What can be set about the status door: how long caches between us and relying parties may keep answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

SecondsOrZero = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """The section `status` of the configuration. No answer is cached beyond its own next update."""

    crl_cache_seconds: SecondsOrZero = field(
        default=60,
        metadata={
            "help": "How long caches may keep a CRL before they ask whether there is a newer one; what a "
            "revocation takes at most to pass a cache."
        },
    )
    ocsp_cache_seconds: SecondsOrZero = field(
        default=300,
        metadata={"help": "How long caches may keep an OCSP answer without nonce (RFC 5019 section 6.2)."},
    )
    certificate_cache_seconds: SecondsOrZero = field(
        default=86400, metadata={"help": "How long caches may keep a CA certificate."}
    )
