"""Who may have a certificate at the SCEP door: challenges, certificates, and nobody by a trick."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core.status import RevocationReason
from policy.acting import operator
from policy.audit import AuditTag
from policy.authentication import standing_in
from policy.credential import AuthenticationMethod
from policy.credentialing import CreatedCredential
from policy.order import OrderStatus
from policy.store import CREDENTIAL
from policy.succession import Successor
from tests.conftest import ACTOR, dns
from tests.policy.making import events, request
from tests.protocols.scep.client import (
    MESSAGE_TYPE,
    SENDER_NONCE,
    TRANSACTION_ID,
    Client,
    common_name,
    encrypt,
    make_csr,
    rsa_key,
    self_signed,
    sign,
)
from tests.protocols.scep.gate import NAME, Gate, challenge_of

DER = Encoding.DER


def renewing(certificate: x509.Certificate, key: str = "client") -> Client:
    """A client that signs with a certificate that it has, and asks for a new key."""
    return Client(rsa_key("next"), certificate.public_bytes(DER), rsa_key(key))


# --- T1: the type of a message gives nobody a right


@pytest.mark.parametrize("message_type", [*(number for number in range(256)), "019", "+19", "1_9", "", "x", "¹⁹"])
async def test_no_type_of_message_issues_without_a_right(gate: Gate, message_type: int | str) -> None:
    """T1, S13, CVE-2026-30836: every number, and what only looks like one."""
    client = Client()
    attributes = {
        MESSAGE_TYPE: core.UTF8String(str(message_type)),
        TRANSACTION_ID: core.PrintableString(client.transaction),
        SENDER_NONCE: core.OctetString(client.nonce),
    }
    content = encrypt(make_csr(key=client.key), [await gate.ra()])
    answer = await gate.send(sign(content, attributes, client.key, client.certificate))
    assert answer.status == "2"
    assert await gate.certificates() == 0


@pytest.mark.parametrize("message_type", [0, 3, 18, 255])
async def test_other_types_are_refused_with_a_right_as_well(
    gate: Gate, shown: CreatedCredential, message_type: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: before anything is decrypted or verified."""
    from ca_core.keystores.software import SoftwareKey

    client, ra = Client(), await gate.ra()

    async def never(*_: object) -> bytes:
        raise AssertionError("decrypted")

    monkeypatch.setattr(SoftwareKey, "decrypt", never)
    body = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [ra], message_type)
    answer = await gate.send(body)
    assert (answer.status, answer.fail_info) == ("2", "2")


# --- challenges


@pytest.mark.parametrize(
    "challenge", [None, "", "secret", "fleet:", "fleet:no", "nobody:secret", ":", "fleet", "FLEET:x", "\x00"]
)
async def test_a_wrong_challenge_gets_nothing(gate: Gate, shown: CreatedCredential, challenge: str | None) -> None:
    """S14: absent, empty, wrong, of nobody."""
    answer = await gate.enrol(Client(), challenge)
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert await gate.certificates() == 0
    assert len(await events(gate.house, AuditTag.AUTHENTICATION_FAILED)) == 1


async def test_the_path_or_the_mount_may_name_the_credential(gate: Gate, shown: CreatedCredential) -> None:
    """The challenge password is then the secret alone, whatever characters are in it."""
    assert (await gate.enrol(Client(), shown.secret, path="/scep/default/fleet")).status == "0"
    assert (await gate.enrol(Client(), shown.secret)).status == "2"
    await gate.mount(credential="fleet")
    assert (await gate.enrol(Client(), shown.secret)).status == "0"


async def test_a_challenge_does_not_say_for_which_names(gate: Gate, shown: CreatedCredential) -> None:
    """T2, CERT VU#971035: the product's rules are applied to every request."""
    for name in ("www.example.org", "a.denied.test"):
        answer = await gate.enrol(Client(), challenge_of(shown), name)
        assert (answer.status, answer.fail_info) == ("2", "2")
    assert await gate.certificates() == 0


