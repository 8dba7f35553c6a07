"""Redirects, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import is_address
from gateway.validators.targets import BadRedirect, Target, redirected

BASE = Target("http", "a.example", 80, "/.well-known/acme-challenge/token")
PORTS = frozenset({80, 443})

FOLLOWED = {
    "http://b.example/x": Target("http", "b.example", 80, "/x"),
    "https://b.example/x?y=1": Target("https", "b.example", 443, "/x?y=1"),
    "HTTPS://B.Example:443/x": Target("https", "b.example", 443, "/x"),
    "http://b.example:443/": Target("http", "b.example", 443, "/"),
    "http://b.example": Target("http", "b.example", 80, "/"),
    "http://b.example?x": Target("http", "b.example", 80, "/?x"),
    "http://b.example./x": Target("http", "b.example", 80, "/x"),
    "http://b.example/x#fragment": Target("http", "b.example", 80, "/x"),
    "http://under_score.example/": Target("http", "under_score.example", 80, "/"),
    "/other": Target("http", "a.example", 80, "/other"),
    "other": Target("http", "a.example", 80, "/.well-known/acme-challenge/other"),
    "//b.example/x": Target("http", "b.example", 80, "/x"),
    "?q": Target("http", "a.example", 80, "/.well-known/acme-challenge/token?q"),
}

NOT_FOLLOWED = [
    "ftp://b.example/", "file:///etc/passwd", "gopher://b.example/", "javascript:alert(1)", "data:,x",
    "mailto:a@b",
    "http://b.example:8080/", "http://b.example:22/", "https://b.example:8443/", "http://b.example:0/",
    "http://b.example:99999/", "http://b.example:/", "http://user@b.example/", "http://user:pw@b.example/",
    "http://a.example@127.0.0.1/", "http://127.0.0.1/", "http://127.0.0.1:80/", "http://169.254.169.254/latest/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[fe80::1%25eth0]/",
    "http://[::1", "http://[not]/", "http:///x", "http:x", "http:/x", "//127.0.0.1/", "//user@b.example/",
    "http://b.example\\@127.0.0.1/", "http://b.example/ x", "http://b.example/\r\nX: y", "http://b.example/\t",
    "http://b.example/ä", "http://bücher.example/", "http://b..example/", "http://-b.example/", "http://b-.example/",
    "http://" + "x" * 64 + ".example/", "http://" + "x." * 150 + "example/", "http://b.example/" + "x" * 3000,
    "http://b%2eexample/", "http://b.example%00/", "https:/\\b.example/",
]  # fmt: skip


@pytest.mark.parametrize(("location", "target"), FOLLOWED.items())
def test_followed(location: str, target: Target) -> None:
    assert redirected(BASE, location, ports=PORTS, addresses=False) == target


@pytest.mark.parametrize("location", NOT_FOLLOWED)
def test_not_followed(location: str) -> None:
    """Other schemes, ports, credentials, address literals, and what two parsers read in two ways (T-2). Rows: T-2."""
    with pytest.raises(BadRedirect):
        redirected(BASE, location, ports=PORTS, addresses=False)


def test_address_literals_are_for_address_identifiers() -> None:
    """They are read, and the guard judges them."""
    base = Target("http", "8.8.8.8", 80, "/")
    assert redirected(base, "http://127.0.0.1/", ports=PORTS, addresses=True).host == "127.0.0.1"
    assert redirected(base, "https://[::1]/", ports=PORTS, addresses=True).authority == "[::1]"
    for location in ("http://[1.2.3.4]x/", "http://[:::1]/", "http://[fe80::1%25eth0]/"):
        with pytest.raises(BadRedirect):
            redirected(base, location, ports=PORTS, addresses=True)


def test_authority_has_the_port_where_it_is_not_the_schemes_own() -> None:
    """RFC 9110 section 7.2."""
    assert str(Target("http", "a.example", 80, "/x")) == "http://a.example/x"
    assert str(Target("https", "a.example", 443, "/x")) == "https://a.example/x"
    assert str(Target("http", "2001:db8::1", 443, "/x")) == "http://[2001:db8::1]:443/x"


PARTS = ["http", "https", ":", "//", "/", "@", "#", "?", "[", "]", "127.0.0.1", "::1", "b.example", ":80",
         ":443", ":22", "%", "\\", ".", "..", " ", "\r\n", "ä", "x"]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=9).map("".join) | st.text(max_size=40), st.booleans())
def test_any_location_gives_a_safe_target_or_bad_redirect(location: str, addresses: bool) -> None:
    try:
        target = redirected(BASE, location, ports=PORTS, addresses=addresses)
    except BadRedirect:
        return
    assert target.scheme in ("http", "https")
    assert target.port in PORTS
    assert target.path.startswith("/")
    for text in (target.path, target.authority):
        assert all("!" <= char <= "~" for char in text)
    assert is_address(target.host) <= addresses
    assert not set(target.host) & set("@/\\?#%[]")
