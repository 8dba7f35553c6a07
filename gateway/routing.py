"""Which door serves a path: exact segments in a table, and nothing that two programs could read differently.

A path is compared as it was sent. Empty segments, dot segments, encoded slashes and dots, backslashes,
controls and bytes outside ASCII are never found, so that no proxy before us and no rule behind us sees
another path than we do. Only the rest of a path that a route takes whole (`{name:*}`, OCSP over GET) may
hold empty segments and %2F, which base64 needs there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import unquote

from policy.problems import Problem
from protocols.endpoint import Say
from protocols.http import HTTPRequest, HTTPResponse, Route

# Everything that has a second reading, and what a path cannot contain anyhow (RFC 3986 section 3.3).
_ODD = re.compile(r"//|/\.{1,2}(?:/|$)|%(?:2[eEfF]|5[cC]|[01][0-9a-fA-F]|7[fF]|(?![0-9a-fA-F]{2}))|[^!$&-;=@-Z_a-z~%]")
_ODD_IN_REST = re.compile(
    r"/\.{1,2}(?:/|$)|%(?:2[eE]|5[cC]|[01][0-9a-fA-F]|7[fF]|(?![0-9a-fA-F]{2}))|[^!$&-;=@-Z_a-z~%]"
)

# What nearly every path looks like; it has none of the above, and this is told three times as fast.
_PLAIN_PATH = re.compile(r"(?:/[!$&-\-0-9:;=@A-Z_a-z~][!$&-.0-9:;=@A-Z_a-z~]*)+")

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Door:
    """One protocol's endpoint with its routes, as the server serves them.

    `listeners` names the listeners that it is on; None means every one that is not dedicated.
    """

    name: str
    say: Say
    routes: tuple[Route, ...]
    listeners: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A route found, with the door that owns it."""

    door: Door
    route: Route


@dataclass(slots=True)
class Resource:
    """What is at one path: a target for each method."""

    targets: dict[str, Target] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def allow(self) -> str:
        """The methods, as the Allow field lists them."""
        return ", ".join(sorted(self.targets))


@dataclass(slots=True)
class _Node:
    """One place in the tree of segments. `door` owns everything below when it is the only one there."""

    literal: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    here: Resource | None = None
    rest: Resource | None = None
    door: Door | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a lookup: the resource with its parameters, or at least the door whose place it is."""

    resource: Resource | None
    parameters: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS)
    door: Door | None = None


class RouteTable:
    """All routes of one listener. Built once, looked up for each request, replaced whole."""

    def __init__(self, doors: Iterable[Door]) -> None:
        """Raises ValueError when two doors claim the same method and path, or a pattern is malformed."""
        self._root = _Node()
        self._exact: dict[str, Found] = {}
        for door in doors:
            for route in door.routes:
                self._add(door, route)

    def find(self, path: str) -> Found:
        """What is at this raw path. Never raises: a path that is not clean is a path that is not found."""
        found = self._exact.get(path)
        if found is not None:
            return found
        if not path.startswith("/"):
            return Found(None)
        clean = _PLAIN_PATH.fullmatch(path) is not None or _ODD.search(path) is None
        return self._walk(path, clean)

    def _walk(self, path: str, clean: bool) -> Found:
        segments = path[1:].split("/")
        values: list[str] = []
        node, door, rest = self._root, None, None
        for index, segment in enumerate(segments):
            if node.rest is not None:
                rest = (node.rest, values.copy(), "/".join(segments[index:]))
            following = node.literal.get(segment)
            if following is None:
                following = node.any
                if following is None or not segment:
                    break
                values.append(segment)
            node = following
            door = None if node.shared else node.door
        else:
            if node.here is not None and clean:
                return Found(node.here, _named(node.here, values), door)
        if rest is not None:
            resource, values_before, tail = rest
            prefix = path[: len(path) - len(tail)]
            if tail and _ODD.search(prefix) is None and _ODD_IN_REST.search("/" + tail) is None:
                # The rest stays as sent: what base64 or a URL means inside it is the door's to say.
                return Found(resource, _named(resource, values_before, tail), door)
        return Found(None, door=door if clean else None)

    def _add(self, door: Door, route: Route) -> None:
        if not route.path.startswith("/"):
            raise ValueError(f"{door.name}: the path {route.path!r} of {route.name} does not begin with a slash")
        segments = route.path[1:].split("/")
        node, names = self._root, []
        whole_rest = False
        for index, segment in enumerate(segments):
            if segment.startswith("{") and segment.endswith(":*}"):
                if index != len(segments) - 1:
                    raise ValueError(f"{door.name}: {route.path!r} goes on after {segment}")
                names.append(segment[1:-3])
                whole_rest = True
                break
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
            node.shared = node.shared or (node.door is not None and node.door.name != door.name)
            node.door = node.door or door
        if whole_rest:
            node.rest = node.rest or Resource(names=tuple(names))
            resource = node.rest
        else:
            node.here = node.here or Resource(names=tuple(names))
            resource = node.here
        if resource.names != tuple(names):
            raise ValueError(f"{door.name}: {route.path!r} names its segments otherwise than another route")
        for method in dict.fromkeys((*route.methods, *(("HEAD",) if "GET" in route.methods else ()))):
            other = resource.targets.get(method)
            if other is not None and method in route.methods and method in other.route.methods:
                raise ValueError(f"{method} {route.path} is claimed by {other.door.name} and by {door.name}")
            # HEAD comes with GET (RFC 9110 section 9.1), unless a route of its own has it.
            if other is None or method in route.methods:
                resource.targets[method] = Target(door, route)
        if not names:
            self._exact[route.path] = Found(resource, _NO_PARAMETERS, door)


def _named(resource: Resource, values: list[str], *tail: str) -> Mapping[str, str]:
    # `values` are as many as the names; only what is encoded costs more than the dictionary.
    parameters = dict(zip(resource.names, (*values, *tail), strict=True))
    for name, value in zip(resource.names, values, strict=False):
        if "%" in value:
            parameters[name] = unquote(value)
    return parameters


def as_status(status: int, response: HTTPResponse, *headers: tuple[str, str]) -> HTTPResponse:
    """A door's answer with the status that HTTP itself demands here (404, 405, 408, 413, 415)."""
    return HTTPResponse(status, response.body, response.content_type, (*response.headers, *headers))


def say_plainly(problem: Problem, _: HTTPRequest) -> HTTPResponse:
    """How a problem is said where no door owns the path."""
    return HTTPResponse(400, f"{problem.detail}\n".encode(), "text/plain; charset=utf-8")
