"""No command is reachable without its permission, whoever finds a way to the admin socket as somebody."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import gateway.commands
from policy.access import Actor
from policy.problems import Forbidden
from policy.roles import grants_of
from tests.conftest import House

NOBODY = Actor("user:nobody", "nobody", frozenset({"ops"}), grants_of(()))

# What is looked at before it is known what is wanted with it: the argument has to be one that could be meant.
ARGUMENTS: dict[str, Any] = {
    "type": "est",
    "state": "active",
    "until": "2027-01-31",
    "key_type": "ec-p256",
    "products": ["tls"],
    "groups": ["ops"],
    "subject": [["CN", "x"]],
    "kind": "domain",
    "value": "example.org",
    "action": "hold",
    "filter": {"status": "valid"},
    "expected": 1,
}
GIVEN = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
PLAIN: dict[str, Any] = {"str": "x", "int": 1, "bool": True, "list[str]": ["x"], "list[list[str]]": []}


def commands() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(gateway.commands.__path__):
        found |= getattr(importlib.import_module(f"gateway.commands.{module.name}"), "COMMANDS", {})
    return found


async def progress(_: object) -> None:
    pass


@pytest.mark.parametrize("name", sorted(commands()))
async def test_a_command_refuses_who_lacks_its_permission(house: House, name: str) -> None:
    """Before it looks at anything: with what is there and with what is not."""
    function = commands()[name]
    arguments: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.name == "progress":
            arguments["progress"] = progress
        elif parameter.name != "actor" and parameter.default is parameter.empty and parameter.kind in GIVEN:
            arguments[parameter.name] = ARGUMENTS.get(parameter.name, PLAIN.get(str(parameter.annotation), "x"))
    with pytest.raises(Forbidden, match="permission"):
        await function(house.core, actor=NOBODY, **arguments)
