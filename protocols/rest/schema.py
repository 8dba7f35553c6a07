"""JSON bodies and query strings -> checked values, and back. A mistake is said by place, rule and nearest value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, inspect

from policy.problems import Malformed
from protocols.rest.problems import FieldError, Invalid

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends: unknown members are mistakes, and so are moments that are none everywhere."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            at = getattr(self, name)
            if isinstance(at, datetime) and not _in_utc(at):
                raise ValueError(f"field `{name}` is a moment with an offset, as in 2026-11-23T12:00:00Z")


def _in_utc(at: datetime) -> bool:
    """Whether it is one moment for everybody; year 1 and year 9999 end elsewhere before they end here."""
    try:
        return at.tzinfo is not None and at.astimezone(UTC) is not None
    except OverflowError:
        return False


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is shown. Moments are RFC 3339 in UTC, with Z."""


MAX_PARAMETERS = 50
_AT = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+|\.\.\.)\]")
_NAME = re.compile(r"field `([^`]*)`")
_BOUND = re.compile(r"(>=|<=|>|<) (-?[0-9.]+)$")
_VALUE = re.compile(r"Invalid enum value (.+)$")

encode = msgspec.json.Encoder().encode


def read_body(kind: type[T], data: bytes) -> T:
    """The body as a value of this kind. Raises Malformed for what is not JSON, Invalid for what does not fit."""
    if not data:
        raise Malformed("the request needs a body: JSON, as application/json")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as fault:
        raise Invalid(_mistake(kind, str(fault), "")) from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Malformed("the body is not JSON (RFC 8259)") from fault


def read_query(kind: type[T], query: str) -> T:
    """The parameters of a query string as a value of this kind. Raises Invalid; one named twice is a mistake."""
    values: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as fault:
        raise Malformed("the query string cannot be read") from fault
    for name, value in pairs:
        if name in values:
            raise Invalid(FieldError(f"?{name}", "unique", "the parameter is there twice"))
        values[name] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as fault:
        raise Invalid(_mistake(kind, str(fault), "?")) from fault


def moment(at: datetime) -> str:
    """RFC 3339 in UTC, in whole seconds: "2026-11-23T12:00:00Z"."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def given(body: Body, names: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """The members of a body that were not left out, by their names or those that the model has for them."""
    return {
        names.get(name, name): value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET
    }


def plain(value: Any) -> Mapping[str, Any]:
    """A view or query as plain values, in the order of its fields."""
    builtins: Mapping[str, Any] = msgspec.to_builtins(value)
    return builtins


def _mistake(kind: Any, text: str, prefix: str) -> FieldError:
    """What msgspec says about one mistake, with a pointer instead of a path."""
    found = _AT.match(text)
    said, path = (found[1], found[2]) if found else (text, "$")
    steps = [name or index for name, index in _STEP.findall(path)]
    place = _type_at(inspect.type_info(kind), steps)
    if (named := _NAME.search(said)) is not None:
        steps.append(named[1])
    rule, detail, nearest = _rule(said, place, steps)
    pointer = prefix + ".".join(steps) if prefix else "".join(f"/{_escaped(step)}" for step in steps)
    return FieldError(pointer, rule, detail, nearest)


def _rule(said: str, place: Any, steps: list[str]) -> tuple[str, str, Any]:
    if "missing required field" in said:
        return "required", "this field is required", None
    if "unknown field" in said:
        known = [one.encode_name for one in place.fields] if isinstance(place, inspect.StructType) else []
        close = difflib.get_close_matches("".join(steps[-1:]), known, 1)
        return "unknown", f"there is no such field; there are {', '.join(known)}", close[0] if close else None
    if (value := _VALUE.match(said)) is not None:
        choices = _choices(place)
        close = difflib.get_close_matches(value[1].strip("'\""), choices, 1, 0.3)
        return "enum", f"{value[1]} is not one of {', '.join(choices)}", next(iter(close or choices), None)
    if (bound := _BOUND.search(said)) is not None:
        rule = "minimum" if ">" in bound[1] else "maximum"
        if "length" in said:
            return f"{rule}-length", _plain(said), None
        number = float(bound[2])
        return rule, _plain(said), int(number) if number.is_integer() else number
    return "pattern" if "regex" in said else "type", _plain(said), None


def _escaped(step: str) -> str:
    """RFC 6901 section 3."""
    return step.replace("~", "~0").replace("/", "~1")


def _plain(said: str) -> str:
    return said[:1].lower() + said[1:].replace("`", "")


def _type_at(place: Any, steps: list[str]) -> Any:
    """The type of what is at this path; what cannot be followed is where it stops."""
    for step in steps:
        place = _only(place)
        if isinstance(place, inspect.StructType):
            place = next((one.type for one in place.fields if one.encode_name == step), None)
        elif isinstance(place, inspect.ListType | inspect.VarTupleType):
            place = place.item_type
        elif isinstance(place, inspect.DictType):
            place = place.value_type
    return _only(place)


def _only(place: Any) -> Any:
    """The one type of a union with None; metadata taken off."""
    if isinstance(place, inspect.Metadata):
        return _only(place.type)
    if isinstance(place, inspect.UnionType):
        others = [one for one in place.types if not isinstance(one, inspect.NoneType)]
        return _only(others[0]) if len(others) == 1 else place
    return place


def _choices(place: Any) -> list[str]:
    if isinstance(place, inspect.LiteralType):
        return [str(one) for one in place.values]
    if isinstance(place, inspect.EnumType):
        return [str(one.value) for one in place.cls]
    return []
