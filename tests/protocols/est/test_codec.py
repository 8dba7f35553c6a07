"""Bodies and header fields of EST: every form that clients send, and nothing but a value or a Problem."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.credential import PasswordClaim
from policy.problems import Malformed, Problem, Unauthenticated
from protocols.est import codec
from protocols.est.settings import MountOptions
from tests.protocols.est.small import VECTORS, SmallRA, basic, certificates_in, get, make_csr, post, text_of

CSR = (VECTORS / "strongswan-5.9.8-san.der").read_bytes()
FLAT = b64encode(CSR)
PEM = (
    b"-----BEGIN CERTIFICATE REQUEST-----\n"
    + (VECTORS / "libest-body.b64").read_bytes()
    + b"-----END CERTIFICATE REQUEST-----\n"
)


@pytest.mark.parametrize(
    "body",
    [
        FLAT,
        FLAT + b"\n",
        b"\r\n " + FLAT + b"\r\n",
        (VECTORS / "libest-body.b64").read_bytes(),
        (VECTORS / "libest-body.b64").read_bytes().replace(b"\n", b"\r\n"),
        FLAT[:100] + b" \t" + FLAT[100:],
        CSR,
        PEM,
        PEM.replace(b"\n", b"\r\n"),
        b"\n" + PEM.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
    ],
    ids=["flat", "curl", "space", "libest", "crlf", "tabs", "der", "pem", "pem-crlf", "pem-new"],
)
def test_every_form_of_a_body_is_the_same_request(body: bytes) -> None:
    """E2: RFC 8951 section 3: base64 with any white space; beyond it DER and PEM, which some devices send."""
    assert codec.read_body(body) == CSR
    assert codec.read_request(post("simpleenroll", body)).der == CSR


@pytest.mark.parametrize("value", ["base64", "binary", "8bit", "nonsense"])
def test_content_transfer_encoding_of_a_request_means_nothing(value: str) -> None:
    """E2: RFC 8951 section 3: ignored whatever it says."""
    request = post("simpleenroll", FLAT, {"content-transfer-encoding": value})
    assert codec.read_request(request).der == CSR


@pytest.mark.parametrize(
    "body", [b"", b" \r\n", b"!" + FLAT, FLAT[:-1], FLAT + b"=", FLAT.replace(b"M", b"-"), b"\xff\xfe"]
)
def test_what_is_no_base64_is_malformed(body: bytes) -> None:
    """Nothing is guessed: one wrong character spoils a body."""
    with pytest.raises(Malformed):
        codec.read_body(body)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_a_problem(body: bytes) -> None:
    """No other exception, whatever comes."""
    with suppress(Problem):
        codec.read_request(post("simpleenroll", body))


@given(st.binary(min_size=1, max_size=300), st.integers(0, 400), st.sampled_from([b" ", b"\n", b"\r\n", b"\t"]))
def test_white_space_changes_nothing(data: bytes, place: int, space: bytes) -> None:
    """E2: Wherever it stands (RFC 8951 section 3), in the base64 of any SEQUENCE."""
    text = b64encode(b"\x30" + data)
    assert codec.read_body(text[:place] + space + text[place:]) == b"\x30" + data


@given(st.text())
def test_any_authorization_is_a_claim_or_a_problem(field: str) -> None:
    """E12: No other exception, whatever comes; and never nothing."""
    try:
        claim = codec.read_password(post("simpleenroll", b"", {"authorization": field}))
        assert isinstance(claim, PasswordClaim)
    except Unauthenticated:
        pass


@given(
    st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_user_name_and_password_come_back(user: str, password: str) -> None:
    """RFC 7617 section 2: all before the first colon is the user name."""
    claim = codec.read_password(post("simpleenroll", b"", basic(user, password)))
    assert claim is not None
    assert (claim.username, claim.password.reveal()) == (user, password.encode())
    assert repr(claim) == f"PasswordClaim(username={user!r}, password=Secret(***))"


@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=3), st.sampled_from([0, 64, 76]))
def test_an_answer_is_read_by_our_own_reader(certificates: list[bytes], wrap: int) -> None:
    """E3: What is written can be read again, in lines or without."""
    options = MountOptions(base64_wrap=wrap)
    answer = codec.write_cacerts(tuple(certificates), get("cacerts"), options, 60)
    der = codec.read_body(text_of(answer).encode())
    assert all(one in der for one in certificates)


def test_the_certificate_of_an_answer_is_alone() -> None:
    """E5: RFC 7030 section 4.2.3, read by cryptography."""
    ra = SmallRA()
    (found,) = certificates_in(codec.write_certificate(ra.root, MountOptions()))
    assert found.serial_number == 1


def test_a_waiting_order_is_told_in_words_and_seconds() -> None:
    """E8: RFC 7030 section 4.2.3: Retry-After; the text is for people."""
    answer = codec.write_pending(60)
    assert answer.status == 202
    assert answer.headers == (("Retry-After", "60"),)
    assert "60 seconds" in text_of(answer)


@pytest.mark.parametrize(
    ("field", "status"), [("*", 304), ('"x", {tag}', 304), ("W/{tag}", 304), ('"x"', 200), ("{tag}x", 200)]
)
def test_entity_tags_are_compared_weakly(field: str, status: int) -> None:
    """RFC 9110 section 13.1.2."""
    tag = dict(codec.write_cacerts((b"c",), get("cacerts"), MountOptions(), 60).headers)["ETag"]
    request = get("cacerts", {"if-none-match": field.format(tag=tag)})
    assert codec.write_cacerts((b"c",), request, MountOptions(), 60).status == status


def test_requests_of_cryptography_are_read() -> None:
    """A third maker of requests beside strongSwan and openssl."""
    csr = make_csr("device-9.certgate.test")
    read = codec.read_request(post("simpleenroll", b64encode(csr)))
    assert [str(name) for name in read.names] == ["dns:device-9.certgate.test"]
