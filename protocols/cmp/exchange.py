"""One authenticated message on its way through the door."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from policy.credential import Principal
from protocols.cmp import translate
from protocols.cmp.message import PKIMessage
from protocols.cmp.protection import SignerFacts
from protocols.cmp.translate import Binding


def _nonce() -> bytes:
    return secrets.token_bytes(16)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One authenticated message: who speaks, how it is protected, when its transaction is forgotten, our next nonce."""

    message: PKIMessage
    principal: Principal
    binding: Binding
    signer: SignerFacts | None
    until: datetime
    nonce: bytes = field(default_factory=_nonce)

    @property
    def reference(self) -> str:
        """What the transaction is called here; one without transactionID is called by our nonce."""
        return (self.message.header.transaction_id or self.nonce).hex()

    @property
    def authority(self) -> bool:
        """Whether a registration authority speaks."""
        return translate.is_authority(self.principal, self.signer.purposes if self.signer is not None else ())
