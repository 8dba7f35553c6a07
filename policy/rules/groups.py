"""Which products a group may have: it and every group above it have to allow the one that is ordered."""

from __future__ import annotations

from collections.abc import Iterator

from policy.order import Step
from policy.problems import Problem, UnknownProduct
from policy.rules import Case


def allowed_product(case: Case) -> Iterator[Step | Problem]:
    """The product is one that the credential's group, and those above it, may have; a group that names none may any."""
    for group in case.groups:
        if group.products and case.product.name not in group.products:
            yield UnknownProduct(
                f'the group "{group.name}" may not have the product "{case.product.name}"; '
                f"it may have {', '.join(group.products)}"
            )
