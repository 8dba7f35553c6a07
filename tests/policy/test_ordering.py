"""The life of an order step by step: drafts, requests that come later, papers, several approvals, trying again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from policy.acting import operator
from policy.audit import AuditTag
from policy.credential import CredentialType, Principal
from policy.dossier import DocumentStatus
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import (
    BadCSR,
    Forbidden,
    Malformed,
    NotReady,
    RejectedIdentifier,
    TooLarge,
    UnknownOrder,
    UnsupportedMedia,
)
from policy.product import DocumentRule, Product
from policy.requirements import RequirementKind
from policy.store import PRODUCT
from tests.conftest import ACTOR, House, dns
from tests.policy.making import change_product, est, events, request
from tests.replacing import replace

NAME = "a.certgate.test"
OUTSIDE = "shop.example.org"
PDF = b"%PDF-1.7 paper"


async def client(house: House, product: str = "tls") -> Principal:
    """A client that can prove names by challenges without an account, as those of REST do."""
    principal = await est(house, product)
    return replace(principal, credential=replace(principal.credential, type=CredentialType.REST))


async def placed(house: House, principal: Principal, *names: str, **more: Any) -> Order:
    new = NewOrder(identifiers=tuple(dns(one) for one in names), **more)
    return await house.core.lifecycle.ordering.place(principal, new)


async def owed(house: House, order: Order) -> list[str]:
    return [str(one.kind) for one in await house.core.lifecycle.ordering.owed(order)]


async def wants_papers(house: House, **more: Any) -> None:
    """Have the product "tls" want a document and an agreement."""
    rule = DocumentRule("letter", "Letter of the domain's owner", ("application/pdf",), max_bytes=100)
    await change_product(house, documents=(rule,), terms="https://ca.example/terms/3", **more)


# --------------------------------------------------------------------------- in one call, or the request later


async def test_an_order_with_its_request_is_issued_at_once(house: House) -> None:
    """One call, nothing owed: the certificate is there."""
    order = await placed(house, await est(house), NAME, request=request(NAME))
    assert order.status is OrderStatus.VALID
    assert await owed(house, order) == []


async def test_the_same_reference_gives_the_same_order(house: House) -> None:
    """Of identical orders at the same moment one is made (invariant I3)."""
    principal, csr = await est(house), request(NAME)
    orders = await asyncio.gather(*(placed(house, principal, NAME, request=csr, reference="r") for _ in range(5)))
    assert len({one.id for one in orders}) == 1


async def test_a_request_may_come_later(house: House) -> None:
    """Without one the order is ready and says that it is owed."""
    principal = await est(house)
    order = await placed(house, principal, NAME)
    assert (order.status, await owed(house, order)) == (OrderStatus.READY, ["request"])
    done = await house.core.lifecycle.ordering.hand_in(principal, order, request(NAME))
    assert done.status is OrderStatus.VALID


async def test_a_request_that_came_first_is_issued_when_the_proof_is_there(house: House) -> None:
    """Names outside the trusted ones are proven by challenges without any ACME account; the kept request waits."""
    principal = await client(house)
    order = await placed(house, principal, OUTSIDE, request=request(OUTSIDE))
    assert (order.status, await owed(house, order)) == (OrderStatus.PENDING, ["validation"])
    await house.core.ra.answer(principal, order.authorizations[0], "dns-01")
    assert await house.core.lifecycle.ordering.finish_later(order.id) is None
    assert (await house.core.lifecycle.ordering.current(order.id)).status is OrderStatus.VALID


async def test_the_answer_to_a_challenge_is_bound_to_the_credential(house: House) -> None:
    """Where no account key is, the credential stands in: another credential's answer is another one."""
    first, second = await client(house), await client(house)
    for principal in (first, second):
        order = await placed(house, principal, OUTSIDE)
        await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    one, other = (attempt.key_authorization.partition(".")[2] for attempt in house.validators["http-01"].attempts)
    assert one != other


