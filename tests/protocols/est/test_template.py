"""The template of RFC 9908 section 3.4: written for a decoder that is not ours, read back, and any bytes (E24)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder
from pyasn1.type import univ

from ca_core import der, oids
from policy.product import NameRules
from protocols.est import csrattrs
from protocols.est.csrattrs import Attribute, Form
from protocols.est.template import ExtensionTemplate, Template, read_oid, read_template, write_template
from tests.protocols.est.small import PRODUCT
from tests.replacing import replace

TEMPLATE = "1.2.840.113549.1.9.16.2.61"
EXTENSIONS = "1.2.840.113549.1.9.16.2.62"


def decoded(encoded: bytes) -> Any:
    """One element as pyasn1 reads it without a schema: lists of lists of texts."""
    value, rest = decoder.decode(encoded)
    assert not rest
    return plain(value)


def plain(value: Any) -> Any:
    if isinstance(value, univ.SequenceAndSetBase | univ.SequenceOfAndSetOfBase):
        return [plain(value[index]) for index in range(len(value))]
    return str(value)


def template_of(**changes: Any) -> tuple[bytes, csrattrs.CSRAttributes]:
    wishes = csrattrs.of_product(replace(PRODUCT, **changes), linking=None, form=Form.BOTH)
    (template,) = [one for one in wishes if isinstance(one, Attribute) and one.type == TEMPLATE]
    return template.values[0], wishes


def test_a_name_that_is_needed_is_asked_for_without_a_value() -> None:
    """E24: version 0, no subject, no key where there are several, the extension by its identifier alone."""
    version, attributes = der.elements(template_of()[0])
    assert decoded(version) == "0"
    (attribute,) = der.elements(attributes, 0xA1)
    assert decoded(attribute) == [EXTENSIONS, [[[oids.SUBJECT_ALT_NAME]]]]


def test_what_a_product_fixes_is_filled_in() -> None:
    """E24: a fixed organisation with its value, the common name of a device without."""
    profile = replace(PRODUCT.profile, fixed_subject=(("O", "Example"),), key_types=("ec-p384",))
    template, _ = template_of(profile=profile, names=NameRules(required=False))
    _, subject, _, _ = der.elements(template)
    assert decoded(subject) == [[["2.5.4.10", "Example"]], [["2.5.4.3"]]]


@pytest.mark.parametrize(("kind", "bits"), [("ec-p256", 0), ("rsa-3072", 3072), ("ed25519", 0)])
def test_the_one_key_type_is_told(kind: str, bits: int) -> None:
    """E24: algorithm and curve; for RSA a placeholder of the wanted size, which other software reads as a key."""
    template, _ = template_of(profile=replace(PRODUCT.profile, key_types=(kind,)))
    read = read_template(template)
    assert read.rsa_bits == bits
    if bits:
        (key,) = [part for part in der.elements(template) if part[0] == 0xA0]
        public = load_der_public_key(b"\x30" + key[1:])
        assert getattr(public, "key_size") == bits  # noqa: B009 - mypy knows a union of keys
    expected = {"ec-p256": oids.EC_PUBLIC_KEY, "rsa-3072": oids.RSA_ENCRYPTION, "ed25519": oids.ED25519}[kind]
    assert read_oid(der.elements(read.algorithm)[0]) == expected


def test_legacy_and_template_go_together() -> None:
    """E24: whoever does not know the template reads the rest, as before; each form can be had alone."""
    _, both = template_of()
    legacy = csrattrs.of_product(PRODUCT, linking=oids.CHALLENGE_PASSWORD, form=Form.LEGACY)
    alone = csrattrs.of_product(PRODUCT, linking=oids.CHALLENGE_PASSWORD, form=Form.TEMPLATE)
    assert both[:-1] == legacy[1:]
    assert alone == (oids.CHALLENGE_PASSWORD, both[-1])
    assert csrattrs.read_csrattrs(csrattrs.write_csrattrs(both)) == both


def test_extensions_with_all_their_values_are_an_extension_request() -> None:
    """E24, RFC 9908 section 3.4: the template of extensions is for those that lack one."""
    usage = ExtensionTemplate(oids.KEY_USAGE, True, b"\x03\x02\x07\x80")
    for extensions, oid in (((usage,), oids.EXTENSION_REQUEST), ((usage, ExtensionTemplate("2.5.29.17")), EXTENSIONS)):
        template = Template(extensions=extensions)
        encoded = write_template(template)
        assert read_template(encoded) == template
        assert der.object_identifier(oid) in encoded


oid_texts = st.builds(
    lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**40), max_size=4),
)
templates = st.builds(
    Template,
    st.lists(st.tuples(oid_texts, st.none() | st.binary(max_size=9).map(der.octet_string)), max_size=3).map(tuple),
    st.just(der.sequence(der.object_identifier(oids.RSA_ENCRYPTION), der.NULL)),
    st.sampled_from([0, 2048, 4096]),
    st.lists(st.builds(ExtensionTemplate, oid_texts, st.booleans(), st.none() | st.binary(max_size=9)), max_size=3).map(
        tuple
    ),
)


@given(templates)
def test_what_is_written_is_read_back(template: Template) -> None:
    """Nothing is lost or added."""
    assert read_template(write_template(template)) == template


@given(oid_texts)
def test_object_identifiers_are_read_as_pyasn1_reads_them(dotted: str) -> None:
    """Also with large arcs, and those below 2."""
    value, _ = decoder.decode(der.object_identifier(dotted))
    assert isinstance(value, univ.ObjectIdentifier)
    assert read_oid(der.object_identifier(dotted)) == dotted == str(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Only ValueError, whatever an operator pastes."""
    for encoded in (data, der.sequence(der.integer(0), data), der.sequence(der.integer(0), der.tlv(0xA1, data))):
        with suppress(ValueError):
            read_template(encoded)
