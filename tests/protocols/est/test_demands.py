"""CSR attributes of an operator, enforced (E25): who leaves something out is told what."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ca_core import der, oids
from ca_core.csr import read_csr
from ca_core.names import write_subject
from policy.problems import BadCSR, Malformed
from protocols.est.csrattrs import Attribute, CSRAttributes, write_csrattrs
from protocols.est.demands import NOTHING, check, read_demands
from protocols.est.template import ExtensionTemplate, Template, write_template
from tests.protocols.est.small import VECTORS, MakeDoor, basic, get, make_csr, post, text_of

PLAIN = read_csr(make_csr())
MAC_ADDRESS = "1.3.6.1.1.1.1.22"


def attribute(oid: str, *values: bytes) -> Attribute:
    return Attribute(oid, values)


def template(**parts: object) -> Attribute:
    encoded = write_template(Template(**parts))  # type: ignore[arg-type]
    return attribute(oids.CERTIFICATION_REQUEST_INFO_TEMPLATE, encoded)


def curve(oid: str) -> Attribute:
    return attribute(oids.EC_PUBLIC_KEY, der.object_identifier(oid))


COMMON_NAME = "2.5.4.3"
ORGANISATION = "2.5.4.10"


@pytest.mark.parametrize(
    ("wishes", "lacking"),
    [
        ((), None),
        ((oids.ECDSA_SHA256,), None),
        ((oids.ECDSA_SHA384, oids.ECDSA_SHA256), None),
        ((oids.ECDSA_SHA384,), "ecdsa-with-SHA384"),
        ((curve(oids.CURVE_P256),), None),
        ((curve(oids.CURVE_P384),), "ec-p384"),
        ((oids.EC_PUBLIC_KEY,), None),
        ((oids.CURVE_P384,), "ec-p384"),
        ((oids.ED25519, oids.EC_PUBLIC_KEY), "Ed25519"),
        ((attribute(oids.RSA_ENCRYPTION, der.integer(3072)),), "rsa-3072"),
        ((oids.CHALLENGE_PASSWORD,), "challengePassword"),
        ((MAC_ADDRESS,), MAC_ADDRESS),
        ((attribute(MAC_ADDRESS, b"\x04\x00"),), MAC_ADDRESS),
        ((attribute(oids.EXTENSION_REQUEST, der.object_identifier(oids.SUBJECT_ALT_NAME)),), None),
        ((attribute(oids.EXTENSION_REQUEST, der.object_identifier(oids.KEY_USAGE)),), "keyUsage"),
        ((template(extensions=(ExtensionTemplate(oids.SUBJECT_ALT_NAME),)),), None),
        ((template(extensions=(ExtensionTemplate(oids.EXTENDED_KEY_USAGE, False, b"\x30\x00"),)),), "extKeyUsage"),
        ((template(subject=((COMMON_NAME, None),)),), None),
        ((template(subject=((ORGANISATION, None),)),), ORGANISATION),
        ((template(subject=((COMMON_NAME, b"\x13\x16device-1.certgate.test"),)),), None),
        ((template(subject=((COMMON_NAME, b"\x0c\x05other"),)),), COMMON_NAME),
        ((template(algorithm=der.sequence(der.object_identifier(oids.RSA_ENCRYPTION)), rsa_bits=2048),), "rsa-2048"),
    ],
)
def test_what_is_asked_for_has_to_be_there(wishes: CSRAttributes, lacking: str | None) -> None:
    """E25: keys, signature, attributes, extensions, subject; in the forms of RFC 8951 and RFC 9908."""
    demands = read_demands(write_csrattrs(wishes))
    if lacking is None:
        check(demands, PLAIN)
    else:
        with pytest.raises(BadCSR, match=lacking):
            check(demands, PLAIN)


def test_the_key_of_a_request_for_a_generated_one_does_not_matter() -> None:
    """RFC 7030 section 4.4.1: the key and signature of a serverkeygen request are not looked at."""
    demands = read_demands(write_csrattrs((curve(oids.CURVE_P384), oids.ECDSA_SHA384)))
    check(demands, PLAIN, own_key=False)


def test_everything_that_is_missing_is_told_at_once() -> None:
    """The example of RFC 8951 section 4: a password, P-384, a MAC address, SHA-384."""
    demands = read_demands(b64decode((VECTORS / "rfc8951-csrattrs.b64").read_text()))
    with pytest.raises(BadCSR) as told:
        check(demands, PLAIN)
    for word in ("challengePassword", MAC_ADDRESS, "ec-p384", "ecdsa-with-SHA384"):
        assert word in told.value.detail
    key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(BadCSR) as told:
        check(demands, read_csr(make_csr(key=key, password=b"x")))
    assert "challengePassword" not in told.value.detail
    assert "ec-p384" not in told.value.detail


async def test_a_mount_enforces_what_it_serves(make_door: MakeDoor) -> None:
    """E25: 400 with a text that names what is missing; a request that has it is served."""
    usage = attribute(oids.EXTENSION_REQUEST, der.object_identifier(oids.SUBJECT_ALT_NAME))
    served = b64encode(write_csrattrs((usage, MAC_ADDRESS))).decode()
    door = make_door(csrattrs=served)
    assert text_of(await door(get("csrattrs"))) == served
    answer = await door(post("simpleenroll", b64encode(make_csr()), basic("device", "secret")))
    assert answer.status == 400
    assert text_of(answer) == f"the request lacks what the CSR attributes of this server ask for: {MAC_ADDRESS}\n"
    assert not door.ra.orders
    csr = make_csr(attributes=[(MAC_ADDRESS, b"00:11:22:33:44:55")])
    assert (await door(post("simpleenroll", b64encode(csr), basic("device", "secret")))).status == 200


def test_a_subject_is_compared_as_it_is_written_here() -> None:
    """A sanity check of the vectors above: our own common name is a UTF8String."""
    assert b"\x0c\x16device-1.certgate.test" in write_subject((("CN", "device-1.certgate.test"),))


@given(st.binary(max_size=60))
def test_any_template_of_an_operator_is_read_or_refused(data: bytes) -> None:
    """Only Malformed, when the mount is made."""
    for oid in (oids.CERTIFICATION_REQUEST_INFO_TEMPLATE, oids.EXTENSION_REQUEST, oids.EXTENSION_REQUEST_TEMPLATE):
        for value in (data, der.octet_string(data), der.sequence(der.integer(0), der.tlv(0xA1, data))):
            with suppress(Malformed, ValueError):
                read_demands(write_csrattrs((attribute(oid, value),)))
    check(NOTHING, PLAIN)
