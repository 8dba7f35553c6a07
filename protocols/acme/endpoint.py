"""The ACME door: routes, the check of every signed request, dispatch to its resource, and how problems are
said."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from policy.account import AccountStatus
from policy.credential import AccountClaim
from policy.mount import Mount
from policy.problems import (
    AccountUnknown,
    AgreementRequired,
    ApprovalRequired,
    Malformed,
    Problem,
    Unauthenticated,
    UnsupportedMedia,
)
from policy.registration import KeyHolder
from protocols.acme import accounts, certificates, jws, messages, resources
from protocols.acme.door import CORS, NO_STORE, PREFLIGHT, Door, Header, Signed, link, retry_after
from protocols.acme.jwk import SigningKey, read_jwk, stored_key
from protocols.acme.nonce import NonceSeal, unacceptable
from protocols.acme.problems import CONTENT_TYPE, document, encode
from protocols.acme.renewal import renewal_info
from protocols.acme.settings import ACMESettings, read_options
from protocols.acme.tickets import ticket
from protocols.acme.urls import PREFIX, URLs
from protocols.endpoint import Services
from protocols.http import HTTPRequest, HTTPResponse, Operation, Route

_JOSE = "application/jose+json"
RETRY_SECONDS = 30
"""Retry-After where a problem that will pass names no time: clients without one hammer, or give up."""
_LABEL_OF_PATH = re.compile(rf"{PREFIX}/([^/]+)/")


class ACMEEndpoint:
    """Automatic Certificate Management Environment (RFC 8555) with renewal information (RFC 9773) and
    profiles."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._ra = services.ra
        self._settings = settings if isinstance(settings, ACMESettings) else ACMESettings()
        self._origin = services.base_url
        self._clock = services.clock
        self._sealed: NonceSeal | None = None
        self._doors: dict[str, Door] = {}

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """Every resource of every mount. Raises ValueError for mount options that cannot be understood."""
        self._doors = {mount.label: self._door(mount) for mount in mounts if mount.protocol == "acme"}
        return tuple(route for door in self._doors.values() for route in self._routes_of(door))

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """A problem document (RFC 8555 section 6.7), with a fresh nonce so that the client can go on at once.

        A problem that names a `status` is one of HTTP's own (404, 405, 406, 408).
        """
        status = problem.context.get("status")
        found = document(problem, status=status if isinstance(status, int) else None)
        headers: list[Header] = [("Replay-Nonce", self._nonces().fresh()), NO_STORE, *CORS]
        door = self._doors.get(request.label or _label_of(request.path))
        if door is not None:
            headers.append(door.index)
            if isinstance(problem, ApprovalRequired):
                found["instance"] = door.urls.ticket(str(problem.context.get("order", "")))
            elif isinstance(problem, AgreementRequired) and door.options.terms_of_service:
                # RFC 8555 section 7.3.3: where a person reads the terms.
                headers.append(link(door.options.terms_of_service, "terms-of-service"))
                found["instance"] = door.options.terms_of_service
        if problem.retry_after is not None:
            headers.append(retry_after(max(problem.retry_after, 1)))
        elif found["status"] in (429, 503):
            headers.append(retry_after(RETRY_SECONDS))
        if found["status"] == 429 and self._settings.rate_limit_help_url:
            headers.append(link(self._settings.rate_limit_help_url, "help"))
        location = problem.context.get("location")
        if isinstance(location, str):
            headers.append(("Location", location))
        return HTTPResponse(found["status"], encode(found), CONTENT_TYPE, tuple(headers))

    # ----------------------------------------------------------------- routes

    def _door(self, mount: Mount) -> Door:
        urls = URLs(self._origin, mount.label)
        return Door(mount, read_options(mount), urls, self._ra, self._settings, self._clock, self._nonces())

    def _nonces(self) -> NonceSeal:
        if self._sealed is None:
            self._sealed = NonceSeal(self._ra.nonce_key(), self._ra.replay.number)
        return self._sealed

    def _routes_of(self, door: Door) -> tuple[Route, ...]:
        def post(path: str, name: str, operation: Operation) -> Route:
            return Route(("POST", "OPTIONS"), f"{door.urls.path}/{path}", name, _or_preflight(operation))

        def get(path: str, name: str, operation: Operation, *methods: str) -> Route:
            methods = ("GET", "HEAD", *methods, "OPTIONS")
            return Route(methods, f"{door.urls.path}/{path}", name, _or_preflight(operation))

        def signed(resource: resources.Resource) -> Operation:
            async def operation(request: HTTPRequest) -> HTTPResponse:
                return await resource(door, await self._signed_by_account(door, request, _read(request)))

            return operation

        def plain(resource: Callable[[Door, HTTPRequest], Awaitable[HTTPResponse]]) -> Operation:
            async def operation(request: HTTPRequest) -> HTTPResponse:
                return await resource(door, request)

            return operation

        authorizing: tuple[Route, ...] = ()
        if door.options.pre_authorization:
            authorizing = (post("new-authz", "new-authz", signed(resources.new_authorization)),)
        return (
            get("directory", "directory", plain(self._directory), "POST"),
            get("new-nonce", "new-nonce", plain(self._new_nonce), "POST"),
            get("renewal-info/{certid}", "renewal-info", plain(renewal_info)),
            post("new-account", "new-account", plain(self._new_account)),
            post("new-order", "new-order", signed(resources.new_order)),
            post("account/{id}", "account", signed(accounts.account)),
            post("account/{id}/orders", "orders", signed(accounts.orders)),
            post("order/{id}", "order", signed(resources.order)),
            post("order/{id}/finalize", "finalize", signed(resources.finalize)),
            post("authz/{id}", "authorization", signed(resources.authorization)),
            post("chall/{id}/{type}", "challenge", signed(resources.challenge)),
            post("cert/{id}", "certificate", signed(certificates.certificate)),
            post("cert/{id}/{chain}", "certificate", signed(certificates.certificate)),
            get("ticket/{id}", "ticket", plain(ticket)),
            *authorizing,
            post("revoke-cert", "revoke-cert", plain(self._revoke_certificate)),
            post("key-change", "key-change", signed(accounts.key_change)),
        )

    # ----------------------------------------------------------------- resources that not only accounts sign

    async def _directory(self, door: Door, request: HTTPRequest) -> HTTPResponse:
        """RFC 8555 section 7.1.1: by GET, or by POST-as-GET."""
        if request.method == "POST":
            signed = await self._signed_by_account(door, request, _read(request))
            messages.read_empty(signed.payload)
        epoch = door.ra.configuration_epoch
        if door.directory is None or door.directory[0] != epoch:
            body = messages.write_directory(
                door.urls,
                await door.ra.products(door.mount),
                binding_required=door.mount.open_credential is None,
                terms_of_service=door.options.terms_of_service,
                website=door.options.website or self._settings.website,
                caa_identities=self._settings.caa_identities,
                pre_authorization=door.options.pre_authorization,
                subdomains=door.options.subdomains,
            )
            door.directory = (epoch, body)
        nonce: tuple[Header, ...] = ()
        if request.method == "POST":
            nonce = (("Replay-Nonce", door.nonces.fresh()),)
        return HTTPResponse(200, door.directory[1], "application/json", (*nonce, *CORS))

    async def _new_nonce(self, door: Door, request: HTTPRequest) -> HTTPResponse:
        """RFC 8555 section 7.2: HEAD is answered 200, GET and POST-as-GET 204."""
        if request.method == "POST":
            signed = await self._signed_by_account(door, request, _read(request))
            messages.read_empty(signed.payload)
        return door.reply(b"", NO_STORE, status=200 if request.method == "HEAD" else 204, content_type=None)

    async def _new_account(self, door: Door, request: HTTPRequest) -> HTTPResponse:
        """RFC 8555 section 7.3: signed with the key that is to have the account."""
        read = _read(request)
        if read.jwk is None:
            raise Malformed('a request for a new account needs "jwk", not "kid" (RFC 8555 section 6.2)')
        key = await self._signed_by_key(door, request, read, read.jwk)
        return await accounts.new_account(door, request, key, read.payload)

    async def _revoke_certificate(self, door: Door, request: HTTPRequest) -> HTTPResponse:
        """RFC 8555 section 7.6: signed by an account, or with the key of the certificate."""
        read = _read(request)
        if read.jwk is None:
            signed = await self._signed_by_account(door, request, read)
            return await resources.revoke_certificate(door, signed.principal, read.payload)
        key = await self._signed_by_key(door, request, read, read.jwk)
        holder = KeyHolder(key.spki, door.mount.key, request.peer.address)
        return await resources.revoke_certificate(door, holder, read.payload)

    # ----------------------------------------------------------------- who signed

    async def _signed_by_account(self, door: Door, request: HTTPRequest, read: jws.Request) -> Signed:
        """A request that an account signed: key, signature, nonce, URL, then the account's status.

        In this order, so that a nonce is used up as soon as its owner is known (nobody else can spend it),
        and nothing is said about an account to somebody who does not hold its key.
        """
        if read.kid is None:
            raise Malformed('this resource needs "kid", not "jwk" (RFC 8555 section 6.2)')
        account_id = door.urls.account_of(read.kid)
        if account_id is None:
            raise AccountUnknown(f'"kid" is not an account of this server, which begin {door.urls.account_prefix}')
        account = await door.ra.account(door.mount.key, account_id)
        stored_key(account.spki).check(read.alg, read.signature, read.signed)
        await _spend(door, request, read)
        request.event["account"] = account.id
        if account.status is not AccountStatus.VALID:
            raise Unauthenticated(f"the account is {account.status}")
        principal = await door.ra.authenticate(door.mount.key, (AccountClaim(account),), request.peer.address)
        request.event["credential"] = principal.credential.id
        return Signed(request, read.payload, principal)

    async def _signed_by_key(self, door: Door, request: HTTPRequest, read: jws.Request, jwk: bytes) -> SigningKey:
        """The key that a request brought with it and was signed with."""
        key = read_jwk(jwk)
        key.check(read.alg, read.signature, read.signed)
        await _spend(door, request, read)
        return key


