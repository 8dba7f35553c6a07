"""The form of each type of credential: which fields it has, of which type, with which defaults and help.

A door says the form of its type; served, it is what REST, command line and console share, and what a new credential's
options are checked against. Fields that every type has are here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

LISTS = frozenset({"list", "products", "mounts", "networks"})
"""Types whose value is a list of texts."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One field of a credential form: drives REST, CLI and console alike.

    `type` is text, number, boolean, time (RFC 3339), object (JSON), a list (list, products, mounts, networks), or
    "choice:a,b" for one of these.
    """

    name: str
    type: str
    default: Any
    help: str

    @property
    def kind(self) -> str:
        """The type without its choices."""
        return self.type.partition(":")[0]

    @property
    def choices(self) -> tuple[str, ...]:
        """What a choice is one of."""
        return tuple(filter(None, self.type.partition(":")[2].split(",")))


Form = tuple[CredentialField, ...]

COMMON: Form = (
    CredentialField("user", "text", None, "Who answers for it; it acts with no more than this user may."),
    CredentialField("group", "text", None, "The group for which it orders."),
    CredentialField("products", "products", (), "Products that it may order, the first by default; at least one."),
    CredentialField("label", "text", "", "For people."),
    CredentialField("identifier", "text", "", "What clients call it; made up when left out."),
    CredentialField("mounts", "mounts", (), "Where it may be used; empty: everywhere that serves its type."),
    CredentialField("allowed_cidrs", "networks", (), "Networks from which it may be used; empty: from anywhere."),
    CredentialField("use_limit", "number", None, "How often it may be used for issuing; empty: no limit."),
    CredentialField("not_before", "time", None, "When it begins; empty: at once."),
    CredentialField("expires", "time", None, "When it ends; empty: never."),
)
"""What every credential has."""


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """What the installation says of credentials.

    `environment` is what new access keys say of where they belong; `forms` has the doors' own fields by type;
    `max_secret_days` the greatest age of a secret by type, none where nothing is said, and `warning_days` how long
    before that it is told; `code_lifetime` and `codes_open` how long a one-time code is good for, and how many of a
    credential may wait to be used.
    """

    environment: str = "live"
    forms: Mapping[str, Form] = field(default_factory=dict)
    max_secret_days: Mapping[str, int] = field(default_factory=dict)
    warning_days: int = 14
    code_lifetime: timedelta = timedelta(hours=1)
    codes_open: int = 1000

    def options(self, kind: str) -> Form:
        """The fields that only this type has: they are the credential's options."""
        common = {one.name for one in COMMON} | {"method"}
        return tuple(one for one in self.forms.get(kind, ()) if one.name not in common)


def whole_form(own: Iterable[CredentialField]) -> Form:
    """The form of a type: what every credential has, as far as the door says nothing else of it, and its own fields."""
    fields = {one.name: one for one in COMMON}
    for one in own:
        fields[one.name] = one
    return tuple(fields.values())


def check_options(fields: Iterable[CredentialField], options: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with these options, of which there are these fields, by name; empty when nothing is."""
    known = {one.name: one for one in fields}
    mistakes: dict[str, str] = {}
    for name, value in options.items():
        field = known.get(name)
        if field is None:
            near = difflib.get_close_matches(name, list(known), 1)
            there = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known) or 'none'}"
            mistakes[name] = f"there is no such option; {there}"
        elif (said := _wrong(field, value)) is not None:
            mistakes[name] = said
    return mistakes


def _wrong(field: CredentialField, value: Any) -> str | None:
    kind = field.kind
    if value is None and field.default is None:
        return None
    if kind == "choice":
        return None if value in field.choices else f'"{value}" is not one of {", ".join(field.choices)}'
    if kind in LISTS:
        fine = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        return None if fine else "it is a list of texts"
    if kind == "number":
        return None if isinstance(value, int) and not isinstance(value, bool) else "it is a whole number"
    if kind == "boolean":
        return None if isinstance(value, bool) else "it is true or false"
    if kind == "object":
        return None if isinstance(value, dict) else "it is an object"
    if kind == "time":
        return None if _is_moment(value) else "it is a moment, as in 2027-01-31T12:00:00Z"
    return None if isinstance(value, str) else "it is a text"


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def read_text(field: CredentialField, text: str) -> Any:
    """The value of a field that was written on a command line. Raises ValueError."""
    if field.kind == "number":
        return int(text)
    if field.kind == "boolean":
        if text not in ("true", "false"):
            raise ValueError("it is true or false")
        return text == "true"
    if field.kind in LISTS:
        return [one for one in text.split(",") if one]
    return text
