"""What an operator's CSR attributes ask for, held against the request that comes (RFC 8951 section 4, RFC 9908).

What a product wishes for its own rules enforce. An operator may ask for more: whoever leaves that out is told what
is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ca_core import der, oids
from ca_core.algorithms import KEY_TYPES, SIGNATURE_ALGORITHMS
from ca_core.csr import CertificationRequest
from ca_core.names import write_subject
from policy.problems import BadCSR, Malformed
from protocols.est.csrattrs import KEY_PARAMETERS, CSRAttributes, read_csrattrs
from protocols.est.template import Template, read_extensions, read_oid, read_template

_SIGNATURE_OIDS = frozenset(one.oid for one in SIGNATURE_ALGORITHMS.values())
_KEY_OIDS = frozenset(one.oid for one in KEY_TYPES.values())
_CURVES = {der.object_identifier(oid): name for oid, name in KEY_PARAMETERS.items()}
_NAMES = {
    oids.SUBJECT_ALT_NAME: "subjectAltName",
    oids.KEY_USAGE: "keyUsage",
    oids.EXTENDED_KEY_USAGE: "extKeyUsage",
    oids.CHALLENGE_PASSWORD: "challengePassword",
}


@dataclass(frozen=True, slots=True)
class Demands:
    """What has to be in a request. Empty `key_types` and `signatures` leave the choice to the client."""

    attributes: frozenset[str] = frozenset()
    """Attributes, or extensions: the first edition of the standard did not keep them apart."""
    extensions: frozenset[str] = frozenset()
    subject: frozenset[tuple[str, bytes | None]] = frozenset()
    key_types: frozenset[str] = frozenset()
    signatures: frozenset[str] = frozenset()


NOTHING = Demands()


@dataclass(slots=True)
class _Found:
    """Demands, while they are read."""

    attributes: set[str] = field(default_factory=set)
    extensions: set[str] = field(default_factory=set)
    subject: set[tuple[str, bytes | None]] = field(default_factory=set)
    key_types: set[str] = field(default_factory=set)
    signatures: set[str] = field(default_factory=set)


def read_demands(encoded: bytes) -> Demands:
    """The demands in a CsrAttrs. Raises Malformed."""
    try:
        return _read(read_csrattrs(encoded))
    except ValueError as exc:
        raise Malformed("a template or an extension in these CSR attributes cannot be read (RFC 9908)") from exc


def _read(wishes: CSRAttributes) -> Demands:
    found = _Found()
    for wish in wishes:
        if isinstance(wish, str):
            _read_oid(wish, found)
        elif wish.type in _KEY_OIDS:
            found.key_types |= _key_types(wish.type, wish.values)
        elif wish.type in (oids.EXTENSION_REQUEST, oids.EXTENSION_REQUEST_TEMPLATE):
            # RFC 8951 section 4 itself asks for an attribute (the MAC address) in this place.
            found.attributes.update(oid for value in wish.values for oid in _extension_oids(value))
        elif wish.type == oids.CERTIFICATION_REQUEST_INFO_TEMPLATE:
            for value in wish.values:
                _read_into(read_template(value), found)
        else:
            found.attributes.add(wish.type)
    return Demands(
        frozenset(found.attributes),
        frozenset(found.extensions),
        frozenset(found.subject),
        frozenset(found.key_types),
        frozenset(found.signatures),
    )


def _read_oid(oid: str, found: _Found) -> None:
    if oid in _SIGNATURE_OIDS:
        found.signatures |= {name for name, one in SIGNATURE_ALGORITHMS.items() if one.oid == oid}
    if oid in _KEY_OIDS:
        found.key_types |= _key_types(oid, ())
    elif oid in KEY_PARAMETERS:
        found.key_types.add(KEY_PARAMETERS[oid])
    elif oid not in _SIGNATURE_OIDS:
        found.attributes.add(oid)


def _read_into(template: Template, found: _Found) -> None:
    found.attributes.update(template.attributes)
    found.extensions.update(one.oid for one in template.extensions)
    found.subject.update(template.subject)
    found.key_types |= _template_key(template)


def _extension_oids(value: bytes) -> tuple[str, ...]:
    if value[0] == der.OBJECT_IDENTIFIER:
        return (read_oid(value),)
    return tuple(one.oid for one in read_extensions(value))


def _key_types(oid: str, parameters: tuple[bytes, ...]) -> set[str]:
    """The names of the key types of an algorithm, by curve or size where those are given."""
    named = {name for name, one in KEY_TYPES.items() if one.oid == oid}
    if not parameters:
        return named
    if oid == oids.RSA_ENCRYPTION:
        sizes = {int.from_bytes(one[2:], "big") for one in parameters if one[0] == der.INTEGER}
        return {name for name in named if KEY_TYPES[name].bits in sizes}
    return {_CURVES[one] for one in parameters if one in _CURVES}


def _template_key(template: Template) -> set[str]:
    if not template.algorithm:
        return set()
    oid, *parameters = der.elements(template.algorithm)
    if template.rsa_bits:
        return {name for name in _key_types(read_oid(oid), ()) if KEY_TYPES[name].bits == template.rsa_bits}
    return _key_types(read_oid(oid), tuple(one for one in parameters if one != der.NULL))


def check(demands: Demands, csr: CertificationRequest, *, own_key: bool = True) -> None:
    """That a request has everything. Raises BadCSR, naming all that it lacks.

    Without `own_key` its key and signature do not matter (RFC 7030 section 4.4.1, serverkeygen).
    """
    if demands is NOTHING:
        return
    present = {*csr.attributes, *csr.extensions}
    lacking = [_NAMES.get(oid, oid) for oid in sorted(demands.attributes - present)]
    lacking += [_NAMES.get(oid, oid) for oid in sorted(demands.extensions - set(csr.extensions))]
    lacking += [f"the subject attribute {oid}" for oid in sorted(_absent(demands.subject, csr))]
    if own_key and demands.key_types and csr.key_type not in demands.key_types:
        lacking.append(f"a public key of type {' or '.join(sorted(demands.key_types))} (it has {csr.key_type})")
    if own_key and demands.signatures and csr.signature_algorithm not in demands.signatures:
        lacking.append(f"a signature by {' or '.join(sorted(demands.signatures))} (it has {csr.signature_algorithm})")
    if lacking:
        raise BadCSR(f"the request lacks what the CSR attributes of this server ask for: {', '.join(lacking)}")


def _absent(wanted: frozenset[tuple[str, bytes | None]], csr: CertificationRequest) -> set[str]:
    """The types of subject attributes that the request lacks, or has with another value than the fixed one."""
    if not wanted:
        return set()
    pairs = [
        der.elements(pair) for name in der.elements(write_subject(csr.subject)) for pair in der.elements(name, 0x31)
    ]
    # Compared by content: the same text may come as UTF8String or PrintableString.
    there = {(read_oid(oid), value[der.read_tlv(value, 0).start :]) for oid, value in pairs}
    types = {oid for oid, _ in there}
    return {
        oid
        for oid, value in wanted
        if (oid not in types if value is None else (oid, value[der.read_tlv(value, 0).start :]) not in there)
    }
