"""Which orders wait for a person."""

from __future__ import annotations

from policy.credential import AuthenticationMethod
from policy.order import Order
from policy.rules import Case


def needs_approval(case: Case, order: Order) -> str | None:
    """Why a person has to decide on this order, or None.

    What is authenticated by the very certificate that it renews, a person agreed to before: only the product may want
    that approved again. Whoever renews for somebody else, or asks for other names over the API, shows no certificate.
    """
    if case.product.approval:
        return f'product "{case.product.name}" wants approval'
    shown = order.predecessor is not None and order.requester == f"certificate:{order.predecessor}"
    if case.credential.method is AuthenticationMethod.MANUAL and not shown:
        return "the credential proves nothing: a person decides"
    return None
