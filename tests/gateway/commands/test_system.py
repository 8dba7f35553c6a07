"""gateway.commands.system: CAs, store and what doctor asks for."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from cryptography import x509

from ca_core.clock import FixedClock
from gateway.commands import commands_of, system
from policy.problems import Malformed, OrderConflict, Problem
from tests.conftest import House, make_house
from tests.gateway.commands.issuing import ACTOR, held, issued


async def told(_: object) -> None:
    """A listener who does not care."""


async def test_every_command_has_a_name_of_its_own(house: House) -> None:
    """noun.verb, each with a docstring that says what it gives."""
    commands = commands_of(house.core)
    assert len(commands) > 35
    for name, function in commands.items():
        noun, _, verb = name.partition(".")
        assert noun
        assert verb
        assert function.func.__doc__, name  # type: ignore[attr-defined]


async def test_cas(house: House) -> None:
    """Root and issuing, with the certificates that another decoder reads."""
    root, issuing = await system.ca_list(house.core, actor=ACTOR)
    assert (root["name"], root["root"], root["loaded"]) == ("root", True, True)
    assert (issuing["name"], issuing["root"], issuing["key_type"]) == ("issuing", False, "ec-p256")
    shown = await system.ca_show(house.core, name="issuing", actor=ACTOR)
    decoded = x509.load_pem_x509_certificate(shown["pem"].encode())
    assert shown["serial"] == f"{decoded.serial_number:040x}"
    assert shown["subject"] == "CN=Test Issuing"
    assert x509.load_pem_x509_certificate(shown["chain"][0].encode()).subject == decoded.issuer
    with pytest.raises(Malformed, match="issuing"):
        await system.ca_show(house.core, name="nothing", actor=ACTOR)


async def test_a_new_ca_is_used_after_a_restart(house: House) -> None:
    """And that is said."""
    made = await system.ca_create_root(
        house.core, name="root2", subject=[["O", "Example"], ["CN", "Root 2"]], key_type="ec-p384", days=30, actor=ACTOR
    )
    assert made["subject"] == "CN=Root 2,O=Example"
    assert made["loaded"] is False
    assert "start" in made["note"]
    assert made["not_after"].startswith("2026-12-23")
    below = await system.ca_create_issuing(
        house.core,
        name="issuing2",
        root="root",
        subject=[["CN", "Issuing 2"]],
        key_type="ec-p256",
        days=10,
        shards=2,
        actor=ACTOR,
    )
    assert (below["root"], below["shards"], below["issued_by"]) == (False, 2, "CN=Test Root")
    with pytest.raises(OrderConflict):
        await system.ca_create_root(
            house.core, name="root2", subject=[["CN", "R"]], key_type="ec-p256", days=30, actor=ACTOR
        )


@pytest.mark.parametrize(
    ("key_type", "days", "subject"),
    [("ec-p257", 30, [["CN", "R"]]), ("ec-p256", 0, [["CN", "R"]]), ("ec-p256", 30, [["nonsense", "R"]])],
)
async def test_a_ca_that_cannot_be_is_refused(house: House, key_type: str, days: int, subject: list[list[str]]) -> None:
    with pytest.raises(Problem):
        await system.ca_create_root(house.core, name="r", subject=subject, key_type=key_type, days=days, actor=ACTOR)
    assert len(await system.ca_list(house.core, actor=ACTOR)) == 2


async def test_crls_are_published_now(house: House) -> None:
    """Each with the next number."""
    first = await system.ca_crl(house.core, actor=ACTOR)
    assert {(one["issuer"], one["number"]) for one in first} == {("root", 1), ("issuing", 1)}
    (second,) = await system.ca_crl(house.core, name="issuing", actor=ACTOR)
    assert second["number"] == 2
    with pytest.raises(Malformed):
        await system.ca_crl(house.core, name="nothing", actor=ACTOR)


async def test_backup_is_a_store_of_its_own(tmp_path: Path, clock: FixedClock) -> None:
    """Copied while the store is open; another SQLite reads it, and nobody else may."""
    house = await make_house(tmp_path, clock, f"sqlite:///{tmp_path}/certgate.db")
    try:
        order = await issued(house)
        copy = tmp_path / "copy.db"
        made = await system.db_backup(house.core, path=str(copy), actor=ACTOR, progress=told)
        assert made["bytes"] == copy.stat().st_size
        assert copy.stat().st_mode & 0o077 == 0
        database = sqlite3.connect(copy)
        assert database.execute("SELECT serial FROM certificates").fetchall() == [(order.serial,)]
        database.close()
        with pytest.raises(OrderConflict):
            await system.db_backup(house.core, path=str(copy), actor=ACTOR, progress=told)
        for wrong in ("copy.db", str(tmp_path / "nowhere" / "copy.db")):
            with pytest.raises(Malformed):
                await system.db_backup(house.core, path=wrong, actor=ACTOR, progress=told)
        status = await system.db_status(house.core, actor=ACTOR)
        assert status["path"] == f"{tmp_path}/certgate.db"
        assert status["bytes"] > 0
        assert status["schema_version"] == status["newest_schema_version"]
        assert (await system.db_check(house.core, actor=ACTOR, progress=told))["faults"] == []
    finally:
        await house.core.close()


async def test_facts(house: House) -> None:
    """What doctor asks for: nothing is missing, and everything is plain."""
    await held(house)
    made = await house.credential("est", "device", expires=house.clock().replace(day=30))
    found = await system.facts(house.core, actor=ACTOR)
    json.dumps(found)
    assert found["held_orders"] == 1
    assert found["interrupted_issuances"] == 0
    assert [one["identifier"] for one in found["expiring_credentials"]] == [made.credential.identifier]
    assert {one["key"] for one in found["mounts"]} == {"acme/default", "acme/open", "est/default", "scep/default"}
    assert found["ports"]["https"] == ["127.0.0.1", 8443]
