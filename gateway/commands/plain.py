"""Values as the command line gets them: nothing but texts, numbers, lists and tables."""

from __future__ import annotations

from datetime import UTC, datetime
from ssl import DER_cert_to_PEM_cert

from policy.audit import AuditEvent
from policy.problems import Malformed

MAX_PAGE = 1000
"""Items of one page at most: some of them carry a certificate, and a page has to fit into one message."""


def moment(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, in whole seconds: "2026-11-23T12:00:00Z"."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_moment(text: str | None) -> datetime | None:
    """A moment from ISO 8601; without an offset it is UTC. Raises Malformed."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as fault:
        raise Malformed(f'"{text}" is no time: write 2027-01-31 or 2027-01-31T12:00:00Z') from fault
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def pem(der: bytes) -> str:
    """A certificate as PEM."""
    return DER_cert_to_PEM_cert(der)


def event_value(event: AuditEvent) -> dict[str, object]:
    """An audit event."""
    return {
        "at": moment(event.at),
        "tag": event.tag.value,
        "actor": event.actor,
        "object": event.object,
        "detail": event.detail,
    }


def page_size(limit: int) -> int:
    """How many items a page may have. Raises Malformed."""
    if limit < 1:
        raise Malformed("a page has at least one item")
    return min(limit, MAX_PAGE)
