"""OAuth 2.0 for clients without people (RFC 6749 section 4.4): tokens, their end, introspection, metadata.

RFC 7009, RFC 7523, RFC 7662, RFC 8414, RFC 8705, RFC 9068, RFC 9449. Errors are those of RFC 6749 section 5.2.
"""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from ca_core.clock import epoch_seconds
from policy.admission import Admission
from policy.credential import (
    AssertionClaim,
    CertificateClaim,
    Claim,
    ClientCertificateClaim,
    ClientSecretClaim,
    Principal,
)
from policy.jose import ALGORITHMS, certificate_thumbprint
from policy.problems import Forbidden, Malformed, Problem, RateLimited, Unauthenticated, Unavailable
from policy.registration import RegistrationAuthority
from policy.sealing import Secret
from protocols.endpoint import note
from protocols.http import HTTPRequest, HTTPResponse, Route

ROOT = "/oauth"
METADATA = "/.well-known/oauth-authorization-server"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth")
_HEADERS = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
_encode = msgspec.json.Encoder().encode

Form = Mapping[str, str]


class OAuthError(Malformed):
    """A request that is refused with an error code of RFC 6749 section 5.2 or RFC 9449 section 5."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class OAuth:
    """The endpoints of the authorization server."""

    def __init__(
        self, ra: RegistrationAuthority, admission: Admission, mount: str, base_url: str, mtls_url: str
    ) -> None:
        self._ra = ra
        self._admission = admission
        self._mount = mount
        self._base_url = base_url
        self._audience = (base_url, f"{base_url}{ROOT}/token", f"{mtls_url}{ROOT}/token")
        self._metadata = _encode(_metadata(base_url, mtls_url))

    def routes(self) -> tuple[Route, ...]:
        """Token, revocation and introspection endpoints, the keys and the metadata."""
        return (
            Route(("POST",), f"{ROOT}/token", "oauth-token", partial(self._serve, self.token)),
            Route(("POST",), f"{ROOT}/revoke", "oauth-revoke", partial(self._serve, self.revoke)),
            Route(("POST",), f"{ROOT}/introspect", "oauth-introspect", partial(self._serve, self.introspect)),
            Route(("GET",), f"{ROOT}/jwks.json", "oauth-keys", self.keys),
            Route(("GET",), METADATA, "oauth-metadata", self.metadata),
        )

    async def keys(self, request: HTTPRequest) -> HTTPResponse:
        """The public keys of access tokens (RFC 7517): to anybody."""
        return HTTPResponse(200, _encode(self._admission.tokens.public_keys()), "application/jwk-set+json")

    async def metadata(self, request: HTTPRequest) -> HTTPResponse:
        """What this server can do (RFC 8414): to anybody."""
        return HTTPResponse(200, self._metadata, JSON)

    # ------------------------------------------------------------- what clients ask

    async def token(self, request: HTTPRequest, form: Form, client: Principal) -> dict[str, Any]:
        """An access token for the client itself (RFC 6749 section 4.4)."""
        if form.get("grant_type") != "client_credentials":
            raise OAuthError("unsupported_grant_type", "the only grant here is client_credentials")
        scopes = await self._scopes(form.get("scope", ""), client)
        confirmation: dict[str, str] = {}
        proof: str = client.requester.attributes["proof"]
        if proof.startswith("certificate:"):
            assert request.peer.certificate is not None
            confirmation["x5t#S256"] = certificate_thumbprint(request.peer.certificate)
        shown = request.headers.get("dpop")
        if shown is not None:
            try:
                confirmation["jkt"] = await self._admission.clients.check_proof(shown, "POST", request.url)
            except Unauthenticated as problem:
                raise OAuthError("invalid_dpop_proof", problem.detail) from problem
        text, token = await self._admission.tokens.issue(client.credential, proof, scopes, confirmation)
        answer = {
            "access_token": text,
            "token_type": "DPoP" if "jkt" in confirmation else "Bearer",
            "expires_in": int((token.expires - token.issued).total_seconds()),
        }
        return answer | ({"scope": " ".join(scopes)} if scopes else {})

    async def revoke(self, request: HTTPRequest, form: Form, client: Principal) -> dict[str, Any]:
        """End a token of this client (RFC 7009). One that is none, or ended already, is no mistake."""
        try:
            token = await self._admission.tokens.read(_needed(form, "token"))
        except Unauthenticated:
            return {}
        if token.credential != client.credential.id:
            raise OAuthError("invalid_request", "the token was not issued to this client")
        await self._admission.tokens.end(token)
        return {}

    async def introspect(self, request: HTTPRequest, form: Form, client: Principal) -> dict[str, Any]:
        """What a token of this client says, while it is alive (RFC 7662); of others nothing is told."""
        tokens = self._admission.tokens
        try:
            token = await tokens.read(_needed(form, "token"))
        except Unauthenticated:
            return {"active": False}
        credential = client.credential
        if token.credential != credential.id or not self._admission.clients.stands(credential, token.proof):
            return {"active": False}
        said = {
            "active": True,
            "client_id": token.client,
            "sub": token.client,
            "iss": tokens.issuer,
            "aud": tokens.audience,
            "jti": token.id,
            "iat": epoch_seconds(token.issued),
            "exp": epoch_seconds(token.expires),
            "scope": " ".join(token.scopes),
            "token_type": "DPoP" if "jkt" in token.confirmation else "Bearer",
        }
        return said | ({"cnf": token.confirmation} if token.confirmation else {})

    async def _scopes(self, text: str, client: Principal) -> tuple[str, ...]:
        """The scopes asked for, each of which the client has; all that the credential has when none is named."""
        wanted = tuple(dict.fromkeys(text.split()))
        actor = await self._admission.actor(client)
        for one in wanted:
            if not actor.allows(one):
                raise OAuthError("invalid_scope", f'the client does not have the permission "{one[:80]}"')
        return wanted or tuple(client.credential.options.get("scopes", ()))

    # ------------------------------------------------------------- every request goes through here

    async def _serve(
        self, operation: Callable[[HTTPRequest, Form, Principal], Awaitable[dict[str, Any]]], request: HTTPRequest
    ) -> HTTPResponse:
        try:
            form = _form(request)
            client = await self._ra.authenticate(self._mount, (self._claim(request, form),), request.peer.address)
            request.event["credential"] = client.credential.id
            self._admission.count(client)
            return HTTPResponse(200, _encode(await operation(request, form, client)), JSON, _HEADERS)
        except Problem as problem:
            note(problem, request)
            return _say(problem, request)

    def _claim(self, request: HTTPRequest, form: Form) -> Claim:
        """How the client proves itself; exactly one way (RFC 6749 section 2.3)."""
        basic = request.headers.get("authorization", "")
        ways = [bool(basic), "client_secret" in form, "client_assertion" in form]
        if sum(ways) > 1:
            raise OAuthError("invalid_request", "the client proves itself in one way, not in several")
        if basic:
            return _basic(basic)
        if "client_secret" in form:
            return ClientSecretClaim(_needed(form, "client_id"), Secret(form["client_secret"].encode()))
        if "client_assertion" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise OAuthError("invalid_request", f"client_assertion_type is {ASSERTION_TYPE}")
            assertion = form["client_assertion"]
            return AssertionClaim(form.get("client_id") or _subject(assertion), assertion, self._audience)
        if request.peer.certificate is not None and "client_id" in form:
            shown = CertificateClaim(request.peer.certificate, request.peer.chain)
            return ClientCertificateClaim(form["client_id"], shown)
        raise Unauthenticated("the client has to prove itself: by secret, assertion or certificate")


def _form(request: HTTPRequest) -> Form:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != _FORM:
        raise OAuthError("invalid_request", f"the body is sent as {_FORM} (RFC 6749 section 3.2)")
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=False, max_num_fields=50, errors="strict")
    except ValueError as fault:
        raise OAuthError("invalid_request", "the body cannot be read") from fault
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is there twice (RFC 6749 section 3.2)")
    return form


def _needed(form: Form, name: str) -> str:
    if name not in form:
        raise OAuthError("invalid_request", f"the parameter {name} is missing")
    return form[name]


def _basic(field: str) -> ClientSecretClaim:
    """RFC 6749 section 2.3.1: identifier and secret are encoded as form values before they are joined."""
    scheme, _, text = field.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        user, colon, password = b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError as fault:
        raise Unauthenticated("the Authorization field is not Basic (RFC 7617)") from fault
    if not colon:
        raise Unauthenticated("the Authorization field has no secret")
    return ClientSecretClaim(unquote_plus(user), Secret(unquote_plus(password).encode()))


def _subject(assertion: str) -> str:
    """Whom an assertion says it is from: only to find the keys that it has to be checked with."""
    part = assertion.split(".")[1:2]
    try:
        claims = json.loads(urlsafe_b64decode(part[0] + "=" * (-len(part[0]) % 4)))
        return str(claims["sub"]).encode().decode()  # JSON may name half a character, which is no text
    except (ValueError, LookupError, TypeError, RecursionError) as fault:
        raise Unauthenticated("the client assertion cannot be read") from fault


def _say(problem: Problem, request: HTTPRequest) -> HTTPResponse:
    """RFC 6749 section 5.2."""
    headers = list(_HEADERS)
    if isinstance(problem, OAuthError):
        status, error = 400, problem.error
    elif isinstance(problem, Unauthenticated):
        status, error = 401, "invalid_client"
        headers.append(("WWW-Authenticate", 'Basic realm="certgate", charset="UTF-8"'))
    elif isinstance(problem, Forbidden):
        status, error = 400, "unauthorized_client"
    elif isinstance(problem, RateLimited | Unavailable):
        status, error = 429 if isinstance(problem, RateLimited) else 503, "temporarily_unavailable"
        headers.append(("Retry-After", str(problem.retry_after or 30)))
    else:
        status, error = 400, "invalid_request"
    # RFC 6749 section 5.2: printable ASCII without quotation mark and backslash.
    detail = problem.detail.replace('"', "'").encode("ascii", "replace").decode()
    said = {"error": error, "error_description": detail, "request": request.request_id}
    return HTTPResponse(status, _encode(said), JSON, tuple(headers))


def _metadata(base_url: str, mtls_url: str) -> dict[str, Any]:
    endpoints = {
        "token_endpoint": f"{ROOT}/token",
        "revocation_endpoint": f"{ROOT}/revoke",
        "introspection_endpoint": f"{ROOT}/introspect",
    }
    said: dict[str, Any] = {
        "issuer": base_url,
        **{name: base_url + path for name, path in endpoints.items()},
        "jwks_uri": f"{base_url}{ROOT}/jwks.json",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": True,
        "mtls_endpoint_aliases": {name: mtls_url + path for name, path in endpoints.items()},
    }
    for name in endpoints:
        said[f"{name}_auth_methods_supported"] = list(_METHODS)
        said[f"{name}_auth_signing_alg_values_supported"] = list(ALGORITHMS)
    return said
