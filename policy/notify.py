"""The outbox: what the outside is told, written in the transaction of the change that it tells of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the outbox. `topic` is the audit tag of the change; `object` its kind and identifier."""

    topic: str
    object: str
    at: datetime
    body: dict[str, str]


class Notifier(Protocol):
    """Delivers messages somewhere (webhook, mail). At least once, in order per object."""

    async def deliver(self, message: Message) -> None:
        """Deliver one message. Raises Unavailable when it should be tried again."""
        ...
