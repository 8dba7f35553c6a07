"""Anti-replay nonces (RFC 8555 section 6.5): numbers under a seal. Redeeming a number is `ReplayGuard`'s.

A nonce is a number given out by the guard, encrypted with AES-SIV (RFC 5297): 24 octets, 32 characters. SIV
needs no random input, hides how many requests there were, and its 128-bit tag makes a nonce that was not
given out unguessable. The key is new at each opening of the store, and with it every older nonce is unknown.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from policy.problems import Malformed, Replayed
from protocols import base64url

_PURPOSE = [b"acme nonce"]
_NUMBER_BYTES = 8
_TAG_BYTES = 16


class NonceSeal:
    """Seals numbers into nonces and opens them again."""

    def __init__(self, key: bytes, number: Callable[[], int]) -> None:
        """`key`: 32 octets. `number` gives a number never given before under this key."""
        self._cipher = AESSIV(key)
        self._number = number

    def fresh(self) -> str:
        """A nonce that was never given out."""
        return base64url.encode(self._cipher.encrypt(self._number().to_bytes(_NUMBER_BYTES, "big"), _PURPOSE))

    def open(self, nonce: str) -> int:
        """The number in a nonce.

        Raises Malformed when it is not base64url (RFC 8555 section 6.5.2), Replayed when this server, as it
        runs now, did not make it.
        """
        try:
            sealed = base64url.decode(nonce.encode("ascii"))
        except ValueError as exc:
            raise Malformed('the "nonce" is not base64url without padding (RFC 8555 section 6.5.2)') from exc
        if len(sealed) != _TAG_BYTES + _NUMBER_BYTES:
            raise unacceptable()
        try:
            return int.from_bytes(self._cipher.decrypt(sealed, _PURPOSE), "big")
        except InvalidTag as exc:
            raise unacceptable() from exc


def unacceptable() -> Replayed:
    """The one answer for a nonce that is unknown, old or used: a client does the same with each, it tries
    again."""
    return Replayed("the nonce is unknown, too old or was used before; repeat the request with the one sent here")
