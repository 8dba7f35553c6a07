"""Signed JSON Web Tokens of clients (RFC 7515, RFC 7519): which keys and algorithms count, and nothing else.

joserfc does the work; no object of it leaves this module.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from policy.problems import Unauthenticated

ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""Signatures only: no MAC, so that no public key is ever taken for a secret, and not "none" (RFC 8725 section 3.1)."""
MIN_RSA_BITS = 2048
MAX_KEYS = 16
MAX_TOKEN_CHARACTERS = 8192

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KINDS: dict[str, type[ECKey] | type[RSAKey] | type[OKPKey]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}


def base64url(data: bytes) -> str:
    """RFC 7515 section 2: without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def check_public_keys(keys: Mapping[str, Any]) -> None:
    """Raises ValueError unless this is a JWK Set (RFC 7517 section 5) of public keys that clients may sign with."""
    listed = keys.get("keys")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_KEYS:
        raise ValueError(f'a JWK Set has "keys": 1 to {MAX_KEYS} public keys (RFC 7517 section 5)')
    for one in listed:
        _public_key(one)


def _public_key(one: Any) -> ECKey | RSAKey | OKPKey:
    kind = _KINDS.get(str(one.get("kty"))) if isinstance(one, dict) else None
    if kind is None:
        raise ValueError("a key is of type EC, OKP or RSA (RFC 7518 section 6)")
    if not _PRIVATE.isdisjoint(one):
        raise ValueError("that is a private key: keep it, make another one, and hand in its public half")
    try:
        key = kind.import_key(one)
    except (JoseError, ValueError, TypeError, KeyError) as fault:
        raise ValueError("a key of the JWK Set cannot be read") from fault
    if isinstance(key, RSAKey) and key.public_key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key has {MIN_RSA_BITS} bits at least")
    return key


def read_assertion(text: str, keys: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The claims of a token that one of these keys signed, and that key's thumbprint. Raises Unauthenticated."""
    wrong = Unauthenticated("the assertion is not signed by a key of this client")
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise wrong
    for one in keys["keys"]:
        try:
            key = _public_key(one)
            token = jwt.decode(text, key, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError, TypeError):
            continue
        return dict(token.claims), key.thumbprint()
    raise wrong


def read_proof(text: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header, claims and key thumbprint of a token signed by the key in its own header (RFC 9449 section 4.2).

    Raises Unauthenticated.
    """
    wrong = Unauthenticated("the DPoP proof is not valid")
    if len(text) > MAX_TOKEN_CHARACTERS or not text.isascii():
        raise wrong
    try:
        header = jws.extract_compact(text.encode()).headers()
        key = _public_key(header.get("jwk"))
        token = jwt.decode(text, key, algorithms=list(ALGORITHMS))
    except (JoseError, ValueError, TypeError) as fault:
        raise wrong from fault
    return dict(token.header), dict(token.claims), key.thumbprint()


def certificate_thumbprint(der: bytes) -> str:
    """x5t#S256 (RFC 8705 section 3.1)."""
    return base64url(hashlib.sha256(der).digest())
