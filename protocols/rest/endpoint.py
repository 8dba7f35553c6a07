"""The REST door: who asks, may they, what do they want; then the resource; then the answer with its fields."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from policy.accesskey import PREFIX, read_access_key
from policy.credential import AccessKeyClaim, Principal, TokenClaim
from policy.limits import Allowance
from policy.mount import Mount
from policy.problems import Malformed, Problem, Unauthenticated, UnsupportedMedia
from protocols.endpoint import Services, note
from protocols.http import HTTPRequest, HTTPResponse, Route
from protocols.rest import openapi, problems
from protocols.rest.oauth import OAuth
from protocols.rest.operation import JSON, ROOT, Call, Door, Operation, Reply, entity_tag
from protocols.rest.paging import (
    CSV,
    MAX_LIMIT,
    NDJSON,
    Cursors,
    Page,
    PageQuery,
    csv_heading,
    csv_rows,
    ndjson,
    next_url,
)
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.resources import OPERATIONS
from protocols.rest.schema import encode, read_body, read_query
from protocols.rest.settings import LABEL, RESTSettings

MOUNT = f"rest/{LABEL}"
ON_BEHALF_OF = "x-on-behalf-of"
"""The user in whose name a portal asks; needs the permission user:act-for."""
NO_STORE = ("Cache-Control", "no-store")
_KEY = re.compile(r'"?([!#-~]{1,200})"?')
"""An idempotency key: visible ASCII, with or without the quotation marks of a structured field's string."""

_Kept = tuple[int, bytes, str | None, tuple[tuple[str, str], ...]]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Kept).decode


class RESTEndpoint:
    """The API: the operations of every resource module, and the document that describes them."""

    def __init__(self, services: Services) -> None:
        assert isinstance(services.settings, RESTSettings)
        assert services.administration is not None and services.inventory is not None
        assert services.people is not None and services.organisations is not None and services.onboarding is not None
        assert services.admission is not None and services.kits is not None and services.domains is not None
        assert services.lifecycle is not None and services.proposing is not None
        self._ra = services.ra
        self._admission = services.admission
        self._door = Door(
            ra=services.ra,
            administration=services.administration,
            people=services.people,
            organisations=services.organisations,
            onboarding=services.onboarding,
            domains=services.domains,
            inventory=services.inventory,
            lifecycle=services.lifecycle,
            proposing=services.proposing,
            admission=services.admission,
            kits=services.kits,
            settings=services.settings,
            base_url=services.base_url,
            mtls_url=services.mtls_url,
            clock=services.clock,
        )
        self._cursors = Cursors(services.admission.cursor_key)
        self._oauth = OAuth(services.ra, services.admission, MOUNT, services.base_url, services.mtls_url)
        self._document = openapi.document(OPERATIONS, services.base_url)

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """Every operation, when the API is mounted."""
        if not any(mount.key == MOUNT for mount in mounts):
            return ()
        return (
            *(_route(one, partial(self._serve, one)) for one in OPERATIONS),
            Route(("GET",), f"{ROOT}/openapi.json", "openapi", self.openapi),
            *self._oauth.routes(),
        )

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """Problem details (RFC 9457)."""
        return problems.say(problem, request)

    async def openapi(self, request: HTTPRequest) -> HTTPResponse:
        """The OpenAPI document: to anybody."""
        return HTTPResponse(200, self._document, JSON, (("Cache-Control", "max-age=300"),))

    # ------------------------------------------------------------- every operation goes through here

    async def _serve(self, operation: Operation, request: HTTPRequest) -> HTTPResponse:
        allowance: Allowance | None = None
        try:
            principal = await self._authenticate(request)
            request.event["credential"] = principal.credential.id
            allowance = self._admission.count(principal)
            actor = await self._admission.actor(principal, request.headers.get(ON_BEHALF_OF))
            if operation.permission is not None:
                actor.check(operation.permission)
            call = Call(self._door, request, principal, actor)
            response = await self._once(operation, call)
        except Problem as problem:
            note(problem, request)
            pointer = operation.pointers.get(problem.kind)
            if pointer is not None:
                problem.context.setdefault("pointer", pointer)
            response = problems.say(problem, request)
        if allowance is None:
            return response
        return HTTPResponse(
            response.status, response.body, response.content_type, (*response.headers, *_ratelimit(allowance))
        )

    async def _authenticate(self, request: HTTPRequest) -> Principal:
        return await self._ra.authenticate(MOUNT, (_claim(request),), request.peer.address)

    async def _once(self, operation: Operation, call: Call) -> HTTPResponse:
        """Serve it; a POST with an idempotency key has its effect once, and the same answer each time."""
        request = call.request
        given = request.headers.get("idempotency-key")
        if given is None or operation.method != "POST":
            return await self._answer(operation, call)
        key = _KEY.fullmatch(given)
        if key is None:
            raise Malformed("an Idempotency-Key is 1 to 200 visible ASCII characters")
        memory = self._admission.idempotency
        scope = f"{call.principal.credential.id} {operation.name}"
        asked = request.path, request.query, request.body, request.headers.get(ON_BEHALF_OF)
        digest = hashlib.sha256(_pack(asked)).hexdigest()
        known = await memory.claim(scope, key[1], digest)
        if known is not None:
            status, body, content_type, headers = _unpack(known)
            return HTTPResponse(status, body, content_type, (*headers, ("Idempotency-Replayed", "true")))
        call.reference = hashlib.sha256(_pack((operation.name, key[1]))).hexdigest()
        try:
            response = await self._answer(operation, call)
        except BaseException:
            await memory.release(scope, key[1])
            raise
        assert isinstance(response.body, bytes)
        kept: _Kept = (response.status, response.body, response.content_type, response.headers)
        await memory.keep(scope, key[1], _pack(kept))
        return response

    async def _answer(self, operation: Operation, call: Call) -> HTTPResponse:
        arguments: list[Any] = [call]
        if operation.body is not None:
            arguments.append(_body(operation.body, call.request))
        if operation.page:
            assert operation.query is not None
            return await self._list(operation, call, read_query(operation.query, call.request.query))
        if operation.query is not None:
            arguments.append(read_query(operation.query, call.request.query))
        elif call.request.query:
            raise Invalid(FieldError(f"?{call.request.query[:40]}", "unknown", "this operation takes no parameters"))
        reply = await operation.handler(*arguments)
        assert isinstance(reply, Reply)
        return _respond(operation, call, reply)

    async def _list(self, operation: Operation, call: Call, query: PageQuery) -> HTTPResponse:
        """A page as JSON, or the whole list from there on as CSV or NDJSON."""
        chosen = call.choose(JSON, NDJSON, CSV)
        after = self._cursors.read(operation.name, query)
        # What is wrong with the filters is said before anything is sent.
        page = await operation.handler(call, query, after, query.limit if chosen == JSON else MAX_LIMIT)
        assert isinstance(page, Page)
        if chosen != JSON:
            stream = _export(operation, call, query, page, chosen)
            return HTTPResponse(200, stream, f"{chosen}; charset=utf-8", (NO_STORE, ("Vary", "Accept")))
        cursor = self._cursors.make(operation.name, query, page.after) if page.after else None
        headers = [NO_STORE, ("Vary", "Accept")]
        if cursor is not None:
            headers.append(("Link", f'<{next_url(call.request.url, query, cursor)}>; rel="next"'))
        return HTTPResponse(200, encode({"items": page.items, "next": cursor}), JSON, tuple(headers))


