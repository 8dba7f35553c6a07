"""What is done to certificates: renewed, reissued, revoked, suspended, tagged; one by one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from ca_core.status import RevocationReason
from policy.blocking import BlockKind
from policy.problems import Malformed
from policy.succession import Successor
from protocols.rest import order_views
from protocols.rest.certificates import ListedView, reached, status_of
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.order_views import CSR, POINTERS, Names, OrderView, pointing, read_names, request_of
from protocols.rest.orders import Tags
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body

Reason = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
    "aACompromise",
]


class RenewBody(Body, frozen=True, kw_only=True):
    """The same again. Without a request the key stays, where its request was kept; else one is owed."""

    csr: CSR | None = None
    automatic_renewal: Annotated[bool | None, Meta(description="Left out, as the certificate before.")] = None


class ReissueBody(Body, frozen=True, kw_only=True):
    """The same with another key, or with other names."""

    csr: CSR | None = None
    names: Annotated[Names | None, Meta(description="Left out, the same names.")] = None
    new_key: Annotated[bool, Meta(description="Whether the key has to be another one.")] = False
    revoke_previous: Annotated[
        Reason | None, Meta(description="Revoke the certificate before for this reason, once the new one is there.")
    ] = None


class RevokeBody(Body, frozen=True, kw_only=True):
    """Revoke for good."""

    reason: Reason = "unspecified"
    invalidity_date: Annotated[datetime | None, Meta(description="Since when the key is suspected.")] = None
    block_reissue: Annotated[
        bool | tuple[Literal["identity", "domain", "key"], ...],
        Meta(description="What must not be certified again: true for names and key."),
    ] = False


class TagsBody(Body, frozen=True, kw_only=True):
    """The tags of a certificate, all of them."""

    tags: Tags


async def renew(call: Call, given: RenewBody) -> Reply:
    """POST /certificates/{serial}/renew."""
    wanted = Successor(request=request_of(given.csr), automatic=given.automatic_renewal, reference=call.reference)
    return await _follow(call, wanted)


async def reissue(call: Call, given: ReissueBody) -> Reply:
    """POST /certificates/{serial}/reissue."""
    names = None if given.names is None else read_names(given.names)
    if names is None and not given.new_key and given.csr is None:
        raise Invalid(FieldError("/new_key", "required", "say what is to be other: names, or the key", nearest=True))
    wanted = Successor(
        request=request_of(given.csr),
        identifiers=names,
        new_key=given.new_key,
        retire=None if given.revoke_previous is None else RevocationReason(given.revoke_previous),
        reference=call.reference,
    )
    with pointing(names or ()):
        return await _follow(call, wanted)


async def _follow(call: Call, wanted: Successor) -> Reply:
    one = await reached(call, "certificate:renew")
    lifecycle = call.door.lifecycle
    if wanted.retire is not None:
        await lifecycle.supervision.revocable(one.stored.serial, wanted.retire, call.actor)
    acting = await lifecycle.acting(call.principal, call.actor, one.stored.credential, one.stored.mount)
    try:
        order = await lifecycle.succession.follow(acting, one.stored, wanted)
    except Malformed as problem:
        problem.context.setdefault("pointer", "/csr")
        raise
    return await order_views.reply(call, order, created=True)


async def revoke(call: Call, given: RevokeBody) -> Reply:
    """POST /certificates/{serial}/revoke."""
    kinds: tuple[BlockKind, ...] = (BlockKind.IDENTITY, BlockKind.KEY) if given.block_reissue is True else ()
    if isinstance(given.block_reissue, tuple):
        kinds = tuple(map(BlockKind, given.block_reissue))
    one = await reached(call, "certificate:revoke")
    await call.door.lifecycle.supervision.revoke(
        one.stored.serial,
        RevocationReason(given.reason),
        call.actor,
        block=kinds,
        invalidity_date=given.invalidity_date,
    )
    return await status_of(call, one.stored.serial)


async def hold(call: Call) -> Reply:
    """POST /certificates/{serial}/hold."""
    one = await reached(call, "certificate:hold")
    await call.door.lifecycle.supervision.hold(one.stored.serial, call.actor)
    return await status_of(call, one.stored.serial)


async def release(call: Call) -> Reply:
    """POST /certificates/{serial}/release."""
    one = await reached(call, "certificate:hold")
    await call.door.lifecycle.supervision.release(one.stored.serial, call.actor)
    return await status_of(call, one.stored.serial)


async def put_tags(call: Call, given: TagsBody) -> Reply:
    """PUT /certificates/{serial}/tags."""
    one = await reached(call, "certificate:tag")
    await call.door.inventory.tag(one.stored.serial, given.tags, call.actor)
    return await status_of(call, one.stored.serial)


_MADE = {202: "Something is owed: `requirements` says what; ask again at the Location."}

OPERATIONS = (
    Operation(
        "POST",
        "/certificates/{serial}/renew",
        "renew-certificate",
        "Renew a certificate: the order of its successor",
        "certificate:renew",
        renew,
        body=RenewBody,
        answer=OrderView,
        status=201,
        statuses=_MADE,
        pointers=POINTERS,
        example={},
    ),
    Operation(
        "POST",
        "/certificates/{serial}/reissue",
        "reissue-certificate",
        "Reissue a certificate with another key or other names: the order of its successor",
        "certificate:renew",
        reissue,
        body=ReissueBody,
        answer=OrderView,
        status=201,
        statuses=_MADE,
        pointers={**POINTERS, "bad-revocation-reason": "/revoke_previous"},
        example={"new_key": True},
    ),
    Operation(
        "POST",
        "/certificates/{serial}/revoke",
        "revoke-certificate",
        "Revoke a certificate for good; with block_reissue it is not issued again until the block is lifted",
        "certificate:revoke",
        revoke,
        body=RevokeBody,
        answer=ListedView,
        pointers={"bad-revocation-reason": "/reason"},
        example={"reason": "superseded", "block_reissue": True},
    ),
    Operation(
        "POST",
        "/certificates/{serial}/hold",
        "hold-certificate",
        "Suspend a certificate, where its product knows suspension",
        "certificate:hold",
        hold,
        answer=ListedView,
    ),
    Operation(
        "POST",
        "/certificates/{serial}/release",
        "release-certificate",
        "Reinstate a suspended certificate",
        "certificate:hold",
        release,
        answer=ListedView,
    ),
    Operation(
        "PUT",
        "/certificates/{serial}/tags",
        "tag-certificate",
        "Give a certificate these tags and no others",
        "certificate:tag",
        put_tags,
        body=TagsBody,
        answer=ListedView,
        pointers={"malformed": "/tags"},
        example={"tags": ["web", "team:ops"]},
    ),
)
