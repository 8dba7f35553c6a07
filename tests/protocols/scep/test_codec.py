"""HTTP of SCEP: the query as clients write it, certificates in the order that clients expect."""

from __future__ import annotations

from base64 import b64encode, encodebytes, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.problems import Malformed
from protocols.scep import codec
from tests.protocols.scep.gate import PATH, http

MESSAGE = bytes(range(256)) * 3 + b"\xfb\xff\xfe"  # base64 with "+" and "/"
WAYS = {
    "percent-encoded": lambda data: quote(b64encode(data), safe=""),
    "macOS": lambda data: b64encode(data).decode().replace("=", "%3D"),
    "raw": lambda data: b64encode(data).decode(),
    "plus as space": lambda data: b64encode(data).decode().replace("+", "%20").replace("=", "%3D"),
    "base64url": lambda data: urlsafe_b64encode(data).decode().rstrip("="),
    "in lines": lambda data: quote(encodebytes(data).decode(), safe=""),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("message", [MESSAGE, MESSAGE[:-1], MESSAGE[:-2], b"\x30"])
def test_a_message_in_a_query(way: str, message: bytes) -> None:
    """S2: however a client writes it."""
    asked = codec.read_query(http("GET", PATH, "operation=PKIOperation&message=" + WAYS[way](message)))
    assert (asked.operation, asked.message) == (codec.PKI_OPERATION, message)


@given(st.binary(max_size=300))
def test_every_message_comes_through(message: bytes) -> None:
    """S2: any octets, percent-encoded."""
    query = f"message={quote(b64encode(message), safe='')}&operation=PKIOperation"
    assert codec.read_query(http("GET", PATH, query)).message == message


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=100))
def test_any_query_is_read_or_malformed(query: str) -> None:
    """No other exception."""
    try:
        codec.read_query(http("GET", PATH, query))
    except Malformed:
        return


def test_the_first_of_two_parameters_counts() -> None:
    """Nobody reads the query in two ways."""
    assert codec.read_query(http("GET", PATH, "operation=GetCACaps&operation=GetCACert")).operation == "getcacaps"


@pytest.mark.parametrize("message", ["!", "%zz", "QUJD*", "A"])
def test_what_is_no_base64_is_malformed(message: str) -> None:
    with pytest.raises(Malformed):
        codec.read_query(http("GET", PATH, f"operation=PKIOperation&message={message}"))


def test_a_post_brings_its_body() -> None:
    """S3: whatever its Content-Type is; a message in the query beside it does not count."""
    asked = codec.read_query(http("POST", PATH, "operation=PKIOperation&message=QUJD", b"body"))
    assert asked.message == b"body"
