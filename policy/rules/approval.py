"""Which orders wait for a person."""

from __future__ import annotations

from policy.credential import AuthenticationMethod
from policy.rules import Case


def needs_approval(case: Case, predecessor: str | None = None) -> str | None:
    """Why a person has to decide on this order, or None.

    What renews a `predecessor` is authenticated by a certificate that a person agreed to: only the product may want
    that approved again.
    """
    if case.product.approval:
        return f'product "{case.product.name}" wants approval'
    if case.credential.method is AuthenticationMethod.MANUAL and predecessor is None:
        return "the credential proves nothing: a person decides"
    return None
