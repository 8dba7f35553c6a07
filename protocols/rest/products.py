"""Products: what can be ordered, as versions; their order form, lint, trial and replay; the profiles in use."""

from __future__ import annotations

import difflib
from typing import Any

from policy.orderform import order_form
from policy.problems import Malformed, UnknownProduct
from policy.product import Product
from policy.productlint import lint
from policy.proposing import Proposed
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.order_views import request_of
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.product_views import (
    ApplyBody,
    BrokenView,
    ChangeView,
    LintView,
    ProductDetail,
    ProductList,
    ProfileList,
    ProfileView,
    ProposalBody,
    ProposedView,
    ReplayBody,
    ReplayView,
    StateBody,
    TrialBody,
    TrialView,
    finding,
    plain_of,
    short,
)


async def _product(call: Call) -> Product:
    """The product in the path. Raises UnknownProduct with the nearest name."""
    name = call.path("name")
    products = {one.name: one for one in await call.door.inventory.products()}
    if name not in products:
        near = next(iter(difflib.get_close_matches(name, products, 1)), None)
        raise UnknownProduct(f'there is no product "{name[:80]}"', status=404, nearest=near)
    return products[name]


async def list_products(call: Call) -> Reply:
    """GET /products."""
    return Reply(ProductList(items=tuple(map(short, await call.door.inventory.products()))))


async def get_product(call: Call) -> Reply:
    """GET /products/{name}."""
    return _detail(await _product(call))


def _detail(product: Product) -> Reply:
    state = product.state.value
    view = ProductDetail(name=product.name, version=product.version, state=state, definition=plain_of(product))
    return Reply(view, version=product.version)


async def list_versions(call: Call) -> Reply:
    """GET /products/{name}/versions."""
    product = await _product(call)
    return Reply(ProductList(items=tuple(map(short, await call.door.inventory.product_versions(product.name)))))


async def get_version(call: Call) -> Reply:
    """GET /products/{name}/versions/{version}."""
    product, version = await _product(call), call.path("version")
    for one in await call.door.inventory.product_versions(product.name):
        if str(one.version) == version:
            return _detail(one)
    raise UnknownProduct(f'"{product.name}" has no such version', status=404, nearest=product.version)


async def get_schema(call: Call) -> Reply:
    """GET /products/{name}/schema."""
    product = await _product(call)
    return Reply(order_form(product), version=product.version)


async def list_profiles(call: Call) -> Reply:
    """GET /profiles."""
    found = await call.door.inventory.products()
    return Reply(
        ProfileList(
            items=tuple(
                ProfileView(
                    name=one.profile.name,
                    version=one.profile.version,
                    product=one.name,
                    definition=plain_of(one.profile),
                )
                for one in found
            )
        )
    )


async def apply_product(call: Call, given: ApplyBody) -> Reply:
    """POST /products."""
    proposing = call.door.proposing
    try:
        made = await proposing.apply(given.toml, "the product", call.actor, dry_run=given.dry_run, accept=given.accept)
    except Malformed as problem:
        errors = problem.context.get("findings")
        if not isinstance(errors, tuple):
            raise Invalid(FieldError("/toml", "product", problem.detail)) from problem
        raise Invalid(
            *(FieldError(f"/toml{one.pointer}", one.rule, one.detail, one.nearest) for one in errors)
        ) from problem
    return _proposed(made, applied=not given.dry_run and bool(made.changes))


def _proposed(made: Proposed, *, applied: bool) -> Reply:
    product = made.product
    return Reply(
        ProposedView(
            name=product.name,
            version=made.version,
            new=made.new,
            applied=applied,
            changes=tuple(ChangeView(key=one.key, old=one.old, new=one.new) for one in made.changes),
            findings=tuple(map(finding, made.findings)),
        ),
        status=201 if applied and made.new else None,
        location=f"/products/{product.name}" if applied else None,
    )


async def set_state(call: Call, given: StateBody) -> Reply:
    """POST /products/{name}/state."""
    product = await _product(call)
    call.match(product.version)
    return _detail(await call.door.administration.set_product_state(product.name, given.state, call.actor))


