"""CSR attributes: the example of the standard, what products wish for, and any bytes."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ

from ca_core import oids
from ca_core.algorithms import KEY_TYPES
from policy.problems import Malformed
from policy.product import NameRules
from protocols.est import csrattrs
from protocols.est.csrattrs import Attribute
from tests.protocols.est.small import PRODUCT, VECTORS, get, make_door, text_of
from tests.replacing import replace

EXAMPLE = b64decode((VECTORS / "rfc8951-csrattrs.b64").read_text())


def oid(dotted: str) -> bytes:
    """An object identifier in the DER of pyasn1."""
    return bytes(encoder.encode(univ.ObjectIdentifier(dotted)))


def test_the_example_of_rfc_8951_comes_back_unchanged() -> None:
    """E23: RFC 8951 section 4: challengePassword, a key on P-384, a MAC address, ecdsa-with-SHA384."""
    read = csrattrs.read_csrattrs(EXAMPLE)
    assert read == (
        oids.CHALLENGE_PASSWORD,
        Attribute(oids.EC_PUBLIC_KEY, (oid(oids.CURVE_P384),)),
        Attribute(oids.EXTENSION_REQUEST, (oid("1.3.6.1.1.1.1.22"),)),
        oids.ECDSA_SHA384,
    )
    assert csrattrs.write_csrattrs(read) == EXAMPLE


def test_pyasn1_reads_what_a_product_wishes_for() -> None:
    """E25: Keys on two curves as one attribute, a subjectAltName, and the signature algorithms of both."""
    der = csrattrs.write_csrattrs(csrattrs.of_product(PRODUCT, linking=oids.CHALLENGE_PASSWORD))
    decoded, rest = decoder.decode(der)
    assert not rest
    items = [decoded[index] for index in range(len(decoded))]
    plain = [str(item) for item in items if isinstance(item, univ.ObjectIdentifier)]
    assert plain == [oids.CHALLENGE_PASSWORD, oids.ECDSA_SHA256, oids.ECDSA_SHA384]
    pairs = [item for item in items if not isinstance(item, univ.ObjectIdentifier)]
    sets = {str(item[0]): {str(item[1][index]) for index in range(len(item[1]))} for item in pairs}
    assert sets == {
        oids.EC_PUBLIC_KEY: {oids.CURVE_P256, oids.CURVE_P384},
        oids.EXTENSION_REQUEST: {oids.SUBJECT_ALT_NAME},
    }


def test_rsa_is_wished_for_with_its_size() -> None:
    """E25: The size of the modulus as INTEGER."""
    profile = replace(PRODUCT.profile, key_types=("rsa-4096", "rsa-2048"))
    wishes = csrattrs.of_product(replace(PRODUCT, profile=profile), linking=None)
    (attribute,) = [one for one in wishes if isinstance(one, Attribute) and one.type == oids.RSA_ENCRYPTION]
    assert [int(decoder.decode(value)[0]) for value in attribute.values] == [2048, 4096]
    assert oids.RSA_SHA256 in wishes
    assert csrattrs.read_csrattrs(csrattrs.write_csrattrs(wishes)) == wishes


def test_a_key_that_is_its_own_signature_algorithm_is_named_once() -> None:
    """Ed25519 and ML-DSA have one identifier for both."""
    profile = replace(PRODUCT.profile, key_types=("ed25519", "ml-dsa-65"))
    product = replace(PRODUCT, profile=profile, names=NameRules(required=False))
    assert csrattrs.of_product(product, linking=None) == (oids.ED25519, oids.ML_DSA_65)


@pytest.mark.parametrize("key_type", sorted(KEY_TYPES))
def test_every_key_type_can_be_wished_for(key_type: str) -> None:
    """A new row in the table of key types needs one here."""
    product = replace(PRODUCT, profile=replace(PRODUCT.profile, key_types=(key_type,)))
    wishes = csrattrs.of_product(product, linking=None)
    types = [one if isinstance(one, str) else one.type for one in wishes]
    assert KEY_TYPES[key_type].oid in types


async def test_the_door_says_what_the_default_product_wishes_for() -> None:
    """RFC 7030 section 4.5.2: the mount's default product; challengePassword where the link is required."""
    for pop in ("verify-if-present", "require"):
        answer = await make_door(pop=pop)(get("csrattrs"))
        assert answer.content_type == "application/csrattrs"
        read = csrattrs.read_csrattrs(b64decode(text_of(answer), validate=True))
        assert (oids.CHALLENGE_PASSWORD in read) is (pop == "require")


def test_nothing_wished_for_is_an_empty_sequence() -> None:
    """RFC 7030 section 4.5.2: SIZE (0..MAX)."""
    assert csrattrs.write_csrattrs(()) == b"\x30\x00"
    assert csrattrs.read_csrattrs(b"\x30\x00") == ()


@given(st.binary(max_size=120))
def test_any_bytes_are_attributes_or_malformed(der: bytes) -> None:
    """No other exception, whatever comes."""
    with suppress(Malformed):
        csrattrs.read_csrattrs(der)


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 255))
def test_the_damaged_example_is_attributes_or_malformed(place: int, octet: int) -> None:
    """Close to what is right, where mistakes of decoders are."""
    damaged = EXAMPLE[:place] + bytes((octet,)) + EXAMPLE[place + 1 :]
    with suppress(Malformed):
        csrattrs.read_csrattrs(damaged)


def test_base64_of_the_example_is_that_of_the_standard() -> None:
    """The text as it stands in RFC 8951."""
    assert b64encode(EXAMPLE).decode().startswith("MEEGCSqGSIb3DQEJBzAS")
