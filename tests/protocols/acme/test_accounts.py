"""Accounts (RFC 8555 section 7.3): registered, found, bound, changed, rekeyed, deactivated; and their
orders."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from policy.audit import AuditTag, read_leaf
from policy.sealing import fingerprint
from policy.store import AUDIT
from protocols.acme.settings import ACMESettings
from tests.protocols.acme.client import Answer, Client, Key, b64, make_csr, unb64
from tests.protocols.acme.world import EAB_KEY, ORIGIN, TERMS, World, make_world
from tests.replacing import replace

# --------------------------------------------------------------------------- newAccount


async def test_a_new_account(client: Client) -> None:
    """RFC 8555 section 7.3: 201, its URL, the object. Rows: A4."""
    answer = await client.register(contact=["mailto:a@example.org"])
    assert answer.status == 201
    location = answer.header("Location")
    assert location.startswith(f"{ORIGIN}/acme/default/account/")
    assert answer.json == {
        "status": "valid",
        "contact": ["mailto:a@example.org"],
        "orders": location + "/orders",
    }


async def test_an_account_is_found_by_its_key(client: Client) -> None:
    """RFC 8555 section 7.3.1: 200, the same URL, nothing changed; with or without onlyReturnExisting. Rows: A4."""
    first = await client.register(contact=["mailto:a@example.org"])
    for payload in ({"onlyReturnExisting": True}, {"contact": ["mailto:b@example.org"]}):
        client.kid = None
        again = await client.post(client.url("new-account"), payload)
        assert again.status == 200
        assert again.header("Location") == first.header("Location")
        assert again.json == first.json


async def test_only_return_existing_makes_nothing(client: Client) -> None:
    """RFC 8555 section 7.3.1: 400 accountDoesNotExist. Rows: A4."""
    for _ in range(2):
        answer = await client.post(client.url("new-account"), {"onlyReturnExisting": True})
        assert answer.problem() == (400, "accountDoesNotExist")


async def test_the_same_key_at_once_makes_one_account(client: Client) -> None:
    """A race ends with one account and the same URL for everybody."""
    clients = [Client(client.world, client.key) for _ in range(5)]
    answers = await asyncio.gather(*(one.register() for one in clients))
    assert len({answer.header("Location") for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 201]


async def test_what_a_client_may_not_say_is_ignored(client: Client) -> None:
    """RFC 8555 section 7.3: `orders`, `status` and unknown members; onlyReturnExisting is never reflected.

    Rows: R14.
    """
    answer = await client.register(status="revoked", orders="https://evil.test", onlyReturnExisting=False, x={"y": 1})
    assert answer.json == {"status": "valid", "orders": answer.header("Location") + "/orders"}


@pytest.mark.parametrize(
    ("contact", "said"),
    [
        (["tel:+49123"], "unsupportedContact"),
        (["mailto:a@b.test,c@d.test"], "invalidContact"),
        (["mailto:a@b.test?cc=c@d.test"], "invalidContact"),
        (["mailto:a@b.test"] * 11, "malformed"),
        ("mailto:a@b.test", "malformed"),
    ],
)
async def test_contacts_are_checked(client: Client, contact: Any, said: str) -> None:
    """RFC 8555 section 7.3; nothing is registered. Rows: A4."""
    assert (await client.register(contact=contact)).problem() == (400, said)
    assert (await client.register(onlyReturnExisting=True)).problem() == (400, "accountDoesNotExist")


# --------------------------------------------------------------------------- terms


async def test_terms_have_to_be_agreed_to(world: World) -> None:
    """RFC 8555 section 7.3: userActionRequired, with the link. Rows: C5."""
    client = Client(world, label="bound")
    binding = client.binding("kid-1", EAB_KEY)
    for payload in ({}, {"termsOfServiceAgreed": False}):
        answer = await client.post(client.url("new-account"), payload | {"externalAccountBinding": binding})
        assert answer.problem() == (403, "userActionRequired")
        assert answer.links("terms-of-service") == [TERMS]
        assert answer.json["instance"] == TERMS
    answer = await client.register(externalAccountBinding=binding)
    assert answer.status == 201
    assert answer.json["termsOfServiceAgreed"] is True
    assert answer.links("terms-of-service") == [TERMS]


async def test_changed_terms_can_stop_orders_until_they_are_agreed_to(world: World) -> None:
    """RFC 8555 section 7.3.3, where the mount wants it; the account itself stays readable. Rows: A4."""
    client = Client(world)
    await client.register()
    options = {"terms_of_service": "https://ca.certgate.test/terms-2", "require_current_terms": True}
    changed = replace(world.mounts[0], options=options, version=2)
    await world.save(changed)
    world.mount(changed)
    answer = await client.order("a.trusted.test")
    assert answer.problem() == (403, "userActionRequired")
    assert answer.links("terms-of-service") == ["https://ca.certgate.test/terms-2"]
    assert (await client.post(client.kid or "")).status == 200
    agreed = await client.post(client.kid or "", {"termsOfServiceAgreed": True})
    assert agreed.json["termsOfServiceAgreed"] is True
    assert (await client.order("a.trusted.test")).status == 201


# --------------------------------------------------------------------------- external account binding


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_a_bound_account(world: World, alg: str) -> None:
    """RFC 8555 section 7.3.4: each MAC; the binding is echoed. Rows: R15, A5."""
    client = Client(world, label="bound")
    binding = client.binding("kid-1", EAB_KEY, alg)
    answer = await client.register(externalAccountBinding=binding)
    assert answer.status == 201
    assert answer.json["externalAccountBinding"] == binding
    assert (await client.post(client.kid or "")).json["externalAccountBinding"] == binding
    account = await world.ra.account("acme/bound", (client.kid or "").rpartition("/")[2])
    assert account.credential == "bound"


async def test_a_binding_is_required_where_the_mount_has_no_open_credential(world: World) -> None:
    """403 externalAccountRequired. Rows: A5."""
    client = Client(world, label="bound")
    assert (await client.register()).problem() == (403, "externalAccountRequired")


async def refused(client: Client, binding: Any) -> tuple[int, str]:
    return (await client.register(externalAccountBinding=binding)).problem()


async def test_bindings_that_do_not_prove_the_credential(world: World) -> None:
    """A wrong key and an unknown kid are answered alike; a good one still works afterwards."""
    client = Client(world, label="bound")
    wrong = await client.register(externalAccountBinding=client.binding("kid-1", b"x" * 32))
    unknown = await client.register(externalAccountBinding=client.binding("nobody", EAB_KEY))
    assert wrong.problem() == unknown.problem() == (401, "unauthorized")
    assert wrong.json == unknown.json
    assert (await refused(client, client.binding("open", EAB_KEY))) == (401, "unauthorized")
    assert (await client.register(externalAccountBinding=client.binding("kid-1", EAB_KEY))).status == 201


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": ORIGIN + "/acme/default/new-account"}, (401, "unauthorized")),
        ({"nonce": "AAAA"}, (400, "malformed")),
        ({"alg": "none"}, (400, "badSignatureAlgorithm")),
        ({"alg": "ES256"}, (400, "badSignatureAlgorithm")),
        ({"kid": None}, (400, "malformed")),
        ({"jwk": {"kty": "EC"}}, (400, "malformed")),
        ({"crit": ["kid"]}, (400, "malformed")),
    ],
    ids=str,
)
async def test_bindings_of_a_wrong_form(world: World, changes: dict[str, Any], said: tuple[int, str]) -> None:
    """RFC 8555 section 7.3.4: MAC, kid, no nonce, the URL of newAccount. Rows: R15."""
    client = Client(world, label="bound")
    assert await refused(client, client.binding("kid-1", EAB_KEY, **changes)) == said


async def test_a_binding_is_for_one_key(world: World) -> None:
    """A binding that was seen cannot bind somebody else's account. Rows: R15."""
    victim, thief = Client(world, label="bound"), Client(world, label="bound")
    assert await refused(thief, victim.binding("kid-1", EAB_KEY)) == (401, "unauthorized")


