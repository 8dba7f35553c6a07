"""Which orders wait for a person."""

from __future__ import annotations

from policy.rules import Case


def needs_approval(case: Case) -> str | None:
    """Why a person has to decide on this order, or None."""
    if case.product.approval:
        return f'product "{case.product.name}" wants approval'
    return None
