"""HTTP as plain values: what a door sees of a request and what it answers. No web framework here.

`gateway.http` is the one module that turns these from and into aiohttp's objects.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

import msgspec


class PeerIdentity(msgspec.Struct, frozen=True):
    """What the transport knows of the other side.

    `certificate` is the DER of the client certificate that the TLS handshake verified against the listener's
    anchors (or that a trusted proxy handed on), `chain` the further certificates that the client sent, in DER.
    """

    address: str
    certificate: bytes | None = None
    chain: tuple[bytes, ...] = ()


class ChannelBinding(Enum):
    """Channel bindings of a TLS connection: RFC 5929 section 3 and 4, RFC 9266."""

    TLS_UNIQUE = "tls-unique"
    EXPORTER = "tls-exporter"
    SERVER_END_POINT = "tls-server-end-point"


def _no_binding(_: ChannelBinding) -> bytes | None:
    return None


class HTTPRequest(msgspec.Struct, frozen=True):
    """One request, whole: its body has been read and its size checked.

    `path` is the raw path as sent, without the query; `parameters` are the parts of the path that the route names;
    `headers` has lower-case names (several fields of one name are joined by ", "). `url` is the address as this
    server advertises it (configured base URL + path), never taken from the Host header. `label` is the mount's label.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: PeerIdentity
    url: str
    request_id: str
    label: str = ""
    parameters: Mapping[str, str] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    tls_version: str | None = None
    connection_id: int = 0
    channel_binding: Callable[[ChannelBinding], bytes | None] = _no_binding
    event: dict[str, Any] = msgspec.field(default_factory=dict)
    """Fields that the door adds to the request's one log line: credential, account, order, outcome kind."""


class HTTPResponse(msgspec.Struct, frozen=True):
    """An answer. `headers` in canonical case (old clients compare them byte by byte); `body` bytes or a stream."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


Operation = Callable[[HTTPRequest], Awaitable[HTTPResponse]]


class Transport(Enum):
    """What a route needs of the transport."""

    TLS = "tls"
    """Served over TLS only."""
    ANY = "any"
    """Served over TLS and over plain HTTP: the messages protect themselves, or are public (CRL, OCSP, SCEP, CMP)."""


@dataclass(frozen=True, slots=True)
class Route:
    """One resource: methods, a path pattern and the operation behind it.

    `path` is absolute; a segment `{name}` takes one path segment, `{name:*}` the whole rest. `methods` are those
    that exist; any other is answered 405 with Allow, said by the door's `say`. `name` is the operation's name in
    logs and metrics ("new-order"). `mount` is false for resources that belong to no mount (CRL, OCSP).
    """

    methods: tuple[str, ...]
    path: str
    name: str
    operation: Operation
    transport: Transport = Transport.TLS
    max_body_bytes: int = 64 * 1024
