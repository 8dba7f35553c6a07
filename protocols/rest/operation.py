"""What a resource module declares and is given: operations, the call that a handler serves, and its reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ca_core.clock import Clock
from policy.access import Actor
from policy.administration import Administration
from policy.admission import Admission
from policy.credential import Principal
from policy.inventory import Inventory
from policy.lifecycle import Lifecycle
from policy.onboarding import Onboarding
from policy.organisations import Organisations
from policy.people import People
from policy.prevalidation import Prevalidation
from policy.problems import Problem
from policy.proposing import Proposing
from policy.registration import RegistrationAuthority
from protocols.http import HTTPRequest
from protocols.kits import Kits
from protocols.rest.paging import Page, PageQuery
from protocols.rest.problems import NotAcceptable, PreconditionFailed
from protocols.rest.settings import RESTSettings

ROOT = "/api/v1"
JSON = "application/json"

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked of a resource: its route, its place in the OpenAPI document, and who may.

    `path` is below /api/v1 and names its parameters, as in "/orders/{id}"; `name` is unique ("get-order").
    `permission` is checked before anything is read; None lets every proven caller in. `handler` is called with the
    Call, then the body if there is a `body`, then the query if there is a `query`; a `page` operation's `query` is a
    PageQuery, and its handler gets a fourth argument: the key after which the page begins. `answer` is the View that
    comes back (of one item, for a page); None where nothing does. `status` is that of the plain success, `statuses`
    has the further ones, each with its sentence. `pointers` says for kinds of problems which field they are about.
    `media` lists what can be given beside JSON.
    """

    method: str
    path: str
    name: str
    summary: str
    permission: str | None
    handler: Callable[..., Awaitable[Reply | Page]]
    body: type[Any] | None = None
    query: type[Any] | None = None
    answer: Any = None
    status: int = 200
    statuses: Mapping[int, str] = field(default_factory=dict)
    pointers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    media: tuple[str, ...] = ()
    max_body_bytes: int | None = None
    example: Mapping[str, Any] | None = None
    """A body that works on a fresh quickstart, for the document and its examples."""

    @property
    def page(self) -> bool:
        """Whether it gives a list, page by page."""
        return self.query is not None and issubclass(self.query, PageQuery)

    @property
    def tag(self) -> str:
        """The resource: the first part of its path."""
        return self.path.split("/")[1]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers. A View as `view`, or bytes of a type of their own as `body` and `content_type`.

    `version` is that of the object, which becomes its entity tag; `location` a path below /api/v1.
    """

    view: Any = None
    status: int | None = None
    version: int | None = None
    location: str | None = None
    retry_after: int | None = None
    body: bytes | AsyncIterator[bytes] | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Door:
    """What every handler may use."""

    ra: RegistrationAuthority
    administration: Administration
    people: People
    organisations: Organisations
    onboarding: Onboarding
    domains: Prevalidation
    inventory: Inventory
    lifecycle: Lifecycle
    proposing: Proposing
    admission: Admission
    kits: Kits
    settings: RESTSettings
    base_url: str
    mtls_url: str
    clock: Clock


@dataclass(slots=True)
class Call:
    """One request whose caller is known and may do this."""

    door: Door
    request: HTTPRequest
    principal: Principal
    actor: Actor
    """Who asks and what they may; its name goes into the audit log, its `find` and `reaches` are the one check."""
    reference: str | None = None
    """The client's idempotency key, as a name for what it makes: unique to the credential."""

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return self.request.parameters[name]

    async def goes_on(self) -> bool:
        """Whether the caller's credential may still be used: for answers that take long, asked again and again."""
        try:
            await self.door.ra.check_usable(self.principal)
        except Problem:
            return False
        return True

    def match(self, version: int) -> None:
        """Raises PreconditionFailed when If-Match names another version of the object than this one."""
        wanted = self.request.headers.get("if-match")
        if wanted is None or wanted.strip() == "*":
            return
        if entity_tag(version) not in [one.strip() for one in wanted.split(",")]:
            raise PreconditionFailed("the object was changed since it was read: read it again, then decide")

    def matched(self, version: int) -> int:
        """The version of an object that is going to be changed, as `match` found it."""
        self.match(version)
        return version

    def choose(self, *types: str) -> str:
        """The media type of these that the client likes best; the first one when it does not say.

        Raises NotAcceptable.
        """
        accepted = _accepted(self.request.headers.get("accept", "*/*"))
        best, chosen = 0.0, None
        for one in types:
            likes = max(accepted.get(one, 0.0), 0.0) if one in accepted else _by_range(accepted, one)
            if likes > best:
                best, chosen = likes, one
        if chosen is None:
            raise NotAcceptable(f"this resource comes as {', '.join(types)}")
        return chosen


def entity_tag(version: int) -> str:
    """The entity tag of a version (RFC 9110 section 8.8.3)."""
    return f'"{version}"'


def _accepted(field_value: str) -> dict[str, float]:
    """Media ranges and their weights (RFC 9110 section 12.5.1); what is odd counts as not accepted."""
    found: dict[str, float] = {}
    for part in field_value.lower().split(","):
        media, *parameters = (one.strip() for one in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        found[media] = weight
    return found


def _by_range(accepted: Mapping[str, float], media: str) -> float:
    kind = media.partition("/")[0]
    return accepted.get(f"{kind}/*", accepted.get("*/*", 0.0))
