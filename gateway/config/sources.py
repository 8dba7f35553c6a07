"""Where configuration comes from: defaults, the TOML file, CERTGATE_SECTION__KEY, flags. The later wins.

Every mistake of every source is found before anything is refused, so that an operator mends them in one go.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

from gateway.config.schema import SECTIONS, Config, Rate, SecretStr, ServerSettings, StoreSettings
from protocols import available
from protocols.endpoint import ProtocolDescription

ENVIRONMENT_PREFIX = "CERTGATE_"
FILE_NAME = "certgate.toml"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: where it was said, about which key, and what would be right."""

    source: str
    key: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.sentence}" if self.key else f"{self.source}: {self.sentence}"


class ConfigError(Exception):
    """The configuration cannot be used; `mistakes` has them all."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as a source gave it. `typed` is true for TOML, false where everything is text."""

    value: Any
    source: str
    typed: bool


def sections(protocols: Iterable[ProtocolDescription] | None = None) -> dict[str, type]:
    """Section name -> dataclass, the doors' included. Raises ValueError when a name is used twice."""
    found = dict(SECTIONS)
    for protocol in available() if protocols is None else protocols:
        if protocol.name in found:
            raise ValueError(f'protocol "{protocol.name}" has the name of another section')
        found[protocol.name] = protocol.settings
    return found


def load(
    state: Path,
    file: Path | None,
    environ: Mapping[str, str],
    overrides: Sequence[tuple[str, str]],
    *,
    protocols: Iterable[ProtocolDescription] | None = None,
) -> Config:
    """Read every source and check the whole. Raises ConfigError with all mistakes.

    Without `file`, certgate.toml of the state folder is read where there is one. `overrides` are pairs of
    "section.key" and text: `--set` and the typed flags of the command line.
    """
    known = sections(protocols)
    mistakes: list[Mistake] = []
    given: dict[str, _Given] = {}
    for key, each in _sources(state, file, environ, overrides, mistakes):
        given[key] = each
    _refuse_unknown(known, given, mistakes)
    reader = _Reader(state, environ, mistakes)
    settings = {name: reader.section(name, kind, given) for name, kind in known.items()}
    if mistakes:
        raise ConfigError(mistakes)
    origins = {key: each.source for key, each in given.items()}
    _derive(state, settings, origins)
    own = {name: settings[name] for name in SECTIONS}
    doors = {name: settings[name] for name in known if name not in SECTIONS}
    return Config(state=state, doors=doors, origins=origins, warnings=tuple(reader.warnings), **own)


def _sources(
    state: Path,
    file: Path | None,
    environ: Mapping[str, str],
    overrides: Sequence[tuple[str, str]],
    mistakes: list[Mistake],
) -> Iterator[tuple[str, _Given]]:
    if file is not None or (state / FILE_NAME).is_file():
        yield from _read_file(file or state / FILE_NAME, mistakes)
    for name, text in sorted(environ.items()):
        # CERTGATE_STATE and its like are the command line's; only a double underscore names a key.
        section, divider, key = name.removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if name.startswith(ENVIRONMENT_PREFIX) and divider:
            yield f"{section}.{key}".lower(), _Given(text, f"environment variable {name}", False)
    for key, text in overrides:
        yield key, _Given(text, "command line", False)


def _read_file(file: Path, mistakes: list[Mistake]) -> Iterator[tuple[str, _Given]]:
    try:
        text = file.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        mistakes.append(Mistake(str(file), "", f"cannot be read: {exc}"))
        return
    except tomllib.TOMLDecodeError as exc:
        mistakes.append(Mistake(str(file), "", f"is not TOML: {exc}"))
        return
    lines = _lines(text)
    for section, table in tables.items():
        if not isinstance(table, dict):
            mistakes.append(Mistake(str(file), section, "stands outside of a section, such as [server]"))
            continue
        for key, value in table.items():
            name = f"{section}.{key}"
            yield name, _Given(value, f"{file}:{lines[name]}" if name in lines else str(file), True)


_SECTION = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY = re.compile(r"\s*([\w-]+)\s*=")


