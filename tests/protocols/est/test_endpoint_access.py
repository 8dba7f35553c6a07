"""Who may enrol and renew at the EST door: passwords, certificates, the link to the TLS connection."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from policy.credential import CertificateClaim, PasswordClaim
from policy.order import OrderKind
from protocols.http import ChannelBinding, HTTPRequest, HTTPResponse
from tests.protocols.est.small import (
    CHANGE_SUBJECT_NAME,
    Door,
    MakeDoor,
    basic,
    certificates_in,
    change_subject_name,
    make_csr,
    name_of,
    post,
    text_of,
)

CLIENT = basic("device", "secret")
TLS_UNIQUE = {ChannelBinding.TLS_UNIQUE: b"finished-mac"}
OTP_CHALLENGE = "1.2.840.113549.1.9.16.2.56"
REVOCATION_CHALLENGE = "1.2.840.113549.1.9.16.2.57"
EST_IDENTITY_LINKING = "1.2.840.113549.1.9.16.2.58"
EXPORTER = {ChannelBinding.EXPORTER: bytes(range(32))}


def enrol(csr: bytes | None = None, **further: object) -> HTTPRequest:
    return post("simpleenroll", b64encode(csr or make_csr()), CLIENT, **further)  # type: ignore[arg-type]


async def first_certificate(door: Door, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """A certificate enrolled with the password."""
    (certificate,) = certificates_in(await door(enrol(make_csr(key=key))))
    return certificate.public_bytes(Encoding.DER)


# --- who asks (RFC 7030 section 3.2.3 and 3.3.2)


async def test_nothing_shown_is_401_with_a_challenge(door: Door) -> None:
    """E7, E12: RFC 7617 section 2.1: Basic, UTF-8; before the body is looked at."""
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
    """E12: RFC 7617 section 2.1; the scheme's name in any case, a colon in the password, an empty user name."""
    for name, password in (("Zoë", "straße:7"), ("", "secret")):
        door.ra.passwords = {name: password}
        field = basic(name, password)["authorization"].replace("Basic", "bAsIc")
        answer = await door(post("simpleenroll", b64encode(make_csr()), {"authorization": field}))
        assert answer.status == 200, answer.body


async def test_password_and_certificate_go_to_one_judgement(door: Door) -> None:
    """T15: Both count as claims, and have to agree: no mixing of two owners."""
    certificate = await first_certificate(door)
    assert (await door(enrol(certificate=certificate))).status == 200
    assert [type(claim) for claim in door.ra.claims] == [PasswordClaim, CertificateClaim]
    stranger = post("simpleenroll", b64encode(make_csr()), basic("other", "secret-2"), certificate=certificate)
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
    """E12, T15: RFC 7030 section 3.2.3: HTTP authentication may be wanted beside the certificate."""
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
    """E16: RFC 7030 section 3.5 (tls-unique), RFC 9266 (exporter)."""
    for door in (make_door(), make_door(pop="require")):
        one = enrol(linked(TLS_UNIQUE), tls_version="TLSv1.2", bindings=TLS_UNIQUE)
        assert (await door(one)).status == 200
        one = enrol(linked(EXPORTER), tls_version="TLSv1.3", bindings=EXPORTER)
        assert (await door(one)).status == 200


@pytest.mark.parametrize("password", [b"", b"secret", b64encode(b"another connection")])
async def test_a_wrong_channel_binding_is_never_passed_over(door: Door, password: bytes) -> None:
    """E16, T16: RFC 7030 section 3.5: also where it is not required."""
    answer = await door(enrol(make_csr(password=password), tls_version="TLSv1.2", bindings=TLS_UNIQUE))
    assert answer.status == 400
    assert "challengePassword" in text_of(answer)
    assert not door.ra.orders


@pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2", None])
async def test_without_a_binding_to_compare_it_is_refused(door: Door, version: str) -> None:
    """E16, T16: TLS 1.3 without exporter, a proxy that ends TLS: what cannot be compared counts as wrong."""
    bindings = TLS_UNIQUE if version == "TLSv1.3" else {}
    answer = await door(enrol(linked(TLS_UNIQUE), tls_version=version, bindings=bindings))
    assert answer.status == 400
    assert "cannot be compared" in text_of(answer)


async def test_a_mount_may_require_the_link(make_door: MakeDoor) -> None:
    """E16: RFC 7030 section 3.5: no challengePassword, no certificate."""
    answer = await make_door(pop="require")(enrol(tls_version="TLSv1.2", bindings=TLS_UNIQUE))
    assert answer.status == 400
    assert "needs a challengePassword" in text_of(answer)


