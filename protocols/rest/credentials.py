"""API credentials: made, listed, changed, rotated, suspended, revoked. A secret is in one answer, and in no other."""

from __future__ import annotations

from datetime import timedelta

from msgspec import UNSET

from ca_core.status import RevocationReason
from policy.credential import AuthenticationMethod, Credential, CredentialType
from policy.credential_change import CredentialChange
from policy.credentialing import CreatedCredential, NewCredential
from protocols.kits import Kit
from protocols.rest.credential_bodies import (
    AccountView,
    Code,
    CodeWanted,
    CredentialPatch,
    CredentialQuery,
    KitQuery,
    KitWanted,
    NewCredentialBody,
    Reach,
    RevocationBody,
    Revoked,
    Rotation,
)
from protocols.rest.credential_views import (
    CredentialDetail,
    CredentialView,
    KitView,
    NewSecret,
    SecretView,
    view_of,
)
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.paging import Page, PageQuery
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import moment

# --------------------------------------------------------------------------- make and find


async def create_credential(call: Call, new: NewCredentialBody) -> Reply:
    """POST /credentials."""
    made = await call.door.administration.create_credential(
        NewCredential(
            type=CredentialType(new.type),
            user=new.user,
            group=new.group,
            products=new.products,
            method=_method(new.method),
            identifier=new.identifier,
            mounts=new.mounts,
            not_before=new.not_before,
            expires=new.expires,
            use_limit=new.use_limit,
            allowed_cidrs=new.allowed_cidrs,
            label=new.label,
            options=new.options,
        ),
        call.actor,
    )
    view = await _with_secret(call, made, new.kit)
    return Reply(view, version=made.credential.version, location=f"/credentials/{made.credential.id}")


def _method(text: str | None) -> AuthenticationMethod | None:
    if text is None:
        return None
    try:
        return AuthenticationMethod(text)
    except ValueError as fault:
        known = ", ".join(AuthenticationMethod)
        raise Invalid(FieldError("/method", "enum", f'"{text}" is not one of {known}')) from fault


async def _with_secret(call: Call, made: CreatedCredential, wanted: KitWanted | None) -> NewSecret:
    kit = None if wanted is None else await _kit(call, made.credential, wanted, made.secret)
    return NewSecret(
        credential=await _view(call, made.credential),
        secret=made.secret,
        kit=kit,
        clients=call.door.kits.clients(made.credential.type),
    )


async def list_credentials(call: Call, query: CredentialQuery, after: str, limit: int) -> Page:
    """GET /credentials."""
    found: list[tuple[Credential, int]] = []
    while len(found) < limit:
        page = await call.door.inventory.credential_page(
            after,
            limit,
            type=query.type,
            status=query.status,
            user=query.user,
            group=query.group,
            product=query.product,
            text=query.text,
        )
        found += [one for one in page if call.actor.reaches("credential:read", one[0].owned)]
        if len(page) < limit:
            after = ""
            break
        after = page[-1][0].id
    if len(found) > limit:
        found = found[:limit]
        after = found[-1][0].id
    return Page(tuple(view_of(one, uses, call.door.clock()) for one, uses in found), after)


async def get_credential(call: Call) -> Reply:
    """GET /credentials/{id}."""
    one = await _found(call)
    inventory, now = call.door.inventory, call.door.clock()
    latest = await inventory.order_page(limit=1, credential=one.id)
    return Reply(
        CredentialDetail(
            credential=await _view(call, one),
            options=one.options,
            secrets=tuple(SecretView.of(each, now) for each in one.secrets),
            last_order=None if not latest else moment(latest[0].created),
            clients=call.door.kits.clients(one.type),
        ),
        version=one.version,
    )


async def _found(call: Call, permission: str = "credential:read", *, changing: bool = False) -> Credential:
    """The credential of the path, when the caller may do this with it. Raises UnknownObject, PreconditionFailed."""
    one = await call.door.administration.find_credential(call.path("id"), permission, call.actor)
    if changing:
        call.match(one.version)
    return one


