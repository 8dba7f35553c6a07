"""The template of a certification request that CSR attributes may hold (RFC 9908 section 3.4).

    CertificationRequestInfoTemplate ::= SEQUENCE {
        version       INTEGER { v1(0) },
        subject       NameTemplate OPTIONAL,
        subjectPKInfo [0] SubjectPublicKeyInfoTemplate OPTIONAL,
        attributes    [1] Attributes }

What has no value in it the client fills in. Written here for products, read for what an operator wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from ca_core import der, oids

_SET = 0x31
_KEY = 0xA0
_ATTRIBUTES = 0xA1


@dataclass(frozen=True, slots=True)
class ExtensionTemplate:
    """An extension that the request should ask for; `value` is the content of its OCTET STRING, if it is fixed."""

    oid: str
    critical: bool = False
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """What a request should look like.

    `subject`: attribute types (dotted), each with its value in DER if that is fixed. `algorithm`: the DER of an
    AlgorithmIdentifier, `rsa_bits` the size of an RSA modulus. `attributes`: further attribute types, dotted.
    """

    subject: tuple[tuple[str, bytes | None], ...] = ()
    algorithm: bytes = b""
    rsa_bits: int = 0
    extensions: tuple[ExtensionTemplate, ...] = ()
    attributes: tuple[str, ...] = ()


def write_template(template: Template) -> bytes:
    """The DER of a CertificationRequestInfoTemplate. Does not write `attributes`, for which no product has a use."""
    parts = [der.integer(0)]
    if template.subject:
        parts.append(
            der.sequence(
                *(
                    der.tlv(_SET, der.sequence(der.object_identifier(oid), value or b""))
                    for oid, value in template.subject
                )
            )
        )
    if template.algorithm:
        key = der.bit_string(_placeholder(template.rsa_bits)) if template.rsa_bits else b""
        parts.append(der.tlv(_KEY, template.algorithm + key))
    parts.append(der.tlv(_ATTRIBUTES, _extension_request(template.extensions)))
    return der.sequence(*parts)


def _placeholder(bits: int) -> bytes:
    """An RSAPublicKey that says nothing but the length of its modulus."""
    return der.sequence(der.integer(1 << (bits - 1)), der.integer(65537))


def _extension_request(extensions: tuple[ExtensionTemplate, ...]) -> bytes:
    """extensionReq where every value is there, else the template of one: never both (RFC 9908 section 3.4)."""
    if not extensions:
        return b""
    whole = all(one.value is not None for one in extensions)
    oid = oids.EXTENSION_REQUEST if whole else oids.EXTENSION_REQUEST_TEMPLATE
    items = [
        der.sequence(
            der.object_identifier(one.oid),
            der.BOOLEAN_TRUE if one.critical else b"",
            der.octet_string(one.value) if one.value is not None else b"",
        )
        for one in extensions
    ]
    return der.sequence(der.object_identifier(oid), der.tlv(_SET, der.sequence(*items)))


def read_template(encoded: bytes) -> Template:
    """Read a template. Raises ValueError. Does not check that values fit their types."""
    version, *parts = der.elements(encoded)
    if version != der.integer(0):
        raise ValueError("the template has another version than 1")
    subject: tuple[tuple[str, bytes | None], ...] = ()
    algorithm, rsa_bits = b"", 0
    if parts and parts[0][0] == der.SEQUENCE:
        subject = tuple(_read_pair(pair) for name in der.elements(parts.pop(0)) for pair in der.elements(name, _SET))
    if parts and parts[0][0] == _KEY:
        algorithm, *key = der.elements(parts.pop(0), _KEY)
        rsa_bits = _read_bits(key[0]) if key else 0
    if len(parts) != 1:
        raise ValueError("the template has no attributes, or something after them")
    extensions: list[ExtensionTemplate] = []
    attributes: list[str] = []
    for attribute in der.elements(parts[0], _ATTRIBUTES):
        oid, values = _read_pair(attribute)
        if oid in (oids.EXTENSION_REQUEST, oids.EXTENSION_REQUEST_TEMPLATE):
            extensions += [one for value in der.elements(values or b"", _SET) for one in read_extensions(value)]
        else:
            attributes.append(oid)
    return Template(subject, algorithm, rsa_bits, tuple(extensions), tuple(attributes))


def read_extensions(encoded: bytes) -> tuple[ExtensionTemplate, ...]:
    """Extensions, or a template of them. Raises ValueError."""
    found: list[ExtensionTemplate] = []
    for item in der.elements(encoded):
        oid, *rest = der.elements(item)
        critical = bool(rest) and rest[0] == der.BOOLEAN_TRUE
        rest = rest[critical:]
        value = rest[0][der.read_tlv(rest[0], 0, der.OCTET_STRING).start :] if rest else None
        found.append(ExtensionTemplate(read_oid(oid), critical, value))
    return tuple(found)


def _read_pair(encoded: bytes) -> tuple[str, bytes | None]:
    oid, *value = der.elements(encoded)
    if len(value) > 1:
        raise ValueError("an attribute of a template has a type and one value at most")
    return read_oid(oid), value[0] if value else None


def _read_bits(bit_string: bytes) -> int:
    element = der.read_tlv(bit_string, 0, der.BIT_STRING)
    modulus = der.elements(bit_string[element.start + 1 : element.end])[0]
    number = der.read_tlv(modulus, 0, der.INTEGER)
    return int.from_bytes(modulus[number.start : number.end], "big").bit_length()


def read_oid(encoded: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER. Raises ValueError."""
    element = der.read_tlv(encoded, 0, der.OBJECT_IDENTIFIER)
    arcs: list[int] = []
    arc = 0
    for octet in encoded[element.start : element.end]:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    if not arcs:
        raise ValueError("an object identifier without arcs")
    first = min(arcs[0] // 40, 2)
    return ".".join(str(one) for one in (first, arcs[0] - 40 * first, *arcs[1:]))
