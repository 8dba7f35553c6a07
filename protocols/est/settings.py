"""What can be said about the EST door: server settings, options of a mount, the form of a credential."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from ca_core import oids
from policy.mount import Mount
from policy.problems import Malformed
from protocols import options
from protocols.endpoint import CredentialField
from protocols.est import csrattrs
from protocols.est.demands import read_demands

Seconds = Annotated[int, msgspec.Meta(ge=1)]
SecondsOrZero = Annotated[int, msgspec.Meta(ge=0)]
Realm = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[ !#-\[\]-~]*$")]
"""Printable ASCII without quotation mark and backslash, which a quoted-string takes as it is (RFC 9110)."""

DigestAlgorithm = Literal["SHA-256", "MD5"]
"""RFC 7616 section 3.2; libest knows MD5 alone."""

# RFC 7030 section 3.2.2: a label is never the name of an operation. Those of RFC 8295 are kept free, too.
RESERVED_LABELS = frozenset(
    (
        *("cacerts", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen", "csrattrs"),
        "renewal-info",
        *("pal", "eecerts", "crls", "arls", "symmetrickeys", "firmware", "tamp"),
    )
)


@dataclass(frozen=True, slots=True)
class ESTSettings:
    """The section `est` of the configuration. Waiting times are whole seconds, as Retry-After is sent."""

    realm: Realm = field(
        default="EST",
        metadata={"help": "Name of the protection space that HTTP Basic shows (RFC 7617 section 2)."},
    )
    digest: tuple[DigestAlgorithm, ...] = field(
        default=(),
        metadata={"help": 'HTTP Digest for old clients: "SHA-256", "MD5", in the order of offering; empty for none.'},
    )
    held_retry_after_seconds: Seconds = field(
        default=60,
        metadata={"help": "Retry-After of an order that waits for a person; some clients sleep it out."},
    )
    order_retry_after_seconds: Seconds = field(
        default=5, metadata={"help": "Retry-After of an order that is being validated or signed."}
    )
    renewal_cache_seconds: Seconds = field(
        default=300,
        metadata={"help": "Longest time for which caches may keep renewal-info."},
    )
    cacerts_cache_seconds: SecondsOrZero = field(
        default=3600,
        metadata={"help": "How long caches may keep the answer to cacerts; 0 makes them ask each time."},
    )


class Authentication(StrEnum):
    """What a client has to show at a mount (RFC 7030 section 3.2.3 and 3.3.2)."""

    ANY = "any"
    """A password, a certificate or both; both have to belong to the same credential."""
    PASSWORD = "password"  # noqa: S105 - the method's name
    CERTIFICATE = "certificate"
    BOTH = "both"


class Linking(StrEnum):
    """Whether the request has to be linked to the TLS connection (RFC 7030 section 3.5)."""

    OFF = "off"
    """Not offered, as behind a proxy that ends TLS: a request that carries a binding is refused, not believed."""
    VERIFY_IF_PRESENT = "verify-if-present"
    REQUIRE = "require"


class ChangeSubjectName(StrEnum):
    """What becomes of a renewal that asks for other names (RFC 6402 section 2.8)."""

    REFUSE = "refuse"
    JUDGE = "judge"
    """The other names are judged like those of an enrolment; the certificate shown is the authentication."""


class KeyGeneration(StrEnum):
    """Whether the server makes keys for clients (RFC 7030 section 4.4)."""

    OFF = "off"
    PLAIN = "plain"
    """The private key is protected by TLS alone, unless its client asks for more."""
    ENCRYPTED = "encrypted"
    """Only for clients that ask for an encrypted key."""


class ChallengePassword(StrEnum):
    """What the challengePassword of a request means. There is no way to have it ignored."""

    POP = "pop"
    """The channel binding of the TLS connection (RFC 7030 section 3.5)."""
    SECRET = "secret"  # noqa: S105 - the meaning's name
    """A password of the credential, as estates do that came from SCEP."""


class Reenroll(StrEnum):
    """Who may use simplereenroll."""

    CERTIFICATE = "certificate"
    """Only who shows the certificate to be renewed in the TLS handshake (RFC 7030 section 4.2.2)."""
    CREDENTIAL = "credential"
    """Also who shows a password and no certificate: such a request is judged like an enrolment."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of an EST mount; docs/protocols/est.md explains each."""

    authentication: Authentication = Authentication.ANY
    pop: Linking = Linking.VERIFY_IF_PRESENT
    challenge_password: ChallengePassword = ChallengePassword.POP
    reenroll: Reenroll = Reenroll.CERTIFICATE
    change_subject_name: ChangeSubjectName = ChangeSubjectName.REFUSE
    serverkeygen: KeyGeneration = KeyGeneration.PLAIN
    fullcmc: bool = True
    """Whether requests in full CMC are served (RFC 7030 section 4.3)."""
    base64_wrap: int = 0
    """Characters in a line of an answer: 0 (one line), 64 or 76."""
    content_transfer_encoding: bool = True
    """Whether answers carry the Content-Transfer-Encoding of RFC 7030; RFC 8951 section 3 drops it."""
    csrattrs_form: csrattrs.Form = csrattrs.Form.BOTH
    csrattrs: bytes = b""
    """DER of a CsrAttrs to serve instead of the one made from the product."""


