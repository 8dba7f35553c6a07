"""JWS requests (RFC 8555 section 6): read, and say what is wrong. Nothing here knows an account or the time.

Only the flattened JSON serialization is read (RFC 7515 section 7.2.2), with everything in the protected
header. What a lenient reader could understand in two ways is refused: duplicate members, unused bits and
padding of base64url, `b64`, `crit`, an unprotected header. The endpoint goes on: key, signature, nonce, url,
status of the account.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from policy.problems import BadAlgorithm, Malformed, Unauthenticated
from policy.sealing import Secret
from protocols import base64url
from protocols.acme.jwk import ALGORITHMS, SigningKey, read_jwk

MAC_ALGORITHMS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
"""What an external account binding may use (RFC 8555 section 7.3.4, RFC 7518 section 3.2)."""

MAX_HEADER = 8192
"""Characters of an encoded protected header: an ML-DSA-87 key needs 4700, the URL and nonce a few hundred."""
MAX_SIGNATURE = 6170
"""Characters of an encoded signature: ML-DSA-87 needs them all, RSA with 8192 bits 1366."""
MAX_TEXT = 2048
"""Characters of kid and url."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A JWS that was read and not yet verified. Exactly one of `kid` and `jwk` is there.

    `payload` is empty for POST-as-GET (RFC 8555 section 6.3). A Struct, because a frozen dataclass of this
    size takes longer to make than everything else in here.
    """

    alg: str
    url: str
    nonce: str
    kid: str | None
    jwk: bytes | None
    payload: bytes
    signed: bytes
    signature: bytes


class Inner(msgspec.Struct, frozen=True, gc=False):
    """A JWS inside of a request: an external account binding or the new key's part of a key change."""

    alg: str
    url: str
    kid: str | None
    jwk: bytes | None
    payload: bytes
    signed: bytes
    signature: bytes


class Flattened(msgspec.Struct, frozen=True, gc=False):
    """The outer object (RFC 7515 section 7.2.2) and the members of other serializations, which must not be
    there."""

    protected: str
    payload: str
    signature: str
    header: Raw | UnsetType = UNSET
    signatures: Raw | UnsetType = UNSET


class _Header(msgspec.Struct, frozen=True, gc=False):
    alg: str
    url: str
    nonce: str | UnsetType = UNSET
    kid: str | UnsetType = UNSET
    jwk: Raw | UnsetType = UNSET
    crit: Raw | UnsetType = UNSET
    b64: Raw | UnsetType = UNSET


_outer = msgspec.json.Decoder(Flattened).decode
_header = msgspec.json.Decoder(_Header).decode

# Three members with text values have twelve quotation marks; four have sixteen. With all members present, any
# further member, duplicate or escaped mark makes more. So the usual request needs no second look for
# duplicates, which msgspec does not report.
_QUOTES_OF_OUTER = 12
_QUOTES_OF_KID_HEADER = 16


def read(body: bytes) -> Request:
    """Read a request. Raises Malformed, BadAlgorithm. Verifies nothing."""
    outer = _read_flattened(body)
    header, signed, payload, signature = _open(outer)
    if type(header.nonce) is not str:
        raise Malformed('the protected header has no "nonce" (RFC 8555 section 6.2)')
    if header.alg not in _ACCEPTED:
        raise _unknown(header.alg, ALGORITHMS)
    kid, jwk = _key_of(header)
    return Request(header.alg, header.url, header.nonce, kid, jwk, payload, signed, signature)


def read_inner(outer: Flattened, algorithms: tuple[str, ...]) -> Inner:
    """Read a JWS inside of a request; it must have no nonce. Raises Malformed, BadAlgorithm. Verifies
    nothing."""
    header, signed, payload, signature = _open(outer)
    if header.nonce is not UNSET:
        raise Malformed('the inner protected header must not have a "nonce" (RFC 8555 sections 7.3.4 and 7.3.5)')
    if header.alg not in algorithms:
        raise _unknown(header.alg, algorithms)
    kid, jwk = _key_of(header)
    return Inner(header.alg, header.url, kid, jwk, payload, signed, signature)


def read_flattened(body: bytes) -> Flattened:
    """The outer object alone. Raises Malformed."""
    return _read_flattened(body)


class Binding(msgspec.Struct, frozen=True):
    """An external account binding that fits its request; whether its MAC is right only `verify` says."""

    kid: str
    alg: str
    signed: bytes
    mac: bytes

    def verify(self, secret: Secret) -> None:
        """Check the MAC with a candidate key. Raises Unauthenticated."""
        if not hmac.compare_digest(hmac.digest(secret.reveal(), self.signed, MAC_ALGORITHMS[self.alg]), self.mac):
            raise Unauthenticated("the MAC of the external account binding does not verify")


