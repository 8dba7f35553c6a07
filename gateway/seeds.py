"""Products, profiles and mounts from TOML: what `certgate product apply` and quickstart read.

A product file names its profile; the profile comes from the same folder's `profiles` or from those that come with
certgate. Unknown keys are mistakes, said with the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from ca_core.profile import CertificateProfile, read_profile
from policy.mount import Mount
from policy.problems import Malformed
from policy.product import NameRules, Product, Selector, ValidationRules

T = TypeVar("T")


def read_toml(text: str, name: str) -> dict[str, Any]:
    """The table of a TOML text. Raises Malformed with the file's name and the place of the mistake."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise Malformed(f"{name}: {fault}") from fault


def built_in_profile(name: str) -> CertificateProfile:
    """A profile that comes with certgate. Raises Malformed."""
    path = files("conf") / "profiles" / f"{name}.toml"
    if not path.is_file():
        known = sorted(one.name.removesuffix(".toml") for one in (files("conf") / "profiles").iterdir())
        raise Malformed(f'there is no profile "{name}"; there are {", ".join(known)}')
    return profile_of(read_toml(path.read_text(), f"profile {name}"), f"profile {name}")


def built_in_product(name: str) -> Product:
    """A product that comes with certgate. Raises Malformed."""
    text = (files("conf") / "products" / f"{name}.toml").read_text()
    return product_of(read_toml(text, f"product {name}"), f"product {name}")


def profile_of(table: Mapping[str, Any], where: str) -> CertificateProfile:
    """A profile from its table. Raises Malformed naming the key."""
    try:
        return read_profile(table)
    except ValueError as fault:
        raise Malformed(f"{where}: {fault}") from fault


def product_of(table: Mapping[str, Any], where: str) -> Product:
    """A product from its table; `profile` is a name, or a table of its own. Raises Malformed naming the key."""
    values = dict(table)
    profile = values.pop("profile", None)
    if isinstance(profile, str):
        values["profile"] = built_in_profile(profile)
    elif isinstance(profile, Mapping):
        values["profile"] = profile_of(profile, f"{where}, profile")
    else:
        raise Malformed(f'{where}: "profile" is missing: name one, or write its table')
    _check_keys(values.get("names", {}), NameRules, f"{where}, names")
    _check_keys(values.get("validation", {}), ValidationRules, f"{where}, validation")
    _check_keys(values.get("selector", {}), Selector, f"{where}, selector")
    values.setdefault("version", 1)
    return _convert(values, Product, where)


def read_product(text: str, where: str) -> Product:
    """A product from TOML. Raises Malformed naming the key."""
    return product_of(read_toml(text, where), where)


def mount_of(table: Mapping[str, Any], where: str) -> Mount:
    """A mount from its table. Raises Malformed naming the key."""
    return _convert(dict(table), Mount, where)


def _convert(values: dict[str, Any], kind: type[T], where: str) -> T:
    _check_keys(values, kind, where)
    profile = values.get("profile")
    try:
        plain = {**values, "profile": msgspec.to_builtins(profile)} if profile is not None else values
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as fault:
        raise Malformed(f"{where}: {fault}") from fault


def _check_keys(values: Any, kind: type, where: str) -> None:
    known = [one.name for one in fields(kind)]
    for key in values if isinstance(values, Mapping) else ():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(known)}"
            raise Malformed(f'{where}: there is no key "{key}"{hint}')
