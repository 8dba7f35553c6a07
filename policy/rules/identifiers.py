"""Which identifiers a product grants: allowed and denied patterns, wildcards, public suffixes, the group's domains."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from ca_core.names import Identifier, IdentifierType, read_identifier
from policy.order import Step
from policy.problems import Problem, RejectedIdentifier
from policy.rules import Case


def matches(pattern: str, identifier: Identifier) -> bool:
    """Whether a pattern of a product covers an identifier (policy.product.NameRules describes the patterns).

    DNS names are compared label by label: "dns:*.example.org" covers every name below example.org, wildcard names
    included, and not example.org itself; it never covers "badexample.org".
    """
    kind, _, value = pattern.partition(":")
    if kind != identifier.type:
        return False
    if value == "**":
        return True
    if identifier.type is IdentifierType.DNS:
        name = identifier.value
        return name.endswith(value[1:]) if value.startswith("*.") else name == value
    if identifier.type is IdentifierType.IP:
        return ipaddress.ip_address(identifier.value) in _network(value)
    if identifier.type is IdentifierType.EMAIL and "@" not in value:
        return identifier.value.rpartition("@")[2] == value
    return identifier.value == value


@lru_cache(maxsize=1024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


def check_pattern(pattern: str) -> None:
    """That a pattern can ever match. Raises ValueError with the reason."""
    kind, divider, value = pattern.partition(":")
    if not divider or kind not in set(IdentifierType):
        raise ValueError(f'"{pattern}" is no pattern: write a type and a value, as in "dns:*.example.org"')
    if value == "**":
        return
    if kind == IdentifierType.IP:
        ipaddress.ip_network(value, strict=False)
    elif kind == IdentifierType.EMAIL and "@" not in value:
        _normal(pattern, "dns", value)
    else:
        _normal(pattern, kind, value)


def _normal(pattern: str, kind: str, value: str) -> None:
    """A pattern is compared with normal forms, so one that is not in normal form would never match."""
    try:
        read = read_identifier(kind, value)
    except Problem as problem:
        raise ValueError(f'"{pattern}": {problem.detail}') from problem
    if read.value != value:
        raise ValueError(f'"{pattern}" can never match: write "{read.value}"')


def covered(patterns: Iterable[str], identifier: Identifier) -> bool:
    """Whether any of the patterns covers the identifier."""
    return any(matches(pattern, identifier) for pattern in patterns)


@lru_cache(maxsize=1)
def _public_suffixes() -> PublicSuffixList:
    # Read on first use only: the list takes a quarter of a second, and private products never ask.
    return PublicSuffixList()


def is_public_suffix(domain: str) -> bool:
    """Whether nobody in particular owns this domain ("co.uk"), after the list that comes with the package."""
    return bool(_public_suffixes().publicsuffix(domain) == domain)


@lru_cache(maxsize=4096)
def registered_domain(name: str) -> str:
    """What somebody registered: the label below the public suffix; a name that has none is its own."""
    return str(_public_suffixes().privatesuffix(name) or name)


def granted_identifiers(case: Case) -> Iterator[Step | Problem]:
    """Every identifier is one that the product, and the group of the credential, may have."""
    rules = case.product.names
    if len(case.identifiers) > rules.max_names:
        yield RejectedIdentifier(f"{len(case.identifiers)} names are asked for; the product allows {rules.max_names}")
        return
    for identifier in case.identifiers:
        refusal = _refusal(case, identifier)
        if refusal:
            named = f'{identifier.type} identifier "{identifier.value}"'
            nearest = _nearest(rules.allowed, identifier)
            yield RejectedIdentifier(f"{named} {refusal}", identifier=identifier, nearest=nearest)
        else:
            yield Step("identifiers", "granted", f"{identifier} by product {case.product.name}")


def _refusal(case: Case, identifier: Identifier) -> str | None:
    rules = case.product.names
    if identifier.type not in case.product.profile.name_types:
        kinds = ", ".join(case.product.profile.name_types)
        return f"is of a type that the product does not certify (it certifies: {kinds})"
    if covered(rules.denied, identifier) or _spans(identifier, rules.denied):
        return "is on the product's list of denied names, or covers one of them"
    if not covered(rules.allowed, identifier):
        return f"is not among the names that the product grants ({_nearest(rules.allowed, identifier)})"
    if identifier.wildcard:
        if not rules.wildcards:
            return "is a wildcard, which the product does not grant"
        if not rules.public_suffixes and is_public_suffix(identifier.base):
            return f'is a wildcard right below the public suffix "{identifier.base}"'
    for group in case.groups if identifier.type is IdentifierType.DNS else ():
        name = identifier.base
        if group.domains and not any(name == domain or name.endswith("." + domain) for domain in group.domains):
            return f'is outside the domains of group "{group.name}" ({", ".join(group.domains)})'
    return None


def _spans(identifier: Identifier, denied: tuple[str, ...]) -> bool:
    """Whether a wildcard covers a denied name: "*.example.org" would serve "secret.example.org"."""
    if not identifier.wildcard:
        return False
    names = (pattern.partition(":")[2] for pattern in denied if pattern.startswith("dns:"))
    return any(name.partition(".")[2] == identifier.base for name in names if not name.startswith("*"))


def _nearest(allowed: tuple[str, ...], identifier: Identifier) -> str:
    kinds = [pattern for pattern in allowed if pattern.startswith(identifier.type + ":")]
    return ", ".join(kinds[:5]) if kinds else f"none of type {identifier.type}"


def trusted(case: Case, identifier: Identifier) -> bool:
    """Whether the product takes the credential itself as proof for this identifier."""
    return covered(case.product.validation.trusted, identifier)


def proven_identifiers(case: Case) -> Iterator[Step | Problem]:
    """At signing, every identifier is proven: by an authorization that is valid now, or by the credential."""
    for identifier in case.identifiers:
        if identifier in case.proven:
            yield Step("proof", "authorized", str(identifier))
        elif trusted(case, identifier):
            yield Step("proof", "trusted", f"{identifier} by credential {case.credential.id}")
        else:
            yield RejectedIdentifier(
                f'control of {identifier.type} identifier "{identifier.value}" is not proven', identifier=identifier
            )
