"""OAuth 2.0 clients: a credential proven by its secret, by a signed assertion or by a TLS certificate, and its tokens.

RFC 6749 section 4.4 (client credentials), RFC 7523 (assertions), RFC 8705 (certificates), RFC 9449 (DPoP). Whoever is
not who they say is answered alike, whether the client exists or not.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509

from ca_core.clock import Clock
from policy.catalogue import Catalogue
from policy.credential import (
    AssertionClaim,
    AuthenticationMethod,
    CertificateClaim,
    ClientCertificateClaim,
    ClientSecretClaim,
    Credential,
    CredentialType,
    OAuthClaim,
    Principal,
    Requester,
    TokenClaim,
)
from policy.jose import base64url, certificate_thumbprint, check_public_keys, read_assertion, read_proof
from policy.mount import Mount
from policy.peer import anchors_of, own
from policy.problems import Forbidden, Unauthenticated
from policy.sealing import Sealing, fingerprint
from policy.store import Store
from policy.tokens import Tokens, once

CLIENT_AUTHENTICATION = ("client_secret", "private_key_jwt", "tls_client_auth")
"""How a client may prove itself; "client_secret" in the Authorization field or in the body."""
MAX_ASSERTION = timedelta(minutes=5)
SKEW = timedelta(seconds=30)
MAX_PROOF_AGE = timedelta(minutes=5)
MAX_JTI = 256
_NAMES: dict[str, type[x509.DNSName] | type[x509.UniformResourceIdentifier] | type[x509.RFC822Name]] = {
    "dns": x509.DNSName,
    "uri": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
}


def client_authentication(credential: Credential) -> str:
    """How this client proves itself."""
    return str(credential.options.get("client_authentication", CLIENT_AUTHENTICATION[0]))


def check_client(options: Mapping[str, Any]) -> None:
    """Raises ValueError for options of an OAuth client that could never work."""
    how = options.get("client_authentication", CLIENT_AUTHENTICATION[0])
    if how not in CLIENT_AUTHENTICATION:
        raise ValueError(f'client_authentication is one of {", ".join(CLIENT_AUTHENTICATION)}, not "{how}"')
    if how == "private_key_jwt":
        if not isinstance(options.get("jwks"), dict):
            raise ValueError("private_key_jwt needs the client's public keys, as a JWK Set in jwks")
        check_public_keys(options["jwks"])
    if how == "tls_client_auth":
        kind, _, value = str(options.get("certificate", "")).partition(":")
        if kind not in ("sha256", "subject", *_NAMES) or not value:
            raise ValueError(
                'tls_client_auth needs certificate: "sha256:…", "subject:CN=…", "dns:…", "uri:…" or "email:…"'
            )


class OAuthClients:
    """Finds out which credential a client, or the bearer of a token, speaks for."""

    def __init__(self, store: Store, catalogue: Catalogue, sealing: Sealing, tokens: Tokens, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._sealing = sealing
        self._tokens = tokens
        self._clock = clock

    async def principal(self, mount: Mount, claim: OAuthClaim, address: str) -> Principal:
        """The client that is proven. Raises Unauthenticated, Forbidden."""
        scopes: tuple[str, ...] | None = None
        match claim:
            case ClientSecretClaim():
                credential, proof = await self._by_secret(mount, claim)
            case AssertionClaim():
                credential, proof = await self._by_assertion(mount, claim)
            case ClientCertificateClaim():
                credential, proof = await self._by_certificate(mount, claim)
            case TokenClaim():
                credential, proof, scopes = await self._by_token(claim)
        requester = Requester("user", credential.user, {"credential": credential.id, "proof": proof})
        return Principal(credential, requester, mount.key, address, scopes=scopes)

    async def _client(self, mount: Mount, identifier: str, how: str) -> Credential | None:
        found = await self._catalogue.credential_by_identifier(CredentialType(mount.protocol), identifier)
        if found is None or found.method is not AuthenticationMethod.OAUTH or client_authentication(found) != how:
            return None
        return found

    # ----------------------------------------------------------------- clients

    async def _by_secret(self, mount: Mount, claim: ClientSecretClaim) -> tuple[Credential, str]:
        credential = await self._client(mount, claim.identifier, "client_secret")
        hashed, now = self._sealing.hash(claim.secret), self._clock()
        for one in credential.secrets if credential is not None else ():
            if (one.expires is None or one.expires > now) and hmac.compare_digest(hashed, one.value):
                assert credential is not None
                return credential, _secret_proof(one.value)
        raise _unknown(credential)

    async def _by_assertion(self, mount: Mount, claim: AssertionClaim) -> tuple[Credential, str]:
        credential = await self._client(mount, claim.identifier, "private_key_jwt")
        if credential is None:
            raise _unknown(credential)
        claims, thumbprint = read_assertion(claim.assertion, credential.options["jwks"])
        now = self._clock()
        until = _moment(claims.get("exp"), now)
        audience = claims.get("aud")
        told = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != credential.identifier or claims.get("sub") != credential.identifier:
            raise Unauthenticated("iss and sub of the assertion are the client's identifier (RFC 7523 section 3)")
        if not any(one in claim.audience for one in told):
            raise Unauthenticated(f"aud of the assertion is {' or '.join(claim.audience)}")
        if until is None or until <= now - SKEW or until > now + MAX_ASSERTION + SKEW:
            raise Unauthenticated(f"exp of the assertion lies within {MAX_ASSERTION.seconds} seconds from now")
        begins = claims.get("nbf")
        if begins is not None and ((at := _moment(begins, now)) is None or at > now + SKEW):
            raise Unauthenticated("the assertion is not valid yet")
        await self._once(f"assertion {credential.id}", claims.get("jti"), now, until + SKEW)
        return credential, f"key:{thumbprint}"

    async def _by_certificate(self, mount: Mount, claim: ClientCertificateClaim) -> tuple[Credential, str]:
        credential = await self._client(mount, claim.identifier, "tls_client_auth")
        shown, now = claim.shown, self._clock()
        if credential is None:
            raise _unknown(credential)
        trusted = await own(self._store, shown, now) or any(anchors_of(mount, shown, now))
        wanted = str(credential.options["certificate"])
        if not trusted or not _names_it(wanted, shown.certificate):
            raise _unknown(credential)
        return credential, f"certificate:{wanted}"

    async def _once(self, scope: str, value: object, now: datetime, until: datetime) -> None:
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_JTI:
            raise Unauthenticated(f"jti is a text of 1 to {MAX_JTI} characters, another one each time")
        await once(self._store, scope, value, now, until)

    # ----------------------------------------------------------------- bearers of tokens

    async def _by_token(self, claim: TokenClaim) -> tuple[Credential, str, tuple[str, ...]]:
        token = await self._tokens.read(claim.token)
        credential = await self._catalogue.credential(token.credential)
        if credential is None or not self.stands(credential, token.proof):
            raise Unauthenticated("the access token ended with the secret, key or certificate that it was had with")
        await self._check_confirmation(claim, token.confirmation)
        return credential, token.proof, token.scopes

    def stands(self, credential: Credential, proof: str) -> bool:
        """Whether what a token was had with still proves its credential."""
        kind, _, value = proof.partition(":")
        how = client_authentication(credential)
        if kind == "secret":
            now = self._clock()
            living = [one for one in credential.secrets if one.expires is None or one.expires > now]
            return how == "client_secret" and any(_secret_proof(one.value) == proof for one in living)
        if kind == "key":
            keys = credential.options.get("jwks", {}).get("keys", ())
            return how == "private_key_jwt" and any(_thumbprint(one) == value for one in keys)
        return how == "tls_client_auth" and credential.options.get("certificate") == value

    async def _check_confirmation(self, claim: TokenClaim, confirmation: Mapping[str, str]) -> None:
        """That what a bound token is bound to is shown with it. Raises Unauthenticated."""
        bound = confirmation.get("x5t#S256")
        if bound is not None and (claim.certificate is None or certificate_thumbprint(claim.certificate) != bound):
            raise Unauthenticated("the access token is bound to a certificate: show it in the TLS handshake (RFC 8705)")
        if bound is not None and claim.certificate is not None:
            try:
                await own(self._store, CertificateClaim(claim.certificate), self._clock())
            except Forbidden as problem:
                raise Unauthenticated(f"the access token ended with its certificate: {problem.detail}") from problem
        if "jkt" not in confirmation and not claim.dpop:
            return
        if claim.dpop and "jkt" not in confirmation:
            raise Unauthenticated("the access token is not bound to a key: send it as Bearer")
        if not claim.dpop or claim.proof is None:
            raise Unauthenticated("the access token is bound to a key: send it as DPoP, with a proof (RFC 9449)")
        thumbprint = await self.check_proof(claim.proof, claim.method, claim.url, claim.token)
        if thumbprint != confirmation["jkt"]:
            raise Unauthenticated("the DPoP proof is signed by another key than the access token's")

    async def check_proof(self, proof: str, method: str, url: str, token: str | None = None) -> str:
        """The thumbprint of the key that signed this DPoP proof for this request (RFC 9449 section 4.3).

        With `token` the proof has to have its hash. Raises Unauthenticated.
        """
        header, claims, thumbprint = read_proof(proof)
        now = self._clock()
        issued = _moment(claims.get("iat"), now)
        if header.get("typ") != "dpop+jwt":
            raise Unauthenticated('typ of a DPoP proof is "dpop+jwt"')
        if claims.get("htm") != method or str(claims.get("htu", "")).partition("?")[0].partition("#")[0] != url:
            raise Unauthenticated("the DPoP proof is for another request: htm is the method, htu the address")
        if issued is None or not now - MAX_PROOF_AGE <= issued <= now + SKEW:
            raise Unauthenticated("the DPoP proof is too old, or from the future: make one for each request")
        if token is not None and not hmac.compare_digest(str(claims.get("ath", "")), _token_hash(token)):
            raise Unauthenticated("the DPoP proof is for another access token: ath is the hash of this one")
        await self._once(f"proof {thumbprint}", claims.get("jti"), now, issued + MAX_PROOF_AGE + SKEW)
        return thumbprint


def _unknown(credential: Credential | None) -> Unauthenticated:
    return Unauthenticated("the client is not known, or did not prove itself", credential=credential and credential.id)


def _secret_proof(stored: bytes) -> str:
    """Names a secret without telling anything of it: a hash of what is a peppered hash already."""
    return f"secret:{fingerprint(stored)[:32]}"


def _token_hash(token: str) -> str:
    """RFC 9449 section 4.2: base64url of the SHA-256 of the access token."""
    return base64url(bytes.fromhex(fingerprint(token.encode())))


def _thumbprint(key: Mapping[str, Any]) -> str:
    """RFC 7638 section 3: of the required members alone, in their order."""
    names = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}[key["kty"]]
    required = msgspec.json.encode({name: key[name] for name in names})
    return base64url(bytes.fromhex(fingerprint(required)))


def _moment(value: object, like: datetime) -> datetime | None:
    """A NumericDate (RFC 7519 section 2), or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**33:
        return None
    return datetime.fromtimestamp(value, like.tzinfo)


def _names_it(wanted: str, der: bytes) -> bool:
    """Whether this is the certificate that the client's options name (RFC 8705 section 2.1.2)."""
    kind, _, value = wanted.partition(":")
    if kind == "sha256":
        return hmac.compare_digest(fingerprint(der), value.replace(":", "").lower())
    certificate = x509.load_der_x509_certificate(der)
    if kind == "subject":
        return certificate.subject.rfc4514_string() == value
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return value in names.get_values_for_type(_NAMES[kind])