async def test_a_single_use_credential_binds_one_account(world: World) -> None:
    """Also when several ask at the same moment (trap T-7). Rows: A5, T-7."""
    clients = [Client(world, label="bound") for _ in range(4)]
    answers = await asyncio.gather(
        *(one.register(externalAccountBinding=one.binding("kid-single", EAB_KEY)) for one in clients)
    )
    assert sorted(answer.status for answer in answers) == [201, 403, 403, 403]
    assert all(answer.problem() == (403, "unauthorized") for answer in answers if answer.status == 403)


async def test_a_multiple_use_credential_binds_many(world: World) -> None:
    """Without a use limit. Rows: A5."""
    for _ in range(3):
        client = Client(world, label="bound")
        assert (await client.register(externalAccountBinding=client.binding("kid-1", EAB_KEY))).status == 201


async def test_a_binding_counts_also_where_none_is_needed(world: World) -> None:
    """The account then belongs to the credential, not to the open one."""
    client = Client(world)
    assert (await client.register(externalAccountBinding=client.binding("kid-1", EAB_KEY))).status == 201
    account = await world.ra.account("acme/default", (client.kid or "").rpartition("/")[2])
    assert account.credential == "bound"
    assert await refused(Client(world), Client(world).binding("kid-1", EAB_KEY)) == (401, "unauthorized")


