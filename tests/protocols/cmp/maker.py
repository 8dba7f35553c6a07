"""A CMP client of the tests: it writes messages with its own few lines of DER, right or wrong as it is told.

What comes back is decoded by pyasn1-modules, and its protection is verified, always.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc4210

from policy.credentialing import CreatedCredential
from policy.mount import Mount
from protocols.cmp import PROTOCOL
from protocols.cmp.endpoint import CMPEndpoint
from protocols.cmp.settings import CMPSettings
from protocols.endpoint import Services, dispatch
from protocols.http import HTTPRequest, HTTPResponse, PeerIdentity
from tests.conftest import ACTOR, House

Key = Any
BODIES = (
    *("ir", "ip", "cr", "cp", "p10cr", "popdecc", "popdecr", "kur", "kup", "krr", "krp", "rr", "rp", "ccr", "ccp"),
    *("ckuann", "cann", "rann", "crlann", "pkiconf", "nested", "genm", "genp", "error", "certConf", "pollReq"),
    "pollRep",
)
NUMBER = {name: number for number, name in enumerate(BODIES)}
FAILURES = (
    *("badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId", "badDataFormat", "wrongAuthority"),
    *("incorrectData", "missingTimeStamp", "badPOP", "certRevoked", "certConfirmed", "wrongIntegrity"),
    *("badRecipientNonce", "timeNotAvailable", "unacceptedPolicy", "unacceptedExtension", "addInfoNotAvailable"),
    *("badSenderNonce", "badCertTemplate", "signerNotTrusted", "transactionIdInUse", "unsupportedVersion"),
    *("notAuthorized", "systemUnavail", "systemFailure", "duplicateCertReq"),
)
IMPLICIT = "1.3.6.1.5.5.7.4.13"
WAIT_TIME = "1.3.6.1.5.5.7.4.14"
PROFILE = "1.3.6.1.5.5.7.4.21"


# --- a few lines of DER


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def seq(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def num(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    return tlv(4, value)


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, arc & 0x7F | 0x80)
        out += bytes(groups)
    return tlv(6, bytes(out))


def bits(value: bytes) -> bytes:
    return tlv(3, b"\x00" + value)


def moment(at: datetime) -> bytes:
    return tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())


def alg(dotted: str, *parameters: bytes) -> bytes:
    return seq(oid(dotted), *parameters)


def info(dotted: str, value: bytes = b"\x05\x00") -> bytes:
    return seq(oid(dotted), value)


def name(text: str = "") -> bytes:
    """The DER of a Name with a common name; the empty one without."""
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, text)] if text else []
    return x509.Name(attributes).public_bytes()


def directory_name(der: bytes) -> bytes:
    return tlv(0xA4, der)


def spki_of(key: Key) -> bytes:
    der: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def inner(der: bytes) -> bytes:
    """The content of one element."""
    head = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    return der[head:]


def elements(content: bytes) -> list[bytes]:
    """The elements that stand one after the other."""
    found = []
    while content:
        size, head = content[1], 2
        if size >= 0x80:
            head += size & 0x7F
            size = int.from_bytes(content[2:head], "big")
        found.append(content[: head + size])
        content = content[head + size :]
    return found


# --- keys and protection

SIGNATURES: Mapping[str, tuple[bytes, Callable[[Key, bytes], bytes]]] = {
    "ecdsa": (alg("1.2.840.10045.4.3.2"), lambda key, data: key.sign(data, ec.ECDSA(hashes.SHA256()))),
    "rsa": (
        alg("1.2.840.113549.1.1.11", b"\x05\x00"),
        lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()),
    ),
    "ed25519": (alg("1.3.101.112"), lambda key, data: key.sign(data)),
    "ed448": (alg("1.3.101.113"), lambda key, data: key.sign(data)),
    "ml-dsa-44": (alg("2.16.840.1.101.3.4.3.17"), lambda key, data: key.sign(data)),
    "ml-dsa-65": (alg("2.16.840.1.101.3.4.3.18"), lambda key, data: key.sign(data)),
}


def signing(key: Key) -> tuple[bytes, Callable[[Key, bytes], bytes]]:
    kinds = {ec.EllipticCurvePrivateKey: "ecdsa", rsa.RSAPrivateKey: "rsa", ed25519.Ed25519PrivateKey: "ed25519"}
    kinds[ed448.Ed448PrivateKey] = "ed448"
    kinds |= {mldsa.MLDSA44PrivateKey: "ml-dsa-44", mldsa.MLDSA65PrivateKey: "ml-dsa-65"}
    return SIGNATURES[next(named for kind, named in kinds.items() if isinstance(key, kind))]


HMACS = {"sha1": "1.3.6.1.5.5.8.1.2", "sha256": "1.2.840.113549.2.9", "sha512": "1.2.840.113549.2.11"}
OWFS = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1", "sha512": "2.16.840.1.101.3.4.2.3"}


@dataclass(frozen=True)
class Secret:
    """Protection by a shared secret: PBM, or PBMAC1."""

    reference: bytes
    secret: bytes
    pbmac1: bool = False
    iterations: int = 500
    salt: bytes = b"sixteen octets.."
    owf: str = "sha256"
    mac: str = "sha1"
    key_length: int | None = 32
    prf: str | None = "sha256"

    @property
    def algorithm(self) -> bytes:
        if not self.pbmac1:
            parameters = seq(octets(self.salt), alg(OWFS[self.owf]), num(self.iterations), alg(HMACS[self.mac]))
            return alg("1.2.840.113533.7.66.13", parameters)
        length = num(self.key_length) if self.key_length is not None else b""
        prf = alg(HMACS[self.prf], b"\x05\x00") if self.prf is not None else b""
        pbkdf2 = alg("1.2.840.113549.1.5.12", seq(octets(self.salt), num(self.iterations), length, prf))
        return alg("1.2.840.113549.1.5.14", seq(pbkdf2, alg(HMACS[self.mac], b"\x05\x00")))

    @property
    def key(self) -> bytes:
        if self.pbmac1:
            length = self.key_length or 32
            return hashlib.pbkdf2_hmac(self.prf or "sha1", self.secret, self.salt, self.iterations, length)
        key = self.secret + self.salt
        for _ in range(self.iterations):
            key = hashlib.new(self.owf, key).digest()
        return key

    def protect(self, data: bytes) -> bytes:
        return hmac.digest(self.key, data, self.mac)

    @property
    def sender(self) -> bytes:
        return directory_name(name("a client"))

    @property
    def key_id(self) -> bytes | None:
        return self.reference

    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Signer:
    """Protection by a signature."""

    certificate: bytes
    private_key: Key
    chain: tuple[bytes, ...] = ()

    @property
    def algorithm(self) -> bytes:
        return signing(self.private_key)[0]

    def protect(self, data: bytes) -> bytes:
        return signing(self.private_key)[1](self.private_key, data)

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def sender(self) -> bytes:
        return directory_name(self.x509.subject.public_bytes())

    @property
    def key_id(self) -> bytes | None:
        try:
            return self.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        except x509.ExtensionNotFound:
            return None

    @property
    def certificates(self) -> tuple[bytes, ...]:
        return (self.certificate, *self.chain)


Protection = Secret | Signer


# --- messages

_TAGS = {
    "message_time": 0xA0,
    "algorithm": 0xA1,
    "sender_kid": 0xA2,
    "recip_kid": 0xA3,
    "transaction_id": 0xA4,
    "sender_nonce": 0xA5,
    "recip_nonce": 0xA6,
    "free_text": 0xA7,
    "infos": 0xA8,
}


@dataclass(frozen=True)
class Message:
    """A message to be sent; what is None is left out. Fields are DER where they have no obvious Python value."""

    body: str
    content: bytes
    protection: Protection | None
    at: datetime
    pvno: int = 2
    sender: bytes | None = None
    recipient: bytes = directory_name(name("CMP"))
    message_time: bytes | None = b""
    algorithm: bytes | None = b""
    sender_kid: bytes | None = b""
    recip_kid: bytes | None = None
    transaction_id: bytes | None = field(default_factory=lambda: os.urandom(16))
    sender_nonce: bytes | None = field(default_factory=lambda: os.urandom(16))
    recip_nonce: bytes | None = None
    free_text: bytes | None = None
    infos: Sequence[bytes] | None = None
    certificates: Sequence[bytes] | None = None
    spoil: bool = False
    unprotected: bool = False

    @property
    def header(self) -> bytes:
        used = self.protection
        algorithm = used.algorithm if self.algorithm == b"" and used is not None else self.algorithm or None
        kid = used.key_id if self.sender_kid == b"" and used is not None else self.sender_kid or None
        sender = self.sender or (used.sender if used is not None else directory_name(name()))
        values = {
            "message_time": moment(self.at) if self.message_time == b"" else self.message_time,
            "algorithm": algorithm,
            "sender_kid": octets(kid) if kid is not None else None,
            "recip_kid": octets(self.recip_kid) if self.recip_kid is not None else None,
            "transaction_id": octets(self.transaction_id) if self.transaction_id is not None else None,
            "sender_nonce": octets(self.sender_nonce) if self.sender_nonce is not None else None,
            "recip_nonce": octets(self.recip_nonce) if self.recip_nonce is not None else None,
            "free_text": self.free_text,
            "infos": seq(*self.infos) if self.infos is not None else None,
        }
        tagged = [tlv(tag, value) for field_, tag in _TAGS.items() if (value := values[field_]) is not None]
        return seq(num(self.pvno), sender, self.recipient, *tagged)

    @property
    def der(self) -> bytes:
        header, body = self.header, tlv(0xA0 | NUMBER[self.body], self.content)
        protection = b""
        if self.protection is not None and not self.unprotected:
            mark = self.protection.protect(seq(header, body))
            if self.spoil:
                mark = bytes((mark[0] ^ 1,)) + mark[1:]
            protection = tlv(0xA0, bits(mark))
        extra = self.certificates
        if extra is None:
            extra = self.protection.certificates if self.protection is not None else ()
        return seq(header, body, protection, tlv(0xA1, seq(*extra)) if extra else b"")

    def but(self, **changes: Any) -> Message:
        return replace(self, **changes)


# --- bodies


@dataclass(frozen=True)
class Template:
    """A CertTemplate; what is None is left out."""

    subject: bytes | None = None
    spki: bytes | None = None
    names: tuple[str, ...] = ()
    extensions: bytes | None = None
    serial: int | None = None
    issuer: bytes | None = None
    validity: bytes | None = None

    @property
    def der(self) -> bytes:
        extensions = self.extensions
        if extensions is None and self.names:
            found = x509.SubjectAlternativeName([x509.DNSName(one) for one in self.names])
            extensions = seq(seq(oid("2.5.29.17"), octets(found.public_bytes())))
        return seq(
            tlv(0x81, inner(num(self.serial))) if self.serial is not None else b"",
            tlv(0xA3, self.issuer) if self.issuer is not None else b"",
            tlv(0xA4, self.validity) if self.validity is not None else b"",
            tlv(0xA5, self.subject) if self.subject is not None else b"",
            tlv(0xA6, inner(self.spki)) if self.spki is not None else b"",
            tlv(0xA9, inner(extensions)) if extensions is not None else b"",
        )


def cert_req(
    template: Template, key: Key | None, *, number: int = 0, controls: Sequence[bytes] = (), proof: bytes | None = None
) -> bytes:
    """A CertReqMsg, its possession proven by a signature unless `proof` says otherwise."""
    request = seq(num(number), template.der, seq(*controls) if controls else b"")
    if proof is None and key is not None:
        identifier, sign = signing(key)
        proof = tlv(0xA1, identifier, bits(sign(key, request)))
    return seq(request, proof or b"")


def request_for(common_name: str, key: Key, *names: str, **more: Any) -> bytes:
    """CertReqMessages with one request."""
    template = Template(subject=name(common_name), spki=spki_of(key), names=names)
    return seq(cert_req(template, key, **more))


RA_VERIFIED = b"\x80\x00"


def csr(common_name: str, key: Key, *names: str) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def cert_conf(certificate: bytes, *, number: int = 0, status: bytes = b"", hash_alg: bytes | None = None) -> bytes:
    """CertConfirmContent for one certificate."""
    hashed = hashlib.sha256(certificate).digest()
    return seq(seq(octets(hashed), num(number), status, tlv(0xA0, hash_alg) if hash_alg is not None else b""))


def reason(code: int) -> bytes:
    """crlEntryDetails with a reason."""
    return seq(oid("2.5.29.21"), octets(tlv(0x0A, bytes((code,)))))


def rev_req(certificate: bytes, *reasons: bytes, **changes: Any) -> bytes:
    """RevReqContent for one certificate."""
    read = x509.load_der_x509_certificate(certificate)
    template = replace(Template(serial=read.serial_number, issuer=read.issuer.public_bytes()), **changes)
    return seq(seq(template.der, seq(*reasons) if reasons else b""))


# --- answers


@dataclass(frozen=True)
class Answer:
    """An answer as pyasn1-modules reads it; its protection is good."""

    http: HTTPResponse
    der: bytes
    message: Any
    body: str
    mac: bool

    @property
    def content(self) -> Any:
        return self.message["body"].getComponent()

    @property
    def header(self) -> Any:
        return self.message["header"]

    @property
    def transaction_id(self) -> bytes:
        return bytes(self.header["transactionID"])

    @property
    def nonce(self) -> bytes:
        return bytes(self.header["senderNonce"])

    @property
    def _status_info(self) -> Any:
        if self.body == "error":
            return self.content["pKIStatusInfo"]
        if self.body == "rp":
            return self.content["status"][0]
        return self.content["response"][0]["status"]

    @property
    def status(self) -> int:
        return int(self._status_info["status"])

    @property
    def fail(self) -> str | None:
        """The one bit of failInfo."""
        if self.body == "pkiconf" or not self._status_info["failInfo"].isValue:
            return None
        (bit,) = [place for place, one in enumerate(self._status_info["failInfo"]) if one]
        return FAILURES[bit]

    @property
    def text(self) -> str:
        found = self._status_info["statusString"]
        return str(found[0]) if found.isValue and len(found) else ""

    @property
    def number(self) -> int:
        return int(self.content["response"][0]["certReqId"])

    @property
    def certificate(self) -> bytes:
        pair = self.content["response"][0]["certifiedKeyPair"]["certOrEncCert"]["certificate"]
        der: bytes = encoder.encode(pair)
        # pyasn1 keeps the explicit tag [0] around the CHOICE.
        return inner(der) if der[0] == 0xA0 else der

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def ca_pubs(self) -> int:
        found = self.content["caPubs"]
        return len(found) if found.isValue else 0

    @property
    def infos(self) -> dict[str, bytes]:
        found = self.header["generalInfo"]
        return {str(one["infoType"]): bytes(one["infoValue"]) for one in found} if found.isValue else {}

    @property
    def extra_certs(self) -> list[bytes]:
        found = self.message["extraCerts"]
        return [encoder.encode(one) for one in found] if found.isValue else []

    def told(self) -> tuple[str, str | None]:
        return self.body, self.fail


_NAMES = {"gen": "genp"}
"""How pyasn1-modules calls a body otherwise than RFC 9810 does."""


def read_answer(response: HTTPResponse, asked: Message | None) -> Answer:
    """Decode an answer with pyasn1-modules, and verify its protection and what its header repeats."""
    assert isinstance(response.body, bytes)
    assert response.content_type == "application/pkixcmp"
    message, rest = decoder.decode(_without_private_key(response.body), asn1Spec=rfc4210.PKIMessage())
    assert not rest
    header_der, body_der = _two(response.body)
    protected = seq(header_der, body_der)
    mark = message["protection"].asOctets()
    algorithm = encoder.encode(message["header"]["protectionAlg"])
    identifier = inner(algorithm) if algorithm[0] == 0xA1 else algorithm
    used = asked.protection if asked is not None else None
    mac = isinstance(used, Secret) and identifier == used.algorithm
    extra = [encoder.encode(one) for one in message["extraCerts"]] if message["extraCerts"].isValue else []
    if mac:
        assert isinstance(used, Secret)
        assert hmac.compare_digest(mark, used.protect(protected))
        assert bytes(message["header"]["senderKID"]) == used.reference
    else:
        signer = x509.load_der_x509_certificate(extra[0])
        key = signer.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            key.verify(mark, protected, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as exc:
            raise AssertionError("the signature of the answer is wrong") from exc
        key_id = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert bytes(message["header"]["senderKID"]) == key_id
        assert signer.subject.public_bytes() in encoder.encode(message["header"]["sender"])
    if asked is not None:
        if asked.transaction_id:
            assert bytes(message["header"]["transactionID"]) == asked.transaction_id
        if asked.sender_nonce is not None:
            assert bytes(message["header"]["recipNonce"]) == asked.sender_nonce
        assert int(message["header"]["pvno"]) == min(max(asked.pvno, 2), 3)
    assert len(bytes(message["header"]["senderNonce"])) == 16
    name_ = message["body"].getName()
    return Answer(response, response.body, message, _NAMES.get(name_, name_), mac)


def _without_private_key(der: bytes) -> bytes:
    """The message as RFC 4210 knows it, which has no EnvelopedData for a private key: that one is taken out."""
    header, body, *rest = elements(inner(der))
    if body[0] not in (0xA1, 0xA3, 0xA8):
        return der
    *pubs, responses = elements(inner(inner(body)))
    (response,) = elements(inner(responses))
    fields = elements(inner(response))
    if len(fields) < 3 or len(elements(inner(fields[2]))) < 2:
        return der
    fields[2] = seq(elements(inner(fields[2]))[0])
    return seq(header, tlv(body[0], seq(*pubs, seq(seq(*fields)))), *rest)


def _two(der: bytes) -> tuple[bytes, bytes]:
    """Header and body of a message, as they were sent."""
    header, body, *_ = elements(inner(der))
    return header, body


# --- the door


@dataclass
class Gate:
    """The CMP door of a house."""

    house: House
    settings: CMPSettings = field(default_factory=CMPSettings)

    async def post(
        self, body: bytes, path: str = "/.well-known/cmp", media: str = "application/pkixcmp"
    ) -> HTTPResponse:
        core = self.house.core
        services = Services(
            ra=core.ra,
            settings=self.settings,
            base_url="https://x",
            mtls_url="https://x",
            status_url="http://x",
            clock=core.clock,
        )
        endpoint = PROTOCOL.factory(services)
        assert isinstance(endpoint, CMPEndpoint)
        mounts = [mount for mount in await core.inventory.mounts() if mount.active]
        (route,) = [one for one in endpoint.routes(tuple(mounts)) if one.path == path]
        request = HTTPRequest(
            method="POST",
            path=path,
            query="",
            headers={"content-type": media},
            body=body,
            peer=PeerIdentity("192.0.2.1"),
            url=f"http://x{path}",
            request_id="r-1",
        )
        return await dispatch(route.operation, endpoint.say, request)

    async def send(self, message: Message, path: str = "/.well-known/cmp") -> Answer:
        """Send a message and read the answer."""
        response = await self.post(message.der, path)
        assert response.status == 200, response.body
        return read_answer(response, message)

    def message(self, body: str, content: bytes, protection: Protection | None, **more: Any) -> Message:
        """A message of this moment."""
        return Message(body, content, protection, self.house.clock(), **more)

    async def credential(self, product: str = "device", **more: object) -> CreatedCredential:
        return await self.house.credential("cmp", product, **more)

    async def secret(self, product: str = "device", **more: object) -> Secret:
        """A new credential's reference and secret."""
        made = await self.credential(product, **more)
        return Secret(made.credential.identifier.encode(), (made.secret or "").encode())

    async def enrol(
        self, protection: Protection, common_name: str = "device-1", *names: str, key: Key | None = None
    ) -> Signer:
        """A certificate by ir and certConf."""
        key = key or new_key()
        asked = self.message("ir", request_for(common_name, key, *names), protection)
        answer = await self.send(asked)
        assert answer.told() == ("ip", None), answer.text
        confirmed = await self.confirm(answer, protection)
        assert confirmed.body == "pkiconf"
        return Signer(answer.certificate, key)

    async def confirm(
        self, answer: Answer, protection: Protection, content: bytes | None = None, **more: Any
    ) -> Answer:
        """The certConf that follows an answer."""
        if content is None:
            content = cert_conf(answer.certificate, number=answer.number)
        return await self.send(self.following("certConf", content, protection, answer, **more))

    def following(self, body: str, content: bytes, protection: Protection, answer: Answer, **more: Any) -> Message:
        """A further message of a transaction."""
        header = {"transaction_id": answer.transaction_id, "recip_nonce": answer.nonce, **more}
        return self.message(body, content, protection, **header)

    async def state(self, certificate: bytes) -> str:
        """What became of a certificate."""
        serial = f"{x509.load_der_x509_certificate(certificate).serial_number:040x}"
        state = await self.house.core.ra.transactions.state(serial)
        return "none" if state is None else state.value

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.house.clock.advance(seconds=seconds)


async def opened(house: House) -> Gate:
    """The door of a house with its mount cmp/default."""
    mount = Mount("cmp", "default", ("device", "tls", "held"), "issuing")
    await house.core.administration.apply_mount(mount, ACTOR)
    return Gate(house)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
