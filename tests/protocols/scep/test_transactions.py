"""Transactions of the SCEP door: asked for again, polled, raced, and cut off by a crash."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.app import put_together
from policy.acting import operator
from policy.codes import Codes
from policy.credential import AuthenticationMethod
from policy.credentialing import CreatedCredential
from policy.order import OrderStatus
from policy.problems import Malformed, RateLimited
from tests.conftest import ACTOR
from tests.policy.making import crash_while_signing
from tests.protocols.scep.client import (
    CertRep,
    Client,
    issuer_and_serial,
    issuer_and_subject,
    make_csr,
    rsa_key,
    self_signed,
)
from tests.protocols.scep.gate import NAME, Gate, challenge_of

HOUR = timedelta(hours=1)
BOSS = operator("user:boss")
DER = Encoding.DER


async def poll(gate: Gate, client: Client) -> CertRep:
    """CertPoll, with the names that RFC 8894 section 3.3.3 has it repeat."""
    issuing = (await gate.ca())[1].subject.public_bytes()
    asked = issuer_and_subject(issuing, x509.load_der_x509_certificate(client.certificate).subject.public_bytes())
    return await gate.ask(client, asked, 20)


async def held(gate: Gate) -> CreatedCredential:
    """A credential for a product that wants approval."""
    return await gate.credential("held", identifier="patient")


async def approve(gate: Gate) -> None:
    (order,) = await gate.orders(OrderStatus.HELD)
    await gate.house.core.approval.approve(order.id, BOSS)


# --- S18: asked for again


async def test_the_same_request_again_is_the_same_certificate(gate: Gate, shown: CreatedCredential) -> None:
    """S18: a lost answer costs no second certificate, whatever the request's bytes."""
    client = Client()
    serials = set()
    for _ in range(3):
        answer = await gate.enrol(client, challenge_of(shown))
        (certificate,) = client.certificates(answer)
        serials.add(certificate.serial_number)
    assert len(serials) == 1
    assert await gate.certificates() == 1


async def test_the_same_transaction_later_is_a_new_one(gate: Gate, shown: CreatedCredential) -> None:
    """S18: strongSwan's transactionID is a digest of the key, and comes again with the next enrolment."""
    client = Client()
    await gate.enrol(client, challenge_of(shown))
    gate.house.clock.advance(hours=1)
    assert (await gate.enrol(client, challenge_of(shown))).status == "0"
    assert await gate.certificates() == 2


async def test_a_transaction_belongs_to_its_key(gate: Gate, shown: CreatedCredential) -> None:
    """T10: somebody else with the same transactionID gets a certificate of their own, or none."""
    mine, other = Client(transaction="t-1"), Client(rsa_key("other"), transaction="t-1")
    await gate.enrol(mine, challenge_of(shown))
    answer = await gate.enrol(other, challenge_of(shown), "device-2.certgate.test")
    (certificate,) = other.certificates(answer)
    assert certificate.public_key() == other.key.public_key()
    assert await gate.certificates() == 2


async def test_a_renewal_again_with_another_key_is_a_conflict(gate: Gate, shown: CreatedCredential) -> None:
    """S18: one transaction, one key."""
    first = await gate.enrolled(Client(), shown)
    client = Client(rsa_key("next"), first.public_bytes(DER), rsa_key(), transaction="t-2")
    assert (await gate.ask(client, make_csr(NAME, rsa_key("next")), 17)).status == "0"
    answer = await gate.ask(client, make_csr(NAME, rsa_key("other")), 17)
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert await gate.certificates() == 2


async def test_parallel_requests_of_one_transaction(gate: Gate, shown: CreatedCredential) -> None:
    """S18: one certificate for all of them."""
    client = Client()
    answers = await asyncio.gather(*(gate.enrol(client, challenge_of(shown)) for _ in range(8)))
    assert {one.status for one in answers} <= {"0", "3"}
    assert await gate.certificates() == 1


# --- held orders, S19


