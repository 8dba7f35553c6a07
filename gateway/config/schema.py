"""Every section of the configuration: a frozen dataclass each, every field with a default and its sentence.

The doors' sections are not here: each is taken from `PROTOCOL.settings` (`sources.sections`). Units are in
the names. What a field means is said once, in `metadata["help"]`, from which conf/certgate.toml is
generated.
"""

# ruff: noqa: RUF009 - setting() only makes a dataclasses.field

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from gateway.config.perspectives import mistakes as perspective_mistakes

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]

_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})?([smhd])", re.ASCII)


class SecretStr:
    """A secret text that neither repr, str nor a log line shows; `reveal` gives it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def reveal(self) -> str:
        """The secret itself."""
        return self._secret

    def __repr__(self) -> str:
        return "SecretStr('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretStr):
            return NotImplemented
        return hmac.compare_digest(self._secret.encode(), other._secret.encode())

    def __hash__(self) -> int:
        return hash(self._secret)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so much time: "300/3h", "20/m"; "none" is no limit (`count` 0)."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read "300/3h". Raises ValueError with a sentence that can be shown."""
        if text == "none":
            return cls(0, 0)
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError('a rate is "none" or a number per period, such as "300/3h" (periods: s, m, h, d)')
        return cls(int(found[1]), int(found[2] or 1) * _PERIODS[found[3]])

    def __str__(self) -> str:
        if not self.count:
            return "none"
        letter = next(letter for letter in "dhms" if self.seconds % _PERIODS[letter] == 0)
        return f"{self.count}/{self.seconds // _PERIODS[letter]}{letter}"


def setting(default: Any, sentence: str, *, secret: bool = False) -> Any:
    """A field with its default and its sentence. A secret's value in every source is a reference to it."""
    return field(default=default, repr=not secret, metadata={"help": sentence, "secret": secret})


