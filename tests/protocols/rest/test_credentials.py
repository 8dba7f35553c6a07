"""Credentials as resources: forms drive them, a secret is shown once, what is revoked never comes back."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from policy.audit import AuditTag
from policy.forms import CredentialSettings
from tests.conftest import ACTOR, House
from tests.protocols.rest.world import API, Answer, access_key

NEW = {"type": "est", "user": "alice", "group": "ops", "products": ["tls"]}


async def made(api: API, **more: Any) -> Answer:
    answer = await api("POST", "/credentials", {**NEW, **more})
    assert answer.status == 201, answer.body
    return answer


def path(answer: Answer) -> str:
    """Where the credential of an answer is."""
    return f"/credentials/{answer.json['credential']['id']}"


async def test_a_secret_is_in_the_answer_that_makes_it_and_in_no_other(api: API) -> None:
    """Row 1.2: shown once; lists, details and exports never have it."""
    answer = await made(api, kit={"client": "curl"})
    secret = answer.json["secret"]
    assert secret and secret in " ".join(answer.json["kit"]["commands"])
    others = [
        await api("GET", "/credentials"),
        await api("GET", path(answer)),
        await api("GET", "/credentials", headers={"Accept": "text/csv"}),
        await api("GET", "/credentials", headers={"Accept": "application/x-ndjson"}),
        await api("GET", f"{path(answer)}/kit?client=curl"),
    ]
    assert all(one.status == 200 and secret not in one.body.decode() for one in others)


async def test_types_say_their_forms(api: API) -> None:
    """Every type with the typed fields of its form: name, type, default, help, choices."""
    types = {one["type"]: one for one in (await api("GET", "/credential-types")).json}
    assert {"acme", "est", "rest"} <= set(types)
    fields = {one["name"]: one for one in types["rest"]["fields"]}
    assert fields["method"]["choices"] == ["access-key", "oauth"] and fields["method"]["default"] == "access-key"
    assert fields["scopes"]["option"] and not fields["user"]["option"]
    assert all(one["help"] for kind in types.values() for one in kind["fields"])
    assert (await api("GET", "/credential-types/rest")).json == types["rest"]
    assert (await api("GET", "/credential-types/none")).status == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"type": "estt"}, "/type"),
        ({"products": []}, "/products"),
        ({"products": ["none"]}, "/products"),
        ({"method": "magic"}, "/method"),
        ({"options": {"nothing": 1}}, "/options/nothing"),
        ({"type": "rest", "options": {"scopes": "order:read"}}, "/options/scopes"),
        ({"use_limit": 0}, "/use_limit"),
        ({"uselimit": 1}, "/uselimit"),
    ],
)
async def test_a_wrong_field_is_named(api: API, change: dict[str, Any], pointer: str) -> None:
    answer = await api("POST", "/credentials", {**NEW, **change})
    assert answer.status in (400, 422), answer.body
    assert pointer in answer.pointers


async def test_lists_are_filtered_paged_and_counted(api: API) -> None:
    """W5: any filters together, stable pages, nothing twice."""
    for number in range(5):
        await made(api, label=f"printer {number}")
    first = (await api("GET", "/credentials?type=est&text=printer&limit=2")).json
    seen = [one["label"] for one in first["items"]]
    cursor = first["next"]
    while cursor:
        page = (await api("GET", f"/credentials?type=est&text=printer&limit=2&cursor={cursor}")).json
        seen += [one["label"] for one in page["items"]]
        cursor = page["next"]
    assert sorted(seen) == [f"printer {number}" for number in range(5)]
    exported = await api("GET", "/credentials?type=est&text=printer", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(exported.body.decode())))
    assert [one["label"] for one in rows] == seen and rows[0]["products"] == "tls"
    counts = (await api("GET", "/credential-counts")).json
    assert counts["by_type"]["est"]["active"] == 5
    lines = await api("GET", "/credentials?type=est", headers={"Accept": "application/x-ndjson"})
    assert len([json.loads(line) for line in lines.body.splitlines()]) == 5


async def test_the_life_of_a_credential(api: API, house: House) -> None:
    """Suspend, resume, rotate, preview, revoke; revoked is terminal (DESIGN.md 3)."""
    one = await made(api)
    assert (await api("POST", f"{path(one)}/suspend")).json["state"] == "suspended"
    assert (await api("POST", f"{path(one)}/resume")).json["state"] == "active"
    rotated = await api("POST", f"{path(one)}/rotate", {"overlap_seconds": 60})
    assert rotated.json["secret"] not in (None, one.json["secret"])
    detail = (await api("GET", path(one))).json
    assert len(detail["secrets"]) == 2 and detail["secrets"][1]["expires"]
    assert (await api("GET", f"{path(one)}/preview")).json["open_orders"] == 0
    revoked = await api("POST", f"{path(one)}/revoke", {"why": "lost", "cascade": "keyCompromise"})
    assert revoked.json["credential"]["state"] == "revoked" and revoked.json["credential"]["revoked_reason"] == "lost"
    for what, body in (("resume", None), ("rotate", {}), ("suspend", None), ("revoke", {"why": "again"})):
        assert (await api("POST", f"{path(one)}/{what}", body)).status == 409
    assert (await api("PATCH", path(one), {"label": "x"})).status == 409
    again = await api("POST", "/credentials", {**NEW, "identifier": one.json["credential"]["identifier"]})
    assert (again.status, again.code) == (409, "conflict")


async def test_a_change_is_of_what_was_read(api: API) -> None:
    """RFC 9110 section 13.1.1: If-Match; null clears, what is left out stays."""
    one = await made(api, label="before", use_limit=3)
    tag = one.headers["ETag"]
    changed = await api("PATCH", path(one), {"label": "after"}, {"If-Match": tag})
    assert changed.json["label"] == "after" and changed.json["use_limit"] == 3
    late = await api("PATCH", path(one), {"label": "late"}, {"If-Match": tag})
    assert (late.status, late.code) == (412, "precondition-failed")
    cleared = await api("PATCH", path(one), {"use_limit": None}, {"If-Match": changed.headers["ETag"]})
    assert cleared.json["use_limit"] is None
    assert (await api("PATCH", path(one), {"products": ["none"]})).status == 422


async def test_old_secrets_are_told_and_then_end(api: API, house: House) -> None:
    """A greatest age by type: it warns in the audit log, then the secret ends."""
    admin = house.core.administration
    admin.settings = CredentialSettings(
        forms=admin.settings.forms, max_secret_days={"rest": 30}, warning_days=7, environment="live"
    )
    key = await access_key(house)
    young = api.with_key(key)
    assert (await young("GET", "/me")).status == 200
    identifier = (await young("GET", "/me")).json["identifier"]
    credential = await admin.credential(identifier)
    house.clock.advance(days=10)
    await admin.warn_of_age(credential.id)
    house.clock.advance(days=14)
    await admin.warn_of_age(credential.id)
    told = [event async for _, event in house.core.inventory.audit()]
    assert [one.object for one in told if one.tag is AuditTag.CREDENTIAL_SECRET_EXPIRING] == [
        f"credential:{credential.id}"
    ]
    house.clock.advance(days=7)
    assert (await young("GET", "/me")).status == 401
    jobs = await house.core.store.lease_jobs(("secret-age",), house.clock() + timedelta(days=1), 60, 10)
    assert credential.id in {job.object for job in jobs}


async def test_groups_see_nothing_of_each_other(api: API, house: House) -> None:
    """Done means: by list, by id and by error text."""
    await api("POST", "/groups", {"name": "dev"})
    await api("POST", "/users", {"name": "bob", "groups": ["dev"], "roles": ["operator"]})
    mine = await made(api, label="of ops")
    bob = api.with_key(await access_key(house, "bob", "dev"))
    listed = (await bob("GET", "/credentials?type=est")).json
    assert listed["items"] == [] and mine.json["credential"]["id"] not in json.dumps(listed)
    hidden, nothing = await bob("GET", path(mine)), await bob("GET", "/credentials/none")
    assert hidden.status == nothing.status == 404
    assert hidden.json["detail"].replace(mine.json["credential"]["id"], "none") == nothing.json["detail"]
    assert (await bob("POST", f"{path(mine)}/revoke", {"why": "x"})).status == 404
    assert (await bob("GET", "/credential-counts")).json["by_type"].get("est") is None
    answer = await bob("POST", "/credentials", NEW)
    assert answer.status in (400, 422) and "alice" in answer.json["detail"]


@pytest.mark.parametrize("client", ["certbot", "lego", "acme.sh", "caddy", "cert-manager", "win-acme"])
@pytest.mark.parametrize("source", ["env:EAB_KEY", "file:secret.txt", "vault:kv/acme#hmac"])
async def test_kits_name_the_place_of_the_secret(api: API, client: str, source: str) -> None:
    """Section 8.3: a reference to a vault path, a file or a variable, wherever the client can read one."""
    one = await made(api, type="acme", identifier="o'kid $(id)", kit={"client": client, "secret_from": source})
    kit = one.json["kit"]
    text = json.dumps(kit)
    assert one.json["secret"] not in text
    assert "/acme/default/directory" in text
    for command in kit["commands"]:
        assert subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode == 0, command


async def test_what_a_kit_cannot_be_is_told(api: API) -> None:
    one = await made(api)
    for query in ("client=certbot", "client=curl&secret_from=env:a b", "client=curl&name=a;b"):
        answer = await api("GET", f"{path(one)}/kit?{query.replace(' ', '%20')}")
        assert answer.status == 400, query


async def test_the_identifier_in_a_kit_is_one_word(api: API, tmp_path: Path) -> None:
    """What somebody called a credential never runs in the shell of whoever pastes its kit."""
    name = f"x'$(touch {tmp_path}/ran)"
    one = await made(api, type="acme", identifier=name, kit={"client": "certbot"})
    (command,) = one.json["kit"]["commands"]
    words = command.replace("certbot", "printf '%s\\n'", 1)
    said = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
    assert name in said.stdout.splitlines() and not (tmp_path / "ran").exists()


async def test_one_time_codes_are_for_credentials_of_that_method(api: API, house: House) -> None:
    for product in await house.core.inventory.products():
        if product.name == "tls":
            await house.core.administration.apply_product(
                replace(product, protocols=(*product.protocols, "scep")), ACTOR
            )
    one = await api("POST", "/credentials", {**NEW, "type": "scep", "method": "one-time"})
    assert one.status == 201, one.body
    answer = await api("POST", f"{path(one)}/codes", {"names": ["a.certgate.test"], "lifetime_seconds": 60})
    assert answer.status == 201 and answer.json["code"] and answer.json["names"] == ["a.certgate.test"]
    assert (await api("POST", f"{path(await made(api))}/codes", {})).status == 400