_CHOICES: dict[str, type[StrEnum]] = {
    "authentication": Authentication,
    "pop": Linking,
    "challenge_password": ChallengePassword,
    "reenroll": Reenroll,
    "change_subject_name": ChangeSubjectName,
    "serverkeygen": KeyGeneration,
    "csrattrs_form": csrattrs.Form,
}
_WRAPS = (0, 64, 76)


def read_options(mount: Mount) -> MountOptions:
    """The checked options of a mount. Raises ValueError with every mistake in its label and options."""
    reserved = ["its label is the name of an EST operation (RFC 7030 section 3.2.2)"]
    mistakes = reserved if mount.label in RESERVED_LABELS else []
    read = options.read(mount, MountOptions, "EST", _read, mistakes=mistakes)
    if mistakes := _contradictions(read):
        raise options.wrong(mount, mistakes)
    return read


def _read(name: str, value: Any) -> Any:
    if name in _CHOICES:
        return options.choice(name, value, _CHOICES[name])
    if name == "base64_wrap":
        if isinstance(value, bool) or value not in _WRAPS:
            raise ValueError(f"base64_wrap = {value} is not one of 0, 64, 76")
        return value
    if name in ("content_transfer_encoding", "fullcmc"):
        return options.flag(name, value)
    return _read_csrattrs(value)


def _read_csrattrs(value: Any) -> bytes:
    try:
        der = b64decode(value, validate=True)
        read_demands(der)
    except (Malformed, TypeError, ValueError) as exc:
        raise ValueError("csrattrs is not the base64 of a CsrAttrs (RFC 8951 section 4)") from exc
    return der


def _contradictions(read: MountOptions) -> list[str]:
    mistakes = []
    # RFC 7030 section 3.5: a server that demands the linking says so in its CSR attributes.
    if read.csrattrs and read.pop is Linking.REQUIRE:
        secret = read.challenge_password is ChallengePassword.SECRET
        wanted = oids.EST_IDENTITY_LINKING if secret else oids.CHALLENGE_PASSWORD
        if wanted not in csrattrs.read_csrattrs(read.csrattrs):
            name = "estIdentityLinking" if secret else "challengePassword"
            mistakes.append(f'pop = "require" needs {name} ({wanted}) in csrattrs')
    return mistakes


CREDENTIAL_FORM = (
    CredentialField(
        "method",
        "choice:password,certificate,shared-secret",
        "password",
        "How clients prove it: user name and password (HTTP Basic), a TLS client certificate of another CA that the "
        "mount trusts, or a secret that is kept recoverable (HTTP Digest, where est.digest offers it). Certificates "
        "enrolled with the credential always count as proof of it.",
    ),
    CredentialField(
        "identifier",
        "text",
        "",
        'The user name; generated when left out. For certificates "sha256:" and the fingerprint of the one '
        'certificate, or "anchor:" and the fingerprint of the CA whose devices may enrol.',
    ),
    CredentialField("mounts", "list", (), 'Where it may be used, such as "est/default"; empty for every EST mount.'),
    CredentialField("products", "list", (), "Products that it may order, the first by default."),
    CredentialField("use_limit", "number", None, "How many certificates it may enrol; empty for no limit."),
    CredentialField("allowed_cidrs", "list", (), "Networks from which it may be used; empty for any."),
)
