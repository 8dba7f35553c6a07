"""The EST door from outside: requests as clients send them, answers read by decoders that are not ours."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.credential import CertificateClaim, PasswordClaim
from policy.order import OrderKind, OrderStatus
from policy.problems import Internal, RateLimited, RejectedIdentifier, Unavailable
from protocols import est
from protocols.endpoint import ProtocolDescription
from protocols.est.settings import ESTSettings
from protocols.http import ChannelBinding, HTTPRequest, HTTPResponse, Route
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

CLIENT = basic("device", "secret")
TLS_UNIQUE = {ChannelBinding.TLS_UNIQUE: b"finished-mac"}
EXPORTER = {ChannelBinding.EXPORTER: bytes(range(32))}
CHANGE_SUBJECT_NAME = "1.3.6.1.5.5.7.7.36"  # RFC 6402 section 2.8


def enrol(csr: bytes | None = None, **further: object) -> HTTPRequest:
    return post("simpleenroll", b64encode(csr or make_csr()), CLIENT, **further)  # type: ignore[arg-type]


async def first_certificate(door: Door, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """A certificate enrolled with the password."""
    (certificate,) = certificates_in(await door(enrol(make_csr(key=key))))
    return certificate.public_bytes(Encoding.DER)


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
    """RFC 7030 section 3.2.2: the label is optional; here it may be left out for "default"."""
    door = make_door("default", "factory")
    operations = {"cacerts", "csrattrs", "simpleenroll", "simplereenroll", "serverkeygen", "fullcmc"}
    assert set(door.routes) == {
        f"{ROOT}/{label}{operation}" for label in ("", "default/", "factory/") for operation in operations
    }


def test_without_a_default_mount_nothing_is_served_without_a_label(make_door: MakeDoor) -> None:
    """No mount is chosen for a client that names none."""
    assert all(path.startswith(f"{ROOT}/factory/") for path in make_door("factory").routes)


async def test_a_label_leads_to_its_own_mount(make_door: MakeDoor) -> None:
    """The mount of the path is the one that authenticates and issues."""
    door = make_door("default", "factory")
    assert (await door(enrol(label="factory"))).status == 200
    assert [order.mount for order in door.ra.orders.values()] == ["est/factory"]


@pytest.mark.parametrize("label", ["cacerts", "simpleenroll", "crls"])
def test_the_name_of_an_operation_is_no_label(make_door: MakeDoor, label: str) -> None:
    """RFC 7030 section 3.2.2: otherwise one path had two meanings."""
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


@pytest.mark.parametrize("operation", ["serverkeygen", "fullcmc"])
async def test_operations_that_are_not_offered_say_so(door: Door, operation: str) -> None:
    """RFC 7030 sections 4.3.1 and 4.4.1: both are optional."""
    answer = await door(post(operation, b""))
    assert answer.status == 501
    assert operation in text_of(answer)


# --- cacerts (RFC 7030 section 4.1)


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
    """Nobody gets another request's certificate, nor another client's by sending that client's request."""
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
    """RFC 7030 section 4.2.3: 202 with Retry-After, and the certificate when the same request comes later."""
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
    """RFC 8951 section 3 wants one line, which strongSwan 5.9.8 needs; other clients want MIME's lines."""
    body = text_of(await make_door(base64_wrap=wrap)(enrol()))
    lines = body.split("\r\n")
    assert (len(lines) == 1) is (longest is None)
    if longest is not None:
        assert lines[-1] == ""
        assert {len(line) for line in lines[:-2]} == {longest}
    assert not set(body) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n")


async def test_content_transfer_encoding_can_be_left_out(make_door: MakeDoor) -> None:
    """RFC 8951 section 3 has dropped it."""
    assert (await make_door(content_transfer_encoding=False)(enrol())).headers == ()


