"""fullcmc on the real services (E26): requests signed by openssl, answers read by pyasn1-modules and openssl."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import char, univ
from pyasn1_modules import rfc6402

from ca_core import der
from policy.acting import operator
from policy.problems import Malformed, TooLarge
from protocols.cmc import FailInfo, Status, read_pki_data
from protocols.http import HTTPResponse
from tests.protocols.est.gate import NAME, Gate, names_of
from tests.protocols.est.small import basic, certificates_in, get, make_csr, name_of, post, text_of

PKI_DATA, PKI_RESPONSE = "1.3.6.1.5.5.7.12.2", "1.3.6.1.5.5.7.12.3"
STATUS, TRANSACTION, SENDER, RECIPIENT = (f"1.3.6.1.5.5.7.7.{number}" for number in (25, 5, 6, 7))
CMC = {"content-type": "application/pkcs7-mime; smime-type=CMC-request"}


def control(number: int, oid: str, value: bytes) -> bytes:
    return der.sequence(der.integer(number), der.object_identifier(oid), der.tlv(0x31, value))


CONTROLS = (control(1, TRANSACTION, der.integer(4711)), control(2, SENDER, der.octet_string(b"client's nonce")))


def tcr(csr: bytes, number: int = 3) -> bytes:
    return der.tlv(0xA0, der.integer(number) + csr)


def pki_data(*requests: bytes, controls: tuple[bytes, ...] = CONTROLS) -> bytes:
    parts = (der.sequence(*controls), der.sequence(*requests), der.sequence(), der.sequence())
    return der.sequence(*parts)


@dataclass
class Client:
    """A CMC client: a key, a certificate for it (its own, or one of ours), and openssl to sign with."""

    gate: Gate
    folder: Path
    headers: dict[str, str] = field(default_factory=dict)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate | None = None

    def own(self) -> x509.Certificate:
        """A certificate that the client signed itself, for lack of another."""
        builder = x509.CertificateBuilder().subject_name(name_of(NAME)).issuer_name(name_of(NAME))
        now = self.gate.house.clock()
        builder = builder.public_key(self.key.public_key()).serial_number(1)
        builder = builder.not_valid_before(now).not_valid_after(now.replace(year=now.year + 1))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        return builder.sign(self.key, SHA256())

    def sign(self, content: bytes, *words: str, content_type: str = PKI_DATA) -> bytes:
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "key.pem").write_bytes(pem)
        (self.folder / "me.pem").write_bytes((self.certificate or self.own()).public_bytes(Encoding.PEM))
        (self.folder / "content").write_bytes(content)
        command = ("openssl", "cms", "-sign", "-nodetach", "-binary", "-in", "content", "-outform", "DER")
        signing = ("-signer", "me.pem", "-inkey", "key.pem", "-econtent_type", content_type)
        run = subprocess.run([*command, *signing, *words], cwd=self.folder, capture_output=True)
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout

    async def send(self, message: bytes) -> HTTPResponse:
        shown = None if self.certificate is None else self.certificate.public_bytes(Encoding.DER)
        return await self.gate(post("fullcmc", b64encode(message), {**CMC, **self.headers}, certificate=shown))

    async def enrol(self, name: str = NAME, *words: str) -> HTTPResponse:
        return await self.send(self.sign(pki_data(tcr(make_csr(name, self.key))), *words))


@pytest.fixture
async def client(gate: Gate, tmp_path: Path) -> Client:
    shown = await gate.credential()
    return Client(gate, tmp_path, basic(shown.credential.identifier, shown.secret or ""))


@dataclass(frozen=True)
class Said:
    """What an answer says: status, failure or pendInfo, and its other controls."""

    status: int
    text: str
    failure: int | None
    pending: bytes | None
    controls: dict[str, bytes]
    certificates: list[x509.Certificate]


async def read(client: Client, answer: HTTPResponse) -> Said:
    """The PKIResponse of an answer: verified by openssl up to the root, decoded by pyasn1-modules."""
    assert answer.content_type == "application/pkcs7-mime; smime-type=CMC-response", text_of(answer)
    folder = client.folder
    (folder / "answer.der").write_bytes(b64decode(text_of(answer), validate=True))
    chain = certificates_in(await client.gate(get("cacerts")))
    (folder / "all.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    moment = str(int(client.gate.house.clock().timestamp()) + 1)
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "answer.der", "-CAfile", "all.pem", "-binary"]
    more = ["-purpose", "any", "-attime", moment, "-certsout", "certs.pem"]
    run = subprocess.run([*command, *more], cwd=folder, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    decoded, rest = decoder.decode(run.stdout, asn1Spec=rfc6402.PKIResponse())
    assert not rest
    controls = {str(one["attrType"]): bytes(one["attrValues"][0]) for one in decoded["controlSequence"]}
    # pyasn1-modules has extendedFailInfo without its tag, so that it cannot decode what is optional in here.
    status, rest = decoder.decode(controls.pop(STATUS))
    assert not rest
    parts = [status[index] for index in range(len(status))]
    assert [int(parts[1][index]) for index in range(len(parts[1]))] == [3]
    return Said(
        int(parts[0]),
        next((str(one) for one in parts[2:] if isinstance(one, char.UTF8String)), ""),
        next((int(one) for one in parts[2:] if isinstance(one, univ.Integer)), None),
        next((bytes(one[0]) for one in parts[2:] if isinstance(one, univ.Sequence)), None),
        controls,
        x509.load_pem_x509_certificates((folder / "certs.pem").read_bytes()),
    )


async def issued(client: Client, answer: HTTPResponse) -> x509.Certificate:
    assert answer.status == 200, text_of(answer)
    said = await read(client, answer)
    assert (said.status, said.failure) == (Status.SUCCESS, None)
    (certificate,) = [one for one in said.certificates if one.public_key() == client.key.public_key()]
    return certificate


async def test_a_request_is_served_and_the_answer_fits(client: Client) -> None:
    """E26: the certificate in a signed PKIResponse; transaction and nonce come back, and a nonce of the server's."""
    answer = await client.enrol()
    certificate = await issued(client, answer)
    assert names_of(certificate) == [NAME]
    said = await read(client, answer)
    assert said.controls[TRANSACTION] == der.integer(4711)
    assert said.controls[RECIPIENT] == der.octet_string(b"client's nonce")
    assert len(said.controls[SENDER]) == 18
    again = await read(client, await client.enrol())
    assert again.controls[SENDER] != said.controls[SENDER]
    assert certificate in again.certificates


