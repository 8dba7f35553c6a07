"""What can be set: the door's section of the configuration, and the options of one mount. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from policy.mount import Mount
from protocols.endpoint import CredentialField

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class ACMESettings:
    """The section `acme` of the configuration. Waiting times are whole seconds, as Retry-After is sent."""

    orders_page_size: Count = field(default=100, metadata={"help": "Orders on one page of an account's list."})
    max_identifiers: Count = field(default=100, metadata={"help": "Identifiers that one order may have."})
    max_contacts: Count = field(default=10, metadata={"help": "Contacts that one account may have."})
    challenge_retry_after_seconds: Seconds = field(
        default=1, metadata={"help": "Retry-After of an authorization or challenge that is being validated."}
    )
    order_retry_after_seconds: Seconds = field(
        default=1, metadata={"help": "Retry-After of an order that is being signed."}
    )
    held_retry_after_seconds: Seconds = field(
        default=60, metadata={"help": "Retry-After of an order that waits for a person."}
    )
    renewal_cache_seconds: Seconds = field(
        default=300,
        metadata={"help": "Longest time for which caches may keep renewal information."},
    )
    caa_identities: tuple[str, ...] = field(
        default=(), metadata={"help": "Issuer domain names that the directory shows, as validation.caa_identities."}
    )
    website: str = field(
        default="", metadata={"help": "URL of a page about this CA, shown in the directory; empty: none."}
    )
    rate_limit_help_url: str = field(
        default="",
        metadata={"help": 'URL of a page about rate limits, sent with "rateLimited"; empty: none.'},
    )


class MountOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an ACME mount (`policy.mount.Mount.options`).

    `terms_of_service` is the URL in the directory: it should be stable, because clients remember their user's
    answer by the literal URL. With `require_current_terms` an account that agreed to another URL can place no
    order until it agreed to this one (RFC 8555 section 7.3.3).

    `pre_authorization` serves newAuthz (RFC 8555 section 7.4.1); `subdomains` lets the proof of a domain stand for
    the names below it (RFC 9444). `contact_…` are the rules of `protocols.acme.contacts`.
    """

    terms_of_service: str = ""
    require_current_terms: bool = False
    website: str = ""
    pre_authorization: bool = False
    subdomains: bool = False
    contact_required: bool = False
    contact_schemes: tuple[Literal["mailto", "tel"], ...] = ("mailto",)
    contact_domains: tuple[str, ...] = ()
    contact_denied_domains: tuple[str, ...] = ()


def read_options(mount: Mount) -> MountOptions:
    """The checked options of a mount. Raises ValueError with a sentence that names the mount."""
    try:
        options = msgspec.convert(mount.options, MountOptions)
    except msgspec.ValidationError as exc:
        raise ValueError(f'mount "{mount.key}": {exc}') from exc
    for name in ("terms_of_service", "website"):
        url = getattr(options, name)
        if url and not (url.startswith(("https://", "http://")) and _printable(url)):
            raise ValueError(f'mount "{mount.key}": {name} "{url}" is not an http or https URL')
    for domain in (*options.contact_domains, *options.contact_denied_domains):
        if domain != domain.lower() or not domain.isascii() or domain.startswith((".", "*")):
            raise ValueError(f'mount "{mount.key}": write the domain of contacts as in "example.org", not "{domain}"')
    if options.require_current_terms and not options.terms_of_service:
        raise ValueError(f'mount "{mount.key}": require_current_terms needs terms_of_service')
    return options


def _printable(url: str) -> bool:
    """Whether a URL can stand in a Link field: printable ASCII without what would end the reference."""
    return all("!" <= character <= "~" and character not in '<>"' for character in url)


CREDENTIAL_FORM = (
    CredentialField("identifier", "text", "", "The key identifier (kid) that clients name; empty: made up."),
    CredentialField(
        "method",
        "choice:eab,none",
        "eab",
        "eab: a client proves the HMAC key once, when it registers its account (RFC 8555 section 7.3.4); "
        "none: the credential stands behind a mount that asks for no binding.",
    ),
    CredentialField(
        "use_limit",
        "number",
        None,
        "How many accounts may be bound: 1 for one machine (single use), empty for any number (multi-use).",
    ),
    CredentialField(
        "products",
        "products",
        (),
        "Products that may be ordered; the first is the default, the others go by profile.",
    ),
    CredentialField("mounts", "mounts", (), "ACME directories where it may be used; empty: all."),
    CredentialField("allowed_cidrs", "networks", (), "Client networks that may use it; empty: any."),
    CredentialField("expires", "time", None, "When it stops, with every account bound to it; empty: never."),
)
"""The form of an ACME credential. The secret is an HMAC key of ≥ 32 bytes, shown once, base64url without
padding."""
