"""One mount of this door: what its resources share, and how their answers look."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ca_core.clock import Clock
from policy.credential import Principal
from policy.mount import Mount
from policy.problems import Problem
from policy.registration import RegistrationAuthority
from protocols.acme.contacts import ContactRules
from protocols.acme.nonce import NonceSeal
from protocols.acme.settings import ACMESettings, MountOptions
from protocols.acme.urls import URLs, is_id
from protocols.http import HTTPRequest, HTTPResponse

JSON = "application/json"
NO_STORE = ("Cache-Control", "no-store")
# RFC 8555 section 6.1: scripts of any origin may speak ACME; nothing here depends on a browser's own
# credentials. Without the second field they could not read what the protocol says in headers (Fetch standard,
# CORS protocol).
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After"),
)
PREFLIGHT = (
    *CORS,
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "86400"),
)
REPLACEMENTS_KEPT = 1024

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Signed:
    """A request whose signature, nonce and URL are right, with what its account may be. `payload` b"":
    POST-as-GET."""

    request: HTTPRequest
    payload: bytes
    principal: Principal

    @property
    def account(self) -> str:
        """The account that signed."""
        return self.principal.owner


def link(url: str, relation: str) -> Header:
    """A Link field (RFC 8288)."""
    return ("Link", f'<{url}>;rel="{relation}"')


def retry_after(seconds: int) -> Header:
    """A Retry-After field in seconds: a client in the field (acmez 1.0 of Caddy 2.6) cannot read a date
    there."""
    return ("Retry-After", str(seconds))


def id_of(request: HTTPRequest, missing: type[Problem]) -> str:
    """The identifier in the path. What could not be one of ours is answered as one that is not there."""
    found = request.parameters["id"]
    if not is_id(found):
        raise missing("there is nothing of yours at this URL")
    return found


class Door:
    """A mount with its URLs and constants. Made again when the mount changes."""

    def __init__(
        self,
        mount: Mount,
        options: MountOptions,
        urls: URLs,
        ra: RegistrationAuthority,
        settings: ACMESettings,
        clock: Clock,
        nonces: NonceSeal,
    ) -> None:
        self.mount = mount
        self.options = options
        self.urls = urls
        self.ra = ra
        self.settings = settings
        self.now = clock
        self.nonces = nonces
        self.index = link(urls.directory, "index")
        self.contacts = ContactRules(
            options.contact_required,
            settings.max_contacts,
            options.contact_schemes,
            options.contact_domains,
            options.contact_denied_domains,
        )
        self._constant: tuple[Header, ...] = (self.index, *CORS)
        self.directory: tuple[int, bytes] | None = None
        """The directory as last written, with the configuration epoch in which it was."""
        self.replacements: OrderedDict[str, str] = OrderedDict()
        """Serial -> certificate identifier of certificates that orders replace (RFC 9773 section 5)."""

    def reply(self, body: bytes, *headers: Header, status: int = 200, content_type: str | None = JSON) -> HTTPResponse:
        """An answer to a POST: with a fresh nonce, the index and whatever else."""
        return HTTPResponse(
            status, body, content_type, (("Replay-Nonce", self.nonces.fresh()), *self._constant, *headers)
        )

    def remember_replacement(self, serial: str, certid: str) -> str:
        """Keep the identifier of a certificate that an order replaces; it cannot change."""
        self.replacements[serial] = certid
        if len(self.replacements) > REPLACEMENTS_KEPT:
            self.replacements.popitem(last=False)
        return certid
