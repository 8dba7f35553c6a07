"""simplereenroll on the real services: other names, registration authorities, who may renew what (E13, E18, E19)."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from policy.acting import operator
from policy.credential import AuthenticationMethod, CredentialType
from policy.credentialing import NewCredential
from policy.mount import Mount
from protocols.http import ChannelBinding
from tests.conftest import ACTOR, DEVICE_PROFILE, dns
from tests.protocols.est.gate import NAME, Gate, names_of
from tests.protocols.est.small import (
    CHANGE_SUBJECT_NAME,
    basic,
    certificates_in,
    change_subject_name,
    make_csr,
    name_of,
    post,
    text_of,
)
from tests.replacing import replace

OTHER = "device-2.certgate.test"


def renaming(to: str, key: ec.EllipticCurvePrivateKey | None = None, *, tagged: bool = False) -> bytes:
    value = change_subject_name(to, tagged=tagged)
    return make_csr(NAME, key, der_attributes=[(CHANGE_SUBJECT_NAME, value)])


# --- ChangeSubjectName (RFC 6402 section 2.8)


async def test_other_names_are_refused_unless_the_mount_judges_them(gate: Gate) -> None:
    """E18, T17: a smuggled ChangeSubjectName gives nothing, neither the old names nor the new ones."""
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    answer = await gate.reenrol(first, renaming(OTHER))
    assert answer.status == 403
    assert "names" in text_of(answer)
    assert len([one async for one in gate.house.core.inventory.certificates()]) == 1


@pytest.mark.parametrize("tagged", [False, True])
async def test_other_names_are_judged_like_those_of_an_enrolment(gate: Gate, tagged: bool) -> None:
    """E18: with the mount's leave the names of the attribute are certified, by the rules of the product."""
    await gate.mount(change_subject_name="judge")
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    answer = await gate.reenrol(first, renaming(OTHER, tagged=tagged))
    assert answer.status == 200, answer.body
    (second,) = certificates_in(answer)
    assert names_of(second) == [OTHER]
    assert second.subject == name_of(OTHER)
    answer = await gate.reenrol(first, renaming("www.example.org"))
    assert answer.status == 403
    assert "www.example.org" in text_of(answer)


async def test_the_names_of_the_request_stay_those_of_the_certificate(gate: Gate) -> None:
    """E18: also where names may change, the request itself repeats the old ones (RFC 7030 section 4.2.2)."""
    await gate.mount(change_subject_name="judge")
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    csr = make_csr(OTHER, der_attributes=[(CHANGE_SUBJECT_NAME, change_subject_name(OTHER))])
    assert (await gate.reenrol(first, csr)).status == 400
    assert (await gate.reenrol(first, make_csr(OTHER))).status == 400


@pytest.mark.parametrize("value", [b"\x30\x00", b"\x05\x00", b"\x30\x02\x05\x00", b"\x30\x04\x30\x02\x82\x00"])
async def test_an_attribute_that_cannot_be_read_is_400(gate: Gate, value: bytes) -> None:
    """E18: neither passed over nor a fault of ours."""
    await gate.mount(change_subject_name="judge")
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    answer = await gate.reenrol(first, make_csr(NAME, der_attributes=[(CHANGE_SUBJECT_NAME, value)]))
    assert answer.status == 400, text_of(answer)


async def test_names_that_change_wait_for_a_person_too(gate: Gate) -> None:
    """E8, E18: an approved order has the names that were asked for, read again from the request."""
    await gate.mount(products=("held",), change_subject_name="judge")
    shown, key = await gate.credential("held"), ec.generate_private_key(ec.SECP256R1())
    core = gate.house.core

    async def approve() -> None:
        (order,) = [one async for one in core.inventory.orders(status="held")]
        await core.approval.approve(order.id, operator("user:bob"))

    assert (await gate.enrol(shown)).status == 202
    await approve()
    (order,) = [one async for one in core.inventory.orders()]
    first = x509.load_der_x509_certificate((await core.ra.certificate_of(order)).der)
    assert (await gate.reenrol(first, renaming(OTHER, key))).status == 202
    await approve()
    answer = await gate.reenrol(first, renaming(OTHER, key))
    assert answer.status == 200, answer.body
    assert names_of(certificates_in(answer)[0]) == [OTHER]


# --- registration authorities (RFC 7030 section 3.7, RFC 6402 section 2.10)