async def test_a_wrong_request_is_refused_when_it_comes(house: House) -> None:
    """Nobody learns after days that the request was wrong from the beginning."""
    principal = await client(house)
    order = await placed(house, principal, OUTSIDE)
    with pytest.raises(BadCSR, match="lacks"):
        await house.core.lifecycle.ordering.hand_in(principal, order, request("other.example.org"))
    assert (await house.core.lifecycle.ordering.current(order.id)).csr is None


async def test_the_worker_finishes_what_its_process_left(house: House) -> None:
    """A process that ends between proof and issuance leaves the order to the job that was written with it."""
    principal = await client(house)
    order = await placed(house, principal, OUTSIDE, request=request(OUTSIDE))
    await house.core.ra.answer(principal, order.authorizations[0], "dns-01")
    jobs = await house.core.store.lease_jobs(("finish-order",), house.clock(), 60, 10)
    assert [job.object for job in jobs] == [order.id]


# --------------------------------------------------------------------------- drafts


async def test_a_draft_is_changed_and_handed_in(house: House) -> None:
    """A draft is not judged; what it says in the end is."""
    principal = await est(house)
    draft = await house.core.lifecycle.ordering.draft(principal, NewOrder(identifiers=(dns("x.denied.test"),)))
    assert draft.status is OrderStatus.DRAFT
    with pytest.raises(RejectedIdentifier):
        await house.core.lifecycle.ordering.submit(principal, draft)
    changed = await house.core.lifecycle.ordering.change(
        principal, draft, NewOrder(identifiers=(dns(NAME),), request=request(NAME))
    )
    assert (changed.id, changed.status) == (draft.id, OrderStatus.DRAFT)
    done = await house.core.lifecycle.ordering.submit(principal, changed)
    assert (done.id, done.status) == (draft.id, OrderStatus.VALID)
    placed_events = await events(house, AuditTag.ORDER_PLACED)
    assert [event.object for event in placed_events] == [f"order:{draft.id}"]


async def test_only_a_draft_is_changed_or_handed_in(house: House) -> None:
    """What was judged once stays what it was."""
    principal = await est(house)
    order = await placed(house, principal, NAME)
    with pytest.raises(NotReady):
        await house.core.lifecycle.ordering.submit(principal, order)
    with pytest.raises(NotReady):
        await house.core.lifecycle.ordering.change(principal, order, NewOrder(identifiers=(dns(NAME),)))


# --------------------------------------------------------------------------- documents and agreement


async def test_documents_and_an_agreement_are_owed_until_they_are_there(house: House) -> None:
    """Each step says what is left; the last one issues, since the request was there from the beginning."""
    await wants_papers(house)
    principal, core = await est(house), house.core
    order = await placed(house, principal, NAME, request=request(NAME))
    assert await owed(house, order) == ["document", "agreement"]
    order, document = await core.lifecycle.documents.receive(
        principal, order, "letter", "l.pdf", "application/pdf", PDF
    )
    assert await owed(house, order) == ["review", "agreement"]
    order = await core.lifecycle.ordering.agree(principal, order, "Alice Owner")
    assert (order.status, await owed(house, order)) == (OrderStatus.PENDING, ["review"])
    order = await core.lifecycle.documents.review(order, document.id, operator("user:bob"), accept=True)
    assert order.status is OrderStatus.VALID
    (accepted,) = await events(house, AuditTag.DOCUMENT_ACCEPTED)
    assert accepted.actor == "user:bob"
    assert accepted.detail["sha256"] == document.sha256
    assert await core.lifecycle.documents.content(order, document.id) == (order.dossier.documents[0], PDF)  # type: ignore[union-attr]


