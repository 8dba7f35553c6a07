"""What installed clients need beyond the text of RFC 8555."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from policy.replay import WINDOW
from tests.protocols.acme.client import Client, Key, b64
from tests.protocols.acme.world import STATUS_URL, World
from tests.replacing import replace

NAME = "a.trusted.test"
P256 = ec.generate_private_key(ec.SECP256R1())


def request(*, cn: str | None, san: str | None, key: Any = P256, staple: bool = False) -> str:
    """A request in one of the forms that clients write."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else []
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(san)]), critical=not cn)
    if staple:
        builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    return b64(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


FORMS = {
    "empty subject": request(cn=None, san=NAME),
    "common name and SAN": request(cn=NAME, san=NAME),
    "common name alone": request(cn=NAME, san=None),
    "upper case": request(cn=NAME.upper(), san=NAME.upper()),
    "must-staple": request(cn=NAME, san=NAME, staple=True),
    "RSA 2048": request(cn=NAME, san=NAME, key=rsa.generate_private_key(65537, 2048)),
    "RSA 3072": request(cn=NAME, san=NAME, key=rsa.generate_private_key(65537, 3072)),
    "RSA 4096": request(cn=NAME, san=NAME, key=rsa.generate_private_key(65537, 4096)),
    "P-384": request(cn=NAME, san=NAME, key=ec.generate_private_key(ec.SECP384R1())),
}


@pytest.mark.parametrize("form", FORMS)
async def test_requests_in_every_form_of_the_field_are_taken(member: Client, form: str) -> None:
    """RFC 8555 section 7.4: subject and SAN in whatever combination, each key type; the names come out the same.

    Rows: C8, T-29.
    """
    order = await member.ready(NAME)
    answer = await member.post(order.json["finalize"], {"csr": FORMS[form]})
    assert answer.json["status"] == "valid", answer.body
    found = await member.certificate(answer)
    san = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.value.get_values_for_type(x509.DNSName) == [NAME]
    assert [str(one.value) for one in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [NAME]
    assert not san.critical


async def test_a_key_type_of_the_product_is_enough(member: Client) -> None:
    """P-521 where the product lists it, and badCSR where not. Rows: C8."""
    csr = request(cn=NAME, san=NAME, key=ec.generate_private_key(ec.SECP521R1()))
    order = await member.ready(NAME)
    assert (await member.post(order.json["finalize"], {"csr": csr})).problem() == (400, "badCSR")
    profile = member.world.products["standard"].profile
    await member.world.change("standard", profile=replace(profile, key_types=(*profile.key_types, "ec-p521")))
    order = await member.ready(NAME)
    assert (await member.post(order.json["finalize"], {"csr": csr})).json["status"] == "valid"


async def test_an_address_never_becomes_a_common_name(member: Client) -> None:
    """certbot 5.8 fails on one after issuance; the address stands in the SAN alone. Rows: C7, T-29."""
    placed = await member.post(member.url("new-order"), {"identifiers": [{"type": "ip", "value": "192.0.2.7"}]})
    (url,) = placed.json["authorizations"]
    one = next(each for each in (await member.post(url)).json["challenges"] if each["type"] == "http-01")
    expected = member.world.validators["http-01"].expected
    expected["192.0.2.7", one["token"]] = f"{one['token']}.{member.key.thumbprint}"
    await member.post(one["url"], {})
    address = x509.IPAddress(ip_address("192.0.2.7"))
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "192.0.2.7")]))
    csr = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False).sign(P256, hashes.SHA256())
    answer = await member.post(placed.json["finalize"], {"csr": b64(csr.public_bytes(Encoding.DER))})
    assert answer.json["status"] == "valid", answer.body
    found = await member.certificate(answer)
    assert not found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    san = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(one) for one in san.value.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    assert san.critical, "RFC 5280 section 4.2.1.6: the subject is empty"


async def test_status_is_found_from_the_certificate(member: Client) -> None:
    """Exactly one CRL distribution point with one URL, and one OCSP address: clients warn where there is none.

    Rows: C11.
    """
    found = await member.certificate(await member.issue())
    (point,) = found.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = list(point.full_name or ())
    assert name.value.startswith(f"{STATUS_URL}/")
    access = found.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    ocsp = [one for one in access if one.access_method == AuthorityInformationAccessOID.OCSP]
    assert [one.access_location.value.startswith(f"{STATUS_URL}/") for one in ocsp] == [True]


async def test_a_burst_of_nonces_evicts_none(client: Client) -> None:
    """certbot repeats a badNonce once only: what a busy quarter of an hour gives out leaves older nonces good.

    Rows: C3.
    """
    assert WINDOW >= 15 * 60 * 4000, "four thousand nonces a second"
    await client.register()
    kept = await client.fresh()
    for _ in range(5000):
        client.world.store.replay.number()
    client.nonce = kept
    assert (await client.post(client.kid or "")).status == 200


@pytest.mark.parametrize("contact", [{}, {"contact": []}])
async def test_contacts_may_be_missing(world: World, contact: dict[str, Any]) -> None:
    """certbot without e-mail, Caddy and acme-tiny register without; the account shows none. Rows: C6."""
    answer = await Client(world, Key.ec()).register(**contact)
    assert answer.status == 201
    assert "contact" not in answer.json


async def test_times_are_utc_with_a_z(member: Client) -> None:
    """RFC 3339 with Z and whole seconds, in orders and authorizations; `expires` is in both. Rows: C13."""
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    for found in (order.json, (await member.post(url)).json):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["expires"])
