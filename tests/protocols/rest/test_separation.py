"""Nobody decides about what they had a hand in (invariant I9), however they came to have it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from policy.account import User
from policy.product import DocumentRule
from tests.conftest import ACTOR, House
from tests.policy.making import change_product
from tests.protocols.rest.world import API, access_key, make_csr

NAME, OTHER = "a.certgate.test", "b.certgate.test"


async def somebody(house: House, api: API, name: str, *roles: str) -> API:
    """A user of the group "ops" with these roles, and an access key."""
    await house.core.people.apply_user(User(name, ("ops",), roles=roles), ACTOR)
    return api.with_key(await access_key(house, name, products=("tls", "held")))


async def requester(house: House, api: API) -> API:
    return api.with_key(await access_key(house, products=("tls", "held")))


async def held(client: API, **body: Any) -> str:
    made = await client("POST", "/orders", {"product": "held", **body})
    assert made.status in (201, 202), made.body
    return f"/orders/{made.json['id']}"


async def renewed_for_another(client: API, both: API) -> str:
    old = (await client("POST", "/orders", {"csr": make_csr(NAME), "product": "held"})).json["certificate"]
    await change_product(client.house, "held", approval=True)
    made = await both("POST", f"/certificates/{old['serial']}/renew", {})
    return f"/orders/{made.json['id']}"


async def changed(client: API, both: API) -> str:
    path = await held(client, names=[NAME], draft=True)
    assert (await both("PATCH", path, {"names": [OTHER], "csr": make_csr(OTHER)})).status == 200
    assert (await client("POST", f"{path}/submit")).json["status"] == "held"
    return path


async def brought_the_key(client: API, both: API) -> str:
    path = await held(client, names=[NAME])
    assert (await both("PUT", f"{path}/csr", {"csr": make_csr(NAME)})).json["status"] == "held"
    return path


async def tried_again(client: API, both: API) -> str:
    path = await held(client, csr=make_csr(NAME))
    await client("POST", f"{path}/cancel", {})
    return f"/orders/{(await both('POST', f'{path}/retry')).json['id']}"


async def submitted(client: API, both: API) -> str:
    path = await held(client, csr=make_csr(NAME), draft=True)
    assert (await both("POST", f"{path}/submit")).json["status"] == "held"
    return path


@pytest.mark.parametrize("way", [renewed_for_another, changed, brought_the_key, tried_again, submitted])
async def test_who_had_a_hand_in_an_order_does_not_approve_it(house: House, api: API, way: Any) -> None:
    """An operator who may also approve goes on with somebody else's order, and somebody else has to decide."""
    client, both = await requester(house, api), await somebody(house, api, "bob", "operator", "approver")
    if way is renewed_for_another:
        await change_product(house, "held", approval=False)
    path = await way(client, both)
    assert (await both("GET", path)).json["status"] == "held"
    assert (await both("POST", f"{path}/approve")).code == "forbidden"
    assert (await both("POST", f"{path}/reject", {})).code == "forbidden"
    assert (await api("POST", f"{path}/approve")).json["status"] == "valid"


async def test_who_had_a_portal_ask_does_not_approve(house: House, api: API) -> None:
    """The user in whose name a portal asks is the requester, whichever credential is used."""
    carol = await somebody(house, api, "carol", "requester", "approver")
    portal = await somebody(house, api, "portal", "administrator")
    made = await portal("POST", "/orders", {"csr": make_csr(NAME), "product": "held"}, {"X-On-Behalf-Of": "carol"})
    assert (made.status, made.json["status"]) == (202, "held")
    path = f"/orders/{made.json['id']}"
    assert (await carol("POST", f"{path}/approve")).code == "forbidden"
    assert (await portal("POST", f"{path}/approve")).code == "forbidden"
    assert (await api("POST", f"{path}/approve")).json["status"] == "valid"


async def test_who_handed_a_document_in_does_not_accept_it(house: House, api: API) -> None:
    """An operator who adds a paper to somebody else's order leaves the review to others."""
    await change_product(house, "tls", documents=(DocumentRule("letter"),))
    client, both = await requester(house, api), await somebody(house, api, "bob", "operator", "approver")
    made = (await client("POST", "/orders", {"csr": make_csr(NAME)})).json
    path = f"/orders/{made['id']}/documents"
    paper = {"type": "letter", "name": "l.pdf", "media_type": "application/pdf", "content": b64encode(b"%PDF").decode()}
    document = (await both("POST", path, paper)).json
    assert (await both("POST", f"{path}/{document['id']}/accept", {})).code == "forbidden"
    assert (await api("POST", f"{path}/{document['id']}/accept", {})).json["status"] == "valid"


async def test_a_paper_accepted_for_one_draft_does_not_count_for_another(house: House, api: API) -> None:
    """Whoever changes what is wanted has the papers looked at again."""
    await change_product(house, "tls", documents=(DocumentRule("letter"),))
    client = await requester(house, api)
    path = f"/orders/{(await client('POST', '/orders', {'names': [NAME], 'draft': True})).json['id']}"
    paper = {"type": "letter", "name": "l.pdf", "media_type": "application/pdf", "content": b64encode(b"%PDF").decode()}
    document = (await client("POST", f"{path}/documents", paper)).json
    assert (await api("POST", f"{path}/documents/{document['id']}/accept", {})).status == 200
    tagged = await client("PATCH", path, {"tags": ["web"]})
    assert (await client("GET", f"{path}/documents")).json["items"][0]["status"] == "accepted", tagged.body
    assert (await client("PATCH", path, {"names": [OTHER], "csr": make_csr(OTHER)})).status == 200
    assert (await client("GET", f"{path}/documents")).json["items"][0]["status"] == "waiting"
    assert (await client("POST", f"{path}/submit")).json["status"] == "pending"


async def test_a_reissue_revokes_only_for_who_may_revoke(house: House, api: API) -> None:
    """revoke_previous is a revocation: it needs the permission, and the reasons of a subscriber."""
    client = await requester(house, api)
    old = (await client("POST", "/orders", {"csr": make_csr(NAME)})).json["certificate"]["serial"]
    narrow = api.with_key(await access_key(house, options={"scopes": ["certificate:renew", "certificate:read"]}))
    wanted = {"csr": make_csr(NAME), "revoke_previous": "superseded"}
    assert (await narrow("POST", f"/certificates/{old}/reissue", wanted)).code == "forbidden"
    strange = await client("POST", f"/certificates/{old}/reissue", wanted | {"revoke_previous": "cACompromise"})
    assert (strange.code, strange.pointers) == ("bad-revocation-reason", ["/revoke_previous"])
    assert (await client("POST", f"/certificates/{old}/reissue", wanted)).status == 201


async def test_a_revocation_blocks_its_own_names_and_no_domain(house: House, api: API) -> None:
    """A domain has names of others below it: whoever may not block it otherwise may not do so by revoking."""
    client = await requester(house, api)
    old = (await client("POST", "/orders", {"csr": make_csr(NAME)})).json["certificate"]["serial"]
    wanted = {"reason": "superseded", "block_reissue": ["domain"]}
    assert (await client("POST", f"/certificates/{old}/revoke", wanted)).code == "forbidden"
    assert (await client("GET", f"/certificates/{old}/status")).json["status"] == "valid"
    assert (await api("POST", f"/certificates/{old}/revoke", wanted)).json["status"] == "revoked"
