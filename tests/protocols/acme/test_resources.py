"""Orders, authorizations, challenges, certificates, revocation (RFC 8555 sections 7.4 to 7.6)."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from policy.acting import operator
from policy.audit import AuditTag
from policy.order import OrderStatus
from policy.registration import RegistrationAuthority
from policy.store import AUDIT
from tests.protocols.acme.client import Answer, Client, Key, b64, make_csr
from tests.protocols.acme.world import NOON, ORIGIN, World
from tests.replacing import replace

CSR = b64(make_csr(("a.trusted.test",)))

# --------------------------------------------------------------------------- newOrder


async def test_an_order_is_placed_and_read_again(member: Client) -> None:
    """RFC 8555 section 7.4: 201, its URL, the same object afterwards. Rows: C4."""
    placed = await member.order("a.challenged.test", "*.challenged.test")
    assert placed.status == 201
    assert placed.response.content_type == "application/json"
    location = placed.header("Location")
    assert location.startswith(f"{ORIGIN}/acme/default/order/")
    assert placed.json["status"] == "pending"
    assert placed.json["expires"] == "2026-03-08T12:00:00Z"
    assert placed.json["finalize"] == location + "/finalize"
    assert len(placed.json["authorizations"]) == 2
    assert {one["value"] for one in placed.json["identifiers"]} == {"a.challenged.test", "*.challenged.test"}
    assert not placed.all("Retry-After")
    assert (await member.post(location)).json == placed.json


async def test_identifiers_are_normal_and_each_once(member: Client) -> None:
    """RFC 8555 section 7.1.3."""
    answer = await member.order("A.Trusted.test", "a.trusted.TEST")
    assert answer.json["identifiers"] == [{"type": "dns", "value": "a.trusted.test"}]


async def test_an_address_is_an_identifier(member: Client) -> None:
    """RFC 8738; without dns-01, which addresses cannot have. Rows: R26."""
    answer = await member.post(member.url("new-order"), {"identifiers": [{"type": "ip", "value": "2001:db8::1"}]})
    assert answer.status == 201
    authorization = await member.post(answer.json["authorizations"][0])
    assert authorization.json["identifier"] == {"type": "ip", "value": "2001:db8::1"}
    assert {one["type"] for one in authorization.json["challenges"]} == {"http-01", "tls-alpn-01"}


async def test_wrong_identifiers_are_told_all_at_once(member: Client) -> None:
    """RFC 8555 section 6.7.1: subproblems with their identifiers; whether the door or a rule finds them.

    Rows: A6, T-24.
    """
    for names in (("a_b.test", "good.test", "x..y"), ("a.denied.test", "good.test", "denied.test")):
        answer = await member.order(*names)
        assert answer.problem() == (403, "rejectedIdentifier")
        found = answer.json["subproblems"]
        assert {one["identifier"]["value"] for one in found} == {names[0], names[2]}
        assert all(one["type"].endswith(":rejectedIdentifier") and one["detail"] for one in found)
        assert all("status" not in one for one in found)


@pytest.mark.parametrize("kind", ["onion", "email", "permanent-identifier", "hardware-module", "TNAuthList", "atc"])
async def test_types_that_no_product_names_are_refused(member: Client, kind: str) -> None:
    """What other documents add is off unless a product names it; the order is not there. Rows: T-34."""
    answer = await member.post(member.url("new-order"), {"identifiers": [{"type": kind, "value": "a@b.test"}]})
    assert answer.problem() in ((400, "unsupportedIdentifier"), (403, "rejectedIdentifier"))


async def test_a_name_that_is_not_in_dns_is_refused(member: Client) -> None:
    """RFC 7686 section 2: no challenge proves a name below "onion". Rows: T-34."""
    answer = await member.order(f"{'a' * 56}.onion")
    assert answer.problem() == (403, "rejectedIdentifier")


async def test_types_that_nobody_knows(member: Client) -> None:
    """RFC 8555 section 6.7 unsupportedIdentifier. Rows: T-30."""
    answer = await member.post(member.url("new-order"), {"identifiers": [{"type": "magic", "value": "x"}]})
    assert answer.problem() == (400, "unsupportedIdentifier")
    assert answer.json["subproblems"][0]["identifier"] == {"type": "magic", "value": "x"}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"identifiers": []},
        {"identifiers": [{"type": "dns", "value": "a.test"}] * 101},
        {"identifiers": "a.test"},
        {"identifiers": [{"type": "dns", "value": 1}]},
        {"identifiers": [{"type": "dns", "value": "a.trusted.test"}], "notBefore": "x"},
        {"identifiers": [{"type": "dns", "value": "a.trusted.test"}], "notAfter": "2026-03-08T12:00:00.25Z"},
        {"identifiers": [{"type": "dns", "value": "a.trusted.test"}], "notAfter": "2025-01-01T00:00:00Z"},
        {"identifiers": [{"type": "dns", "value": "a.trusted.test"}], "notAfter": "2036-01-01T00:00:00Z"},
        {"identifiers": [{"type": "dns", "value": "a.trusted.test"}], "replaces": "x"},
    ],
    ids=range(10),
)
async def test_orders_that_cannot_be_placed_as_asked(member: Client, payload: Any) -> None:
    """RFC 8555 section 7.4: an error, never something else than what was asked for. Rows: R18."""
    assert (await member.post(member.url("new-order"), payload)).problem() == (400, "malformed")


async def test_dates_are_granted_as_asked(member: Client) -> None:
    """RFC 8555 section 7.4, shown in the order and in the certificate. Rows: R18, A6."""
    start, end = NOON + timedelta(hours=1), NOON + timedelta(days=3)
    order = await member.issue(notBefore=start.isoformat(), notAfter="2026-03-04T13:00:00+01:00")
    assert order.json["notBefore"] == "2026-03-01T13:00:00Z"
    assert order.json["notAfter"] == "2026-03-04T12:00:00Z"
    certificate = await member.certificate(order)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (start, end)


async def test_profiles_are_products(member: Client) -> None:
    """The profiles extension: chosen, the default, and one that there is not. Rows: R31, A6."""
    assert (await member.order("a.trusted.test")).json["profile"] == "standard"
    assert (await member.order("a.trusted.test", profile="other")).json["profile"] == "other"
    assert (await member.order("a.trusted.test", profile="nothing")).problem() == (400, "invalidProfile")


# --------------------------------------------------------------------------- whose is it


@pytest.mark.parametrize("path", ["order/{}", "order/{}/finalize", "authz/{}", "chall/{}/http-01", "cert/{}"])
async def test_what_is_somebody_elses_is_not_there(world: World, member: Client, path: str) -> None:
    """Trap T-18: the same answer as for what does not exist, and for what could not exist. Rows: T-18."""
    other = Client(world)
    await other.register()
    order = await other.issue("b.trusted.test")
    pending = await other.order("b.challenged.test")
    kind = path.partition("/")[0]
    theirs = {
        "order": order.header("Location").rpartition("/")[2],
        "authz": pending.json["authorizations"][0].rpartition("/")[2],
        "chall": pending.json["authorizations"][0].rpartition("/")[2],
        "cert": order.json["certificate"].rpartition("/")[2],
    }[kind]
    payload = {"csr": CSR} if path.endswith("finalize") else None
    answers = [
        await member.post(member.url(path.format(one)), payload)
        for one in (theirs, "a" * 26, "0" * 40, "no%20such", "x" * 100)
    ]
    assert {answer.problem() for answer in answers} == {(404, "malformed")}


# --------------------------------------------------------------------------- authorizations and challenges


async def test_an_authorization_offers_its_challenges(member: Client) -> None:
    """RFC 8555 sections 7.5 and 8: each with a token and a URL of its own; reading starts nothing. Rows: R19."""
    order = await member.order("a.challenged.test")
    url = order.json["authorizations"][0]
    found = await member.post(url)
    assert found.json["status"] == "pending"
    assert "wildcard" not in found.json
    assert [one["type"] for one in found.json["challenges"]] == ["http-01", "dns-01", "tls-alpn-01"]
    for one in found.json["challenges"]:
        assert len(one["token"]) >= 22
        shown = await member.post(one["url"])
        assert shown.json == one
        assert shown.links("up") == [url]
        assert not shown.all("Retry-After")
    assert (await member.post(url)).json == found.json


async def test_a_wildcard_has_one_challenge(member: Client) -> None:
    """RFC 8555 section 8.3, RFC 8737 section 3; `wildcard` true and the name without "*.". Rows: R12, R22."""
    order = await member.order("*.challenged.test")
    found = (await member.post(order.json["authorizations"][0])).json
    assert found["wildcard"] is True
    assert found["identifier"] == {"type": "dns", "value": "challenged.test"}
    assert [one["type"] for one in found["challenges"]] == ["dns-01"]


async def answer_challenge(client: Client, authorization: str, payload: Any = None, kind: str = "http-01") -> Answer:
    """Put what the validator wants to see in its place, and say so."""
    found = (await client.post(authorization)).json
    one = next(each for each in found["challenges"] if each["type"] == kind)
    expected = client.world.validators[kind].expected
    expected[found["identifier"]["value"], one["token"]] = f"{one['token']}.{client.key.thumbprint}"
    return await client.post(one["url"], {} if payload is None else payload)


async def test_a_name_is_proven_and_the_certificate_issued(member: Client) -> None:
    """The whole way of RFC 8555 section 7: challenge, valid, ready, finalize, download. Rows: C4."""
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    answered = await answer_challenge(member, url)
    assert answered.status == 200
    assert answered.links("up") == [url]
    assert answered.json["status"] == "valid"
    assert answered.json["validated"]
    proven = (await member.post(url)).json
    assert proven["status"] == "valid"
    assert [one["status"] for one in proven["challenges"]] == ["valid"]
    assert (await member.post(order.header("Location"))).json["status"] == "ready"
    issued = await member.post(order.json["finalize"], {"csr": b64(make_csr(("a.challenged.test",)))})
    assert issued.json["status"] == "valid"
    assert issued.header("Location") == order.header("Location")
    certificate = await member.certificate(issued)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.challenged.test"]


async def test_old_clients_send_members_with_a_challenge(member: Client) -> None:
    """keyAuthorization and type, as before RFC 8555 was done: they mean nothing."""
    order = await member.order("a.challenged.test")
    payload = {"resource": "challenge", "type": "http-01", "keyAuthorization": "wrong"}
    answered = await answer_challenge(member, order.json["authorizations"][0], payload)
    assert answered.json["status"] == "valid"


async def test_a_challenge_that_is_being_tried_says_when_to_ask(member: Client) -> None:
    """RFC 8555 section 8.2: processing, with Retry-After on challenge and authorization."""
    gate = asyncio.Event()
    member.world.validators["http-01"].gate = gate.wait
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    answered = await answer_challenge(member, url)
    assert answered.json["status"] == "processing"
    assert answered.header("Retry-After") == "1"
    shown = await member.post(url)
    assert shown.json["status"] == "pending"
    assert shown.header("Retry-After") == "1"
    gate.set()
    for _ in range(100):
        await asyncio.sleep(0)
        if (await member.post(url)).json["status"] == "valid":
            break
    assert (await member.post(order.header("Location"))).json["status"] == "ready"


async def test_a_challenge_that_fails_says_why(member: Client) -> None:
    """RFC 8555 sections 7.1.6 and 8: the error in the challenge and in the order, both invalid. Rows: A7."""
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    challenge = next(one for one in (await member.post(url)).json["challenges"] if one["type"] == "http-01")
    answer = await member.post(challenge["url"], {})
    for _ in range(100):
        if answer.json["status"] == "invalid":
            break
        await asyncio.sleep(0.01)
        answer = await member.post(challenge["url"])
    assert answer.json["status"] == "invalid"
    assert answer.json["error"]["type"] == "urn:ietf:params:acme:error:incorrectResponse"
    failed = (await member.post(order.header("Location"))).json
    assert failed["status"] == "invalid"
    assert failed["error"]["subproblems"][0]["identifier"] == {"type": "dns", "value": "a.challenged.test"}
    assert (await member.post(order.json["finalize"], {"csr": CSR})).problem() == (403, "orderNotReady")


async def test_a_challenge_that_is_tried_again_shows_what_went_wrong(member: Client) -> None:
    """RFC 8555 section 8.2: `processing` with the error of the last try and Retry-After; asking again starts nothing.

    Rows: R19, A7.
    """
    validating = member.world.validating
    validating.settings = replace(validating.settings, retries_after_seconds=(60.0,))
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    one = next(each for each in (await member.post(url)).json["challenges"] if each["type"] == "http-01")
    await member.post(one["url"], {})
    for answer in (await member.post(one["url"]), await member.post(one["url"], {})):
        assert answer.json["status"] == "processing"
        assert answer.json["error"]["type"] == "urn:ietf:params:acme:error:incorrectResponse"
        assert int(answer.header("Retry-After")) > 0
    leaves = [row.leaf for row in await member.world.store.many(AUDIT, 0, 500)]
    assert sum(str(AuditTag.CHALLENGE_RETRIED).encode() in leaf for leaf in leaves) == 1
    assert (await member.post(order.header("Location"))).json["status"] == "pending"


async def test_what_a_key_was_before_answers_no_challenge(member: Client) -> None:
    """RFC 8555 section 8.1: the thumbprint is that of the key which the account has when it is tried, whatever the
    request says.

    Rows: T-12.
    """
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    one = next(each for each in (await member.post(url)).json["challenges"] if each["type"] == "http-01")
    old, new = member.key, Key.ec()
    inner = new.sign(json.dumps({"account": member.kid, "oldKey": old.public}).encode(), member.url("key-change"))
    assert (await member.post(member.url("key-change"), json.loads(inner))).status == 200
    member.key = new
    expected = member.world.validators["http-01"].expected
    expected["a.challenged.test", one["token"]] = f"{one['token']}.{old.thumbprint}"
    claimed = {"keyAuthorization": f"{one['token']}.{old.thumbprint}"}
    await member.post(one["url"], claimed)
    for _ in range(100):
        if (await member.post(url)).json["status"] == "invalid":
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the proof of another key counted")


async def test_an_authorization_that_was_given_up_takes_no_answer(member: Client) -> None:
    """RFC 8555 section 7.1.6: its challenges are over, whoever answers; nothing hangs. Rows: T-25."""
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    one = (await member.post(url)).json["challenges"][0]
    await member.post(url, {"status": "deactivated"})
    async with asyncio.timeout(5):
        answer = await member.post(one["url"], {})
    assert answer.problem() == (400, "malformed")
    assert (await member.post(url)).json["status"] == "deactivated"


async def test_nobody_guesses_an_url(member: Client) -> None:
    """RFC 8555 section 10.5: of two URLs made in one moment nothing tells the other but the time. Rows: R24."""
    first, second = [await member.issue("a.trusted.test", "b.trusted.test") for _ in range(2)]
    pairs = [(first.header("Location"), second.header("Location"))]
    pairs.append((first.json["certificate"], second.json["certificate"]))
    pairs += zip(first.json["authorizations"], second.json["authorizations"], strict=True)
    pairs.append((first.json["authorizations"][0], first.json["authorizations"][1]))
    for pair in pairs:
        one, other = (int(url.rpartition("/")[2][-24:], 16) for url in pair)
        assert (one ^ other).bit_count() > 20, "about half of 96 bits"


@pytest.mark.parametrize("payload", [[], "x", 1])
async def test_an_answer_is_an_object(member: Client, payload: Any) -> None:
    """RFC 8555 section 7.5.1."""
    order = await member.order("a.challenged.test")
    url = order.json["authorizations"][0].replace("/authz/", "/chall/") + "/http-01"
    assert (await member.post(url, payload)).problem() == (400, "malformed")


async def test_challenges_that_are_not_there(member: Client) -> None:
    """Another type, one that a wildcard cannot have. Rows: T-30."""
    order = await member.order("*.challenged.test")
    url = order.json["authorizations"][0].replace("/authz/", "/chall/")
    for kind in ("http-01", "nothing"):
        assert (await member.post(f"{url}/{kind}")).status == 404
        assert (await member.post(f"{url}/{kind}", {})).status in (400, 404)


async def test_an_authorization_is_given_up(member: Client) -> None:
    """RFC 8555 section 7.5.2: never sufficient again, also for an order that was ready. Rows: R20, A6."""
    order = await member.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    await answer_challenge(member, url)
    answer = await member.post(url, {"status": "deactivated"})
    assert answer.json["status"] == "deactivated"
    assert (await member.post(url)).json["status"] == "deactivated"
    refused = await member.post(order.json["finalize"], {"csr": b64(make_csr(("a.challenged.test",)))})
    assert refused.response.content_type == "application/problem+json"
    assert refused.status == 403


@pytest.mark.parametrize("payload", [{}, {"status": "valid"}, {"status": None}, {"status": 1}, []])
async def test_no_other_change_of_an_authorization(member: Client, payload: Any) -> None:
    """RFC 8555 section 7.5.2."""
    order = await member.order("a.challenged.test")
    assert (await member.post(order.json["authorizations"][0], payload)).problem() == (400, "malformed")


async def test_authorizations_expire(member: Client) -> None:
    """RFC 8555 section 7.1.6: by the clock."""
    order = await member.order("a.challenged.test")
    member.world.clock.advance(days=8)
    assert (await member.post(order.json["authorizations"][0])).json["status"] == "expired"
    assert (await member.post(order.header("Location"))).json["status"] == "invalid"


# --------------------------------------------------------------------------- finalize


@pytest.mark.parametrize("csr", ["AAAA", b64(b"x" * 100), ""])
async def test_what_is_no_request_is_bad(member: Client, csr: str) -> None:
    """RFC 8555 section 7.4: badCSR, and the order stays ready. Rows: R18."""
    order = await member.ready()
    assert (await member.post(order.json["finalize"], {"csr": csr})).problem() == (400, "badCSR")
    assert (await member.post(order.header("Location"))).json["status"] == "ready"


@pytest.mark.parametrize(
    "payload", [None, {}, {"csr": None}, {"csr": CSR + "="}, {"csr": "-----BEGIN"}, {"csr": [CSR]}]
)
async def test_requests_in_another_form_are_malformed(member: Client, payload: Any) -> None:
    """RFC 8555 section 7.4: base64url of DER without padding, no PEM."""
    order = await member.ready()
    assert (await member.post(order.json["finalize"], payload)).problem() == (400, "malformed")


@pytest.mark.parametrize("names", [("b.trusted.test",), ("a.trusted.test", "b.trusted.test")])
async def test_the_names_have_to_be_those_of_the_order(member: Client, names: tuple[str, ...]) -> None:
    """Trap T-1; the order stays ready and can be finalized rightly. Rows: A6, A9, T-1."""
    order = await member.ready("a.trusted.test")
    answer = await member.post(order.json["finalize"], {"csr": b64(make_csr(names))})
    assert answer.problem() == (400, "badCSR")
    assert (await member.post(order.json["finalize"], {"csr": CSR})).json["status"] == "valid"


async def test_a_short_key_makes_a_bad_request(member: Client) -> None:
    """RFC 8555 section 6.7: badCSR; badPublicKey is for the key of the JWS. Rows: T-22."""
    order = await member.ready()
    key = rsa.generate_private_key(65537, 1024)
    answer = await member.post(order.json["finalize"], {"csr": b64(make_csr(("a.trusted.test",), key))})
    assert answer.problem() == (400, "badCSR")


async def test_an_order_that_is_not_ready(member: Client) -> None:
    """RFC 8555 section 7.4: 403 orderNotReady. Rows: R18, A6."""
    order = await member.order("a.challenged.test")
    answer = await member.post(order.json["finalize"], {"csr": b64(make_csr(("a.challenged.test",)))})
    assert answer.problem() == (403, "orderNotReady")


async def test_one_certificate_however_often_it_is_finalized(member: Client) -> None:
    """Trap T-6: at once and afterwards."""
    order = await member.ready()
    clients = [Client(member.world, member.key, kid=member.kid) for _ in range(5)]
    answers = await asyncio.gather(*(one.post(order.json["finalize"], {"csr": CSR}) for one in clients))
    answers.append(await member.post(order.json["finalize"], {"csr": CSR}))
    shown = {answer.json.get("certificate") for answer in answers if answer.status == 200} - {None}
    assert len(shown) == 1
    assert all(answer.status < 500 for answer in answers)


async def test_a_held_order_is_processing_until_somebody_decides(member: Client) -> None:
    """processing with Retry-After, then valid."""
    order = await member.order("a.trusted.test", profile="asked")
    answer = await member.post(order.json["finalize"], {"csr": CSR})
    assert answer.json["status"] == "processing"
    assert answer.header("Retry-After") == "60"
    assert "certificate" not in answer.json
    await member.world.approval.approve(order.header("Location").rpartition("/")[2], operator("user:somebody"))
    after = await member.post(order.header("Location"))
    assert after.json["status"] == "valid"
    assert not after.all("Retry-After")


async def test_an_order_that_is_being_signed_says_when_to_ask(member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8555 section 7.4: processing with Retry-After. Rows: A9."""
    order = await member.ready()
    real = RegistrationAuthority.order

    async def signing(self: RegistrationAuthority, *args: Any) -> Any:
        return replace(await real(self, *args), status=OrderStatus.PROCESSING)

    monkeypatch.setattr(RegistrationAuthority, "order", signing)
    answer = await member.post(order.header("Location"))
    assert answer.json["status"] == "processing"
    assert answer.header("Retry-After") == "1"


