"""The EST door from outside: requests as clients send them, answers read by decoders that are not ours."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.routing import Door as RoutedDoor
from gateway.routing import RouteTable
from policy.order import OrderKind, OrderStatus
from policy.problems import Internal, RateLimited, RejectedIdentifier, Unavailable
from protocols import est
from protocols.endpoint import ProtocolDescription
from protocols.est.settings import ESTSettings
from protocols.http import HTTPRequest, Route
from tests.protocols.est.small import (
    ROOT,
    VECTORS,
    Door,
    MakeDoor,
    SmallRA,
    basic,
    certificates_in,
    get,
    make_csr,
    name_of,
    post,
    text_of,
)
from tests.replacing import replace

CLIENT = basic("device", "secret")


def enrol(csr: bytes | None = None, **further: object) -> HTTPRequest:
    return post("simpleenroll", b64encode(csr or make_csr()), CLIENT, **further)  # type: ignore[arg-type]


# --- the description


def test_protocol_is_described() -> None:
    """The folder exports what the server collects from every door."""
    assert isinstance(est.PROTOCOL, ProtocolDescription)
    assert est.PROTOCOL.name == "est"
    assert {one.name for one in est.PROTOCOL.credential_form} >= {
        "method",
        "identifier",
        "mounts",
        "products",
    }


# --- addresses (RFC 7030 section 3.2.2)


def test_every_mount_is_served_under_its_label_and_default_without_one(make_door: MakeDoor) -> None:
    """E1: RFC 7030 section 3.2.2: the label is optional; here it may be left out for "default"."""
    door = make_door("default", "factory")
    operations = {"cacerts", "csrattrs", "simpleenroll", "simplereenroll", "serverkeygen", "fullcmc"}
    operations |= {"crls", "renewal-info/{certid}"}
    roots = (ROOT, f"{ROOT}/default", f"{ROOT}/factory", f"/default{ROOT}", f"/factory{ROOT}")
    assert set(door.routes) == {f"{root}/{operation}" for root in roots for operation in operations}


def test_without_a_default_mount_nothing_is_served_without_a_label(make_door: MakeDoor) -> None:
    """No mount is chosen for a client that names none."""
    paths = make_door("factory").routes
    assert all(path.startswith((f"{ROOT}/factory/", f"/factory{ROOT}/")) for path in paths)


async def test_a_label_leads_to_its_own_mount(make_door: MakeDoor) -> None:
    """The mount of the path is the one that authenticates and issues."""
    door = make_door("default", "factory")
    assert (await door(enrol(label="factory"))).status == 200
    assert [order.mount for order in door.ra.orders.values()] == ["est/factory"]


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/est/cacerts/",
        "/.well-known/est//cacerts",
        "//.well-known/est/cacerts",
        "/.well-known/est/default//cacerts",
        "/.well-known/est/default%2fcacerts",
        "/.well-known/est/default%2Fcacerts",
        "/.well-known/est/%64efault/cacerts",
        "/.well-known/est/%63acerts",
        "/.well-known/est/default/../cacerts",
        "/.well-known/est/factory/../default/cacerts",
        "/.well-known/est/factory/./cacerts",
        "/.well-known/est/DEFAULT/cacerts",
        "/.well-known/est/Cacerts",
        "/.well-known/est/default/default/cacerts",
        "/.well-known/est/cacerts/cacerts",
        "/.well-known/est/unknown/cacerts",
        "/.well-known/est/default",
        "/.well-known/est/",
        "/.well-known/est",
        "/.well-known/EST/cacerts",
        "/.well-known/est/cacerts;v=1",
        "/.well-known/est/renewal-info",
        "/.well-known/est/default/renewal-info/a/b",
    ],
)
def test_only_the_exact_path_leads_anywhere(make_door: MakeDoor, path: str) -> None:
    """T20, E1: paths are compared as they were sent; nothing is decoded, folded or resolved first."""
    door = make_door("default", "factory")
    table = RouteTable([RoutedDoor("est", door.endpoint.say, tuple(door.routes.values()))])
    assert table.find("/.well-known/est/default/cacerts").resource is not None
    assert table.find(path).resource is None


@pytest.mark.parametrize("label", ["cacerts", "simpleenroll", "crls", "renewal-info"])
def test_the_name_of_an_operation_is_no_label(make_door: MakeDoor, label: str) -> None:
    """E1, T20: RFC 7030 section 3.2.2: otherwise one path had two meanings."""
    with pytest.raises(ValueError, match="name of an EST operation"):
        make_door(label)


def test_mounts_of_other_doors_are_left_alone(door: Door) -> None:
    """The server gives every mount to every door."""
    (mount,) = door.ra.mounts.values()
    assert door.endpoint.routes((replace(mount, protocol="acme"),)) == ()


async def test_a_mount_that_is_gone_is_not_found(door: Door) -> None:
    """A mount may go after its routes were made."""
    door.ra.mounts.clear()
    assert (await door(get("cacerts"))).status == 404


async def test_operations_that_are_not_offered_say_so(make_door: MakeDoor) -> None:
    """RFC 7030 sections 4.3.1 and 4.4.1: both are optional."""
    door = make_door(serverkeygen="off", fullcmc=False)
    for operation in ("serverkeygen", "fullcmc"):
        answer = await door(post(operation, b""))
        assert answer.status == 501
        assert "not offered" in text_of(answer)


async def test_cacerts_gives_the_chain_to_anybody(door: Door) -> None:
    """RFC 7030 section 4.1.3: certs-only in base64, without authentication."""
    answer = await door(get("cacerts"))
    assert answer.status == 200
    assert answer.content_type == "application/pkcs7-mime"
    assert ("Content-Transfer-Encoding", "base64") in answer.headers
    assert [one.public_bytes(Encoding.DER) for one in certificates_in(answer)] == [door.ra.root]


async def test_cacerts_is_not_sent_again_to_who_has_it(door: Door) -> None:
    """RFC 9110 section 13.1.2: 304 for the entity tag of the answer, 200 after the chain changed."""
    first = dict((await door(get("cacerts"))).headers)
    asked = {"if-none-match": f'"other", W/{first["ETag"]}'}
    answer = await door(get("cacerts", asked))
    assert (answer.status, answer.body) == (304, b"")
    assert dict(answer.headers)["ETag"] == first["ETag"]
    door.ra.root = door.ra.sign(name_of("Root"), door.ra.key.public_key(), 99)
    assert (await door(get("cacerts", asked))).status == 200


async def test_cacerts_says_how_long_it_may_be_kept(make_door: MakeDoor) -> None:
    """The setting goes into Cache-Control; 0 makes caches ask."""
    for seconds, said in ((60, "max-age=60"), (0, "no-cache")):
        door = make_door(settings=ESTSettings(cacerts_cache_seconds=seconds))
        assert dict((await door(get("cacerts"))).headers)["Cache-Control"] == said


# --- simpleenroll (RFC 7030 section 4.2)


async def test_simpleenroll_issues_for_the_key_of_the_request(door: Door) -> None:
    """RFC 7030 section 4.2.3: 200 with only the certificate that was issued."""
    key = ec.generate_private_key(ec.SECP256R1())
    answer = await door(enrol(make_csr(key=key)))
    assert answer.status == 200
    assert answer.content_type == "application/pkcs7-mime; smime-type=certs-only"
    (certificate,) = certificates_in(answer)
    assert certificate.public_key() == key.public_key()
    (order,) = door.ra.orders.values()
    assert order.kind is OrderKind.ENROLL


async def test_strongswan_with_unsorted_attributes_is_served(make_door: MakeDoor) -> None:
    """strongSwan 5.9.8 sends its attributes unsorted; with a secret in challengePassword both are read."""
    door = make_door(challenge_password="secret")
    door.ra.passwords = {"": "not-the-binding"}
    body = b64encode((VECTORS / "strongswan-5.9.8-password-and-san.der").read_bytes())
    answer = await door(post("simpleenroll", body))
    assert answer.status == 200, answer.body
    assert len(certificates_in(answer)) == 1


async def test_the_log_learns_credential_and_order(door: Door) -> None:
    """Fields of the request's one log line; nothing secret in them."""
    request = enrol()
    await door(request)
    assert request.event == {"credential": "c-device", "order": "o-02"}


