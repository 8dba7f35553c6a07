"""The URLs of one mount: made here, compared here, written nowhere else. Pure."""

from __future__ import annotations

import re

PREFIX = "/acme"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class URLs:
    """Every URL of the mount with this label. `origin` is the configured one, never that of a Host header."""

    __slots__ = (
        "account_prefix",
        "authorization_prefix",
        "certificate_prefix",
        "challenge_prefix",
        "directory",
        "key_change",
        "new_account",
        "new_authorization",
        "new_nonce",
        "new_order",
        "order_prefix",
        "path",
        "renewal_info",
        "revoke_certificate",
        "ticket_prefix",
    )

    def __init__(self, origin: str, label: str) -> None:
        self.path = f"{PREFIX}/{label}"
        base = origin + self.path
        self.directory = f"{base}/directory"
        self.new_nonce = f"{base}/new-nonce"
        self.new_account = f"{base}/new-account"
        self.new_order = f"{base}/new-order"
        self.new_authorization = f"{base}/new-authz"
        self.ticket_prefix = f"{base}/ticket/"
        self.revoke_certificate = f"{base}/revoke-cert"
        self.key_change = f"{base}/key-change"
        self.renewal_info = f"{base}/renewal-info"
        self.account_prefix = f"{base}/account/"
        self.order_prefix = f"{base}/order/"
        self.authorization_prefix = f"{base}/authz/"
        self.challenge_prefix = f"{base}/chall/"
        self.certificate_prefix = f"{base}/cert/"

    def account(self, account: str) -> str:
        """The account, which is its `kid`."""
        return self.account_prefix + account

    def orders(self, account: str, after: str = "") -> str:
        """A page of the account's orders."""
        page = f"?after={after}" if after else ""
        return f"{self.account_prefix}{account}/orders{page}"

    def order(self, order: str) -> str:
        """An order."""
        return self.order_prefix + order

    def finalize(self, order: str) -> str:
        """Where the request of an order goes."""
        return f"{self.order_prefix}{order}/finalize"

    def authorization(self, authorization: str) -> str:
        """An authorization."""
        return self.authorization_prefix + authorization

    def challenge(self, authorization: str, kind: str) -> str:
        """A challenge of an authorization."""
        return f"{self.challenge_prefix}{authorization}/{kind}"

    def certificate(self, serial: str, chain: int = 0) -> str:
        """A certificate, by serial number in hex; with a number, under another chain."""
        return f"{self.certificate_prefix}{serial}/{chain}" if chain else self.certificate_prefix + serial

    def ticket(self, order: str) -> str:
        """Where a person reads what became of the question whether an order is approved."""
        return self.ticket_prefix + order

    def account_of(self, kid: str) -> str | None:
        """The account that a `kid` names, or None when it is not exactly an account URL of this mount."""
        if not kid.startswith(self.account_prefix):
            return None
        account = kid[len(self.account_prefix) :]
        return account if _ID.fullmatch(account) else None


def is_id(text: str) -> bool:
    """Whether this could be an identifier of ours."""
    return _ID.fullmatch(text) is not None
