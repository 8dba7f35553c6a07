"""What happens around every request: its identifier, who really asked, its one log line, its timing."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from gateway.logs import LEVELS, Logging, redacted
from gateway.metrics import Metrics, RequestTiming
from protocols.http import PeerIdentity

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# An sf-binary item of RFC 8941 section 3.3.5: base64 between colons.
_BINARY = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
MAX_CHAIN = 10


def request_ids() -> Callable[[], str]:
    """A source of identifiers: unique over restarts by a random beginning, cheap by counting on from it."""
    prefix = secrets.token_hex(4)
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers):08x}"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a trusted proxy told of the request that it passed on."""

    peer: PeerIdentity
    tls: bool
    request_id: str | None


class Proxies:
    """The proxies that are believed. Nobody else's X-Forwarded fields and Client-Cert are looked at."""

    def __init__(self, networks: tuple[str, ...], *, client_certificates: bool = False) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(text) for text in networks]
        self._client_certificates = client_certificates

    def trusts(self, address: str) -> bool:
        """Whether the connection at this address is a proxy of ours."""
        if not self._networks or not address:
            return False
        parsed = ip_address(address.partition("%")[0])
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._networks)

    def read(self, headers: Mapping[str, str], proxy: PeerIdentity) -> Forwarded:
        """Who asked, according to a trusted proxy.

        X-Forwarded-For is read from its end, the first address that is not a proxy of ours being the
        client: what stands before it came from the client itself. Raises ValueError when a field is not of
        its form.
        """
        address = proxy.address
        for part in reversed(headers.get("x-forwarded-for", "").split(",")):
            text = part.strip()
            if not text:
                continue
            address = str(ip_address(text))
            if not self.trusts(address):
                break
        peer = PeerIdentity(address)
        if self._client_certificates and (shown := headers.get("client-cert")):
            chain = _binaries(headers.get("client-cert-chain", ""))
            certificates = _binaries(shown)
            if len(certificates) != 1:
                raise ValueError("Client-Cert is not one byte sequence (RFC 9440 section 2.2)")
            peer = PeerIdentity(address, certificates[0], chain)
        name = headers.get("x-request-id", "")
        return Forwarded(
            peer,
            headers.get("x-forwarded-proto", "").strip().lower() == "https",
            name if _REQUEST_ID.fullmatch(name) else None,
        )


def _binaries(text: str) -> tuple[bytes, ...]:
    """A list of byte sequences (RFC 8941). Raises ValueError."""
    if not text.strip():
        return ()
    parts = [_BINARY.fullmatch(part.strip()) for part in text.split(",")]
    if len(parts) > MAX_CHAIN:
        raise ValueError(f"more than {MAX_CHAIN} certificates")
    try:
        return tuple(base64.b64decode(part[1] if part else "?", validate=True) for part in parts)
    except binascii.Error as exc:
        raise ValueError("not a list of byte sequences (RFC 8941 section 3.3.5)") from exc


@dataclass(slots=True)
class Observer:
    """Writes the one line and the timing of every finished request of a listener."""

    listener: str
    log: Logging
    metrics: Metrics
    _timings: dict[tuple[str, str], RequestTiming] = field(default_factory=dict)

    def finished(
        self,
        request_id: str,
        protocol: str,
        operation: str,
        method: str,
        status: int,
        seconds: float,
        peer: str,
        event: dict[str, Any],
    ) -> None:
        """Count and log a request. `event` has what the door added: credential, order, problem."""
        timing = self._timings.get((protocol, operation))
        if timing is None:
            timing = self._timings[protocol, operation] = self.metrics.timing(protocol, operation)
        timing.done(status, seconds)
        log = self.log
        if log.level > LEVELS["info"]:
            return
        line = {
            "time": log.stamp(),
            "level": "info",
            "event": "request",
            "request": request_id,
            "listener": self.listener,
            "protocol": protocol,
            "operation": operation,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "peer": peer,
        }
        if event:
            line |= redacted(event)
        log.write(line)
