"""One-time codes: a SCEP challenge that is good for one certificate (RFC 8894 section 7.3).

A code is made with a credential of the method "one-time", kept as a peppered hash, and used up by the transaction that
begins the issuance: of any number of requests with one code, one is served, and a crash uses no code up for nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from ca_core.clock import Clock
from ca_core.csr import CertificationRequest
from ca_core.names import common_name
from policy.audit import AuditEvent, AuditTag
from policy.credential import AuthenticationMethod, Credential
from policy.problems import Malformed, RateLimited, Unauthenticated
from policy.sealing import Sealing, Secret
from policy.store import ONE_TIME_CODE, ONE_TIME_CODES_OPEN, OneTimeCode, Store, Unit

CODE_BYTES = 16
KEPT = timedelta(days=7)
"""How long a code is known after its end: as long as an order lives, whose client may show it again."""


class Codes:
    """Makes and finds one-time codes."""

    def __init__(self, store: Store, sealing: Sealing, clock: Clock) -> None:
        self._store = store
        self._sealing = sealing
        self._clock = clock

    async def make(
        self, credential: Credential, lifetime: timedelta, most: int, actor: str, names: Sequence[str] = ()
    ) -> tuple[Secret, datetime]:
        """A new code of this credential, and when it expires; for these names only, if any are given.

        Raises Malformed for a credential of another method, RateLimited when `most` codes are open already.
        """
        if credential.method is not AuthenticationMethod.ONE_TIME:
            raise Malformed(f'the credential "{credential.identifier}" has no one-time codes: its method is another')
        now = self._clock()
        if len(await self._store.many(ONE_TIME_CODES_OPEN, credential.id, int(now.timestamp()), most)) >= most:
            raise RateLimited(f"{most} codes of this credential wait to be used already", retry_after=60)
        secret = Secret(secrets.token_hex(CODE_BYTES).upper().encode())
        code = OneTimeCode(self._sealing.hash(secret).hex(), credential.id, now, now + lifetime, tuple(names))
        unit = Unit()
        unit.credential_active(credential.id, now)
        unit.put_code(code, now - KEPT)
        detail = {"expires": code.expires, "names": list(names)}
        unit.audit(AuditEvent(AuditTag.CODE_CREATED, now, actor, f"credential:{credential.id}", detail))
        await self._store.commit(unit)
        return secret, code.expires

    async def find(self, challenge: Secret) -> OneTimeCode | None:
        """The code that this is, used or not."""
        return await self._store.one(ONE_TIME_CODE, self._sealing.hash(challenge).hex())


def check_names(code: OneTimeCode, request: CertificationRequest) -> None:
    """That a request asks for the names of its code (CERT VU#971035: a challenge alone says nothing of names).

    Raises Unauthenticated.
    """
    if not code.names:
        return
    wanted = {name.value for name in request.names} | {common_name(request.subject) or ""}
    if wanted - {""} != set(code.names):
        raise Unauthenticated("the challenge password was made for other names")