NO_LIMIT = Rate(0, 0)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Listeners, their names and their limits."""

    listen: str = setting("127.0.0.1", "IP address that every listener but the management one binds to.")
    https_port: Port = setting(8443, "Port of the HTTPS listener.")
    mtls_port: Port = setting(8444, "Port of the HTTPS listener that also takes client certificates (EST, WAEP, REST).")
    http_port: Port = setting(8080, "Port of the plain HTTP listener (SCEP, CMP, CRL, OCSP, CA certificates).")
    management_listen: str = setting("127.0.0.1", "IP address that the management listener binds to.")
    management_port: Port = setting(9090, "Port of the management listener (health, metrics).")
    base_url: str = setting("", "Origin of the HTTPS listener as clients know it; empty: from listen and https_port.")
    mtls_url: str = setting("", "Origin of the client-certificate listener; empty: from listen and mtls_port.")
    status_url: str = setting(
        "",
        "Plain http origin that certificates name for CRL and OCSP; empty: from listen and http_port.",
    )
    names: tuple[str, ...] = setting(
        (),
        "DNS names and IP addresses of the server's own certificate, beside the hosts of the three origins.",
    )
    tls_certificate_file: str = setting(
        "",
        "PEM chain of the server's own TLS certificate; empty: the server issues it to itself and renews it.",
    )
    tls_key_file: str = setting("", "PEM private key that belongs to tls_certificate_file.")
    tls_minimum_version: Literal["1.2", "1.3"] = setting("1.2", "Lowest TLS version of both HTTPS listeners.")
    mtls_maximum_version: Literal["1.2", "1.3"] = setting(
        "1.3", 'Highest TLS version of the client-certificate listener; "1.2" gives EST clients tls-unique.'
    )
    workers: Count = setting(1, "Worker processes; this version has one.")
    max_connections: Count = setting(1024, "Connections open at once, over all listeners; more wait in the backlog.")
    max_connections_per_address: Count = setting(
        256, "Connections open at once from one address; loopback and trusted proxies are not counted."
    )
    handshake_timeout_seconds: Seconds = setting(10.0, "Time for a TLS handshake.")
    header_timeout_seconds: Seconds = setting(10.0, "Time for a request's head, from its first byte.")
    body_timeout_seconds: Seconds = setting(15.0, "Time for a request's body, from the end of its head.")
    request_timeout_seconds: Seconds = setting(
        60.0,
        "Time for an answer; after it the client is told 503, and what was begun is finished all the same.",
    )
    idle_timeout_seconds: Seconds = setting(75.0, "Time that a kept-alive connection may be idle.")
    max_body_bytes: Count = setting(65536, "Largest request body, unless a resource says more.")
    max_header_bytes: Count = setting(65536, "Largest request head (Kerberos tickets need much).")
    hot_lane: bool = setting(
        True,
        "Serve whole plain requests without aiohttp's parser; false sends every request through it.",
    )
    drain_seconds: Seconds = setting(10.0, "Time that requests in flight get when the server stops.")
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Addresses or networks of proxies whose X-Forwarded-For, -Proto and X-Request-Id are believed.",
    )
    client_certificate_header: bool = setting(
        False,
        "Take the client certificate from a trusted proxy's Client-Cert and Client-Cert-Chain (RFC 9440).",
    )

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Key and sentence for everything that is wrong across keys."""
        if self.workers > 1:
            yield (
                "workers",
                "several worker processes need the store process, which this version does not have yet; "
                "set workers = 1",
            )
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            yield "tls_certificate_file", "tls_certificate_file and tls_key_file need each other"
        if self.tls_minimum_version > self.mtls_maximum_version:
            yield "mtls_maximum_version", f"is below tls_minimum_version, {self.tls_minimum_version}"
        if self.client_certificate_header and not self.trusted_proxies:
            yield "client_certificate_header", "needs trusted_proxies, or anybody could claim a certificate"
        for name in ("listen", "management_listen"):
            if not _is_network(getattr(self, name)) or "/" in getattr(self, name):
                yield name, f'"{getattr(self, name)}" is not an IP address'
        yield from _networks("trusted_proxies", self.trusted_proxies)
        for name, scheme in (("base_url", "https"), ("mtls_url", "https"), ("status_url", "http")):
            url = getattr(self, name)
            if url and not _is_origin(url, scheme):
                yield name, f'"{url}" is not an origin, which is {scheme}://host or {scheme}://host:port'
        ports = [self.https_port, self.mtls_port, self.http_port]
        ports += [self.management_port] if self.management_listen == self.listen else []
        twice = {port for port in ports if port and ports.count(port) > 1}
        if twice:
            yield "https_port", f"each listener needs its own port; more than one has {twice.pop()}"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where orders, certificates and the audit log are kept."""

    url: str = setting("", "sqlite:///path or postgresql://host/database; empty: certgate.db in the state folder.")
    password: SecretStr | None = setting(None, "Password of the PostgreSQL user.", secret=True)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Key and sentence for everything that is wrong across keys."""
        if self.url and not self.url.startswith(("sqlite:///", "postgresql://")):
            yield "url", "begins with sqlite:/// or postgresql://"


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """How control of an identifier is proven (ACME challenges, CAA)."""

    http01_port: Port = setting(80, "Port that http-01 connects to; another one than 80 is for tests only.")
    tlsalpn01_port: Port = setting(443, "Port that tls-alpn-01 connects to; another one than 443 is for tests only.")
    resolver: str = setting("", "Validating DNS resolver, host:port; empty: the one of this machine.")
    allow_private_targets: bool | tuple[str, ...] = setting(
        False, "Whether validation may connect to private addresses: true, false or a list of networks."
    )
    timeout_seconds: Seconds = setting(10.0, "Time for one attempt at one challenge.")
    caa_identities: tuple[str, ...] = setting((), "Issuer domain names that CAA records may name for this CA.")
    dnssec: Literal["off", "opportunistic", "required"] = setting(
        "opportunistic",
        "What DNSSEC must say of answers: nothing; nothing, but the resolver is asked to validate; or that they are "
        "authenticated (then only signed domains can be validated). What the resolver finds bogus is always refused.",
    )
    perspectives: tuple[str, ...] = setting(
        (),
        'Remote perspectives that have to agree (MPIC), each "name=region=https://host:port"; none: this server alone.',
    )
    perspective_quorum: str = setting(
        "auto", "How many remote perspectives have to agree; auto: all but 1 of up to 5, all but 2 of more."
    )
    perspective_regions: Count = setting(2, "In how many different regions those that agree have to lie.")
    perspective_certificate_file: str = setting("", "PEM chain of our certificate between server and perspectives.")
    perspective_key_file: str = setting("", "PEM private key that belongs to perspective_certificate_file.")
    perspective_ca_file: str = setting("", "PEM certificate of the CA that the other side's certificate is of.")

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Key and sentence for everything that is wrong across keys."""
        if self.resolver:
            host, _, port = self.resolver.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                yield "resolver", f'"{self.resolver}" is not host:port, such as "127.0.0.1:53"'
        if not isinstance(self.allow_private_targets, bool):
            yield from _networks("allow_private_targets", self.allow_private_targets)
        if self.dnssec == "required" and not self.resolver:
            yield "dnssec", '"required" believes what the resolver says of DNSSEC: set resolver to one you trust'
        yield from perspective_mistakes(self)


@dataclass(frozen=True, slots=True)
class KeysSettings:
    """Keys that protect what is stored."""

    master_key_file: str = setting("", "File of the master key, mode 0600; empty: master.key in the state folder.")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", "Least level that is written.")
    format: Literal["auto", "json", "text"] = setting("auto", "json, text (key=value), or auto: text on a terminal.")


@dataclass(frozen=True, slots=True)
class CredentialsSettings:
    """What counts for API credentials of every type."""

    max_secret_age: tuple[str, ...] = setting(
        (), 'Greatest age of new secrets by type of credential, in days, each "type=days", such as "rest=90".'
    )
    secret_warning_days: Count = setting(14, "How many days before a secret's end the audit log tells of it.")

    def max_secret_days(self) -> dict[str, int]:
        """`max_secret_age` by type."""
        return {name: int(days) for name, _, days in (one.partition("=") for one in self.max_secret_age)}

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Key and sentence for everything that is wrong across keys."""
        for one in self.max_secret_age:
            if re.fullmatch(r"(acme|rest|est|scep|cmp|waep)=[1-9][0-9]{0,3}", one) is None:
                yield "max_secret_age", f'"{one}" is not a type and a number of days, such as "rest=90"'


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """How often something may happen: "none" or a number per period, such as "300/3h"."""

    failed_authentications_per_address: Rate = setting(
        Rate(300, 600), "Failed authentications from one client address."
    )
    failed_authentications_per_reference: Rate = setting(
        Rate(20, 600), "Failed MACs for one CMP reference, after which it is locked out for a while."
    )
    new_accounts_per_address: Rate = setting(Rate(1000, 3600), "ACME accounts registered from one client address.")
    requests_per_credential: Rate = setting(
        Rate(60_000, 60), "Requests to the REST API with one credential; told in the RateLimit fields of each answer."
    )
    new_orders_per_credential: Rate = setting(NO_LIMIT, "Orders placed with one credential; renewals do not count.")
    new_orders_per_account: Rate = setting(NO_LIMIT, "Orders placed by one ACME account; renewals do not count.")
    certificates_per_domain: Rate = setting(
        NO_LIMIT, "Certificates for one registered domain, whoever orders them; renewals do not count."
    )
    duplicate_certificates: Rate = setting(
        NO_LIMIT, "Certificates for exactly the same names, whoever orders them; renewals do not count."
    )
    failed_validations_per_account: Rate = setting(
        Rate(300, 3600), "Failed validations of one ACME account for one name."
    )
    failed_validations_until_pause: Rate = setting(
        Rate(30, 30 * 86400),
        "Failed validations of one ACME account for one name, none that succeeded between, after which the account is "
        "paused for that name until an administrator unpauses it.",
    )


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=True)
    except ValueError:
        return False
    return True