@pytest.mark.parametrize("what", ["Location", "certificate", "orders"])
async def test_what_can_only_be_read(member: Client, what: str) -> None:
    """RFC 8555 section 6.3: POST-as-GET has an empty payload. Rows: C10."""
    order = await member.issue()
    urls = {
        "Location": order.header("Location"),
        "certificate": order.json["certificate"],
        "orders": f"{member.kid}/orders",
    }
    assert (await member.post(urls[what], {})).problem() == (400, "malformed")
    assert (await member.post(urls[what])).status == 200


# --------------------------------------------------------------------------- certificates


async def test_a_certificate_comes_as_a_chain_without_the_root(member: Client) -> None:
    """RFC 8555 section 9.1: leaf first, nothing but PEM, no root. Rows: R23, A9."""
    order = await member.issue()
    answer = await member.post(order.json["certificate"])
    assert answer.response.content_type == "application/pem-certificate-chain"
    leaf, issuer = x509.load_pem_x509_certificates(answer.body)
    leaf.verify_directly_issued_by(issuer)
    assert issuer.issuer != issuer.subject
    assert answer.body.startswith(b"-----BEGIN CERTIFICATE-----\n")
    assert answer.body.count(b"-----BEGIN") == 2
    assert b"\n\n" not in answer.body
    assert not answer.all("Content-Disposition")


