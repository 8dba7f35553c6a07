"""The doors. Each folder here is one protocol; available() finds them, those of other distributions included."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points

from protocols.endpoint import ProtocolDescription

ENTRY_POINTS = "certgate.protocol"


def available() -> tuple[ProtocolDescription, ...]:
    """Every protocol: the folders found here, in the order of their names, then those of other distributions.

    Raises TypeError when a folder or an entry point does not export a ProtocolDescription.
    """
    found = [
        importlib.import_module(f"protocols.{module.name}").PROTOCOL
        for module in pkgutil.iter_modules(__path__)
        if module.ispkg and module.name != "cms"
    ]
    found += [entry.load() for entry in entry_points(group=ENTRY_POINTS)]
    for protocol in found:
        if not isinstance(protocol, ProtocolDescription):
            raise TypeError(f"{protocol!r} is not a ProtocolDescription")
    return tuple(found)