@pytest.mark.parametrize("state", ["suspended", "revoked"])
async def test_a_stopped_credential_is_refused(gate: Gate, shown: CreatedCredential, state: str) -> None:
    """In SCEP's words, with a reason that its holder understands."""
    admin = gate.house.core.administration
    if state == "suspended":
        await admin.suspend_credential("fleet", ACTOR)
    else:
        await admin.revoke_credential("fleet", "gone", ACTOR)
    answer = await gate.enrol(Client(), challenge_of(shown))
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert state in (answer.fail_text or "")


async def test_a_credential_of_another_door_is_refused(gate: Gate) -> None:
    """One credential, one door."""
    other = await gate.house.credential("est", "device", identifier="est-user")
    answer = await gate.enrol(Client(), f"est-user:{other.secret}")
    assert answer.status == "2"
    assert await gate.certificates() == 0


# --- T8, S9, S10, S16: whose message it is


async def test_a_changed_message_is_a_bad_message(gate: Gate, shown: CreatedCredential) -> None:
    """S10: badMessageCheck, and nothing is decrypted."""
    client = Client()
    body = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [await gate.ra()])
    at = body.index(client.nonce)
    answer = await gate.send(body[:at] + b"X" + body[at + 1 :])
    assert (answer.status, answer.fail_info) == ("2", "1")


async def test_the_signer_has_the_key_of_the_request(gate: Gate, shown: CreatedCredential) -> None:
    """S16: nobody has somebody else's request certified, even with a challenge; the subject may be any."""
    client = Client(rsa_key("other"))
    answer = await gate.ask(client, make_csr(key=rsa_key(), challenge=challenge_of(shown)))
    assert (answer.status, answer.fail_info) == ("2", "1")
    assert await gate.certificates() == 0


async def test_a_request_without_proof_of_possession(gate: Gate, shown: CreatedCredential) -> None:
    """T5, S17: the request's own signature counts, always."""
    csr = bytearray(make_csr(challenge=challenge_of(shown)))
    csr[-1] ^= 1
    answer = await gate.ask(Client(), bytes(csr))
    assert (answer.status, answer.fail_info) == ("2", "1")


async def test_faults_behind_the_encryption_look_alike(gate: Gate, shown: CreatedCredential) -> None:
    """T6, S22: wrong key, wrong size, broken padding and rubbish: the same failInfo and the same words."""
    client, ra = Client(), await gate.ra()
    csr = make_csr(key=client.key, challenge=challenge_of(shown))
    broken = encrypt(csr, [ra])
    messages = [
        client.message(csr, [ra], content_key=bytes(16)),
        client.message(csr, [ra], content_key=b"short"),
        client.message(b"no request", [ra]),
        client.message(csr[:-40], [ra]),
        client.message(csr + b"more", [ra]),
        Client(rsa_key("thief")).message(csr[:-1] + bytes((csr[-1] ^ 1,)), [ra]),
        client.sign(broken[:-1] + bytes((broken[-1] ^ 1,))),
    ]
    answers = [await gate.send(one) for one in messages]
    assert {(one.status, one.fail_info, one.fail_text) for one in answers} == {
        ("2", "2", "the encrypted content cannot be read")
    }


# --- S17, T4: renewal


async def test_renewal_by_the_certificate_that_signs(gate: Gate, shown: CreatedCredential) -> None:
    """S17: RenewalReq, a new key, no challenge."""
    first = await gate.enrolled(Client(), shown)
    client = renewing(first)
    answer = await gate.ask(client, make_csr(NAME, client.key), 17)
    assert answer.status == "0", answer.fail_text
    (second,) = client.certificates(answer)
    assert second.public_key() == client.key.public_key()
    assert second.serial_number != first.serial_number


async def test_renewal_under_the_type_of_a_first_request(gate: Gate, shown: CreatedCredential) -> None:
    """S17: jscep, sscep and macOS send 19; macOS with the challenge of its profile, used up long ago."""
    first = await gate.enrolled(Client(), shown)
    for challenge in (None, "used-up"):
        client = renewing(first)
        answer = await gate.ask(client, make_csr(NAME, client.key, challenge), 19)
        assert answer.status == "0", answer.fail_text


