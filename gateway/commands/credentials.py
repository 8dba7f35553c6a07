"""Commands about credentials: make, look at, change, revoke. A secret leaves once, with what made it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gateway.commands.certificates import cascade_reason
from gateway.commands.plain import moment, page_size, read_moment
from policy.access import NOBODY, Actor
from policy.credential import AuthenticationMethod, Credential, CredentialState, CredentialType
from policy.credentialing import CreatedCredential, NewCredential
from policy.problems import Malformed

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command

ACCOUNTS_SHOWN = 100


def credential_value(core: Core, one: Credential, uses: int) -> dict[str, Any]:
    """A credential without its secrets."""
    return {
        "id": one.id,
        "type": one.type.value,
        "identifier": one.identifier,
        "state": one.at(core.clock()).value,
        "user": one.user,
        "group": one.group,
        "products": list(one.products),
        "mounts": list(one.mounts),
        "method": one.method.value,
        "label": one.label,
        "created": moment(one.created),
        "not_before": moment(one.not_before),
        "expires": moment(one.expires),
        "uses": uses,
        "use_limit": one.use_limit,
        "allowed_cidrs": list(one.allowed_cidrs),
        "revoked_at": moment(one.revoked_at),
        "revoked_reason": one.revoked_reason,
        "version": one.version,
    }


async def create(
    core: Core,
    *,
    actor: Actor,
    type: str,
    user: str,
    group: str,
    products: list[str],
    identifier: str | None = None,
    method: str | None = None,
    mounts: list[str] | None = None,
    not_before: str | None = None,
    expires: str | None = None,
    use_limit: int | None = None,
    allowed_cidrs: list[str] | None = None,
    label: str = "",
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a credential; `secret` is shown this once, `client` has lines to paste. Raises Malformed, OrderConflict."""
    new = NewCredential(
        type=_one_of(CredentialType, type, "type of a credential"),
        user=user,
        group=group,
        products=tuple(products),
        method=None if method is None else _one_of(AuthenticationMethod, method, "method"),
        identifier=identifier,
        mounts=tuple(mounts or ()),
        not_before=read_moment(not_before),
        expires=read_moment(expires),
        use_limit=use_limit,
        allowed_cidrs=tuple(allowed_cidrs or ()),
        label=label,
        options=options or {},
    )
    return await _created(core, await core.administration.create_credential(new, actor))


def _one_of(kind: Any, text: str, what: str) -> Any:
    try:
        return kind(text)
    except ValueError as fault:
        raise Malformed(f'"{text}" is no {what}; there are {", ".join(kind)}') from fault


async def _created(core: Core, made: CreatedCredential) -> dict[str, Any]:
    one = made.credential
    value = credential_value(core, one, await core.inventory.uses(one.id))
    return {**value, "secret": made.secret, "client": await _client_lines(core, one, made.secret)}


async def _client_lines(core: Core, one: Credential, secret: str | None) -> list[str]:
    """A command for each place where this credential may be used."""
    server = core.config.server
    lines = []
    for mount in await core.inventory.mounts():
        usable = not one.mounts or mount.key in one.mounts
        if mount.protocol != one.type or not mount.active or not usable or not set(mount.products) & set(one.products):
            continue
        if one.type is CredentialType.ACME and one.method is AuthenticationMethod.EAB:
            lines.append(
                f"certbot certonly --standalone --server {server.base_url}/{mount.key}/directory"
                f" --eab-kid {one.identifier} --eab-hmac-key {secret} -d NAME"
            )
        elif one.type is CredentialType.EST and one.method is AuthenticationMethod.PASSWORD:
            label = "" if mount.label == "default" else f"/{mount.label}"
            lines.append(
                f"curl --cacert ROOT.pem --user {one.identifier}:{secret} --data-binary @REQUEST.b64"
                f' -H "Content-Type: application/pkcs10" {server.mtls_url}/.well-known/est{label}/simpleenroll'
            )
        elif one.type is CredentialType.CMP and one.method is AuthenticationMethod.SHARED_SECRET:
            lines.append(
                f"openssl cmp -cmd ir -server {server.status_url}/.well-known/cmp/p/{mount.label}"
                f" -ref {one.identifier} -secret pass:{secret} -recipient /CN=CMP -newkey KEY -subject /CN=NAME"
                " -certout CERT.pem"
            )
        elif one.type is CredentialType.SCEP and one.method is AuthenticationMethod.PASSWORD:
            lines.append(
                f"pki --scep --url {server.status_url}/scep/{mount.label} --in KEY.pem --dn CN=NAME"
                f" --password {one.identifier}:{secret} --cacert-enc RA.pem --cacert-sig RA.pem --cacert CA.pem"
            )
    return lines


