"""The lint runner: what a lint is, how one is written, and running a set of them before anything is signed.

A lint works on the to-be-signed certificate and says one thing about it. Lints never change what is issued; a
finding of severity `error` stops the issuance, the others are recorded with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from cryptography import x509

from ca_core.lints.common import Common
from ca_core.lints.subject import LintSubject

__all__ = ["Common", "Finding", "Lint", "LintSubject", "Severity", "common_rule", "lint", "rule", "run"]


class Severity(StrEnum):
    """What a finding does: an error stops the issuance, a warning and a notice are only shown."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a lint found."""

    lint: str
    severity: Severity
    detail: str
    citation: str


@dataclass(frozen=True, slots=True, eq=False)
class Lint:
    """One named check of a to-be-signed certificate."""

    name: str
    description: str
    citation: str
    source: str
    """The document family: "rfc5280", "cabf"; also the prefix of the name."""
    effective: date
    """Certificates whose validity begins before this day are not looked at."""
    check: Callable[[LintSubject], Finding | None] | None = None
    check_common: Callable[[Common], Finding | None] | None = None
    """Instead of `check`, for what looks only at what all certificates of a profile have in common."""


_ALWAYS = date(1988, 11, 1)  # X.509 is from then
_Seen = TypeVar("_Seen", LintSubject, Common)


def rule(
    source: str, citation: str, *, severity: Severity = Severity.ERROR, effective: date = _ALWAYS
) -> Callable[[Callable[[LintSubject], str | None]], Lint]:
    """Make a lint of a function that returns what is wrong, or none; its docstring is the description."""

    def decorate(find: Callable[[LintSubject], str | None]) -> Lint:
        name = f"{source}_{find.__name__}"
        check = _finding(name, severity, citation, find)
        return Lint(name, (find.__doc__ or "").strip(), citation, source, effective, check=check)

    return decorate


def common_rule(
    source: str, citation: str, *, severity: Severity = Severity.ERROR, effective: date = _ALWAYS
) -> Callable[[Callable[[Common], str | None]], Lint]:
    """As `rule`, of a function that sees nothing but what certificates have in common: asked once for all of them."""

    def decorate(find: Callable[[Common], str | None]) -> Lint:
        name = f"{source}_{find.__name__}"
        check = _finding(name, severity, citation, find)
        return Lint(name, (find.__doc__ or "").strip(), citation, source, effective, check_common=check)

    return decorate


def _finding(
    name: str, severity: Severity, citation: str, find: Callable[[_Seen], str | None]
) -> Callable[[_Seen], Finding | None]:
    def check(seen: _Seen) -> Finding | None:
        detail = find(seen)
        return None if detail is None else Finding(name, severity, detail, citation)

    return check


def lint(tbs: bytes, issuer: x509.Certificate | None, lints: tuple[Lint, ...]) -> tuple[Finding, ...]:
    """Run lints over a to-be-signed certificate. `issuer` is the certificate of its CA; none for a root.

    Bytes that cannot be parsed are a finding as well. Several sets are best given at once: parsing is half of
    the work.
    """
    try:
        subject = LintSubject(tbs, issuer)
    except ValueError as exc:
        return (
            Finding(
                "rfc5280_structure",
                Severity.ERROR,
                f"the to-be-signed certificate cannot be parsed: {exc}",
                "RFC 5280 section 4.1",
            ),
        )
    return run(subject, lints)


def run(subject: LintSubject, lints: tuple[Lint, ...]) -> tuple[Finding, ...]:
    """Run lints over a certificate that is parsed already."""
    day = subject.not_before.date()
    own = [finding for check in _in_force(lints, day) if (finding := check(subject))]
    return (*_found_in_common(subject.common, lints, day), *own)


@lru_cache(maxsize=256)
def _in_force(lints: tuple[Lint, ...], day: date) -> tuple[Callable[[LintSubject], Finding | None], ...]:
    """What is to be checked in each certificate of this day."""
    return tuple(item.check for item in lints if item.effective <= day and item.check is not None)


@lru_cache(maxsize=1024)
def _found_in_common(common: Common, lints: tuple[Lint, ...], day: date) -> tuple[Finding, ...]:
    """What is found in all certificates of this day that have this in common; `read_common` gives each just once."""
    checks = [item.check_common for item in lints if item.effective <= day and item.check_common is not None]
    return tuple([finding for check in checks if (finding := check(common))])
