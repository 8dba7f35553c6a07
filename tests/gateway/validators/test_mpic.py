"""Primary and remote checks at once: what decides, what is told, and how long it takes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from ca_core.names import Identifier, IdentifierType
from gateway.validators.mpic import MPICCAAChecker, MPICValidator, Panel
from policy.problems import ValidationCAA, ValidationConnection, ValidationDNS, ValidationFailed
from policy.validation import Attempt, Evidence
from policy.validation.caa import CAAQuery, CAARecord, CAASet
from policy.validation.perspectives import PerspectiveRequest, PerspectiveResult, Quorum

ATTEMPT = Attempt(Identifier(IdentifierType.DNS, "a.example"), False, "http-01", "t", "t.k", "https://ca.example/1")


@dataclass
class Primary:
    """The check of this server."""

    problem: Exception | None = None
    seconds: float = 0
    method: str = "http-01"

    async def validate(self, attempt: Attempt) -> Evidence:
        await asyncio.sleep(self.seconds)
        if self.problem is not None:
            raise self.problem
        return Evidence("http-01", "192.0.2.1:80", "HTTP 200")


@dataclass
class Other:
    """A perspective."""

    name: str
    region: str
    problem: str = ""
    seconds: float = 0
    answers: bool = True
    asked: list[PerspectiveRequest] = field(default_factory=list)
    cancelled: bool = False

    async def ask(self, request: PerspectiveRequest) -> PerspectiveResult:
        self.asked.append(request)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        detail = "said there" if self.problem else ""
        return PerspectiveResult(self.name, self.region, not self.problem, self.problem, detail, answered=self.answers)


def three(*problems: str) -> list[Other]:
    regions = ("eu", "us", "ap")
    return [Other(f"{region}-1", region, problem) for region, problem in zip(regions, problems, strict=True)]


def panel(others: list[Other], grace: float = 0.1) -> Panel:
    return Panel(others, Quorum.standard(len(others), 2), 3.0, grace)


async def test_all_are_asked_the_same_at_once() -> None:
    others = three("", "", "")
    for one in others:
        one.seconds = 0.2
    before = time.monotonic()
    evidence = await MPICValidator(Primary(seconds=0.2), panel(others)).validate(ATTEMPT)
    assert time.monotonic() - before < 0.5
    assert [one.asked for one in others] == [[PerspectiveRequest(3.0, attempt=ATTEMPT)]] * 3
    assert (evidence.method, evidence.target, evidence.corroboration["quorum"]) == ("http-01", "192.0.2.1:80", "3/3")


async def test_the_problem_is_the_one_that_others_met() -> None:
    with pytest.raises(ValidationDNS, match=r"1 of 3 .* said there") as caught:
        await MPICValidator(Primary(), panel(three("validation-dns", "", "validation-dns"))).validate(ATTEMPT)
    assert caught.value.context["corroboration"]["quorum"] == "1/3"


async def test_perspectives_that_do_not_answer_are_no_fault_of_the_client() -> None:
    others = three("unavailable", "unavailable", "")
    others[0].answers = others[1].answers = False
    with pytest.raises(ValidationFailed, match="1 of 3") as caught:
        await MPICValidator(Primary(), panel(others)).validate(ATTEMPT)
    assert type(caught.value) is ValidationFailed
    assert "said there" not in caught.value.detail


async def test_a_problem_that_validation_does_not_have_is_said_as_a_plain_one() -> None:
    with pytest.raises(ValidationFailed) as caught:
        await MPICValidator(Primary(), panel(three("internal", "made-up", ""))).validate(ATTEMPT)
    assert type(caught.value) is ValidationFailed


async def test_the_primary_problem_goes_out_whatever_others_say() -> None:
    problem = ValidationConnection("here it fails")
    with pytest.raises(ValidationConnection, match="here it fails") as caught:
        await MPICValidator(Primary(problem), panel(three("", "", ""))).validate(ATTEMPT)
    told = caught.value.context["corroboration"]
    assert told["quorum"] == "3/3"
    assert told["reason"] == "the primary perspective failed"


async def test_the_last_is_waited_for_as_long_as_the_grace() -> None:
    others = three("", "", "")
    others[1].seconds = 30
    before = time.monotonic()
    evidence = await MPICValidator(Primary(), panel(others)).validate(ATTEMPT)
    assert 0.1 <= time.monotonic() - before < 1
    assert others[1].cancelled
    assert evidence.corroboration["quorum"] == "2/3"
    assert "not waited for" in evidence.corroboration["perspectives"][2]["detail"]


async def test_a_region_that_is_missing_is_waited_for() -> None:
    """Two of three would do, were they not of one region."""
    others = [Other("a", "eu"), Other("b", "eu"), Other("c", "us", seconds=0.4)]
    evidence = await MPICValidator(Primary(), panel(others)).validate(ATTEMPT)
    assert evidence.corroboration["quorum"] == "3/3"
    others[2].problem = "validation-dns"
    with pytest.raises(ValidationDNS, match="fewer than 2 regions"):
        await MPICValidator(Primary(), panel(others)).validate(ATTEMPT)


async def test_who_gives_up_ends_everything() -> None:
    others = three("", "", "")
    for one in others:
        one.seconds = 30
    task = asyncio.ensure_future(MPICValidator(Primary(seconds=30), panel(others)).validate(ATTEMPT))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(one.cancelled for one in others)


async def test_a_fault_of_ours_is_not_hidden() -> None:
    others = three("", "", "")
    others[0].seconds = 30
    with pytest.raises(LookupError):
        await MPICValidator(Primary(LookupError("a bug")), panel(others)).validate(ATTEMPT)
    assert others[0].cancelled


@dataclass
class CAA:
    """The view of this server."""

    found: CAASet = CAASet(None)  # noqa: RUF009 - frozen

    async def caa(self, domain: str, *, addresses: bool = False) -> CAASet:
        return self.found


QUERY = CAAQuery("a.example", ("ca.example",), False, "dns-01", None)
FORBIDDEN = CAASet("a.example", (CAARecord(0, "issue", ";"),))


async def test_caa_needs_the_quorum_as_well() -> None:
    told = await MPICCAAChecker(CAA(), panel(three("", "validation-caa", ""))).check(QUERY)
    assert told["quorum"] == "2/3"
    with pytest.raises(ValidationCAA, match="1 of 3") as caught:
        await MPICCAAChecker(CAA(), panel(three("", "validation-caa", "validation-caa"))).check(QUERY)
    assert caught.value.context["caa"]["quorum"] == "1/3"
    with pytest.raises(ValidationCAA, match="permits nobody") as caught:
        await MPICCAAChecker(CAA(FORBIDDEN), panel(three("", "", ""))).check(QUERY)
    assert caught.value.context["caa"]["quorum"] == "3/3"
