"""What a missed guard of the store means to the client of an order, as a kind of problem and a sentence."""

from __future__ import annotations

from policy.problems import (
    AlreadyReplaced,
    BadCSR,
    BadPublicKey,
    Forbidden,
    OrderConflict,
    Problem,
    RateLimited,
    UnknownProduct,
)

GUARD_PROBLEMS: dict[str, tuple[type[Problem], str]] = {
    "credential_active": (Forbidden, "the credential is not active any more"),
    "credential_spend": (Forbidden, "the credential is not active any more, or used up"),
    "one_time_code_spend": (Forbidden, "the challenge password was used already, or has expired"),
    "quota_spend": (RateLimited, "the group has used up its certificates of this month"),
    "account_valid": (Forbidden, "the account is not valid any more"),
    "product_active": (UnknownProduct, "the product is not active any more"),
    "mount_active": (Forbidden, "this door is closed"),
    "not_blocked": (Forbidden, "these names or this key were blocked just now"),
    "key_not_blocked": (BadPublicKey, "this public key is blocked as compromised: make a new key pair"),
    "order_save": (OrderConflict, "the order was changed at the same time: look at it again"),
    "reference_free": (OrderConflict, "the same request is being served already: ask again"),
    "order_reference": (OrderConflict, "the same request is being served already: ask again"),
    "authorizations_valid": (Forbidden, "an authorization of the order is not valid any more"),
    "certificate_valid": (Forbidden, "the certificate that is to be renewed is not valid any more"),
    "not_account_key": (
        BadCSR,
        "the public key is the key of an ACME account: use a key pair of its own",
    ),
    "not_replaced": (AlreadyReplaced, "the certificate named by replaces has a successor already"),
    "issuance_order": (OrderConflict, "the order is being served already: ask again"),
}