def _claim(request: HTTPRequest) -> AccessKeyClaim | TokenClaim:
    """An access key or token (RFC 6750, RFC 9449 section 7.1). Raises Unauthenticated when there is none."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    text, dpop = text.strip(), scheme.lower() == "dpop"
    if not text or (scheme.lower() != "bearer" and not dpop):
        raise Unauthenticated("authentication is needed: send an access key or token as Bearer (RFC 6750)")
    if text.startswith(f"{PREFIX}_") and not dpop:
        return AccessKeyClaim(*read_access_key(text))
    proof = request.headers.get("dpop")
    return TokenClaim(text, request.peer.certificate, dpop, proof, request.method, request.url)


def _route(operation: Operation, serve: Any) -> Route:
    route = Route((operation.method,), ROOT + operation.path, operation.name, serve)
    return route if operation.max_body_bytes is None else replace(route, max_body_bytes=operation.max_body_bytes)


def _body(kind: type[Any], request: HTTPRequest) -> Any:
    media = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media != JSON:
        raise UnsupportedMedia(f'the body is "{media}"; send it as {JSON}')
    return read_body(kind, request.body)


def _respond(operation: Operation, call: Call, reply: Reply) -> HTTPResponse:
    headers = [NO_STORE, *reply.headers]
    if reply.version is not None:
        headers.append(("ETag", entity_tag(reply.version)))
        seen = call.request.headers.get("if-none-match", "")
        if operation.method == "GET" and entity_tag(reply.version) in seen:
            return HTTPResponse(304, b"", None, tuple(headers))
    if reply.location is not None:
        headers.append(("Location", f"{call.door.base_url}{ROOT}{reply.location}"))
    if reply.retry_after is not None:
        headers.append(("Retry-After", str(reply.retry_after)))
    status = reply.status or operation.status
    if reply.body is not None:
        return HTTPResponse(status, reply.body, reply.content_type, tuple(headers))
    if reply.view is None:
        return HTTPResponse(status, b"", None, tuple(headers))
    return HTTPResponse(status, encode(reply.view), JSON, tuple(headers))


async def _export(operation: Operation, call: Call, query: PageQuery, page: Page, media: str) -> AsyncIterator[bytes]:
    """Every item from this page on, a page at a time, while the caller may be told."""
    if media == CSV:
        yield csv_heading(operation.answer)
    while True:
        if page.items:
            yield csv_rows(page.items) if media == CSV else ndjson(page.items)
        if not page.after or not await call.goes_on():
            return
        following = await operation.handler(call, query, page.after, MAX_LIMIT)
        assert isinstance(following, Page)
        page = following


def _ratelimit(allowance: Allowance) -> tuple[tuple[str, str], ...]:
    """RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""
    limit = allowance.limit
    return (
        ("RateLimit-Policy", f'"credential";q={limit.count};w={limit.seconds}'),
        ("RateLimit", f'"credential";r={allowance.remaining};t={allowance.reset_seconds}'),
    )
