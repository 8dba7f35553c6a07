"""One call that brings a user in with group and credential, and one that takes a user out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from ca_core.status import RevocationReason
from policy.account import Group, User
from policy.credential import AuthenticationMethod, CredentialType
from policy.credentialing import NewCredential
from protocols.rest.groups import GroupView, NewGroup, group_model, group_view
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.schema import Body, View, given
from protocols.rest.users import Email, Names, Text, UserName, UserView, user_view

Reason = Literal["cessationOfOperation", "affiliationChanged", "superseded", "keyCompromise", "privilegeWithdrawn"]


class NewPerson(Body, frozen=True, kw_only=True):
    """The user; those that are there stay as they are."""

    name: UserName
    roles: Annotated[Names, Meta(description="What the user may do; no more than the caller.")] = ("requester",)
    email: Email | None = None
    full_name: Text = ""
    mobile: Text = ""
    designation: Text = ""
    employee_id: Text = ""


class OnboardedCredential(Body, frozen=True, kw_only=True):
    """The credential that the user gets."""

    type: CredentialType
    products: Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)]
    identifier: Annotated[str | UnsetType, Meta(description="Left out, it is made of user and type.")] = UNSET
    method: AuthenticationMethod | UnsetType = UNSET
    mounts: tuple[str, ...] = ()
    expires: datetime | None = None
    use_limit: Annotated[int, Meta(ge=1)] | None = None
    allowed_cidrs: tuple[str, ...] = ()
    label: Text = ""


class OnboardingBody(Body, frozen=True, kw_only=True):
    """Who is to be brought in."""

    group: Annotated[str | NewGroup, Meta(description="The name of one that is there, or one to be made.")]
    user: NewPerson
    credential: OnboardedCredential


class CredentialShown(View, frozen=True, kw_only=True):
    """The credential; the secret only in the answer to the call that made it."""

    id: str
    type: str
    identifier: str
    group: str
    products: tuple[str, ...]
    secret: str | None


class OnboardingView(View, frozen=True, kw_only=True):
    """What there is now, and what of it is new."""

    user: UserView
    group: GroupView
    credential: CredentialShown
    made: tuple[str, ...]


class OffboardingBody(Body, frozen=True, kw_only=True):
    """Who is to be taken out, and why."""

    user: UserName
    reason: Annotated[str, Meta(max_length=500)] = "left"
    revoke_certificates: Annotated[
        Reason | None,
        Meta(description="With a reason of RFC 5280 section 5.3.1, the live certificates are revoked, too."),
    ] = None


class OffboardingView(View, frozen=True, kw_only=True):
    """What was stopped by this call."""

    user: UserView
    credentials_revoked: tuple[str, ...]
    orders_ended: int
    certificates_revoked: int


async def onboard(call: Call, body: OnboardingBody) -> Reply:
    """POST /onboarding."""
    group: Group | str = body.group if isinstance(body.group, str) else group_model(body.group)
    user = User(**given(body.user), groups=())
    new = NewCredential(**given(body.credential), user=user.name, group="")
    found = await call.door.onboarding.onboard(group, user, new, call.actor)
    one = found.credential
    return Reply(
        OnboardingView(
            user=user_view(found.user),
            group=group_view(found.group),
            credential=CredentialShown(
                id=one.id,
                type=one.type.value,
                identifier=one.identifier,
                group=one.group,
                products=one.products,
                secret=found.secret,
            ),
            made=found.made,
        ),
        status=201 if found.made else 200,
        location=f"/users/{found.user.name}",
    )


async def offboard(call: Call, body: OffboardingBody) -> Reply:
    """POST /offboarding."""
    cascade = None if body.revoke_certificates is None else RevocationReason(body.revoke_certificates)
    done = await call.door.onboarding.offboard(body.user, body.reason, call.actor, cascade=cascade)
    return Reply(
        OffboardingView(
            user=user_view(done.user),
            credentials_revoked=done.credentials,
            orders_ended=done.orders,
            certificates_revoked=done.certificates,
        )
    )


OPERATIONS = (
    Operation(
        "POST",
        "/onboarding",
        "onboard",
        "Make a user with group and credential; what is there already stays as it is",
        "user:create",
        onboard,
        body=OnboardingBody,
        answer=OnboardingView,
        status=201,
        statuses={200: "All of it was there; nothing was made."},
        example={
            "group": "operations",
            "user": {"name": "bob", "email": "bob@example.org"},
            "credential": {"type": "acme", "products": ["tls-server"]},
        },
    ),
    Operation(
        "POST",
        "/offboarding",
        "offboard",
        "Deactivate a user and revoke all their credentials",
        "user:deactivate",
        offboard,
        body=OffboardingBody,
        answer=OffboardingView,
        example={"user": "bob", "reason": "left the company"},
    ),
)
