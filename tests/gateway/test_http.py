"""gateway.http: what reaches a door, what never does, and what an answer looks like on the wire."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.conftest import ORIGIN, EchoDoor, Start

GET = b"GET /echo/m1/seen?a=1&b=%20 HTTP/1.1\r\nHost: whatever.example\r\n\r\n"


def post(path: bytes, body: bytes = b"", *fields: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: a", *fields]
    if not any(field.lower().startswith((b"content-length", b"transfer-encoding")) for field in fields):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_door_sees_the_request_as_it_was_sent(start: Start, echo: EchoDoor) -> None:
    """Path, query, label, fields under lower-case names, body; the URL from configuration, not from Host.

    Rows: T-17.
    """
    gate = await start()
    reply = await gate.ask(post(b"/echo/m1/seen?a=1&b=%20", b"hello", b"X-One: a", b"x-one: b"))
    assert reply.status == 200
    assert reply.json["path"] == "/echo/m1/seen"
    assert reply.json["query"] == "a=1&b=%20"
    assert reply.json["label"] == "m1"
    assert reply.json["parameters"] == {"label": "m1"}
    assert reply.json["headers"] == {"host": "a", "x-one": "a, b", "content-length": "5"}
    assert reply.json["body"] == "hello"
    assert reply.json["peer"] == "127.0.0.1"
    assert reply.json["url"] == "http://ca.example/echo/m1/seen"
    assert echo.requests[0].tls_version is None
    assert echo.requests[0].headers.get("absent") is None
    assert "x-one" in echo.requests[0].headers


async def test_octets_that_are_no_text_are_question_marks(start: Start, echo: EchoDoor) -> None:
    """What a door is told it can store, log and repeat; UTF-8 stays what it is."""
    gate = await start()
    reply = await gate.ask(post(b"/echo/m1/seen", b"", b"X-One: a\xff\xfeb", b"X-Two: caf\xc3\xa9"))
    assert reply.status == 200
    fields = echo.requests[0].headers
    assert (fields["x-one"], fields.get("x-one"), fields["x-two"]) == ("a??b", "a??b", "café")


async def test_url_is_the_one_of_the_listener(start: Start, trusting: object) -> None:
    """The same path on another listener has that listener's origin."""
    gate = await start()
    reply = await gate.ask(GET, "https", ssl=trusting)
    assert reply.json["url"] == f"{ORIGIN}/echo/m1/seen"


async def test_fields_of_an_answer(start: Start, trusting: object) -> None:
    """Canonical case kept, repeated fields kept, the fixed ones added, no software named."""
    gate = await start()
    plain = await gate.ask(GET)
    secure = await gate.ask(GET, "https", ssl=trusting)
    names = [name for name, _ in plain.fields]
    assert "X-MiXed-Case" in names
    assert [value for name, value in plain.fields if name == "X-Two"] == ["1", "2"]
    assert "Server" not in names
    assert plain.field("X-Content-Type-Options") == "nosniff"
    assert plain.field("Date")
    assert plain.field("X-Request-Id") == gate.lines()[0]["request"]
    assert plain.field("Strict-Transport-Security") is None
    assert secure.field("Strict-Transport-Security") == "max-age=31536000"


async def test_head_is_get_without_a_body(start: Start) -> None:
    """RFC 9110 section 9.3.2: the same fields, Content-Length included."""
    gate = await start()
    got = await gate.ask(GET)
    client = await gate.connect()
    await client.send(GET.replace(b"GET", b"HEAD", 1) + GET)
    reply = await client.reply(head_only=True)
    following = await client.reply()
    assert int(reply.field("Content-Length") or 0) >= len(got.body)
    assert following.status == 200
    await client.close()