@pytest.mark.parametrize(
    ("accept", "got"),
    [
        ("*/*", "pem-certificate-chain"),
        ("application/*", "pem-certificate-chain"),
        ("application/pem-certificate-chain", "pem-certificate-chain"),
        ("application/pkix-cert", "pkix-cert"),
        ("application/pkcs7-mime", "pkcs7-mime"),
        ("application/pkix-cert;q=0.5, application/pem-certificate-chain;q=0.9", "pem-certificate-chain"),
        ("application/pkix-cert, */*;q=0.1", "pkix-cert"),
        ("application/pem-certificate-chain;q=0, */*", "pkix-cert"),
        ("text/html, application/pkcs7-mime;q=x, application/pkix-cert;q=0.001", "pkix-cert"),
        ("Application/PKIX-Cert", "pkix-cert"),
    ],
)
async def test_the_form_of_a_certificate_is_negotiated(member: Client, accept: str, got: str) -> None:
    """RFC 8555 section 7.4.2, RFC 9110 section 12.5.1. Rows: A9."""
    order = await member.issue()
    answer = await member.post(order.json["certificate"], accept=accept)
    assert answer.status == 200
    assert answer.response.content_type == f"application/{got}"
    leaf = await member.certificate(order)
    found = {
        "pem-certificate-chain": x509.load_pem_x509_certificates,
        "pkix-cert": lambda data: [x509.load_der_x509_certificate(data)],
        "pkcs7-mime": pkcs7.load_der_pkcs7_certificates,
    }[got](answer.body)
    assert leaf in found
    assert len(found) == (1 if got == "pkix-cert" else 2)


