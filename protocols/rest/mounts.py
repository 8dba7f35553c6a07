"""Mounts: where doors listen, with which products and options."""

from __future__ import annotations

from ssl import DER_cert_to_PEM_cert, PEM_cert_to_DER_cert
from typing import Annotated, Any

from msgspec import Meta

from policy.access import UnknownObject
from policy.mount import Mount
from policy.problems import Malformed
from protocols.rest.operation import Call, Operation, Reply
from protocols.rest.problems import FieldError, Invalid
from protocols.rest.schema import Body, View


class MountBody(Body, frozen=True, kw_only=True):
    """A mount as it is to be."""

    products: Annotated[tuple[str, ...], Meta(description="What can be ordered there; the first is the default.")]
    issuer: str
    open_credential: Annotated[str | None, Meta(description="For clients that can show none.")] = None
    anchors: Annotated[tuple[str, ...], Meta(description="PEM of what client certificates chain to.")] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    active: bool = True


class MountView(View, frozen=True, kw_only=True):
    """A mount."""

    protocol: str
    label: str
    products: tuple[str, ...]
    issuer: str
    open_credential: str | None
    anchors: tuple[str, ...]
    options: dict[str, Any]
    active: bool
    version: int


class MountList(View, frozen=True, kw_only=True):
    """Every mount, closed ones too."""

    items: tuple[MountView, ...]


def _view(one: Mount) -> MountView:
    return MountView(
        protocol=one.protocol,
        label=one.label,
        products=one.products,
        issuer=one.issuer,
        open_credential=one.open_credential,
        anchors=tuple(map(DER_cert_to_PEM_cert, one.anchors)),
        options=one.options,
        active=one.active,
        version=one.version,
    )


async def list_mounts(call: Call) -> Reply:
    """GET /mounts."""
    return Reply(MountList(items=tuple(map(_view, await call.door.inventory.mounts()))))


async def get_mount(call: Call) -> Reply:
    """GET /mounts/{protocol}/{label}."""
    key = f"{call.path('protocol')}/{call.path('label')}"
    for one in await call.door.inventory.mounts():
        if one.key == key:
            return Reply(_view(one), version=one.version)
    raise UnknownObject("there is no such mount")


async def put_mount(call: Call, given: MountBody) -> Reply:
    """PUT /mounts/{protocol}/{label}."""
    protocol, label = call.path("protocol"), call.path("label")
    known = {one.key: one for one in await call.door.inventory.mounts()}
    current = known.get(f"{protocol}/{label}")
    if current is not None:
        call.match(current.version)
    try:
        anchors = tuple(PEM_cert_to_DER_cert(one.strip() + "\n") for one in given.anchors)
    except ValueError as fault:
        raise Invalid(FieldError("/anchors", "pem", "an anchor is no PEM certificate")) from fault
    mount = Mount(
        protocol, label, given.products, given.issuer, given.open_credential, anchors, given.options, given.active
    )
    try:
        made = await call.door.administration.apply_mount(mount, call.actor)
    except Malformed as problem:
        raise Invalid(FieldError(_about(problem.detail), "mount", problem.detail)) from problem
    view = made or current or mount
    status = 201 if current is None else 200
    return Reply(_view(view), status=status, version=view.version, location=f"/mounts/{protocol}/{label}")


def _about(detail: str) -> str:
    """Which field a sentence of the mount's check is about; the options, where it does not say."""
    return next((pointer for word, pointer in _FIELDS.items() if word in detail), "/options")


_FIELDS = {"product": "/products", "CA": "/issuer", "anchor": "/anchors", "open": "/open_credential"}


_ONE = "/mounts/{protocol}/{label}"

OPERATIONS = (
    Operation("GET", "/mounts", "list-mounts", "Every mount", "mount:read", list_mounts, answer=MountList),
    Operation("GET", _ONE, "get-mount", "A mount", "mount:read", get_mount, answer=MountView),
    Operation(
        "PUT",
        _ONE,
        "put-mount",
        "Open a door at a place, or change it; a running server serves it so within a second",
        "mount:change",
        put_mount,
        body=MountBody,
        answer=MountView,
        statuses={201: "A new mount."},
        pointers={"unknown-product": "/products"},
    ),
)
