"""Products, proposals and what came of them, as clients send and see them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from policy.product import Product, ProductState
from policy.productlint import Finding
from protocols.rest.order_views import CSR
from protocols.rest.schema import Body, View

TOML = Annotated[str, Meta(min_length=1, max_length=100_000, description="The product as TOML, as `apply` takes it.")]


class ProductView(View, frozen=True, kw_only=True):
    """A product in short."""

    name: str
    version: int
    state: str
    title: str
    issuer: str
    profile: str
    protocols: tuple[str, ...]
    approval: bool
    suspension: Annotated[bool, Meta(description="Whether its certificates may be put on hold.")]


class ProductDetail(View, frozen=True, kw_only=True):
    """One version of a product, in the form in which a file has it."""

    name: str
    version: int
    state: str
    definition: dict[str, Any]


class ProductList(View, frozen=True, kw_only=True):
    """Products, or versions of one."""

    items: tuple[ProductView, ...]


class ProfileView(View, frozen=True, kw_only=True):
    """A certificate profile as a product has it pinned."""

    name: str
    version: int
    product: str
    definition: dict[str, Any]


class ProfileList(View, frozen=True, kw_only=True):
    """The profiles of the newest versions of all products."""

    items: tuple[ProfileView, ...]


class FindingView(View, frozen=True, kw_only=True):
    """What product lint found."""

    rule: str
    severity: str
    pointer: str
    detail: str
    nearest: str


class ChangeView(View, frozen=True, kw_only=True):
    """One key that differs."""

    key: str
    old: Any
    new: Any


class ApplyBody(Body, frozen=True, kw_only=True):
    """A product as it is to be."""

    toml: TOML
    dry_run: Annotated[bool, Meta(description="Only say what would change.")] = False
    accept: Annotated[tuple[str, ...], Meta(description="Rules of product lint whose errors are accepted.")] = ()


class ProposedView(View, frozen=True, kw_only=True):
    """What applying came to, or would come to."""

    name: str
    version: Annotated[int | None, Meta(description="The newest version now; null where there is none yet.")]
    new: bool
    applied: bool
    changes: tuple[ChangeView, ...]
    findings: tuple[FindingView, ...]


class StateBody(Body, frozen=True, kw_only=True):
    """A state: only an active product issues."""

    state: ProductState


class ProposalBody(Body, frozen=True, kw_only=True):
    """A product as it might be; left out, as it is."""

    toml: TOML | None = None


class LintView(View, frozen=True, kw_only=True):
    """What product lint found."""

    findings: tuple[FindingView, ...]


class TrialBody(Body, frozen=True, kw_only=True):
    """A request to try."""

    csr: CSR
    credential: Annotated[str, Meta(min_length=1, description="Identifier or id of the credential that would order.")]
    toml: TOML | None = None


class TrialView(View, frozen=True, kw_only=True):
    """What a request would get."""

    issued: bool
    decision: tuple[dict[str, str], ...]
    problem: dict[str, str] | None


class ReplayBody(Body, frozen=True, kw_only=True):
    """How far back to look."""

    days: Annotated[int, Meta(ge=1, le=3660)]
    toml: TOML | None = None


class BrokenView(View, frozen=True, kw_only=True):
    """An order that would be refused now."""

    order: str
    credential: str
    names: tuple[str, ...]
    code: str
    detail: str


class ReplayView(View, frozen=True, kw_only=True):
    """Real orders judged again by the proposal."""

    looked: int
    broken: tuple[BrokenView, ...]


def plain_of(value: Any) -> dict[str, Any]:
    """A value as plain JSON, in the form in which a file has it."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain


def short(one: Product) -> ProductView:
    """A product in short."""
    return ProductView(
        name=one.name,
        version=one.version,
        state=one.state.value,
        title=one.title,
        issuer=one.issuer,
        profile=one.profile.name,
        protocols=one.protocols,
        approval=one.approval,
        suspension=one.suspension,
    )


def finding(one: Finding) -> FindingView:
    """What product lint found."""
    return FindingView(
        rule=one.rule, severity=one.severity, pointer=one.pointer, detail=one.detail, nearest=one.nearest
    )
