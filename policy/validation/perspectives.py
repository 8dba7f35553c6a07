"""Multi-perspective corroboration: what other places found, and whether that is enough. Pure.

Baseline Requirements section 3.2.2.9: a determination counts when enough remote network perspectives, apart from
the primary one, come to the same. Who asks them, and how, is gateway/perspectives and gateway/validators/mpic.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from policy.validation import Attempt
from policy.validation.caa import CAAQuery

PRIMARY = "primary"
"""The name of the perspective that this server itself is."""


@dataclass(frozen=True, slots=True)
class PerspectiveRequest:
    """What a perspective is asked: to try a challenge, to look at CAA, or both. `deadline_seconds` is how long
    the answer is waited for."""

    deadline_seconds: float
    attempt: Attempt | None = None
    caa: CAAQuery | None = None


@dataclass(frozen=True, slots=True)
class PerspectiveResult:
    """What one perspective found. `problem` is the kind of what failed, with `detail` in words; `evidence` is
    what it saw when it succeeded. `answered` is false where nothing usable came back."""

    perspective: str
    region: str
    success: bool
    problem: str = ""
    detail: str = ""
    evidence: str = ""
    answered: bool = True

    def record(self) -> dict[str, str]:
        """This result as the audit log has it (Baseline Requirements section 5.4.1)."""
        told = {"perspective": self.perspective, "region": self.region, "result": "pass" if self.success else "fail"}
        more = {"problem": self.problem, "detail": self.detail, "evidence": self.evidence}
        return told | {key: value for key, value in more.items() if value}


def allowed_failures(remotes: int) -> int:
    """How many remote perspectives may disagree: the quorum table of Baseline Requirements section 3.2.2.9.

    The table begins with two; a single one has nobody to outvote it.
    """
    if remotes < 2:
        return 0
    return 1 if remotes < 6 else 2


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of the remote perspectives have to agree with the primary one, and in how many regions they lie.

    Raises ValueError for numbers that contradict each other.
    """

    required: int
    of: int
    max_failures: int
    min_regions: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.required <= self.of or self.max_failures != self.of - self.required:
            raise ValueError(f"{self.required} of {self.of} is no quorum that {self.max_failures} may fail")

    @classmethod
    def standard(cls, remotes: int, min_regions: int = 1, required: int | None = None) -> Quorum:
        """The quorum of the table for so many remotes, or a stricter one. Raises ValueError for a weaker one."""
        least = remotes - allowed_failures(remotes)
        if required is None:
            required = least
        if not least <= required <= remotes:
            raise ValueError(f"of {remotes} perspectives at least {least} and at most {remotes} can be required")
        return cls(required, remotes, remotes - required, min_regions)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the determination of the primary perspective counts, with everything that led there."""

    passed: bool
    primary: PerspectiveResult
    remotes: tuple[PerspectiveResult, ...]
    quorum: Quorum
    reason: str = ""

    @property
    def text(self) -> str:
        """How many of the remote perspectives corroborated, such as "3/4" (Baseline Requirements section 5.4.1)."""
        return f"{_corroborating(self.remotes)}/{self.quorum.of}"

    def record(self) -> dict[str, Any]:
        """The decision as the audit log has it: the quorum, and every perspective's own result."""
        results = [result.record() for result in (self.primary, *self.remotes)]
        record: dict[str, Any] = {"quorum": self.text, "required": self.quorum.required, "perspectives": results}
        return record | ({"reason": self.reason} if self.reason else {})


def decide(primary: PerspectiveResult, remotes: Sequence[PerspectiveResult], quorum: Quorum) -> Decision:
    """Judge what the perspectives found; one that is missing among `remotes` has failed.

    Raises ValueError when a perspective is there twice, or more are there than the quorum counts: one voice must
    never be two.
    """
    names = [result.perspective for result in (primary, *remotes)]
    if len(set(names)) != len(names) or len(remotes) > quorum.of:
        raise ValueError(f"{len(remotes)} results are not those of {quorum.of} distinct perspectives")
    reason = _reason(primary, remotes, quorum)
    return Decision(not reason, primary, tuple(remotes), quorum, reason)


def is_certain(primary: PerspectiveResult, remotes: Sequence[PerspectiveResult], quorum: Quorum) -> bool:
    """Whether the decision will be the same whatever the remote perspectives say that have not answered yet."""
    if not primary.success or len(remotes) >= quorum.of:
        return True
    failed = sum(not result.success for result in remotes)
    return failed > quorum.max_failures or not _reason(primary, remotes, quorum)


def _reason(primary: PerspectiveResult, remotes: Sequence[PerspectiveResult], quorum: Quorum) -> str:
    if not primary.success:
        return "the primary perspective failed"
    agreeing = _corroborating(remotes)
    if agreeing < quorum.required:
        return f"{agreeing} of {quorum.of} other perspectives agree, and {quorum.required} are needed"
    regions = {result.region for result in remotes if result.success}
    if len(regions) < quorum.min_regions and quorum.of:
        return f"those that agree lie in fewer than {quorum.min_regions} regions"
    return ""


def _corroborating(remotes: Sequence[PerspectiveResult]) -> int:
    return sum(result.success for result in remotes)
