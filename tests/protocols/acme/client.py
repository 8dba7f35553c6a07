"""An ACME client for tests. Its signatures are josepy's, so that what the door reads was written by somebody
else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.x509.oid import NameOID
from josepy import json_util, jwa, jws
from josepy.jwk import JWK, JWKEC, JWKRSA

from protocols.http import HTTPResponse
from tests.protocols.acme.world import ORIGIN, World


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Header(jws.Header):
    """josepy's header with the two parameters that ACME adds (RFC 8555 sections 6.4 and 6.5)."""

    nonce: str | None = json_util.field("nonce", omitempty=True)
    url: str | None = json_util.field("url", omitempty=True)


class Signature(jws.Signature):
    """A signature over such a header."""

    __slots__ = jws.Signature._orig_slots
    header_cls = Header
    header: Header = json_util.field("header", omitempty=True, default=Header(), decoder=Header.from_json)


class JWS(jws.JWS):
    """A JWS of such signatures."""

    signature_cls = Signature
    __slots__ = jws.JWS._orig_slots


ECPrivateKey = ec.EllipticCurvePrivateKey

_ALGORITHMS = {"secp256r1": jwa.ES256, "secp384r1": jwa.ES384, "secp521r1": jwa.ES512}


@dataclass
class Key:
    """An account key as josepy has it."""

    private: ECPrivateKey | rsa.RSAPrivateKey
    jwk: JWK
    alg: Any

    @classmethod
    def ec(cls, curve: ec.EllipticCurve | None = None) -> Key:
        return cls.of(ec.generate_private_key(curve or ec.SECP256R1()))

    @classmethod
    def of(cls, private: ECPrivateKey) -> Key:
        made = JWKEC(key=private)
        return cls(private, made, _ALGORITHMS[private.curve.name])

    @classmethod
    def rsa(cls, bits: int = 2048) -> Key:
        private = rsa.generate_private_key(65537, bits)
        return cls(private, JWKRSA(key=private), jwa.RS256)

    @property
    def public(self) -> dict[str, str]:
        found = self.jwk.public_key().to_json()
        assert isinstance(found, dict)
        return dict(found)

    @property
    def thumbprint(self) -> str:
        return b64(self.jwk.thumbprint())

    def sign(self, payload: bytes, url: str, nonce: str | None = None, kid: str | None = None, **extra: Any) -> bytes:
        """A flattened JWS with everything protected, as ACME wants it."""
        if kid is not None:
            extra |= {"kid": kid, "include_jwk": False, "protect": frozenset(("alg", "nonce", "url", "kid"))}
        else:
            extra |= {"include_jwk": True, "protect": frozenset(("alg", "nonce", "url", "jwk"))}
        made = JWS.sign(payload, key=self.jwk, alg=self.alg, nonce=nonce, url=url, **extra)
        found: bytes = made.json_dumps().encode()
        return found


MLDSAPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
_MLDSA: dict[str, type[MLDSAPrivateKey]] = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}


class PlainKey(Key):
    """An account key of a kind that josepy does not know: Ed25519 (RFC 8037), ML-DSA (RFC 9964)."""

    def __init__(self, alg: str = "ML-DSA-65") -> None:
        self.alg = alg
        self._private = ed25519.Ed25519PrivateKey.generate() if alg == "EdDSA" else _MLDSA[alg].generate()

    @property
    def public(self) -> dict[str, str]:
        raw = b64(self._private.public_key().public_bytes_raw())
        if self.alg == "EdDSA":
            return {"crv": "Ed25519", "kty": "OKP", "x": raw}
        return {"alg": self.alg, "kty": "AKP", "pub": raw}

    @property
    def thumbprint(self) -> str:
        canonical = json.dumps(self.public, separators=(",", ":"), sort_keys=True)
        return b64(hashlib.sha256(canonical.encode()).digest())

    def sign(self, payload: bytes, url: str, nonce: str | None = None, kid: str | None = None, **extra: Any) -> bytes:
        whose = {"jwk": self.public} if kid is None else {"kid": kid}
        header = {"alg": self.alg, "url": url, **({} if nonce is None else {"nonce": nonce}), **whose, **extra}
        protected, content = b64(json.dumps(header).encode()), b64(payload)
        signature = b64(self._private.sign(f"{protected}.{content}".encode()))
        return json.dumps({"protected": protected, "payload": content, "signature": signature}).encode()


