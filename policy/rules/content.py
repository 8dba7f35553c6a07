"""What is asked for against what was ordered and what the product grants: names, common name, validity, CA flag."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ca_core.names import Identifier, common_name
from policy.order import Step
from policy.problems import BadCSR, Problem
from policy.rules import Case


def _listed(identifiers: frozenset[Identifier]) -> str:
    return ", ".join(sorted(f'"{identifier.value}"' for identifier in identifiers))


def _named_by(case: Case, value: str) -> bool:
    """Whether a common name is one of the identifiers (compared as DNS does, without case)."""
    lowered = value.lower()
    return any(identifier.value == lowered for identifier in case.identifiers)


def requested_names(case: Case) -> Iterator[Step | Problem]:
    """The request names exactly what was ordered: all of it, and nothing else, of whatever type (RFC 8555 7.4)."""
    request = case.request
    if request is None:
        return
    if request.unknown_names:
        yield BadCSR(f"the request has names of a type that is not certified: {', '.join(request.unknown_names)}")
    ordered = frozenset(case.identifiers)
    asked = frozenset(request.names)
    cn = common_name(request.subject)
    if cn is not None and not _named_by(case, cn):
        pattern = case.product.names.common_name
        if not pattern or re.fullmatch(pattern, cn) is None:
            yield BadCSR(f'the common name "{cn}" is not one of the names of the order')
    if cn is not None and not asked:
        # Old clients name themselves in the common name alone; it then counts as their one name.
        asked = frozenset(identifier for identifier in ordered if identifier.value == cn.lower())
    if asked - ordered:
        yield BadCSR(f"the request names {_listed(asked - ordered)}, which the order does not have")
    if ordered - asked:
        yield BadCSR(f"the request lacks {_listed(ordered - asked)}, which the order has")


def named(case: Case) -> Iterator[Step | Problem]:
    """There is a name at all, where the product wants one."""
    if not case.identifiers and case.product.names.required:
        yield BadCSR("the request names nothing: the product needs at least one subjectAltName")


def no_authority(case: Case) -> Iterator[Step | Problem]:
    """Nobody asks for a CA certificate here."""
    if case.request is not None and case.request.ca_requested:
        yield BadCSR("the request asks for a CA certificate (basicConstraints); this product issues none")


def final_content(case: Case) -> Iterator[Step | Problem]:
    """The to-be-signed certificate says what was ordered: same names, same key, no CA (read from its own bytes)."""
    judged = case.judged
    if judged is None:
        return
    names = frozenset(judged.names)
    if names != frozenset(case.identifiers):
        extra, missing = names - frozenset(case.identifiers), frozenset(case.identifiers) - names
        more, less = _listed(extra) or "nothing more", _listed(missing) or "nothing"
        yield BadCSR(f"the certificate would name {more} and lack {less}")
    if judged.ca:
        yield BadCSR("the certificate would be a CA certificate")
    if case.request is not None and judged.spki != case.request.spki:
        yield BadCSR("the certificate would hold another public key than the request")
    cn = judged.common_name
    if cn is not None and not _named_by(case, cn):
        pattern = case.product.names.common_name
        if not pattern or re.fullmatch(pattern, cn) is None or _is_ip(cn):
            yield BadCSR(f'the certificate would have the common name "{cn}", which was not granted')
    validity = f"{judged.not_before.date()} to {judged.not_after.date()}"
    yield Step("content", "as ordered", f"{len(judged.names)} names, {validity}")


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
