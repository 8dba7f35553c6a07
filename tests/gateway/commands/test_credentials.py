"""gateway.commands.credentials: secrets that leave once, lists without them, and what a revocation stops."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from gateway.commands import certificates, credentials, orders
from policy.credential import PasswordClaim
from policy.problems import Malformed, OrderConflict, Unauthenticated, UnknownProduct
from policy.sealing import Secret
from tests.conftest import House
from tests.gateway.commands.issuing import ACTOR, held, issued
from tests.policy.making import ADDRESS, account

NEW: dict[str, Any] = {"type": "est", "user": "alice", "group": "ops", "products": ["device"], "actor": ACTOR}


async def works(house: House, identifier: str, secret: str) -> bool:
    """Whether the door takes this password."""
    try:
        await house.core.ra.authenticate("est/default", [PasswordClaim(identifier, Secret(secret.encode()))], ADDRESS)
    except Unauthenticated:
        return False
    return True


async def test_create_gives_a_secret_that_works_and_that_nothing_else_shows(house: House) -> None:
    """Once, in the answer that made it."""
    made = await credentials.create(house.core, **NEW, identifier="router-1", use_limit=5, label="the router")
    assert await works(house, "router-1", made["secret"])
    assert not await works(house, "router-1", made["secret"] + "x")
    shown = await credentials.show(house.core, name="router-1", actor=ACTOR)
    listed = await credentials.page(house.core, actor=ACTOR)
    assert made["secret"] not in f"{shown}{listed}"
    assert (shown["type"], shown["use_limit"], shown["uses"], shown["label"]) == ("est", 5, 0, "the router")


async def test_create_prints_a_line_for_each_place(house: House) -> None:
    """With the address of the mount, the identifier and the secret filled in."""
    made = await credentials.create(house.core, **NEW)
    (line,) = made["client"]
    assert "/.well-known/est/simpleenroll" in line
    assert f"{made['identifier']}:{made['secret']}" in line
    made = await credentials.create(house.core, **{**NEW, "type": "acme", "products": ["tls"]}, mounts=["acme/default"])
    (line,) = made["client"]
    assert "/acme/default/directory" in line
    assert made["secret"] in line


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"type": "telnet"}, "telnet"),
        ({"user": "nobody"}, "nobody"),
        ({"group": "nowhere"}, "nowhere"),
        ({"products": []}, "at least one product"),
        ({"products": ["nothing"]}, "nothing"),
        ({"method": "handshake"}, "handshake"),
        ({"method": "eab"}, "eab"),
        ({"mounts": ["acme/default"]}, "acme/default"),
        ({"expires": "tomorrow"}, "tomorrow"),
        ({"use_limit": 0}, "use limit"),
    ],
)
async def test_create_refuses(house: House, wrong: dict[str, Any], said: str) -> None:
    """What does not exist or fit, by its name."""
    with pytest.raises((Malformed, UnknownProduct), match=said):
        await credentials.create(house.core, **{**NEW, **wrong})


async def test_times_are_utc(house: House) -> None:
    """Without an offset they are taken as UTC, with one they are converted."""
    made = await credentials.create(house.core, **NEW, not_before="2026-12-01", expires="2026-12-31T01:00:00+01:00")
    assert made["not_before"] == "2026-12-01T00:00:00Z"
    assert made["expires"] == "2026-12-31T00:00:00Z"
    assert made["state"] == "pending"
    house.clock.advance(days=60)
    assert (await credentials.show(house.core, name=made["id"], actor=ACTOR))["state"] == "expired"


async def test_rotate(house: House) -> None:
    """Without an overlap the old secret ends at once, with one it ends later."""
    made = await credentials.create(house.core, **NEW, identifier="router-1")
    second = await credentials.rotate(house.core, name="router-1", actor=ACTOR)
    assert not await works(house, "router-1", made["secret"])
    third = await credentials.rotate(house.core, name="router-1", actor=ACTOR, overlap_seconds=60)
    assert await works(house, "router-1", second["secret"])
    house.clock.advance(seconds=61)
    assert not await works(house, "router-1", second["secret"])
    assert await works(house, "router-1", third["secret"])
    with pytest.raises(Malformed):
        await credentials.rotate(house.core, name="router-1", actor=ACTOR, overlap_seconds=-1)


async def test_suspend_resume_revoke(house: House) -> None:
    """Revoked is the end."""
    await credentials.create(house.core, **NEW, identifier="router-1")
    one: dict[str, Any] = {"name": "router-1", "actor": ACTOR}
    assert (await credentials.suspend(house.core, **one))["state"] == "suspended"
    assert (await credentials.resume(house.core, **one))["state"] == "active"
    revoked = await credentials.revoke(house.core, **one, reason="the router was sold")
    assert (revoked["state"], revoked["revoked_reason"]) == ("revoked", "the router was sold")
    for change in (credentials.suspend, credentials.resume, credentials.rotate, credentials.revoke):
        with pytest.raises(OrderConflict):
            await change(house.core, **one)


async def test_preview_says_what_revoke_then_stops(house: House) -> None:
    """Open orders end; certificates are revoked only when that is asked for."""
    waiting = await held(house)
    seen = await credentials.preview(house.core, name=waiting.credential, actor=ACTOR)
    assert (seen["open_orders"], seen["live_certificates"], seen["state"]) == (1, 0, "active")
    ended = await credentials.revoke(house.core, name=waiting.credential, actor=ACTOR)
    assert (ended["orders_ended"], ended["certificates_revoked"]) == (1, 0)
    assert (await orders.show(house.core, id=waiting.id, actor=ACTOR))["status"] == "invalid"


async def test_cascade(house: House) -> None:
    """The certificates go along, for the reason given; a word that is no reason stops everything before it begins."""
    order = await issued(house)
    assert (await credentials.preview(house.core, name=order.credential, actor=ACTOR))["live_certificates"] == 1
    for wrong in ("because", "certificateHold"):
        with pytest.raises(Exception, match=wrong):
            await credentials.revoke(house.core, name=order.credential, actor=ACTOR, cascade=wrong)
    done = await credentials.revoke(house.core, name=order.credential, actor=ACTOR, cascade="cessationOfOperation")
    assert done["certificates_revoked"] == 1
    shown = await certificates.show(house.core, serial=order.serial or "", actor=ACTOR)
    assert (shown["status"], shown["reason"]) == ("revoked", "cessationOfOperation")


async def test_show_has_the_acme_accounts(house: House) -> None:
    """And the preview counts them, and names the mounts that are open through it."""
    made = await account(house)
    shown = await credentials.show(house.core, name="open", actor=ACTOR)
    assert [one["id"] for one in shown["accounts"]] == [made.id]
    seen = await credentials.preview(house.core, name="open", actor=ACTOR)
    assert (seen["accounts"], seen["open_mounts"]) == (1, ["acme/open"])


async def test_filters(house: House) -> None:
    """Each alone, and a page after a page."""
    made = await credentials.create(house.core, **NEW, identifier="router-1", label="basement")
    alone: list[dict[str, Any]] = [{"type": "est"}, {"product": "device"}, {"text": "basement"}]
    for filters in (*alone, {"type": "est", "user": "alice"}):
        page = await credentials.page(house.core, actor=ACTOR, **filters)
        assert [one["id"] for one in page["items"]] == [made["id"]], filters
    assert (await credentials.page(house.core, actor=ACTOR, group="nowhere"))["items"] == []
    first = await credentials.page(house.core, actor=ACTOR, limit=1)
    second = await credentials.page(house.core, actor=ACTOR, limit=1, after=first["next"])
    assert {one["identifier"] for one in (*first["items"], *second["items"])} == {"open", "router-1"}
    mistakes: list[dict[str, Any]] = [{"type": "telnet"}, {"status": "sleeping"}]
    for wrong in mistakes:
        with pytest.raises(Malformed):
            await credentials.page(house.core, actor=ACTOR, **wrong)


async def test_uses_are_counted(house: House) -> None:
    order = await issued(house, use_limit=3)
    assert (await credentials.show(house.core, name=order.credential, actor=ACTOR))["uses"] == 1


async def test_the_key_of_a_binding_is_32_octets_in_base64url(house: House) -> None:
    """Without padding, as lego and certbot want an EAB key; HS256 wants 32 octets (RFC 7518 section 3.2). Rows: C15."""
    made = await credentials.create(house.core, **{**NEW, "type": "acme", "products": ["tls"]}, mounts=["acme/default"])
    assert re.fullmatch("[A-Za-z0-9_-]{43,}", made["secret"])
    assert len(urlsafe_b64decode(made["secret"] + "=" * (-len(made["secret"]) % 4))) >= 32
