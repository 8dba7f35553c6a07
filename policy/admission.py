"""What the API asks about a request whose principal is known: what it may, how much is left, was it sent before."""

from __future__ import annotations

from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.idempotency import Idempotency
from policy.limits import Allowance, Limits
from policy.oauth import OAuthClients
from policy.permission import Grant, grant_of
from policy.sealing import Sealing
from policy.tokens import Tokens

LIMIT = "requests_per_credential"


class Admission:
    """Permissions, request limits and idempotency of the API's callers."""

    def __init__(
        self,
        catalogue: Catalogue,
        limits: Limits,
        sealing: Sealing,
        idempotency: Idempotency,
        tokens: Tokens,
        clients: OAuthClients,
    ) -> None:
        self._catalogue = catalogue
        self._limits = limits
        self.idempotency = idempotency
        self.tokens = tokens
        self.clients = clients
        self.cursor_key = sealing.key("cursor")
        """Signs the cursors of pages; the same on every server of one store."""

    async def grant(self, principal: Principal) -> Grant:
        """What a principal may do: what its user's roles permit, within the credential's scopes and group."""
        credential = principal.credential
        user = await self._catalogue.user(credential.user)
        grant = grant_of(
            user.roles if user is not None else (),
            frozenset({credential.group}),
            tuple(credential.options.get("scopes", ())),
        )
        return grant.narrowed(principal.scopes or ())

    def count(self, principal: Principal) -> Allowance | None:
        """Count a request of this credential. Raises RateLimited; None when there is no such limit."""
        credential = principal.credential.id
        self._limits.take(LIMIT, credential, "requests with this credential")
        return self._limits.left(LIMIT, credential)