async def test_other_names_are_no_renewal(gate: Gate, shown: CreatedCredential) -> None:
    """S17: subject and names as in the certificate; with a challenge it is another enrolment."""
    first = await gate.enrolled(Client(), shown)
    client = renewing(first)
    for kind in (17, 19):
        answer = await gate.ask(client, make_csr("device-2.certgate.test", client.key), kind)
        assert (answer.status, answer.fail_info) == ("2", "2")
    assert await gate.certificates() == 1
    answer = await gate.ask(client, make_csr("device-2.certgate.test", client.key, challenge_of(shown)), 19)
    assert answer.status == "0", answer.fail_text


async def test_a_self_signed_certificate_renews_nothing(gate: Gate, shown: CreatedCredential) -> None:
    """T4: not even one with the subject of a certificate that there is."""
    await gate.enrolled(Client(), shown)
    client = Client(certificate=self_signed(rsa_key(), NAME))
    answer = await gate.ask(client, make_csr(NAME, client.key), 17)
    assert answer.status == "2"


async def test_a_certificate_of_another_ca_renews_nothing(gate: Gate, shown: CreatedCredential) -> None:
    """T4: nor one that only says that it is of ours."""
    builder = x509.CertificateBuilder().subject_name(common_name(NAME)).issuer_name(common_name("Test Issuing"))
    builder = builder.public_key(rsa_key().public_key()).serial_number(1)
    start = gate.house.clock()
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=9))
    forged = builder.sign(rsa_key("other"), hashes.SHA256())
    answer = await gate.ask(renewing(forged), make_csr(NAME, rsa_key("next")), 17)
    assert answer.status == "2"
    assert await gate.certificates() == 0


async def test_the_ra_renews_nothing(gate: Gate) -> None:
    """T4: the RA's own certificate is of this CA, and speaks for nobody."""
    ra = x509.load_der_x509_certificate(await gate.ra())
    client = Client(rsa_key("next"), ra.public_bytes(DER), rsa_key())
    assert (await gate.ask(client, make_csr(NAME, client.key), 17)).status == "2"


async def test_a_revoked_or_expired_certificate_renews_nothing(gate: Gate, shown: CreatedCredential) -> None:
    """T4, S17."""
    first = await gate.enrolled(Client(), shown)
    stored = await gate.house.core.revocation.by_serial(f"{first.serial_number:040x}")
    await gate.house.core.revocation.revoke(stored, RevocationReason.SUPERSEDED, ACTOR.name)
    answer = await gate.ask(renewing(first), make_csr(NAME, rsa_key("next")), 17)
    assert (answer.status, answer.fail_info) == ("2", "2")
    second = await gate.enrolled(Client(rsa_key("third")), shown)
    gate.house.clock.advance(days=800)
    answer = await gate.ask(renewing(second, "third"), make_csr(NAME, rsa_key("next")), 17)
    assert answer.status == "2"


async def test_revoking_the_credential_ends_its_renewals(gate: Gate, shown: CreatedCredential) -> None:
    """A certificate that a credential enrolled speaks for it no longer than it lives."""
    first = await gate.enrolled(Client(), shown)
    await gate.house.core.administration.revoke_credential("fleet", "stolen", ACTOR)
    answer = await gate.ask(renewing(first), make_csr(NAME, rsa_key("next")), 17)
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert "revoked" in (answer.fail_text or "")


async def test_a_certificate_of_another_door_renews_nothing(gate: Gate) -> None:
    """T4: the certificate of another tenant's TLS server is of the same CA."""
    from ca_core.csr import read_csr
    from policy.order import NewOrder
    from tests.policy.making import est

    principal = await est(gate.house, "device")
    order = await gate.house.core.ra.enroll(principal, NewOrder(request=read_csr(make_csr(NAME))))
    found = await gate.house.core.ra.certificate_of(order)
    answer = await gate.ask(renewing(x509.load_der_x509_certificate(found.der)), make_csr(NAME, rsa_key("next")), 17)
    assert (answer.status, answer.fail_info) == ("2", "2")


