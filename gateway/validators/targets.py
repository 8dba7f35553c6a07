"""Where an http-01 fetch may go: the first URL and each redirect, read strictly. Pure.

Addresses are not judged here; the dialer does that for whatever host comes out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from gateway.addresses import is_address

MAX_URL_CHARACTERS = 2048

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[0-9A-Za-z._-]{1,254}))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:[/?][!-\"$-~]*)?)(?:#[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LABEL = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadRedirect(ValueError):
    """A redirect that is not followed; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """One URL that is fetched: `host` is a name in lower case or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host field: without the port where that is the scheme's own (RFC 9110 section
        7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def redirected(base: Target, location: str, *, ports: frozenset[int], addresses: bool) -> Target:
    """The target of a redirect from `base`. Raises BadRedirect.

    Only http and https, only `ports`, no credentials; to an address literal only when `addresses` says so.
    """
    if len(location) > MAX_URL_CHARACTERS:
        raise BadRedirect("its URL is too long")
    if any(not "!" <= char <= "~" or char == "\\" for char in location):
        # urllib drops some of these silently, and browsers read a backslash as a slash.
        raise BadRedirect("its URL has characters that URLs cannot have")
    if not _SCHEME.match(location):
        try:
            location = urljoin(str(base), location)
        except ValueError as exc:
            raise BadRedirect("its URL cannot be read") from exc
    matched = _URL.fullmatch(location)
    if matched is None:
        if not location.lower().startswith(("http://", "https://")):
            raise BadRedirect("its scheme is neither http nor https")
        raise BadRedirect("its URL cannot be read")
    scheme = matched["scheme"].lower()
    port = int(matched["port"]) if matched["port"] else _DEFAULT_PORTS[scheme]
    if port not in ports:
        raise BadRedirect(f"port {port} is not among {', '.join(map(str, sorted(ports)))}")
    path = matched["target"] or "/"
    return Target(scheme, _host(matched, addresses), port, path if path.startswith("/") else "/" + path)


def _host(matched: re.Match[str], addresses: bool) -> str:
    host = (matched["v6"] or matched["host"]).lower()
    if matched["v6"] or is_address(host):
        if not addresses:
            raise BadRedirect("it leads to an IP address, and a host name was to be validated")
        if not is_address(host):
            raise BadRedirect("its host is not an address")
        return host
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadRedirect("its host is not a host name")
    return host