async def test_operation_sees_head_as_head(start: Start) -> None:
    """ACME's newNonce answers 200 to HEAD and 204 to GET (RFC 8555 section 7.2)."""
    gate = await start()
    get = await gate.ask(b"GET /echo/none HTTP/1.1\r\nHost: a\r\n\r\n")
    head = await gate.ask(b"HEAD /echo/none HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (get.status, head.status) == (204, 200)
    assert get.field("Content-Length") is None
    assert get.field("Replay-Nonce") == "n1"


async def test_other_method_is_refused_by_the_door_with_allow(start: Start) -> None:
    """RFC 9110 section 15.5.6."""
    gate = await start()
    reply = await gate.ask(post(b"/echo/none").replace(b"POST", b"DELETE", 1))
    assert reply.status == 405
    assert reply.field("Allow") == "GET, HEAD"
    assert reply.field("Content-Type") == "application/echo-problem"
    assert "DELETE" in reply.json["detail"]


async def test_unknown_path_is_refused_in_the_words_of_its_door(start: Start) -> None:
    """Below a door's place the door says it; elsewhere it is said plainly. Rows: T-30."""
    gate = await start()
    inside = await gate.ask(b"GET /echo/nothing/here HTTP/1.1\r\nHost: a\r\n\r\n")
    outside = await gate.ask(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (inside.status, inside.field("Content-Type")) == (404, "application/echo-problem")
    assert (outside.status, outside.field("Content-Type")) == (404, "text/plain; charset=utf-8")
    assert gate.lines()[0]["path"] == "/echo/nothing/here"


async def test_resource_for_tls_only_is_refused_without_tls(start: Start, trusting: object) -> None:
    """A password must not travel in the clear because a client took the wrong port."""
    gate = await start()
    plain = await gate.ask(post(b"/echo/secure"))
    secure = await gate.ask(post(b"/echo/secure"), "https", ssl=trusting)
    assert (plain.status, plain.json["kind"]) == (403, "forbidden")
    assert secure.status == 200


@pytest.mark.parametrize("size", [65536, 65537])
async def test_body_limit(start: Start, size: int) -> None:
    """64 KiB unless the route says more. Rows: A1."""
    gate = await start()
    reply = await gate.ask(post(b"/echo/m1/seen", b"x" * size))
    assert reply.status == (200 if size == 65536 else 413)
    assert reply.field("Connection") == (None if size == 65536 else "close")


async def test_body_limit_of_a_route(start: Start) -> None:
    """A route may take more."""
    gate = await start()
    assert (await gate.ask(post(b"/echo/large", b"x" * 200_000))).status == 200
    assert (await gate.ask(post(b"/echo/large", b"x" * 200_001))).status == 413


async def test_large_bodies_share_what_there_is(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """F20: strangers who send large bodies slowly fill no memory; small ones are read all the while."""
    monkeypatch.setattr("gateway.http.MAX_READING_BYTES", 250_000)
    gate = await start()
    front = gate.server._listeners["http"].front
    assert front is not None
    first, second = await gate.connect(), await gate.connect()
    await first.send(post(b"/echo/large", bytes(200_000))[:-1])
    while front.reading_bytes < 199_999:
        await asyncio.sleep(0)
    await second.send(post(b"/echo/large", bytes(200_000))[:-1])
    reply = await second.reply()
    assert (reply.status, reply.json["kind"]) == (503, "unavailable")
    assert (await gate.ask(post(b"/echo/m1/seen", bytes(1000)))).status == 200
    await first.send(b"\0")
    assert (await first.reply()).status == 200
    await first.close()
    await second.close()
    assert (await gate.ask(post(b"/echo/large", bytes(200_000)))).status == 200


async def test_announced_gigabyte_is_refused_before_it_is_sent(start: Start) -> None:
    """The announcement is enough."""
    gate = await start()
    client = await gate.connect()
    await client.send(post(b"/echo/m1/seen", b"", b"Content-Length: 1073741824"))
    reply = await client.reply()
    assert (reply.status, reply.json["kind"]) == (413, "too-large")
    await client.close()


async def test_body_that_comes_after_its_refusal_is_dropped(start: Start, echo: EchoDoor) -> None:
    """One answer, then the end; the bytes of the body are never taken for requests."""
    gate = await start()
    client = await gate.connect()
    await client.send(post(b"/echo/m1/seen", b"", b"Content-Length: 3000000"))
    for _ in range(30):
        await client.send((GET * 2000)[:100_000])
    assert (await client.reply()).status == 413
    assert await client.closed() == b""
    await client.close()
    assert not echo.requests


async def test_chunked_body_is_read_and_bounded(start: Start) -> None:
    """A length that is not announced is counted."""
    gate = await start()
    chunked = post(b"/echo/m1/seen", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    assert (await gate.ask(chunked)).json["body"] == "abcde"
    large = b"10000\r\n" + b"x" * 65536 + b"\r\n1\r\nx\r\n0\r\n\r\n"
    assert (await gate.ask(post(b"/echo/m1/seen", large, b"Transfer-Encoding: chunked"))).status == 413


async def test_body_in_pieces(start: Start) -> None:
    """A body may arrive byte by byte."""
    gate = await start()
    client = await gate.connect()
    for byte in post(b"/echo/m1/seen", b"slowly"):
        await client.send(bytes([byte]))
    assert (await client.reply()).json["body"] == "slowly"
    await client.close()


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"x-unknown"])
async def test_content_coding_is_refused(start: Start, echo: EchoDoor, coding: bytes) -> None:
    """A gzip bomb is never opened."""
    gate = await start()
    reply = await gate.ask(post(b"/echo/m1/seen", b"abc", b"Content-Encoding: " + coding))
    assert (reply.status, reply.json["kind"]) == (415, "unsupported-media")
    assert not echo.requests


async def test_expect_continue(start: Start) -> None:
    """RFC 9110 section 10.1.1: 100 when the body is wanted, the final status when it is not."""
    gate = await start()
    client = await gate.connect()
    await client.send(post(b"/echo/m1/seen", b"", b"Content-Length: 3", b"Expect: 100-continue"))
    assert (await client.reply()).status == 100
    await client.send(b"abc")
    assert (await client.reply()).json["body"] == "abc"
    await client.close()
    refused = await gate.ask(post(b"/echo/m1/seen", b"", b"Content-Length: 70000", b"Expect: 100-continue"))
    assert refused.status == 413
    unknown = await gate.ask(post(b"/echo/m1/seen", b"", b"Content-Length: 3", b"Expect: 200-ok"))
    assert unknown.status == 417


SMUGGLING = {
    "both lengths": post(b"/echo/m1/seen", b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "two lengths": post(b"/echo/m1/seen", b"abc", b"Content-Length: 3", b"Content-Length: 3"),
    "two different lengths": post(b"/echo/m1/seen", b"abc", b"Content-Length: 3", b"Content-Length: 4"),
    "list of lengths": post(b"/echo/m1/seen", b"abc", b"Content-Length: 3, 3"),
    "signed length": post(b"/echo/m1/seen", b"abc", b"Content-Length: +3"),
    "hexadecimal length": post(b"/echo/m1/seen", b"abc", b"Content-Length: 0x3"),
    "endless length": post(b"/echo/m1/seen", b"abc", b"Content-Length: 99999999999999999999"),
    "chunked not last": post(b"/echo/m1/seen", b"0\r\n\r\n", b"Transfer-Encoding: chunked, identity"),
    "chunked twice": post(b"/echo/m1/seen", b"0\r\n\r\n", b"Transfer-Encoding: chunked, chunked"),
    "coding and chunked": post(b"/echo/m1/seen", b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked"),
    "unknown coding": post(b"/echo/m1/seen", b"abc", b"Transfer-Encoding: xchunked"),
    "bad chunk size": post(b"/echo/m1/seen", b"zz\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "negative chunk size": post(b"/echo/m1/seen", b"-3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "chunk without its end": post(b"/echo/m1/seen", b"3\r\nabcX\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "space before colon": post(b"/echo/m1/seen", b"abc", b"Content-Length : 3"),
    "folded field": post(b"/echo/m1/seen", b"", b"X-Folded: a\r\n b"),
    "line feeds alone": b"GET /echo/m1/seen HTTP/1.1\nHost: a\n\n",
    "carriage return alone": b"GET /echo/m1/seen HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "nul in a field": b"GET /echo/m1/seen HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "no host": b"GET /echo/m1/seen HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /echo/m1/seen HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET /echo/m1/seen HTTP/3.0\r\nHost: a\r\n\r\n",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "other authority": b"GET http://evil.example/echo/m1/seen HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority with user": b"GET http://u@ca.example/echo/m1/seen HTTP/1.1\r\nHost: a\r\n\r\n",
    "tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /echo/m1/seen#x HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING.keys())
async def test_ambiguous_request_reaches_no_door(start: Start, echo: EchoDoor, data: bytes) -> None:
    """What two programs could read differently is refused, and nothing behind it is served."""
    gate = await start()
    client = await gate.connect()
    await client.send(data + b"GET /echo/m2/seen HTTP/1.1\r\nHost: smuggled\r\n\r\n")
    reply = await client.reply(head_only=data.startswith(b"HEAD"))
    assert 400 <= reply.status < 600
    assert reply.status != 500
    await client.close()
    assert not [request for request in echo.requests if request.label == "m1"]
    if reply.field("Connection") == "close":
        assert not echo.requests


async def test_chunk_that_turns_bad_later(start: Start, echo: EchoDoor) -> None:
    """The body began well; the door still never runs, and the client is told at once."""
    gate = await start()
    client = await gate.connect()
    await client.send(post(b"/echo/m1/seen", b"3\r\nabc\r\n", b"Transfer-Encoding: chunked"))
    await client.send(b"zz\r\n")
    assert (await client.reply(seconds=2)).status == 400
    await client.closed()
    await client.close()
    assert not echo.requests


async def test_own_authority_is_taken(start: Start) -> None:
    """RFC 9112 section 3.2.2: a server accepts the absolute form."""
    gate = await start()
    reply = await gate.ask(b"GET http://ca.example:80/echo/m1/seen?q HTTP/1.1\r\nHost: b\r\n\r\n")
    assert (reply.status, reply.json["path"], reply.json["query"]) == (200, "/echo/m1/seen", "q")


async def test_upgrade_is_declined_and_ends_the_connection(start: Start) -> None:
    """What follows an upgrade request must not be read as requests."""
    gate = await start()
    client = await gate.connect()
    await client.send(GET.replace(b"Host:", b"Connection: Upgrade\r\nUpgrade: websocket\r\nHost:"))
    reply = await client.reply()
    assert reply.status == 200
    assert await client.closed() == b""
    await client.close()


async def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    """RFC 9112 section 9.3.2."""
    gate = await start()
    client = await gate.connect()
    await client.send(b"".join(GET.replace(b"m1", b"m%d" % number) for number in range(40)))
    labels = [(await client.reply()).json["label"] for _ in range(40)]
    assert labels == [f"m{number}" for number in range(40)]
    await client.close()


async def test_http_1_0(start: Start) -> None:
    """Closed at the end, or kept when the client asks (old SCEP devices)."""
    gate = await start()
    client = await gate.connect()
    await client.send(b"GET /echo/m1/seen HTTP/1.0\r\n\r\n")
    assert (await client.reply()).field("Connection") == "close"
    assert await client.closed() == b""
    await client.close()
    client = await gate.connect()
    await client.send(b"GET /echo/m1/seen HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (await client.reply()).field("Connection") == "keep-alive"
    await client.send(b"GET /echo/stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (await client.reply()).body == b"one,two"
    await client.close()


async def test_stream(start: Start, echo: EchoDoor) -> None:
    """Chunked in HTTP/1.1; the connection stays usable; HEAD has no body."""
    gate = await start()
    client = await gate.connect()
    await client.send(b"GET /echo/stream HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await client.reply()).body == b"one,two"
    await client.send(GET)
    assert (await client.reply()).status == 200
    assert echo.closed_streams == 1
    await client.close()
    head = await gate.ask(b"HEAD /echo/stream HTTP/1.1\r\nHost: a\r\n\r\n")
    assert head.status == 200


async def test_stream_that_breaks_is_not_whole(start: Start) -> None:
    """Without the last chunk, a client knows."""
    gate = await start()
    client = await gate.connect()
    await client.send(b"GET /echo/broken-stream HTTP/1.1\r\nHost: a\r\n\r\n")
    assert not (await client.closed()).endswith(b"0\r\n\r\n")
    await client.close()
    assert gate.lines("a stream broke off")[0]["fault"] == "LookupError"


async def test_fault_shows_nothing(start: Start) -> None:
    """The client learns the request's identifier; the log has the reason."""
    gate = await start()
    reply = await gate.ask(b"GET /echo/fault HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"secret of the inside" not in reply.body
    assert reply.field("X-Request-Id") in reply.json["detail"]
    assert "secret of the inside" in gate.lines("internal")[0]["exception"]


async def test_field_with_a_line_break_is_not_sent(start: Start) -> None:
    """No door can be tricked into splitting an answer."""
    gate = await start()
    reply = await gate.ask(b"GET /echo/injection HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reply.status == 500
    assert reply.field("Set-Cookie") is None


async def test_large_head(start: Start) -> None:
    """A Kerberos ticket of 48 KiB passes; a head above 64 KiB does not, in one field or in many."""
    gate = await start()
    ticket = GET.replace(b"Host:", b"Authorization: Negotiate " + b"A" * 48_000 + b"\r\nHost:")
    assert (await gate.ask(ticket)).status == 200
    one = GET.replace(b"Host:", b"X-Large: " + b"A" * 66_000 + b"\r\nHost:")
    assert (await gate.ask(one)).status == 431
    many = b"".join(b"X-%d: %s\r\n" % (number, b"A" * 1000) for number in range(80))
    assert (await gate.ask(GET.replace(b"Host:", many + b"Host:"))).status == 431
    count = b"".join(b"X-%d: a\r\n" % number for number in range(500))
    assert (await gate.ask(GET.replace(b"Host:", count + b"Host:"))).status == 400


async def test_malformed_head_is_not_repeated_in_the_log(start: Start) -> None:
    """A bad line may hold a password."""
    gate = await start()
    reply = await gate.ask(b"GET /echo/m1/seen HTTP/1.1\r\nHost: a\r\nAuthorization: hunter2\0\r\n\r\n")
    assert reply.status == 400
    assert "hunter2" not in gate._log.getvalue()


async def test_one_line_for_each_request(start: Start) -> None:
    """STYLE: request id, protocol, operation, order, outcome kind, milliseconds; one line, at the end."""
    gate = await start()
    await gate.ask(GET)
    await gate.ask(b"GET /echo/fault HTTP/1.1\r\nHost: a\r\n\r\n")
    first, second = gate.lines()
    assert {"time", "request", "ms"} <= first.keys()
    assert (first["listener"], first["protocol"], first["operation"], first["status"]) == (
        "http",
        "echo",
        "seen",
        200,
    )
    assert (first["peer"], first["order"]) == ("127.0.0.1", "o-1")
    assert second["problem"] == "internal"
    assert gate.count("http_requests_total", protocol="echo", operation="seen", code="200") == 1
    assert gate.count("http_inflight") == 0