async def page(
    core: Core,
    *,
    actor: Actor,
    after: str = "",
    limit: int = 500,
    type: str = "",
    status: str = "",
    user: str = "",
    group: str = "",
    product: str = "",
    text: str = "",
) -> dict[str, Any]:
    """Credentials by any of these filters, and where the next page begins ("" at the end). Raises Malformed."""
    actor.check("credential:read", NOBODY)
    if type:
        _one_of(CredentialType, type, "type of a credential")
    if status:
        _one_of(CredentialState, status, "state of a credential")
    size = page_size(limit)
    found = await core.inventory.credential_page(
        after, size, type=type, status=status, user=user, group=group, product=product, text=text
    )
    return {
        "items": [credential_value(core, one, uses) for one, uses in found],
        "next": found[-1][0].id if len(found) == size else "",
    }


async def show(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """One credential with its ACME accounts and the times of its secrets, never the secrets. Raises Malformed."""
    one = await core.administration.find_credential(name, "credential:read", actor)
    accounts = await core.administration.accounts(one.id, "", ACCOUNTS_SHOWN)
    return {
        **credential_value(core, one, await core.inventory.uses(one.id)),
        "options": one.options,
        "secrets": [{"created": moment(s.created), "expires": moment(s.expires)} for s in one.secrets],
        "accounts": [
            {
                "id": account.id,
                "mount": account.mount,
                "status": account.status.value,
                "contact": list(account.contact),
                "created": moment(account.created),
            }
            for account in accounts
        ],
    }


async def rotate(core: Core, *, name: str, actor: Actor, overlap_seconds: int = 0) -> dict[str, Any]:
    """Give it a new secret; the old one ends after the overlap. Raises Malformed, OrderConflict."""
    if overlap_seconds < 0:
        raise Malformed("an overlap is not negative")
    return await _created(core, await core.administration.rotate_credential(name, overlap_seconds, actor))


async def challenge(
    core: Core, *, name: str, actor: Actor, lifetime_seconds: int | None = None, names: list[str] | None = None
) -> dict[str, Any]:
    """A one-time challenge password of a SCEP credential, shown this once. Raises Malformed, RateLimited."""
    lifetime = None if lifetime_seconds is None else timedelta(seconds=lifetime_seconds)
    one = await core.administration.find_credential(name, "credential:rotate", actor)
    secret, expires = await core.administration.make_code(one.id, actor, names or (), lifetime)
    return {
        "credential": one.identifier,
        "challenge": secret.reveal().decode(),
        "expires": moment(expires),
        "names": names or [],
    }


async def suspend(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """Stop it until it is resumed. Raises Malformed, OrderConflict."""
    return await _value(core, await core.administration.suspend_credential(name, actor))


async def resume(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """Let a suspended one go on. Raises Malformed, OrderConflict."""
    return await _value(core, await core.administration.resume_credential(name, actor))


async def preview(core: Core, *, name: str, actor: Actor) -> dict[str, Any]:
    """What a revocation would stop. Raises Malformed."""
    one = await core.administration.find_credential(name, "credential:read", actor)
    reach = await core.inventory.reach(one.id)
    return {
        **await _value(core, one),
        "open_orders": reach.orders,
        "accounts": reach.accounts,
        "live_certificates": reach.certificates,
        "open_mounts": list(reach.mounts),
    }


async def revoke(
    core: Core, *, name: str, actor: Actor, reason: str = "", cascade: str | None = None
) -> dict[str, Any]:
    """Revoke for good, with `cascade` its live certificates too, for that reason. Raises Malformed, OrderConflict."""
    why = reason or "no reason was given"
    one, orders, certificates = await core.administration.revoke_credential(
        name, why, actor, cascade=cascade_reason(cascade)
    )
    return {**await _value(core, one), "orders_ended": orders, "certificates_revoked": certificates}


async def _value(core: Core, one: Credential) -> dict[str, Any]:
    return credential_value(core, one, await core.inventory.uses(one.id))


COMMANDS: dict[str, Command] = {
    "credential.create": create,
    "credential.page": page,
    "credential.show": show,
    "credential.rotate": rotate,
    "credential.challenge": challenge,
    "credential.suspend": suspend,
    "credential.resume": resume,
    "credential.preview": preview,
    "credential.revoke": revoke,
}
