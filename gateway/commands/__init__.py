"""What the command line can ask of a server, by name: "cert.show", "credential.create".

Each function takes the core and plain arguments and gives a plain value; the admin socket and the CLI without a
server call the very same ones. Who asks comes as `actor` and goes into the audit log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app import Core

Command = Callable[..., Awaitable[Any]]


def commands_of(core: Core) -> Mapping[str, Command]:
    """Every command, bound to this core."""
    from gateway.commands import audit, catalogue, certificates, credentials, orders, system

    functions: dict[str, Command] = {}
    for module in (audit, catalogue, certificates, credentials, orders, system):
        functions |= module.COMMANDS
    return {name: partial(function, core) for name, function in functions.items()}