async def test_a_held_order_is_pending_until_a_person_agrees(gate: Gate) -> None:
    """CertPoll goes on for the same client; the content of PENDING is empty and there (section 3.4)."""
    shown, client = await held(gate), Client()
    answer = await gate.enrol(client, challenge_of(shown))
    assert (answer.status, answer.content, answer.fail_info) == ("3", b"", None)
    assert (await poll(gate, client)).status == "3"
    await approve(gate)
    answer = await poll(gate, client)
    assert answer.status == "0"
    (certificate,) = client.certificates(answer)
    assert certificate.public_key() == client.key.public_key()


async def test_a_client_that_polls_by_its_request(gate: Gate) -> None:
    """S18: micromdm sends the PKCSReq again, every 30 seconds."""
    shown, client = await held(gate), Client()
    for _ in range(2):
        assert (await gate.enrol(client, challenge_of(shown))).status == "3"
    assert len(await gate.orders(OrderStatus.HELD)) == 1
    await approve(gate)
    assert (await gate.enrol(client, challenge_of(shown))).status == "0"
    assert await gate.certificates() == 1


async def test_a_rejected_order_is_a_failure(gate: Gate) -> None:
    """Both ways to ask again learn it."""
    shown, client = await held(gate), Client()
    await gate.enrol(client, challenge_of(shown))
    (order,) = await gate.orders(OrderStatus.HELD)
    await gate.house.core.approval.reject(order.id, BOSS, "not this one")
    for answer in (await poll(gate, client), await gate.enrol(client, challenge_of(shown))):
        assert (answer.status, answer.fail_info) == ("2", "2")
        assert "not this one" in (answer.fail_text or "")


async def test_polling_needs_transaction_and_key(gate: Gate) -> None:
    """S19, T10: an unknown transaction, and a known one of somebody else, are badCertId."""
    shown = await held(gate)
    client = Client(transaction="guessed")
    assert (await gate.enrol(client, challenge_of(shown))).status == "3"
    for other in (Client(transaction="unknown"), Client(rsa_key("other"), transaction="guessed")):
        answer = await poll(gate, other)
        assert (answer.status, answer.fail_info) == ("2", "4")


async def test_polling_long_after_the_approval(gate: Gate) -> None:
    """A client that asks every hour gets its certificate all the same."""
    shown, client = await held(gate), Client()
    await gate.enrol(client, challenge_of(shown))
    await approve(gate)
    gate.house.clock.advance(days=1)
    assert (await poll(gate, client)).status == "0"


