"""The SCEP door: what it shows to everybody, and how a request becomes an answer."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from policy.credentialing import CreatedCredential
from protocols.http import HTTPResponse
from tests.protocols.scep.client import Client, decrypt, make_csr, read_cert_rep, rsa_key, self_signed, sign
from tests.protocols.scep.gate import NAME, PATH, Gate, certificates_in, challenge_of, http, in_query

MODERN = "AES\nSHA-256\nSHA-512\nPOSTPKIOperation\nRenewal\nSCEPStandard\n"


def text(answer: HTTPResponse) -> str:
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


# --- what everybody may read


async def test_capabilities_are_modern_by_default(gate: Gate) -> None:
    """S4, S24: SHA-1 and triple DES are not announced; Renewal is, without which macOS does not renew."""
    answer = await gate.get("GetCACaps")
    assert (answer.status, answer.content_type, text(answer)) == (200, "text/plain", MODERN)


@pytest.mark.parametrize(
    ("legacy", "more"),
    [(["des3"], "DES3\n"), (["sha1"], "SHA-1\n"), (["single-des"], ""), (["sha1", "des3"], "DES3\nSHA-1\n")],
)
async def test_old_algorithms_are_announced_behind_their_switch(gate: Gate, legacy: list[str], more: str) -> None:
    """S24: each by its own; single DES never."""
    await gate.mount(legacy=legacy)
    assert text(await gate.get("GetCACaps")) == MODERN + more


@pytest.mark.parametrize("operation", ["GetCACaps", "getcacaps", "GETCACAPS", "%47etCACaps"])
@pytest.mark.parametrize("more", ["", "&message=", "&message=0", "&x=y"])
async def test_operations_in_any_case_with_anything_behind(gate: Gate, operation: str, more: str) -> None:
    """S1: jscep sends an empty message, certmonger a number."""
    answer = await gate(http("GET", PATH, f"operation={operation}{more}"))
    assert text(answer) == MODERN


@pytest.mark.parametrize(
    "path",
    [
        *("/scep", "/scep/", "/scep/pkiclient.exe", "/scep/default", "/scep/default/", "/scep/default/pkiclient.exe"),
        *("/scep/default/fleet", "/scep/default/fleet/", "/scep/default/fleet/pkiclient.exe"),
        *("/cgi-bin/pkiclient.exe", "/certsrv/mscep", "/certsrv/mscep/", "/certsrv/mscep/mscep.dll"),
        "/certsrv/mscep/mscep.dll/pkiclient.exe",
    ],
)
async def test_the_same_at_every_path(gate: Gate, path: str) -> None:
    """S1: the paths of RFC 8894, of Cisco and of NDES."""
    assert text(await gate.get("GetCACaps", path=path)) == MODERN


@pytest.mark.parametrize("query", ["", "operation=", "operation=GetCertInitial", "message=abc", "operation"])
async def test_what_is_no_operation_is_400(gate: Gate, query: str) -> None:
    """RFC 8894 section 4.1."""
    assert (await gate(http("GET", PATH, query))).status == 400


async def test_ca_certificates_begin_with_the_ra(gate: Gate) -> None:
    """S5, S6: an RSA certificate for an EC CA, for signatures and encipherment, first; then issuing CA and root."""
    answer = await gate.get("GetCACert")
    assert answer.content_type == "application/x-x509-ca-ra-cert"
    assert isinstance(answer.body, bytes)
    ra, issuing, root = certificates_in(answer.body)
    assert ra.subject.rfc4514_string() == "CN=SCEP RA of issuing"
    assert (issuing.subject.rfc4514_string(), root.subject.rfc4514_string()) == ("CN=Test Issuing", "CN=Test Root")
    usage = ra.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, True, False)
    ra.verify_directly_issued_by(issuing)
    assert not ra.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_ca_certificates_without_root_or_chain(gate: Gate) -> None:
    """S5: options of the mount; one certificate alone is DER with a type of its own."""
    await gate.mount(include_root=False)
    assert [one.subject.rfc4514_string() for one in await gate.ca()] == ["CN=SCEP RA of issuing", "CN=Test Issuing"]
    await gate.mount(ra_only=True)
    answer = await gate.get("GetCACert")
    assert answer.content_type == "application/x-x509-ca-cert"
    assert [one.subject.rfc4514_string() for one in await gate.ca()] == ["CN=SCEP RA of issuing"]


# --- PKCSReq


async def test_a_request_is_answered_with_its_certificate(gate: Gate, shown: CreatedCredential) -> None:
    """S8, S21: the golden CertRep. Its signature is verified by `read_cert_rep`, its content decrypted by others."""
    client = Client()
    answer = await gate.enrol(client, challenge_of(shown))
    assert (answer.status, answer.fail_info, answer.message_type) == ("0", None, "3")
    assert answer.recipient_nonce == client.nonce
    assert len(answer.sender_nonce) == 16
    assert client.transaction.encode() in answer.transaction
    assert answer.signer == await gate.ra()
    (certificate,) = client.certificates(answer)
    assert certificate.public_key() == client.key.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]


async def test_by_get(gate: Gate, shown: CreatedCredential) -> None:
    """S2: certmonger sends the message in the query."""
    client = Client()
    body = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [await gate.ra()])
    answer = await gate.get("PKIOperation", in_query(body))
    assert isinstance(answer.body, bytes)
    assert read_cert_rep(answer.body).status == "0"


async def test_a_post_without_an_operation(gate: Gate, shown: CreatedCredential) -> None:
    """S1: it can mean one thing only."""
    client = Client()
    body = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [await gate.ra()])
    answer = await gate.post(body, query="")
    assert isinstance(answer.body, bytes)
    assert read_cert_rep(answer.body).status == "0"


@pytest.mark.parametrize("cipher", ["aes128_cbc", "aes192_cbc", "aes256_cbc"])
async def test_the_answer_has_the_cipher_of_the_request(gate: Gate, shown: CreatedCredential, cipher: str) -> None:
    """S12, S21."""
    client = Client(cipher=cipher)
    answer = await gate.enrol(client, challenge_of(shown))
    assert answer.content is not None
    assert decrypt(answer.content, client.key)[1] == cipher


@pytest.mark.parametrize(
    ("cipher", "switch", "answered"),
    [("tripledes_3key", "des3", "tripledes_3key"), ("des", "single-des", "aes128_cbc")],
)
async def test_old_ciphers_behind_their_switch(
    gate: Gate, shown: CreatedCredential, cipher: str, switch: str, answered: str
) -> None:
    """S12, T7: badAlg by default; behind its switch read, and single DES never answered with."""
    client = Client(cipher=cipher)
    refused = await gate.enrol(client, challenge_of(shown))
    assert (refused.status, refused.fail_info) == ("2", "0")
    assert await gate.certificates() == 0
    await gate.mount(legacy=[switch])
    answer = await gate.enrol(client, challenge_of(shown))
    assert answer.content is not None
    assert decrypt(answer.content, client.key)[1] == answered


async def test_sha1_behind_its_switch(gate: Gate, shown: CreatedCredential) -> None:
    """S24, T7: a message signed with SHA-1 is badAlg by default."""
    client = Client(digest="sha1")
    assert (await gate.enrol(client, challenge_of(shown))).fail_info == "0"
    await gate.mount(legacy=["sha1"])
    assert (await gate.enrol(client, challenge_of(shown))).status == "0"


@pytest.mark.parametrize("oaep", ["sha1", "sha256"])
async def test_oaep(gate: Gate, shown: CreatedCredential, oaep: str) -> None:
    """S11."""
    client = Client()
    answer = await gate.ask(client, make_csr(key=client.key, challenge=challenge_of(shown)), oaep=oaep)
    assert answer.status == "0"


async def test_one_of_several_recipients(gate: Gate, shown: CreatedCredential) -> None:
    """S11: micromdm encrypts to every certificate of GetCACert; ours is found by its name."""
    client = Client()
    other = self_signed(rsa_key("other"))
    body = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [other, await gate.ra(), other])
    assert (await gate.send(body)).status == "0"
    nobody = client.message(make_csr(key=client.key, challenge=challenge_of(shown)), [other])
    assert (await gate.send(nobody)).fail_info == "2"


async def test_an_ec_signer_is_told_before_anything_is_issued(gate: Gate, shown: CreatedCredential) -> None:
    """S21: nobody could read the answer."""
    key = ec.generate_private_key(ec.SECP256R1())
    client = Client(certificate=self_signed(key), signing_key=key)
    answer = await gate.ask(client, make_csr(key=key, challenge=challenge_of(shown)))
    assert (answer.status, answer.fail_info) == ("2", "0")
    assert "RSA" in (answer.fail_text or "")
    assert await gate.certificates() == 0


async def test_a_failure_has_an_empty_content(gate: Gate, shown: CreatedCredential) -> None:
    """Section 3.4: certmonger takes a missing eContent for a broken message."""
    answer = await gate.enrol(Client(), "fleet:wrong")
    assert (answer.status, answer.fail_info, answer.content) == ("2", "2", b"")
    assert "wrong" in (answer.fail_text or "")


# --- what cannot be answered


@pytest.mark.parametrize("body", [b"", b"hello", b"0\x80" * 40_000, bytes(70_000), b"\x30\x03\x02\x01\x00"])
async def test_rubbish_is_a_status_and_no_message(gate: Gate, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """S8, T11: no transaction to answer, no private key asked."""
    await gate.ra()
    used = no_private_key(monkeypatch)
    answer = await gate.post(body)
    assert answer.status in (400, 413)
    assert answer.content_type == "text/plain; charset=utf-8"
    assert not used


def no_private_key(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which private-key operations were asked for from now on."""
    from ca_core.keystores.software import SoftwareKey

    used: list[str] = []

    async def sign(self: object, data: bytes) -> bytes:
        used.append("sign")
        return b""

    async def opened(self: object, ciphertext: bytes, scheme: str) -> bytes:
        used.append("decrypt")
        return b""

    monkeypatch.setattr(SoftwareKey, "sign", sign)
    monkeypatch.setattr(SoftwareKey, "decrypt", opened)
    return used


@pytest.mark.parametrize("missing", ["2.16.840.1.113733.1.9.7", "2.16.840.1.113733.1.9.5"])
async def test_a_message_without_transaction_or_nonce_is_400(gate: Gate, missing: str) -> None:
    """S8, S9."""
    client = Client()
    attributes = {oid: value for oid, value in client.attributes(19).items() if oid != missing}
    answer = await gate.post(sign(b"content", attributes, client.key, client.certificate))
    assert answer.status == 400


async def test_a_get_with_a_message_that_is_no_base64(gate: Gate) -> None:
    """S2."""
    assert (await gate.get("PKIOperation", "!!!")).status == 400


async def test_no_next_ca_unless_there_is_one(gate: Gate) -> None:
    """S7."""
    assert (await gate.get("GetNextCACert")).status == 400
