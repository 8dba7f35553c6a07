"""Access tokens (RFC 9068): signed by a service key, and alive only while what they were had with is.

A token says by which secret, key or certificate of its credential it was had. When that is rotated away, or the
credential is revoked, suspended or expires, the token is refused by the next request that shows it; its own end, a
few minutes later, is only the outermost bound. A single token is ended by writing its identifier down until then.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ca_core.clock import Clock, epoch_seconds
from ca_core.keys import Signer
from policy.credential import Credential
from policy.ids import new_id
from policy.jose import MAX_TOKEN_CHARACTERS, base64url
from policy.problems import Unauthenticated
from policy.store import SPENT, Conflict, Store, Unit

LIFETIME = timedelta(minutes=15)
KEY_TYPE = "ec-p256"
_ALGORITHM = "ES256"
_FIELD_BYTES = 32
MAX_REMEMBERED = 10_000
TOKEN_SCOPE = "token"  # noqa: S105 - the name of a list

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a token says. `proof` names what it was had with, `confirmation` what must be shown with it (RFC 7800)."""

    id: str
    client: str
    credential: str
    proof: str
    scopes: tuple[str, ...]
    issued: datetime
    expires: datetime
    confirmation: dict[str, str]


class Tokens:
    """Makes, reads and ends access tokens."""

    def __init__(self, store: Store, signer: Signer, issuer: str, audience: str, clock: Clock) -> None:
        """`signer` has a P-256 key; `issuer` is the origin of this server, `audience` the address of its API."""
        self._store = store
        self._signer = signer
        self._clock = clock
        self.issuer = issuer
        self.audience = audience
        public = load_der_public_key(signer.spki)
        self._key = ECKey.import_key(public)  # type: ignore[arg-type]  # P-256 by its type
        self.key_id = self._key.thumbprint()
        self._header = base64url(_encode({"typ": "at+jwt", "alg": _ALGORITHM, "kid": self.key_id}))
        self._read: OrderedDict[str, AccessToken] = OrderedDict()
        self._alive: tuple[int, set[str]] = (-1, set())

    def public_keys(self) -> dict[str, Any]:
        """The JWK Set by which others can check the signature (RFC 7517)."""
        key = {**self._key.as_dict(private=False), "kid": self.key_id, "use": "sig", "alg": _ALGORITHM}
        return {"keys": [key]}

    async def issue(
        self, credential: Credential, proof: str, scopes: tuple[str, ...], confirmation: dict[str, str]
    ) -> tuple[str, AccessToken]:
        """A new token for a credential that has just been proven."""
        now = self._clock()
        token = AccessToken(
            new_id(), credential.identifier, credential.id, proof, scopes, now, now + LIFETIME, confirmation
        )
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": token.client,
            "client_id": token.client,
            "iat": epoch_seconds(token.issued),
            "exp": epoch_seconds(token.expires),
            "jti": token.id,
            "scope": " ".join(scopes),
            "cg_credential": token.credential,
            "cg_proof": token.proof,
        }
        if confirmation:
            claims["cnf"] = confirmation
        signed = f"{self._header}.{base64url(_encode(claims))}"
        r, s = decode_dss_signature(await self._signer.sign(signed.encode()))
        signature = r.to_bytes(_FIELD_BYTES) + s.to_bytes(_FIELD_BYTES)
        return f"{signed}.{base64url(signature)}", token

    async def read(self, text: str) -> AccessToken:
        """What a token says that is ours, has not ended and was not ended. Raises Unauthenticated."""
        token = self._read.get(text)
        if token is None:
            token = self._verify(text)
            self._read[text] = token
            if len(self._read) > MAX_REMEMBERED:
                self._read.popitem(last=False)
        if token.expires <= self._clock():
            raise Unauthenticated("the access token has expired")
        epoch, alive = self._alive
        if epoch != self._store.configuration_epoch:
            epoch, alive = self._alive = self._store.configuration_epoch, set()
        if token.id not in alive:
            if await self._store.one(SPENT, TOKEN_SCOPE, token.id, epoch_seconds(self._clock())):
                raise Unauthenticated("the access token was revoked")
            alive.add(token.id)
        return token

    def _verify(self, text: str) -> AccessToken:
        wrong = Unauthenticated("the access token is not valid")
        if len(text) > MAX_TOKEN_CHARACTERS or not text.startswith(self._header):
            raise wrong  # another issuer's, or another key's
        try:
            claims = jwt.decode(text, self._key, algorithms=[_ALGORITHM]).claims
            if claims["iss"] != self.issuer or claims["aud"] != self.audience:
                raise wrong
            return AccessToken(
                claims["jti"],
                claims["client_id"],
                claims["cg_credential"],
                claims["cg_proof"],
                tuple(claims["scope"].split()),
                datetime.fromtimestamp(claims["iat"], self._clock().tzinfo),
                datetime.fromtimestamp(claims["exp"], self._clock().tzinfo),
                claims.get("cnf", {}),
            )
        except (JoseError, ValueError, KeyError) as fault:
            raise wrong from fault

    async def end(self, token: AccessToken) -> None:
        """End one token before its time (RFC 7009); ending it again changes nothing."""
        unit = Unit()
        unit.once(TOKEN_SCOPE, token.id, self._clock(), token.expires)
        unit.configuration = True  # every server forgets what it took for alive
        try:
            await self._store.commit(unit)
        except Conflict:
            return


async def once(store: Store, scope: str, value: str, now: datetime, until: datetime) -> None:
    """That this value comes for the first time before `until` (a jti). Raises Unauthenticated."""
    unit = Unit()
    unit.once(scope, value, now, until)
    try:
        await store.commit(unit)
    except Conflict as conflict:
        raise Unauthenticated("jti was used before: make a new token for each request") from conflict
