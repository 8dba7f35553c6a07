"""Whatever comes over the wire, the server answers in the 400s or hangs up.

No 5xx, no traceback, no certificate. The bodies and connections here are wrong on purpose: cut off, endless,
deep, huge, or no HTTP at all.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.clients.gate import Gate, certificates_of

DEEP_JSON = b'{"protected":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
DEEP_DER = b"\x30\x80" * 15_000
LONG_DER = b"\x30\x84\x7f\xff\xff\xff" + b"\x00" * 1000
MANY_KEYS = json.dumps({f"k{n}": n for n in range(4000)}).encode()
BODIES = {
    "empty": b"",
    "zero bytes": bytes(1000),
    "deep json": DEEP_JSON,
    "many keys": MANY_KEYS,
    "deep der": DEEP_DER,
    "long der": LONG_DER,
    "base64 of deep der": base64.b64encode(DEEP_DER),
    "not utf-8": b'{"protected":"\xff\xfe","payload":"","signature":""}',
    "lone surrogate": rb'{"protected":"\ud800","payload":"","signature":""}',
    "huge number": b'{"protected":' + b"9" * 5000 + b"}",
    "null members": b'{"protected":null,"payload":null,"signature":null}',
    "jws of nothing": b'{"protected":"e30","payload":"e30","signature":"AAAA"}',
    "algorithm none": b'{"protected":"eyJhbGciOiJub25lIn0","payload":"","signature":""}',
    "too large": b"A" * 300_000,
}
TYPES = (
    "application/jose+json",
    "application/pkcs10",
    "application/pkcs7-mime",
    "application/ocsp-request",
    "application/x-nonsense",
)


@pytest.fixture(autouse=True)
def unharmed(gate: Gate) -> Iterator[None]:
    """After each test the server still answers, nothing was issued, and its log has no traceback."""
    before = len(gate.export())
    yield
    with urllib.request.urlopen(gate.told["acme"]["directory"], context=gate.tls(), timeout=10) as answer:
        assert answer.status == 200
    assert not gate.tracebacks(), gate.tracebacks()[0]
    assert len(gate.export()) == before


def post(gate: Gate, url: str, body: bytes, kind: str, user: str = "") -> int:
    """The status of the answer to a body."""
    call = urllib.request.Request(url, data=body, headers={"Content-Type": kind})
    if user:
        call.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    try:
        with urllib.request.urlopen(call, context=gate.tls(), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except (urllib.error.URLError, ConnectionError):
        return 0  # it hung up while the body was still on its way


def resources(gate: Gate) -> list[tuple[str, str]]:
    """Everything that takes a body, with the user that it asks for."""
    told = gate.told
    with urllib.request.urlopen(told["acme"]["directory"], context=gate.tls(), timeout=10) as answer:
        directory = json.load(answer)
    found = [(url, "") for name, url in directory.items() if name.startswith(("new", "revoke", "key"))]
    est, user = told["est"]["url"].rstrip("/"), f"{told['est']['username']}:{told['est']['password']}"
    found += [(f"{est}/simpleenroll", user), (f"{est}/simpleenroll", ""), (f"{est}/simplereenroll", user)]
    found += [(f"{est}/{operation}", shown) for operation in ("serverkeygen", "fullcmc") for shown in (user, "")]
    return found


@pytest.mark.parametrize("name", BODIES)
def test_no_body_breaks_a_resource(gate: Gate, name: str) -> None:
    """Every resource refuses every wrong body in its own words, quickly. Rows: A1, T-25."""
    for url, user in resources(gate):
        for kind in TYPES:
            begun = time.monotonic()
            status = post(gate, url, BODIES[name], kind, user)
            assert status == 0 or 400 <= status < 500, f"{status} from {url} for {kind}"
            assert time.monotonic() - begun < 5, f"{url} took its time with {name}"


@pytest.fixture(scope="module")
def responder(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a certificate of this gate says that its status is answered."""
    (certificate,) = certificates_of(gate.enroll("bad-input.certgate.test", tmp_path_factory.mktemp("responder")))
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    (url,) = (one.access_location.value for one in access if one.access_method == AuthorityInformationAccessOID.OCSP)
    return str(url)


