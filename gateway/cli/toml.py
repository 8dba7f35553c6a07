"""Values as TOML, so that what `product show` and `mount show` print is what `apply` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

COUNTED = ("version",)
"""Keys that are counted and not decided: a file does not have them."""


def toml_text(table: Mapping[str, Any]) -> str:
    """A table with its tables below it. What is None is left out: TOML knows no such value."""
    return "\n".join(_lines(table, "")) + "\n"


def _lines(table: Mapping[str, Any], above: str) -> list[str]:
    plain = {
        key: value
        for key, value in table.items()
        if value is not None and not isinstance(value, dict) and key not in COUNTED
    }
    tables = {key: value for key, value in table.items() if isinstance(value, dict) and value}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in tables.items():
        name = f"{above}{_key(key)}"
        lines += ["", f"[{name}]", *_lines(value, f"{name}.")]
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    # Basic strings, numbers and booleans are written as in JSON; DEL alone has to be escaped in TOML only.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
