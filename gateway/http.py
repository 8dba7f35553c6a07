"""aiohttp's parsed requests -> HTTPRequest, HTTPResponse -> bytes: the one module that knows both.

Everything that two HTTP programs could understand differently is refused here, before any door sees it.
What the connection may take of time and number is `gateway.connection`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDictProxy

from gateway.answer import Answer, AnswerWriter
from gateway.config.schema import ServerSettings
from gateway.connection import BODY, LATE, WORK, BodyTooSlow, Incoming
from gateway.middleware import Observer, Proxies
from gateway.routing import Door, Found, RouteTable, Target, as_status, say_plainly
from policy.problems import Forbidden, Internal, Malformed, Problem, TooLarge, Unavailable, UnsupportedMedia
from protocols.endpoint import dispatch
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport

_log = structlog.get_logger("certgate.server")
_PLAIN = Door("server", say_plainly, ())
_NOTHING = Found(None)
_DEFAULT_BODY_BYTES = Route.__dataclass_fields__["max_body_bytes"].default
MAX_READING_BYTES = 64 * 1024 * 1024
"""Of bodies that are being read, all together: nobody has said yet who they are, and some resources take large ones."""


class Headers(Mapping[str, str]):
    """A request's fields under lower-case names, several of one name joined by ", " (RFC 9110 section 5.3).

    Made from what the parser has, without a copy: most requests are asked for two or three of their fields.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: CIMultiDictProxy[str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return _joined(self._fields.getall(name))

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default`."""
        values = self._fields.getall(name, None)
        return default if values is None else _joined(values)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._fields))

    def __len__(self) -> int:
        return len({name.lower() for name in self._fields})


def _joined(values: list[str]) -> str:
    """The text of a field. Octets that are no UTF-8, which the parser keeps as surrogates, become question marks: no
    store, log or answer can write them."""
    text = values[0] if len(values) == 1 else ", ".join(values)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Front:
    """The handler of one listener: from a parsed head to an answer."""

    def __init__(
        self,
        *,
        origin: str,
        secure: bool,
        hosts: frozenset[str],
        settings: ServerSettings,
        observer: Observer,
        proxies: Proxies,
        request_id: Callable[[], str],
    ) -> None:
        """`origin` is how clients know this listener, `hosts` the names that absolute targets may have."""
        self.table = RouteTable(())
        self._origin = origin
        self._secure = secure
        self._hosts = hosts
        self._settings = settings
        self._observer = observer
        self._proxies = proxies
        self._request_id = request_id
        self.writer = AnswerWriter(secure=secure)
        self.inflight = 0
        self.reading_bytes = 0

    async def __call__(self, incoming: Incoming) -> Answer:
        """Serve one request (called by aiohttp, or by the hot lane)."""
        started = time.perf_counter()
        self.inflight += 1
        connection = incoming.connection
        connection.incoming = incoming
        event: dict[str, Any] = {}
        exchange = _Exchange(self, incoming, event, started)
        try:
            response = await exchange.run()
            answer = exchange.write(response)
        except Exception as fault:  # noqa: BLE001 - an answer that cannot be written (a field with a line feed)
            _log.error("internal", request=exchange.request_id, fault=type(fault).__name__, exc_info=fault)
            event["problem"] = "internal"
            response = exchange.say(Internal(f"internal error; the operator finds it under {exchange.request_id}"))
            answer = exchange.write(HTTPResponse(500, response.body, response.content_type))
        finally:
            self.inflight -= 1
            connection.incoming = None
            connection.late = None
        if connection.phase == LATE:
            _log.warning("finished too late", request=exchange.request_id, status=response.status, **event)
        else:
            exchange.note(response.status)
        return answer


class _Refusal(Exception):
    """A request that HTTP itself refuses: the status, and the problem to say."""

    def __init__(self, status: int, problem: Problem, *headers: tuple[str, str]) -> None:
        super().__init__(problem.detail)
        problem.context["status"] = status
        self.status = status
        self.problem = problem
        self.headers = headers


class _Exchange:
    """One request on its way through: what is known of it so far."""

    __slots__ = (
        "abrupt",
        "close",
        "connection",
        "event",
        "found",
        "front",
        "headers",
        "incoming",
        "path",
        "peer",
        "query",
        "request_id",
        "secure",
        "started",
        "target",
    )

    def __init__(self, front: Front, incoming: Incoming, event: dict[str, Any], started: float) -> None:
        self.front = front
        self.incoming = incoming
        self.connection = incoming.connection
        self.event = event
        self.started = started
        fields = incoming.message.headers
        self.headers: Mapping[str, str] = fields if isinstance(fields, dict) else Headers(fields)
        self.request_id = front._request_id()
        self.peer = self.connection.identity()
        self.secure = front._secure
        self.path, _, self.query = incoming.message.path.partition("?")
        self.found = _NOTHING
        self.target: Target | None = None
        self.close = False
        self.abrupt = False

    async def run(self) -> HTTPResponse:
        """The answer to this request, whatever it is."""
        front = self.front
        try:
            if front._proxies.trusts(self.connection.address):
                self._believe_proxy()
            # A request of the hot lane has its body already; `gateway.head` saw that there is nothing to check.
            body = self.incoming.body
            if body is None:
                self._check_target()
            found = self.found = front.table.find(self.path)
            if body is None:
                self._check_fields()
            target = self.target = self._resolve(found)
            limit = target.route.max_body_bytes
            if limit == _DEFAULT_BODY_BYTES:
                limit = front._settings.max_body_bytes
            if body is None:
                body = await self._read_body(limit)
            elif len(body) > limit:
                raise self._too_large(limit)
        except _Refusal as refusal:
            return self._refused(refusal)
        request = self.request(body, found.parameters)
        connection = self.connection
        connection.phase = WORK
        connection.due = connection.registry.now() + front._settings.request_timeout_seconds
        connection.late = self.too_late
        return await dispatch(target.route.operation, target.door.say, request)

    def request(self, body: bytes, parameters: Mapping[str, str]) -> HTTPRequest:
        """This request as a door sees it."""
        connection = self.connection
        return HTTPRequest(
            self.incoming.message.method,
            self.path,
            self.query,
            self.headers,
            body,
            self.peer,
            self.front._origin + self.path,
            self.request_id,
            parameters.get("label", ""),
            parameters,
            connection.tls_version(),
            connection.id,
            connection.channel_binding,
            self.event,
        )

    def say(self, problem: Problem) -> HTTPResponse:
        """A problem in the words of the door at this place."""
        door = self.found.door or _PLAIN
        return door.say(problem, self.request(b"", self.found.parameters))

    def too_late(self) -> bytes:
        """The whole answer for a client that waited too long; the operation goes on without it."""
        self.close = True
        self.event["problem"] = "late"
        response = self.say(Unavailable("the answer takes too long; what was begun goes on", retry_after=30))
        self.note(503)
        return self.write(as_status(503, response)).head

    def write(self, response: HTTPResponse) -> Answer:
        """The bytes of the answer. Raises ValueError when the door gave a field that breaks the head."""
        message = self.incoming.message
        return self.front.writer.write(
            response,
            self.incoming,
            request_id=self.request_id,
            keep_alive=not (message.should_close or self.close or self.connection.registry.draining),
            abrupt=self.abrupt,
        )

    def note(self, status: int) -> None:
        """Write the line of this request and count it."""
        target = self.target
        self.front._observer.finished(
            self.request_id,
            target.door.name if target else "server",
            target.route.name if target else "none",
            self.incoming.message.method,
            status,
            time.perf_counter() - self.started,
            self.peer.address,
            self.event,
        )

    def _believe_proxy(self) -> None:
        try:
            told = self.front._proxies.read(self.headers, self.peer)
        except ValueError as exc:
            raise _Refusal(400, Malformed("a forwarded field is malformed", fault=str(exc))) from exc
        self.peer = told.peer
        self.secure = self.secure or told.tls
        self.request_id = told.request_id or self.request_id

    def _check_target(self) -> None:
        """Refuse heads that are too large, protocols that are not HTTP/1, and targets that are not ours."""
        message = self.incoming.message
        if self.connection.head_bytes > self.front._settings.max_header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
            if size > self.front._settings.max_header_bytes:
                self.close = True
                raise _Refusal(431, TooLarge("the head of the request is too large"))
        if message.upgrade or message.method == "CONNECT":
            # The parser stops at such a request: what follows on this connection would not be HTTP.
            self.close = self.abrupt = True
            if message.method == "CONNECT":
                raise _Refusal(400, Malformed("this server is no proxy"))
        if message.version not in ((1, 1), (1, 0)):
            self.close = True
            raise _Refusal(505, Malformed("the HTTP version is not supported"))
        if not self.path.startswith("/"):
            self._check_absolute()
        if "#" in message.path:
            raise _Refusal(400, Malformed("the request target has a fragment"))

    def _check_fields(self) -> None:
        """Refuse codings and expectations that are not served."""
        message = self.incoming.message
        headers = message.headers
        if "Content-Encoding" in headers and headers["Content-Encoding"].strip().lower() != "identity":
            raise _Refusal(415, UnsupportedMedia("the body has a content coding; send it plain"))
        if message.chunked and headers["Transfer-Encoding"].strip().lower() != "chunked":
            self.close = True
            raise _Refusal(501, Malformed("a transfer coding other than chunked is not supported"))
        if "Expect" in headers and headers["Expect"].strip().lower() != "100-continue":
            self.close = True
            raise _Refusal(417, Malformed("the only expectation that can be met is 100-continue"))

    def _check_absolute(self) -> None:
        """An absolute-form target (RFC 9112 section 3.2.2) is taken when it names this server."""
        url = self.incoming.message.url
        if not url.absolute:
            raise _Refusal(400, Malformed("the request target is neither a path nor an absolute URL"))
        if url.scheme not in ("http", "https") or (url.host or "").lower() not in self.front._hosts or url.user:
            self.close = True
            raise _Refusal(421, Malformed("this server does not answer for the authority of the request target"))
        self.path = url.raw_path
        self.query = url.raw_query_string

    def _resolve(self, found: Found) -> Target:
        if found.resource is None:
            raise _Refusal(404, Malformed("there is nothing at this address"))
        method = self.incoming.message.method
        target = found.resource.targets.get(method)
        if target is None:
            allow = found.resource.allow
            raise _Refusal(405, Malformed(f"the method {method} is not served here, only {allow}"), ("Allow", allow))
        if target.route.transport is Transport.TLS and not self.secure:
            raise _Refusal(403, Forbidden("this resource is served over TLS only"))
        return target

    async def _read_body(self, limit: int) -> bytes:
        """The whole body, within the route's size and the connection's time."""
        incoming = self.incoming
        payload = incoming.payload
        headers = incoming.message.headers
        length = headers.get("Content-Length")
        if length is not None and int(length) > limit:
            raise self._too_large(limit)
        if payload.is_eof():
            body = payload.read_nowait(-1) if payload.total_bytes else b""
            if len(body) > limit:
                raise self._too_large(limit)
            return body
        connection = self.connection
        connection.phase = BODY
        connection.due = connection.registry.now() + self.front._settings.body_timeout_seconds
        if "Expect" in headers and incoming.message.version >= (1, 1) and connection.transport is not None:
            connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._gather(limit)

    async def _gather(self, limit: int) -> bytes:
        payload = self.incoming.payload
        parts: list[bytes] = []
        size = 0
        try:
            while not payload.at_eof():
                part = await payload.readany()
                size += len(part)
                self.front.reading_bytes += len(part)
                if size > limit:
                    raise self._too_large(limit)
                if size > self.front._settings.max_body_bytes and self.front.reading_bytes > MAX_READING_BYTES:
                    self.close = True
                    raise _Refusal(503, Unavailable("too many large requests at once", retry_after=30))
                parts.append(part)
        except BodyTooSlow as exc:
            self.close = self.abrupt = True
            raise _Refusal(408, Malformed("the body of the request came too slowly")) from exc
        except (RequestPayloadError, ValueError) as exc:
            self.close = self.abrupt = True
            raise _Refusal(400, Malformed("the body of the request cannot be read")) from exc
        except (ConnectionError, RuntimeError) as exc:
            self.close = self.abrupt = True
            # The client has gone (aiohttp says RuntimeError when it already had); nginx made 499 the number
            # for it.
            raise _Refusal(499, Malformed("the client went away in the middle of the body")) from exc
        finally:
            self.front.reading_bytes -= size
        return b"".join(parts)

    def _too_large(self, limit: int) -> _Refusal:
        self.close = True
        return _Refusal(413, TooLarge(f"the body is larger than the {limit} bytes that are read here"))

    def _refused(self, refusal: _Refusal) -> HTTPResponse:
        """The answer to a refusal: in the door's words where the place is one's, with HTTP's own status."""
        self.event["problem"] = refusal.problem.kind
        self.event["detail"] = refusal.problem.detail
        if refusal.status in (404, 405):
            self.event["path"] = self.path[:200]
        if not self.incoming.payload.is_eof():
            self.close = True  # the rest of this body must not be taken for the next request
        self.front._observer.metrics.http_rejected.labels(str(refusal.status)).inc()
        return as_status(refusal.status, self.say(refusal.problem), *refusal.headers)