async def test_a_rejected_document_is_handed_in_again(house: House) -> None:
    """The reason is kept for who handed it in, and a better one counts."""
    await wants_papers(house)
    principal, core = await est(house), house.core
    order = await placed(house, principal, NAME)
    order, first = await core.lifecycle.documents.receive(principal, order, "letter", "l.pdf", "application/pdf", PDF)
    with pytest.raises(Malformed, match="say why"):
        await core.lifecycle.documents.review(order, first.id, operator("user:bob"), accept=False)
    order = await core.lifecycle.documents.review(order, first.id, operator("user:bob"), accept=False, why="not signed")
    assert order.dossier is not None
    assert (order.dossier.documents[0].status, order.dossier.documents[0].why) == (
        DocumentStatus.REJECTED,
        "not signed",
    )
    order, second = await core.lifecycle.documents.receive(
        principal, order, "letter", "l.pdf", "application/pdf", PDF + b"2"
    )
    order = await core.lifecycle.ordering.agree(principal, order, "Alice Owner")
    order = await core.lifecycle.documents.review(order, second.id, operator("user:bob"), accept=True)
    assert (order.status, await owed(house, order)) == (OrderStatus.READY, ["request"])


@pytest.mark.parametrize(
    ("type", "name", "media_type", "content", "said"),
    [
        pytest.param("passport", "l.pdf", "application/pdf", PDF, Malformed, id="of a type that nobody wants"),
        pytest.param("letter", "l.pdf", "text/html", PDF, UnsupportedMedia, id="of another media type"),
        pytest.param("letter", "l.pdf", "application/pdf", b"x" * 101, TooLarge, id="larger than its type may be"),
        pytest.param("letter", "../l.pdf", "application/pdf", PDF, Malformed, id="with a path for a name"),
        pytest.param("letter", "l.pdf", "application/pdf", b"", Malformed, id="that is empty"),
    ],
)
async def test_a_document_is_refused(
    house: House, type: str, name: str, media_type: str, content: bytes, said: type[Exception]
) -> None:
    """Each type has its own media types and its own limit."""
    await wants_papers(house)
    principal = await est(house)
    order = await placed(house, principal, NAME)
    with pytest.raises(said):
        await house.core.lifecycle.documents.receive(principal, order, type, name, media_type, content)


async def test_nobody_reviews_their_own_document(house: House) -> None:
    """The user of the credential is who handed it in."""
    await wants_papers(house)
    principal = await est(house)
    order = await placed(house, principal, NAME)
    order, document = await house.core.lifecycle.documents.receive(
        principal, order, "letter", "l.pdf", "application/pdf", PDF
    )
    with pytest.raises(Forbidden):
        await house.core.lifecycle.documents.review(order, document.id, operator("user:alice@cli"), accept=True)


async def test_a_document_belongs_to_its_order(house: House) -> None:
    """The identifier of another order's document finds nothing."""
    await wants_papers(house)
    principal = await est(house)
    first, second = await placed(house, principal, NAME), await placed(house, principal, NAME)
    first, document = await house.core.lifecycle.documents.receive(
        principal, first, "letter", "l.pdf", "application/pdf", PDF
    )
    with pytest.raises(UnknownOrder):
        await house.core.lifecycle.documents.content(second, document.id)


async def test_agreement_without_terms_is_refused(house: House) -> None:
    """Nobody agrees to nothing."""
    principal = await est(house)
    with pytest.raises(NotReady):
        await house.core.lifecycle.ordering.agree(principal, await placed(house, principal, NAME), "Alice")


# --------------------------------------------------------------------------- n of m


async def held(house: House, **changes: Any) -> Order:
    """An order that several people have to approve."""
    current = await house.core.store.one(PRODUCT, "held")
    assert isinstance(current, Product)
    await house.core.administration.apply_product(replace(current, **changes), ACTOR)
    order = await placed(house, await est(house, "held"), NAME, request=request(NAME), product="held")
    assert order.status is OrderStatus.HELD
    return order


