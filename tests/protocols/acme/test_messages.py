"""Payloads and objects as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_core.names import Identifier, IdentifierType
from policy.account import Account, AccountStatus
from policy.ids import AccountId, AuthorizationId, CredentialId, OrderId
from policy.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Order,
    OrderKind,
    OrderStatus,
    StoredProblem,
)
from policy.problems import BadTime, Malformed, Problem, RejectedIdentifier, UnsupportedIdentifier
from protocols.acme import messages
from protocols.acme.messages import WantedIdentifier
from protocols.acme.problems import CompoundProblem
from protocols.acme.urls import URLs
from tests.replacing import replace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = URLs("https://ca.test", "default")
NAME = Identifier(IdentifierType.DNS, "a.test")
ORDER = Order(
    id=OrderId("o1"),
    owner="a1",
    credential=CredentialId("c1"),
    requester="account:a1",
    mount="acme/default",
    product="standard",
    product_version=1,
    kind=OrderKind.ENROLL,
    status=OrderStatus.PENDING,
    identifiers=(NAME,),
    created=NOW,
    updated=NOW,
    expires=NOW + timedelta(days=7),
    authorizations=(AuthorizationId("z1"),),
)


def shown(order: Order, **more: Any) -> dict[str, Any]:
    found = json.loads(messages.write_order(order, HERE, NOW, **more))
    assert isinstance(found, dict)
    return found


# --------------------------------------------------------------------------- payloads


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (messages.NewOrderPayload, b""),
        (messages.NewOrderPayload, b"[]"),
        (messages.NewOrderPayload, b"{}"),
        (messages.NewOrderPayload, b'{"identifiers":"a.test"}'),
        (messages.NewOrderPayload, b'{"identifiers":["a.test"]}'),
        (messages.NewOrderPayload, b'{"identifiers":[{"type":"dns"}]}'),
        (messages.NewOrderPayload, b'{"identifiers":[{"type":1,"value":"x"}]}'),
        (messages.NewOrderPayload, b'{"identifiers":[],"notBefore":"tomorrow"}'),
        (messages.NewOrderPayload, b'{"identifiers":[],"notBefore":"2026-03-01T12:00:00"}'),
        (messages.NewOrderPayload, b'{"identifiers":[],"notAfter":1772366400}'),
        (messages.NewAccountPayload, b'{"contact":"mailto:a@b.test"}'),
        (messages.NewAccountPayload, b'{"termsOfServiceAgreed":"yes"}'),
        (messages.NewAccountPayload, b'{"externalAccountBinding":"x"}'),
        (messages.FinalizePayload, b'{"csr":1}'),
        (messages.ChallengePayload, b'"x"'),
        (messages.RevocationPayload, b'{"certificate":"x","reason":"1"}'),
        (messages.RevocationPayload, b'{"certificate":"x","reason":true}'),
        (messages.StatusPayload, b"{" + b'"a":[' * 5000),
        (messages.StatusPayload, b'{"status":"\xff"}'),
    ],
    ids=range(19),
)
def test_wrong_payloads_are_malformed(kind: type[Any], payload: bytes) -> None:
    """RFC 8555 section 7: objects with the members of their resource."""
    with pytest.raises(Malformed):
        messages.read_payload(kind, payload)


@pytest.mark.parametrize("kind", messages._PAYLOADS)
@given(payload=st.binary(max_size=60))
def test_any_payload_is_read_or_a_problem(kind: type[Any], payload: bytes) -> None:
    """No other exception. Rows: T-25."""
    try:
        messages.read_payload(kind, payload)
    except Problem:
        return


def test_members_that_a_payload_does_not_name_are_ignored() -> None:
    """RFC 8555 section 7.3: `orders`, `status` and what is unknown never count. Rows: R14."""
    found = messages.read_payload(
        messages.NewAccountPayload, b'{"status":"revoked","orders":"x","contact":[],"unknown":{"a":1}}'
    )
    assert found == messages.NewAccountPayload()


def test_identifiers_are_normal_and_each_once() -> None:
    """RFC 8555 section 7.1.3 and 7.1.4: lower case, in the client's order. Rows: A6."""
    wanted = [WantedIdentifier("dns", name) for name in ("B.test", "a.test", "b.TEST", "*.a.test")]
    assert [one.value for one in messages.read_identifiers(wanted, 10)] == ["b.test", "a.test", "*.a.test"]


