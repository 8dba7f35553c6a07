"""The configuration: load() reads it, Config is it, default_toml() writes it down.

Only the gateway reads configuration; every other part gets plain values.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import MISSING, fields

from gateway.config.schema import Config, Entry, Rate, SecretStr, ServerSettings, toml_value
from gateway.config.sources import ConfigError, Mistake, load, sections
from protocols.endpoint import ProtocolDescription

__all__ = [
    "Config",
    "ConfigError",
    "Entry",
    "Mistake",
    "Rate",
    "SecretStr",
    "ServerSettings",
    "default_toml",
    "load",
]

_HEADING = """\
# The complete configuration of certgate: every key with its default. A file needs only what differs.
#
# The same keys are taken from the environment (CERTGATE_SERVER__HTTPS_PORT=443) and from the command line
# (--set server.https_port=443), which wins over the environment, which wins over the file. Secrets are
# references: "file:/path" or "env:NAME". `certgate config show` tells what is in force, and whence.
"""


def default_toml(protocols: Iterable[ProtocolDescription] | None = None) -> str:
    """The text of conf/certgate.toml: every section and key, its sentence, its default as a comment."""
    parts = [_HEADING]
    for name, kind in sections(protocols).items():
        parts.append(f"\n[{name}]\n")
        for each in fields(kind):
            default = each.default_factory() if each.default_factory is not MISSING else each.default
            value = '"file:/path"' if each.metadata.get("secret") else toml_value(default)
            said = textwrap.wrap(each.metadata.get("help", ""), 108, initial_indent="# ", subsequent_indent="# ")
            parts.append("\n".join([*said, f"#{each.name} = {value}", ""]))
    return "".join(parts)