@pytest.mark.parametrize("name", BODIES)
def test_no_body_breaks_ocsp(gate: Gate, responder: str, name: str) -> None:
    """The responder says its errors with status 200 (RFC 6960 section 4.2.1): only 5xx is wrong."""
    status = post(gate, responder, BODIES[name], "application/ocsp-request")
    assert status in (0, 200, 400, 413), status


def connect(url: str, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection of our own to a listener."""
    where = urlsplit(url)
    raw = socket.create_connection((where.hostname or "", where.port or 0), timeout=40)
    return tls.wrap_socket(raw, server_hostname=where.hostname) if tls is not None else raw


def answer(connection: socket.socket, limit: int = 65536) -> bytes:
    """What the server says until it hangs up."""
    said = b""
    try:
        while len(said) < limit and (part := connection.recv(65536)):
            said += part
    except (ConnectionError, ssl.SSLError):
        pass
    return said


HEADS = {
    "no http": b"\x16\x03\x01\x00\xa5\x01\x00\x00 hello\r\n\r\n",
    "bad request line": b"GET\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
    "chunk of nonsense": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\n a: b\r\nConnection: close\r\n\r\n",
    "null in header": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\nConnection: close\r\n\r\n",
    "huge header": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    "dots in the path": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "encoded body": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    ),
}


@pytest.mark.parametrize("listener", ["base_url", "mtls_url", "http_url"])
@pytest.mark.parametrize("name", HEADS)
def test_wrong_http_is_refused(gate: Gate, name: str, listener: str) -> None:
    """A head that is no HTTP, or that two parsers would read differently: refused, and closed."""
    url = gate.told[listener]
    with closing(connect(url, gate.tls() if url.startswith("https") else None)) as connection:
        try:
            connection.sendall(HEADS[name])
        except (ConnectionError, ssl.SSLError):
            return  # it hung up in the middle of the head, which is an answer too
        said = answer(connection)
    assert not said or said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), said[:200]


def test_half_sent_requests_are_cut_off_and_hold_nobody_up(gate: Gate) -> None:
    """Fifty clients that stop half-way are cut off within 30 s; others are served meanwhile."""
    url = gate.told["base_url"]
    halves = (
        b"POST /acme/default/new-order HTTP/1.1\r\nHost: x\r\nContent-Ty",
        b"POST /acme/default/new-order HTTP/1.1\r\nHost: x\r\nContent-Type: application/jose+json\r\n"
        b"Content-Length: 1000\r\n\r\nhalf",
    )

    def half(number: int) -> float:
        begun = time.monotonic()
        with closing(connect(url, gate.tls())) as connection:
            connection.sendall(halves[number % 2])
            answer(connection)
        return time.monotonic() - begun

    with ThreadPoolExecutor(50) as clients:
        waiting = [clients.submit(half, number) for number in range(50)]
        for _ in range(10):
            begun = time.monotonic()
            with urllib.request.urlopen(gate.told["acme"]["directory"], context=gate.tls(), timeout=10) as directory:
                assert directory.status == 200
            assert time.monotonic() - begun < 3
        assert max(client.result() for client in waiting) < 30


def test_plain_http_to_a_tls_port_and_back(gate: Gate) -> None:
    """The wrong protocol on the right port."""
    where = gate.told["base_url"].replace("https://", "http://")
    with closing(connect(where, None)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not answer(connection).startswith(b"HTTP/1.1 2")
    where = gate.told["http_url"].replace("http://", "https://")
    with pytest.raises((ssl.SSLError, ConnectionError, TimeoutError)):
        connect(where, gate.tls()).close()
