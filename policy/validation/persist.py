"""The dns-persist-01 record: a standing permission in DNS for one account of one CA
(draft-ietf-acme-dns-persist). Pure.

    _validation-persist.example.org. TXT "ca.example; accounturi=https://…; policy=wildcard; persistUntil=1790000000"

The form is that of a CAA issue-value (RFC 8659 section 4.2), so a semicolon at the end is a mistake. Parameters that
are not known are ignored, and so are records of other CAs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from policy.problems import ValidationIncorrectResponse

LABEL = "_validation-persist"
"""Below which the record stands; never under the label of other challenges, which may be delegated."""
MAX_UNTIL = 253402300799
"""The last second of the year 9999: what is later is a mistake."""
SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class PersistRecord:
    """What one record says."""

    issuer: str
    account_uri: str
    wildcard: bool
    until: datetime | None


def read_record(text: str) -> PersistRecord:
    """A record. Raises ValueError with what is wrong with it."""
    issuer, *parts = text.split(";")
    parameters: dict[str, str] = {}
    for part in parts:
        tag, equals, value = part.strip(" \t").partition("=")
        tag = tag.rstrip(" \t").lower()
        if not equals or not tag.isascii() or not tag.isalnum():
            raise ValueError("has a parameter that is not tag=value")
        value = value.lstrip(" \t")
        if not value.isascii() or any(not "!" <= one <= "~" for one in value):
            raise ValueError(f'has a value of "{tag}" with characters that are not allowed')
        if tag in parameters:
            raise ValueError(f'has "{tag}" twice')
        parameters[tag] = value
    if not parameters.get("accounturi"):
        raise ValueError('has no "accounturi"')
    until = parameters.get("persistuntil")
    return PersistRecord(
        issuer=issuer.strip(" \t").lower().removesuffix("."),
        account_uri=parameters["accounturi"],
        wildcard=parameters.get("policy", "").lower() == "wildcard",
        until=None if until is None else _moment(until),
    )


def _moment(text: str) -> datetime:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_UNTIL:
        raise ValueError('has a "persistUntil" that is not a number of seconds since 1970')
    return datetime.fromtimestamp(int(text), tz=UTC)


def find_permission(
    records: Iterable[bytes],
    *,
    issuer_domains: frozenset[str],
    account_uri: str,
    wildcard: bool,
    now: datetime,
) -> PersistRecord:
    """The record that permits this account of this CA. Raises ValidationIncorrectResponse: what the others lack."""
    against: list[str] = []
    for data in records:
        text = data.decode("latin-1")
        if text.partition(";")[0].strip(" \t").lower().removesuffix(".") not in issuer_domains:
            continue  # another CA's, or nothing of this kind
        try:
            record = read_record(text)
        except ValueError as fault:
            against.append(f"one {fault}")
            continue
        lack = _lack(record, account_uri, wildcard, now)
        if lack is None:
            return record
        against.append(lack)
    raise ValidationIncorrectResponse("; ".join(against[:5]) or "none is about this CA")


def _lack(record: PersistRecord, account_uri: str, wildcard: bool, now: datetime) -> str | None:
    if record.account_uri != account_uri:
        return f'one is for another account, "{_shown(record.account_uri)}"'
    if record.until is not None and record.until <= now:
        return f"one ended {record.until:%Y-%m-%d %H:%M} UTC"
    if wildcard and not record.wildcard:
        return "one lacks policy=wildcard"
    return None


def _shown(text: str) -> str:
    plain = "".join(one if one not in '<>&"\\' else "?" for one in text[:SHOWN_CHARACTERS])
    return plain + ("…" if len(text) > SHOWN_CHARACTERS else "")
