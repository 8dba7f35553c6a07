"""DER, the few lines of it that splicing pre-encoded structures needs (ITU-T X.690).

Writers return bytes; the reader finds the borders of one element and refuses what is not DER. Whole
structures are read with `cryptography`; nothing here knows a type of X.509.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

BOOLEAN_TRUE = b"\x01\x01\xff"
NULL = b"\x05\x00"

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30


class Element(NamedTuple):
    """Where the content of an element starts, and where the element ends."""

    start: int
    end: int


def tlv(tag: int, content: bytes) -> bytes:
    """One element with a definite length; `tag` is the whole identifier octet."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    if size < 0x10000:
        return bytes((tag, 0x82, size >> 8, size & 0xFF)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE (or SEQUENCE OF) of elements that are already encoded."""
    return tlv(SEQUENCE, b"".join(parts))


def integer(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER, or ENUMERATED with its tag; two's complement in the fewest octets."""
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return tlv(tag, value.to_bytes(size, "big", signed=True))


def bit_string(octets: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\x00" + octets)


def octet_string(octets: bytes) -> bytes:
    """An OCTET STRING."""
    return tlv(OCTET_STRING, octets)


@lru_cache(1024)
def object_identifier(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form. Raises ValueError when that is not one."""
    arcs = [int(arc) for arc in dotted.split(".")]
    if len(arcs) < 2 or min(arcs) < 0 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise ValueError(f'"{dotted}" is not an object identifier')
    content = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        content += bytes(reversed(groups))
    return tlv(OBJECT_IDENTIFIER, bytes(content))


def generalized_time(at: datetime) -> bytes:
    """GeneralizedTime in UTC without fractions (RFC 5280 section 4.1.2.5.2)."""
    return b"\x18\x0f" + (b"%04d%02d%02d%02d%02d%02dZ" % (at.year, at.month, at.day, at.hour, at.minute, at.second))


def time(at: datetime) -> bytes:
    """Time of X.509: UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5)."""
    if at.year >= 2050:
        return generalized_time(at)
    return b"\x17\x0d" + (
        b"%02d%02d%02d%02d%02d%02dZ" % (at.year % 100, at.month, at.day, at.hour, at.minute, at.second)
    )


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """An Extension around a value that is already DER (RFC 5280 section 4.1)."""
    mark = BOOLEAN_TRUE if critical else b""
    return sequence(object_identifier(dotted), mark, octet_string(value))


def read_tlv(data: bytes, offset: int, tag: int | None = None) -> Element:
    """Find the borders of the element at an offset; `tag` says what it has to be.

    Raises ValueError when it is another one, or not DER.
    """
    if len(data) < offset + 2 or (tag is not None and data[offset] != tag):
        raise ValueError(f"not the element that is expected at offset {offset}")
    size, start = data[offset + 1], offset + 2
    if size >= 0x80:
        octets = size & 0x7F
        size = int.from_bytes(data[start : start + octets], "big")
        start += octets
        if octets == 0 or octets > 4 or size < 0x80 or size < 1 << 8 * (octets - 1):
            raise ValueError(f"the length at offset {offset} is not in its shortest form")
    if start + size > len(data):
        raise ValueError(f"the element at offset {offset} is longer than the data")
    return Element(start, start + size)


def elements(data: bytes, tag: int | None = SEQUENCE) -> tuple[bytes, ...]:
    """The elements inside the one element that `data` is, each with its header; `tag` is its own, None for any.

    Raises ValueError when they do not fill it.
    """
    offset, last = read_tlv(data, 0, tag)
    if last != len(data):
        raise ValueError("there are octets after the end")
    found: list[bytes] = []
    while offset < last:
        # Short lengths are nearly all there are; anything else is read with all care.
        size = data[offset + 1] if offset + 1 < last else 0x80
        end = offset + 2 + size if size < 0x80 else read_tlv(data, offset).end
        if end > last:
            raise ValueError(f"the element at offset {offset} is longer than what it is in")
        found.append(data[offset:end])
        offset = end
    return tuple(found)
