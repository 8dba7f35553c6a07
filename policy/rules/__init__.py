"""Rules: named checks of an order against a product, and the runner that keeps their trace.

A rule is judged twice: when the order is placed (identifiers and product are known) and on the final to-be-signed
certificate, read back from its bytes. It yields a Step for what it agrees to and a Problem for what it does not;
the runner collects both, so that a client learns all mistakes at once and an auditor every reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from ca_core.csr import CertificationRequest
from ca_core.names import Identifier
from policy.account import Group
from policy.credential import Credential
from policy.order import Step
from policy.problems import Problem
from policy.product import Product


class Judged(msgspec.Struct, frozen=True):
    """What a to-be-signed certificate says, read from its own bytes, never from the request."""

    names: tuple[Identifier, ...]
    common_name: str | None
    spki: bytes
    not_before: datetime
    not_after: datetime
    ca: bool


class Case(msgspec.Struct, frozen=True):
    """Everything a rule may look at. What has to be looked up was looked up before, so that rules stay pure."""

    product: Product
    credential: Credential
    identifiers: tuple[Identifier, ...]
    groups: tuple[Group, ...] = ()
    """The credential's group and those above it."""
    request: CertificationRequest | None = None
    judged: Judged | None = None
    proven: frozenset[Identifier] = msgspec.field(default_factory=frozenset)
    """Identifiers ("*." included) that valid authorizations prove at this moment."""


class Rule(Protocol):
    """One named check. Yields a Step per finding that speaks for the order and a Problem per one against it."""

    def __call__(self, case: Case) -> Iterable[Step | Problem]:
        """Look at the case."""
        ...


def judge(case: Case, rules: Sequence[Rule]) -> tuple[Step, ...]:
    """The trace of all rules. Raises one Problem when any rule objected; several become its subproblems."""
    steps: list[Step] = []
    against: list[Problem] = []
    for finding in _findings(case, rules):
        if isinstance(finding, Step):
            steps.append(finding)
        else:
            against.append(finding)
    if against:
        raise combine(against)
    return tuple(steps)


def _findings(case: Case, rules: Sequence[Rule]) -> Iterator[Step | Problem]:
    for rule in rules:
        yield from rule(case)


def combine(problems: Sequence[Problem]) -> Problem:
    """One problem for several: of the kind of the first, with all of them as subproblems (RFC 8555 section 6.7.1)."""
    first = problems[0]
    if len(problems) == 1:
        return first
    detail = "; ".join(problem.detail for problem in problems[:5])
    if len(problems) > 5:
        detail += f"; and {len(problems) - 5} more"
    return type(first)(detail, subproblems=tuple(problems))
