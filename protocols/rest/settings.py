"""What can be said about the REST door: server settings, its mount, the form of a credential."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from policy.mount import Mount
from protocols.endpoint import CredentialField

LABEL = "default"
"""The one label that a mount of this door has: the API is at one address."""

Environment = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{1,16}$")]


@dataclass(frozen=True, slots=True)
class RESTSettings:
    """The section `rest` of the configuration."""

    environment: Environment = field(
        default="live",
        metadata={"help": "What access keys say of where they belong: lower-case letters and digits."},
    )


def check_mount(mount: Mount) -> None:
    """Raises ValueError for a mount that this door cannot serve."""
    if mount.label != LABEL:
        raise ValueError(f'mount "{mount.key}": the API is at one address, so that its only label is "{LABEL}"')
    if mount.options:
        raise ValueError(f'mount "{mount.key}": a REST mount has no options')


CREDENTIAL_FORM = (
    CredentialField(
        "method",
        "choice:access-key,oauth",
        "access-key",
        "How clients prove it: an access key, sent as a bearer token; or as a client of OAuth 2.0, by access tokens.",
    ),
    CredentialField(
        "client_authentication",
        "choice:client_secret,private_key_jwt,tls_client_auth",
        "client_secret",
        "How a client of OAuth 2.0 proves itself when it fetches a token.",
    ),
    CredentialField("jwks", "object", None, "For private_key_jwt: the client's public keys, a JWK Set (RFC 7517)."),
    CredentialField(
        "certificate",
        "text",
        None,
        'For tls_client_auth: its certificate, as "sha256:…", "subject:CN=…", "dns:…", "uri:…" or "email:…".',
    ),
    CredentialField(
        "identifier", "text", "", "The part of the access key that names it; letters, digits, hyphens and dots."
    ),
    CredentialField(
        "scopes",
        "list",
        (),
        'Permissions that it is limited to, such as "order:place"; empty for all of its user\'s.',
    ),
    CredentialField("products", "list", (), "Products that it may order, the first by default."),
    CredentialField("use_limit", "number", None, "How many certificates it may enrol; empty for no limit."),
    CredentialField("allowed_cidrs", "list", (), "Networks from which it may be used; empty for any."),
)
