"""gateway.commands.catalogue: applied as files say, checked as the server will use it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.cli.toml import toml_text
from gateway.commands import catalogue
from policy.problems import Malformed, Problem, UnknownProduct
from policy.product import ProductState
from tests.conftest import House
from tests.gateway.commands.issuing import ACTOR

PRODUCT = """
name = "web"
title = "Web"
issuer = "issuing"
profile = "tls-server"
protocols = ["acme"]

[names]
allowed = ["dns:*.example.org"]
"""
MOUNT = """
protocol = "acme"
label = "web"
products = ["tls"]
issuer = "issuing"
"""


async def test_apply_makes_a_version_and_says_what_changed(house: House) -> None:
    made = await catalogue.product_apply(house.core, text=PRODUCT, actor=ACTOR)
    assert (made["name"], made["new"], made["version"]) == ("web", True, 1)
    again = await catalogue.product_apply(house.core, text=PRODUCT, actor=ACTOR)
    assert (again["changes"], again["version"]) == ([], 1)
    changed = await catalogue.product_apply(house.core, text=PRODUCT.replace("*.example", "*.sample"), actor=ACTOR)
    assert changed["version"] == 2
    assert changed["changes"] == [{"key": "names.allowed", "old": ["dns:*.example.org"], "new": ["dns:*.sample.org"]}]
    assert (await catalogue.product_show(house.core, name="web", version=1, actor=ACTOR))["names"]["allowed"] == [
        "dns:*.example.org"
    ]


async def test_dry_run_writes_nothing(house: House) -> None:
    said = await catalogue.product_apply(house.core, text=PRODUCT, actor=ACTOR, dry_run=True)
    assert said["new"]
    assert said["changes"]
    with pytest.raises(UnknownProduct):
        await catalogue.product_show(house.core, name="web", actor=ACTOR)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('issuer = "issuing"', 'issuer = "elsewhere"', "elsewhere"),
        ('profile = "tls-server"', 'profile = "tls-sever"', "tls-sever"),
        ('protocols = ["acme"]', 'protocols = ["gopher"]', "gopher"),
        ('protocols = ["acme"]', "protocols = []", "protocols"),
        ('title = "Web"', 'titel = "Web"', 'did you mean "title"'),
        ("[names]", "[names", "here.toml"),
        ("[names]", "[nams]", "nams"),
    ],
)
async def test_apply_refuses_what_could_not_work(house: House, old: str, new: str, said: str) -> None:
    """With the file and the word that is wrong."""
    with pytest.raises(Malformed, match=said):
        await catalogue.product_apply(house.core, text=PRODUCT.replace(old, new), source="here.toml", actor=ACTOR)


@pytest.mark.parametrize("name", ["tls", "device", "held"])
async def test_what_show_writes_apply_reads(house: House, name: str) -> None:
    """The TOML of `product show` changes nothing when it is applied again."""
    text = toml_text(await catalogue.product_show(house.core, name=name, actor=ACTOR))
    assert (await catalogue.product_apply(house.core, text=text, actor=ACTOR))["changes"] == []


@pytest.mark.parametrize("key", ["acme/default", "acme/open", "est/default"])
async def test_what_show_writes_of_a_mount_apply_reads(house: House, key: str) -> None:
    text = toml_text(await catalogue.mount_show(house.core, key=key, actor=ACTOR))
    assert (await catalogue.mount_apply(house.core, text=text, actor=ACTOR))["changes"] == []


async def test_state(house: House) -> None:
    changed = await catalogue.product_state(house.core, name="tls", state="suspended", actor=ACTOR)
    assert (changed["state"], changed["version"]) == ("suspended", 2)
    listed = {one["name"]: one for one in await catalogue.product_list(house.core, actor=ACTOR)}
    assert listed["tls"]["state"] == ProductState.SUSPENDED
    with pytest.raises(Malformed, match="retired"):
        await catalogue.product_state(house.core, name="tls", state="asleep", actor=ACTOR)
    with pytest.raises(UnknownProduct):
        await catalogue.product_state(house.core, name="nothing", state="active", actor=ACTOR)


async def test_mounts_open_and_close(house: House) -> None:
    made = await catalogue.mount_apply(house.core, text=MOUNT, actor=ACTOR)
    assert (made["key"], made["new"], made["active"]) == ("acme/web", True, True)
    closed = await catalogue.mount_activate(house.core, key="acme/web", active=False, actor=ACTOR)
    assert closed["changes"] == [{"key": "active", "old": True, "new": False}]
    listed = {one["key"]: one["active"] for one in await catalogue.mount_list(house.core, actor=ACTOR)}
    assert listed["acme/web"] is False
    assert listed["acme/default"] is True


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"acme"', '"gopher"', "gopher"),
        ('"acme"', '"status"', "status"),
        ('"web"', '"Web Server"', "Web Server"),
        ('["tls"]', '["nothing"]', "nothing"),
        ('"issuing"', '"elsewhere"', "elsewhere"),
        ('protocol = "acme"\nlabel = "web"', 'protocol = "est"\nlabel = "cacerts"', "cacerts"),
        ("products", "open_credential = 'nobody'\nproducts", "nobody"),
        ("products", "options = { nonsense = 1 }\nproducts", "nonsense"),
        ("products", "anchors = ['-----BEGIN CERTIFICATE----- no']\nproducts", "PEM"),
    ],
)
async def test_a_mount_that_no_door_could_serve_is_refused(house: House, old: str, new: str, said: str) -> None:
    """It would stop the next start of the server."""
    before = await catalogue.mount_list(house.core, actor=ACTOR)
    with pytest.raises(Problem, match=said):
        await catalogue.mount_apply(house.core, text=MOUNT.replace(old, new), actor=ACTOR)
    assert await catalogue.mount_list(house.core, actor=ACTOR) == before


async def test_anchors_are_pem(house: House) -> None:
    """Which is what people have."""
    pem = house.core.ca.issuer("root").certificate
    text = MOUNT.replace("acme", "est") + f"anchors = ['''{pem.public_bytes(Encoding.PEM).decode()}''']\n"
    await catalogue.mount_apply(house.core, text=text, actor=ACTOR)
    assert (await house.core.inventory.mount("est/web")).anchors == (pem.public_bytes(Encoding.DER),)
