"""What the API asks about a request whose principal is known: what it may, how much is left, was it sent before."""

from __future__ import annotations

from policy.access import Actor
from policy.acting import Acting
from policy.credential import Principal
from policy.idempotency import Idempotency
from policy.limits import Allowance, Limits
from policy.oauth import OAuthClients
from policy.sealing import Sealing
from policy.tokens import Tokens

LIMIT = "requests_per_credential"


class Admission:
    """Permissions, request limits and idempotency of the API's callers."""

    def __init__(
        self,
        acting: Acting,
        limits: Limits,
        sealing: Sealing,
        idempotency: Idempotency,
        tokens: Tokens,
        clients: OAuthClients,
    ) -> None:
        self._acting = acting
        self._limits = limits
        self.idempotency = idempotency
        self.tokens = tokens
        self.clients = clients
        self.cursor_key = sealing.key("cursor")
        """Signs the cursors of pages; the same on every server of one store."""

    async def actor(self, principal: Principal, on_behalf_of: str | None = None) -> Actor:
        """Who asks and what they may: what the user's roles permit, within the credential's group, scopes and token.

        Raises Forbidden, also when it may not act for the user `on_behalf_of`.
        """
        limits = tuple(principal.credential.options.get("scopes", ())), tuple(principal.scopes or ())
        return await self._acting.of(principal, limits=limits, on_behalf_of=on_behalf_of)

    def count(self, principal: Principal) -> Allowance | None:
        """Count a request of this credential. Raises RateLimited; None when there is no such limit."""
        credential = principal.credential.id
        self._limits.take(LIMIT, credential, "requests with this credential")
        return self._limits.left(LIMIT, credential)