async def _view(call: Call, one: Credential) -> CredentialView:
    return view_of(one, await call.door.inventory.uses(one.id), call.door.clock())


# --------------------------------------------------------------------------- change


async def change_credential(call: Call, patch: CredentialPatch) -> Reply:
    """PATCH /credentials/{id}."""
    one = await _found(call, "credential:change", changing=True)
    given = {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not UNSET}
    cleared = frozenset(name for name, value in given.items() if value is None)
    change = CredentialChange(**{name: value for name, value in given.items() if value is not None}, clear=cleared)
    changed = await call.door.administration.change_credential(one.id, change, call.actor)
    return Reply(await _view(call, changed), version=changed.version)


async def rotate_credential(call: Call, rotation: Rotation) -> Reply:
    """POST /credentials/{id}/rotate."""
    one = await _found(call, "credential:rotate", changing=True)
    made = await call.door.administration.rotate_credential(one.id, rotation.overlap_seconds, call.actor)
    return Reply(await _with_secret(call, made, rotation.kit), version=made.credential.version)


async def suspend_credential(call: Call) -> Reply:
    """POST /credentials/{id}/suspend."""
    one = await _found(call, "credential:suspend", changing=True)
    changed = await call.door.administration.suspend_credential(one.id, call.actor)
    return Reply(await _view(call, changed), version=changed.version)


async def resume_credential(call: Call) -> Reply:
    """POST /credentials/{id}/resume."""
    one = await _found(call, "credential:suspend", changing=True)
    changed = await call.door.administration.resume_credential(one.id, call.actor)
    return Reply(await _view(call, changed), version=changed.version)


async def preview_revocation(call: Call) -> Reply:
    """GET /credentials/{id}/preview."""
    one = await _found(call)
    reach = await call.door.inventory.reach(one.id)
    return Reply(
        Reach(
            open_orders=reach.orders,
            accounts=reach.accounts,
            live_certificates=reach.certificates,
            open_mounts=reach.mounts,
        )
    )


async def revoke_credential(call: Call, body: RevocationBody) -> Reply:
    """POST /credentials/{id}/revoke."""
    one = await _found(call, "credential:revoke", changing=True)
    revoked, orders, certificates = await call.door.administration.revoke_credential(
        one.id, body.why, call.actor, cascade=_reason(body.cascade)
    )
    view = await _view(call, revoked)
    return Reply(
        Revoked(credential=view, orders_ended=orders, certificates_revoked=certificates), version=revoked.version
    )


def _reason(text: str | None) -> RevocationReason | None:
    if text is None:
        return None
    try:
        return RevocationReason(text)
    except ValueError as fault:
        known = ", ".join(RevocationReason)
        raise Invalid(FieldError("/cascade", "enum", f'"{text}" is not one of {known}')) from fault


async def create_code(call: Call, wanted: CodeWanted) -> Reply:
    """POST /credentials/{id}/codes."""
    one = await _found(call, "credential:rotate")
    lifetime = None if wanted.lifetime_seconds is None else timedelta(seconds=wanted.lifetime_seconds)
    secret, expires = await call.door.administration.make_code(one.id, call.actor, wanted.names, lifetime)
    return Reply(Code(code=secret.reveal().decode(), expires=moment(expires), names=wanted.names))


async def list_accounts(call: Call, query: PageQuery, after: str, limit: int) -> Page:
    """GET /credentials/{id}/accounts."""
    one = await _found(call)
    found = await call.door.administration.accounts(one.id, after, limit)
    views = tuple(
        AccountView(
            id=each.id,
            mount=each.mount,
            status=each.status.value,
            contact=each.contact,
            created=moment(each.created),
        )
        for each in found
    )
    return Page(views, found[-1].id if len(found) == limit else "")


