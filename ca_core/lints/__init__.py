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

from cryptography import x509

from ca_core.lints.subject import LintSubject

__all__ = ["Finding", "Lint", "LintSubject", "Severity", "lint", "rule", "run"]


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


@dataclass(frozen=True, slots=True)
class Lint:
    """One named check of a to-be-signed certificate."""

    name: str
    description: str
    citation: str
    source: str
    """The document family: "rfc5280", "cabf"; also the prefix of the name."""
    effective: date
    """Certificates whose validity begins before this day are not looked at."""
    check: Callable[[LintSubject], Finding | None]


_ALWAYS = date(1988, 11, 1)  # X.509 is from then


def rule(
    source: str, citation: str, *, severity: Severity = Severity.ERROR, effective: date = _ALWAYS
) -> Callable[[Callable[[LintSubject], str | None]], Lint]:
    """Make a lint of a function that returns what is wrong, or none; its docstring is the description."""

    def decorate(find: Callable[[LintSubject], str | None]) -> Lint:
        name = f"{source}_{find.__name__}"

        def check(subject: LintSubject) -> Finding | None:
            detail = find(subject)
            return None if detail is None else Finding(name, severity, detail, citation)

        return Lint(name, (find.__doc__ or "").strip(), citation, source, effective, check)

    return decorate


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
    return tuple([finding for check in _in_force(lints, subject.not_before.date()) if (finding := check(subject))])


@lru_cache(maxsize=256)
def _in_force(lints: tuple[Lint, ...], day: date) -> tuple[Callable[[LintSubject], Finding | None], ...]:
    """What is to be checked in certificates of this day."""
    return tuple(item.check for item in lints if item.effective <= day)
