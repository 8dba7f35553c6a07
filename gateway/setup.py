"""The first run: CA, server certificate, users, products, mounts and one credential per door, in a state folder.

Every step looks first whether it is done, so a run that was cut short goes on where it stopped, and a second run
changes nothing. Secrets are in quickstart.json (0600) alone; the store has their hashes or seals.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from gateway.app import Core, open_core
from gateway.config import Config
from gateway.seeds import built_in_product
from gateway.tls import tls_names
from policy.account import Group, Organisation, User
from policy.acting import operator
from policy.credential import AuthenticationMethod, CredentialType
from policy.credentialing import NewCredential
from policy.mount import Mount
from policy.problems import Malformed
from policy.service_keys import SCEP_RA, ra_subject

FILE_NAME = "quickstart.json"
ACTOR = operator("user:quickstart")
ROOT, ISSUING = "root", "issuing"
KEY_TYPE = "ec-p256"
ROOT_VALIDITY = timedelta(days=20 * 365)
ISSUING_VALIDITY = timedelta(days=10 * 365)
PRODUCTS = ("tls-server", "tls-server-open", "device")
ADMINISTRATOR, SAMPLE_USER, SAMPLE_GROUP = "admin", "alice", "operations"
LOOPBACK = ("127.0.0.0/8", "::1/128")


async def quickstart(config: Config) -> dict[str, Any]:
    """Set a state folder up, or finish what is missing; gives what quickstart.json holds."""
    path = config.state / FILE_NAME
    if path.exists():
        told: dict[str, Any] = json.loads(path.read_text())
        return told
    core = await open_core(config, create=True)
    try:
        await _authorities(core)
    finally:
        await core.close()
    # Issuers are loaded when the core is put together: once more, with the CA in place.
    core = await open_core(config)
    try:
        told = await _furnish(core, config)
    finally:
        await core.close()
    _write_private(path, json.dumps(told, indent=2).encode() + b"\n")
    return told


async def _authorities(core: Core) -> None:
    there = await core.authorities.load()
    organisation = ("O", "certgate quickstart")
    if ROOT not in there:
        subject = (organisation, ("CN", "certgate root"))
        await core.authorities.make_root(ROOT, subject, KEY_TYPE, ROOT_VALIDITY, ACTOR)
    if ISSUING not in there:
        subject = (organisation, ("CN", "certgate issuing CA"))
        await core.authorities.make_issuing(ISSUING, ROOT, subject, KEY_TYPE, ISSUING_VALIDITY, ACTOR)


async def _furnish(core: Core, config: Config) -> dict[str, Any]:
    admin = core.administration
    await core.organisations.apply(Organisation("sample", "Sample organisation"), ACTOR)
    await core.people.apply_group(Group(SAMPLE_GROUP, "sample"), ACTOR)
    await core.people.apply_user(User(ADMINISTRATOR, (SAMPLE_GROUP,), roles=("administrator",)), ACTOR)
    await core.people.apply_user(User(SAMPLE_USER, (SAMPLE_GROUP,), roles=("requester",)), ACTOR)
    for name in PRODUCTS:
        await admin.apply_product(built_in_product(name), ACTOR)
    await admin.apply_mount(Mount("acme", "default", ("tls-server",), ISSUING), ACTOR)
    await admin.apply_mount(Mount("est", "default", ("device", "tls-server"), ISSUING), ACTOR)
    await admin.apply_mount(Mount("cmp", "default", ("device", "tls-server"), ISSUING), ACTOR)
    await admin.apply_mount(Mount("rest", "default", ("tls-server", "device"), ISSUING), ACTOR)
    await admin.apply_mount(Mount("scep", "default", ("device", "tls-server"), ISSUING), ACTOR)
    acme = await _credential(core, CredentialType.ACME, "quickstart-acme", "tls-server")
    est = await _credential(core, CredentialType.EST, "quickstart-est", "device")
    cmp = await _credential(core, CredentialType.CMP, "quickstart-cmp", "device")
    scep = await _credential(core, CredentialType.SCEP, "quickstart-scep", "device")
    rest = await _credential(core, CredentialType.REST, "quickstart-rest", "tls-server", user=ADMINISTRATOR)
    oauth = await _credential(
        core, CredentialType.REST, "quickstart-oauth", "tls-server", AuthenticationMethod.OAUTH, user=ADMINISTRATOR
    )
    await _credential(core, CredentialType.ACME, "quickstart-acme-open", "tls-server-open", AuthenticationMethod.NONE)
    opened = await admin.credential("quickstart-acme-open")
    await admin.apply_mount(Mount("acme", "open", ("tls-server-open",), ISSUING, open_credential=opened.id), ACTOR)
    issuer = core.ca.issuer(ISSUING)
    await core.service_keys.get("tls", ISSUING, names=tuple(tls_names(config)))
    await core.service_keys.get(SCEP_RA, ISSUING, subject=ra_subject(ISSUING))
    await core.publication.publish_due()
    root = _write_pem(config.state / "root.pem", issuer.root_der or issuer.certificate_der)
    issuing = _write_pem(config.state / "issuing.pem", issuer.certificate_der)
    server = config.server
    return {
        "base_url": server.base_url,
        "http_url": server.status_url,
        "mtls_url": server.mtls_url,
        "management_url": f"http://{server.management_listen}:{server.management_port}",
        "root_ca": str(root),
        "issuing_ca": str(issuing),
        "acme": {"directory": f"{server.base_url}/acme/default/directory", "kid": acme[0], "hmac_key": acme[1]},
        "acme_open": {"directory": f"{server.base_url}/acme/open/directory"},
        "est": {
            "url": f"{server.mtls_url}/.well-known/est",
            "label": "default",
            "username": est[0],
            "password": est[1],
        },
        "scep": {"url": f"{server.status_url}/scep/default", "challenge": f"{scep[0]}:{scep[1]}"},
        "rest": {
            "url": f"{server.base_url}/api/v1",
            "access_key": rest[1],
            "token_url": f"{server.base_url}/oauth/token",
            "client_id": oauth[0],
            "client_secret": oauth[1],
        },
        "cmp": {"url": f"{server.status_url}/.well-known/cmp", "reference": cmp[0], "secret": cmp[1]},
    }


async def _credential(
    core: Core,
    kind: CredentialType,
    identifier: str,
    product: str,
    method: AuthenticationMethod | None = None,
    *,
    user: str = SAMPLE_USER,
) -> tuple[str, str]:
    """Identifier and secret of a credential; one that a cut-off run left gets a new secret, as nobody has the old."""
    try:
        await core.administration.credential(identifier)
    except Malformed:
        new = NewCredential(
            kind,
            user,
            SAMPLE_GROUP,
            (product,),
            method=method,
            identifier=identifier,
            label="made by quickstart",
            allowed_cidrs=LOOPBACK if method is AuthenticationMethod.NONE else (),
        )
        created = await core.administration.create_credential(new, ACTOR)
        return identifier, created.secret or ""
    if method is AuthenticationMethod.NONE:
        return identifier, ""
    rotated = await core.administration.rotate_credential(identifier, 0, ACTOR)
    return identifier, rotated.secret or ""


def _write_pem(path: Path, der: bytes) -> Path:
    path.write_bytes(load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    return path.absolute()


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def keep_settings(config: Config, given: list[tuple[str, str]]) -> None:
    """Write what the command line set into the state's certgate.toml, so that `serve` finds it without flags.

    An existing file is the operator's and stays as it is.
    """
    path = config.state / "certgate.toml"
    if path.exists() or not given:
        return
    sections: dict[str, list[str]] = {}
    values = {entry.key: entry.value for entry in config.entries()}
    for key in dict(given):
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"{name} = {values[key]}")
    lines = ["# Written by certgate quickstart from its command line. certgate config show explains every key.\n"]
    for section, keys in sections.items():
        lines.append(f"\n[{section}]\n" + "\n".join(keys) + "\n")
    path.write_text("".join(lines))
