"""Keys derived from the master key; sealing, opening, and peppered hashes of secrets.

The master key is 32 random bytes in a file of its own, outside the store and its backups, so
a copy of the store alone gives no secret away. Each purpose has its own key (HKDF, RFC 5869).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MASTER_KEY_BYTES = 32


class Secret:
    """A secret text or byte string. Its repr and str hide it; `reveal()` is the one, searchable way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself: for the one computation that needs it, never for a log, error or URL."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class SealBroken(ValueError):
    """What was to be opened was not sealed with this key and context."""


class Sealing:
    """Everything that depends on the master key."""

    def __init__(self, master_key: bytes) -> None:
        """`master_key`: 32 bytes. Raises ValueError for any other length."""
        if len(master_key) != MASTER_KEY_BYTES:
            raise ValueError(f"the master key has {len(master_key)} bytes, not {MASTER_KEY_BYTES}")
        self._master = master_key
        self._peppered = hmac.new(self.key("pepper"), digestmod=hashlib.sha256)
        self._seal = AESGCM(self.key("sealing"))

    def key(self, purpose: str, salt: bytes = b"") -> bytes:
        """32 bytes for one purpose ("nonce", "cursor", "keystore"); another `salt` gives another key."""
        info = b"certgate/" + purpose.encode() + b"/" + salt
        return HKDFExpand(hashes.SHA256(), 32, info).derive(self._master)

    def hash(self, secret: Secret) -> bytes:
        """HMAC-SHA-256 under the pepper: for secrets of ≥ 128 random bits, where a slow hash gains nothing."""
        # A copy saves setting up the key, which takes longer than the hash.
        mac = self._peppered.copy()
        mac.update(secret.reveal())
        return mac.digest()

    def seal(self, secret: Secret, context: str) -> bytes:
        """The secret encrypted (AES-256-GCM), bound to a context such as the credential's identifier."""
        nonce = secrets.token_bytes(12)
        return nonce + self._seal.encrypt(nonce, secret.reveal(), context.encode())

    def open(self, sealed: bytes, context: str) -> Secret:
        """What was sealed for this context. Raises SealBroken."""
        try:
            return Secret(self._seal.decrypt(sealed[:12], sealed[12:], context.encode()))
        except (InvalidTag, ValueError) as fault:
            raise SealBroken(f"cannot open what is sealed for {context}") from fault


def fingerprint(data: bytes) -> str:
    """SHA-256 in hex: how certificates, keys and secrets are named in audit and lists."""
    return hashlib.sha256(data).hexdigest()