@dataclass
class Answer:
    """What came back, with what every answer of this door must have already checked."""

    response: HTTPResponse

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def body(self) -> bytes:
        assert isinstance(self.response.body, bytes)
        return self.response.body

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.response.headers if found == name]

    def header(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def links(self, relation: str) -> list[str]:
        return [link.partition(">")[0][1:] for link in self.all("Link") if link.endswith(f';rel="{relation}"')]

    def problem(self) -> tuple[int, str]:
        """Status and type, without the namespace."""
        assert self.response.content_type == "application/problem+json"
        found = self.json
        assert found["status"] == self.status
        assert found["type"].startswith("urn:ietf:params:acme:error:")
        assert found["detail"]
        return self.status, found["type"].removeprefix("urn:ietf:params:acme:error:")


@dataclass
class Client:
    """One client: a key, perhaps an account, and the last nonce it got."""

    world: World
    key: Key = field(default_factory=Key.ec)
    label: str = "default"
    kid: str | None = None
    nonce: str | None = None
    address: str = "127.0.0.1"

    HEADERS: ClassVar[dict[str, str]] = {"content-type": "application/jose+json"}

    def url(self, path: str) -> str:
        return f"{ORIGIN}/acme/{self.label}/{path}"

    async def fresh(self) -> str:
        """A nonce: the one of the last answer, or a new one."""
        if self.nonce is None:
            answer = await self.get(self.url("new-nonce"), "HEAD")
            self.nonce = answer.header("Replay-Nonce")
        found, self.nonce = self.nonce, None
        return found

    async def get(self, url: str, method: str = "GET") -> Answer:
        return Answer(await self.world.request(method, url, address=self.address))

    async def send(self, url: str, body: bytes, **headers: str) -> Answer:
        """A body as it is. Every answer to a POST has a new nonce and the index."""
        sent = self.HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = Answer(await self.world.request("POST", url, body, sent, self.address))
        self.nonce = answer.header("Replay-Nonce")
        assert answer.header("Access-Control-Allow-Origin") == "*"
        if not url.endswith("/directory") or answer.status != 200:
            assert answer.links("index") == [self.url("directory")]
        return answer

    async def post(
        self, url: str, payload: Any = None, *, kid: str | None = None, signed_url: str | None = None, **headers: str
    ) -> Answer:
        """A signed request; without a payload it is POST-as-GET."""
        content = b"" if payload is None else json.dumps(payload).encode()
        body = self.key.sign(content, url if signed_url is None else signed_url, await self.fresh(), kid or self.kid)
        return await self.send(url, body, **headers)

    async def register(self, **payload: Any) -> Answer:
        answer = await self.post(self.url("new-account"), {"termsOfServiceAgreed": True} | payload)
        if answer.status in (200, 201):
            self.kid = answer.header("Location")
        return answer

    def binding(self, identifier: str, secret: bytes, alg: str = "HS256", **changes: Any) -> dict[str, str]:
        """An external account binding (RFC 8555 section 7.3.4)."""
        header = {"alg": alg, "kid": identifier, "url": self.url("new-account")} | changes
        protected = b64(json.dumps({name: value for name, value in header.items() if value is not None}).encode())
        payload = b64(json.dumps(self.key.public).encode())
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg, hashlib.sha256)
        mac = hmac.new(secret, f"{protected}.{payload}".encode(), digest).digest()
        return {"protected": protected, "payload": payload, "signature": b64(mac)}

    async def order(self, *names: str, **more: Any) -> Answer:
        identifiers = [{"type": "dns", "value": name} for name in names]
        return await self.post(self.url("new-order"), {"identifiers": identifiers} | more)

    async def ready(self, *names: str, **more: Any) -> Answer:
        """An order whose names the product trusts, so that nothing is owed."""
        answer = await self.order(*(names or ("a.trusted.test",)), **more)
        assert answer.status == 201
        assert answer.json["status"] == "ready"
        return answer

    async def issue(self, *names: str, key: Any = None, **more: Any) -> Answer:
        """The order, valid."""
        names = names or ("a.trusted.test",)
        order = await self.ready(*names, **more)
        answer = await self.post(order.json["finalize"], {"csr": b64(make_csr(names, key))})
        assert answer.json["status"] == "valid", answer.body
        return answer

    async def certificate(self, order: Answer) -> x509.Certificate:
        answer = await self.post(order.json["certificate"])
        return x509.load_pem_x509_certificates(answer.body)[0]


def make_csr(names: tuple[str, ...], key: Any = None) -> bytes:
    """DER of a request for these DNS names."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