async def test_two_of_three_people_have_to_approve(house: House) -> None:
    """Votes are counted by person; the second one issues."""
    order = await held(house, approvals=2, approvers=("bob", "carol", "dave"))
    first = await house.core.approval.approve(order.id, operator("user:bob"))
    (approval,) = (
        one for one in await house.core.lifecycle.ordering.owed(first) if one.kind is RequirementKind.APPROVAL
    )
    assert approval.detail == "1 of 2 approvals are there"
    again = await house.core.approval.approve(order.id, operator("user:bob@cli"))
    assert again.status is OrderStatus.HELD
    assert len(await events(house, AuditTag.ORDER_VOTED)) == 1
    assert (await house.core.approval.approve(order.id, operator("user:carol"))).status is OrderStatus.VALID


@pytest.mark.parametrize("approver", ["user:alice", "user:eve"])
async def test_requester_and_strangers_do_not_vote(house: House, approver: str) -> None:
    """I9: approver is not requester; and where approvers are named, nobody else is one."""
    order = await held(house, approvals=2, approvers=("bob", "carol"))
    with pytest.raises(Forbidden):
        await house.core.approval.approve(order.id, operator(approver))


async def test_votes_at_the_same_moment_are_both_counted_or_told(house: House) -> None:
    """Nobody's vote is lost without a word."""
    order = await held(house, approvals=3)
    voters = ["user:bob", "user:carol", "user:dave"]
    outcomes = await asyncio.gather(
        *(house.core.approval.approve(order.id, operator(one)) for one in voters), return_exceptions=True
    )
    counted = sum(not isinstance(one, BaseException) for one in outcomes)
    now = await house.core.lifecycle.ordering.current(order.id)
    assert now.dossier is not None
    assert len(now.dossier.votes) == counted >= 1


async def test_a_vote_for_an_order_of_a_revoked_credential_issues_nothing(house: House) -> None:
    """Invariant I5: the last vote runs into what was decided meanwhile."""
    order = await held(house, approvals=2)
    await house.core.approval.approve(order.id, operator("user:bob"))
    await house.core.administration.revoke_credential(order.credential, "stolen", ACTOR)
    with pytest.raises(NotReady):
        await house.core.approval.approve(order.id, operator("user:carol"))
    assert (await house.core.lifecycle.ordering.current(order.id)).serial is None


# --------------------------------------------------------------------------- revocation, and trying again


async def test_nothing_of_a_revoked_credential_is_issued(house: House) -> None:
    """Drafts, orders whose request is kept, and those that wait for papers all end with the credential."""
    principal, core = await client(house), house.core
    draft = await core.lifecycle.ordering.draft(principal, NewOrder(identifiers=(dns(NAME),), request=request(NAME)))
    kept = await placed(house, principal, OUTSIDE, request=request(OUTSIDE))
    await core.administration.revoke_credential(principal.credential.id, "stolen", ACTOR)
    for order in (draft, kept):
        now = await core.lifecycle.ordering.current(order.id)
        assert now.status is OrderStatus.INVALID
    with pytest.raises(NotReady):
        await core.lifecycle.ordering.submit(principal, await core.lifecycle.ordering.current(draft.id))
    with pytest.raises(Forbidden):
        await core.lifecycle.ordering.submit(principal, draft)
    with pytest.raises(Forbidden):
        await placed(house, principal, NAME, request=request(NAME))
    assert await events(house, AuditTag.CERTIFICATE_ISSUED) == []


async def test_an_order_that_ended_is_tried_again_as_a_new_one(house: House) -> None:
    """Terminal states never change (I7)."""
    principal = await est(house)
    first = await placed(house, principal, NAME)
    cancelled = await house.core.lifecycle.ordering.cancel(principal, first, "changed our minds")
    second = await house.core.lifecycle.ordering.again(principal, cancelled)
    assert (second.id != first.id, second.status) == (True, OrderStatus.READY)
    with pytest.raises(NotReady):
        await house.core.lifecycle.ordering.again(principal, second)