async def test_the_head_fits_one_read_of_strongswan(door: Door) -> None:
    """strongSwan 5.9.8 reads the head of an answer in one go of 1024 octets; the front adds some 300."""
    answer = await door(enrol())
    head = f"Content-Type: {answer.content_type}\r\n" + "".join(f"{a}: {b}\r\n" for a, b in answer.headers)
    assert len(head) < 200
    assert all(name == name.title() for name, _ in answer.headers)


# --- who asks (RFC 7030 section 3.2.3 and 3.3.2)


async def test_nothing_shown_is_401_with_a_challenge(door: Door) -> None:
    """RFC 7617 section 2.1: Basic, UTF-8; before the body is looked at."""
    answer = await door(post("simpleenroll", b"no request at all"))
    assert answer.status == 401
    assert dict(answer.headers)["WWW-Authenticate"] == 'Basic realm="EST", charset="UTF-8"'
    assert answer.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "field", ["Bearer abc", "Basic", "Basic !!!", "Basic Zm9v", "Basic /zo6", "Basic YTpi, Basic YTpi"]
)
async def test_authorization_that_cannot_be_read_is_401(door: Door, field: str) -> None:
    """Other schemes, no base64, no colon, no UTF-8, two of them: never taken for nothing shown."""
    (certificate,) = certificates_in(await door(enrol()))
    request = post(
        "simpleenroll",
        b64encode(make_csr()),
        {"authorization": field},
        certificate=certificate.public_bytes(Encoding.DER),
    )
    assert (await door(request)).status == 401


async def test_names_and_passwords_are_utf_8(door: Door) -> None:
    """RFC 7617 section 2.1; the scheme's name in any case, a colon in the password, an empty user name."""
    for name, password in (("Zoë", "straße:7"), ("", "secret")):
        door.ra.passwords = {name: password}
        field = basic(name, password)["authorization"].replace("Basic", "bAsIc")
        answer = await door(post("simpleenroll", b64encode(make_csr()), {"authorization": field}))
        assert answer.status == 200, answer.body


async def test_password_and_certificate_go_to_one_judgement(door: Door) -> None:
    """Both count as claims, and have to agree: no mixing of two owners."""
    certificate = await first_certificate(door)
    assert (await door(enrol(certificate=certificate))).status == 200
    assert [type(claim) for claim in door.ra.claims] == [PasswordClaim, CertificateClaim]
    stranger = post(
        "simpleenroll", b64encode(make_csr()), basic("other", "secret-2"), certificate=certificate
    )
    assert (await door(stranger)).status == 401


@pytest.mark.parametrize(
    ("wanted", "with_password", "with_certificate", "status"),
    [
        ("any", True, False, 200),
        ("any", False, True, 200),
        ("password", False, True, 401),
        ("password", True, False, 200),
        ("certificate", True, False, 403),
        ("certificate", False, True, 200),
        ("both", True, False, 403),
        ("both", False, True, 401),
        ("both", False, False, 401),
        ("both", True, True, 200),
    ],
)
async def test_what_a_mount_wants_to_be_shown(
    make_door: MakeDoor, wanted: str, with_password: bool, with_certificate: bool, status: int
) -> None:
    """RFC 7030 section 3.2.3: HTTP authentication may be wanted beside the certificate."""
    door = make_door(authentication=wanted)
    maker = door.ra.sign(name_of("From the maker"), door.ra.key.public_key(), 50)
    door.ra.owners[maker] = ("device", "")
    request = post(
        "simpleenroll",
        b64encode(make_csr()),
        CLIENT if with_password else {},
        certificate=maker if with_certificate else None,
    )
    assert (await door(request)).status == status


# --- the link to the TLS connection (RFC 7030 section 3.5)


def linked(binding: dict[ChannelBinding, bytes]) -> bytes:
    (value,) = binding.values()
    return make_csr(password=b64encode(value))