def test_all_wrong_identifiers_are_told_at_once() -> None:
    """RFC 8555 section 6.7.1."""
    bad = [WantedIdentifier("dns", name) for name in ("a_b.test", "good.test", "a..b")]
    with pytest.raises(RejectedIdentifier) as caught:
        messages.read_identifiers(bad, 10)
    assert len(caught.value.subproblems) == 2
    with pytest.raises(CompoundProblem) as mixed:
        messages.read_identifiers([*bad, WantedIdentifier("magic", "x")], 10)
    assert len(mixed.value.subproblems) == 3
    with pytest.raises(UnsupportedIdentifier):
        messages.read_identifiers([WantedIdentifier("magic", "x")], 10)


@pytest.mark.parametrize("value", ["2001:DB8::1", "010.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "1.2.3"])
def test_addresses_come_in_their_one_text(value: str) -> None:
    """RFC 8738 section 3. Rows: R26."""
    with pytest.raises(RejectedIdentifier):
        messages.read_identifiers([WantedIdentifier("ip", value)], 10)


@pytest.mark.parametrize("count", [0, 11])
def test_no_and_too_many_identifiers_are_malformed(count: int) -> None:
    """The setting bounds them before anything else looks at them. Rows: A6, T-25."""
    with pytest.raises(Malformed):
        messages.read_identifiers([WantedIdentifier("dns", "a.test")] * count, 10)


def test_moments_are_utc_and_whole() -> None:
    """RFC 8555 section 7.4: what cannot be granted as asked is refused."""
    payload = b'{"identifiers":[],"notBefore":"2026-03-01T14:00:00+02:00","notAfter":"2026-03-01T12:00:00.5Z"}'
    read = messages.read_payload(messages.NewOrderPayload, payload)
    assert messages.read_moment("notBefore", read.notBefore) == NOW
    assert messages.read_moment("notBefore", None) is None
    with pytest.raises(BadTime):
        messages.read_moment("notAfter", read.notAfter)


# --------------------------------------------------------------------------- objects


def test_a_pending_order() -> None:
    """RFC 8555 section 7.1.3: these members, and no others."""
    assert shown(ORDER) == {
        "status": "pending",
        "expires": "2026-03-08T12:00:00Z",
        "identifiers": [{"type": "dns", "value": "a.test"}],
        "authorizations": ["https://ca.test/acme/default/authz/z1"],
        "finalize": "https://ca.test/acme/default/order/o1/finalize",
        "profile": "standard",
    }


def test_a_valid_order_shows_its_certificate() -> None:
    """Only a valid one does."""
    valid = replace(ORDER, status=OrderStatus.VALID, serial="0a", not_before=NOW, not_after=NOW)
    found = shown(valid, replaces="a.b")
    assert found["certificate"] == "https://ca.test/acme/default/cert/0a"
    assert found["notBefore"] == found["notAfter"] == "2026-03-01T12:00:00Z"
    assert found["replaces"] == "a.b"
    assert "error" not in found
    assert "certificate" not in shown(replace(valid, status=OrderStatus.PROCESSING))


def test_every_status_has_a_word_of_the_standard() -> None:
    """RFC 8555 section 7.1.6 knows five. Rows: A6."""
    words = {"pending", "ready", "processing", "valid", "invalid"}
    for status in OrderStatus:
        assert shown(replace(ORDER, status=status))["status"] in words
    assert shown(replace(ORDER, status=OrderStatus.HELD))["status"] == "processing"
    assert shown(replace(ORDER, status=OrderStatus.CANCELLED))["status"] == "invalid"


def test_an_order_whose_time_is_over_is_invalid() -> None:
    """Expiry is seen by the clock; what is being signed or done is not touched by it. Rows: A6."""
    over = replace(ORDER, expires=NOW)
    assert shown(over)["status"] == "invalid"
    assert shown(replace(over, status=OrderStatus.READY))["status"] == "invalid"
    assert shown(replace(over, status=OrderStatus.PROCESSING))["status"] == "processing"
    assert shown(replace(over, status=OrderStatus.VALID))["status"] == "valid"


def test_an_invalid_order_says_why() -> None:
    """RFC 8555 section 7.1.3 `error`."""
    failed = replace(ORDER, status=OrderStatus.INVALID, problem=StoredProblem("validation-dns", "no answer", (), NAME))
    assert shown(failed)["error"] == {
        "type": "urn:ietf:params:acme:error:dns",
        "detail": "no answer",
        "status": 400,
        "subproblems": [
            {
                "type": "urn:ietf:params:acme:error:dns",
                "detail": "no answer",
                "identifier": {"type": "dns", "value": "a.test"},
            }
        ],
    }


def authorization(**changes: Any) -> Authorization:
    made = Authorization(
        id=AuthorizationId("z1"),
        owner="a1",
        mount="acme/default",
        identifier=NAME,
        wildcard=False,
        status=AuthorizationStatus.PENDING,
        created=NOW,
        expires=NOW + timedelta(days=1),
        challenges=(Challenge("http-01", "t1"), Challenge("dns-01", "t2")),
    )
    return replace(made, **changes)


def test_an_authorization() -> None:
    """RFC 8555 section 7.1.4: `wildcard` only when it is true, a token in every challenge. Rows: R12, C2."""
    found = json.loads(messages.write_authorization(authorization(), HERE, NOW))
    assert found == {
        "identifier": {"type": "dns", "value": "a.test"},
        "status": "pending",
        "expires": "2026-03-02T12:00:00Z",
        "challenges": [
            {"type": kind, "url": f"https://ca.test/acme/default/chall/z1/{kind}", "status": "pending", "token": token}
            for kind, token in (("http-01", "t1"), ("dns-01", "t2"))
        ],
    }
    wild = json.loads(messages.write_authorization(authorization(wildcard=True), HERE, NOW))
    assert wild["wildcard"] is True
    assert wild["identifier"]["value"] == "a.test"


def test_an_authorization_expires_by_the_clock() -> None:
    """RFC 8555 section 7.1.6."""
    for status in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
        found = json.loads(messages.write_authorization(authorization(status=status, expires=NOW), HERE, NOW))
        assert found["status"] == "expired"


def test_a_challenge_shows_when_and_why() -> None:
    """RFC 8555 section 8: validated, error."""
    valid = Challenge("dns-01", "t", ChallengeStatus.VALID, NOW)
    assert json.loads(messages.write_challenge(valid, authorization(), HERE))["validated"] == "2026-03-01T12:00:00Z"
    failed = Challenge("dns-01", "t", ChallengeStatus.INVALID, error=StoredProblem("validation-caa", "forbidden"))
    assert json.loads(messages.write_challenge(failed, authorization(), HERE))["error"]["type"].endswith(":caa")


def test_being_validated_means_a_challenge_is_processing() -> None:
    """Only then does Retry-After make sense."""
    trying = authorization(challenges=(Challenge("http-01", "t", ChallengeStatus.PROCESSING),))
    assert messages.being_validated(trying)
    assert not messages.being_validated(authorization())
    assert not messages.being_validated(replace(trying, status=AuthorizationStatus.INVALID))


def test_an_account() -> None:
    """RFC 8555 section 7.1.2: `orders` is always there, the rest where it is known. Rows: R11."""
    plain = Account(AccountId("a1"), "acme/default", CredentialId("c1"), AccountStatus.VALID, b"", {}, "t", (), NOW)
    orders = "https://ca.test/acme/default/account/a1/orders"
    assert json.loads(messages.write_account(plain, HERE)) == {"status": "valid", "orders": orders}
    full = replace(plain, contact=("mailto:a@b.test",), agreed="https://terms", binding={"protected": "x"})
    assert json.loads(messages.write_account(full, HERE)) == {
        "status": "valid",
        "contact": ["mailto:a@b.test"],
        "termsOfServiceAgreed": True,
        "externalAccountBinding": {"protected": "x"},
        "orders": orders,
    }


def test_an_orders_list_leaves_out_what_came_to_nothing() -> None:
    """RFC 8555 section 7.1.2.1."""
    orders = [replace(ORDER, id=OrderId(status), status=status) for status in OrderStatus]
    found = json.loads(messages.write_orders(orders, HERE, NOW))["orders"]
    assert [url.rpartition("/")[2] for url in found] == ["draft", "pending", "ready", "held", "processing", "valid"]


def test_a_directory_has_no_new_authz_and_always_meta() -> None:
    """RFC 8555 section 7.1.1; appliances fail without `meta`. Rows: R10, C9."""
    found = json.loads(
        messages.write_directory(HERE, (), binding_required=True, terms_of_service="", website="", caa_identities=())
    )
    assert found.pop("meta") == {"externalAccountRequired": True, "profiles": {}}
    assert set(found) == {"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo"}
    full = json.loads(
        messages.write_directory(
            HERE,
            (),
            binding_required=False,
            terms_of_service="https://terms",
            website="https://site",
            caa_identities=("ca.test",),
        )
    )
    assert full["meta"] == {
        "termsOfService": "https://terms",
        "website": "https://site",
        "caaIdentities": ["ca.test"],
        "externalAccountRequired": False,
        "profiles": {},
    }
