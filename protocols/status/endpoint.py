"""The status door: GET crl, GET ca, GET and POST ocsp. Public, over TLS and plain HTTP."""

from __future__ import annotations

from datetime import datetime

from ca_core.ocsp import MALFORMED_REQUEST, MAX_REQUEST_BYTES
from policy.mount import Mount
from policy.problems import Malformed, Problem, TooLarge, UnsupportedMedia
from policy.registration import OCSPAnswer
from protocols.endpoint import Services
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport
from protocols.status import codec, problems
from protocols.status.settings import StatusSettings

_SUCCESSFUL = b"\x0a\x01\x00"
"""responseStatus successful, as it stands near the begin of an OCSPResponse (RFC 6960 section 4.2.1)."""


class StatusEndpoint:
    """CRL, OCSP and CA certificates."""

    def __init__(self, services: Services) -> None:
        assert isinstance(services.settings, StatusSettings)
        self._ra = services.ra
        self._settings = services.settings
        self._clock = services.clock

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """The resources of this door; they belong to no mount."""
        anywhere = Transport.ANY
        return (
            Route(("GET",), "/crl/{issuer}/{shard}", "crl", self.crl, anywhere),
            Route(("GET",), "/ca/{certificate}", "ca", self.certificate, anywhere),
            Route(("POST",), "/ocsp", "ocsp", self.ocsp, anywhere, max_body_bytes=MAX_REQUEST_BYTES),
            Route(("GET",), "/ocsp/{request:*}", "ocsp", self.ocsp_get, anywhere),
        )

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """A status and a text; where OCSP was asked, an OCSP error response."""
        return problems.say(problem, ocsp=request.path == "/ocsp" or request.path.startswith("/ocsp/"))

    async def crl(self, request: HTTPRequest) -> HTTPResponse:
        """The current CRL of a shard (RFC 5280 section 4.2.1.13, RFC 2585 section 4.2)."""
        shard = codec.read_shard(request.parameters["shard"])
        crl = await self._ra.crl(request.parameters["issuer"], shard)
        age = codec.max_age(self._settings.crl_cache_seconds, self._clock(), crl.next_update)
        # The number tells one CRL of this shard from every other (RFC 5280 section 5.2.3): the bytes, which
        # may be many, need no digest.
        tag = f'"{crl.number}"'
        return self._cached(request, crl.der, codec.CRL, tag, f"public, max-age={age}", crl.this_update)

    async def certificate(self, request: HTTPRequest) -> HTTPResponse:
        """The certificate of a CA in DER, for the caIssuers access method (RFC 5280 section 4.2.2.1)."""
        der = self._ra.ca_certificate(codec.read_issuer(request.parameters["certificate"]))
        age = f"public, max-age={self._settings.certificate_cache_seconds}"
        return self._cached(request, der, codec.CERTIFICATE, codec.entity_tag(der), age)

    async def ocsp(self, request: HTTPRequest) -> HTTPResponse:
        """OCSP by POST (RFC 6960 appendix A.1)."""
        media = request.headers.get("content-type", "")
        if media != codec.OCSP_REQUEST and media.partition(";")[0].strip().lower() != codec.OCSP_REQUEST:
            raise UnsupportedMedia(f'the content type "{media}" is not "{codec.OCSP_REQUEST}"')
        if len(request.body) > MAX_REQUEST_BYTES:
            raise TooLarge(f"an OCSP request has at most {MAX_REQUEST_BYTES} octets here")
        return self._answer(request, await self._ra.ocsp(request.body))

    async def ocsp_get(self, request: HTTPRequest) -> HTTPResponse:
        """OCSP by GET, for caches (RFC 5019 section 5).

        A URL that a proxy damaged may be read in several ways; the first that an issuer here answers for
        counts. The client compares the CertID of the answer with its own, so that a wrong guess convinces
        nobody.
        """
        answer = OCSPAnswer(MALFORMED_REQUEST)
        try:
            for reading in codec.read_ocsp_path(request.parameters["request"]):
                answer = await self._ra.ocsp(reading)
                if _SUCCESSFUL in answer.der[:7]:
                    break
        except Malformed as problem:
            if isinstance(problem, TooLarge):
                raise
        return self._answer(request, answer)

    def _answer(self, request: HTTPRequest, answer: OCSPAnswer) -> HTTPResponse:
        """An OCSP response with the fields of RFC 5019 section 6.2; one with a nonce is for one client only.

        Its date is told but not compared: a certificate may be revoked in the very second of an older answer.
        """
        if answer.this_update is None or answer.next_update is None:
            return HTTPResponse(200, answer.der, problems.OCSP_RESPONSE, (problems.NO_STORE,))
        age = codec.max_age(self._settings.ocsp_cache_seconds, self._clock(), answer.next_update)
        return self._cached(
            request,
            answer.der,
            problems.OCSP_RESPONSE,
            codec.entity_tag(answer.der),
            f"max-age={age}, public, no-transform, must-revalidate",
            None,
            ("Last-Modified", codec.http_date(answer.this_update)),
            ("Expires", codec.http_date(answer.next_update)),
        )

    def _cached(
        self,
        request: HTTPRequest,
        body: bytes,
        media: str,
        tag: str,
        cache: str,
        modified: datetime | None = None,
        *further: tuple[str, str],
    ) -> HTTPResponse:
        """200 with what caches need to keep it, or 304 to who has it already."""
        headers: tuple[tuple[str, str], ...] = (("ETag", tag), ("Cache-Control", cache), *further)
        if modified is not None:
            headers += (("Last-Modified", codec.http_date(modified)),)
        asked = request.headers
        if request.method != "POST" and codec.is_fresh(
            tag,
            modified,
            none_match=asked.get("if-none-match"),
            modified_since=asked.get("if-modified-since"),
        ):
            return HTTPResponse(304, headers=headers)
        return HTTPResponse(200, body, media, headers)