async def lint_product(call: Call, given: ProposalBody) -> Reply:
    """POST /products/{name}/lint."""
    product = await _proposal(call, given.toml)
    return Reply(LintView(findings=tuple(map(finding, lint(product)))))


async def _proposal(call: Call, toml: str | None) -> Product:
    try:
        return await call.door.proposing.proposed((await _product(call)).name, toml)
    except Malformed as problem:
        raise Invalid(FieldError("/toml", "product", problem.detail)) from problem


async def try_product(call: Call, given: TrialBody) -> Reply:
    """POST /products/{name}/try."""
    product, request = await _proposal(call, given.toml), request_of(given.csr)
    assert request is not None
    tried = await call.door.proposing.dry_run(product, given.credential, request, call.actor)
    problem = tried.problem
    steps = tuple({"rule": rule, "outcome": outcome, "detail": detail} for rule, outcome, detail in tried.steps)
    said = None if problem is None else {"code": problem.kind, "detail": problem.detail}
    return Reply(TrialView(issued=problem is None, decision=steps, problem=said))


async def replay_product(call: Call, given: ReplayBody) -> Reply:
    """POST /products/{name}/replay."""
    product = await _proposal(call, given.toml)
    found = await call.door.proposing.replay(product, given.days, call.actor)
    broken = tuple(
        BrokenView(
            order=one.order.id,
            credential=one.order.credential,
            names=tuple(map(str, one.order.identifiers)),
            code=one.problem.kind,
            detail=one.problem.detail,
        )
        for one in found.broken
    )
    return Reply(ReplayView(looked=found.looked, broken=broken))


_ONE = "/products/{name}"
_READ = "product:read"

OPERATIONS = (
    Operation("GET", "/products", "list-products", "Every product", _READ, list_products, answer=ProductList),
    Operation(
        "POST",
        "/products",
        "apply-product",
        "Make what a TOML text says the newest version of its product, or only say what would change",
        "product:change",
        apply_product,
        body=ApplyBody,
        answer=ProposedView,
        statuses={201: "A new product."},
        max_body_bytes=256 * 1024,
    ),
    Operation("GET", _ONE, "get-product", "A product, its newest version", _READ, get_product, answer=ProductDetail),
    Operation(
        "GET", f"{_ONE}/versions", "list-versions", "Every version, newest first", _READ, list_versions,
        answer=ProductList,
    ),
    Operation(
        "GET", f"{_ONE}/versions/{{version}}", "get-version", "One version", _READ, get_version, answer=ProductDetail
    ),
    Operation(
        "GET",
        f"{_ONE}/schema",
        "get-product-schema",
        "What an order may say (JSON Schema), and how it is proven, approved, renewed, suspended and revoked",
        _READ,
        get_schema,
        answer=dict[str, Any],
    ),
    Operation(
        "POST",
        f"{_ONE}/state",
        "set-product-state",
        "Activate, suspend or retire a product",
        "product:change",
        set_state,
        body=StateBody,
        answer=ProductDetail,
        example={"state": "active"},
    ),
    Operation(
        "POST", f"{_ONE}/lint", "lint-product", "What product lint finds in a product, as it is or as it might be",
        _READ, lint_product, body=ProposalBody, answer=LintView, example={},
    ),
    Operation(
        "POST",
        f"{_ONE}/try",
        "try-product",
        "What a request would get, without ordering",
        _READ,
        try_product,
        body=TrialBody,
        answer=TrialView,
        pointers={"bad-csr": "/csr", "malformed": "/credential", "bad-proof-of-possession": "/csr"},
    ),
    Operation(
        "POST",
        f"{_ONE}/replay",
        "replay-product",
        "Which orders of the last days a product would refuse, as it is or as it might be",
        "order:read",
        replay_product,
        body=ReplayBody,
        answer=ReplayView,
        example={"days": 30},
    ),
    Operation(
        "GET", "/profiles", "list-profiles", "The certificate profiles that products have pinned", _READ,
        list_profiles, answer=ProfileList,
    ),
)  # fmt: skip
