"""Commands about the installation: its CAs, its store, and what doctor has to know of a running server."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core.names import read_subject, subject_text
from gateway import __version__
from gateway.commands.plain import moment, pem
from gateway.commands.telling import telling
from policy.access import NOBODY, Actor
from policy.credential import CredentialState
from policy.order import OrderStatus
from policy.problems import Malformed, OrderConflict
from policy.store import CHECKPOINT, CRLS, ISSUANCES_OPEN, SERVICE_KEYS, StoredAuthority

if TYPE_CHECKING:
    from gateway.admin import Progress
    from gateway.app import Core
    from gateway.commands import Command

SOON = timedelta(days=30)
COUNTED = 1000
"""How far waiting orders and the like are counted."""

RESTART_CHAIN = "a running server offers a new chain from its next start on"
RESTART = "a running server uses a new CA from its next start on"


# --------------------------------------------------------------------------- CAs


def _authority_value(core: Core, one: StoredAuthority) -> dict[str, Any]:
    certificate = x509.load_der_x509_certificate(one.certificate)
    issuer = core.ca.issuers.get(one.name)
    return {
        "name": one.name,
        "root": one.certificate == one.root,
        "subject": subject_text(read_subject(certificate.subject)),
        "issued_by": subject_text(read_subject(certificate.issuer)),
        "serial": f"{certificate.serial_number:040x}",
        "not_before": moment(certificate.not_valid_before_utc),
        "not_after": moment(certificate.not_valid_after_utc),
        "shards": one.shards,
        "chains": 1 + len(one.alternates),
        "created": moment(one.created),
        "loaded": issuer is not None,
        "issuer_id": issuer.id if issuer is not None else None,
        "key_type": issuer.signer.key_type if issuer is not None else None,
    }


async def ca_list(core: Core, *, actor: Actor) -> list[dict[str, Any]]:
    """Every CA, in the order in which they were made; `loaded` says whether this process uses it."""
    actor.check("authority:read", NOBODY)
    return [_authority_value(core, one) for one in await core.inventory.authorities()]


async def ca_show(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """A CA with its certificates, the transcript of its ceremony and its CRLs. Raises Malformed."""
    actor.check("authority:read", NOBODY)
    found = {one.name: one for one in await core.inventory.authorities()}
    if name not in found:
        raise Malformed(f'there is no CA "{name}"; there are {", ".join(found) or "none"}')
    one = found[name]
    value = _authority_value(core, one)
    return {
        **value,
        "transcript": one.transcript,
        "pem": pem(one.certificate),
        "chain": [pem(der) for der in (*one.intermediates, *((one.root,) if one.root != one.certificate else ()))],
        "crls": [crl for crl in await _crls(core) if crl["issuer"] == name],
    }


async def ca_create_root(
    core: Core, *, name: str, subject: list[list[str]], key_type: str, days: int, actor: Actor
) -> dict[str, Any]:
    """A new root with its key. Raises Malformed, OrderConflict."""
    made = await core.authorities.make_root(name, _subject(subject), key_type, _validity(days), actor)
    return {**_authority_value(core, made), "pem": pem(made.certificate), "note": RESTART}


async def ca_create_issuing(
    core: Core,
    *,
    name: str,
    root: str,
    subject: list[list[str]],
    key_type: str,
    days: int,
    actor: Actor,
    shards: int = 1,
) -> dict[str, Any]:
    """A new issuing CA under a root of ours. Raises Malformed, OrderConflict."""
    made = await core.authorities.make_issuing(
        name, root, _subject(subject), key_type, _validity(days), actor, shards=shards
    )
    return {**_authority_value(core, made), "pem": pem(made.certificate), "note": RESTART}


async def ca_add_chain(core: Core, *, name: str, chain: str, actor: Actor) -> dict[str, Any]:
    """Offer another chain for a CA: PEM from its certificate up, without the root. Raises Malformed, OrderConflict."""
    actor.check("authority:change")
    try:
        found = x509.load_pem_x509_certificates(chain.encode())
    except ValueError as fault:
        raise Malformed("the chain is not one of certificates in PEM") from fault
    made = await core.authorities.add_chain(name, tuple(one.public_bytes(Encoding.DER) for one in found), actor)
    return {**_authority_value(core, made), "note": RESTART_CHAIN}


async def ca_cross_certify(core: Core, *, name: str, root: str, actor: Actor) -> dict[str, Any]:
    """Have another root of ours certify a CA, and offer that chain. Raises Malformed, OrderConflict."""
    made = await core.authorities.cross_certify(name, root, actor)
    return {**_authority_value(core, made), "note": RESTART_CHAIN}


def _subject(pairs: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs)


def _validity(days: int) -> timedelta:
    if not 1 <= days <= 100 * 366:
        raise Malformed("a CA is valid for 1 day to 100 years")
    return timedelta(days=days)


async def ca_crl(core: Core, *, actor: Actor, name: str | None = None) -> list[dict[str, Any]]:
    """Sign and publish the CRLs of a CA now, or of all. Raises Malformed."""
    actor.check("authority:change", NOBODY)
    if name is not None and name not in core.ca.issuers:
        raise Malformed(f'there is no CA "{name}" in use; there are {", ".join(core.ca.issuers) or "none"}')
    chosen = [core.ca.issuers[name]] if name is not None else list(core.ca.issuers.values())
    for issuer in chosen:
        for shard in range(issuer.shards):
            await core.publication.publish(issuer.id, shard)
    return [crl for crl in await _crls(core) if crl["issuer"] in {issuer.name for issuer in chosen}]


async def _crls(core: Core) -> list[dict[str, Any]]:
    """Every CRL shard of the CAs in use; one that was never published has no number."""
    there = {(crl.issuer_id, crl.shard): crl for crl in await core.store.many(CRLS)}
    values: list[dict[str, Any]] = []
    for issuer in core.ca.issuers.values():
        for shard in range(issuer.shards):
            crl = there.get((issuer.id, shard))
            values.append(
                {
                    "issuer": issuer.name,
                    "shard": shard,
                    "number": crl.number if crl else None,
                    "this_update": moment(crl.this_update) if crl else None,
                    "next_update": moment(crl.next_update) if crl else None,
                    "bytes": len(crl.der) if crl else 0,
                }
            )
    return values


# --------------------------------------------------------------------------- the store


async def db_status(core: Core, *, actor: Actor) -> dict[str, Any]:
    """Where the store is, how large, of which version, and how far the audit log has come."""
    actor.check("system:read", NOBODY)
    last = await core.store.one(CHECKPOINT)
    return {
        **core.store.describe(),
        "events": await core.inventory.audit_size(),
        "sealed": last.size if last is not None else 0,
        "sealed_at": moment(last.at) if last is not None else None,
    }


async def db_check(core: Core, *, actor: Actor, progress: Progress) -> dict[str, Any]:
    """Read the whole file and check it; `faults` is empty when all is well."""
    actor.check("system:read", NOBODY)
    begun = asyncio.get_running_loop().time()

    def said() -> str:
        return f"reading the store, {asyncio.get_running_loop().time() - begun:.0f} s so far"

    async with telling(progress, said):
        return {"faults": await core.store.integrity()}


async def db_backup(core: Core, *, path: str, actor: Actor, progress: Progress) -> dict[str, Any]:
    """Copy the store, as of one moment, to a new file. Raises Malformed for a path that is taken or relative."""
    actor.check("system:change", NOBODY)
    _check_backup(path)
    total = core.store.describe()["bytes"]

    def said() -> str:
        return f"{_size(f'{path}.part')} of some {total} bytes copied"

    async with telling(progress, said):
        await core.store.backup(path)
    return {"path": path, "bytes": _size(path), "at": moment(core.clock())}


def _check_backup(path: str) -> None:
    if not os.path.isabs(path):
        raise Malformed("the path of a backup is absolute: the server has another working directory than you")
    if os.path.lexists(path):
        raise OrderConflict(f"{path} is there already; nothing was written")
    if not os.path.isdir(os.path.dirname(path)):
        raise Malformed(f"there is no folder {os.path.dirname(path)}")


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


# --------------------------------------------------------------------------- what doctor asks


async def facts(core: Core, *, actor: Actor) -> dict[str, Any]:
    """What gateway.diagnosis judges: nothing here says whether it is good."""
    actor.check("system:read", NOBODY)
    now = core.clock()
    server = core.config.server
    return {
        "version": __version__,
        "pid": os.getpid(),
        "now": moment(now),
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        "listen": server.listen,
        "ports": {
            "https": [server.listen, server.https_port],
            "mtls": [server.listen, server.mtls_port],
            "http": [server.listen, server.http_port],
            "management": [server.management_listen, server.management_port],
        },
        "origins": [server.base_url, server.mtls_url, server.status_url],
        "tls_certificate_file": server.tls_certificate_file,
        "max_connections": server.max_connections,
        "authorities": await ca_list(core, actor=actor),
        "crls": await _crls(core),
        "service_keys": [
            {"purpose": key.purpose, "issuer": key.issuer, "not_after": moment(key.not_after)}
            for key in await core.store.many(SERVICE_KEYS)
        ],
        "products": [
            {"name": one.name, "state": one.state.value, "issuer": one.issuer}
            for one in await core.inventory.products()
        ],
        "mounts": [
            {"key": one.key, "active": one.active, "issuer": one.issuer, "products": list(one.products)}
            for one in await core.inventory.mounts()
        ],
        "expiring_credentials": [
            {"identifier": one.identifier, "expires": moment(one.expires)}
            async for one, _ in core.inventory.credentials(status=CredentialState.ACTIVE)
            if one.expires is not None and one.expires <= now + SOON
        ],
        "held_orders": len(await core.inventory.order_page("", COUNTED, status=OrderStatus.HELD)),
        "interrupted_issuances": len(await core.store.many(ISSUANCES_OPEN, COUNTED)),
        "store": await db_status(core, actor=actor),
    }


COMMANDS: dict[str, Command] = {
    "ca.list": ca_list,
    "ca.show": ca_show,
    "ca.create-root": ca_create_root,
    "ca.create-issuing": ca_create_issuing,
    "ca.crl": ca_crl,
    "ca.add-chain": ca_add_chain,
    "ca.cross-certify": ca_cross_certify,
    "db.status": db_status,
    "db.check": db_check,
    "db.backup": db_backup,
    "doctor.facts": facts,
}
