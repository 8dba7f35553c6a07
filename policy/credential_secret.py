"""Secrets of credentials: made here, and kept in the form in which they are needed."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from policy.accesskey import new_access_key
from policy.credential import AuthenticationMethod, SecretForm, StoredSecret
from policy.sealing import Sealing, Secret

SECRET_BYTES = 32

_SECRETLESS = frozenset({AuthenticationMethod.NONE, AuthenticationMethod.CERTIFICATE, AuthenticationMethod.MANUAL})
"""Methods for which there is nothing to keep."""

_SEALED = frozenset({AuthenticationMethod.EAB, AuthenticationMethod.SHARED_SECRET})
"""Methods whose secret the server computes with, so that it is sealed and not hashed."""


def has_secret(method: AuthenticationMethod, options: Mapping[str, Any]) -> bool:
    """Whether a credential like this has a secret that the server makes; others show a certificate or sign."""
    if method is AuthenticationMethod.OAUTH:
        return str(options.get("client_authentication", "client_secret")) == "client_secret"
    return method not in _SECRETLESS


def new_secret(method: AuthenticationMethod, environment: str, identifier: str) -> str:
    """A new secret of 256 bits, as its client takes it: an access key, or base64url without padding.

    It never begins with a hyphen: a command line takes that for an option (certbot 2.1, `--eab-hmac-key -x…`).
    """
    if method is AuthenticationMethod.ACCESS_KEY:
        return new_access_key(environment, identifier)
    while True:
        secret = urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
        if not secret.startswith("-"):
            return secret


def keep(
    sealing: Sealing, credential: str, method: AuthenticationMethod, secret: str, now: datetime, ends: datetime | None
) -> StoredSecret:
    """A secret as it is kept: sealed for this credential where the server computes with it, else hashed."""
    if method in _SEALED:
        # ACME computes with the decoded key (RFC 8555 section 7.3.4), CMP with the text that people type.
        key = _decode(secret) if method is AuthenticationMethod.EAB else secret.encode()
        return StoredSecret(SecretForm.SEALED, sealing.seal(Secret(key), credential), now, ends)
    return StoredSecret(SecretForm.HMAC, sealing.hash(Secret(secret.encode())), now, ends)


def _decode(secret: str) -> bytes:
    return urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
