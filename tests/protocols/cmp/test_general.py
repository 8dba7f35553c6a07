"""genm and genp (RFC 9810 section 5.3.19, RFC 9483 section 4.3): rows of §1.3."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc4211, rfc5280

from ca_core.profile import CertificateProfile
from protocols.cmp import general
from protocols.cmp.general import Knowledge
from tests.conftest import START
from tests.policy.making import change_product
from tests.protocols.cmp.maker import PROFILE, Answer, Gate, info, moment, name, num, octets, oid, seq, tlv

TYPE = "1.3.6.1.5.5.7.4."


async def ask(gate: Gate, *items: bytes, **more: Any) -> Answer:
    return await gate.send(gate.message("genm", seq(*items), await gate.secret(), **more))


def told(answer: Answer) -> dict[str, bytes | None]:
    """Types and values of a genp."""
    assert answer.body == "genp", answer.text
    found = answer.content
    return {
        str(one["infoType"]): bytes(one["infoValue"]) if one["infoValue"].isValue else None
        for one in (found if found.isValue else ())
    }


def itav(number: int, value: bytes = b"") -> bytes:
    return seq(oid(f"{TYPE}{number}"), value)


async def test_ca_certs(gate: Gate) -> None:
    """Row 17: the certificates between root and end entity."""
    found = told(await ask(gate, itav(17)))
    value = found[f"{TYPE}17"]
    assert value is not None
    certificates, rest = decoder.decode(value)
    assert not rest
    issuing, _ = await gate.house.core.ra.ca_certificates(await gate.house.core.ra.mount("cmp/default"))
    assert [encoder.encode(one) for one in certificates] == [issuing]


async def test_nothing_asked_is_nothing_told(gate: Gate) -> None:
    """`openssl cmp -cmd genm` without -infotype."""
    assert told(await ask(gate)) == {}


async def test_unknown_types_are_listed(gate: Gate) -> None:
    """Row 7: unsupportedOIDs, beside what is known."""
    found = told(await ask(gate, seq(oid("1.2.3.4")), itav(17), itav(12)))
    assert set(found) == {f"{TYPE}17", f"{TYPE}7"}
    assert found[f"{TYPE}7"] == seq(oid("1.2.3.4"), oid(f"{TYPE}12"))


@pytest.mark.parametrize("number", [2, 3, 4, 6, 17, 19])
async def test_a_value_where_none_belongs_is_a_bad_request(gate: Gate, number: int) -> None:
    """§1.4: infoValue set where it must be absent."""
    assert (await ask(gate, itav(number, b"\x05\x00"))).told() == ("error", "badRequest")


@pytest.mark.parametrize(
    "content",
    [b"\x04\x00", seq(b"\x02\x01\x00"), seq(seq()), seq(*[itav(17)] * 21)],
    ids=["octets", "int", "empty", "many"],
)
async def test_what_is_no_genm_is_bad_data(gate: Gate, content: bytes) -> None:
    answer = await gate.send(gate.message("genm", content, await gate.secret()))
    assert answer.told() == ("error", "badDataFormat")


async def test_a_genm_comes_once(gate: Gate) -> None:
    """§7 replay: also what changes nothing."""
    message = gate.message("genm", seq(itav(17)), await gate.secret())
    assert (await gate.send(message)).body == "genp"
    assert (await gate.send(message)).told() == ("error", "transactionIdInUse")


async def test_informational_types(gate: Gate) -> None:
    """Rows 2, 3, 4, 16: algorithms, cipher, language."""
    found = told(await ask(gate, itav(2), itav(3), itav(4), itav(16, seq(tlv(0x0C, b"de")))))
    algorithms, _ = decoder.decode(found[f"{TYPE}2"] or b"")
    assert [str(one[0]) for one in algorithms] == ["1.2.840.113549.1.1.1", *["1.2.840.10045.2.1"] * 2]
    assert found[f"{TYPE}3"] is None
    cipher, _ = decoder.decode(found[f"{TYPE}4"] or b"", asn1Spec=rfc5280.AlgorithmIdentifier())
    assert str(cipher["algorithm"]) == "2.16.840.1.101.3.4.1.42"
    assert found[f"{TYPE}16"] == seq(tlv(0x0C, b"en"))


async def test_cert_req_template(gate: Gate) -> None:
    """Row 19: the template with empty places, keySpec by controls, no public key (RFC 9483 section 4.3.3)."""
    profile = CertificateProfile(
        "device", fixed_subject=(("O", "Sample"),), common_name="keep", key_types=("ec-p256", "rsa-3072", "ed25519")
    )
    await change_product(gate.house, "device", profile=profile)
    value = told(await ask(gate, itav(19)))[f"{TYPE}19"] or b""
    template, controls = decoder.decode(value)[0]
    read, _ = decoder.decode(encoder.encode(template), asn1Spec=rfc4211.CertTemplate())
    assert not read["publicKey"].isValue
    subject = read["subject"]
    rdns = [(str(rdn[0]["type"]), bytes(rdn[0]["value"])) for rdn in subject["rdnSequence"]]
    assert rdns == [("2.5.4.10", tlv(0x0C, b"Sample")), ("2.5.4.3", tlv(0x0C, b""))]
    specs = [str(one[0]) for one in controls]
    assert specs == ["1.3.6.1.5.5.7.5.1.11", "1.3.6.1.5.5.7.5.1.12", "1.3.6.1.5.5.7.5.1.11"]
    assert int(controls[1][1]) == 3072


async def test_a_template_for_a_profile_that_cannot_be_had(gate: Gate) -> None:
    """certProfile names the product that is described; one that is not granted is refused."""
    asked = [info(PROFILE, seq(tlv(0x0C, b"tls")))]
    assert (await ask(gate, itav(19), infos=asked)).told() == ("error", "badCertTemplate")


async def test_crls(gate: Gate) -> None:
    """Rows 22/23 and 6: by issuer, by distribution point, and only when there is a newer one."""
    await gate.house.core.publication.publish_due()
    current = told(await ask(gate, itav(6)))[f"{TYPE}6"]
    assert current is not None
    crl = x509.load_der_x509_crl(current)
    issuer = seq(tlv(0xA1, tlv(0xA4, crl.issuer.public_bytes())))
    found = told(await ask(gate, itav(22, seq(issuer))))[f"{TYPE}23"]
    assert found == seq(current)
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert point.full_name is not None
    address = tlv(0x86, point.full_name[0].value.encode())
    by_point = seq(tlv(0xA0, tlv(0xA0, tlv(0xA0, address))))
    assert told(await ask(gate, itav(22, seq(by_point))))[f"{TYPE}23"] == seq(current)
    since = seq(tlv(0xA1, tlv(0xA4, crl.issuer.public_bytes())), moment(crl.last_update_utc))
    assert told(await ask(gate, itav(22, seq(since)))) == {f"{TYPE}23": None}
    stranger = seq(tlv(0xA1, tlv(0xA4, name("another CA"))))
    assert told(await ask(gate, itav(22, seq(stranger)))) == {f"{TYPE}23": None}
    for wrong in (seq(), b"\x05\x00", seq(num(1)), seq(seq(octets(b""), b"\x05\x00"))):
        answer = await ask(gate, itav(22, wrong))
        assert answer.body == "error"
        assert answer.fail in ("badRequest", "badDataFormat")


# --- root key update


class Root:
    """A root with its key."""

    def __init__(self, common_name: str, start: datetime = START) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        self.start = start
        self.der = self.certify(self.key)

    def certify(self, key: ec.EllipticCurvePrivateKey, start: datetime | None = None) -> bytes:
        builder = x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        start = start or self.start
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)


def update(old: bytes, *certificates: bytes) -> bytes | None:
    """What rootCaCert is answered with, of a mount that knows these certificates."""
    asked = ((general.ROOT_CA_CERT, old),)
    answered = general.answer(asked, Knowledge(certificates, (), None))
    (item,), _ = decoder.decode(answered.content)
    return encoder.encode(item[1]) if len(item) == 2 else None


def test_a_root_key_update_has_its_links() -> None:
    """Rows 20/18: newWithNew, newWithOld, oldWithNew; each verified under the keys in question."""
    old, new = Root("Root"), Root("Root", START + timedelta(days=1))
    new_with_old = old.certify(new.key, new.start)
    old_with_new = new.certify(old.key, old.start)
    told_ = update(old.der, old.der, new.der, new_with_old, old_with_new)
    assert told_ == seq(new.der, tlv(0xA0, new_with_old), tlv(0xA1, old_with_new))
    assert update(old.der, old.der, new.der, new_with_old) == seq(new.der, tlv(0xA0, new_with_old))
    assert update(new.der, old.der, new.der, new_with_old) is None


def test_a_root_without_a_link_is_not_told() -> None:
    """§7 root CA update substitution (CVE-2026-42769): no newWithOld, a forged one, a root that is not ours."""
    old, new = Root("Root"), Root("Root", START + timedelta(days=1))
    stranger = Root("Root")
    assert update(old.der, old.der, new.der) is None
    assert update(old.der, old.der, new.der, stranger.certify(new.key, new.start)) is None
    assert update(stranger.der, old.der, new.der, old.certify(new.key, new.start)) is None


async def test_a_root_that_was_not_updated(gate: Gate) -> None:
    """No value: there is nothing newer. What is no certificate is badDataFormat."""
    _, root = await gate.house.core.ra.ca_certificates(await gate.house.core.ra.mount("cmp/default"))
    assert told(await ask(gate, itav(20, root))) == {f"{TYPE}18": None}
    assert (await ask(gate, itav(20))).told() == ("error", "badDataFormat")
    assert (await ask(gate, itav(20, b"\x30\x00"))).told() == ("error", "badDataFormat")