def read_binding(outer: Flattened, url: str, key: SigningKey) -> Binding:
    """Read an external account binding (RFC 8555 section 7.3.4). Raises Malformed, BadAlgorithm,
    Unauthenticated.

    It must be for this URL and for the key that signed the request.
    """
    inner = read_inner(outer, tuple(MAC_ALGORITHMS))
    if inner.kid is None:
        raise Malformed('the external account binding needs a "kid" and no "jwk" (RFC 8555 section 7.3.4)')
    if inner.url != url:
        raise Unauthenticated(f'the external account binding is for "{_shown(inner.url)}", not for "{url}"')
    if read_jwk(inner.payload).thumbprint != key.thumbprint:
        raise Unauthenticated("the external account binding is for another account key than the one that signed")
    return Binding(inner.kid, inner.alg, inner.signed, inner.signature)


# --------------------------------------------------------------------------- parts

_ACCEPTED = frozenset(ALGORITHMS)


def _read_flattened(body: bytes) -> Flattened:
    try:
        outer = _outer(body)
        if body.count(b'"') != _QUOTES_OF_OUTER:
            _refuse_duplicates(body, "the request")
    except (ValueError, RecursionError) as exc:
        raise Malformed(
            'the body is not a flattened JSON JWS with "protected", "payload" and "signature" (RFC 7515 section 7.2.2)'
        ) from exc
    if outer.header is not UNSET or outer.signatures is not UNSET:
        raise Malformed('the JWS must not have an unprotected "header" or several "signatures" (RFC 8555 section 6.2)')
    return outer


def _open(outer: Flattened) -> tuple[_Header, bytes, bytes, bytes]:
    """Header, signing input, payload and signature of a flattened JWS."""
    protected, payload, signature = outer.protected, outer.payload, outer.signature
    if not signature:
        raise Malformed("the signature is empty")
    if len(protected) > MAX_HEADER or len(signature) > MAX_SIGNATURE:
        raise Malformed(
            f"the protected header or the signature is longer than {MAX_HEADER} or {MAX_SIGNATURE} characters"
        )
    try:
        signed = f"{protected}.{payload}".encode("ascii")
        text = base64url.decode(signed[: len(protected)])
        content = base64url.decode(signed[len(protected) + 1 :]) if payload else b""
        octets = base64url.decode(signature.encode("ascii"))
    except ValueError as exc:
        raise Malformed(
            "protected, payload and signature are base64url without padding and with unused bits of zero "
            "(RFC 8555 section 6.1, RFC 4648 section 3.5)"
        ) from exc
    try:
        header = _header(text)
        if header.kid is UNSET or header.nonce is UNSET or text.count(b'"') != _QUOTES_OF_KID_HEADER:
            _refuse_duplicates(text, "the protected header")
    except (ValueError, RecursionError) as exc:
        raise Malformed(
            'the protected header is not a JSON object with the text members "alg" and "url" (RFC 8555 section 6.2)'
        ) from exc
    if header.crit is not UNSET or header.b64 is not UNSET:
        # No extension is understood, so every "crit" is one that must be refused (RFC 7515 section 4.1.11);
        # "b64" is forbidden (RFC 8555 section 6.2, RFC 7797).
        raise Malformed('the protected header must not have "crit" or "b64" (RFC 8555 section 6.2)')
    return header, signed, content, octets


def _key_of(header: _Header) -> tuple[str | None, bytes | None]:
    kid, jwk = header.kid, header.jwk
    if kid is not UNSET and jwk is UNSET:
        if len(kid) > MAX_TEXT or len(header.url) > MAX_TEXT:
            raise Malformed(f'"kid" or "url" is longer than {MAX_TEXT} characters')
        return kid, None
    if jwk is not UNSET and kid is UNSET:
        return None, bytes(jwk)
    raise Malformed('the protected header needs exactly one of "jwk" and "kid" (RFC 8555 section 6.2)')


def _unknown(alg: str, algorithms: tuple[str, ...]) -> BadAlgorithm:
    return BadAlgorithm(
        f'the algorithm "{_shown(alg)}" is not accepted; accepted are {", ".join(algorithms)}',
        algorithms=algorithms,
    )


def _refuse_duplicates(text: bytes, what: str) -> None:
    """Raises Malformed when an object of a JSON text names a member twice, at whatever depth (RFC 7515
    section 4)."""

    def pairs(members: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in members]
        if len(set(names)) != len(names):
            raise Malformed(f"{what} names a member twice (RFC 7515 section 4)")

    json.loads(text, object_pairs_hook=pairs)


def _shown(text: str) -> str:
    """Something that a client sent, fit for a sentence."""
    return "".join(character if " " <= character <= "~" else "?" for character in text[:200])
