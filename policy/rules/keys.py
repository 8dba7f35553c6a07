"""Key type and quality. Whether the key is blocked, or an account's, is a guard of commit 1 (policy/fulfilment.py)."""

from __future__ import annotations

from collections.abc import Iterator

from ca_core.keycheck import check_key
from policy.order import Step
from policy.problems import BadPublicKey, Problem
from policy.rules import Case


def good_key(case: Case) -> Iterator[Step | Problem]:
    """The public key is of a type that the product takes, and not a weak one."""
    request = case.request
    if request is None:
        return
    try:
        check_key(request.spki, request.key_type, allowed=frozenset(case.product.profile.key_types))
    except BadPublicKey as problem:
        yield problem
    else:
        yield Step("key", "good", request.key_type)
