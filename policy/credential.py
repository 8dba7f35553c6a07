"""API credentials: kind, scope, state, secrets; Claim (what a client shows) and Principal (what it proves)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ca_core.csr import CertificationRequest
from ca_core.status import RevocationReason
from policy.access import Owned
from policy.account import Account
from policy.ids import CredentialId
from policy.sealing import Secret


class CredentialType(StrEnum):
    """One per door: a credential presented at any other door is refused."""

    ACME = "acme"
    REST = "rest"
    EST = "est"
    SCEP = "scep"
    CMP = "cmp"
    WAEP = "waep"


class CredentialState(StrEnum):
    """Revoked is terminal. Expiry is seen by the clock."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


class AuthenticationMethod(StrEnum):
    """How the holder of a credential proves it."""

    NONE = "none"
    """Nothing to show: the built-in credential behind an ACME mount without external account binding."""
    EAB = "eab"
    """ACME external account binding: a MAC under the shared secret (RFC 8555 section 7.3.4)."""
    PASSWORD = "password"  # noqa: S105 - the method's name
    """User name and password (RFC 7617)."""
    CERTIFICATE = "certificate"
    """A TLS client certificate."""
    ACCESS_KEY = "access-key"
    OAUTH = "oauth"
    ONE_TIME = "one-time"
    """A code that is good for one certificate, made with this credential."""
    MANUAL = "manual"
    """Nothing to show: a person decides on every first certificate."""
    SHARED_SECRET = "shared-secret"  # noqa: S105 - the method's name
    KERBEROS = "kerberos"


class SecretForm(StrEnum):
    """How a secret is kept: hashed under the pepper, argon2id for people's passwords, sealed when it is needed."""

    HMAC = "hmac"
    ARGON2ID = "argon2id"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One secret of a credential, as kept. During a rotation's overlap there are two."""

    form: SecretForm
    value: bytes
    created: datetime
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """An API credential. `identifier` is what the client calls it: EAB kid, user name.

    `products` are product names, the first the default. `mounts` are the keys of the mounts where it may be used
    ("est/default"); empty means every mount of its type. `use_limit` bounds how often it may be used for issuing
    (for ACME: how many accounts may be bound with it); the count itself is the store's.
    """

    id: CredentialId
    type: CredentialType
    identifier: str
    user: str
    group: str
    products: tuple[str, ...]
    method: AuthenticationMethod
    state: CredentialState
    created: datetime
    mounts: tuple[str, ...] = ()
    secrets: tuple[StoredSecret, ...] = ()
    not_before: datetime | None = None
    expires: datetime | None = None
    use_limit: int | None = None
    allowed_cidrs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    revoked_at: datetime | None = None
    revoked_reason: str | None = None
    cascade: RevocationReason | None = None
    """With a revocation: every certificate of this credential is revoked for this reason, also those to come."""
    version: int = 1

    @property
    def owned(self) -> Owned:
        """Whose it is, and whose is what hangs on it: orders, certificates, accounts."""
        return Owned(self.user, (self.group,))

    def at(self, now: datetime) -> CredentialState:
        """The state as it counts now."""
        if self.state is CredentialState.ACTIVE:
            if self.expires is not None and self.expires <= now:
                return CredentialState.EXPIRED
            if self.not_before is not None and now < self.not_before:
                return CredentialState.PENDING
        return self.state


class PasswordClaim(msgspec.Struct, frozen=True):
    """User name and password, sent over TLS (RFC 7617)."""

    username: str
    password: Secret


class CertificateClaim(msgspec.Struct, frozen=True):
    """A client certificate whose private key the TLS handshake proved: DER of the leaf and of what came with it."""

    certificate: bytes
    chain: tuple[bytes, ...] = ()
    held: bool = False
    """Whether it counts while it is on hold, too: for whoever asks that the hold ends (RFC 9810 section 5.3.9)."""


class Protector(Protocol):
    """What a secret leaves behind when it was checked: a MAC for the answer, without the secret."""

    def protect(self, data: bytes) -> bytes:
        """The MAC of these bytes."""
        ...