@pytest.mark.parametrize("accept", ["text/html", "application/json", "application/pkix-cert;q=0", "garbage"])
async def test_no_form_that_the_client_takes(member: Client, accept: str) -> None:
    """RFC 9110 section 15.5.7: 406, with what there is. Rows: A9."""
    order = await member.issue()
    answer = await member.post(order.json["certificate"], accept=accept)
    assert answer.problem() == (406, "malformed")
    assert "pem-certificate-chain" in answer.json["detail"]


# --------------------------------------------------------------------------- revocation


async def issued(client: Client, key: Any = None, name: str = "a.trusted.test") -> str:
    """base64url of a new certificate's DER."""
    order = await client.issue(name, key=key)
    return b64((await client.certificate(order)).public_bytes(Encoding.DER))


@pytest.mark.parametrize("reason", [None, 0, 1, 3, 4, 5])
async def test_the_owner_revokes(member: Client, reason: int | None) -> None:
    """RFC 8555 section 7.6: 200 and nothing in it; a second time alreadyRevoked. Rows: A10."""
    payload = {"certificate": await issued(member)} | ({} if reason is None else {"reason": reason})
    answer = await member.post(member.url("revoke-cert"), payload)
    assert answer.status == 200
    assert answer.body == b""
    assert (await member.post(member.url("revoke-cert"), payload)).problem() == (400, "alreadyRevoked")


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 9, 10, 11, -1, 2**70])
async def test_reasons_that_are_not_a_subscribers(member: Client, reason: int) -> None:
    """RFC 8555 section 7.6 badRevocationReason: the answer lists the others. Rows: R21, A10."""
    answer = await member.post(member.url("revoke-cert"), {"certificate": await issued(member), "reason": reason})
    assert answer.status == 400
    if reason < 2**63:
        assert answer.problem() == (400, "badRevocationReason")
        assert "0, 1, 3, 4, 5" in answer.json["detail"]


