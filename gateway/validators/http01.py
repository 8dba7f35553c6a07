"""The http-01 validator: fetch the key authorization from the name's web server and compare (RFC 8555
section 8.3).

Addresses likewise (RFC 8738 section 4). What a stranger's web server says reaches the client only where it
cannot be used to look into other networks: never after a redirect, never from an address that is not
public.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any, Final

from ca_core.names import IdentifierType
from gateway.dial import ByteStream, Dialer, DialError, Peer
from gateway.validators.fetch import BadResponse, Response, get
from gateway.validators.targets import BadRedirect, Target, redirected
from policy.problems import ValidationConnection, ValidationFailed, ValidationIncorrectResponse, ValidationTLS
from policy.validation import Attempt, Evidence
from policy.validation.challenges import HTTP_01, http_01_path

MAX_REDIRECTS = 10
MAX_BODY_BYTES = 128
"""A key authorization of ours has 87 characters; nothing longer can be right."""
MAX_BLANK_BYTES = 128
"""White space after it is ignored, as section 8.3 asks, within reason."""
SHOWN_BYTES = 64

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLANK = b" \t\r\n\v\f"


@dataclass(slots=True)
class _Trail:
    """Where a validation has come to: what a problem may say, and what goes to the log."""

    targets: list[Target] = field(default_factory=list)
    peer: Peer | None = None

    @property
    def is_open(self) -> bool:
        """Whether details may be told: still at the first target, and that is a public address."""
        return len(self.targets) <= 1 and (self.peer is None or self.peer.public)

    def __str__(self) -> str:
        if not self.targets:
            return "the target"
        place = f" at {self.peer}" if self.peer is not None and self.peer.public else ""
        if len(self.targets) == 1:
            return f"{self.targets[0]}{place}"
        return f"redirect {len(self.targets) - 1} of {self.targets[0]}"


class HTTP01Validator:
    """Proves control of a host name or an address through its web server.

    `port` is where the first request goes; any other than 80 is for tests, and redirects may then use it too.
    """

    method: str = HTTP_01

    def __init__(self, dialer: Dialer, *, port: int = 80, deadline_seconds: float = 10.0) -> None:
        self._dialer = dialer
        self._port = port
        self._deadline = deadline_seconds
        self._ports: Final = frozenset({80, 443, port})
        self._tls = _unverified_context()

    async def validate(self, attempt: Attempt) -> Evidence:
        """Fetch and compare.

        Raises ValidationConnection, ValidationDNS, ValidationIncorrectResponse, ValidationTLS (https hops
        only).
        """
        trail = _Trail()
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._fetch(attempt, trail)
        except TimeoutError as exc:
            raise ValidationConnection(
                f"{trail}: no whole answer within {self._deadline:g} seconds", **_context(trail)
            ) from exc
        _compare(response, attempt.key_authorization, trail)
        return Evidence(HTTP_01, str(trail.peer), f"HTTP 200 from {trail.targets[-1]}")

    async def _fetch(self, attempt: Attempt, trail: _Trail) -> Response:
        identifier = attempt.identifier
        target = Target("http", identifier.value, self._port, http_01_path(attempt.token))
        # Section 8.3: the Host field is the name being validated, and nothing else, at the first request.
        host = f"[{target.host}]" if ":" in target.host else target.host
        while True:
            trail.targets.append(target)
            response = await self._get(target, host, trail)
            if response.status not in _REDIRECTS:
                return response
            if len(trail.targets) > MAX_REDIRECTS:
                raise _wrong(trail, f"more than {MAX_REDIRECTS} redirects")
            if response.location is None:
                raise _wrong(trail, f"HTTP status {response.status} without a Location")
            try:
                target = redirected(
                    target,
                    response.location,
                    ports=self._ports,
                    addresses=identifier.type is IdentifierType.IP,
                )
            except BadRedirect as exc:
                raise _wrong(trail, f"the redirect is not followed: {exc}") from exc
            if target in trail.targets:
                raise _wrong(trail, "the redirects are a loop")
            host = target.authority

    async def _get(self, target: Target, host: str, trail: _Trail) -> Response:
        trail.peer = None
        try:
            connection = await self._connected(target)
            try:
                trail.peer = connection.peer
                return await get(connection, host, target.path, max_body_bytes=MAX_BODY_BYTES + MAX_BLANK_BYTES)
            finally:
                connection.close()
        except DialError as exc:
            raise ValidationConnection(f"{trail}: {exc.detail}", reason=exc.reason, **_context(trail)) from exc
        except BadResponse as exc:
            told = str(exc) if trail.is_open else "the answer is not usable HTTP"
            raise ValidationConnection(f"{trail}: {told}", reason=str(exc), **_context(trail)) from exc
        except TimeoutError:
            raise
        except ssl.SSLError as exc:
            raise ValidationTLS(f"{trail}: the TLS handshake failed", reason=repr(exc), **_context(trail)) from exc
        except OSError as exc:
            # Not the text of the exception: it says how the network behind a private address behaves.
            raise ValidationConnection(
                f"{trail}: the connection failed before the answer was there",
                reason=repr(exc),
                **_context(trail),
            ) from exc

    async def _connected(self, target: Target) -> ByteStream:
        if target.scheme == "https":
            return await self._dialer.connect_tls(target.host, target.port, self._tls, server_name=target.host)
        return await self._dialer.connect(target.host, target.port)


def _compare(response: Response, expected: str, trail: _Trail) -> None:
    if response.status != 200:
        raise _wrong(trail, f"HTTP status {response.status} instead of 200")
    body = response.body.rstrip(_BLANK)
    if response.cut or len(body) > MAX_BODY_BYTES:
        raise _wrong(trail, f"a body of more than {MAX_BODY_BYTES} bytes, which no key authorization has")
    if body != expected.encode("ascii"):
        told = "the body is not the key authorization"
        raise _wrong(trail, f'{told} but "{_shown(body)}"' if trail.is_open and body else told)


def _wrong(trail: _Trail, what: str) -> ValidationFailed:
    return ValidationIncorrectResponse(f"{trail}: {what}", **_context(trail))


def _context(trail: _Trail) -> dict[str, Any]:
    return {"peer": str(trail.peer), "targets": [str(target) for target in trail.targets]}


def _shown(body: bytes) -> str:
    """The beginning of a body, for a sentence that a console may show as well: plain characters only."""
    plain = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in '<>&"\\' else "?" for byte in body[:SHOWN_BYTES])
    return plain + ("…" if len(body) > SHOWN_BYTES else "")


def _unverified_context() -> ssl.SSLContext:
    """For https hops. A name that is being validated cannot be expected to have a good certificate
    already."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
