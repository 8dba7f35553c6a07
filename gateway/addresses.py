"""Which addresses may be called: the registries of special addresses, and the guard that reads them. Pure.

An address is refused unless it is known to be public, or the allow-list of this purpose has it.
gateway/dial.py is the one user; it connects to what was checked here and to nothing else.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Network, IPv6Network, ip_network

Allow = bool | tuple[IPv4Network | IPv6Network, ...]
"""What to open: nothing, everything that is a host, or these networks."""

_Networks = tuple[tuple[int, int], ...]
"""Networks as (mask, value): an address is inside when address & mask == value."""


def _table(width: int, *networks: str) -> _Networks:
    parsed = (ip_network(network) for network in networks)
    return tuple(
        (int(network.netmask), int(network.network_address)) for network in parsed if network.max_prefixlen == width
    )


_NOT_PUBLIC_4 = _table(
    32,
    # The IPv4 special-purpose address registry of IANA: what is not globally reachable.
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "240.0.0.0/4",
    "224.0.0.0/4",  # multicast
    "192.88.99.0/24",  # anycast of 6to4 relays (RFC 7526 withdrew it)
    "168.63.129.16/32",  # the platform service of one cloud lives at a public address
)  # fmt: skip
_GLOBAL_UNICAST_6 = _table(128, "2000::/3")[0]
"""The only IPv6 space that is given out. Loopback, ULA, link-local, multicast, mapped and NAT64 lie
outside."""
_NOT_PUBLIC_6 = _table(
    128,
    # The IPv6 special-purpose address registry, inside 2000::/3: protocol assignments with Teredo and ORCHID,
    # documentation (twice), 6to4.
    "2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16",
)  # fmt: skip
_METADATA_4 = _table(
    32, "169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"
)
_METADATA_6 = _table(128, "fd00:ec2::254/128", "fd20:ce::254/128")
"""Where clouds hand out credentials to whoever asks. "Allow private targets" does not mean these: name
them."""
_NEVER_4 = _table(32, "0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32")
_NEVER_6 = _table(128, "::/128", "ff00::/8")
"""Not hosts: no allow-list makes these callable. Connecting to the unspecified address reaches this
machine."""

_EMBEDDED_4: tuple[tuple[int, int, int], ...] = tuple(
    (*_table(128, network)[0], shift)
    for network, shift in (
        ("::ffff:0:0/96", 0),  # mapped (RFC 4291 section 2.5.5.2)
        ("::ffff:0:0:0/96", 0),  # translated (RFC 2765 section 2.1)
        ("::/96", 0),  # compatible (RFC 4291 section 2.5.5.1); has ::1 in it too
        ("64:ff9b::/96", 0),  # NAT64 (RFC 6052 section 2.1)
        ("2002::/16", 80),  # 6to4 (RFC 3056)
    )
)
_TEREDO = _table(128, "2001::/32")[0]


class DialError(Exception):
    """No connection was made. `detail` is safe to show to whoever named the target; `reason` is for the
    log."""

    def __init__(self, detail: str, *, reason: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason or detail


class AddressRefused(DialError):
    """The target lies where this purpose may not call."""


class AddressGuard:
    """Which addresses may be called for a purpose.

    `allow` opens what is closed by default: true for every address that is not public but a host, clouds'
    metadata services excepted; or a tuple of networks, which open exactly what they contain.
    """

    def __init__(self, allow: Allow = False) -> None:
        self._allow_all = allow is True
        networks = allow if isinstance(allow, tuple) else ()
        self._allow_4 = _table(32, *(str(network) for network in networks))
        self._allow_6 = _table(128, *(str(network) for network in networks))

    def check(self, address: str) -> bool:
        """Raise AddressRefused unless `address` may be called; the answer says whether it is a public one."""
        if (packed := _packed(address)) is None:
            # A zone identifier comes here as well: what has a zone is local to a link (RFC 4007 section 11).
            raise AddressRefused("the target is not an address that can be called", reason=f"not an address: {address}")
        number = int.from_bytes(packed, "big")
        if len(packed) == 4:
            public = not _inside(number, _NOT_PUBLIC_4)
            allowed = public or self._opened_4(number)
        else:
            public = _public_6(number)
            allowed = public or self._opened_6(number)
        if not allowed:
            raise AddressRefused("the target's address is not one that this server calls", reason=f"refused: {address}")
        return public

    def _opened_4(self, number: int) -> bool:
        if _inside(number, _NEVER_4):
            return False
        return _inside(number, self._allow_4) or (self._allow_all and not _inside(number, _METADATA_4))

    def _opened_6(self, number: int) -> bool:
        if _inside(number, _NEVER_6):
            return False
        listed = _inside(number, self._allow_6)
        if not listed and (not self._allow_all or _inside(number, _METADATA_6)):
            return False
        # An address that carries an IPv4 address ends up there: that one has to be callable by itself.
        inner = _inner_4(number)
        return inner is None or not _inside(inner, _NOT_PUBLIC_4) or self._opened_4(inner)


def is_address(host: str) -> bool:
    """Whether this is an IP address literal, without brackets and without a zone."""
    return _packed(host) is not None


def _packed(address: str) -> bytes | None:
    try:
        if ":" in address:
            # Some C libraries take a zone here and drop it.
            return None if "%" in address else socket.inet_pton(socket.AF_INET6, address)
        return socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return None


def _inside(number: int, networks: _Networks) -> bool:
    for mask, value in networks:  # noqa: SIM110 - a loop costs half of what any() with a generator does
        if number & mask == value:
            return True
    return False


def _public_6(number: int) -> bool:
    mask, value = _GLOBAL_UNICAST_6
    return number & mask == value and not _inside(number, _NOT_PUBLIC_6)


def _inner_4(number: int) -> int | None:
    """The IPv4 address that an IPv6 address carries, if it is of such a kind."""
    if number == 1:
        return None  # ::1 is the loopback address, not 0.0.0.1
    for mask, value, shift in _EMBEDDED_4:
        if number & mask == value:
            return number >> shift & 0xFFFFFFFF
    mask, value = _TEREDO
    if number & mask == value:
        return ~number & 0xFFFFFFFF  # RFC 4380 section 4: the client's address with all bits inverted
    return None