async def test_the_right_channel_binding_is_accepted(make_door: MakeDoor) -> None:
    """RFC 7030 section 3.5 (tls-unique), RFC 9266 (exporter)."""
    for door in (make_door(), make_door(pop="require")):
        one = enrol(linked(TLS_UNIQUE), tls_version="TLSv1.2", bindings=TLS_UNIQUE)
        assert (await door(one)).status == 200
        one = enrol(linked(EXPORTER), tls_version="TLSv1.3", bindings=EXPORTER)
        assert (await door(one)).status == 200


@pytest.mark.parametrize("password", [b"", b"secret", b64encode(b"another connection")])
async def test_a_wrong_channel_binding_is_never_passed_over(door: Door, password: bytes) -> None:
    """RFC 7030 section 3.5: also where it is not required."""
    answer = await door(enrol(make_csr(password=password), tls_version="TLSv1.2", bindings=TLS_UNIQUE))
    assert answer.status == 400
    assert "challengePassword" in text_of(answer)
    assert not door.ra.orders


@pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2", None])
async def test_without_a_binding_to_compare_it_is_refused(door: Door, version: str) -> None:
    """TLS 1.3 without exporter, a proxy that ends TLS: what cannot be compared counts as wrong."""
    bindings = TLS_UNIQUE if version == "TLSv1.3" else {}
    answer = await door(enrol(linked(TLS_UNIQUE), tls_version=version, bindings=bindings))
    assert answer.status == 400
    assert "cannot be compared" in text_of(answer)


async def test_a_mount_may_require_the_link(make_door: MakeDoor) -> None:
    """RFC 7030 section 3.5: no challengePassword, no certificate."""
    answer = await make_door(pop="require")(enrol(tls_version="TLSv1.2", bindings=TLS_UNIQUE))
    assert answer.status == 400
    assert "needs a challengePassword" in text_of(answer)


async def test_the_password_of_the_request_may_be_the_credentials_secret(make_door: MakeDoor) -> None:
    """For estates that come from SCEP: the secret of whom Basic names, or of the user without a name."""
    door = make_door(challenge_password="secret")
    door.ra.passwords = {"": "shared"}
    body = b64encode(make_csr(password=b"shared"))
    assert (await door(post("simpleenroll", body))).status == 200
    assert (await door(post("simpleenroll", b64encode(make_csr(password=b"other"))))).status == 401
    assert (await door(post("simpleenroll", b64encode(make_csr())))).status == 401
    assert (await door(post("simpleenroll", body, basic("", "wrong")))).status == 401
    door.ra.passwords = {"device": "shared"}
    assert (await door(post("simpleenroll", body, basic("device", "shared")))).status == 200
    named = b64encode(make_csr(password=b"device:shared"))
    assert (await door(post("simpleenroll", named))).status == 200


# --- simplereenroll (RFC 7030 section 4.2.2)