async def test_the_key_of_the_request_may_sign_without_a_certificate(client: Client) -> None:
    """E26, RFC 5272 section 3.2: a first request names its signer by the key identifier."""
    await issued(client, await client.enrol(NAME, "-keyid", "-nocerts"))


async def test_a_certificate_of_ours_renews(client: Client) -> None:
    """E26: shown in the handshake, it signs the message for a new key; other names are no renewal."""
    old, old_key = await issued(client, await client.enrol()), client.key
    new_key = ec.generate_private_key(ec.SECP256R1())
    client.headers, client.certificate = {}, old
    message = client.sign(pki_data(tcr(make_csr(NAME, new_key))))
    answer = await client.send(message)
    client.key = new_key
    renewed = await issued(client, answer)
    assert renewed.subject == old.subject
    client.key = old_key
    answer = await client.send(client.sign(pki_data(tcr(make_csr("device-2.certgate.test", new_key)))))
    assert answer.status == 400
    assert (await read(client, answer)).failure == FailInfo.BAD_REQUEST


async def test_a_held_request_is_pending_until_it_is_approved(client: Client) -> None:
    """E26, E8: 202 with Retry-After and pendInfo; the same request gets the certificate."""
    shown = await client.gate.credential("held")
    client.headers = basic(shown.credential.identifier, shown.secret or "")
    answer = await client.enrol()
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (202, "60")
    said = await read(client, answer)
    (order,) = [one async for one in client.gate.house.core.inventory.orders(status="held")]
    assert (said.status, said.pending) == (Status.PENDING, order.id.encode())
    await client.gate.house.core.approval.approve(order.id, operator("user:bob"))
    await issued(client, await client.enrol())


