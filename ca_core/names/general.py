"""General names (RFC 5280 section 4.2.1.6): identifiers in DER, out of requests and into certificates."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core import der, oids
from ca_core.names.identifiers import PLAIN_HOST, Identifier, IdentifierType, read_identifier, shown
from ca_core.problems import RejectedIdentifier


@asn1.sequence
class _Box:
    """A SEQUENCE OF can only be decoded inside something; another header puts it there."""

    items: list[asn1.TLV]


@asn1.sequence
class _OtherName:
    type: x509.ObjectIdentifier
    value: Annotated[asn1.TLV, asn1.Explicit(0)]


@asn1.sequence
class _PermanentIdentifier:
    """RFC 4043 section 2."""

    value: str | None
    assigner: x509.ObjectIdentifier | None


def _other_name(oid: str, value: bytes) -> bytes:
    return der.tlv(0xA0, der.object_identifier(oid) + der.tlv(0xA0, value))


_NAME_WRITERS: dict[IdentifierType, Callable[[str], bytes]] = {
    IdentifierType.DNS: lambda value: der.tlv(0x82, value.encode("ascii")),
    IdentifierType.IP: lambda value: der.tlv(0x87, ipaddress.ip_address(value).packed),
    IdentifierType.EMAIL: lambda value: der.tlv(0x81, value.encode("ascii")),
    IdentifierType.URI: lambda value: der.tlv(0x86, value.encode("ascii")),
    IdentifierType.UPN: lambda value: _other_name(oids.UPN, der.tlv(0x0C, value.encode())),
    IdentifierType.PERMANENT: lambda value: _other_name(
        oids.PERMANENT_IDENTIFIER, der.tlv(0x30, der.tlv(0x0C, value.encode()))
    ),
}


def write_general_names(names: tuple[Identifier, ...]) -> bytes:
    """The DER of a GeneralNames, in the order given: the value of a subjectAltName extension."""
    return der.tlv(0x30, b"".join([_NAME_WRITERS[name.type](name.value) for name in names]))


def read_general_names(
    names: x509.SubjectAlternativeName | bytes,
) -> tuple[tuple[Identifier, ...], tuple[str, ...]]:
    """Read a GeneralNames: the identifiers, and descriptions of the names that are no identifier of ours.

    Whoever lets a request in must refuse the second part, not pass over it. Raises ValueError when the DER
    cannot be read, RejectedIdentifier (with one subproblem each, if several) when a value is not acceptable.
    """
    encoded = names if isinstance(names, bytes) else names.public_bytes()
    plain = _read_plain_names(encoded)
    if plain is not None:
        return plain, ()
    known: list[Identifier] = []
    unknown: list[str] = []
    wrong: list[RejectedIdentifier] = []
    for item in asn1.decode_der(_Box, der.tlv(0x30, encoded)).items:
        try:
            name = _read_general_name(item.tag_bytes, item)
        except RejectedIdentifier as problem:
            wrong.append(problem)
            continue
        if isinstance(name, Identifier):
            known.append(name)
        else:
            unknown.append(name)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise RejectedIdentifier("; ".join(problem.detail for problem in wrong[:10]), subproblems=tuple(wrong))
    return tuple(known), tuple(unknown)


def _read_plain_names(encoded: bytes) -> tuple[Identifier, ...] | None:
    """The short way for what nearly all have: dNSNames in normal form. The rest goes the long way."""
    try:
        offset, last = der.read_tlv(encoded, 0, der.SEQUENCE)
        names = []
        while offset < last:
            size = encoded[offset + 1]
            end = offset + 2 + size
            value = encoded[offset + 2 : end].decode("ascii")
            if encoded[offset] != 0x82 or size >= 0x80 or len(value) != size or not PLAIN_HOST.fullmatch(value):
                return None
            names.append(Identifier(IdentifierType.DNS, value))
            offset = end
    except (ValueError, IndexError):
        return None
    return tuple(names) if offset == last == len(encoded) else None


_IA5_NAMES = {b"\x81": IdentifierType.EMAIL, b"\x82": IdentifierType.DNS, b"\x86": IdentifierType.URI}
_UNKNOWN_NAMES = {
    b"\xa3": "x400Address",
    b"\xa4": "directoryName",
    b"\xa5": "ediPartyName",
    b"\x88": "registeredID",
}


def _read_general_name(tag: bytes, item: asn1.TLV) -> Identifier | str:
    """One GeneralName; a description where it is none of our identifiers."""
    kind = _IA5_NAMES.get(tag)
    if kind is not None:
        return read_identifier(kind, _ia5_text(kind, item.data))
    if tag == b"\x87":
        return _read_packed_address(bytes(item.data))
    if tag == b"\xa0":
        return _read_other_name(asn1.decode_der(_OtherName, der.tlv(0x30, bytes(item.data))))
    if tag in _UNKNOWN_NAMES:
        return _UNKNOWN_NAMES[tag]
    raise ValueError("not a GeneralName")


def _ia5_text(kind: IdentifierType, octets: memoryview) -> str:
    try:
        return str(octets, "ascii")
    except UnicodeDecodeError as exc:
        text = shown(str(octets, "latin-1"))
        raise RejectedIdentifier(f'{kind} name "{text}" has octets beyond ASCII (IA5String)') from exc


def _read_packed_address(packed: bytes) -> Identifier:
    if len(packed) not in (4, 16):
        raise RejectedIdentifier(f"an iPAddress of {len(packed)} octets is neither IPv4 (4) nor IPv6 (16)")
    return read_identifier(IdentifierType.IP, str(ipaddress.ip_address(packed)))


def _read_other_name(other: _OtherName) -> Identifier | str:
    oid = other.type.dotted_string
    if oid == oids.UPN and other.value.tag_bytes == b"\x0c":
        return read_identifier(IdentifierType.UPN, bytes(other.value.data).decode())
    if oid == oids.PERMANENT_IDENTIFIER:
        identifier = other.value.parse(_PermanentIdentifier)
        if identifier.value is not None and identifier.assigner is None:
            return read_identifier(IdentifierType.PERMANENT, identifier.value)
    return f"otherName {oid}"
