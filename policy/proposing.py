"""Products as they would be: what changes, what product lint finds, what a request would get, whom it would break.

A product that is applied is a new version; nothing here changes one that is there. What is tried is judged by the very
rules and the very signing core that orders meet, and nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.crmf import read_recorded
from ca_core.csr import CertificationRequest
from ca_core.issuance import IssuanceRequest
from policy.access import NOBODY, Actor
from policy.administration import Administration
from policy.catalogue import Catalogue
from policy.deciding import read_judged
from policy.inventory import Inventory
from policy.mount import Mount
from policy.order import Identifier, Order, OrderStatus
from policy.problems import Malformed, Problem, UnknownProduct
from policy.product import Product
from policy.productlint import Finding, lint
from policy.rules import Case, judge
from policy.rules.identifiers import trusted
from policy.rules.standard import AT_PLACING, ON_CERTIFICATE, ON_REQUEST
from policy.store import CREDENTIAL, PRODUCT, OrderFilter, Store
from policy.validation.challenges import methods_for

MAX_REPLAYED = 10_000
PAGE = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs: old and new value as plain values; None for what is not there."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Proposed:
    """What applying came to, or would come to."""

    product: Product
    version: int | None
    """The newest version that is there now; None where there is none yet."""
    new: bool
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a request would get: the decision so far, or the problem that ends it."""

    steps: tuple[tuple[str, str, str], ...]
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class Broken:
    """An order that the product would refuse now."""

    order: Order
    problem: Problem


@dataclass(frozen=True, slots=True)
class Replayed:
    """Real orders judged again: how many, and which of them would be refused."""

    looked: int
    broken: tuple[Broken, ...]


class Proposing:
    """Applies products with their differences, and tries them before."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        administration: Administration,
        inventory: Inventory,
        ca: CertificateAuthority,
        clock: Clock,
        read: Callable[[str, str], Product],
    ) -> None:
        """`read` makes a product of a TOML text and the name of where it came from. It raises Malformed."""
        self._store = store
        self._catalogue = catalogue
        self._administration = administration
        self._inventory = inventory
        self._ca = ca
        self._clock = clock
        self._read = read

    async def apply(
        self, text: str, source: str, actor: Actor, *, dry_run: bool = False, accept: tuple[str, ...] = ()
    ) -> Proposed:
        """Make what a TOML text says the newest version of its product, or only say what would change.

        Raises Forbidden, OrderConflict, and Malformed for mistakes and for errors of product lint that `accept` does
        not name.
        """
        actor.check("product:change")
        product = self._read(text, source)
        current = await self._store.one(PRODUCT, product.name)
        changes = tuple(changes_between(without_versions(current), without_versions(product)))
        findings = lint(product)
        errors = [one for one in findings if one.severity == "error" and one.rule not in accept]
        if dry_run or not changes:
            version = None if current is None else current.version
            return Proposed(product, version, current is None, changes, findings)
        if errors:
            raise Malformed(
                "; ".join(f"{one.pointer}: {one.detail} ({one.rule})" for one in errors), findings=tuple(errors)
            )
        made = await self._administration.apply_product(product, actor)
        return Proposed(product, made.version if made else None, current is None, changes, findings)

    async def proposed(self, name: str, text: str | None) -> Product:
        """The product that is meant: as a text has it, else the newest version. Raises Malformed, UnknownProduct."""
        if text is None:
            return await self._inventory.product(name)
        product = self._read(text, "the proposal")
        if product.name != name:
            raise Malformed(f'the proposal is about "{product.name}", not about "{name}"')
        return product

    async def dry_run(self, product: Product, credential: str, request: CertificationRequest, actor: Actor) -> Trial:
        """What a request would get with a credential; names count as proven where a challenge could prove them."""
        actor.check("product:read")
        found = await self._administration.find_credential(credential, "credential:read", actor)
        steps: list[tuple[str, str, str]] = []
        try:
            case = await self._case(product, found.id, request.names, request)
            self._judge(case, steps)
        except Problem as problem:
            return Trial(tuple(steps), problem)
        if product.approval:
            steps.append(("approval", "held", f"{product.approvals} people would have to approve"))
        return Trial(tuple(steps), None)

    async def replay(self, product: Product, days: int, actor: Actor) -> Replayed:
        """Judge the orders of the last days again that this product has issued, as it is proposed here."""
        actor.check("order:read", NOBODY)
        if not 0 < days <= 3660:
            raise Malformed("say how many days, 1 to 3660")
        since = self._clock() - timedelta(days=days)
        wanted = OrderFilter(status=OrderStatus.VALID, product=product.name, placed_from=since)
        after, looked, broken = "", 0, []
        while looked < MAX_REPLAYED and (page := await self._inventory.find_orders(wanted, after, PAGE)):
            for order in page:
                looked += 1
                try:
                    request = read_recorded(order.csr) if order.csr is not None else None
                    self._judge(await self._case(product, order.credential, order.identifiers, request), [])
                except Problem as problem:
                    broken.append(Broken(order, problem))
            after = page[-1].id
        return Replayed(looked, tuple(broken))

    async def _case(
        self,
        product: Product,
        credential_id: str,
        identifiers: tuple[Identifier, ...],
        request: CertificationRequest | None,
    ) -> Case:
        credential = await self._store.one(CREDENTIAL, credential_id)
        if credential is None:
            raise UnknownProduct("the credential of the order is gone")
        groups = await self._catalogue.lineage(credential.group)
        case = Case(product, credential, identifiers, groups, request)
        methods = product.validation.methods
        proven = frozenset(
            one
            for one in identifiers
            if not trusted(case, one) and any(each in methods for each in methods_for(one, one.wildcard))
        )
        return msgspec.structs.replace(case, proven=proven)

    def _judge(self, case: Case, steps: list[tuple[str, str, str]]) -> None:
        """All rules, on the order, on the request and on the certificate that would be signed."""
        steps += [(one.rule, one.outcome, one.detail) for one in judge(case, AT_PLACING)]
        request = case.request
        if request is None:
            return
        steps += [(one.rule, one.outcome, one.detail) for one in judge(case, ON_REQUEST)]
        product = case.product
        prepared = self._ca.prepare(
            IssuanceRequest(
                issuer=product.issuer,
                profile=product.profile,
                spki=request.spki,
                key_type=request.key_type,
                subject=request.subject,
                names=case.identifiers,
            )
        )
        judged = msgspec.structs.replace(case, judged=read_judged(prepared))
        steps += [(one.rule, one.outcome, one.detail) for one in judge(judged, ON_CERTIFICATE)]


def without_versions(value: Product | Mount | None) -> dict[str, Any]:
    """What a person decides about: versions count themselves."""
    if value is None:
        return {}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    del plain["version"]
    if isinstance(plain.get("profile"), dict):
        del plain["profile"]["version"]
    return plain


def changes_between(old: dict[str, Any], new: dict[str, Any], above: str = "") -> list[Change]:
    """Everything that differs, key by key."""
    found: list[Change] = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(after, dict) and (isinstance(before, dict) or before is None):
            found += changes_between(before or {}, after, f"{above}{key}.")
        elif before != after:
            found.append(Change(f"{above}{key}", before, after))
    return found
