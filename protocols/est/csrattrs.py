"""CSR attributes (RFC 7030 section 4.5.2, RFC 8951 section 4): what the server wishes to see in a request.

The values that belong to an attribute are kept as DER, so that whatever an operator writes (such as the
templates of RFC 9908) passes through unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from asn1crypto import core

from ca_core import der, oids
from ca_core.algorithms import KEY_TYPES
from ca_core.names import write_subject
from policy.problems import Malformed
from policy.product import Product
from protocols.est.template import ExtensionTemplate, Template, read_oid, write_template


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute with the values wished for, each in DER and in the order of DER."""

    type: str
    values: tuple[bytes, ...]


CSRAttributes = tuple[str | Attribute, ...]
"""CsrAttrs: an object identifier stands for itself, anything more is an Attribute."""


class _Values(core.SetOf):  # type: ignore[misc] # asn1crypto has no types
    _child_spec = core.Any


class _Attribute(core.Sequence):  # type: ignore[misc] # asn1crypto has no types
    _fields = [("type", core.ObjectIdentifier), ("values", _Values)]  # noqa: RUF012 - asn1crypto's way to declare


class _AttrOrOID(core.Choice):  # type: ignore[misc] # asn1crypto has no types
    _alternatives = [("oid", core.ObjectIdentifier), ("attribute", _Attribute)]  # noqa: RUF012 - as above


class _CsrAttrs(core.SequenceOf):  # type: ignore[misc] # asn1crypto has no types
    _child_spec = _AttrOrOID


def write_csrattrs(attributes: CSRAttributes) -> bytes:
    """The DER of a CsrAttrs; without attributes an empty SEQUENCE, which says as much as no answer."""
    encoded: bytes = _CsrAttrs([_write(one) for one in attributes]).dump()
    return encoded


def _write(one: str | Attribute) -> _AttrOrOID:
    if isinstance(one, str):
        return _AttrOrOID("oid", core.ObjectIdentifier(one))
    values = [core.Any.load(value) for value in one.values]
    return _AttrOrOID("attribute", _Attribute({"type": one.type, "values": _Values(values)}))


def read_csrattrs(der: bytes) -> CSRAttributes:
    """Read a CsrAttrs. Raises Malformed. Does not check that values fit the type of their attribute."""
    try:
        items = _CsrAttrs.load(der, strict=True)
        return tuple(_read(item) for item in items)
    except (ValueError, TypeError, KeyError, IndexError) as exc:
        raise Malformed("these are not CSR attributes (RFC 8951 section 4)") from exc


def _read(item: Any) -> str | Attribute:
    if item.name == "oid":
        return str(item.chosen.dotted)
    chosen = item.chosen
    return Attribute(str(chosen["type"].dotted), tuple(value.dump() for value in chosen["values"]))


@dataclass(frozen=True, slots=True)
class _Wish:
    """How a key type is wished for: the algorithm, its parameter if any, and the signature to go with it."""

    algorithm: str
    signature: str
    parameter: bytes | None = None


def _identifier(oid: str) -> bytes:
    encoded: bytes = core.ObjectIdentifier(oid).dump()
    return encoded


def _size(bits: int) -> bytes:
    encoded: bytes = core.Integer(bits).dump()
    return encoded


# By name of ca_core's table of key types. An elliptic curve stands as parameter of id-ecPublicKey, as in
# the example of RFC 7030 section 4.5.2; RSA takes the size of the modulus as an INTEGER there, since its
# parameters are NULL.
_WISHES = {
    "rsa-2048": _Wish(oids.RSA_ENCRYPTION, oids.RSA_SHA256, _size(2048)),
    "rsa-3072": _Wish(oids.RSA_ENCRYPTION, oids.RSA_SHA256, _size(3072)),
    "rsa-4096": _Wish(oids.RSA_ENCRYPTION, oids.RSA_SHA256, _size(4096)),
    "ec-p256": _Wish(oids.EC_PUBLIC_KEY, oids.ECDSA_SHA256, _identifier(oids.CURVE_P256)),
    "ec-p384": _Wish(oids.EC_PUBLIC_KEY, oids.ECDSA_SHA384, _identifier(oids.CURVE_P384)),
    "ec-p521": _Wish(oids.EC_PUBLIC_KEY, oids.ECDSA_SHA512, _identifier(oids.CURVE_P521)),
    "ed25519": _Wish(oids.ED25519, oids.ED25519),
    "ed448": _Wish(oids.ED448, oids.ED448),
    "ml-dsa-44": _Wish(oids.ML_DSA_44, oids.ML_DSA_44),
    "ml-dsa-65": _Wish(oids.ML_DSA_65, oids.ML_DSA_65),
    "ml-dsa-87": _Wish(oids.ML_DSA_87, oids.ML_DSA_87),
}