async def get_kit(call: Call, query: KitQuery) -> Reply:
    """GET /credentials/{id}/kit."""
    wanted = KitWanted(client=query.client, secret_from=query.secret_from, name=query.name)
    return Reply(await _kit(call, await _found(call), wanted, None))


async def _kit(call: Call, one: Credential, wanted: KitWanted, secret: str | None) -> KitView:
    made: Kit = call.door.kits.make(
        one,
        await call.door.inventory.mounts(),
        wanted.client,
        secret=secret,
        secret_from=wanted.secret_from,
        name=wanted.name,
    )
    return KitView(client=wanted.client, commands=made.commands, files=dict(made.files), note=made.note)


_ONE = "/credentials/{id}"
_POINTERS = {"unknown-product": "/products"}
_EXAMPLE = {"type": "est", "user": "alice", "group": "operations", "products": ["device"], "label": "printers"}

OPERATIONS = (
    Operation(
        "POST",
        "/credentials",
        "create-credential",
        "Make a credential; its secret is in this answer and in no other",
        "credential:create",
        create_credential,
        body=NewCredentialBody,
        answer=NewSecret,
        status=201,
        pointers=_POINTERS,
        example=_EXAMPLE,
    ),
    Operation(
        "GET",
        "/credentials",
        "list-credentials",
        "Credentials, by any of these filters",
        "credential:read",
        list_credentials,
        query=CredentialQuery,
        answer=CredentialView,
    ),
    Operation(
        "GET",
        _ONE,
        "get-credential",
        "One credential, with its use and the age of its secrets",
        "credential:read",
        get_credential,
        answer=CredentialDetail,
    ),
    Operation(
        "PATCH",
        _ONE,
        "change-credential",
        "Change label, products, places, limits, times or options",
        "credential:change",
        change_credential,
        body=CredentialPatch,
        answer=CredentialView,
        pointers=_POINTERS,
        example={"label": "printers, second floor"},
    ),
    Operation(
        "POST",
        f"{_ONE}/rotate",
        "rotate-credential",
        "Give it a new secret, which is in this answer and in no other",
        "credential:rotate",
        rotate_credential,
        body=Rotation,
        answer=NewSecret,
        example={"overlap_seconds": 3600},
    ),
    Operation(
        "POST",
        f"{_ONE}/suspend",
        "suspend-credential",
        "Refuse it until it is resumed",
        "credential:suspend",
        suspend_credential,
        answer=CredentialView,
    ),
    Operation(
        "POST",
        f"{_ONE}/resume",
        "resume-credential",
        "Accept it again",
        "credential:suspend",
        resume_credential,
        answer=CredentialView,
    ),
    Operation(
        "GET",
        f"{_ONE}/preview",
        "preview-revocation",
        "What its revocation would stop",
        "credential:read",
        preview_revocation,
        answer=Reach,
    ),
    Operation(
        "POST",
        f"{_ONE}/revoke",
        "revoke-credential",
        "Refuse it for good, with all that hangs on it",
        "credential:revoke",
        revoke_credential,
        body=RevocationBody,
        answer=Revoked,
        example={"why": "the device was lost"},
    ),
    Operation(
        "POST",
        f"{_ONE}/codes",
        "create-code",
        "A one-time code for one enrolment; it is in this answer and in no other",
        "credential:rotate",
        create_code,
        body=CodeWanted,
        answer=Code,
        status=201,
    ),
    Operation(
        "GET",
        f"{_ONE}/accounts",
        "list-credential-accounts",
        "ACME accounts that it vouches for",
        "credential:read",
        list_accounts,
        query=PageQuery,
        answer=AccountView,
    ),
    Operation(
        "GET",
        f"{_ONE}/kit",
        "get-kit",
        "The ready configuration of a client, with a place for the secret",
        "credential:read",
        get_kit,
        query=KitQuery,
        answer=KitView,
    ),
)