async def test_the_same_request_again_gives_the_same_certificate(door: Door) -> None:
    """RFC 7030 section 4.2.3: known by key and names, not by the bytes: every signature is another one."""
    key = ec.generate_private_key(ec.SECP256R1())
    first = await door(enrol(make_csr(key=key)))
    again = await door(enrol(make_csr(key=key)))
    assert first.body == again.body
    assert len(door.ra.orders) == 1


async def test_other_key_names_label_or_client_is_another_order(make_door: MakeDoor) -> None:
    """E8, T23: Nobody gets another request's certificate, nor another client's by sending that client's request."""
    door = make_door("default", "factory")
    key = ec.generate_private_key(ec.SECP256R1())
    csr = make_csr(key=key)
    await door(enrol(csr))
    await door(enrol(make_csr()))
    await door(enrol(make_csr("device-2.certgate.test", key)))
    await door(enrol(csr, label="factory"))
    await door(post("simpleenroll", b64encode(csr), basic("other", "secret-2")))
    assert len(door.ra.orders) == 5


@pytest.mark.parametrize(("status", "seconds"), [(OrderStatus.HELD, "60"), (OrderStatus.PROCESSING, "5")])
async def test_an_order_that_is_not_decided_is_202(door: Door, status: OrderStatus, seconds: str) -> None:
    """E8: RFC 7030 section 4.2.3: 202 with Retry-After, and the certificate when the same request comes later."""
    key = ec.generate_private_key(ec.SECP256R1())
    door.ra.status = status
    answer = await door(enrol(make_csr(key=key)))
    assert answer.status == 202
    assert dict(answer.headers)["Retry-After"] == seconds
    door.ra.status = OrderStatus.VALID
    assert (await door(enrol(make_csr(key=key)))).status == 200
    assert len(door.ra.orders) == 1


