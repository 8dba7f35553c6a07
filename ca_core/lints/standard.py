"""The lints that come with the product, by the sets that a profile names."""

from __future__ import annotations

from ca_core.lints import Lint, cabf, rfc5280

RFC5280: tuple[Lint, ...] = rfc5280.LINTS
"""For every certificate: what RFC 5280 and its updates want."""
CABF: tuple[Lint, ...] = cabf.LINTS
"""For products that ask for it: TLS server certificates as browsers want them."""
STANDARD: tuple[Lint, ...] = RFC5280 + CABF
"""All of them."""
