"""Products and mounts over the API: versions, order form, apply with differences, lint, trial, replay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from gateway.cli.toml import toml_text
from policy.product import ValidationRules
from policy.store import PRODUCT
from tests.conftest import House
from tests.protocols.rest.world import API, access_key, make_csr

NAME = "a.certgate.test"


async def toml(house: House, **changes: Any) -> str:
    """The product "tls" as TOML, with these changes."""
    product = await house.core.store.one(PRODUCT, "tls")
    assert product is not None
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(replace(product, **changes)))
    return toml_text(plain)


async def test_products_are_shown_with_their_versions_and_form(house: House, api: API) -> None:
    """A requester sees what it may order; an unknown name is told with the nearest."""
    client = api.with_key(await access_key(house))
    names = [one["name"] for one in (await client("GET", "/products")).json["items"]]
    assert "tls" in names
    shown = await client("GET", "/products/tls")
    assert shown.json["definition"]["issuer"] == "issuing" and shown.headers["ETag"] == f'"{shown.json["version"]}"'
    form = (await client("GET", "/products/tls/schema")).json
    assert form["order"]["properties"]["product"] == {"const": "tls"} and "hold" in form["verbs"]
    versions = (await client("GET", "/products/tls/versions")).json["items"]
    old = await client("GET", f"/products/tls/versions/{versions[-1]['version']}")
    assert old.json["version"] == versions[-1]["version"]
    missing = await client("GET", "/products/tsl")
    assert (missing.status, missing.code) == (404, "not-found")
    assert (await client("GET", "/profiles")).json["items"][0]["definition"]["key_usage"]
    assert (await client("POST", "/products", {"toml": "x"})).code == "forbidden"


async def test_a_product_is_applied_with_its_differences(house: House, api: API) -> None:
    """Seen first, then made; what lint objects to is named by its place in the product."""
    wanted = await toml(house, title="Other")
    seen = (await api("POST", "/products", {"toml": wanted, "dry_run": True})).json
    assert (seen["applied"], [one["key"] for one in seen["changes"]]) == (False, ["title"])
    made = (await api("POST", "/products", {"toml": wanted})).json
    assert (made["applied"], made["version"]) == (True, seen["version"] + 1)
    open_to_all = await toml(house, validation=ValidationRules(trusted=("dns:**",)))
    refused = await api("POST", "/products", {"toml": open_to_all})
    assert (refused.code, refused.pointers) == ("invalid", ["/toml/validation/trusted"])
    assert refused.json["errors"][0]["rule"] == "esc17"
    assert (await api("POST", "/products", {"toml": open_to_all, "accept": ["esc17"]})).status == 200
    assert (await api("POST", "/products", {"toml": "name ="})).pointers == ["/toml"]
    suspended = await api("POST", "/products/tls/state", {"state": "suspended"})
    assert suspended.json["state"] == "suspended"
    assert (await api("POST", "/products/tls/state", {"state": "off"})).pointers == ["/state"]


async def test_a_product_is_tried_and_replayed(house: House, api: API) -> None:
    """What a request would get, and whom a change would break."""
    client = api.with_key(await access_key(house))
    made = (await client("POST", "/orders", {"csr": make_csr(NAME)})).json
    me = (await client("GET", "/me")).json
    tried = await client("POST", "/products/tls/try", {"csr": make_csr(NAME), "credential": me["identifier"]})
    assert tried.json["issued"] is True and tried.json["decision"]
    draft = await toml(house, validation=ValidationRules(methods=()))
    refused = await client(
        "POST", "/products/tls/try", {"csr": make_csr(NAME), "credential": me["identifier"], "toml": draft}
    )
    assert (refused.json["issued"], refused.json["problem"]["code"]) == (False, "rejected-identifier")
    replayed = (await api("POST", "/products/tls/replay", {"days": 1, "toml": draft})).json
    assert (replayed["looked"], [one["order"] for one in replayed["broken"]]) == (1, [made["id"]])
    assert (await client("POST", "/products/tls/replay", {"days": 1})).code == "forbidden"
    assert (await api("POST", "/products/tls/lint", {})).json["findings"] == []


async def test_mounts_are_shown_and_changed(house: House, api: API) -> None:
    """If-Match guards the change; what cannot be served names its field."""
    mounts = {f"{one['protocol']}/{one['label']}": one for one in (await api("GET", "/mounts")).json["items"]}
    assert mounts["est/default"]["active"] is True
    shown = await api("GET", "/mounts/est/default")
    body = {"products": ["tls"], "issuer": "issuing"}
    stale = await api("PUT", "/mounts/est/default", body, {"If-Match": '"99"'})
    assert stale.code == "precondition-failed"
    changed = await api("PUT", "/mounts/est/default", body, {"If-Match": shown.headers["ETag"]})
    assert (changed.status, changed.json["products"]) == (200, ["tls"])
    assert (await api("PUT", "/mounts/est/second", body)).status == 201
    assert (await api("PUT", "/mounts/est/third", body | {"issuer": "nobody"})).pointers == ["/issuer"]
    assert (await api("PUT", "/mounts/est/third", body | {"products": ["none"]})).pointers == ["/products"]
    assert (await api("PUT", "/mounts/est/third", body | {"anchors": ["x"]})).pointers == ["/anchors"]
    assert (await api("GET", "/mounts/est/none")).status == 404
    client = api.with_key(await access_key(house))
    assert (await client("GET", "/mounts")).code == "forbidden"
