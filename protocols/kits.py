"""Client kits: the ready configuration of one client for one credential, with its secret or with where that lies.

Doors make them for their clients; what they are given, and how a secret is referred to, is here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from policy.credential import Credential
from policy.mount import Mount
from policy.problems import Malformed

SECRET_FROM = re.compile(r"value|env:[A-Z_][A-Z0-9_]*|file:/?[\w./-]+|vault:[\w./-]+#[\w-]+")
"""Where a client gets the secret from: written out, an environment variable, a file, a field of a Vault secret."""
WRITTEN_OUT = "value"
PLACEHOLDER = "SECRET"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
"""Names of hosts and products that go into commands without being quoted."""


@dataclass(frozen=True, slots=True)
class KitFacts:
    """What a kit is made from.

    `identifier` is what the client calls the credential; `secret` is known only in the answer that shows it; `label` is
    the mount's; `root` names the file with the root's PEM, `name` the host that a certificate is for.
    """

    identifier: str
    method: str
    label: str
    base_url: str
    mtls_url: str
    http_url: str
    product: str
    secret: str | None = None
    secret_from: str = WRITTEN_OUT
    root: str = "root.pem"
    name: str = "www.example.org"

    @property
    def user(self) -> str:
        """The identifier as a word of a shell command."""
        return shlex.quote(self.identifier)

    @property
    def shell(self) -> str:
        """The secret as a word of a shell command."""
        kind, _, where = self.secret_from.partition(":")
        if kind == "env":
            return f'"${where}"'
        if kind == "file":
            return f'"$(cat {shlex.quote(where)})"'
        if kind == "vault":
            path, _, name = where.partition("#")
            return f'"$(vault kv get -field={shlex.quote(name)} {shlex.quote(path)})"'
        return shlex.quote(self.secret or PLACEHOLDER)

    @property
    def quoted(self) -> str:
        """The same inside of double quotes, which stand around it already."""
        return self.shell[1:-1] if self.shell.startswith('"') else self.secret or PLACEHOLDER

    @property
    def text(self) -> str:
        """The secret for a file that cannot refer to anything: as it is, or a word to be replaced."""
        return self.secret if self.secret and self.secret_from == WRITTEN_OUT else PLACEHOLDER


@dataclass(frozen=True, slots=True)
class Kit:
    """Files by name, and commands in their order, ready to be pasted into a shell."""

    commands: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    note: str = ""


MakeKit = Callable[[KitFacts], Kit]


class Kits:
    """Makes the kits of every door."""

    def __init__(self, kits: Mapping[str, Mapping[str, MakeKit]], base_url: str, mtls_url: str, http_url: str) -> None:
        """`kits` by type of credential and client."""
        self._kits = kits
        self._urls = (base_url, mtls_url, http_url)

    def clients(self, kind: str) -> tuple[str, ...]:
        """The clients for which there are kits."""
        return tuple(self._kits.get(kind, ()))

    def make(
        self,
        credential: Credential,
        mounts: Iterable[Mount],
        client: str,
        *,
        secret: str | None = None,
        secret_from: str = WRITTEN_OUT,
        name: str = "www.example.org",
    ) -> Kit:
        """The kit of a credential for a client, at the first mount where it may be used. Raises Malformed."""
        make = self._kits.get(credential.type, {}).get(client)
        if make is None:
            known = ", ".join(self.clients(credential.type)) or "none"
            raise Malformed(f'there is no kit for "{client}"; there are {known}', pointer="?client")
        if SECRET_FROM.fullmatch(secret_from) is None:
            raise Malformed("secret_from is value, env:NAME, file:PATH or vault:PATH#FIELD", pointer="?secret_from")
        if _NAME.fullmatch(name) is None:
            raise Malformed(f'"{name}" is not the name of a host', pointer="?name")
        mount = next((one for one in mounts if _usable(credential, one)), None)
        if mount is None:
            raise Malformed("there is no active mount where this credential may order anything")
        base_url, mtls_url, http_url = self._urls
        return make(
            KitFacts(
                identifier=credential.identifier,
                method=credential.method.value,
                label=mount.label,
                base_url=base_url,
                mtls_url=mtls_url,
                http_url=http_url,
                product=next(one for one in credential.products if one in mount.products),
                secret=secret,
                secret_from=secret_from,
                name=name,
            )
        )


def _usable(credential: Credential, mount: Mount) -> bool:
    return (
        mount.protocol == credential.type
        and mount.active
        and (not credential.mounts or mount.key in credential.mounts)
        and not set(mount.products).isdisjoint(credential.products)
    )


REQUEST = (
    "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr{form} "
    "-subj /CN={name} -addext subjectAltName=DNS:{name}"
)


def request_command(name: str, *, der: bool = False) -> str:
    """The openssl command for a key and a certification request."""
    return REQUEST.format(name=name, form=" -outform DER" if der else "")
