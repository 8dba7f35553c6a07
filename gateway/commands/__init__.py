"""What the command line can ask of a server, by name: "cert.show", "credential.create".

Each function takes the core and plain arguments and gives a plain value; the admin socket and the CLI without a
server call the very same ones. Who asks comes as `actor` and goes into the audit log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from policy.acting import operator

if TYPE_CHECKING:
    from gateway.app import Core

Command = Callable[..., Awaitable[Any]]


def commands_of(core: Core) -> Mapping[str, Command]:
    """Every command, bound to this core."""
    from gateway.commands.accounts import COMMANDS as ACCOUNTS
    from gateway.commands.audit import COMMANDS as AUDIT
    from gateway.commands.catalogue import COMMANDS as CATALOGUE
    from gateway.commands.certificates import COMMANDS as CERTIFICATES
    from gateway.commands.credentials import COMMANDS as CREDENTIALS
    from gateway.commands.domains import COMMANDS as DOMAINS
    from gateway.commands.order_steps import COMMANDS as ORDER_STEPS
    from gateway.commands.orders import COMMANDS as ORDERS
    from gateway.commands.people import COMMANDS as PEOPLE
    from gateway.commands.successors import COMMANDS as SUCCESSORS
    from gateway.commands.system import COMMANDS as SYSTEM

    functions = {
        **ACCOUNTS, **AUDIT, **CATALOGUE, **CERTIFICATES, **CREDENTIALS, **DOMAINS, **ORDERS, **ORDER_STEPS, **PEOPLE,
        **SUCCESSORS, **SYSTEM,
    }  # fmt: skip
    return {name: partial(_acting(function), core) for name, function in functions.items()}


def _acting(function: Command) -> Command:
    """The command for an actor that is still a name: whoever reaches the admin socket runs this machine."""

    @wraps(function)
    async def run(core: Core, *, actor: str, **arguments: Any) -> Any:
        return await function(core, actor=operator(actor), **arguments)

    return run
