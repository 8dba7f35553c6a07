"""The reader of HTTP responses: every framing, every limit, any pieces."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.validators.fetch import (
    MAX_FRAMING_BYTES,
    MAX_HEAD_BYTES,
    BadResponse,
    Response,
    ResponseReader,
    write_get,
)

LIMIT = 16
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, end: bool = True) -> Response | None:
    reader = ResponseReader(LIMIT)
    for piece in pieces:
        if (response := reader.feed(piece)) is not None:
            return response
    return reader.end() if end else None


def test_request_is_plain_http_1_1() -> None:
    assert write_get("a.example", "/x") == (
        b"GET /x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: certgate\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )


READ = {
    "sized": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", False),
    "sized, with more behind": (OK + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1", b"hello", False),
    "until the end": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", False),
    "no reason phrase": (b"HTTP/1.1 200\r\n\r\nhello", b"hello", False),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello", False),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", b"", False),
    "same length twice": (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "same length twice in a list": (OK + b"Content-Length: 5, 5\r\n\r\nhello", b"hello", False),
    "chunked": (CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello", False),
    "chunked beats a length": (
        OK + b"Content-Length: 1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"hello", False),
    "interim first": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"\r\nhello", b"hello", False),
    "as long as allowed": (OK + b"Content-Length: 16\r\n\r\n" + b"x" * 16, b"x" * 16, False),
    "too long, sized": (OK + b"Content-Length: 17\r\n\r\n" + b"x" * 17, b"x" * 16, True),
    "too long, without an end": (OK + b"\r\n" + b"x" * 17, b"x" * 16, True),
    "too long, chunked": (
        CHUNKED + b"ffffffff\r\n" + b"x" * 17, b"x" * 16, True),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "body", "cut"), READ.values(), ids=READ)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_body_is_found_whatever_its_framing(raw: bytes, body: bytes, cut: bool, size: int) -> None:
    """RFC 9112 section 6.3, in one piece or in many."""
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert read(*pieces) == Response(200, None, body, cut)


@pytest.mark.parametrize("status", [204, 301, 302, 404, 500])
def test_other_statuses_are_known_at_the_end_of_the_header(status: int) -> None:
    """Their body is not waited for, and never kept."""
    head = f"HTTP/1.1 {status} x\r\nlocation:  http://b.example/ \r\nContent-Length: 99999\r\n\r\nsecret"
    assert read(head.encode(), end=False) == Response(status, "http://b.example/", b"", False)


REFUSED = {
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "header cut": OK + b"Content-Length: 5\r\n",
    "body cut": OK + b"Content-Length: 5\r\n\r\nhell",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "field without a colon": OK + b"nonsense\r\n\r\n",
    "field name with a blank": OK + b"Content-Length : 5\r\n\r\nhello",
    "folded field": OK + b"X: a\r\n b\r\n\r\nhello",
    "NUL in a field": OK + b"X: a\x00\r\n\r\nhello",
    "length with a sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "endless length": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhello",
    "other coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\nhello",
    "chunk size missing": CHUNKED + b"\r\n",
    "chunk size with a sign": CHUNKED + b"-1\r\n",
    "chunk longer than its size": CHUNKED + b"2\r\nhello\r\n",
    "chunks cut": CHUNKED + b"5\r\nhello\r\n",
    "huge header": OK + b"X: " + b"x" * MAX_HEAD_BYTES,
    "huge header, complete": OK + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\nhello",
    "many interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "huge chunk extension": CHUNKED + b"1;" + b"x" * MAX_FRAMING_BYTES + b"\r\nx",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("size", [1, 100_000])
def test_everything_else_is_refused(raw: bytes, size: int) -> None:
    with pytest.raises(BadResponse):
        read(*[raw[at : at + size] for at in range(0, len(raw), size)])


def test_hostile_spacing_costs_no_time() -> None:
    """No regular expression here goes back over what it has read."""
    before = time.process_time()
    for line in (b"X: " + b" " * 15_000 + b"\x00", b"HTTP/1.1 200 " + b" " * 15_000, b":" * 15_000):
        with pytest.raises(BadResponse):
            read(OK + line + b"\r\n\r\n")
    assert time.process_time() - before < 1


@given(
    st.binary(max_size=LIMIT + 4),
    st.sampled_from(["sized", "chunked", "closed"]),
    st.lists(st.integers(1, 6), max_size=12),
    st.lists(st.integers(0, 150), max_size=6),
)
def test_any_body_in_any_pieces_comes_out_whole(body: bytes, framing: str, chunks: list[int], cuts: list[int]) -> None:
    if framing == "sized":
        raw = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    elif framing == "closed":
        raw = OK + b"\r\n" + body
    else:
        raw, rest = CHUNKED, body
        for size in chunks:
            if rest:
                raw += f"{len(rest[:size]):x}\r\n".encode() + rest[:size] + b"\r\n"
                rest = rest[size:]
        raw += (f"{len(rest):X}\r\n".encode() + rest + b"\r\n" if rest else b"") + b"0\r\n\r\n"
    places = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[start:stop] for start, stop in pairwise(places)]
    assert read(*pieces) == Response(200, None, body[:LIMIT], len(body) > LIMIT)


@given(
    st.sampled_from([b"", OK, CHUNKED]),
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\n\n", b"0\r\n", b"5;\r\n"]), max_size=8),
)
def test_any_bytes_give_a_response_or_bad_response(start: bytes, pieces: list[bytes]) -> None:
    try:
        response = read(start, *pieces)
    except BadResponse:
        return
    assert response is not None
    assert len(response.body) <= LIMIT