def _lines(text: str) -> dict[str, int]:
    """Key -> line number, for messages only: keys that stand on lines of their own."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _SECTION.match(line):
            section = header[1]
        elif key := _KEY.match(line):
            found.setdefault(f"{section}.{key[1]}", number)
    return found


def _refuse_unknown(known: Mapping[str, type], given: Mapping[str, _Given], mistakes: list[Mistake]) -> None:
    keys = {f"{name}.{each.name}" for name, kind in known.items() for each in fields(kind)}
    for key, each in given.items():
        if key not in keys:
            near = difflib.get_close_matches(key, sorted(keys), 1, 0.5)
            mistakes.append(Mistake(each.source, key, f"unknown key{f'; did you mean {near[0]}?' if near else ''}"))


class _Reader:
    """Turns what was given into settings objects, noting mistakes and warnings on the way."""

    def __init__(self, state: Path, environ: Mapping[str, str], mistakes: list[Mistake]) -> None:
        self._state = state
        self._environ = environ
        self._mistakes = mistakes
        self.warnings: list[str] = []

    def section(self, name: str, kind: type, given: Mapping[str, _Given]) -> Any:
        """One section. Keys with mistakes keep their default, so that the others are still checked."""
        hints = get_type_hints(kind, include_extras=True)
        values: dict[str, Any] = {}
        for each in fields(kind):
            key = f"{name}.{each.name}"
            if key not in given:
                continue
            one = given[key]
            try:
                if each.metadata.get("secret"):
                    values[each.name] = self._secret(key, one, hints[each.name])
                else:
                    values[each.name] = _convert(one, hints[each.name])
            except ValueError as exc:
                self._mistakes.append(Mistake(one.source, key, str(exc)))
        try:
            settings = kind(**values)
        except ValueError as exc:
            self._mistakes.append(Mistake("configuration", name, str(exc)))
            return kind()
        for key, sentence in getattr(settings, "mistakes", tuple)():
            source = given[f"{name}.{key}"].source if f"{name}.{key}" in given else "default"
            self._mistakes.append(Mistake(source, f"{name}.{key}", sentence))
        return settings

    def _secret(self, key: str, given: _Given, kind: Any) -> Any:
        """The secret behind a reference, as SecretStr or, where a door's field is a text, as text."""
        how, _, where = given.value.partition(":") if isinstance(given.value, str) else ("", "", "")
        if how == "file" and where:
            path = self._state / where  # an absolute path stays what it is
            try:
                secret = path.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as exc:
                raise ValueError(f"the secret in {path} cannot be read: {exc}") from exc
        elif how == "env" and where:
            if where not in self._environ:
                raise ValueError(f"there is no environment variable {where}")
            secret = self._environ[where]
            # The environment of a process is inherited by its children and readable in /proc.
            self.warnings.append(f"{key}: the secret is in the environment; a file (file:/path) protects it better")
        else:
            raise ValueError('a secret is given by reference: "file:/path" or "env:NAME"')
        return secret if kind is str else SecretStr(secret)


def _convert(given: _Given, kind: Any) -> Any:
    candidates = (given.value,) if given.typed else tuple(_readings(given.value, kind))
    for value in candidates:
        try:
            if kind is Rate:
                return Rate.parse(value if isinstance(value, str) else str(value))
            return msgspec.convert(value, kind, dec_hook=_build)
        except msgspec.ValidationError:
            continue
    raise ValueError(f"{_shown(given.value)} is not {_expected(kind)}")


def _build(kind: type, value: Any) -> Any:
    """Types that msgspec does not know: anything that is built from its text (pathlib.Path, ipaddress)."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return kind(value)


def _readings(text: str, kind: Any) -> Iterator[Any]:
    """What a text may stand for: itself, where a text is wanted; a TOML value; a list with commas."""
    kinds = _alternatives(kind)
    if str in kinds or any(get_origin(each) is Literal for each in kinds) or kind is Rate:
        yield text
    with contextlib.suppress(tomllib.TOMLDecodeError):
        yield tomllib.loads(f"value = {text}")["value"]
    if any(get_origin(each) in (tuple, list, frozenset, set) for each in kinds):
        yield [part.strip() for part in text.split(",") if part.strip()]
    yield text


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return tuple(each for part in get_args(kind) for each in _alternatives(part))
    return (kind,)


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list",
    list: "a list",
    type(None): "nothing",
}


def _expected(kind: Any) -> str:
    """What a key takes, in words: "a whole number from 0 to 65535"."""
    if get_origin(kind) is Annotated:
        base, *limits = get_args(kind)
        said = [_expected(base)]
        for limit in limits:
            said += [f"from {limit.ge}"] if getattr(limit, "ge", None) is not None else []
            said += [f"above {limit.gt}"] if getattr(limit, "gt", None) is not None else []
            said += [f"to {limit.le}"] if getattr(limit, "le", None) is not None else []
        return " ".join(said)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_expected(each) for each in get_args(kind))
    plain = get_origin(kind) or kind
    return _WORDS.get(plain, f"a {getattr(plain, '__name__', plain)}")


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _derive(state: Path, settings: dict[str, Any], origins: dict[str, str]) -> None:
    """Fill in what follows from other keys: origins of the listeners, names, files of the state folder."""
    server: ServerSettings = settings["server"]
    wildcard = server.listen in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    host = (server.names[0] if server.names else "localhost") if wildcard else server.listen
    for key, port in (("base_url", "https_port"), ("mtls_url", "mtls_port"), ("status_url", "http_port")):
        if not getattr(server, key):
            origins[f"server.{key}"] = f"from server.listen and server.{port}"
    server = replace(
        server,
        base_url=server.base_url or origin_url("https", host, server.https_port),
        mtls_url=server.mtls_url or origin_url("https", host, server.mtls_port),
        status_url=server.status_url or origin_url("http", host, server.http_port),
    )
    hosts = [urlsplit(url).hostname or "" for url in (server.base_url, server.mtls_url, server.status_url)]
    # Clients on this machine come by either name, so the quickstart's certificate has both.
    names = dict.fromkeys([*server.names, *hosts, "localhost", "127.0.0.1"])
    origins["server.names"] = f"{origins.get('server.names', 'default')}, with the hosts of the three origins"
    settings["server"] = replace(server, names=tuple(names))
    store: StoreSettings = settings["store"]
    if not store.url:
        # Three slashes and the path: an absolute path has a fourth one of its own.
        settings["store"] = replace(store, url=f"sqlite:///{os.path.abspath(state)}/certgate.db")
        origins["store.url"] = "from the state folder"
    if not settings["keys"].master_key_file:
        settings["keys"] = replace(settings["keys"], master_key_file=str(state / "master.key"))
        origins["keys.master_key_file"] = "from the state folder"


def origin_url(scheme: str, host: str, port: int) -> str:
    """scheme://host[:port], with brackets around an IPv6 address and without a default port."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == {"https": 443, "http": 80}[scheme] else f"{scheme}://{shown}:{port}"
