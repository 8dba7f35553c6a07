"""What a protocol offers and what it is given; dispatch(), which always answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from ca_core.clock import Clock, system_clock
from policy.administration import Administration
from policy.admission import Admission
from policy.codes import Codes
from policy.forms import CredentialField
from policy.inventory import Inventory
from policy.lifecycle import Lifecycle
from policy.mount import Mount
from policy.onboarding import Onboarding
from policy.organisations import Organisations
from policy.people import People
from policy.prevalidation import Prevalidation
from policy.problems import Internal, Problem
from policy.proposing import Proposing
from policy.registration import RegistrationAuthority
from policy.service_keys import ServiceKeys
from protocols.http import HTTPRequest, HTTPResponse, Operation, Route
from protocols.kits import Kits, MakeKit

__all__ = [
    "CredentialField",
    "Endpoint",
    "ProtocolDescription",
    "Say",
    "Services",
    "dispatch",
    "note",
]

Say = Callable[[Problem, HTTPRequest], HTTPResponse]
"""Says a problem in a protocol's own words. Never raises; never shows `Problem.context`."""

_log = structlog.get_logger("certgate.request")


@dataclass(frozen=True, slots=True)
class Services:
    """What the running server gives to a door. A door reaches nothing else.

    `settings` is the door's section of the configuration (an instance of `ProtocolDescription.settings`);
    `base_url` is the configured https origin ("https://ca.example:8443") and `status_url` the plain http one, both
    without a trailing slash; `mtls_url` the origin of the listener that takes client certificates.
    """

    ra: RegistrationAuthority
    settings: Any
    base_url: str
    mtls_url: str
    status_url: str
    clock: Clock = system_clock
    service_keys: ServiceKeys | None = None
    """The keys with which the service itself speaks, and decrypts what is meant for it."""
    codes: Codes | None = None
    """One-time challenge passwords."""
    administration: Administration | None = None
    """What changes credentials, products and mounts: for doors through which that may be asked."""
    people: People | None = None
    """Users, groups and roles."""
    organisations: Organisations | None = None
    """Organisations."""
    domains: Prevalidation | None = None
    """Domains of groups."""
    onboarding: Onboarding | None = None
    """Users with group and credential in one call."""
    inventory: Inventory | None = None
    """Search and lists."""
    proposing: Proposing | None = None
    """What products would be, before they are."""
    lifecycle: Lifecycle | None = None
    """What leads orders and certificates through their lives, step by step."""
    admission: Admission | None = None
    """What the API asks about its callers: permissions, limits, idempotency."""
    kits: Kits | None = None
    """Client kits of every door."""


class Endpoint(Protocol):
    """One door, put together: its routes for every mount, and how it says a problem."""

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """Every resource of this door under these mounts. Called again when the mounts change."""
        ...

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """This problem in the protocol's own words."""
        ...


def _any_mount(_: Mount) -> None:
    """What a door without mount options checks."""


@dataclass(frozen=True, slots=True)
class ProtocolDescription:
    """What a folder under protocols/ exports as PROTOCOL.

    `settings` is a frozen dataclass whose fields all have defaults, each with its sentence in `metadata["help"]`;
    `problems` is the door's table kind -> wire, for the completeness test; `credential_form` lists the fields of
    this door's credential type, empty where the door has none (status).
    """

    name: str
    documents: tuple[str, ...]
    settings: type
    factory: Callable[[Services], Endpoint]
    problems: Mapping[str, Any]
    credential_form: tuple[CredentialField, ...] = ()
    kits: Mapping[str, MakeKit] = field(default_factory=dict)
    """By client: what makes its configuration for a credential of this door."""
    check_mount: Callable[[Mount], object] = _any_mount
    """Raises ValueError, with every mistake, for a mount whose options this door does not know or take."""


def note(problem: Problem, request: HTTPRequest) -> None:
    """Add a problem to the request's one log line."""
    request.event["problem"] = problem.kind
    request.event["detail"] = problem.detail
    if problem.context:
        request.event["context"] = {key: repr(value) for key, value in problem.context.items()}


async def dispatch(operation: Operation, say: Say, request: HTTPRequest) -> HTTPResponse:
    """Run one operation and always answer: a Problem in the protocol's words, anything else as an internal one.

    This is the one broad `except` of the product. What was wrong goes to the log with the request's identifier; the
    client learns that identifier and nothing more.
    """
    try:
        return await operation(request)
    except Problem as problem:
        note(problem, request)
        return say(problem, request)
    except Exception as fault:  # noqa: BLE001 - the last catch
        request.event["problem"] = "internal"
        _log.error("internal", request=request.request_id, fault=type(fault).__name__, exc_info=fault)
        return say(Internal(f"internal error; the operator finds it under request {request.request_id}"), request)
