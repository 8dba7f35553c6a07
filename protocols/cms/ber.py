"""BER in, DER out, within limits: for the clients that send CMS as BER (RFC 5652 section 2, X.690).

BouncyCastle (jscep) writes indefinite lengths, old micromdm the encrypted content in pieces. Neither changes what is
said, so both are rewritten: lengths become definite and shortest, the pieces of a constructed OCTET STRING become one.
Everything else stays as it came, also what DER would forbid: the decoder behind this module is strict. Sets are not
sorted, since a signature may be over their bytes as they were sent.
"""

from __future__ import annotations

from typing import NamedTuple

from ca_core.der import OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, tlv
from policy.problems import Malformed, TooLarge

MAX_BYTES = 64 * 1024
"""The largest message that is looked at. A PKCSReq with RSA-4096 and a chain has less than 12 KiB."""
MAX_DEPTH = 24
"""How deep elements may stand in each other. A SignedData with a certificate full of extensions has 14 levels."""

_CONSTRUCTED = 0x20
_CONTEXT_0 = 0x80


class _Element(NamedTuple):
    """One element: identifier octet, where its content starts and ends, and where the next element begins."""

    tag: int
    start: int
    end: int | None
    """None for an indefinite length: the content ends with the end-of-contents octets."""
    after: int


def to_der(data: bytes) -> bytes:
    """The one element that `data` is, with definite lengths and whole octet strings.

    Raises TooLarge above MAX_BYTES, and Malformed for what is no BER, deeper than MAX_DEPTH or has tag numbers above
    30, which CMS does not use. What is DER already comes back as it is.
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the message has {len(data)} bytes; the limit is {MAX_BYTES}")
    written, end = _rewrite(data, 0, len(data), 0)
    if end != len(data):
        raise Malformed("there are octets after the end of the message")
    return written


def _rewrite(data: bytes, offset: int, limit: int, depth: int) -> tuple[bytes, int]:
    """The element at an offset, rewritten, and the offset behind it."""
    if depth > MAX_DEPTH:
        raise Malformed(f"the message has elements in elements, more than {MAX_DEPTH} deep")
    one = _header(data, offset, limit)
    if not one.tag & _CONSTRUCTED:
        return tlv(one.tag, data[one.start : one.after]), one.after
    parts, after = _contents(data, one, limit, depth)
    if one.tag == OCTET_STRING | _CONSTRUCTED:
        return tlv(OCTET_STRING, _joined(parts)), after
    if one.tag == SEQUENCE and _is_encrypted_content(parts):
        parts[2] = tlv(_CONTEXT_0, _joined([*_pieces(parts[2])]))
    return tlv(one.tag, b"".join(parts)), after


def _header(data: bytes, offset: int, limit: int) -> _Element:
    if limit < offset + 2:
        raise Malformed("the message ends in the middle of an element")
    tag, size, start = data[offset], data[offset + 1], offset + 2
    if tag & 0x1F == 0x1F:
        raise Malformed("the message has an element with a tag number above 30")
    if size == 0x80:
        if not tag & _CONSTRUCTED:
            raise Malformed("a primitive element has an indefinite length (X.690 section 8.1.3.2)")
        return _Element(tag, start, None, start)
    if size > 0x80:
        octets = size & 0x7F
        size = int.from_bytes(data[start : start + octets], "big")
        start += octets
    if start + size > limit:
        raise Malformed("an element is longer than what it stands in")
    return _Element(tag, start, start + size, start + size)


def _contents(data: bytes, one: _Element, limit: int, depth: int) -> tuple[list[bytes], int]:
    """The rewritten elements inside a constructed one, and the offset behind it."""
    parts: list[bytes] = []
    offset = one.start
    inner = limit if one.end is None else one.end
    while offset < inner:
        if one.end is None and data[offset : offset + 2] == b"\x00\x00":
            return parts, offset + 2
        written, offset = _rewrite(data, offset, inner, depth + 1)
        parts.append(written)
    if one.end is None:
        raise Malformed("an element of indefinite length has no end (X.690 section 8.1.5)")
    return parts, one.after


def _is_encrypted_content(parts: list[bytes]) -> bool:
    """Whether these make an EncryptedContentInfo whose content came in pieces (RFC 5652 section 6.1).

    contentType, contentEncryptionAlgorithm and [0] IMPLICIT OCTET STRING: no other structure of CMS has a constructed
    [0] in this place.
    """
    tags = bytes(one[0] for one in parts)
    return tags == bytes((OBJECT_IDENTIFIER, SEQUENCE, _CONTEXT_0 | _CONSTRUCTED))


def _pieces(constructed: bytes) -> list[bytes]:
    """The elements inside one that was rewritten before: its lengths are right."""
    found: list[bytes] = []
    one = _header(constructed, 0, len(constructed))
    offset = one.start
    while offset < one.after:
        piece = _header(constructed, offset, one.after)
        found.append(constructed[offset : piece.after])
        offset = piece.after
    return found


def _joined(pieces: list[bytes]) -> bytes:
    """The octets of the pieces of a constructed OCTET STRING (X.690 section 8.7.3)."""
    if any(piece[0] != OCTET_STRING for piece in pieces):
        raise Malformed("an OCTET STRING in pieces has a piece that is none (X.690 section 8.7.3)")
    return b"".join(piece[_header(piece, 0, len(piece)).start :] for piece in pieces)
