#!/usr/bin/env python3
"""Units per second and CPU per unit of the SQLite store, by the number of clients that commit together.

    store_bench.py [--seconds 2] [--path /var/tmp/bench.db] [--memory]

A client places an order (two guards, one use of its credential, the order, an audit row) and issues it (the
issuance reserved; then signed, the certificate, its state, the order, an audit row): three units of 5, 2 and 5
statements, each awaited before the next. So the number of clients is about the size of a batch. Reads are
measured at the end. Every client is one more awaiting task, and its cost is in the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import secrets
import tempfile
import time
from datetime import timedelta

from ca_core.clock import system_clock
from ca_core.ledger import Issuance, IssuanceStage
from ca_core.names import Identifier, IdentifierType
from ca_core.profile import CertificateProfile
from ca_core.status import CertificateState
from gateway.store import SQLiteStore, open_store
from policy import store as names
from policy.audit import AuditEvent, AuditTag
from policy.credential import AuthenticationMethod, Credential, CredentialState, CredentialType
from policy.ids import CredentialId, OrderId, new_id
from policy.mount import Mount
from policy.order import Order, OrderKind, OrderStatus
from policy.product import Product
from policy.store import StoredCertificate, Unit
from tests.replacing import replace

NOW = system_clock()


def order() -> Order:
    names_of = (Identifier(IdentifierType.DNS, f"{new_id()}.example.org"),)
    return Order(
        id=OrderId(new_id()),
        owner="c",
        credential=CredentialId("c"),
        requester="user:c",
        mount="rest/default",
        product="tls-server",
        product_version=1,
        kind=OrderKind.ENROLL,
        status=OrderStatus.READY,
        identifiers=names_of,
        created=NOW,
        updated=NOW,
        expires=NOW + timedelta(days=1),
        reference=new_id(),
    )


def event(tag: AuditTag, of: str) -> AuditEvent:
    return AuditEvent(tag, NOW, "user:c", of, {"request": "0123456789", "address": "192.0.2.1"})


def placing(one: Order) -> Unit:
    unit = Unit()
    unit.mount_active(one.mount)
    unit.product_active(one.product)
    unit.credential_spend(one.credential, NOW)
    unit.insert(one)
    unit.audit(event(AuditTag.ORDER_PLACED, f"order:{one.id}"))
    return unit


def reserving(one: Order, serial: str) -> Unit:
    unit = Unit()
    unit.save(replace(one, status=OrderStatus.PROCESSING, version=2))
    tbs = b"\x30" * 600
    unit.reserve(Issuance(serial, "i", one.id, IssuanceStage.RESERVED, tbs, "ca", 0, "p", 1, NOW))
    return unit


def recording(one: Order, serial: str) -> Unit:
    unit = Unit()
    stored = StoredCertificate(
        serial, "i", "ca", one.id, one.owner, one.credential, one.mount, one.product, (), one.identifiers,
        NOW, NOW + timedelta(days=90), "ec-p256", secrets.token_hex(32), secrets.token_hex(32), "p", 1, 0,
    )  # fmt: skip
    unit.finish_issuance(serial, IssuanceStage.SIGNED)
    unit.write("certificate_status_insert", serial, "i", 0, CertificateState.VALID, 1, 2)
    unit.certificate(stored, b"\x30" * 700)
    unit.save(replace(one, status=OrderStatus.VALID, version=3, serial=serial))
    unit.audit(event(AuditTag.CERTIFICATE_ISSUED, f"certificate:{serial}"))
    return unit


async def prepare(store: SQLiteStore) -> None:
    unit = Unit()
    unit.insert(
        Credential(
            CredentialId("c"),
            CredentialType.REST,
            "c",
            "u",
            "g",
            ("tls-server",),
            AuthenticationMethod.ACCESS_KEY,
            CredentialState.ACTIVE,
            NOW,
        )
    )
    unit.insert(Mount("rest", "default", ("tls-server",), "ca"))
    unit.insert(Product("tls-server", 1, "TLS server", "ca", CertificateProfile("tls-server"), ("rest",)))
    await store.commit(unit)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(store: SQLiteStore, clients: int, seconds: float, made: list[str]) -> str:
    # Units are made before the clock starts: this is about the store, not about encoding JSON.
    work: list[tuple[str, list[Unit]]] = []
    for _ in range(max(200, min(12_000, 1_500 * clients))):
        one, serial = order(), f"{int(time.time() * 1000):012x}{secrets.token_hex(14)}"
        work.append((one.id, [placing(one), reserving(one, serial), recording(one, serial)]))
    # Neither is it about collecting the garbage of what was prepared.
    gc.collect()
    gc.freeze()
    units = 0
    waits: list[float] = []
    began, began_cpu = time.perf_counter(), cpu()
    ends = began + seconds

    async def client() -> None:
        nonlocal units
        while work and time.perf_counter() < ends:
            name, three = work.pop()
            for unit in three:
                asked = time.perf_counter()
                await store.commit(unit)
                waits.append(time.perf_counter() - asked)
                units += 1
            made.append(name)

    await asyncio.gather(*(client() for _ in range(clients)))
    took, used = time.perf_counter() - began, cpu() - began_cpu
    waits.sort()
    return (
        f"{clients:>8} {units / took:>10,.0f} {used / units * 1e6:>12.1f} "
        f"{waits[len(waits) // 2] * 1e3:>10.2f} {waits[len(waits) * 99 // 100] * 1e3:>10.2f}"
    )


async def main(path: str | None, seconds: float) -> None:
    store = await open_store("sqlite://" if path is None else f"sqlite:///{path}", clock=system_clock)
    await prepare(store)
    made: list[str] = []
    print(f"{'clients':>8} {'units/s':>10} {'CPU us/unit':>12} {'p50 ms':>10} {'p99 ms':>10}")
    for clients in (1, 4, 16, 64, 256):
        print(await measure(store, clients, seconds, made))
    wanted = made[-20_000:]
    began = time.perf_counter()
    for one in wanted:
        await store.one(names.ORDER, one)
    print(f"order by id: {(time.perf_counter() - began) / len(wanted) * 1e6:.1f} us")
    began = time.perf_counter()
    for _ in range(20_000):
        await store.one(names.CREDENTIAL, "c")
    print(f"credential by id: {(time.perf_counter() - began) / 20_000 * 1e6:.1f} us")
    await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="per number of clients")
    parser.add_argument("--path", help="where the file shall lie; a temporary one otherwise")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        file = arguments.path or os.path.join(folder, "bench.db")
        asyncio.run(main(None if arguments.memory else os.path.abspath(file), arguments.seconds))