KEY_PARAMETERS = {oids.CURVE_P256: "ec-p256", oids.CURVE_P384: "ec-p384", oids.CURVE_P521: "ec-p521"}
"""Curves by their identifiers: the parameter of id-ecPublicKey, and the name of the key type."""


class Form(StrEnum):
    """In which form CSR attributes say what a product wishes for."""

    LEGACY = "legacy"
    """Object identifiers and attributes (RFC 7030, RFC 8951)."""
    TEMPLATE = "template"
    """A template of the request (RFC 9908 section 3.4)."""
    BOTH = "both"


def of_product(product: Product, *, linking: str | None, form: Form = Form.LEGACY) -> CSRAttributes:
    """What a product wishes for: keys, signature algorithms, a subjectAltName, the link to the connection.

    A client that reads several key types picks one. `linking` is the attribute with the channel
    binding, as RFC 7030 section 3.5 demands of a server that insists on it.
    """
    legacy = _of(product.profile.key_types, product.names.required, linking)
    if form is Form.LEGACY:
        return legacy
    template = Attribute(oids.CERTIFICATION_REQUEST_INFO_TEMPLATE, (_template(product),))
    # The link to the connection has no place in a template that is the same for everybody.
    return (*legacy, template) if form is Form.BOTH else (*((linking,) if linking else ()), template)


def _template(product: Product) -> bytes:
    """The template: what the product fixes, the common name where no subjectAltName is needed, the one key type."""
    profile = product.profile
    subject: list[tuple[str, bytes | None]] = [_attribute(pair) for pair in profile.fixed_subject]
    if not product.names.required and "CN" not in dict(profile.fixed_subject):
        subject.append((_attribute(("CN", "-"))[0], None))
    known = [KEY_TYPES[name] for name in profile.key_types if name in KEY_TYPES]
    algorithm, bits = b"", 0
    if len(known) == 1:
        key = known[0]
        curve = next((oid for oid, name in KEY_PARAMETERS.items() if name == key.name), None)
        rsa = key.oid == oids.RSA_ENCRYPTION
        parameters = der.object_identifier(curve) if curve else der.NULL if rsa else b""
        algorithm, bits = der.sequence(der.object_identifier(key.oid), parameters), key.bits if rsa else 0
    extensions = (ExtensionTemplate(oids.SUBJECT_ALT_NAME),) if product.names.required else ()
    return write_template(Template(tuple(subject), algorithm, bits, extensions))


def _attribute(pair: tuple[str, str]) -> tuple[str, bytes]:
    """Type and value of one attribute of a subject."""
    (name,) = der.elements(write_subject((pair,)))
    (encoded,) = der.elements(name, 0x31)
    oid, value = der.elements(encoded)
    return read_oid(oid), value


@lru_cache(maxsize=256)
def _of(key_types: tuple[str, ...], alt_name: bool, linking: str | None) -> CSRAttributes:
    wishes = [_WISHES[name] for name in key_types if name in _WISHES]
    found: dict[str, list[bytes]] = {}
    for wish in wishes:
        parameters = found.setdefault(wish.algorithm, [])
        if wish.parameter is not None:
            parameters.append(wish.parameter)
    attributes: list[str | Attribute] = [linking] if linking else []
    attributes += [
        Attribute(algorithm, tuple(sorted(parameters))) if parameters else algorithm
        for algorithm, parameters in found.items()
    ]
    if alt_name:
        # The form of RFC 7030 section 4.5.2: the extension by its identifier. RFC 9908 has a template for it.
        attributes.append(Attribute(oids.EXTENSION_REQUEST, (_identifier(oids.SUBJECT_ALT_NAME),)))
    # Where the signature has the identifier of the key (Ed25519, ML-DSA) it is named once.
    attributes += [oid for oid in dict.fromkeys(wish.signature for wish in wishes) if oid not in found]
    return tuple(attributes)