async def _spend(door: Door, request: HTTPRequest, read: jws.Request) -> None:
    """The nonce is good once (RFC 8555 section 6.5), and the URL is the one asked (section 6.4)."""
    if not await door.ra.replay.redeem(door.nonces.open(read.nonce)):
        raise unacceptable()
    url = f"{request.url}?{request.query}" if request.query else request.url
    if read.url != url:
        raise Unauthenticated(f'"url" in the protected header is not this resource, which is {url}')


def _read(request: HTTPRequest) -> jws.Request:
    """The JWS in a request. Raises UnsupportedMedia (RFC 8555 section 6.2), Malformed, BadAlgorithm."""
    media = request.headers.get("content-type", "")
    if media != _JOSE and media.partition(";")[0].strip().lower() != _JOSE:
        raise UnsupportedMedia(f"the body has to be {_JOSE} (RFC 8555 section 6.2)")
    return jws.read(request.body)


def _or_preflight(operation: Operation) -> Operation:
    """The operation, with an answer to CORS preflights: a script may not send the JOSE type without asking
    first."""

    async def either(request: HTTPRequest) -> HTTPResponse:
        if request.method == "OPTIONS":
            return HTTPResponse(204, b"", None, PREFLIGHT)
        return await operation(request)

    return either


def _label_of(path: str) -> str:
    found = _LABEL_OF_PATH.match(path)
    return found[1] if found else ""
