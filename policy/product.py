"""Products: what may be ordered. A version is an immutable row; an order pins the version at placing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ca_core.names import Identifier
from ca_core.profile import CertificateProfile


class ProductState(StrEnum):
    """Only an active product issues; the others keep what was issued renewable or explained."""

    DRAFT = "draft"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class NameRules:
    """Which identifiers a product grants.

    `allowed` and `denied` are patterns per type, written "dns:*.example.org" (any name below), "dns:example.org"
    (that name), "dns:**" (any), "ip:10.0.0.0/8", "email:example.org". A denial wins. Where `allowed` names no pattern
    of a type, that type is refused.
    """

    allowed: tuple[str, ...] = ("dns:**",)
    denied: tuple[str, ...] = ()
    wildcards: bool = True
    max_names: int = 100
    public_suffixes: bool = False
    """Whether a wildcard right below a public suffix ("*.co.uk") may be issued."""
    required: bool = True
    """Whether a certificate needs at least one name in subjectAltName; False lets a common name alone do."""
    common_name: str = ""
    """A regular expression for a common name that is not one of the names; empty refuses such a common name."""


@dataclass(frozen=True, slots=True)
class ValidationRules:
    """How control of identifiers is proven.

    For identifiers matched by a pattern of `trusted` (form as in NameRules) the credential itself is the proof; all
    others go by one of `methods`. `reuse_seconds` is how long a proof may serve further orders of the same owner.
    `caa` says whether CAA records are asked (RFC 8659) for what is validated by challenge.
    """

    methods: tuple[str, ...] = ("http-01", "dns-01", "tls-alpn-01")
    trusted: tuple[str, ...] = ()
    reuse_seconds: int = 0
    pending_seconds: int = 7 * 86400
    caa: bool = True


class ApprovalMode(StrEnum):
    """How a client that cannot wait learns that a person decides (ACME; other doors have words for it)."""

    TICKET = "ticket"
    """The order is refused with the address of a ticket; once that is granted, the next one is issued at once."""
    HOLD = "hold"
    """The order is held and said to be in processing: only for clients that are known to wait for hours."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which orders a product is for, where a client has several products and names none of them.

    Everything that is said has to be true: at least `min_names` and at most `max_names` identifiers, with or without
    wildcards among them, none of another type than `types`, and a key of one of `key_types` where the key is known.
    """

    min_names: int = 0
    max_names: int | None = None
    wildcards: bool | None = None
    types: tuple[str, ...] = ()
    key_types: tuple[str, ...] = ()

    def fits(self, identifiers: tuple[Identifier, ...], key_type: str | None) -> bool:
        """Whether an order for these names, with a key of this type, is one of those."""
        count = len(identifiers)
        return (
            self.min_names <= count
            and (self.max_names is None or count <= self.max_names)
            and (self.wildcards is None or self.wildcards == any(one.wildcard for one in identifiers))
            and (not self.types or all(one.type in self.types for one in identifiers))
            and (not self.key_types or key_type is None or key_type in self.key_types)
        )


@dataclass(frozen=True, slots=True)
class DocumentRule:
    """A document that has to be handed in with an order, and accepted by a reviewer. `type` is its slug."""

    type: str
    title: str = ""
    media_types: tuple[str, ...] = ("application/pdf", "image/png", "image/jpeg")
    max_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Product:
    """One thing that can be ordered: CA, profile, rules, approval, limits, renewal.

    `profile` is the profile as it was when this version was made, so that a product's version pins it.
    `renewal_fraction` is the part of the lifetime after which the renewal window opens.
    """

    name: str
    version: int
    title: str
    issuer: str
    profile: CertificateProfile
    protocols: tuple[str, ...]
    state: ProductState = ProductState.ACTIVE
    names: NameRules = field(default_factory=NameRules)
    validation: ValidationRules = field(default_factory=ValidationRules)
    approval: bool = False
    approval_over_acme: ApprovalMode = ApprovalMode.TICKET
    ticket_seconds: int = 7 * 86400
    """How long after a ticket was granted the order may come."""
    selector: Selector | None = None
    renewal_fraction: float = 2 / 3
    approvals: int = 1
    """How many people have to approve, where `approval` is wanted."""
    approvers: tuple[str, ...] = ()
    """The users who may; empty for everybody who may approve at all."""
    documents: tuple[DocumentRule, ...] = ()
    """What has to be handed in with an order."""
    terms: str | None = None
    """The address or version of terms that have to be agreed to with each order."""
    suspension: bool = True
    """Whether its certificates may be put on hold. Public TLS knows no suspension (Baseline Requirements 4.9.13)."""
    renew_same_key: bool = True
    """Whether automatic renewal may use the key again; else it asks for a new certification request."""
