"""Options of a mount: read by one reader, checked by the door that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

from policy.mount import Mount

T = TypeVar("T")


def read(
    mount: Mount, kind: type[T], door: str, value_of: Callable[[str, Any], Any], *, mistakes: Iterable[str] = ()
) -> T:
    """The options as a `kind`, which is a dataclass; `value_of` gives the value of one, or raises ValueError.

    `door` is what its users call it ("EST"); `mistakes` were found before. Raises ValueError with every mistake.
    """
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # any dataclass
    values: dict[str, Any] = {}
    found = list(mistakes)
    for name, value in mount.options.items():
        if name not in known:
            found.append(f'"{name}" is not an option of {door} mounts; known are {", ".join(known)}')
            continue
        try:
            values[name] = value_of(name, value)
        except ValueError as exc:
            found.append(str(exc))
    if found:
        raise wrong(mount, found)
    return kind(**values)


def wrong(mount: Mount, mistakes: Iterable[str]) -> ValueError:
    """What is wrong with a mount, in one sentence."""
    return ValueError(f'mount "{mount.key}": ' + "; ".join(mistakes))


def choice(name: str, value: Any, kind: type[Enum]) -> Enum:
    """One of the values of an enumeration. Raises ValueError."""
    choices = [one.value for one in kind]
    if value not in choices:
        raise ValueError(f'{name} = "{value}" is not one of {", ".join(choices)}')
    return kind(value)


def flag(name: str, value: Any) -> bool:
    """True or false. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} = {value} is neither true nor false")
    return value
