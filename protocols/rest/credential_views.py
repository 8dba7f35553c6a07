"""What clients are shown of credentials, and of the forms of their types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from policy.access import Owned, UnknownObject
from policy.credential import Credential, StoredSecret
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.schema import View, moment

DAY_SECONDS = 86400


class CredentialView(View, frozen=True, kw_only=True):
    """A credential, without its secrets."""

    id: str
    type: str
    identifier: Annotated[str, Meta(description="What clients call it: user name, key identifier, client_id.")]
    state: Annotated[str, Meta(description="pending, active, suspended, revoked or expired, as it counts now.")]
    user: str
    group: str
    products: tuple[str, ...]
    mounts: tuple[str, ...]
    method: str
    label: str
    created: str
    not_before: str | None
    expires: str | None
    uses: int
    use_limit: int | None
    allowed_cidrs: tuple[str, ...]
    secret_age_days: Annotated[int | None, Meta(description="Of the newest secret; null where there is none.")]
    secret_expires: str | None
    revoked_at: str | None
    revoked_reason: str | None
    version: int


class SecretView(View, frozen=True, kw_only=True):
    """How old a secret is, and when it ends; never what it is."""

    created: str
    expires: str | None
    age_days: int

    @classmethod
    def of(cls, secret: StoredSecret, now: datetime) -> SecretView:
        """A secret as clients see it."""
        ends = None if secret.expires is None else moment(secret.expires)
        return cls(created=moment(secret.created), expires=ends, age_days=_days(secret, now))


class CredentialDetail(View, frozen=True, kw_only=True):
    """A credential with what is only looked up for one."""

    credential: CredentialView
    options: dict[str, Any]
    secrets: tuple[SecretView, ...]
    last_order: Annotated[str | None, Meta(description="When it ordered last.")]
    clients: Annotated[tuple[str, ...], Meta(description="The clients for which there are kits.")]


class KitView(View, frozen=True, kw_only=True):
    """The ready configuration of a client: files by name, commands in their order."""

    client: str
    commands: tuple[str, ...]
    files: dict[str, str]
    note: str


class NewSecret(View, frozen=True, kw_only=True):
    """A credential with its new secret, which is shown this once; null where its method has none."""

    credential: CredentialView
    secret: str | None
    kit: KitView | None
    clients: tuple[str, ...]


class FormField(View, frozen=True, kw_only=True):
    """One field of a type's form. `choices` are what it is one of; `option` says whether it goes into `options`."""

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...]
    option: bool


class CredentialTypeView(View, frozen=True, kw_only=True):
    """A type of credential: how it is proven, and the fields of its form."""

    type: str
    fields: tuple[FormField, ...]
    clients: tuple[str, ...]
    max_secret_age_days: int | None


class Counts(View, frozen=True, kw_only=True):
    """How many credentials there are that the caller may see, by type and state."""

    total: int
    by_type: dict[str, dict[str, int]]


def view_of(one: Credential, uses: int, now: datetime) -> CredentialView:
    """A credential as clients see it."""
    newest = one.secrets[0] if one.secrets else None
    return CredentialView(
        id=one.id,
        type=one.type.value,
        identifier=one.identifier,
        state=one.at(now).value,
        user=one.user,
        group=one.group,
        products=one.products,
        mounts=one.mounts,
        method=one.method.value,
        label=one.label,
        created=moment(one.created),
        not_before=_moment(one.not_before),
        expires=_moment(one.expires),
        uses=uses,
        use_limit=one.use_limit,
        allowed_cidrs=one.allowed_cidrs,
        secret_age_days=None if newest is None else _days(newest, now),
        secret_expires=None if newest is None else _moment(newest.expires),
        revoked_at=_moment(one.revoked_at),
        revoked_reason=one.revoked_reason,
        version=one.version,
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def _days(secret: StoredSecret, now: datetime) -> int:
    return int((now - secret.created).total_seconds() // DAY_SECONDS)


# --------------------------------------------------------------------------- forms and counts


async def list_types(call: Call) -> Reply:
    """GET /credential-types."""
    return Reply(tuple(_type(call, kind) for kind in call.door.administration.settings.forms))


async def get_type(call: Call) -> Reply:
    """GET /credential-types/{type}."""
    kind = call.path("type")
    if kind not in call.door.administration.settings.forms:
        raise UnknownObject(f'there is no type of credential "{kind}"')
    return Reply(_type(call, kind))


def _type(call: Call, kind: str) -> CredentialTypeView:
    settings = call.door.administration.settings
    options = {one.name for one in settings.options(kind)}
    return CredentialTypeView(
        type=kind,
        fields=tuple(
            FormField(
                name=one.name,
                type=one.kind,
                default=one.default,
                help=one.help,
                choices=one.choices,
                option=one.name in options,
            )
            for one in settings.forms[kind]
        ),
        clients=call.door.kits.clients(kind),
        max_secret_age_days=settings.max_secret_days.get(kind),
    )


async def count_credentials(call: Call) -> Reply:
    """GET /credential-counts."""
    by_type: dict[str, dict[str, int]] = {}
    for one in await call.door.inventory.credential_counts():
        if call.actor.reaches("credential:read", Owned(one.user, (one.group,))):
            states = by_type.setdefault(one.type, {})
            states[one.state] = states.get(one.state, 0) + one.number
    return Reply(Counts(total=sum(sum(states.values()) for states in by_type.values()), by_type=by_type))


OPERATIONS = (
    Operation(
        "GET",
        "/credential-types",
        "list-credential-types",
        "Types of credentials with the fields of their forms",
        "credential:read",
        list_types,
        answer=tuple[CredentialTypeView, ...],
    ),
    Operation(
        "GET",
        "/credential-types/{type}",
        "get-credential-type",
        "One type of credential with the fields of its form",
        "credential:read",
        get_type,
        answer=CredentialTypeView,
    ),
    Operation(
        "GET",
        "/credential-counts",
        "count-credentials",
        "How many credentials there are, by type and state",
        "credential:read",
        count_credentials,
        answer=Counts,
    ),
)