async def test_the_holder_of_the_key_revokes(world: World, member: Client) -> None:
    """RFC 8555 section 7.6: signed with the certificate's own key, without any account. Rows: A10."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = await issued(member, key)
    holder = Client(world, Key.of(key))
    stranger = Client(world)
    payload = {"certificate": certificate, "reason": 1}
    assert (await stranger.post(stranger.url("revoke-cert"), payload)).problem() == (403, "unauthorized")
    assert (await holder.post(holder.url("revoke-cert"), payload)).status == 200
    order = await member.ready()
    again = await member.post(order.json["finalize"], {"csr": b64(make_csr(("a.trusted.test",), key))})
    assert again.status in (400, 403), "a compromised key is blocked (trap T-23)"


async def test_another_account_cannot_revoke_unless_it_controls_the_names(world: World, member: Client) -> None:
    """RFC 8555 section 7.6, the third way: valid authorizations for all names. Rows: R21, A10."""
    certificate = await issued(member)
    other = Client(world)
    await other.register()
    payload = {"certificate": certificate}
    assert (await other.post(other.url("revoke-cert"), payload)).problem() == (403, "unauthorized")
    await other.ready("a.trusted.test")
    # What a product trusts a credential with is no control of the name.
    assert (await other.post(other.url("revoke-cert"), payload)).problem() == (403, "unauthorized")
    order = await member.order("shop.example.org")
    await answer_challenge(member, order.json["authorizations"][0])
    done = await member.post(order.json["finalize"], {"csr": b64(make_csr(("shop.example.org",), None))})
    payload = {"certificate": b64((await member.certificate(done)).public_bytes(Encoding.DER))}
    mine = await other.order("shop.example.org")
    await answer_challenge(other, mine.json["authorizations"][0])
    assert (await other.post(other.url("revoke-cert"), payload)).status == 200


async def test_certificates_of_others_and_what_is_none(member: Client) -> None:
    """Trap T-21: found by all its bytes; the rest is unknown or malformed. Rows: T-21."""
    real = await issued(member)
    forged = real[:-8] + ("AAAAAAAA" if real[-8:] != "AAAAAAAA" else "BBBBBBBB")
    for certificate in (forged, "AAAA", ""):
        answer = await member.post(member.url("revoke-cert"), {"certificate": certificate})
        assert answer.problem() == (404, "malformed")
    for payload in ({}, {"certificate": real + "=="}, {"certificate": real, "reason": "1"}, None):
        assert (await member.post(member.url("revoke-cert"), payload)).problem() == (400, "malformed")
