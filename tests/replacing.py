"""`replace` for the tests, which take a value as it comes: a Struct on the way of every request, else a dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from msgspec import Struct, structs

T = TypeVar("T")


def replace(value: T, **changes: Any) -> T:
    """The value with these fields changed."""
    if isinstance(value, Struct):
        return structs.replace(value, **changes)
    assert dataclasses.is_dataclass(value)
    assert not isinstance(value, type)
    changed: T = dataclasses.replace(value, **changes)
    return changed
