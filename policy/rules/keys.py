"""Key type, quality and reuse. What had to be looked up (account keys, blocked keys) reaches the rules as values."""

from __future__ import annotations

from collections.abc import Iterator

from ca_core.keycheck import check_key
from policy.order import Step
from policy.problems import BadCSR, BadPublicKey, Problem
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


def own_key(case: Case) -> Iterator[Step | Problem]:
    """The key is neither blocked nor the key of an ACME account (RFC 8555 section 11.1)."""
    if case.key_blocked:
        yield BadPublicKey("this public key was reported as compromised and is blocked: make a new key pair")
    if case.account_key:
        yield BadCSR("the public key of the request is the key of an ACME account: use a key pair of its own")
