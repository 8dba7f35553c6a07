"""What an order still owes before it can be issued: said in full, so that nobody has to guess what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from policy.dossier import DocumentStatus, Dossier
from policy.order import TERMINAL, Authorization, AuthorizationStatus, Order, OrderStatus
from policy.product import Product


class RequirementKind(StrEnum):
    """What kind of thing is owed; the first four by whoever orders, the last one by others."""

    SUBMISSION = "submission"
    VALIDATION = "validation"
    DOCUMENT = "document"
    AGREEMENT = "agreement"
    REQUEST = "request"
    """The certification request."""
    REVIEW = "review"
    """A reviewer's word on a document."""
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that is owed. `about` is the identifier, type of document or terms; `id` the object to act upon."""

    kind: RequirementKind
    detail: str
    about: str = ""
    id: str = ""


def requirements(
    order: Order, product: Product, authorizations: Iterable[Authorization], now: datetime
) -> tuple[Requirement, ...]:
    """Everything that is owed now, in the order in which it is best done; nothing for one that has ended."""
    if order.status in TERMINAL or order.status is OrderStatus.PROCESSING:
        return ()
    return tuple(_owed(order, product, authorizations, now))


def _owed(
    order: Order, product: Product, authorizations: Iterable[Authorization], now: datetime
) -> Iterator[Requirement]:
    if order.status is OrderStatus.DRAFT:
        yield Requirement(RequirementKind.SUBMISSION, "the order is a draft: submit it")
    for one in authorizations:
        if one.at(now) is not AuthorizationStatus.VALID:
            name = ("*." if one.wildcard else "") + one.identifier.value
            methods = ", ".join(each.type for each in one.challenges)
            yield Requirement(RequirementKind.VALIDATION, f"prove control of {name} by {methods}", name, one.id)
    yield from _papers(order, product)
    if order.csr is None and not order.ticket:
        yield Requirement(RequirementKind.REQUEST, "hand in the certification request")
    if order.status is OrderStatus.HELD:
        votes = len(order.dossier.votes) if order.dossier is not None else 0
        yield Requirement(RequirementKind.APPROVAL, f"{votes} of {product.approvals} approvals are there")


def _papers(order: Order, product: Product) -> Iterator[Requirement]:
    """Documents and agreement; a draft has no dossier of the product's yet."""
    dossier = order.dossier or Dossier()
    drafted = order.status is OrderStatus.DRAFT
    accepted = {one.type for one in dossier.documents if one.status is DocumentStatus.ACCEPTED}
    waiting = {one.type: one.id for one in dossier.documents if one.status is DocumentStatus.WAITING}
    titles = {one.type: one.title or one.type for one in product.documents}
    for type_ in titles if drafted else dossier.required:
        title = titles.get(type_, type_)
        if type_ in accepted:
            continue
        if type_ in waiting:
            yield Requirement(RequirementKind.REVIEW, f"{title} waits for a reviewer", type_, waiting[type_])
        else:
            yield Requirement(RequirementKind.DOCUMENT, f"hand in {title}", type_)
    terms = product.terms if drafted else dossier.terms
    if terms is not None and (dossier.agreement is None or dossier.agreement.terms != terms):
        yield Requirement(RequirementKind.AGREEMENT, f"agree to {terms}", terms)
