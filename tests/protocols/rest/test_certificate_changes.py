"""Certificates over the API: found, renewed, reissued, revoked with blocks, suspended, tagged, changed in bulk."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House
from tests.policy.making import change_product
from tests.protocols.rest.world import API, access_key, make_csr, stranger_key

NAME = "a.certgate.test"


async def client_of(house: House, api: API) -> API:
    return api.with_key(await access_key(house))


async def issued(client: API, name: str = NAME, **more: Any) -> Any:
    made = await client("POST", "/orders", {"csr": make_csr(name), **more})
    assert made.status == 201, made.body
    return made.json["certificate"]


async def status(client: API, serial: str) -> str:
    found: str = (await client("GET", f"/certificates/{serial}/status")).json["status"]
    return found


async def test_a_certificate_is_renewed_by_its_kept_request(house: House, api: API) -> None:
    """The successor names it; a second one is refused."""
    client = await client_of(house, api)
    old = await issued(client)
    renewed = await client("POST", f"/certificates/{old['serial']}/renew", {})
    assert (renewed.status, renewed.json["kind"], renewed.json["replaces"]) == (201, "renew", old["serial"])
    again = await client("POST", f"/certificates/{old['serial']}/renew", {})
    assert (again.status, again.code) == (409, "already-replaced")


async def test_a_certificate_is_reissued_with_other_names(house: House, api: API) -> None:
    """With a request for them; the one before is revoked by the worker."""
    client = await client_of(house, api)
    old = await issued(client)
    wanted = {"names": [NAME, "b.certgate.test"], "csr": make_csr(NAME, "b.certgate.test")}
    made = await client("POST", f"/certificates/{old['serial']}/reissue", wanted | {"revoke_previous": "superseded"})
    assert (made.status, made.json["kind"]) == (201, "change-names")
    (job,) = await house.core.store.lease_jobs(("retire",), house.clock(), 60, 10)
    await house.core.lifecycle.succession.retire(job.object)
    assert await status(client, old["serial"]) == "revoked"


async def test_another_key_is_asked_for(house: House, api: API) -> None:
    """202 with what is owed; nothing to change is a mistake."""
    client = await client_of(house, api)
    old = await issued(client)
    nothing = await client("POST", f"/certificates/{old['serial']}/reissue", {})
    assert (nothing.code, nothing.json["errors"][0]["nearest"]) == ("invalid", True)
    made = await client("POST", f"/certificates/{old['serial']}/reissue", {"new_key": True})
    assert (made.status, [one["kind"] for one in made.json["requirements"]]) == (202, ["request"])


async def test_a_revocation_blocks_what_comes_after_it(house: House, api: API) -> None:
    """block_reissue, listed and lifted; the requester may not lift."""
    client = await client_of(house, api)
    old = await issued(client)
    gone = await client(
        "POST", f"/certificates/{old['serial']}/revoke", {"reason": "superseded", "block_reissue": True}
    )
    assert (gone.status, gone.json["status"], gone.json["reason"]) == (200, "revoked", "superseded")
    refused = await client("POST", "/orders", {"csr": make_csr(NAME)})
    assert refused.code == "forbidden" and "blocked" in refused.json["detail"]
    assert (await client("GET", "/blocks")).code == "forbidden"
    blocks = (await api("GET", "/blocks?status=active")).json["items"]
    assert {one["subject"].partition(":")[0] for one in blocks} == {"identity", "key"}
    for one in blocks:
        assert (await api("POST", f"/blocks/{one['id']}/lift", {"why": "done"})).json["status"] == "lifted"
    assert (await client("POST", "/orders", {"csr": make_csr(NAME)})).status == 201


async def test_a_reason_that_is_not_the_subscribers_is_refused(house: House, api: API) -> None:
    """The nearest allowed one is told; a misspelt one as well (W12)."""
    client = await client_of(house, api)
    old = await issued(client)
    path = f"/certificates/{old['serial']}/revoke"
    refused = await client("POST", path, {"reason": "cACompromise"})
    assert (refused.code, refused.pointers) == ("bad-revocation-reason", ["/reason"])
    assert refused.json["errors"][0]["nearest"] == "unspecified"
    misspelt = await client("POST", path, {"reason": "superseeded"})
    assert misspelt.json["errors"][0]["nearest"] == "superseded"
    assert (await api("POST", path, {"reason": "privilegeWithdrawn"})).json["status"] == "revoked"


async def test_hold_and_release(house: House, api: API) -> None:
    """Where the product knows suspension; else the refusal says so."""
    client = await client_of(house, api)
    old = await issued(client)
    path = f"/certificates/{old['serial']}"
    assert (await client("POST", f"{path}/hold")).json["status"] == "on_hold"
    assert (await client("POST", f"{path}/release")).json["status"] == "valid"
    await change_product(house, suspension=False)
    refused = await client("POST", f"{path}/hold")
    assert refused.code == "forbidden" and "cannot be suspended" in refused.json["detail"]


async def test_certificates_are_found_and_exported(house: House, api: API) -> None:
    """By name, tag and status; the same filters for the export."""
    client = await client_of(house, api)
    one, other = await issued(client, "x.a.certgate.test", tags=["web"]), await issued(client, "b.certgate.test")
    found = (await client("GET", "/certificates?name=.a.certgate.test&status=valid&tag=web")).json["items"]
    assert [each["serial"] for each in found] == [one["serial"]]
    rows = (await client("GET", "/certificates?status=valid", headers={"Accept": "text/csv"})).body.decode()
    assert rows.count("\r\n") == 3 and other["serial"] in rows
    tagged = await client("PUT", f"/certificates/{other['serial']}/tags", {"tags": ["db", "db"]})
    assert tagged.json["tags"] == ["db"]
    assert (await client("PUT", f"/certificates/{other['serial']}/tags", {"tags": ["a b"]})).pointers == ["/tags"]
    assert (await client("GET", "/certificates?status=vaild")).json["errors"][0]["nearest"] == "valid"


async def test_certificates_of_another_group_are_not_there(house: House, api: API) -> None:
    """In the very words of one that does not exist."""
    mine = await issued(await client_of(house, api))
    eve = api.with_key(await stranger_key(house))
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/status", None),
        ("POST", "/renew", {}),
        ("POST", "/reissue", {"new_key": True}),
        ("POST", "/revoke", {}),
        ("POST", "/hold", None),
        ("PUT", "/tags", {"tags": []}),
    ):
        theirs = await eve(method, f"/certificates/{mine['serial']}{path}", body)
        nobodys = await eve(method, f"/certificates/{'0' * 40}{path}", body)
        assert (theirs.status, theirs.body) == (404, nobodys.body)
    assert (await eve("GET", "/certificates")).json["items"] == []


async def test_many_certificates_are_changed_after_a_preview(house: House, api: API) -> None:
    """What was not seen is not changed; how far it has come can be asked."""
    client = await client_of(house, api)
    serials = [(await issued(client, f"n{place}.certgate.test"))["serial"] for place in range(3)]
    wanted = {"action": "hold", "filter": {"name": ".certgate.test", "product": "tls"}}
    assert (await client("POST", "/bulk-changes/preview", wanted)).code == "forbidden"
    seen = (await api("POST", "/bulk-changes/preview", wanted)).json
    assert (seen["matched"], seen["changed"], seen["products"]) == (3, 3, {"tls": 3})
    assert (await api("POST", "/bulk-changes", wanted | {"expected": 2})).code == "conflict"
    begun = await api("POST", "/bulk-changes", wanted | {"expected": 3})
    assert begun.status == 202
    while await house.core.lifecycle.bulks.go_on(begun.json["id"]) is not None:
        pass
    done = (await api("GET", f"/bulk-changes/{begun.json['id']}")).json
    assert (done["done"], done["failed"], done["ended"] is not None) == (3, 0, True)
    assert {await status(client, one) for one in serials} == {"on_hold"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "hold", "filter": {}, "expected": 1}, "/filter"),
        ({"action": "revoke", "filter": {"text": "a"}, "expected": 1}, "/reason"),
        ({"action": "hodl", "filter": {"text": "a"}, "expected": 1}, "/action"),
        ({"action": "hold", "filter": {"status": "vaild"}, "expected": 1}, "/filter/status"),
    ],
)
async def test_a_bulk_change_that_cannot_be_meant_names_its_field(api: API, body: dict[str, Any], pointer: str) -> None:
    """Before anything is changed."""
    answer = await api("POST", "/bulk-changes", body)
    assert answer.status in (400, 422) and answer.pointers == [pointer], answer.body


async def test_a_block_that_cannot_be_read_names_its_field(api: API) -> None:
    """With what would be right."""
    answer = await api("POST", "/blocks", {"kind": "identity", "value": "a.example", "why": "x"})
    assert answer.pointers == ["/value"] and 'write "dns:a.example"' in answer.json["detail"]
