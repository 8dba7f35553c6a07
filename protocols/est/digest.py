"""HTTP Digest (RFC 7616) for old clients, where an operator switches it on: challenge, and what answers it.

The server needs the secret itself for this, so such credentials have a secret that is kept sealed ("shared-secret").
Only qop "auth" is spoken. Nonces carry their time and a MAC, and are good for some minutes; that nobody else repeats a
request is TLS's doing, without which no credential is taken here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

from policy.credential import MACClaim, Protector
from policy.problems import Unauthenticated
from policy.sealing import Secret
from protocols.http import HTTPRequest

NONCE_SECONDS = 300
"""How long a client may use a nonce: libest asks for another each time, curl keeps it for a connection."""
MAX_FIELD = 4096
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}
_PARAMETER = re.compile(r'\s*([A-Za-z*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_TIME = 8


class Stale(Unauthenticated):
    """The nonce is too old: the client may try again with the new one, without asking its user."""


class _Nothing:
    """What a Digest leaves behind for the answer: Authentication-Info is optional, and not sent."""

    def protect(self, data: bytes) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class Digests:
    """Makes challenges and reads what answers them."""

    realm: str
    key: bytes
    algorithms: tuple[str, ...]
    """Those that are offered, the best first: "SHA-256", "MD5"."""

    def challenges(self, now: datetime, *, stale: bool = False) -> tuple[tuple[str, str], ...]:
        """A WWW-Authenticate field for each algorithm (RFC 7616 section 3.3)."""
        nonce = self._nonce(int(now.timestamp()))
        more = ", stale=true" if stale else ""
        return tuple(
            (
                "WWW-Authenticate",
                f'Digest realm="{self.realm}", qop="auth", algorithm={one}, nonce="{nonce}", charset=UTF-8{more}',
            )
            for one in self.algorithms
        )

    def read(self, field: str, request: HTTPRequest, now: datetime) -> MACClaim:
        """The claim in an Authorization field (RFC 7616 section 3.4). Raises Unauthenticated."""
        told = _parameters(field)
        name = told.get("algorithm", "MD5").upper()
        target = request.path + (f"?{request.query}" if request.query else "")
        whole = all(told.get(one) for one in ("username", "nonce", "nc", "cnonce", "response"))
        wrong = (
            (name not in self.algorithms, f"the digest algorithm {name} is not offered"),
            (told.get("qop") != "auth", 'a digest needs qop "auth"'),
            (told.get("realm") != self.realm, "the digest is for another realm"),
            (told.get("uri") != target, "the digest is for another address"),
            (not whole, "the digest is not whole"),
        )
        for is_wrong, text in wrong:
            if is_wrong:
                raise Unauthenticated(f"{text} (RFC 7616 section 3.4)")
        self._check_nonce(told["nonce"], now)
        return MACClaim(told["username"], _Response(_ALGORITHMS[name], request.method, told).verify)

    def _nonce(self, at: int) -> str:
        time = at.to_bytes(_TIME, "big")
        mac = hmac.digest(self.key, b"est digest" + time, "sha256")
        return urlsafe_b64encode(time + mac[:16]).decode()

    def _check_nonce(self, nonce: str, now: datetime) -> None:
        """Raises Stale for a nonce of ours that is too old, and for one that is not ours: both ask for another."""
        try:
            at = int.from_bytes(urlsafe_b64decode(nonce)[:_TIME], "big")
        except ValueError:
            at = 0
        fresh = 0 <= int(now.timestamp()) - at < NONCE_SECONDS
        if not fresh or not hmac.compare_digest(self._nonce(at).encode(), nonce.encode("utf-8", "replace")):
            raise Stale("the nonce of the digest is not one of now: use the new one")


@dataclass(frozen=True, slots=True)
class _Response:
    """The client's answer, to be compared with what a secret makes of the same."""

    hash_name: str
    method: str
    told: dict[str, str]

    def verify(self, secret: Secret) -> Protector:
        """Raises Unauthenticated unless the answer was made with this secret."""
        told = self.told
        first = self._hash(f"{told['username']}:{told['realm']}:".encode() + secret.reveal())
        second = self._hash(f"{self.method}:{told['uri']}".encode())
        between = ":".join(told[name] for name in ("nonce", "nc", "cnonce", "qop"))
        expected = self._hash(f"{first}:{between}:{second}".encode())
        if not hmac.compare_digest(expected.encode(), told["response"].lower().encode("utf-8", "replace")):
            raise Unauthenticated("user name or password is wrong")
        return _Nothing()

    def _hash(self, data: bytes) -> str:
        return hashlib.new(self.hash_name, data, usedforsecurity=False).hexdigest()


def _parameters(field: str) -> dict[str, str]:
    """The parameters of a Digest field, names in lower case. Raises Unauthenticated, also for one that comes twice."""
    found: dict[str, str] = {}
    place = 0
    while place < len(field) <= MAX_FIELD:
        match = _PARAMETER.match(field, place)
        if match is None or match[1].lower() in found:
            break
        quoted = match[2]
        found[match[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
        place = match.end()
    if place != len(field):
        raise Unauthenticated("the Authorization field is not a Digest (RFC 7616 section 3.4)")
    return found
