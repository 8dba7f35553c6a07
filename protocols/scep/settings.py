"""What can be said about the SCEP door: server settings, options of a mount, the form of a credential."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from policy.mount import Mount
from protocols import options
from protocols.endpoint import CredentialField

Seconds = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]

DEFAULT_LABEL = "default"
RESERVED_IDENTIFIER = "pkiclient.exe"
"""The last part of the path that Cisco's clients add: never the name of a credential."""


@dataclass(frozen=True, slots=True)
class SCEPSettings:
    """The section `scep` of the configuration."""

    one_time_seconds: Seconds = field(
        default=3600,
        metadata={"help": "How long a one-time challenge password is good for."},
    )
    one_time_open: Count = field(
        default=1000,
        metadata={"help": "How many unused one-time challenge passwords a credential may have."},
    )


class Legacy(StrEnum):
    """Algorithms that RFC 8894 section 2.9 has given up or forbidden, and that old clients insist on."""

    SHA1 = "sha1"
    """Messages signed with SHA-1 are read."""
    DES3 = "des3"
    """Triple DES is announced, read, and answered to those who send it."""
    SINGLE_DES = "single-des"
    """Single DES is read (micromdm 2.1.0). It is never announced and never answered with."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of a SCEP mount; docs/protocols/scep.md explains each."""

    legacy: frozenset[Legacy] = frozenset()
    credential: str = ""
    """The identifier of the credential that counts where neither the path nor the challenge names one."""
    ra_only: bool = False
    """Whether GetCACert answers with the RA's certificate alone."""
    include_root: bool = True
    """Whether GetCACert has the root, too."""
    next_issuer: str = ""
    """The CA that takes over: GetNextCACert shows it, and messages encrypted to its RA are read."""
    renew_after: float = 0.0
    """The part of a certificate's life that has to be over before it may be renewed; 0: any time."""
    signing_time_seconds: int = 0
    """How far a client's signing time may be off; 0: it is not looked at, since device clocks are wrong."""


def read_options(mount: Mount) -> MountOptions:
    """The checked options of a mount. Raises ValueError with every mistake."""
    return options.read(mount, MountOptions, "SCEP", _read)


def _read(name: str, value: Any) -> Any:
    if name == "legacy":
        choices = [one.value for one in Legacy]
        if not isinstance(value, (list, tuple)) or any(one not in choices for one in value):
            raise ValueError(f"legacy is a list of {', '.join(choices)}")
        return frozenset(Legacy(one) for one in value)
    if name in ("ra_only", "include_root"):
        return options.flag(name, value)
    if name == "renew_after":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(f"renew_after = {value} is no part of a life: a number from 0 to less than 1")
        return float(value)
    if name == "signing_time_seconds":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"signing_time_seconds = {value} is not a number of seconds")
        return value
    if not isinstance(value, str):
        raise ValueError(f"{name} = {value} is not a name")
    return value


CREDENTIAL_FORM = (
    CredentialField(
        "method",
        "choice:password,one-time,certificate,manual",
        "password",
        "How clients prove it: one challenge password for all, a one-time challenge password for each, a certificate "
        "of another CA that the mount trusts, or nothing, so that a person decides on each. Certificates enrolled "
        "with the credential always count as proof for their own renewal.",
    ),
    CredentialField(
        "identifier",
        "text",
        "",
        "Its name, which stands in the URL (/scep/default/NAME) or before the challenge password (NAME:PASSWORD); "
        'generated when left out. For certificates "sha256:" or "anchor:" and a fingerprint.',
    ),
    CredentialField("mounts", "list", (), 'Where it may be used, such as "scep/default"; empty for every SCEP mount.'),
    CredentialField("products", "list", (), "Products that it may order, the first by default."),
    CredentialField("use_limit", "number", None, "How many certificates it may enrol; empty for no limit."),
    CredentialField("allowed_cidrs", "list", (), "Networks from which it may be used; empty for any."),
)