async def registration_authority(gate: Gate) -> x509.Certificate:
    """A certificate with id-kp-cmcRA, enrolled at a mount of its own; its credential may order for devices, too."""
    core = gate.house.core
    profile = replace(DEVICE_PROFILE, name="ra", extended_key_usage=("clientAuth", "cmcRA"))
    (device,) = await core.ra.products(Mount("est", "any", ("device",), "issuing"))
    await core.administration.apply_product(replace(device, name="ra", profile=profile), ACTOR)
    await gate.mount("ra", ("ra",))
    await gate.mount("default", ("device",))
    new = NewCredential(CredentialType.EST, "alice", "ops", ("ra", "device"))
    shown = await core.administration.create_credential(new, ACTOR)
    headers = basic(shown.credential.identifier, shown.secret or "")
    answer = await gate(post("simpleenroll", b64encode(make_csr("ra.certgate.test")), headers, label="ra"))
    assert answer.status == 200, text_of(answer)
    return certificates_in(answer)[0]


async def test_an_ra_enrols_for_others(gate: Gate) -> None:
    """E13: with its certificate alone; the binding in a request is its client's, of another connection."""
    authority = (await registration_authority(gate)).public_bytes(Encoding.DER)
    body = b64encode(make_csr(NAME, password=b64encode(b"the client's own connection")))
    bindings = {ChannelBinding.TLS_UNIQUE: b"this connection"}
    passed_on = post("simpleenroll", body, certificate=authority, tls_version="TLSv1.2", bindings=bindings)
    answer = await gate(passed_on)
    assert answer.status == 200, text_of(answer)
    (device,) = certificates_in(answer)
    assert names_of(device) == [NAME]
    assert x509.OID_CLIENT_AUTH in device.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    # Who is no RA is held to the binding, and may not enrol for anybody with a certificate alone.
    own = device.public_bytes(Encoding.DER)
    assert (await gate(replace(passed_on, peer=replace(passed_on.peer, certificate=own)))).status == 400
    answer = await gate(post("simpleenroll", b64encode(make_csr(OTHER)), certificate=own))
    assert answer.status == 403
    assert "its own renewal" in text_of(answer)


async def test_an_ra_renews_for_others_and_itself(gate: Gate) -> None:
    """E13, E19: with other names it is judged as an enrolment, with its own it renews its own certificate."""
    authority = await registration_authority(gate)
    (device,) = certificates_in(await gate.reenrol(authority, make_csr(NAME)))
    assert names_of(device) == [NAME]
    gate.labels = ("est/ra",)
    request = post("simplereenroll", b64encode(make_csr("ra.certgate.test")), label="ra")
    der = authority.public_bytes(Encoding.DER)
    answer = await gate(replace(request, peer=replace(request.peer, certificate=der)))
    assert answer.status == 200, text_of(answer)
    assert names_of(certificates_in(answer)[0]) == ["ra.certgate.test"]
    kinds = [one.kind async for one in gate.house.core.inventory.orders()]
    assert sorted(kinds) == ["enroll", "enroll", "rekey"]


async def test_an_ra_gets_nothing_that_its_credential_may_not_order(gate: Gate) -> None:
    """E13: being an RA is no permission: names and products are those of its credential."""
    authority = (await registration_authority(gate)).public_bytes(Encoding.DER)
    answer = await gate(post("simpleenroll", b64encode(make_csr("www.example.org")), certificate=authority))
    assert answer.status == 403
    await gate.mount("default", ("tls",))
    answer = await gate(post("simpleenroll", b64encode(make_csr(NAME)), certificate=authority))
    assert answer.status == 404


async def test_a_makers_certificate_with_the_usage_is_no_ra(gate: Gate) -> None:
    """E13: only our own CA makes registration authorities; what another CA writes into its certificates does not."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = gate.house.clock()
    builder = x509.CertificateBuilder().subject_name(name_of("maker")).issuer_name(name_of("maker"))
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    usages = [x509.OID_CLIENT_AUTH, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    maker = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    await gate.house.core.administration.apply_mount(
        Mount("est", "default", ("device",), "issuing", anchors=(maker,)), ACTOR
    )
    identifier = f"sha256:{sha256(maker).hexdigest()}"
    await gate.credential(method=AuthenticationMethod.CERTIFICATE, identifier=identifier)
    csr = make_csr(NAME, password=b64encode(b"another connection"))
    answer = await gate(post("simpleenroll", b64encode(csr), certificate=maker, tls_version="TLSv1.2"))
    assert answer.status == 400, text_of(answer)
    assert "cannot be compared" in text_of(answer)
    assert not [one async for one in gate.house.core.inventory.certificates()]


async def test_the_servers_own_certificate_speaks_for_the_ca_and_enrols_nobody(gate: Gate) -> None:
    """E14: serverAuth and id-kp-cmcRA (RFC 7030 section 3.6.1); shown by a client it belongs to no credential."""
    usable = await gate.house.core.service_keys.get("tls", "issuing", names=(dns("ca.certgate.test"),))
    certificate = x509.load_der_x509_certificate(usable.key.certificate)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [x509.OID_SERVER_AUTH, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")]
    request = post("simpleenroll", b64encode(make_csr(NAME)), certificate=usable.key.certificate)
    assert (await gate(request)).status == 401