async def test_a_revoked_credential_binds_nobody_and_finds_nobody(world: World) -> None:
    """Its accounts are of no use either, and newAccount says so."""
    client = Client(world, label="bound")
    await client.register(externalAccountBinding=client.binding("kid-1", EAB_KEY))
    await world.revoke_credential("bound")
    assert await refused(Client(world, label="bound"), None) == (403, "externalAccountRequired")
    other = Client(world, label="bound")
    assert await refused(other, other.binding("kid-1", EAB_KEY)) == (403, "unauthorized")
    client.kid = None
    assert (await client.register(onlyReturnExisting=True)).problem() == (403, "unauthorized")


# --------------------------------------------------------------------------- change and deactivation


async def test_contacts_are_changed(member: Client) -> None:
    """RFC 8555 section 7.3.2; an empty object changes nothing, an empty list takes them away. Rows: A4."""
    url = member.kid or ""
    assert (await member.post(url, {"contact": ["mailto:b@example.org"]})).json["contact"] == ["mailto:b@example.org"]
    assert (await member.post(url, {})).json["contact"] == ["mailto:b@example.org"]
    assert (await member.post(url)).json["contact"] == ["mailto:b@example.org"]
    assert (await member.post(url, {"contact": ["tel:1"]})).problem() == (400, "unsupportedContact")
    assert "contact" not in (await member.post(url, {"contact": []})).json


@pytest.mark.parametrize("status", ["revoked", "pending", "", "Deactivated"])
async def test_no_other_status_can_be_set(member: Client, status: str) -> None:
    """RFC 8555 section 7.3.6."""
    assert (await member.post(member.kid or "", {"status": status})).problem() == (400, "malformed")


async def test_accounts_see_only_themselves(world: World, member: Client) -> None:
    """Trap T-18: account, orders list; whether the other one exists is not told. Rows: T-18."""
    other = Client(world)
    await other.register()
    nobody = member.url("account/aaaaaaaaaaaaaaaaaaaaaaaaaa")
    for url in (other.kid or "", nobody, f"{other.kid}/orders", f"{nobody}/orders"):
        answer = await member.post(url)
        assert answer.problem() == (403, "unauthorized")
        assert answer.json["detail"] == "an account can only see and change itself"
    assert (await member.post(other.kid or "", {"status": "deactivated"})).status == 403
    assert (await other.post(other.kid or "")).json["status"] == "valid"


