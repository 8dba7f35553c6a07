"""Where a door listens: protocol, label, products, options.

A mount is a stored entity. What is answered before anybody is known (the ACME directory, EST's cacerts, SCEP's
GetCACaps) depends on it alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Mount:
    """One door at one place.

    `label` is the path segment of the mount ("/acme/{label}/directory"); `products` are the names of the products
    that may be ordered here, the first one being the default; `options` is what the door's own mount options say
    (checked by the door when the mount is made). `open_credential` names the built-in credential that stands for
    clients which cannot show one (ACME without external account binding); without it, every client must show one.
    """

    protocol: str
    label: str
    products: tuple[str, ...]
    issuer: str
    open_credential: str | None = None
    anchors: tuple[bytes, ...] = ()
    """DER of the certificates that client certificates must chain to, beside the issuer's own (EST: Implicit TA)."""
    options: dict[str, Any] = field(default_factory=dict)
    active: bool = True
    version: int = 1

    @property
    def key(self) -> str:
        """What names the mount everywhere: "acme/default"."""
        return f"{self.protocol}/{self.label}"