async def test_renewal_only_late_enough(gate: Gate, shown: CreatedCredential) -> None:
    """S17: the mount's option; a demand to renew now comes before it."""
    await gate.mount(renew_after=0.5)
    first = await gate.enrolled(Client(), shown)
    client = renewing(first)
    assert (await gate.ask(client, make_csr(NAME, client.key), 17)).status == "2"
    life = first.not_valid_after_utc - first.not_valid_before_utc
    gate.house.clock.advance(seconds=life.total_seconds() / 2)
    assert (await gate.ask(client, make_csr(NAME, client.key), 17)).status == "0"


async def test_a_makers_certificate_enrols(gate: Gate) -> None:
    """S15, S17: another CA's, where mount and credential say so; without them it is nobody's."""
    root_key, device_key = rsa_key("maker"), rsa_key("device")
    start = gate.house.clock() - timedelta(days=1)

    def made(subject: str, key: object, *, ca: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(common_name(subject)).issuer_name(common_name("Maker"))
        builder = builder.public_key(key.public_key()).serial_number(7)  # type: ignore[attr-defined]
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=900))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())  # type: ignore[attr-defined]
        return builder.add_extension(identifier, False).sign(root_key, hashes.SHA256())

    root, device = made("Maker", root_key, ca=True), made("serial 1", device_key, ca=False)
    client = Client(rsa_key("next"), device.public_bytes(DER), device_key)
    assert (await gate.ask(client, make_csr(NAME, client.key))).status == "2"
    anchor = root.fingerprint(hashes.SHA256()).hex()
    await gate.credential(method=AuthenticationMethod.CERTIFICATE, identifier=f"anchor:{anchor}")
    await gate.mount(anchors=(root.public_bytes(DER),))
    answer = await gate.ask(client, make_csr(NAME, client.key))
    assert answer.status == "0", answer.fail_text


# --- manual: a person decides


async def test_without_a_proof_a_person_decides(gate: Gate) -> None:
    """A credential that proves nothing holds every first certificate, whatever the product says; renewals go on."""
    await gate.credential(method=AuthenticationMethod.MANUAL, identifier="visitors")
    client = Client()
    answer = await gate.enrol(client, None, path="/scep/default/visitors")
    assert (answer.status, answer.content) == ("3", b"")
    (order,) = await gate.orders(OrderStatus.HELD)
    await gate.house.core.approval.approve(order.id, operator("user:boss"))
    answer = await gate.enrol(client, None, path="/scep/default/visitors")
    assert answer.status == "0"
    (first,) = client.certificates(answer)
    assert (await gate.ask(renewing(first), make_csr(NAME, rsa_key("next")), 17)).status == "0"


async def test_a_person_decides_about_a_reissue_without_a_proof_too(gate: Gate) -> None:
    """Who has other names certified in the certificate's place, over the API, does not show that certificate."""
    await gate.credential(method=AuthenticationMethod.MANUAL, identifier="visitors")
    await gate.enrol(Client(), None, path="/scep/default/visitors")
    (held,) = await gate.orders(OrderStatus.HELD)
    services = gate.house.core
    order = await services.approval.approve(held.id, operator("user:boss"))
    credential = await services.store.one(CREDENTIAL, order.credential)
    assert credential is not None
    other = "other.certgate.test"
    wanted = Successor(identifiers=(dns(NAME), dns(other)), request=request(NAME, other))
    asking = standing_in(credential, order.mount, "user:alice@key")
    reissued = await services.lifecycle.succession.follow(
        asking, (await services.ra.certificate_of(order)).stored, wanted
    )
    assert reissued.status is OrderStatus.HELD


async def test_a_signer_whose_name_cannot_be_read(gate: Gate) -> None:
    """A BIT STRING where a common name should be: no message that could be answered, and no fault of ours."""
    client = Client()
    written = self_signed(client.key, "\x00weird")
    client.certificate = written.replace(b"\x0c\x06\x00weird", b"\x03\x06\x00weird")
    assert client.certificate != written
    message = client.message(make_csr(key=client.key), [await gate.ra()])
    assert (await gate.post(message)).status == 400