async def test_polling_opens_nothing(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """S19: what CertPoll repeats is not needed, so that no private key is asked."""
    shown, client = await held(gate), Client()
    await gate.enrol(client, challenge_of(shown))
    from ca_core.keystores.software import SoftwareKey

    async def never(*_: object) -> bytes:
        raise AssertionError("decrypted")

    monkeypatch.setattr(SoftwareKey, "decrypt", never)
    assert (await poll(gate, client)).status == "3"


# --- T3: one-time challenges


async def code(gate: Gate, *names: str, lifetime: timedelta = HOUR) -> str:
    """A one-time challenge password."""
    core = gate.house.core
    made = await gate.credential(method=AuthenticationMethod.ONE_TIME)
    secret, _ = await Codes(core.store, core.sealing, core.clock).make(made.credential, lifetime, 10, ACTOR.name, names)
    return secret.reveal().decode()


async def test_a_one_time_challenge_is_good_once(gate: Gate) -> None:
    """It names its credential by itself; the second request with it is refused in clear words."""
    challenge = await code(gate)
    assert (await gate.enrol(Client(), challenge)).status == "0"
    answer = await gate.enrol(Client(rsa_key("other")), challenge)
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert "used already" in (answer.fail_text or "")


async def test_twenty_parallel_requests_with_one_challenge(gate: Gate) -> None:
    """T3: exactly one certificate."""
    challenge, ra = await code(gate), await gate.ra()
    keys = [rsa_key(f"parallel-{number % 4}") for number in range(20)]
    bodies = [
        Client(key).message(make_csr(f"device-{number}.certgate.test", key, challenge), [ra])
        for number, key in enumerate(keys)
    ]
    answers = await asyncio.gather(*(gate.send(body) for body in bodies))
    assert sorted(one.status for one in answers) == ["0", *["2"] * 19]
    assert await gate.certificates() == 1


async def test_a_lost_answer_uses_a_challenge_once(gate: Gate) -> None:
    """S18: the same request with the challenge that it used up is the same certificate."""
    challenge, client = await code(gate), Client()
    answers = [await gate.enrol(client, challenge) for _ in range(2)]
    assert [one.status for one in answers] == ["0", "0"]
    assert await gate.certificates() == 1


async def test_a_crash_uses_no_challenge_up_for_nothing(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What used the challenge up is finished by recovery: there is a certificate, and its client gets it."""
    challenge, client = await code(gate), Client()
    await gate.ra()
    with crash_while_signing(gate.house, monkeypatch):
        await gate.enrol(client, challenge)
    assert await gate.certificates() == 0
    await gate.house.core.recovery.finish_open()
    assert await gate.certificates() == 1
    assert (await gate.enrol(client, challenge)).status == "0"
    assert await gate.certificates() == 1


async def test_a_refused_request_uses_no_challenge_up(gate: Gate) -> None:
    """The device may correct itself."""
    challenge = await code(gate)
    assert (await gate.enrol(Client(), challenge, "www.example.org")).status == "2"
    assert (await gate.enrol(Client(), challenge)).status == "0"


async def test_an_expired_challenge_is_refused(gate: Gate) -> None:
    """Its time is looked at inside the transaction."""
    challenge = await code(gate)
    gate.house.clock.advance(hours=2)
    assert (await gate.enrol(Client(), challenge)).status == "2"
    assert await gate.certificates() == 0


async def test_a_challenge_for_names_is_for_these_names(gate: Gate) -> None:
    """T2: no more and no less than it was made for."""
    challenge = await code(gate, NAME)
    assert (await gate.enrol(Client(), challenge, "device-2.certgate.test")).status == "2"
    more = make_csr(NAME, rsa_key(), challenge, san=[NAME, "device-2.certgate.test"])
    assert (await gate.ask(Client(), more)).status == "2"
    assert (await gate.enrol(Client(), challenge)).status == "0"


async def test_codes_are_limited_and_of_one_method(gate: Gate, shown: CreatedCredential) -> None:
    """S25: the cache of passwords is full one day; other credentials have no codes."""
    core = gate.house.core
    codes = Codes(core.store, core.sealing, core.clock)
    made = await gate.credential(method=AuthenticationMethod.ONE_TIME)
    for _ in range(2):
        await codes.make(made.credential, HOUR, 2, ACTOR.name)
    with pytest.raises(RateLimited):
        await codes.make(made.credential, HOUR, 2, ACTOR.name)
    gate.house.clock.advance(hours=2)
    await codes.make(made.credential, HOUR, 2, ACTOR.name)
    with pytest.raises(Malformed):
        await codes.make(shown.credential, HOUR, 2, ACTOR.name)


# --- S20: GetCert and GetCRL


async def test_a_client_asks_for_its_certificate(gate: Gate, shown: CreatedCredential) -> None:
    """GetCert: its own, by issuer and serial number."""
    first = await gate.enrolled(Client(), shown)
    client = Client(certificate=first.public_bytes(DER))
    answer = await gate.ask(client, issuer_and_serial(first), 21)
    assert answer.status == "0", answer.fail_text
    assert client.certificates(answer) == [first]


async def test_a_client_asks_for_the_crl(gate: Gate, shown: CreatedCredential) -> None:
    """GetCRL: in the field for CRLs, without a certificate (RFC 8894 section 4.6)."""
    from asn1crypto import cms

    from tests.protocols.scep.client import decrypt

    await gate.house.core.publication.publish_due()
    first = await gate.enrolled(Client(), shown)
    client = Client(certificate=first.public_bytes(DER))
    answer = await gate.ask(client, issuer_and_serial(first), 22)
    assert answer.content is not None, answer.fail_text
    content = cms.ContentInfo.load(decrypt(answer.content, client.key)[0])["content"]
    assert content["certificates"].native is None
    crl = x509.load_der_x509_crl(content["crls"].contents)
    assert crl.is_signature_valid((await gate.ca())[1].public_key())  # type: ignore[arg-type] # an EC key


@pytest.mark.parametrize("message_type", [21, 22])
async def test_nobody_asks_for_certificates_of_others(gate: Gate, shown: CreatedCredential, message_type: int) -> None:
    """S20, T9: neither who signs for itself, nor who has a certificate of another name; badCertId for all of it."""
    first = await gate.enrolled(Client(), shown)
    second = await gate.enrolled(Client(rsa_key("other")), shown, "device-2.certgate.test")
    stranger = Client(certificate=self_signed(rsa_key(), NAME))
    neighbour = Client(rsa_key("other"), second.public_bytes(DER))
    for client in (stranger, neighbour):
        answer = await gate.ask(client, issuer_and_serial(first), message_type)
        assert (answer.status, answer.fail_info) == ("2", "4")


# --- the RA's own certificate, S7


async def test_the_ra_renews_itself_and_still_reads_what_is_for_the_old_one(
    gate: Gate, shown: CreatedCredential
) -> None:
    """A router keeps the certificate that it fetched once: it is served until that expires."""
    before = await gate.ra()
    gate.house.clock.advance(days=300)
    assert await gate.ra() != before
    client = Client()
    answer = await gate.send(client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [before]))
    assert answer.status == "0"
    assert answer.signer == await gate.ra()
    gate.house.clock.advance(days=100)
    again = Client().message(make_csr(key=client.key, challenge=challenge_of(shown)), [before])
    assert (await gate.send(again)).status == "2"


async def test_the_next_ca_is_shown_and_served(gate: Gate, shown: CreatedCredential) -> None:
    """S7: its certificates signed by the RA that there is; messages for its RA are read."""
    from asn1crypto import cms

    from protocols.cms.signed import read_signed
    from tests.protocols.scep.gate import certificates_in

    core = gate.house.core
    await core.authorities.make_issuing(
        "next", "root", (("CN", "Next Issuing"),), "ec-p256", timedelta(days=900), ACTOR
    )
    # Issuers are loaded at the start of a server.
    gate.house.core = await put_together(core.config, core.store, core.keystore, core.sealing, core.clock)
    await gate.mount(next_issuer="next")
    capabilities = await gate.get("GetCACaps")
    assert b"GetNextCACert" in (capabilities.body if isinstance(capabilities.body, bytes) else b"")
    answer = await gate.get("GetNextCACert")
    assert answer.content_type == "application/x-x509-next-ca-cert"
    assert isinstance(answer.body, bytes)
    signed = read_signed(answer.body)
    signed.verify(x509.load_der_x509_certificate(await gate.ra()).public_key())
    assert signed.content is not None
    assert cms.ContentInfo.load(signed.content)["content"]["version"].native == "v1"
    ra = certificates_in(signed.content)[0]
    client = Client()
    body = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [ra.public_bytes(DER)])
    assert (await gate.send(body)).status == "0"


async def test_the_signing_time_is_looked_at_when_asked_for(gate: Gate, shown: CreatedCredential) -> None:
    """S23: badTime for a clock that is wrong; no clock is no mistake."""
    from asn1crypto import core

    await gate.mount(signing_time_seconds=300)
    for offset, status in ((0, "0"), (7200, "2")):
        client = Client()
        at = core.UTCTime(gate.house.clock() + timedelta(seconds=offset))

        class Dated(Client):
            def attributes(self, message_type: int | str) -> dict[str, core.Asn1Value]:
                return super().attributes(message_type) | {"signing_time": at}  # noqa: B023 - used in this round

        dated = Dated(client.key)
        answer = await gate.enrol(dated, challenge_of(shown))
        assert answer.status == status, answer.fail_text
        assert answer.fail_info == (None if status == "0" else "3")
    assert (await gate.enrol(Client(), challenge_of(shown))).status == "0"