async def test_what_is_refused_is_refused_in_cmc(client: Client) -> None:
    """E26: popFailed, badMessageCheck, badRequest; 4xx, and nothing is issued."""
    forged = bytearray(make_csr(NAME, client.key))
    forged[-1] ^= 1
    stranger = Client(client.gate, client.folder)
    for message, status, failure, words in (
        (client.sign(pki_data(tcr(bytes(forged)))), 400, FailInfo.POP_FAILED, "certification request"),
        (stranger.sign(pki_data(tcr(make_csr(NAME, client.key)))), 400, FailInfo.BAD_MESSAGE_CHECK, "signed neither"),
        (client.sign(pki_data(tcr(b"\x30\x00"))), 400, FailInfo.BAD_REQUEST, "PKCS #10"),
        (client.sign(pki_data(tcr(make_csr("www.example.org", client.key)))), 403, FailInfo.BAD_REQUEST, "example.org"),
    ):
        answer = await client.send(message)
        said = await read(client, answer)
        assert (answer.status, said.status, said.failure) == (status, Status.FAILED, failure), said
        assert words in said.text
    linked = make_csr(NAME, client.key, password=b64encode(b"another connection"))
    said = await read(client, await client.send(client.sign(pki_data(tcr(linked)))))
    assert said.failure == FailInfo.POP_FAILED
    assert not [one async for one in client.gate.house.core.inventory.orders()]


async def test_what_is_no_request_is_refused_in_a_text(client: Client) -> None:
    """E26: several requests, CRMF, controls that are not served, other contents: 400, and nothing is signed."""
    csr = make_csr(NAME, client.key)
    revoke = control(4, "1.3.6.1.5.5.7.7.17", der.sequence())
    for message in (
        client.sign(pki_data(tcr(csr), tcr(csr, 4))),
        client.sign(pki_data()),
        client.sign(pki_data(der.tlv(0xA1, csr))),
        client.sign(pki_data(tcr(csr), controls=(revoke,))),
        client.sign(pki_data(tcr(csr), controls=(CONTROLS[0], CONTROLS[0]))),
        client.sign(pki_data(tcr(csr)), content_type="1.2.840.113549.1.7.1"),
        client.sign(b"no PKIData"),
        b"\x30\x00",
        csr,
    ):
        answer = await client.send(message)
        assert answer.status == 400
        assert answer.content_type == "text/plain; charset=utf-8"
    assert not [one async for one in client.gate.house.core.inventory.orders()]


async def test_nothing_is_signed_for_strangers(client: Client) -> None:
    """E26: 401 with a challenge before the message is looked at; another media type is 415."""
    message = client.sign(pki_data(tcr(make_csr(NAME, client.key))))
    user = client.headers
    client.headers = {}
    answer = await client.send(message)
    assert answer.status == 401
    assert "WWW-Authenticate" in dict(answer.headers)
    client.headers = {**user, "content-type": "application/pkcs10"}
    assert (await client.send(message)).status == 415


async def test_a_secret_in_the_request_authenticates(client: Client) -> None:
    """E16: where the challengePassword is a secret of the credential, in CMC as well."""
    await client.gate.mount(challenge_password="secret")
    user, _, password = b64decode(client.headers["authorization"].removeprefix("Basic ")).partition(b":")
    client.headers = {}
    csr = make_csr(NAME, client.key, password=user + b":" + password)
    await issued(client, await client.send(client.sign(pki_data(tcr(csr)))))
    wrong = make_csr(NAME, client.key, password=user + b":no")
    assert (await client.send(client.sign(pki_data(tcr(wrong))))).status == 401


def test_pyasn1_modules_writes_what_is_read_here() -> None:
    """A PKIData by somebody else's encoder."""
    data, _ = decoder.decode(pki_data(tcr(make_csr())), asn1Spec=rfc6402.PKIData())
    read = read_pki_data(encoder.encode(data))
    assert read.body_part == der.integer(3)
    assert read.transaction_id == der.integer(4711)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    """Whatever stands in the message, or in any part of it."""
    for content in (data, pki_data(data), pki_data(tcr(data)), pki_data(tcr(b""), controls=(data,))):
        try:
            read_pki_data(content)
        except (Malformed, TooLarge):
            continue
