"""The http-01 validator against real servers on loopback, kind and hostile."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import dns.rcode
import pytest
import trustme

from ca_core.names import Identifier, IdentifierType
from gateway.dial import AddressGuard, Dialer
from gateway.validators.dns import Resolver
from gateway.validators.http01 import HTTP01Validator
from policy.problems import (
    ValidationConnection,
    ValidationDNS,
    ValidationFailed,
    ValidationIncorrectResponse,
    ValidationTLS,
)
from policy.validation import Attempt
from tests.gateway.validators.servers import Handler, NameServer, free_port, has_ipv6, tcp_server

TOKEN = "x" * 43
AUTHORIZATION = f"{TOKEN}.{'t' * 43}"
PATH = f"/.well-known/acme-challenge/{TOKEN}"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def attempt(name: str = "a.example", kind: IdentifierType = IdentifierType.DNS) -> Attempt:
    return Attempt(Identifier(kind, name), False, "http-01", TOKEN, AUTHORIZATION, "https://ca.example/acct/1")


def ok(body: str = AUTHORIZATION) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@dataclass
class Web:
    """A web server: `pages` maps host and path, or a path, to an answer; `requests` are those it had."""

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        path = head.split(b" ")[1].decode()
        host = head.split(b"Host: ")[1].split(b"\r\n")[0].decode()
        answer = self.pages.get(host + path, self.pages.get(path, b"HTTP/1.1 404 Not Found\r\n\r\n"))
        writer.write(answer)
        await writer.drain()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    server = Web()
    async with tcp_server(server) as server.port:
        yield server


@pytest.fixture
def validate(names: NameServer, resolver: Resolver, web: Web) -> HTTP01Validator:
    names.records["a.example", "A"] = ["127.0.0.1"]
    names.records["b.example", "A"] = ["127.0.0.1"]
    return validator(resolver, web.port)


def validator(resolver: Resolver, port: int, *, deadline_seconds: float = 10.0) -> HTTP01Validator:
    dialer = Dialer(resolver, AddressGuard(LOOPBACK), connect_timeout_seconds=0.3)
    return HTTP01Validator(dialer, port=port, deadline_seconds=deadline_seconds)


async def test_right_answer_proves_control(web: Web, validate: HTTP01Validator) -> None:
    """RFC 8555 section 8.3. Rows: A7."""
    web.pages[PATH] = ok()
    evidence = await validate.validate(attempt())
    assert (evidence.method, evidence.target) == ("http-01", f"127.0.0.1:{web.port}")
    assert "a.example" in evidence.detail
    request = web.requests[0].decode()
    assert request.startswith(f"GET {PATH} HTTP/1.1\r\n")
    assert "\r\nHost: a.example\r\n" in request


@pytest.mark.parametrize("blank", ["\n", "\r\n", "  \t\n", " " * 100])
async def test_white_space_behind_the_answer_is_ignored(web: Web, validate: HTTP01Validator, blank: str) -> None:
    """RFC 8555 section 8.3: "SHOULD ignore whitespace characters at the end of the body". Rows: R22."""
    web.pages[PATH] = ok(AUTHORIZATION + blank)
    await validate.validate(attempt())


@pytest.mark.parametrize(
    "body",
    ["", TOKEN, AUTHORIZATION[:-1], AUTHORIZATION + "x", " " + AUTHORIZATION, AUTHORIZATION.upper(),
     AUTHORIZATION + "\n" + AUTHORIZATION, PATH, "x" * 5000, AUTHORIZATION + " " * 5000],
)  # fmt: skip
async def test_any_other_body_proves_nothing(web: Web, validate: HTTP01Validator, body: str) -> None:
    """Also a page that repeats the path, or the right text with more behind it (T-11). Rows: T-11."""
    web.pages[PATH] = ok(body)
    with pytest.raises(ValidationIncorrectResponse):
        await validate.validate(attempt())


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 404, 500])
async def test_only_status_200_counts(web: Web, validate: HTTP01Validator, status: int) -> None:
    web.pages[PATH] = ok().replace(b"200", str(status).encode())
    with pytest.raises(ValidationIncorrectResponse, match=str(status)):
        await validate.validate(attempt())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(web: Web, validate: HTTP01Validator, status: int) -> None:
    """Rows: A7."""
    web.pages[PATH] = redirect(f"http://b.example:{web.port}/moved?x=1", status)
    web.pages[f"b.example:{web.port}/moved?x=1"] = ok()
    evidence = await validate.validate(attempt())
    assert "b.example" in evidence.detail


async def test_redirect_to_https_needs_no_good_certificate(names: NameServer, resolver: Resolver) -> None:
    """The certificate is what the client is still asking for; also one for another name will do (F22)."""
    names.records["a.example", "A"] = ["127.0.0.1"]
    names.records["b.example", "A"] = ["127.0.0.2"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("other.example").configure_cert(context)
    secure = Web(pages={PATH: ok()})
    async with tcp_server(secure, "127.0.0.2", context) as port:
        plain = Web(port=port, pages={PATH: redirect(f"https://b.example:{port}{PATH}")})
        server = await asyncio.start_server(_closing(plain), "127.0.0.1", port)
        async with server:
            evidence = await validator(resolver, port).validate(attempt())
            assert evidence.target == f"127.0.0.2:{port}"
            assert b"Host: b.example:" in secure.requests[0]
        await asyncio.sleep(0.01)


def _closing(web: Web) -> Handler:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await web(reader, writer)
        writer.close()

    return serve


async def test_redirect_to_https_that_speaks_http_is_a_tls_problem(names: NameServer, resolver: Resolver) -> None:
    names.records["a.example", "A"] = ["127.0.0.1"]

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(1000)
        port = writer.get_extra_info("sockname")[1]
        again = request.startswith(b"GET")
        writer.write(redirect(f"https://a.example:{port}/") if again else b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with tcp_server(plain) as port:
        with pytest.raises(ValidationTLS):
            await validator(resolver, port).validate(attempt())
        await asyncio.sleep(0.01)


async def test_ten_redirects_and_no_more(web: Web, validate: HTTP01Validator) -> None:
    """Rows: A7."""
    web.pages[PATH] = redirect("/0")
    for number in range(30):
        web.pages[f"/{number}"] = redirect(f"/{number + 1}")
    web.pages["/9"] = ok()
    await validate.validate(attempt())
    web.pages["/9"] = redirect("/10")
    web.pages["/10"] = ok()
    web.requests.clear()
    with pytest.raises(ValidationIncorrectResponse, match="more than 10 redirects"):
        await validate.validate(attempt())
    assert len(web.requests) == 11


@pytest.mark.parametrize("location", [PATH, "/loop", ""])
async def test_redirect_loops_end(web: Web, validate: HTTP01Validator, location: str) -> None:
    """Rows: T-2."""
    web.pages[PATH] = redirect(location)
    web.pages["/loop"] = redirect(PATH)
    with pytest.raises(ValidationIncorrectResponse, match="loop"):
        await validate.validate(attempt())
    assert len(web.requests) <= 2


async def test_redirect_without_a_location(web: Web, validate: HTTP01Validator) -> None:
    web.pages[PATH] = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(ValidationIncorrectResponse, match="without a Location"):
        await validate.validate(attempt())


class TestSSRF:
    """Where a stranger's redirect, or a stranger's DNS, cannot lead (T-2, T-3, T-4, F22)."""

    @pytest.mark.parametrize(
        "location",
        ["http://127.0.0.1:{port}/secret", "http://127.0.0.1/secret", "http://169.254.169.254/latest/meta-data/",
         "http://[::1]:{port}/secret", "http://[::ffff:127.0.0.1]:{port}/secret", "http://[64:ff9b::7f00:1]/secret",
         "http://2130706433/secret", "http://0x7f000001/secret", "http://127.1/secret", "http://0177.0.0.1/secret",
         "http://b.example:22/secret", "http://b.example:1/secret", "ftp://b.example/secret", "file:///etc/passwd",
         "gopher://b.example:{port}/secret", "http://x@b.example:{port}/secret", "//127.0.0.1:{port}/secret"],
    )  # fmt: skip
    async def test_redirect_is_refused_and_nothing_called(
        self, web: Web, validate: HTTP01Validator, location: str
    ) -> None:
        """The loopback network is allowed here, and still no redirect to an address is followed. Rows: T-2."""
        web.pages[PATH] = redirect(location.format(port=web.port))
        web.pages["/secret"] = ok()
        with pytest.raises(ValidationFailed):
            await validate.validate(attempt())
        assert len(web.requests) == 1

    @pytest.mark.parametrize(
        "address",
        ["10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1",
         "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1", "fc00::1", "fd00:ec2::254", "::"],
    )  # fmt: skip
    async def test_name_that_leads_inside_is_refused(
        self, names: NameServer, web: Web, validate: HTTP01Validator, address: str
    ) -> None:
        """As the first target and behind a redirect; the problem does not say what the address was. Rows: T-3, T-28."""
        kind = "AAAA" if ":" in address else "A"
        names.records["in.example", kind] = [address]
        web.pages[PATH] = redirect(f"http://in.example:{web.port}/")
        for first in ("in.example", "a.example"):
            with pytest.raises(ValidationConnection, match="not one that this server calls") as caught:
                await validate.validate(attempt(first))
            assert f"{address}" not in caught.value.detail.replace("in.example", "")
            assert address in str(caught.value.context["reason"])
        assert len(web.requests) == 1

    @pytest.mark.parametrize(
        "address",
        ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1%eth0"],
    )
    async def test_address_identifiers_are_guarded_too(self, resolver: Resolver, web: Web, address: str) -> None:
        """Also behind a redirect, where addresses are allowed for this type of identifier. Rows: T-3."""
        check = validator(resolver, web.port)
        with pytest.raises(ValidationConnection):
            await check.validate(attempt(address, IdentifierType.IP))
        host = f"[{address}]" if ":" in address else address
        web.pages[PATH] = redirect(f"http://{host}:{web.port}/")
        with pytest.raises(ValidationFailed):
            await check.validate(attempt("127.0.0.1", IdentifierType.IP))
        assert len(web.requests) == 1

    async def test_rebinding_between_check_and_call_changes_nothing(self, web: Web) -> None:
        """A name is asked for once per hop; a second, different answer is judged anew. Rows: T-4."""
        web.pages[PATH] = redirect(f"http://a.example:{web.port}/again")
        web.pages["/again"] = ok()

        class Rebinding:
            asked = 0

            async def addresses(self, name: str) -> tuple[str, ...]:
                self.asked += 1
                return ("127.0.0.1",) if self.asked == 1 else ("169.254.169.254",)

        resolver = Rebinding()
        check = HTTP01Validator(Dialer(resolver, AddressGuard(LOOPBACK)), port=web.port)
        with pytest.raises(ValidationConnection, match="not one that this server calls"):
            await check.validate(attempt())
        assert (resolver.asked, len(web.requests)) == (2, 1)

    async def test_body_from_a_place_that_is_not_public_is_not_repeated(
        self, web: Web, validate: HTTP01Validator
    ) -> None:
        web.pages[PATH] = ok("internal-secret")
        with pytest.raises(ValidationIncorrectResponse) as caught:
            await validate.validate(attempt())
        assert "internal-secret" not in str(caught.value)
        assert "127.0.0.1" not in caught.value.detail

    async def test_body_behind_a_redirect_is_not_repeated(self, web: Web, public: HTTP01Validator) -> None:
        """Rows: T-2."""
        web.pages[PATH] = redirect(f"http://b.example:{web.port}/page")
        web.pages["/page"] = ok("somebody-elses-secret")
        with pytest.raises(ValidationIncorrectResponse) as caught:
            await public.validate(attempt())
        assert "somebody-elses-secret" not in str(caught.value)
        web.pages["/page"] = b"somebody-elses-banner\r\n\r\n"
        with pytest.raises(ValidationConnection) as connection:
            await public.validate(attempt())
        assert "somebody-elses" not in str(connection.value)

    async def test_body_from_a_public_place_is_shown_cut_and_plain(self, web: Web, public: HTTP01Validator) -> None:
        web.pages[PATH] = ok("<script>\x1b[31mwrong" + "y" * 70)
        with pytest.raises(ValidationIncorrectResponse, match="wrong") as caught:
            await public.validate(attempt())
        assert f"127.0.0.1:{web.port}" in caught.value.detail
        assert not set("<>&\x1b") & set(caught.value.detail)
        assert len(caught.value.detail) < 400


@pytest.fixture
def public(
    names: NameServer,
    resolver: Resolver,
    web: Web,
    validate: HTTP01Validator,
    monkeypatch: pytest.MonkeyPatch,
) -> HTTP01Validator:
    """A validator for which loopback counts as a public address."""
    monkeypatch.setattr(AddressGuard, "check", lambda self, address: True)
    return validate


class TestFaults:
    """What a target may do wrong, and how long that takes (F22)."""

    async def serve(
        self, names: NameServer, resolver: Resolver, behave: Callable[[asyncio.StreamWriter], object]
    ) -> ValidationFailed:
        names.records["a.example", "A"] = ["127.0.0.1"]

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            result = behave(writer)
            if asyncio.iscoroutine(result):
                await result

        async with tcp_server(handler) as port:
            before = time.monotonic()
            with pytest.raises(ValidationFailed) as caught:
                await validator(resolver, port, deadline_seconds=0.4).validate(attempt())
            assert time.monotonic() - before < 1.5
            return caught.value

    async def test_endless_body(self, names: NameServer, resolver: Resolver) -> None:
        """Rows: T-2."""

        async def flood(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

        problem = await self.serve(names, resolver, flood)
        assert isinstance(problem, ValidationIncorrectResponse)

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 87\r\n\r\n"])
    async def test_one_byte_now_and_then(self, names: NameServer, resolver: Resolver, start: bytes) -> None:
        async def drip(writer: asyncio.StreamWriter) -> None:
            writer.write(start)
            while True:
                writer.write(b"H")
                await asyncio.sleep(0.05)

        problem = await self.serve(names, resolver, drip)
        assert isinstance(problem, ValidationConnection)
        assert "within 0.4 seconds" in problem.detail

    async def test_silence(self, names: NameServer, resolver: Resolver) -> None:
        problem = await self.serve(names, resolver, lambda writer: asyncio.sleep(60))
        assert isinstance(problem, ValidationConnection)

    async def test_half_close_and_reset(self, names: NameServer, resolver: Resolver) -> None:
        for behave in (
            lambda writer: writer.write_eof(),
            lambda writer: writer.transport.abort(),
            lambda writer: writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 87\r\n\r\nhalf"),
        ):
            assert isinstance(await self.serve(names, resolver, behave), ValidationConnection)

    async def test_huge_header(self, names: NameServer, resolver: Resolver) -> None:
        problem = await self.serve(
            names, resolver, lambda writer: writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000)
        )
        assert isinstance(problem, ValidationConnection)

    async def test_nobody_there(self, names: NameServer, resolver: Resolver) -> None:
        names.records["a.example", "A"] = ["127.0.0.1"]
        with pytest.raises(ValidationConnection, match="could not connect"):
            await validator(resolver, free_port()).validate(attempt())

    async def test_dns_that_fails(self, names: NameServer, resolver: Resolver) -> None:
        names.codes["a.example"] = dns.rcode.SERVFAIL
        with pytest.raises(ValidationDNS, match="SERVFAIL"):
            await validator(resolver, 80).validate(attempt())

    async def test_dns_that_is_silent_ends_with_the_deadline(self, names: NameServer) -> None:
        names.answering = lambda query, tcp: None
        resolver = Resolver(("127.0.0.1", names.port))
        with pytest.raises(ValidationConnection, match="within"):
            await validator(resolver, 80, deadline_seconds=0.2).validate(attempt())


async def test_address_identifier_is_asked_by_its_address(resolver: Resolver, web: Web) -> None:
    """RFC 8738 section 4: the Host field is the address. Rows: A7."""
    web.pages[PATH] = ok()
    await validator(resolver, web.port).validate(attempt("127.0.0.1", IdentifierType.IP))
    assert b"\r\nHost: 127.0.0.1\r\n" in web.requests[0]


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback address here")
async def test_ipv6_address_stands_in_brackets(resolver: Resolver) -> None:
    """RFC 8738 section 4, RFC 3986 section 3.2.2."""
    web = Web(pages={PATH: ok()})
    async with tcp_server(web, "::1") as port:
        guard = AddressGuard((ipaddress.ip_network("::1/128"),))
        check = HTTP01Validator(Dialer(resolver, guard), port=port)
        evidence = await check.validate(attempt("::1", IdentifierType.IP))
    assert b"\r\nHost: [::1]\r\n" in web.requests[0]
    assert evidence.target == f"[::1]:{port}"
