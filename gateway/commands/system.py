"""Commands about system."""

from __future__ import annotations

from gateway.commands import Command

COMMANDS: dict[str, Command] = {}
