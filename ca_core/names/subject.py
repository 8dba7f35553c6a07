"""Subject names (RFC 5280 section 4.1.2.4): read, write, and show as text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core import der, oids
from ca_core.names.identifiers import CONTROL, shown
from ca_core.problems import BadCSR

Subject = tuple[tuple[str, str], ...]
"""A subject name: pairs of attribute (short name of the table below, or dotted OID) and value, in DER order.

Attributes of one multi-valued relative distinguished name become pairs like all others: this server writes
one attribute per RDN.
"""


@dataclass(frozen=True, slots=True)
class _Attribute:
    """One attribute type: which string it takes and its longest value (RFC 5280 appendix A.1, X.520)."""

    name: str
    oid: str
    longest: int
    tag: int = 0x0C  # UTF8String; 0x13 PrintableString, 0x16 IA5String


_PRINTABLE, _IA5, _UTF8 = 0x13, 0x16, 0x0C
_ATTRIBUTES = (
    _Attribute("CN", "2.5.4.3", 64),
    _Attribute("SN", "2.5.4.4", 32768),
    _Attribute("serialNumber", "2.5.4.5", 64, _PRINTABLE),
    _Attribute("C", "2.5.4.6", 2, _PRINTABLE),
    _Attribute("L", "2.5.4.7", 128),
    _Attribute("ST", "2.5.4.8", 128),
    _Attribute("STREET", "2.5.4.9", 128),
    _Attribute("O", "2.5.4.10", 64),
    _Attribute("OU", "2.5.4.11", 64),
    _Attribute("title", "2.5.4.12", 64),
    _Attribute("businessCategory", "2.5.4.15", 128),
    _Attribute("postalCode", "2.5.4.17", 40),
    _Attribute("name", "2.5.4.41", 32768),
    _Attribute("givenName", "2.5.4.42", 32768),
    _Attribute("initials", "2.5.4.43", 32768),
    _Attribute("generationQualifier", "2.5.4.44", 32768),
    _Attribute("dnQualifier", "2.5.4.46", 128, _PRINTABLE),
    _Attribute("pseudonym", "2.5.4.65", 128),
    _Attribute("organizationIdentifier", "2.5.4.97", 256),
    _Attribute("UID", "0.9.2342.19200300.100.1.1", 256),
    _Attribute("DC", "0.9.2342.19200300.100.1.25", 63, _IA5),
    _Attribute("emailAddress", "1.2.840.113549.1.9.1", 255, _IA5),
    _Attribute("unstructuredName", oids.UNSTRUCTURED_NAME, 255),
    _Attribute("unstructuredAddress", oids.UNSTRUCTURED_ADDRESS, 255),
)
_BY_NAME = {attribute.name: attribute for attribute in _ATTRIBUTES}
_SHORT_NAMES = {x509.ObjectIdentifier(attribute.oid): attribute.name for attribute in _ATTRIBUTES}
_OID_DER = {row.name: der.object_identifier(row.oid) for row in _ATTRIBUTES}
_SHORT_NAMES_BY_DER = {encoded: name for name, encoded in _OID_DER.items()}
_PLAIN_DECODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}
_NOT_PRINTABLE = re.compile(r"[^A-Za-z0-9 '()+,./:=?-]")  # X.680 section 41.4
_DOTTED = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,32}")
# The strings of DirectoryString (RFC 5280 section 4.1.2.4) and IA5String. T61 text is Latin-1 in practice.
_DECODINGS = {
    b"\x0c": "utf-8",
    b"\x13": "ascii",
    b"\x16": "ascii",
    b"\x12": "ascii",
    b"\x14": "latin-1",
    b"\x1e": "utf-16-be",
    b"\x1c": "utf-32-be",
}
_MAX_ATTRIBUTE = 32768  # ub-name, the largest of RFC 5280 appendix A.1


@asn1.sequence
class _TypeAndValue:
    type: x509.ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _NameBox:
    name: list[asn1.SetOf[_TypeAndValue]]


def read_subject(name: x509.Name | bytes) -> Subject:
    """Read a Name (or its DER). Raises BadCSR for a value that is no text or has control characters.

    Raises ValueError when the bytes are no Name. Lengths are left alone: `write_subject` refuses long ones.
    """
    encoded = name if isinstance(name, bytes) else name.public_bytes()
    plain = _read_plain_subject(encoded)
    if plain is not None:
        return plain
    return tuple(
        [
            _read_attribute(pair)
            for rdn in asn1.decode_der(_NameBox, der.tlv(0x30, encoded)).name
            for pair in rdn.as_list()
        ]
    )


def _read_plain_subject(encoded: bytes) -> Subject | None:
    """The short way for what nearly all are: one known attribute per RDN, short, in UTF-8 or ASCII."""
    try:
        offset, last = der.read_tlv(encoded, 0, der.SEQUENCE)
        pairs = []
        while offset < last:
            size, oid_size = encoded[offset + 1], encoded[offset + 5]
            tag_at = offset + 6 + oid_size
            end = offset + 2 + size
            name = _SHORT_NAMES_BY_DER.get(encoded[offset + 4 : tag_at])
            value = encoded[tag_at + 2 : end].decode(_PLAIN_DECODINGS.get(encoded[tag_at], "undefined"))
            lengths = (size < 0x80, encoded[offset + 3] == size - 2, encoded[tag_at + 1] == end - tag_at - 2)
            tags = (encoded[offset], encoded[offset + 2], encoded[offset + 4])
            if name is None or tags != (0x31, 0x30, 0x06) or not all(lengths) or CONTROL.search(value):
                return None
            pairs.append((name, value))
            offset = end
    except (ValueError, IndexError):
        return None
    return tuple(pairs) if offset == last == len(encoded) else None


def _read_attribute(pair: _TypeAndValue) -> tuple[str, str]:
    name = _SHORT_NAMES.get(pair.type) or pair.type.dotted_string
    decoding = _DECODINGS.get(pair.value.tag_bytes)
    if decoding is None:
        raise BadCSR(f"the subject attribute {name} is not a character string")
    try:
        value = str(pair.value.data, decoding)
    except UnicodeDecodeError as exc:
        raise BadCSR(f"the subject attribute {name} is not valid {decoding} text") from exc
    if CONTROL.search(value):
        raise BadCSR(f'the subject attribute {name} "{shown(value)}" has control characters')
    return name, value


def write_subject(subject: Subject) -> bytes:
    """The DER of a Name, one attribute per RDN (RFC 5280 section 4.1.2.4). Raises BadCSR."""
    return der.tlv(0x30, b"".join([_write_attribute(name, value) for name, value in subject]))


def _write_attribute(name: str, value: str) -> bytes:
    attribute = _BY_NAME.get(name)
    if attribute is not None:
        oid, tag, longest = _OID_DER[name], attribute.tag, attribute.longest
    elif _DOTTED.fullmatch(name):
        oid, tag, longest = _encode_oid(name), _UTF8, _MAX_ATTRIBUTE
    else:
        raise BadCSR(f'"{shown(name)}" is not a subject attribute; known are {", ".join(_BY_NAME)} and dotted OIDs')
    if not value:
        raise BadCSR(f"the subject attribute {name} is empty")
    if len(value) > longest:
        raise BadCSR(f'the subject attribute {name} "{shown(value)}" is longer than {longest} characters')
    if CONTROL.search(value):
        raise BadCSR(f'the subject attribute {name} "{shown(value)}" has control characters')
    if tag == _PRINTABLE and _NOT_PRINTABLE.search(value):
        raise BadCSR(f'the subject attribute {name} "{shown(value)}" is not a PrintableString')
    if name == "C" and not (len(value) == 2 and value.isalpha() and value.isupper()):
        raise BadCSR(f'the subject attribute C "{value}" is not a country code of two capital letters (ISO 3166)')
    try:
        content = value.encode("ascii" if tag == _IA5 else "utf-8")
    except UnicodeEncodeError as exc:
        raise BadCSR(f'the subject attribute {name} "{shown(value)}" has characters that it does not allow') from exc
    return der.tlv(0x31, der.tlv(0x30, oid + der.tlv(tag, content)))


def _encode_oid(dotted: str) -> bytes:
    try:
        return der.object_identifier(dotted)
    except ValueError as exc:
        raise BadCSR(f'"{dotted}" is not an object identifier') from exc


_SPECIAL = re.compile(r'([,+"\\<>;=])')


def subject_text(subject: Subject) -> str:
    """The subject as RFC 4514 writes it: last attribute first, escaped, unknown ones in hex."""
    return ",".join(
        f"{name}={_escaped(value) if name in _BY_NAME else '#' + der.tlv(_UTF8, value.encode()).hex()}"
        for name, value in reversed(subject)
    )


def _escaped(value: str) -> str:
    text = _SPECIAL.sub(r"\\\1", value).replace("\0", r"\00")
    if text.startswith((" ", "#")):
        text = "\\" + text
    if len(value) > 1 and text.endswith(" "):
        text = text[:-1] + "\\ "
    return text


def common_names(subject: Subject) -> tuple[str, ...]:
    """All common names: what must be compared with the identifiers of an order."""
    return tuple([value for name, value in subject if name == "CN"])


def common_name(subject: Subject) -> str | None:
    """The most specific common name, which is the last (RFC 4514 section 2.1 reads names from the end)."""
    found = common_names(subject)
    return found[-1] if found else None
