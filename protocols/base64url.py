"""Base64url as JOSE and ACME use it: strict, so that every byte string has exactly one spelling."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

# "+" and "/" belong to the other alphabet and "=" is refused (RFC 8555 section 6.1): all three become an
# octet that no base64 decoder takes.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/\xff\xff\xff")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"", b"==", b"=")
# By what the length leaves after groups of four: the last characters whose unused bits are zero (RFC 4648
# section 3.5), because else two texts would mean the same octets.
_LAST: tuple[frozenset[int], ...] = (
    frozenset(),
    frozenset(),
    frozenset(b"AQgw"),
    frozenset(b"AEIMQUYcgkosw048"),
)


def decode(text: bytes) -> bytes:
    """The octets (RFC 7515 section 2).

    Raises ValueError for padding, foreign characters, and unused bits that are not zero.
    """
    rest = len(text) & 3
    if rest:
        if text[-1] not in _LAST[rest]:
            raise ValueError("not base64url")
        return a2b_base64(text.translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
    return a2b_base64(text.translate(_TO_STANDARD), strict_mode=True)


def encode(data: bytes) -> str:
    """The text, without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")
