"""What a perspective does: take a request of its coordinator, validate with its own eyes, say what it found.

It has no store, no keys of the CA and no memory: the same validators, resolver and address guard as the server,
behind one resource that only the coordinator's certificate opens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cryptography import x509

from gateway.perspectives.wire import (
    CONTENT_TYPE,
    MAX_REQUEST_BYTES,
    PATH,
    Said,
    read_request,
    write_answer,
    write_problem,
)
from gateway.routing import Door
from policy.problems import Forbidden, Malformed, Problem, Unavailable, UnsupportedMedia, ValidationFailed
from policy.validation import CAAResolver, Validator
from policy.validation.perspectives import PerspectiveRequest
from protocols.http import HTTPRequest, HTTPResponse, Route

MAX_VALIDATIONS = 200
"""Validations at one time; each may hold a socket for the whole deadline. More are refused, not queued: the
coordinator waits no longer than its own deadline anyhow."""

_STATUS = {"forbidden": 403, "unsupported-media": 415, "unavailable": 503, "internal": 500}


class PerspectiveService:
    """The door of a perspective. `coordinator` is the DNS name in the one certificate that is let in."""

    def __init__(
        self,
        name: str,
        validators: Mapping[str, Validator],
        caa: CAAResolver,
        *,
        coordinator: str,
        deadline_seconds: float,
    ) -> None:
        self._name = name
        self._validators = validators
        self._caa = caa
        self._coordinator = coordinator.lower()
        self._deadline = deadline_seconds
        self._running = 0

    def door(self) -> Door:
        """The one resource, for the server's listener."""
        route = Route(("POST",), PATH, "validate", self.validate, max_body_bytes=MAX_REQUEST_BYTES)
        return Door("perspective", self.say, (route,))

    def say(self, problem: Problem, _: HTTPRequest) -> HTTPResponse:
        """A refusal, in JSON."""
        return HTTPResponse(_STATUS.get(problem.kind, 400), write_problem(problem), CONTENT_TYPE)

    async def validate(self, http: HTTPRequest) -> HTTPResponse:
        """POST /mpic/v1/validate. Raises Forbidden, UnsupportedMedia, Malformed, Unavailable."""
        self._admit(http)
        if http.headers.get("content-type") != CONTENT_TYPE:
            raise UnsupportedMedia(f"the content type is not {CONTENT_TYPE}")
        request = read_request(http.body)
        if self._running >= MAX_VALIDATIONS:
            raise Unavailable(f"{MAX_VALIDATIONS} validations are running already", retry_after=1)
        self._running += 1
        try:
            said = await self._found(request)
        finally:
            self._running -= 1
        http.event["success"] = said.success
        if said.problem:
            http.event["validation"] = said.problem
        return HTTPResponse(200, write_answer(said), CONTENT_TYPE)

    def _admit(self, http: HTTPRequest) -> None:
        """The handshake has checked the chain; this checks whose certificate it is."""
        names: list[str] = []
        if http.peer.certificate is not None:
            try:
                certificate = x509.load_der_x509_certificate(http.peer.certificate)
                found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
                names = [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
            except (ValueError, x509.ExtensionNotFound) as exc:
                raise Forbidden("the client certificate has no names") from exc
        if self._coordinator not in names:
            raise Forbidden("the client certificate is not the coordinator's", names=names)

    async def _found(self, request: PerspectiveRequest) -> Said:
        deadline = min(self._deadline, request.deadline_seconds)
        try:
            async with asyncio.timeout(deadline):
                return Said(self._name, True, evidence=await self._evidence(request))
        except ValidationFailed as problem:
            return Said(self._name, False, problem.kind, problem.detail)
        except TimeoutError:
            return Said(self._name, False, ValidationFailed.kind, f"validation did not end within {deadline:g} seconds")

    async def _evidence(self, request: PerspectiveRequest) -> str:
        """What was seen. Raises a kind of ValidationFailed, and Malformed for a method that is not known here."""
        seen = []
        if request.caa is not None:
            found = await self._caa.caa(request.caa.domain)
            request.caa.judge(found)
            where = f"{len(found.records)} CAA records at {found.found_at}" if found.found_at else "no CAA records"
            seen.append(f"{where} permit issuance")
        if request.attempt is not None:
            validator = self._validators.get(request.attempt.method)
            if validator is None:
                raise Malformed(f'the validation method "{request.attempt.method[:64]}" is not known here')
            evidence = await validator.validate(request.attempt)
            seen.append(f"{evidence.target}: {evidence.detail}")
        return "; ".join(seen)
