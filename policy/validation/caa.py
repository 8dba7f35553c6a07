"""The CAA decision: may this CA issue, given the records that were found (RFC 8659, RFC 8657)? Pure.

Finding the records, with the climb towards the root, is the resolver's work (gateway/validators/dns.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from policy.problems import ValidationCAA

CRITICAL = 0x80
"""The issuer critical flag (RFC 8659 section 4.1)."""

UNDERSTOOD_TAGS = frozenset({"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"})
"""Properties whose meaning is known here. All but the first two say nothing about TLS server certificates:
RFC 8659 section 4.4, RFC 9495, the Baseline Requirements appendix A.1 and the mark certificate
guidelines."""

SHOWN_CHARACTERS = 120
"""How much of a record a sentence repeats: its text belongs to whoever runs the zone."""

_LABEL = r"[A-Za-z0-9](?:-*[A-Za-z0-9])*"
_ISSUER = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PARAMETER = re.compile(rf"({_LABEL})[ \t]*=[ \t]*([\x21-\x3a\x3c-\x7e]*)")
_METHOD_LIST = re.compile(r"(?:[A-Za-z0-9-]+(?:,[A-Za-z0-9-]+)*)?")


@dataclass(frozen=True, slots=True)
class CAARecord:
    """One record: flags, tag and value as they stand in DNS; octets that are not ASCII appear as Latin-1."""

    flags: int
    tag: str
    value: str


@dataclass(frozen=True, slots=True)
class CAASet:
    """The records that apply, and the name that has them; `found_at` is None when no name up to the root
    has any."""

    found_at: str | None
    records: tuple[CAARecord, ...] = ()


@dataclass(frozen=True, slots=True)
class CAAQuery:
    """The whole question: may a CA that goes by these names issue for the domain? See check_caa for the parts."""

    domain: str
    issuer_domains: tuple[str, ...]
    wildcard: bool
    method: str | None
    account_uri: str | None

    def judge(self, found: CAASet) -> None:
        """Raise ValidationCAA unless these records permit issuance."""
        check_caa(
            found,
            issuer_domains=frozenset(self.issuer_domains),
            wildcard=self.wildcard,
            method=self.method,
            account_uri=self.account_uri,
        )


@dataclass(frozen=True, slots=True)
class _IssueValue:
    issuer: str
    parameters: tuple[tuple[str, str], ...]


def check_caa(
    found: CAASet,
    *,
    issuer_domains: frozenset[str],
    wildcard: bool,
    method: str | None,
    account_uri: str | None,
) -> None:
    """Raise ValidationCAA unless the records permit issuance.

    `issuer_domains` are the names by which this CA goes in CAA records. Without any, no restriction can be
    met, but where there are no records there is nothing to meet. `method` is the validation method used and
    `account_uri` the account (RFC 8657); None where there is none, so that a record which asks for one
    cannot be met.
    """
    for record in found.records:
        if record.flags & CRITICAL and record.tag.lower() not in UNDERSTOOD_TAGS:
            raise ValidationCAA(
                f"the CAA record {_shown(record)} at {found.found_at} is critical and not understood here"
            )
    relevant = _relevant(found.records, wildcard=wildcard)
    if not relevant:
        return
    domains = frozenset(domain.lower() for domain in issuer_domains)
    reasons = []
    for record in relevant:
        reason = _refusal(record, domains, method, account_uri)
        if reason is None:
            return
        reasons.append(f"{_shown(record)} {reason}")
    shown = "; ".join(reasons[:3]) + ("; and more" if len(reasons) > 3 else "")
    raise ValidationCAA(
        f"CAA records at {found.found_at} do not permit this CA to issue"
        f"{' for a wildcard' if wildcard else ''}: {shown}",
        found_at=found.found_at,
        records=len(found.records),
    )


def _relevant(records: Iterable[CAARecord], *, wildcard: bool) -> tuple[CAARecord, ...]:
    """The records that decide: for a wildcard issuewild, and issue where there is no issuewild (section
    4.3)."""
    by_tag: dict[str, list[CAARecord]] = {"issue": [], "issuewild": []}
    for record in records:
        if (group := by_tag.get(record.tag.lower())) is not None:
            group.append(record)
    return tuple((wildcard and by_tag["issuewild"]) or by_tag["issue"])


def _refusal(record: CAARecord, domains: frozenset[str], method: str | None, account_uri: str | None) -> str | None:
    """Why this record does not permit issuance, or None when it does."""
    value = _read_issue_value(record.value)
    if value is None:
        # Section 4.2: a value that does not follow the grammar counts as one that names nobody.
        return "is malformed and so permits nobody"
    if not value.issuer:
        return "permits nobody"
    if value.issuer not in domains:
        return "names another CA"
    accounts = [text for tag, text in value.parameters if tag == "accounturi"]
    # RFC 8657 section 3: exact comparison; more than one can never be met.
    if accounts and (len(accounts) > 1 or account_uri is None or accounts[0] != account_uri):
        return "is for another account"
    method_lists = [text for tag, text in value.parameters if tag == "validationmethods"]
    if method_lists and not _permits_method(method_lists, method):
        return f"does not permit the validation method {method or 'used here'}"
    return None


def _permits_method(lists: list[str], method: str | None) -> bool:
    if len(lists) > 1 or method is None or not _METHOD_LIST.fullmatch(lists[0]):
        return False
    return method in lists[0].split(",")


def _read_issue_value(text: str) -> _IssueValue | None:
    """Read an issue or issuewild value (RFC 8659 section 4.2); None when it does not follow the grammar."""
    issuer, semicolon, rest = text.partition(";")
    issuer = issuer.strip(" \t")
    if issuer and not _ISSUER.fullmatch(issuer):
        return None
    parameters: list[tuple[str, str]] = []
    if semicolon and rest.strip(" \t"):
        for part in rest.split(";"):
            matched = _PARAMETER.fullmatch(part.strip(" \t"))
            if matched is None:
                return None
            parameters.append((matched[1].lower(), matched[2]))
    return _IssueValue(issuer.lower(), tuple(parameters))


def _shown(record: CAARecord) -> str:
    text = f'{record.tag} "{record.value}"'
    safe = "".join(char if " " <= char <= "~" else "?" for char in text[:SHOWN_CHARACTERS])
    return safe if len(text) <= SHOWN_CHARACTERS else safe + "…"