@dataclass(frozen=True, slots=True)
class MACClaim:
    """A message protected by a MAC under a shared secret (RFC 9810 section 5.1.3.1).

    `verify` checks it with a candidate secret, and gives what protects the answer; it raises Unauthenticated. It comes
    to the secret, not the secret to the door. `slow` says that it takes long enough to be run beside the event loop.
    """

    reference: str
    verify: Callable[[Secret], Protector]
    slow: bool = False


class BindingClaim(msgspec.Struct, frozen=True):
    """An ACME external account binding. `verify` checks the MAC with a candidate key; it raises Unauthenticated.

    The function comes to the secret, not the secret to the door.
    """

    kid: str
    verify: Callable[[Secret], None]


class AccountClaim(msgspec.Struct, frozen=True):
    """An ACME account whose key verified the request's signature."""

    account: Account


class AccessKeyClaim(msgspec.Struct, frozen=True):
    """An access key, sent over TLS as a bearer token (RFC 6750): whose it says it is, and its whole text."""

    identifier: str
    key: Secret


@dataclass(frozen=True, slots=True)
class ClientSecretClaim:
    """An OAuth client's identifier and secret (RFC 6749 section 2.3.1)."""

    identifier: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class AssertionClaim:
    """A token that an OAuth client signed to prove itself (RFC 7523); `audience` has what it may be addressed to."""

    identifier: str
    assertion: str
    audience: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientCertificateClaim:
    """An OAuth client's identifier with the client certificate of the connection (RFC 8705)."""

    identifier: str
    shown: CertificateClaim


class TokenClaim(msgspec.Struct, frozen=True):
    """An access token with what came beside it: the client certificate, and a DPoP proof for this very request.

    `dpop` says under which scheme it was sent; `url` is the address of the request without its query.
    """

    token: str
    certificate: bytes | None = None
    dpop: bool = False
    proof: str | None = None
    method: str = ""
    url: str = ""


class ChallengeClaim(msgspec.Struct, frozen=True):
    """What a SCEP request shows (RFC 8894 section 3.3.1): a challengePassword, or none, for a request.

    `identifier` names the credential; "" leaves it to the challenge, which only a one-time code can tell.
    """

    identifier: str
    challenge: Secret | None
    request: CertificationRequest


class OpenClaim(msgspec.Struct, frozen=True):
    """Nothing shown: only a mount with an `open_credential` accepts it."""


OAuthClaim = ClientSecretClaim | AssertionClaim | ClientCertificateClaim | TokenClaim
SecretClaim = PasswordClaim | MACClaim | BindingClaim | AccessKeyClaim | ChallengeClaim
Claim = SecretClaim | CertificateClaim | AccountClaim | OAuthClaim | OpenClaim


class Requester(msgspec.Struct, frozen=True):
    """Who speaks, as far as proven: kind ("account", "user", "certificate"), name, and proven attributes."""

    kind: str
    id: str
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class Principal(msgspec.Struct, frozen=True):
    """What authentication proved. Only `policy.authentication` makes one.

    `certificate` is the serial (hex) of the client certificate when one of ours was shown; `certificate_der` its bytes.
    """

    credential: Credential
    requester: Requester
    mount: str
    address: str
    account: Account | None = None
    certificate: str | None = None
    certificate_der: bytes | None = None
    renewal_only: bool = False
    """Nothing but a certificate that this credential enrolled was shown: it speaks for its own renewal."""
    scopes: tuple[str, ...] | None = None
    """What an access token narrows this to; None where there was none."""
    registration_authority: bool = False
    """A certificate of ours with id-kp-cmcRA was shown: it speaks for others, whose requests it has checked."""
    protector: Protector | None = None
    """What protects the answer, where a MAC was the claim."""
    code: str | None = None
    """The hash (hex) of the one-time code that was shown: what it enrols uses it up."""

    @property
    def proves(self) -> bool:
        """Whether it can prove control of names by challenges: an ACME account, or a client of REST."""
        return self.account is not None or self.credential.type is CredentialType.REST

    @property
    def owner(self) -> str:
        """Who owns what this principal makes: the ACME account, else the credential."""
        return self.account.id if self.account is not None else self.credential.id