async def test_a_deactivated_account_is_over(member: Client) -> None:
    """RFC 8555 section 7.3.6: 401 afterwards, open orders end, its key registers nothing any more. Rows: R17, T-20."""
    order = await member.ready()
    answer = await member.post(member.kid or "", {"status": "deactivated"})
    assert answer.json["status"] == "deactivated"
    for url in (member.kid or "", order.header("Location"), member.url("new-order")):
        assert (await member.post(url)).problem() == (401, "unauthorized")
    member.kid = None
    for payload in ({}, {"onlyReturnExisting": True}):
        assert (await member.post(member.url("new-account"), payload)).problem() == (401, "unauthorized")


# --------------------------------------------------------------------------- key change


def change(
    client: Client, new: Key, *, payload: dict[str, Any] | None = None, url: str | None = None, **header: Any
) -> dict[str, Any]:
    """The inner JWS of a key change (RFC 8555 section 7.3.5)."""
    payload = {"account": client.kid, "oldKey": client.key.public} | (payload or {})
    inner = new.sign(json.dumps(payload).encode(), url or client.url("key-change"), **header)
    found = json.loads(inner)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("new", [Key.ec(), Key.ec(ec.SECP384R1()), Key.rsa()], ids=["ES256", "ES384", "RS256"])
async def test_a_key_is_changed(member: Client, new: Key) -> None:
    """RFC 8555 section 7.3.5: the new key works, the old one is dead at once, open orders go on. Rows: R16, A4."""
    order = await member.ready()
    answer = await member.post(member.url("key-change"), change(member, new))
    assert answer.status == 200
    assert answer.header("Location") == member.kid
    same = new.alg.name == member.key.alg.name
    dead = (401, "unauthorized") if same else (400, "badSignatureAlgorithm")
    assert (await member.post(member.kid or "")).problem() == dead
    member.key = new
    assert (await member.post(order.header("Location"))).json["status"] == "ready"
    account, member.kid = member.kid, None
    assert (await member.register(onlyReturnExisting=True)).status == 200
    assert member.kid == account


async def test_the_old_key_registers_anew_or_not_at_all(member: Client) -> None:
    """After a change the old key has no account."""
    old, new = member.key, Key.ec()
    await member.post(member.url("key-change"), change(member, new))
    stranger = Client(member.world, old)
    assert (await stranger.register(onlyReturnExisting=True)).problem() == (400, "accountDoesNotExist")


async def test_a_key_of_another_account_is_a_conflict(world: World, member: Client) -> None:
    """409, and the URL of the account that has it; the own key is in use as well. Rows: R16."""
    other = Client(world)
    await other.register()
    answer = await member.post(member.url("key-change"), change(member, other.key))
    assert answer.problem() == (409, "malformed")
    assert answer.header("Location") == other.kid
    same = await member.post(member.url("key-change"), change(member, member.key))
    assert same.problem() == (409, "malformed")
    assert same.header("Location") == member.kid


async def changed(client: Client, inner: Any) -> Answer:
    answer = await client.post(client.url("key-change"), inner)
    assert (await client.post(client.kid or "")).status == 200, "the old key still works"
    return answer


async def test_key_changes_that_are_not_whole(world: World, member: Client) -> None:
    """Every check of RFC 8555 section 7.3.5. Rows: R16."""
    other = Client(world)
    await other.register()
    new = Key.ec()
    malformed = (400, "malformed")
    assert (await changed(member, {})).problem() == malformed
    assert (await changed(member, {"protected": "", "payload": "", "signature": ""})).problem() == malformed
    assert (await changed(member, change(member, new, payload={"account": other.kid}))).problem() == malformed
    assert (await changed(member, change(member, new, payload={"account": None}))).problem() == malformed
    assert (await changed(member, change(member, new, payload={"oldKey": other.key.public}))).problem() == malformed
    assert (await changed(member, change(member, new, payload={"oldKey": new.public}))).problem() == malformed
    assert (await changed(member, change(member, new, payload={"oldKey": "x"}))).problem() == malformed
    assert (await changed(member, change(member, new, url=member.url("new-order")))).problem() == malformed
    assert (await changed(member, change(member, new, nonce="AAAA"))).problem() == malformed
    assert (await changed(member, change(member, new, kid=member.kid))).problem() == malformed
    assert (await changed(member, change(member, Key.rsa(1024)))).problem() == (400, "badPublicKey")


