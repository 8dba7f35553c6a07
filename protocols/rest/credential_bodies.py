"""What clients send about credentials, and the small views that only one operation answers with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from protocols.kits import WRITTEN_OUT
from protocols.rest.credential_views import CredentialView
from protocols.rest.paging import PageQuery
from protocols.rest.schema import Body, View

Days = 86400
Type = Literal["acme", "rest", "est", "scep", "cmp", "waep"]
State = Literal["pending", "active", "suspended", "revoked", "expired"]
Text = Annotated[str, Meta(max_length=200)]
Names = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=100)]


class KitWanted(Body, frozen=True, kw_only=True):
    """Which client is to be configured, and where it finds the secret."""

    client: Text
    secret_from: Annotated[
        Text, Meta(description='"value" (written out), "env:NAME", "file:PATH" or "vault:PATH#FIELD".')
    ] = WRITTEN_OUT
    name: Annotated[Text, Meta(description="The host that the first certificate is for.")] = "www.example.org"


class NewCredentialBody(Body, frozen=True, kw_only=True):
    """A credential to be made. GET /credential-types has the options of each type."""

    type: Type
    user: Text
    group: Text
    products: Annotated[Names, Meta(min_length=1)]
    method: Text | None = None
    identifier: Text | None = None
    label: Text = ""
    mounts: Names = ()
    allowed_cidrs: Names = ()
    use_limit: Annotated[int, Meta(ge=1)] | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    kit: KitWanted | None = None


class CredentialPatch(Body, frozen=True, kw_only=True):
    """What is to be different; null clears what may be absent."""

    label: Text | UnsetType = UNSET
    products: Annotated[Names, Meta(min_length=1)] | UnsetType = UNSET
    mounts: Names | UnsetType = UNSET
    allowed_cidrs: Names | UnsetType = UNSET
    use_limit: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    not_before: datetime | UnsetType | None = UNSET
    expires: datetime | UnsetType | None = UNSET
    options: dict[str, Any] | UnsetType = UNSET


class Rotation(Body, frozen=True, kw_only=True):
    """How long the old secret still counts; with 0 it ends at once, and access tokens that were had with it."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=90 * Days)] = 0
    kit: KitWanted | None = None


class RevocationBody(Body, frozen=True, kw_only=True):
    """Why, and whether its live certificates are revoked too, for a reason of RFC 5280."""

    why: Annotated[str, Meta(min_length=1, max_length=500)]
    cascade: Annotated[str | None, Meta(description="The reason for its certificates, as in keyCompromise.")] = None


class CredentialQuery(PageQuery, frozen=True, kw_only=True):
    """Filters of the list; all of those that are given have to fit."""

    type: Type | Literal[""] = ""
    status: State | Literal[""] = ""
    user: Text = ""
    group: Text = ""
    product: Text = ""
    text: Annotated[Text, Meta(description="In identifier, label, user or id.")] = ""


class Reach(View, frozen=True, kw_only=True):
    """What a revocation of the credential would stop, counted up to ten thousand."""

    open_orders: int
    accounts: int
    live_certificates: int
    open_mounts: tuple[str, ...]


class Revoked(View, frozen=True, kw_only=True):
    """What a revocation stopped."""

    credential: CredentialView
    orders_ended: int
    certificates_revoked: int


class AccountView(View, frozen=True, kw_only=True):
    """An ACME account that the credential vouches for."""

    id: str
    mount: str
    status: str
    contact: tuple[str, ...]
    created: str


class KitQuery(Body, frozen=True, kw_only=True):
    """Which client's kit."""

    client: Text
    secret_from: Text = "env:CERTGATE_SECRET"  # noqa: S105 - where it lies, not what it is
    name: Text = "www.example.org"


class CodeWanted(Body, frozen=True, kw_only=True):
    """A one-time code, for these names only if any are given."""

    names: Names = ()
    lifetime_seconds: Annotated[int, Meta(ge=1, le=30 * Days)] | None = None


class Code(View, frozen=True, kw_only=True):
    """A one-time code, which is shown this once."""

    code: str
    expires: str
    names: tuple[str, ...]
