"""Renewal information (RFC 9773)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from policy.problems import Malformed, Problem
from protocols import renewalinfo
from tests.protocols.acme.client import Answer, Client, b64, make_csr
from tests.protocols.acme.world import World


def test_the_example_of_the_standard() -> None:
    """RFC 9773 section 4.1: its certificate identifier; 0x87654321 needs a zero octet in DER. Rows: R30."""
    certid = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    issuer, serial = renewalinfo.read_certid(certid)
    assert issuer == "69885b6b87464041e1b37b847ba0ae2cde01c8d4"
    assert int(serial, 16) == 0x87654321
    assert len(serial) == 40
    assert renewalinfo.write_certid(issuer, serial) == certid


@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**159 - 1))
def test_identifiers_are_read_as_they_are_written(issuer: bytes, serial: int) -> None:
    """decode(encode(x)) = x."""
    written = renewalinfo.write_certid(issuer.hex(), f"{serial:040x}")
    assert renewalinfo.read_certid(written) == (issuer.hex(), f"{serial:040x}")


@given(st.text("AQab-_.=/ ", max_size=30))
def test_any_text_is_an_identifier_or_malformed(text: str) -> None:
    """And what is read is the one spelling of it."""
    try:
        found = renewalinfo.read_certid(text)
    except Problem:
        return
    assert renewalinfo.write_certid(*found) == text


@pytest.mark.parametrize(
    "certid",
    [
        "",
        ".",
        "AAAA",
        "AAAA.",
        ".AAAA",
        "AAAA.gA",
        "AAAA.AAE",
        "AA==.AQ",
        "AQ.AQ.AQ",
        "é.AQ",
        "AQ." + "AQ" * 40,
        "AQ" * 99 + ".AQ",
    ],
)
def test_other_texts_are_malformed(certid: str) -> None:
    """RFC 9773 section 4.1: negative serial numbers and superfluous zeros too. Rows: R30."""
    with pytest.raises(Malformed):
        renewalinfo.read_certid(certid)


def certid_of(certificate: x509.Certificate) -> str:
    """As a client makes it, from the certificate alone."""
    key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert key is not None
    number = certificate.serial_number
    return f"{b64(key)}.{b64(number.to_bytes(number.bit_length() // 8 + 1, 'big'))}"


async def issued(client: Client, **more: str) -> tuple[Answer, str]:
    order = await client.issue(**more)
    return order, certid_of(await client.certificate(order))


async def test_the_window_of_a_certificate(member: Client) -> None:
    """RFC 9773 section 4.2: by GET, for anybody; it ends after it began, before the certificate does.

    Rows: R30, A11, T-33.
    """
    order, certid = await issued(member)
    answer = await Client(member.world).get(member.url(f"renewal-info/{certid}"))
    assert answer.status == 200
    assert answer.response.content_type == "application/json"
    window = answer.json["suggestedWindow"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    assert member.world.clock() < start < end < member.world.clock() + timedelta(days=90)
    assert end - start > timedelta(days=5), "wide enough that clients of one moment spread"
    assert int(answer.header("Retry-After")) > 0
    assert answer.header("Cache-Control").startswith("public, max-age=")
    assert answer.links("index") == [member.url("directory")]
    assert order.json["status"] == "valid"


async def test_a_revoked_certificate_should_be_replaced_now(member: Client) -> None:
    """RFC 9773 section 4.2: a window in the past. Rows: A11."""
    order, certid = await issued(member)
    leaf = await member.certificate(order)
    await member.post(member.url("revoke-cert"), {"certificate": b64(leaf.public_bytes(Encoding.DER))})
    window = (await member.get(member.url(f"renewal-info/{certid}"))).json["suggestedWindow"]
    assert datetime.fromisoformat(window["end"]) < member.world.clock()


async def test_windows_of_certificates_that_are_not_ours(member: Client) -> None:
    """404 for unknown ones, also under another issuer; 400 for what is no identifier."""
    _, certid = await issued(member)
    for unknown in ("AQ." + certid.partition(".")[2], certid.partition(".")[0] + ".AQ"):
        answer = await member.get(member.url(f"renewal-info/{unknown}"))
        assert answer.problem() == (404, "malformed")
    assert (await member.get(member.url("renewal-info/nothing"))).problem() == (400, "malformed")


async def test_an_order_replaces_a_certificate(member: Client) -> None:
    """RFC 9773 section 5: echoed in every form of the order, and only one successor. Rows: R30, A6."""
    _, certid = await issued(member)
    placed = await member.ready(replaces=certid)
    assert placed.json["replaces"] == certid
    assert (await member.post(placed.header("Location"))).json["replaces"] == certid
    csr = b64(make_csr(("a.trusted.test",)))
    assert (await member.post(placed.json["finalize"], {"csr": csr})).json["replaces"] == certid
    again = await member.order("a.trusted.test", replaces=certid)
    assert again.problem() == (409, "alreadyReplaced")


async def test_the_echo_survives_a_restart(world: World, member: Client) -> None:
    """What is remembered can be made again from the certificate."""
    _, certid = await issued(member)
    placed = await member.ready(replaces=certid)
    world.mount(*world.mounts)
    assert (await member.post(placed.header("Location"))).json["replaces"] == certid


async def test_only_own_certificates_are_replaced(world: World, member: Client) -> None:
    """RFC 9773 section 5: same account, a shared name, the right issuer. Rows: R30."""
    _, certid = await issued(member)
    other = Client(world)
    await other.register()
    foreign = await other.order("a.trusted.test", replaces=certid)
    assert foreign.problem() == (400, "malformed")
    elsewhere = await member.order("a.trusted.test", replaces="AQ." + certid.partition(".")[2])
    assert elsewhere.problem() == (400, "malformed")
    assert (await member.order("b.trusted.test", replaces=certid)).status == 403