async def test_a_mount_may_offer_no_link(make_door: MakeDoor) -> None:
    """E16: switched off means refused, not passed over; a request without a binding is served."""
    door = make_door(pop="off")
    answer = await door(enrol(linked(TLS_UNIQUE), tls_version="TLSv1.2", bindings=TLS_UNIQUE))
    assert answer.status == 400
    assert "not linked to the TLS connection here" in text_of(answer)
    assert (await door(enrol())).status == 200


async def test_the_link_may_have_an_attribute_of_its_own(make_door: MakeDoor) -> None:
    """E17, RFC 7894 section 3.3: estIdentityLinking, beside or in place of the challengePassword."""
    right, wrong = b64encode(TLS_UNIQUE[ChannelBinding.TLS_UNIQUE]), b64encode(b"another connection")
    secret = make_door(pop="require", challenge_password="secret")
    secret.ra.passwords = {"device": "shared"}
    for door, password, linking, status in (
        (make_door(), None, right, 200),
        (make_door(), None, wrong, 400),
        (make_door(), right, wrong, 400),
        (make_door(), wrong, right, 400),
        (make_door(pop="require"), None, right, 200),
        (secret, b"device:shared", right, 200),
        (secret, b"device:shared", wrong, 400),
        (secret, b"device:shared", None, 400),
        (secret, b"device:other", right, 401),
    ):
        attributes = [] if linking is None else [(EST_IDENTITY_LINKING, linking)]
        csr = make_csr(password=password, attributes=attributes)
        shown = {} if door is secret else CLIENT
        request = post("simpleenroll", b64encode(csr), shown, tls_version="TLSv1.2", bindings=TLS_UNIQUE)
        assert (await door(request)).status == status, (password, linking)


async def test_challenges_of_rfc_7894_are_honoured_or_refused(make_door: MakeDoor) -> None:
    """E17: an otpChallenge is the secret where one is looked for; nothing of it is passed over."""
    otp = make_csr(attributes=[(OTP_CHALLENGE, b"device:one-time")])
    answer = await make_door()(enrol(otp))
    assert (answer.status, "otpChallenge" in text_of(answer)) == (400, True)
    door = make_door(challenge_password="secret")
    door.ra.passwords = {"device": "one-time"}
    assert (await door(post("simpleenroll", b64encode(otp)))).status == 200
    answer = await make_door()(enrol(make_csr(attributes=[(REVOCATION_CHALLENGE, b"please")])))
    assert (answer.status, "revocationChallenge" in text_of(answer)) == (400, True)


async def test_the_password_of_the_request_may_be_the_credentials_secret(make_door: MakeDoor) -> None:
    """E16: For estates that come from SCEP: the secret of whom Basic names, or of the user without a name."""
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
    """E18, E19: RFC 7030 section 4.2.2: the TLS client certificate is renewed; an answer that got lost comes again."""
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
    """E19: There is no certificate to renew; a mount may have such a request judged like an enrolment."""
    request = post("simplereenroll", b64encode(make_csr()), CLIENT)
    answer = await make_door()(request)
    assert answer.status == 403
    assert "simpleenroll" in text_of(answer)
    door = make_door(reenroll="credential")
    assert (await door(request)).status == 200
    assert [order.kind for order in door.ra.orders.values()] == [OrderKind.RENEW]


async def test_the_certificate_of_a_maker_does_not_renew(make_door: MakeDoor) -> None:
    """E19, T17: A device's IDevID enrols; only a certificate of this server is renewed, whatever the mount allows."""
    for options in ({}, {"reenroll": "credential"}):
        door = make_door(**options)
        maker = door.ra.sign(name_of("From the maker"), door.ra.key.public_key(), 50)
        door.ra.owners[maker] = ("device", "")
        body = b64encode(make_csr())
        assert (await door(post("simpleenroll", body, certificate=maker))).status == 200
        assert (await door(post("simplereenroll", body, certificate=maker))).status == 403


async def test_names_change_where_the_mount_says_so(make_door: MakeDoor) -> None:
    """E18, RFC 6402 section 2.8: the service is told whether a renewal may ask for other names."""
    for options, expected in (({}, False), ({"change_subject_name": "judge"}, True)):
        door = make_door(**options)
        old = await first_certificate(door)
        csr = make_csr(der_attributes=[(CHANGE_SUBJECT_NAME, change_subject_name("other.certgate.test"))])
        await door(post("simplereenroll", b64encode(csr), certificate=old))
        assert door.ra.rename is expected
