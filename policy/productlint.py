"""Product lint: combinations that have given away domains and networks elsewhere, found before anybody orders.

The rules are those that the history of a widespread enterprise CA has taught (its escalations ESC1 to ESC17), as far as
a product of ours can say such a thing at all. What a product cannot say is closed for good: extended key usages, name
attributes and application policies of a request are never taken over (ESC6, ESC15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from policy.product import Product

ENROLMENT_AGENT = "1.3.6.1.4.1.311.20.2.1"
_AUTHENTICATES = frozenset({"clientAuth", "smartcardLogon"})
_PROBES = ("Administrator", "krbtgt", "CN=ada; DROP", "\u00e4 b")
"""Common names of which at most some would fit a pattern that was written with a purpose."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where in the product, and what would be right. An error is not applied unless it is accepted."""

    rule: str
    severity: Literal["error", "warning"]
    pointer: str
    detail: str
    nearest: str


def lint(product: Product) -> tuple[Finding, ...]:
    """Everything that is found, errors first."""
    found = [*_usages(product), *_names(product), *_persons(product), *_public(product)]
    return tuple(sorted(found, key=lambda one: one.severity))


def _usages(product: Product) -> Iterator[Finding]:
    usages, pointer = product.profile.extended_key_usage, "/profile/extended_key_usage"
    if not usages or "anyExtendedKeyUsage" in usages:
        detail = "a certificate without a purpose, or for any, serves every purpose"
        yield Finding("esc2", "error", pointer, detail, "serverAuth")
    if ENROLMENT_AGENT in usages:
        detail = "an enrolment agent asks in everybody's name; that is a permission here (user:act-for), no certificate"
        yield Finding("esc3", "error", pointer, detail, "clientAuth")
    if product.profile.ca:
        yield Finding("sub-ca", "error", "/profile/ca", "a product issues no CA certificates", "false")


def _names(product: Product) -> Iterator[Finding]:
    usages = set(product.profile.extended_key_usage)
    trusted_with_all = any(one.endswith(":**") for one in product.validation.trusted)
    pattern = product.names.common_name
    fits = [one for one in _PROBES if pattern and re.fullmatch(pattern, one)]
    kept = product.profile.common_name == "keep" or "CN" in product.profile.subject_attributes
    if usages & _AUTHENTICATES and not product.approval:
        if trusted_with_all or (kept and len(fits) == len(_PROBES)):
            detail = "whoever orders chooses any name, proves nothing and nobody looks, for a certificate that logs in"
            pointer = "/validation/trusted" if trusted_with_all else "/names/common_name"
            yield Finding("esc1", "error", pointer, detail, "approval = true")
        elif kept and fits:
            detail = f'a common name such as "{fits[0]}" is taken without proof, for a certificate that logs in'
            yield Finding("esc1", "warning", "/names/common_name", detail, "device-[0-9]+")
    if "serverAuth" in usages and any(one in ("dns:**", "ip:**") for one in product.validation.trusted):
        detail = "the credential vouches for every server name: one that is stolen impersonates every server"
        yield Finding("esc17", "error", "/validation/trusted", detail, "dns:*.example.org")


def _persons(product: Product) -> Iterator[Finding]:
    if product.approvers and product.approvals > len(product.approvers):
        detail = f"{product.approvals} approvals are wanted of {len(product.approvers)} people: nothing is ever issued"
        yield Finding("approvals", "error", "/approvals", detail, str(len(product.approvers)))
    if (product.documents or product.terms) and set(product.protocols) - {"rest"}:
        detail = "documents and agreements can be handed in over REST only: other doors never issue"
        yield Finding("papers", "warning", "/protocols", detail, "rest")


def _public(product: Product) -> Iterator[Finding]:
    if "cabf" in product.profile.lint_sets and product.suspension:
        detail = "public TLS knows no suspension (Baseline Requirements section 4.9.13)"
        yield Finding("suspension", "error", "/suspension", detail, "false")
