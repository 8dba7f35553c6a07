"""The page /certsrv/mscep_admin/ of NDES (Windows Server): a one-time challenge password for who may make one.

Programs that enrol for others (Fleet, Palo Alto) fetch it and look for these sentences, in UTF-16LE as NDES sends them.
NTLM is not offered: it can be relayed. HTTP Basic over TLS with the credential's own identifier and secret is.
"""

from __future__ import annotations

from binascii import a2b_base64
from datetime import timedelta
from hashlib import sha256

from policy.codes import Codes
from policy.credential import PasswordClaim
from policy.mount import Mount
from policy.problems import Forbidden, Malformed, RateLimited, Unauthenticated
from policy.registration import RegistrationAuthority
from policy.sealing import Secret
from protocols.endpoint import note
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport
from protocols.scep.settings import SCEPSettings

PATHS = ("/certsrv/mscep_admin", "/certsrv/mscep_admin/")
HTML = "text/html; charset=utf-16le"
_CHALLENGE = (("WWW-Authenticate", 'Basic realm="SCEP", charset="UTF-8"'),)
_NO_STORE = ("Cache-Control", "no-store")

FULL = "The password cache is full."
REFUSED = "You do not have sufficient permission to enroll with SCEP."


class AdminPage:
    """The page of the mount labelled "default"."""

    def __init__(self, ra: RegistrationAuthority, codes: Codes, settings: SCEPSettings, mount: Mount) -> None:
        self._ra = ra
        self._codes = codes
        self._settings = settings
        self._mount = mount

    def routes(self) -> tuple[Route, ...]:
        """Over TLS only: a password goes in, and one comes out."""
        return tuple(Route(("GET",), path, "mscep-admin", self.serve, Transport.TLS) for path in PATHS)

    async def serve(self, request: HTTPRequest) -> HTTPResponse:
        """A new one-time challenge password of the credential that HTTP Basic shows."""
        try:
            principal = await self._ra.authenticate(self._mount.key, [_read_claim(request)], request.peer.address)
            request.event["credential"] = principal.credential.id
            lifetime = timedelta(seconds=self._settings.one_time_seconds)
            actor = str(principal.requester)
            secret, _ = await self._codes.make(principal.credential, lifetime, self._settings.one_time_open, actor)
        except Unauthenticated as problem:
            note(problem, request)
            return _page(401, REFUSED, _CHALLENGE)
        except (Forbidden, Malformed) as problem:
            note(problem, request)
            return _page(403, REFUSED)
        except RateLimited as problem:
            note(problem, request)
            return _page(200, FULL)
        certificates = await self._ra.ca_certificates(self._mount)
        thumbprint = sha256(certificates[0]).hexdigest().upper()
        minutes = self._settings.one_time_seconds // 60
        return _page(
            200,
            f"The thumbprint (hash value) for the CA certificate is: <B> {thumbprint} </B><P>"
            f"The enrollment challenge password is: <B> {secret.reveal().decode()} </B><P>"
            f"This password can be used only once and will expire within {minutes} minutes.",
        )


def _read_claim(request: HTTPRequest) -> PasswordClaim:
    """User name and password of HTTP Basic (RFC 7617). Raises Unauthenticated for anything else."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("HTTP Basic authentication is needed here (RFC 7617)")
    try:
        user, colon, password = a2b_base64(token.strip(" "), strict_mode=True).partition(b":")
        name = user.decode("utf-8")
    except ValueError as exc:
        raise Unauthenticated("the Authorization field is not Basic with UTF-8 (RFC 7617 section 2)") from exc
    if not colon:
        raise Unauthenticated('the Authorization field has no ":" (RFC 7617 section 2)')
    return PasswordClaim(name, Secret(password))


def _page(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> HTTPResponse:
    title = "Network Device Enrollment Service"
    html = f"<HTML><HEAD><TITLE>{title}</TITLE></HEAD><BODY><P> {text} </P></BODY></HTML>"
    return HTTPResponse(status, html.encode("utf-16-le"), HTML, (*headers, _NO_STORE))
