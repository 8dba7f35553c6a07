"""Where the real clients are, what brings each, and what is said when one is missing (tests/clients/install.sh).

Run as a program it lists them with their versions: python -m tests.clients.acme.inventory
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.programs import strict

CLIENTS = Path(__file__).resolve().parents[3] / ".clients"
# Servers stand where an ordinary user's PATH does not lead.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Client:
    """One program, what brings it, and the command that says its version.

    `required`: Debian or the Python index has it, so a build server must have it too.
    """

    name: str
    program: str
    origin: str
    version: tuple[str, ...]
    required: bool = True

    @property
    def path(self) -> str:
        """The program. Raises FileNotFoundError when it is not here."""
        found = str(CLIENTS / self.program) if "/" in self.program else shutil.which(self.program, path=PATH)
        if found is None or not Path(found).exists():
            raise FileNotFoundError(self.program)
        return found

    @functools.cached_property
    def seen(self) -> str | None:
        """The version that it says; nothing when it is not here, or a part of it is missing."""
        try:
            words = [self.path, *self.version] if self.version[0].startswith("-") else self.version
            said = subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": PATH})
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        found = re.search(r"\d+\.\d+[\w.+~-]*", said.stdout + said.stderr)
        return found[0] if found and said.returncode == 0 else None

    @property
    def missing(self) -> str | None:
        """Nothing when it is here, else the sentence that says what to do."""
        if self.seen is not None:
            return None
        return f"{self.name} is not installed ({self.origin}): tests/clients/install.sh brings it where it may"


_DPKG = ("dpkg-query", "-W", "-f", "${Version}")
_RUBY = ("-e", 'require "acme-client"; puts Acme::Client::VERSION')
_NODE = ("node", "-p", f"require('{CLIENTS}/node/node_modules/acme-client/package.json').version")
_ALL = (
    Client("certbot", "certbot/bin/certbot", "Python index", ("--version",)),
    Client("dehydrated", "dehydrated", "Debian", ("--version",)),
    # These three say their version with an error, or not at all.
    Client("uacme", "uacme", "Debian", (*_DPKG, "uacme")),
    Client("acmetool", "acmetool", "Debian", (*_DPKG, "acmetool")),
    Client("acme-tiny", "acme-tiny", "Debian", (*_DPKG, "acme-tiny")),
    Client("Caddy", "caddy", "Debian", ("caddy", "version")),
    Client("Apache mod_md", "apache2", "Debian apache2-bin", ("-v",)),
    Client("ruby-acme-client", "ruby", "Debian", _RUBY),
    Client("nginx", "nginx", "Debian", ("-v",)),
    Client("HAProxy", "haproxy", "Debian", ("-v",)),
    Client("socat", "socat", "Debian", ("-V",)),
    Client("acme-client of npm", "node/node_modules/acme-client", "npm", _NODE, required=False),
    Client("lego", "go/bin/lego", "built by go", ("--version",), required=False),
)
INVENTORY = {client.name: client for client in _ALL}
TRIED: dict[str, str] = {}
"""The clients that were located in this run, with their versions."""


def located(name: str) -> str:
    """The path of a client. Skips the test with the reason when it is missing, and fails where none may be."""
    client = INVENTORY[name]
    if client.missing is None:
        TRIED[name] = str(client.seen)
        return client.path
    if client.required and strict():
        pytest.fail(client.missing, pytrace=False)
    pytest.skip(client.missing)


if __name__ == "__main__":
    for each in _ALL:
        print(f"{each.name}: {each.seen or each.missing}")