async def test_a_cancelled_order_is_refused(door: Door) -> None:
    """It will never have a certificate: nothing to wait for."""
    door.ra.status = OrderStatus.CANCELLED
    assert (await door(enrol())).status == 403


@pytest.mark.parametrize(("wrap", "longest"), [(0, None), (64, 64), (76, 76)])
async def test_lines_of_an_answer(make_door: MakeDoor, wrap: int, longest: int | None) -> None:
    """E3: RFC 8951 section 3 wants one line, which strongSwan 5.9.8 needs; other clients want MIME's lines."""
    body = text_of(await make_door(base64_wrap=wrap)(enrol()))
    lines = body.split("\r\n")
    assert (len(lines) == 1) is (longest is None)
    if longest is not None:
        assert lines[-1] == ""
        assert {len(line) for line in lines[:-2]} == {longest}
    assert not set(body) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n")


async def test_content_transfer_encoding_can_be_left_out(make_door: MakeDoor) -> None:
    """E3: RFC 8951 section 3 has dropped it."""
    assert (await make_door(content_transfer_encoding=False)(enrol())).headers == ()


async def test_the_head_fits_one_read_of_strongswan(door: Door) -> None:
    """E3: strongSwan 5.9.8 reads the head of an answer in one go of 1024 octets; the front adds some 300."""
    answer = await door(enrol())
    head = f"Content-Type: {answer.content_type}\r\n" + "".join(f"{a}: {b}\r\n" for a, b in answer.headers)
    assert len(head) < 200
    assert all(name == name.title() for name, _ in answer.headers)


# --- problems


@pytest.mark.parametrize(
    ("problem", "status", "retry"),
    [
        (RateLimited("too many", retry_after=7), 429, "7"),
        (Unavailable("the store is away"), 503, "30"),
        (Internal("internal error"), 500, None),
    ],
)
async def test_problems_of_the_service(door: Door, problem: Exception, status: int, retry: str | None) -> None:
    """E7: Status, text, and when to come back."""
    door.ra.refuse = problem  # type: ignore[assignment]
    answer = await door(enrol())
    assert answer.status == status
    assert dict(answer.headers).get("Retry-After") == retry


async def test_several_mistakes_are_told_together(door: Door) -> None:
    """E7: A device's operator sees every name that was refused at once."""
    wrong = tuple(RejectedIdentifier(f'dns name "{one}" is not allowed') for one in ("a.test", "b.test"))
    door.ra.refuse = RejectedIdentifier("2 names are refused", subproblems=wrong)
    answer = await door(enrol())
    assert answer.status == 403
    assert text_of(answer).splitlines() == [
        "2 names are refused",
        '- dns name "a.test" is not allowed',
        '- dns name "b.test" is not allowed',
    ]


async def test_a_forged_request_is_400(door: Door) -> None:
    """E15: RFC 7030 section 3.4: the signature of the request is verified."""
    csr = bytearray(make_csr())
    csr[-1] ^= 1
    answer = await door(enrol(bytes(csr)))
    assert answer.status == 400
    assert not door.ra.orders


async def test_another_media_type_is_415(door: Door) -> None:
    """E4: RFC 7030 section 4.2.1: application/pkcs10, with parameters and in any case."""
    body = b64encode(make_csr())
    for media, status in (
        ("application/pkcs10", 200),
        ("Application/PKCS10; charset=us-ascii", 200),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ):
        answer = await door(post("simpleenroll", body, {**CLIENT, "content-type": media}))
        assert answer.status == status, media


# --- csrattrs (RFC 7030 section 4.5)


async def test_csrattrs_without_products_is_204(door: Door) -> None:
    """E23: RFC 7030 section 4.5.2: nothing wished for."""
    door.ra.products_here = ()
    answer = await door(get("csrattrs"))
    assert (answer.status, answer.body) == (204, b"")


async def test_csrattrs_may_be_the_operators_own(make_door: MakeDoor) -> None:
    """E23: What the mount says is sent as it is: here the example of RFC 8951 section 4."""
    text = (VECTORS / "rfc8951-csrattrs.b64").read_text().strip()
    answer = await make_door(csrattrs=text)(get("csrattrs"))
    assert answer.status == 200
    assert answer.content_type == "application/csrattrs"
    assert text_of(answer) == text


def test_routes_have_the_methods_of_the_standard(door: Door) -> None:
    """E1: RFC 7030 section 3.2.2: GET for what is read, POST for what enrols; over TLS only."""
    routes: dict[str, Route] = door.routes
    assert {route.name for route in routes.values() if route.methods == ("GET",)} == {
        *("cacerts", "csrattrs"),
        *("crls", "renewal-info"),
    }
    assert {route.transport.value for route in routes.values()} == {"tls"}


def test_the_small_ra_keeps_keys_apart() -> None:
    """A sanity check of the stand-in: the key of its root is its own."""
    first, second = SmallRA(), SmallRA()
    encoded = [
        one.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in (first, second)
    ]
    assert encoded[0] != encoded[1]
