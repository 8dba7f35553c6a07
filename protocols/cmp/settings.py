"""What can be said about the CMP door: server settings, options of a mount, the form of a credential."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Annotated, Any

import msgspec

from policy.mount import Mount
from protocols import options
from protocols.cms.recipients import PasswordWrap
from protocols.endpoint import CredentialField

Count = Annotated[int, msgspec.Meta(ge=1)]
Iterations = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
ManyIterations = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=600)]
WaitSeconds = Annotated[int, msgspec.Meta(ge=1, le=900)]


@dataclass(frozen=True, slots=True)
class CMPSettings:
    """The section `cmp` of the configuration."""

    message_time_seconds: Seconds = field(
        default=300, metadata={"help": "How far messageTime may be from the time here, in either direction."}
    )
    confirm_wait_seconds: WaitSeconds = field(
        default=300,
        metadata={"help": "How long a client may take to confirm its certificate, which is revoked otherwise."},
    )
    check_after_seconds: WaitSeconds = field(
        default=60, metadata={"help": "When a client is to ask again about an order that waits for a person."}
    )
    min_iterations: Count = field(
        default=100, metadata={"help": "The fewest iterations of a password-based MAC; openssl sends 500."}
    )
    max_pbm_iterations: Iterations = field(
        default=10_000, metadata={"help": "The most iterations of PBM, which are computed in Python: 5 ms."}
    )
    max_pbmac1_iterations: ManyIterations = field(
        default=1_000_000, metadata={"help": "The most iterations of PBMAC1, which are computed beside the event loop."}
    )


class Profile(StrEnum):
    """How much of a header has to be there."""

    LIGHTWEIGHT = "lightweight"
    """All that RFC 9483 section 3.1 wants: messageTime, transactionID, senderNonce, senderKID."""
    RFC9810 = "rfc9810"
    """What RFC 9810 section 5.1.1 leaves optional may be missing."""
    THREE_GPP = "3gpp"
    """As lightweight, and as base stations enrol (3GPP TS 33.310 section 9): ir and kur, signed, confirmed by certConf;
    answers bring the root along."""


class Waiting(StrEnum):
    """How a client is told that it has to ask again (RFC 9483 section 4.4)."""

    RESPONSE = "response"
    """Status waiting in ip, cp or kup, which every client knows."""
    ERROR = "error"
    """Status waiting in an error, certReqId -1: openssl from 3.3 on."""


class Additional(StrEnum):
    """What a certificate that was enrolled here may order with cr and p10cr (RFC 9483 section 4.1.2)."""

    SAME_NAMES = "same-names"
    ANY = "any"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of a CMP mount; docs/protocols/cmp.md explains each."""

    profile: Profile = Profile.LIGHTWEIGHT
    implicit_confirm: bool = True
    """Whether a client may do without certConf (RFC 9810 section 5.1.1.1)."""
    ca_pubs: bool = True
    """Whether an ip under a MAC brings the root certificate (RFC 9810 section 5.3.4)."""
    additional: Additional = Additional.SAME_NAMES
    aliases: tuple[str, ...] = ()
    """Further paths, such as "/pkix"."""
    waiting: Waiting = Waiting.RESPONSE
    key_generation: bool = True
    """Whether keys are made for clients that ask for one (RFC 9483 section 4.1.6)."""
    password_wrapping: PasswordWrap = PasswordWrap.AES_WRAP
    """How a key made for a client with a shared secret is wrapped: by RFC 9481, or so that OpenSSL reads it."""


_CHOICES: dict[str, type[Enum]] = {
    "profile": Profile,
    "additional": Additional,
    "waiting": Waiting,
    "password_wrapping": PasswordWrap,
}
_FLAGS = ("implicit_confirm", "ca_pubs", "key_generation")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")


def read_options(mount: Mount) -> MountOptions:
    """The checked options of a mount. Raises ValueError with every mistake."""
    return options.read(mount, MountOptions, "CMP", _read)


def _read(name: str, value: Any) -> Any:
    if name in _CHOICES:
        return options.choice(name, value, _CHOICES[name])
    if name in _FLAGS:
        return options.flag(name, value)
    paths = tuple(value) if isinstance(value, list | tuple) else (value,)
    for path in paths:
        if not isinstance(path, str) or _PATH.fullmatch(path) is None or path.startswith("/.well-known/"):
            raise ValueError(f'aliases: "{path}" is not a path such as "/pkix"')
    return paths


CREDENTIAL_FORM = (
    CredentialField(
        "method",
        "choice:shared-secret,certificate",
        "shared-secret",
        "How clients prove it: a reference with its secret (PBM or PBMAC1), or the signature of a certificate of "
        "another CA that the mount trusts. Certificates enrolled with the credential always renew themselves.",
    ),
    CredentialField(
        "identifier",
        "text",
        "",
        'The reference (senderKID); generated when left out. For certificates "sha256:" and the fingerprint of the one '
        'certificate, or "anchor:" and the fingerprint of the CA whose devices may enrol.',
    ),
    CredentialField(
        "ra",
        "boolean",
        False,
        "A registration authority: its word that a client holds its key counts (raVerified), and it revokes what was "
        "enrolled with the credential. A certificate also needs the extended key usage cmcRA.",
    ),
    CredentialField("mounts", "list", (), 'Where it may be used, such as "cmp/default"; empty for every CMP mount.'),
    CredentialField("products", "list", (), "Products that it may order, the first by default."),
    CredentialField("use_limit", "number", None, "How many certificates it may enrol; empty for no limit."),
    CredentialField("allowed_cidrs", "list", (), "Networks from which it may be used; empty for any."),
)
