"""gateway.head: what it reads, and everything that it leaves to aiohttp's parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.head import MAX_FIELDS, MAX_HEAD_BYTES, _lines, _names, read
from tests.gateway.test_http import GET, SMUGGLING, post


def test_common_form_is_read() -> None:
    """Fields under lower-case names, the body by its length."""
    found = read(post(b"/a/b?c=d", b"body", b"X-One:1", b"Connection: Keep-Alive", b"X-Empty: "))
    assert found is not None
    head, body = found
    assert (head.method, head.path, body) == ("POST", "/a/b?c=d", b"body")
    names = {"host": "a", "x-one": "1", "connection": "Keep-Alive", "x-empty": "", "content-length": "4"}
    assert head.headers == names


OTHERS = SMUGGLING | {
    "nothing": b"",
    "part of a head": GET[:-1],
    "part of a body": post(b"/a", b"body")[:-1],
    "more than a body": post(b"/a", b"body") + b"x",
    "two requests": GET + GET,
    "line before": b"\r\n" + GET,
    "chunked": post(b"/a", b"0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "both, length first": post(b"/a", b"", b"Content-Length: 0", b"Transfer-Encoding: identity"),
    "expectation": post(b"/a", b"x", b"Expect: 100-continue"),
    "upgrade": GET.replace(b"Host:", b"Upgrade: websocket\r\nHost:"),
    "end of connection": GET.replace(b"Host:", b"Connection: close\r\nHost:"),
    "upgrade in Connection": GET.replace(b"Host:", b"Connection: keep-alive, Upgrade\r\nHost:"),
    "old field of proxies": GET.replace(b"Host:", b"Proxy-Connection: close\r\nHost:"),
    "content coding": post(b"/a", b"x", b"Content-Encoding: identity"),
    "length with a space": post(b"/a", b"x", b"Content-Length: 1 "),
    "length after two spaces": post(b"/a", b"x", b"Content-Length:  1"),
    "length with a zero before": post(b"/a", b"x", b"Content-Length: 01"),
    "negative length": post(b"/a", b"x", b"Content-Length: -1"),
    "no length value": post(b"/a", b"", b"Content-Length: "),
    "length of GET": GET.replace(b"Host:", b"Content-Length: 0\r\nHost:"),
    "no length": b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "name with a space": GET.replace(b"Host:", b"X Y: z\r\nHost:"),
    "name without a colon": GET.replace(b"Host:", b"X-Y\r\nHost:"),
    "empty name": GET.replace(b"Host:", b": z\r\nHost:"),
    "fold with a tab": GET.replace(b"Host:", b"X: a\r\n\tb\r\nHost:"),
    "tab": GET.replace(b"Host:", b"X: a\tb\r\nHost:"),
    "not ASCII": GET.replace(b"Host:", "X: ä\r\nHost:".encode()),
    "CR apart from its LF": GET.replace(b"Host:", b"X: a\rb\nc\r\nHost:"),
    "empty host": GET.replace(b"whatever.example", b""),
    "odd host": GET.replace(b"whatever.example", b"a/b"),
    "repeated field": GET.replace(b"Host:", b"X: a\r\nx: b\r\nHost:"),
    "HTTP/1.0": GET.replace(b"1.1", b"1.0"),
    "small letters": GET.replace(b"GET", b"get"),
    "two spaces": GET.replace(b"GET ", b"GET  "),
    "other method": GET.replace(b"GET", b"PUT"),
    "two slashes": GET.replace(b"/echo", b"//echo"),
    "space in the target": GET.replace(b"?", b" "),
    "bracket in the target": GET.replace(b"?", b"["),
    "many fields": GET.replace(b"Host:", b"".join(b"X-%d: a\r\n" % each for each in range(MAX_FIELDS)) + b"Host:"),
    "large head": GET.replace(b"Host:", b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\nHost:"),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_anything_else_is_not_read(data: bytes) -> None:
    """What is odd or wrong is aiohttp's to judge, alone and with a request behind it."""
    assert read(data) is None
    assert read(data + GET) is None or data == b""


def test_names_of_clients_do_not_fill_the_memory() -> None:
    """What is remembered of names is bounded."""
    for number in range(2000):
        assert read(GET.replace(b"Host:", b"X-%d: a\r\nHost:" % number)) is not None
    assert read(GET.replace(b"Host:", b"X" * 1000 + b": a\r\nHost:")) is not None
    assert len(_names) <= 512
    for number in range(2000):
        assert read(GET.replace(b"Host:", b"User-Agent: %d\r\nHost:" % number)) is not None
    assert len(_lines) <= 512
    assert read(GET.replace(b"Host:", b"X (: a\r\nHost:")) is None


@given(st.binary(), st.integers(0, len(GET)))
def test_never_raises(data: bytes, where: int) -> None:
    """Whatever comes."""
    read(data)
    read(GET[:where] + data + GET[where:])