async def test_the_new_key_has_to_sign(member: Client) -> None:
    """Without it anybody's public key could be claimed (proof of possession). Rows: R16."""
    inner = change(member, Key.ec())
    signature = bytearray(unb64(inner["signature"]))
    signature[-1] ^= 1
    inner["signature"] = b64(bytes(signature))
    assert (await changed(member, inner)).problem() == (401, "unauthorized")


# --------------------------------------------------------------------------- orders


async def test_the_orders_of_an_account_come_in_pages(acme_ca: tuple[SoftwareKeyStore, Issuer]) -> None:
    """RFC 8555 section 7.1.2.1: Link rel="next" until there is no more; each order once. Rows: R11."""
    world = await make_world(*acme_ca, settings=ACMESettings(orders_page_size=2))
    client = Client(world)
    await client.register()
    placed = {(await client.ready(f"a{n}.trusted.test")).header("Location") for n in range(5)}
    seen: list[str] = []
    url: str | None = f"{client.kid}/orders"
    pages = 0
    while url is not None:
        page = await client.post(url)
        assert page.status == 200
        seen += page.json["orders"]
        pages += 1
        url = next(iter(page.links("next")), None)
    assert pages == 3
    assert len(seen) == len(set(seen))
    assert set(seen) == placed
    await world.store.close()


async def test_the_list_has_no_orders_of_others_and_none_that_failed(world: World, member: Client) -> None:
    """RFC 8555 section 7.1.2.1. Rows: A4."""
    other = Client(world)
    await other.register()
    await other.ready()
    good = await member.ready("good.trusted.test")
    pending = await member.order("challenged.test")
    authorization = pending.json["authorizations"][0]
    await member.post(authorization, {"status": "deactivated"})
    assert (await member.post(f"{member.kid}/orders")).json == {"orders": [good.header("Location")]}


@pytest.mark.parametrize("query", ["after=", "after=a/b", "after=a&after=b", "x=1"])
async def test_pages_that_were_not_handed_out(member: Client, query: str) -> None:
    """The cursor is ours."""
    assert (await member.post(f"{member.kid}/orders?{query}")).problem() == (400, "malformed")


async def test_the_key_of_an_account_is_no_key_for_certificates(member: Client) -> None:
    """RFC 8555 section 11.1: not of any account. Rows: R25."""
    order = await member.ready()
    csr = make_csr(("a.trusted.test",), member.key.private)
    answer = await member.post(order.json["finalize"], {"csr": b64(csr)})
    assert answer.problem() == (400, "badCSR")
    assert (await member.post(order.header("Location"))).json["status"] == "ready"


async def test_every_change_of_an_account_is_audited(member: Client) -> None:
    """Binding, contacts, key and end, each with what it was about: the key change tells both keys. Rows: A12, T-27."""
    bound = Client(member.world, label="bound")
    await bound.register(externalAccountBinding=bound.binding("kid-1", EAB_KEY))
    await member.post(member.kid or "", {"contact": ["mailto:a@example.org"]})
    old, new = member.key, Key.ec()
    await member.post(member.url("key-change"), change(member, new))
    member.key = new
    await member.post(member.kid or "", {"status": "deactivated"})
    rows = [read_leaf(row.leaf) for row in await member.world.store.many(AUDIT, 0, 500)]
    account = f"account:{(member.kid or '').rpartition('/')[2]}"
    found = {str(event.tag): event.detail for event in rows if event.object == account}
    assert list(found) == [
        "ra:account:registered",
        "ra:account:updated",
        "ra:account:rekeyed",
        "ra:account:deactivated",
    ]
    keys = [
        fingerprint(key.jwk.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for key in (old, new)
    ]
    assert [found["ra:account:rekeyed"][end] for end in ("from", "to")] == keys
    registered = [event.detail for event in rows if event.tag is AuditTag.ACCOUNT_REGISTERED]
    assert [(one["credential"], one["thumbprint"]) for one in registered] == [
        ("open", old.thumbprint),
        ("bound", bound.key.thumbprint),
    ]