def _networks(name: str, texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in texts:
        if not _is_network(text):
            yield name, f'"{text}" is not an address or a network such as 10.0.0.0/8'


def _is_origin(url: str, scheme: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.netloc if port is None else parts.netloc.removesuffix(f":{port}")
    return parts.scheme == scheme and bool(parts.hostname) and "@" not in host and url == f"{scheme}://{parts.netloc}"


SECTIONS: dict[str, type] = {
    "server": ServerSettings,
    "store": StoreSettings,
    "validation": ValidationSettings,
    "keys": KeysSettings,
    "log": LogSettings,
    "credentials": CredentialsSettings,
    "limits": LimitsSettings,
}
"""Section name -> its dataclass, in the order of the file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as it is in force: what `certgate config show` prints."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, checked. `doors` has one settings object for each protocol, by its name."""

    state: Path
    server: ServerSettings
    store: StoreSettings
    validation: ValidationSettings
    keys: KeysSettings
    log: LogSettings
    credentials: CredentialsSettings
    limits: LimitsSettings
    doors: dict[str, Any]
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """Where the value of "section.key" came from: file and line, variable, command line, default."""
        return self.origins.get(key, "default")

    def entries(self) -> Iterator[Entry]:
        """Every key with the value in force, in the order of the file; secrets hidden."""
        for section in (*SECTIONS, *self.doors):
            settings = self.doors[section] if section in self.doors else getattr(self, section)
            for each in fields(settings):
                key = f"{section}.{each.name}"
                secret = each.metadata.get("secret") and getattr(settings, each.name)
                shown = '"***"' if secret else toml_value(getattr(settings, each.name))
                yield Entry(key, shown, self.origin(key))


def toml_value(value: object) -> str:
    """A value as it is written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {toml_value(each)}' for key, each in value.items())} }}"
    # A JSON string is a TOML basic string (both escape with a backslash and know \uXXXX).
    return json.dumps("" if value is None else str(value), ensure_ascii=False)
