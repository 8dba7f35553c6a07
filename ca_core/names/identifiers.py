"""Identifiers: the names a certificate is asked for, brought to a normal form.

Which names a product may have (public suffixes, block lists, addresses) is decided by the rules of `policy`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from enum import StrEnum

import idna
import msgspec

from ca_core.problems import RejectedIdentifier, UnsupportedIdentifier


class IdentifierType(StrEnum):
    """The types of identifier, as ACME's registry spells them where it has them (RFC 8555 section 9.7.7)."""

    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"
    UPN = "upn"
    PERMANENT = "permanent-identifier"


class Identifier(msgspec.Struct, frozen=True):
    """One name that a certificate is asked for, in normal form. The constructor checks nothing."""

    type: IdentifierType
    value: str

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"

    @property
    def wildcard(self) -> bool:
        """Whether this is a wildcard domain name (RFC 8555 section 7.1.3)."""
        return self.type is IdentifierType.DNS and self.value.startswith("*.")

    @property
    def base(self) -> str:
        """The value without a leading `*.`: the name over which control is proven."""
        return self.value[2:] if self.wildcard else self.value


_LABEL = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# What nearly every name is: host name rules (RFC 1123 section 2.1), lower case, no A-label. Names that do not
# match are looked at label by label, to accept A-labels and to say what is wrong with the others.
PLAIN_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
"""A domain name in normal form without A-labels, wildcard or not; A-labels must be looked at more closely."""
_FOREIGN_IN_LABEL = re.compile(r"[^a-z0-9-]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""The control characters of Unicode (category Cc): never part of a name."""
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 3986 appendix B, narrowed to URIs with an authority and to the characters that the grammar knows.
_URI = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([A-Za-z0-9._~!$&'()*+,;=:%-]*)@)?"
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{0,5}))?((?:[/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?)"
)
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_MAX_DNS = 253  # RFC 1035 section 2.3.4: 255 octets on the wire
_MAX_LABEL = 63  # RFC 1035 section 2.3.4
_MAX_LOCAL_PART = 64  # RFC 5321 section 4.5.3.1.1
_MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1.3: a path of 256 octets with its angle brackets
_MAX_URI = 2048  # no standard says; longer ones are nobody's name and only fill the log
_MAX_UPN = 1024  # MS-ADTS: rangeUpper of userPrincipalName
_MAX_PERMANENT = 255  # no standard says; the longest known are 64 characters of hex


def read_identifier(type: str, value: str, *, strict: bool = False) -> Identifier:
    """Bring an identifier to its normal form. Raises UnsupportedIdentifier, RejectedIdentifier.

    `strict` is for ACME: an address must already be in normal form (RFC 8738 section 3) and an
    internationalised name must come as A-labels (RFC 8555 section 7.1.4). Upper case in a domain name is
    lowered all the same.
    """
    kind = _TYPES.get(type)
    if kind is None:
        known = ", ".join(IdentifierType)
        raise UnsupportedIdentifier(
            f'identifier type "{shown(type)}" is not supported; known are {known}',
            identifier=f"{type}:{value}",
        )
    if kind is IdentifierType.DNS and PLAIN_HOST.fullmatch(value):
        return Identifier(kind, value)
    try:
        return Identifier(kind, _READERS[kind](value, strict))
    except _Wrong as exc:
        raise RejectedIdentifier(
            f'{kind} identifier "{shown(value)}" {exc}', identifier=Identifier(kind, value)
        ) from exc


_TYPES: dict[str, IdentifierType] = {kind.value: kind for kind in IdentifierType}


class _Wrong(ValueError):
    """What is wrong with a value, as the end of a sentence that begins with the value."""


def shown(value: str) -> str:
    """A value from outside made fit for a sentence: no control characters, not endless."""
    cut = value if len(value) <= 300 else value[:300] + "…"
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", cut).encode(errors="replace").decode()


def _read_dns(value: str, strict: bool) -> str:
    if not value.startswith("*."):
        return _read_host(value, strict)
    normal = "*." + _read_host(value[2:], strict)
    if len(normal) > _MAX_DNS:
        raise _Wrong(f"is longer than {_MAX_DNS} characters")
    return normal


def _read_host(value: str, strict: bool) -> str:
    if not value:
        raise _Wrong("is empty")
    if len(value) > _MAX_DNS:
        raise _Wrong(f"is longer than {_MAX_DNS} characters")
    if not value.isascii():
        value = _to_a_labels(value, strict)
    value = value.lower()
    if value.endswith("."):
        raise _Wrong("ends in a dot; leave it out")
    if _is_address(value):
        raise _Wrong('is an IP address; ask for it with type "ip"')
    labels = value.split(".")
    for label in labels:
        _check_label(label)
    if labels[-1].isdigit():
        raise _Wrong(f'ends in a label that is all digits: "{labels[-1]}"')
    return value


def _to_a_labels(value: str, strict: bool) -> str:
    try:
        encoded = idna.encode(value, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise _Wrong("is not a valid internationalised domain name (RFC 5891)") from exc
    if strict:
        raise _Wrong(f'has characters beyond ASCII; send it as "{encoded}" (RFC 8555 section 7.1.4)')
    if len(encoded) > _MAX_DNS:
        raise _Wrong(f"is longer than {_MAX_DNS} characters once it is encoded")
    return encoded


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _check_label(label: str) -> None:
    """One label of a host name: letters, digits, hyphen (RFC 5890 section 2.3.1)."""
    if not label:
        raise _Wrong("has an empty label")
    if len(label) > _MAX_LABEL:
        raise _Wrong(f"has a label longer than {_MAX_LABEL} characters")
    if label == "*":
        raise _Wrong('has a wildcard that is not the whole left-most label: "*." may only come first')
    foreign = _FOREIGN_IN_LABEL.search(label)
    if foreign:
        raise _Wrong(f'has a character that host names do not allow: "{shown(foreign[0])}"')
    if label[0] == "-" or label[-1] == "-":
        raise _Wrong(f'has a label that begins or ends with a hyphen: "{label}"')
    if label[2:4] == "--":
        _check_a_label(label)


def _check_a_label(label: str) -> None:
    if not label.startswith("xn--"):
        raise _Wrong(f'has a label with hyphens in third and fourth place that is no A-label: "{label}"')
    try:
        right = idna.alabel(idna.ulabel(label)).decode("ascii") == label
    except (idna.IDNAError, UnicodeError):
        right = False
    if not right:
        raise _Wrong(f'has a label that is not a valid A-label (RFC 5891): "{label}"')


def _read_ip(value: str, strict: bool) -> str:
    if "%" in value:
        raise _Wrong("has a zone, which means nothing outside one machine")
    try:
        address = ipaddress.ip_address(value)
    except ValueError as exc:
        raise _Wrong("is not an IP address") from exc
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise _Wrong(f"is an IPv4-mapped address; ask for {address.ipv4_mapped}")
    normal = str(address)
    if strict and normal != value:
        raise _Wrong(f'is not in canonical form (RFC 8738 section 3); write "{normal}"')
    return normal


def _read_email(value: str, strict: bool) -> str:
    local, at, domain = value.rpartition("@")
    if not at:
        raise _Wrong('has no "@"')
    if len(local) > _MAX_LOCAL_PART:
        raise _Wrong(f'has more than {_MAX_LOCAL_PART} characters before the "@"')
    if not _LOCAL_PART.fullmatch(local):
        raise _Wrong('has something else than a plain local part before the "@" (RFC 5321 section 4.1.2)')
    normal = f"{local}@{_read_host(domain, strict)}"
    if len(normal) > _MAX_EMAIL:
        raise _Wrong(f"is longer than {_MAX_EMAIL} characters")
    return normal


def _read_uri(value: str, strict: bool) -> str:
    if len(value) > _MAX_URI:
        raise _Wrong(f"is longer than {_MAX_URI} characters")
    match = _URI.fullmatch(value)
    if match is None or _BAD_PERCENT.search(value):
        raise _Wrong("is not an absolute URI with a scheme and a host (RFC 5280 section 4.2.1.6)")
    scheme, user, host, port, rest = match.groups()
    if host.startswith("["):
        host = f"[{_read_ip(host[1:-1], strict)}]"
    elif not _is_address(host):
        host = _read_host(host, strict)
    before = "" if user is None else f"{user}@"
    after = f":{port}" if port else ""
    return f"{scheme.lower()}://{before}{host}{after}{rest}"


def _read_upn(value: str, strict: bool) -> str:
    user, at, realm = value.rpartition("@")
    if not at or not user:
        raise _Wrong('is not of the form "user@realm"')
    if len(value) > _MAX_UPN:
        raise _Wrong(f"is longer than {_MAX_UPN} characters")
    _check_text(user)
    if "@" in user or any(character.isspace() for character in user):
        raise _Wrong('has white space or a second "@"')
    return f"{user}@{_read_host(realm, strict)}"


def _read_permanent(value: str, strict: bool) -> str:
    if not value or len(value) > _MAX_PERMANENT:
        raise _Wrong(f"is empty or longer than {_MAX_PERMANENT} characters")
    _check_text(value)
    return value


def _check_text(value: str) -> None:
    if CONTROL.search(value):
        raise _Wrong("has control characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise _Wrong("is not well-formed Unicode") from exc


_READERS: dict[IdentifierType, Callable[[str, bool], str]] = {
    IdentifierType.DNS: _read_dns,
    IdentifierType.IP: _read_ip,
    IdentifierType.EMAIL: _read_email,
    IdentifierType.URI: _read_uri,
    IdentifierType.UPN: _read_upn,
    IdentifierType.PERMANENT: _read_permanent,
}


def read_name(text: str) -> Identifier:
    """A name as people write it: "www.example.org", "192.0.2.1", or with its type, "email:someone@example.org".

    Raises RejectedIdentifier, UnsupportedIdentifier.
    """
    kind, divider, value = text.partition(":")
    if divider and kind in list(IdentifierType):
        return read_identifier(kind, value)
    address = divider or text.replace(".", "").isdecimal()
    return read_identifier("ip" if address else "dns", text)