async def test_the_certificate_that_is_shown_is_renewed(door: Door) -> None:
    """RFC 7030 section 4.2.2: the TLS client certificate is renewed; an answer that got lost comes again."""
    key = ec.generate_private_key(ec.SECP256R1())
    old = await first_certificate(door, key)
    answers: list[HTTPResponse] = []
    for _ in range(2):
        request = post("simplereenroll", b64encode(make_csr(key=key)), certificate=old)
        answers.append(await door(request))
    assert [one.status for one in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    (new,) = certificates_in(answers[0])
    assert new.public_bytes(Encoding.DER) != old
    assert [order.kind for order in door.ra.orders.values()] == [OrderKind.ENROLL, OrderKind.REKEY]
    # The next renewal shows the next certificate, and is another order though key and names are the same.
    request = post("simplereenroll", b64encode(make_csr(key=key)), certificate=new.public_bytes(Encoding.DER))
    assert (await door(request)).body != answers[0].body


async def test_a_password_does_not_renew(make_door: MakeDoor) -> None:
    """There is no certificate to renew; a mount may have such a request judged like an enrolment."""
    request = post("simplereenroll", b64encode(make_csr()), CLIENT)
    answer = await make_door()(request)
    assert answer.status == 403
    assert "simpleenroll" in text_of(answer)
    door = make_door(reenroll="credential")
    assert (await door(request)).status == 200
    assert [order.kind for order in door.ra.orders.values()] == [OrderKind.RENEW]


async def test_the_certificate_of_a_maker_does_not_renew(make_door: MakeDoor) -> None:
    """A device's IDevID enrols; only a certificate of this server is renewed, whatever the mount allows."""
    for options in ({}, {"reenroll": "credential"}):
        door = make_door(**options)
        maker = door.ra.sign(name_of("From the maker"), door.ra.key.public_key(), 50)
        door.ra.owners[maker] = ("device", "")
        body = b64encode(make_csr())
        assert (await door(post("simpleenroll", body, certificate=maker))).status == 200
        assert (await door(post("simplereenroll", body, certificate=maker))).status == 403


async def test_change_subject_name_is_refused(door: Door) -> None:
    """RFC 6402 section 2.8: other names are another enrolment, not a renewal."""
    old = await first_certificate(door)
    csr = make_csr(attributes=[(CHANGE_SUBJECT_NAME, b"other.certgate.test")])
    answer = await door(post("simplereenroll", b64encode(csr), certificate=old))
    assert answer.status == 403
    assert "names" in text_of(answer)


# --- problems


@pytest.mark.parametrize(
    ("problem", "status", "retry"),
    [
        (RateLimited("too many", retry_after=7), 429, "7"),
        (Unavailable("the store is away"), 503, "30"),
        (Internal("internal error"), 500, None),
    ],
)
async def test_problems_of_the_service(
    door: Door, problem: Exception, status: int, retry: str | None
) -> None:
    """Status, text, and when to come back."""
    door.ra.refuse = problem  # type: ignore[assignment]
    answer = await door(enrol())
    assert answer.status == status
    assert dict(answer.headers).get("Retry-After") == retry


async def test_several_mistakes_are_told_together(door: Door) -> None:
    """A device's operator sees every name that was refused at once."""
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
    """RFC 7030 section 3.4: the signature of the request is verified."""
    csr = bytearray(make_csr())
    csr[-1] ^= 1
    answer = await door(enrol(bytes(csr)))
    assert answer.status == 400
    assert not door.ra.orders


async def test_another_media_type_is_415(door: Door) -> None:
    """RFC 7030 section 4.2.1: application/pkcs10, with parameters and in any case."""
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
    """RFC 7030 section 4.5.2: nothing wished for."""
    door.ra.products_here = ()
    answer = await door(get("csrattrs"))
    assert (answer.status, answer.body) == (204, b"")


async def test_csrattrs_may_be_the_operators_own(make_door: MakeDoor) -> None:
    """What the mount says is sent as it is: here the example of RFC 8951 section 4."""
    text = (VECTORS / "rfc8951-csrattrs.b64").read_text().strip()
    answer = await make_door(csrattrs=text)(get("csrattrs"))
    assert answer.status == 200
    assert answer.content_type == "application/csrattrs"
    assert text_of(answer) == text


def test_routes_have_the_methods_of_the_standard(door: Door) -> None:
    """RFC 7030 section 3.2.2: GET for what is read, POST for what enrols; over TLS only."""
    routes: dict[str, Route] = door.routes
    assert {route.name for route in routes.values() if route.methods == ("GET",)} == {"cacerts", "csrattrs"}
    assert {route.transport.value for route in routes.values()} == {"tls"}


def test_the_small_ra_keeps_keys_apart() -> None:
    """A sanity check of the stand-in: the key of its root is its own."""
    first, second = SmallRA(), SmallRA()
    encoded = [
        one.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for one in (first, second)
    ]
    assert encoded[0] != encoded[1]
