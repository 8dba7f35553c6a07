"""gateway.routing: exact segments, one reading, and which door's place it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing import Door, RouteTable
from protocols.http import HTTPRequest, HTTPResponse, Route
from tests.gateway.conftest import EchoDoor


async def operation(_: HTTPRequest) -> HTTPResponse:
    return HTTPResponse(200)


def door(name: str, *paths: str, methods: tuple[str, ...] = ("GET",)) -> Door:
    say = EchoDoor().say
    return Door(name, say, tuple(Route(methods, path, path, operation) for path in paths))


TABLE = RouteTable(
    [
        door("acme", "/acme/{label}/directory", "/acme/{label}/order/{id}", "/acme/{label}/order/{id}/finalize"),
        door("est", "/.well-known/est/cacerts", "/.well-known/est/{label}/cacerts"),
        door("cmp", "/.well-known/cmp", "/.well-known/cmp/p/{label}"),
        door("status", "/ocsp/{request:*}", "/crl/{issuer}/{shard}", "/slash/"),
        door("rest", "/api/v1/orders", methods=("POST",)),
    ]
)


def found(path: str) -> tuple[str, dict[str, str]] | None:
    result = TABLE.find(path)
    if result.resource is None:
        return None
    return next(iter(result.resource.targets.values())).route.path, dict(result.parameters)


@pytest.mark.parametrize(
    ("path", "route", "parameters"),
    [
        ("/acme/default/directory", "/acme/{label}/directory", {"label": "default"}),
        ("/acme/a/order/o-1/finalize", "/acme/{label}/order/{id}/finalize", {"label": "a", "id": "o-1"}),
        ("/acme/a/order/o%20%C3%BC", "/acme/{label}/order/{id}", {"label": "a", "id": "o ü"}),
        ("/.well-known/est/cacerts", "/.well-known/est/cacerts", {}),
        ("/.well-known/est/m1/cacerts", "/.well-known/est/{label}/cacerts", {"label": "m1"}),
        ("/.well-known/cmp/p/m1", "/.well-known/cmp/p/{label}", {"label": "m1"}),
        ("/slash/", "/slash/", {}),
        ("/ocsp/MEow//AB%2Fx%3D", "/ocsp/{request:*}", {"request": "MEow//AB%2Fx%3D"}),
        ("/ocsp/a/b/c", "/ocsp/{request:*}", {"request": "a/b/c"}),
    ],
)
def test_path_is_found(path: str, route: str, parameters: dict[str, str]) -> None:
    """One segment is decoded once; a whole rest stays as it was sent."""
    assert found(path) == (route, parameters)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "acme/a/directory",
        "/acme/a/directory/",
        "/acme//directory",
        "//acme/a/directory",
        "/acme/a/./directory",
        "/acme/a/../a/directory",
        "/acme/../acme/a/directory",
        "/acme/a%2fb/directory",
        "/acme/a%2Fdirectory",
        "/acme/%2e%2e/directory",
        "/acme/.%2E/directory",
        "/acme/../directory",
        "/acme/./directory",
        "/acme/a%5cb/directory",
        "/acme/a\\b/directory",
        "/acme/a%00/directory",
        "/acme/a%0d%0a/directory",
        "/acme/a%7f/directory",
        "/acme/a%zz/directory",
        "/acme/a%/directory",
        "/acme/a b/directory",
        "/acme/\u00fc/directory",
        '/acme/"/directory',
        "/%61cme/a/directory",
        "/ACME/a/directory",
        "/slash",
        "/ocsp",
        "/ocsp/",
        "/ocsp/a/../b",
        "/ocsp/..",
        "/ocsp/a%2e%2e",
        "/ocsp//../x",
        "//ocsp/a",
        "/crl/a",
        "/crl/a/0/1",
        "/api/v1/orders/",
    ],
)
def test_path_with_a_second_reading_is_not_found(path: str) -> None:
    """What a proxy or a rule could read differently is nowhere (CVE-2026-3605 and its like)."""
    assert found(path) is None


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/acme/a/nothing", "acme"),
        ("/acme", "acme"),
        ("/.well-known/est/a/b", "est"),
        ("/.well-known/other", None),
        ("/.well-known/cmp/x", "cmp"),
        ("/nowhere", None),
        ("/acme//x", None),
    ],
)
def test_whose_place_it_is(path: str, owner: str | None) -> None:
    """A place that two doors share is nobody's."""
    result = TABLE.find(path)
    assert result.resource is None
    assert (result.door.name if result.door else None) == owner


def test_allowed_methods() -> None:
    """HEAD comes with GET (RFC 9110 section 9.1)."""
    get, post = TABLE.find("/acme/a/directory").resource, TABLE.find("/api/v1/orders").resource
    assert get is not None
    assert post is not None
    assert (get.allow, post.allow) == ("GET, HEAD", "POST")


def test_route_of_its_own_for_head() -> None:
    """A door may answer HEAD elsewhere than GET, in either order of its routes."""
    say = EchoDoor().say
    get, head = Route(("GET",), "/n", "get", operation), Route(("HEAD",), "/n", "head", operation)
    for routes in ((get, head), (head, get)):
        resource = RouteTable([Door("a", say, routes)]).find("/n").resource
        assert resource is not None
        assert {method: target.route.name for method, target in resource.targets.items()} == {
            "GET": "get",
            "HEAD": "head",
        }


@pytest.mark.parametrize(
    ("doors", "sentence"),
    [
        ([door("a", "/x"), door("b", "/x")], "GET /x is claimed by a and by b"),
        ([door("a", "x")], "does not begin with a slash"),
        ([door("a", "/{x:*}/y")], "goes on after"),
        ([door("a", "/{x}", "/{y}")], "otherwise than another"),
    ],
)
def test_tables_that_cannot_work(doors: list[Door], sentence: str) -> None:
    """Refused when they are built, with both names."""
    with pytest.raises(ValueError, match=sentence):
        RouteTable(doors)


@given(st.text(alphabet="/.%25eEfFacmeordtiy\\\x00ü ", max_size=40))
def test_any_path_is_found_or_not(path: str) -> None:
    """Never an exception, and never a parameter with a slash or a dot segment in it."""
    result = TABLE.find("/acme/" + path)
    for value in result.parameters.values():
        assert "/" not in value
        assert value not in (".", "..")
