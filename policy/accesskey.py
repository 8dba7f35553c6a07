"""The text of an access key: "cg_<environment>_<identifier>_<secret><checksum>".

The prefix and the checksum let scanners find a key that leaked into a repository, and let a mistyped one be refused
without a look into the store. The secret has 256 bits, so that a peppered hash of the whole text is all that is kept.
"""

from __future__ import annotations

import re
import secrets
import zlib

from policy.problems import Unauthenticated
from policy.sealing import Secret

PREFIX = "cg"
IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
"""What a key's holder may be called: no underscore, which parts the key, and nothing that a URL or header encodes."""
ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}")

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES = 32
_SECRET_LENGTH = 43
"""Base-62 digits of 256 bits."""
_CHECKSUM_LENGTH = 6
"""Base-62 digits of 32 bits."""
_FORM = re.compile(
    rf"{PREFIX}_[a-z0-9]{{1,16}}_(?P<identifier>[A-Za-z0-9.-]{{1,64}})_"
    rf"[0-9A-Za-z]{{{_SECRET_LENGTH}}}(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)


def new_access_key(environment: str, identifier: str) -> str:
    """A new key of the credential with this identifier."""
    secret = _base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _SECRET_LENGTH)
    text = f"{PREFIX}_{environment}_{identifier}_{secret}"
    return text + _checksum(text)


def read_access_key(text: str) -> tuple[str, Secret]:
    """The identifier of a key and the whole key as a secret. Raises Unauthenticated for what cannot be one."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[:-_CHECKSUM_LENGTH]) != found["checksum"]:
        raise Unauthenticated("the access key is not valid")
    return found["identifier"], Secret(text.encode())


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
