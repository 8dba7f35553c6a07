"""Lints from the CA/Browser Forum's Baseline Requirements for TLS server certificates.

For products that ask for them: public trust, or private products that want to behave like it. The section
numbers are those of the Baseline Requirements ("BR").
"""

from __future__ import annotations

import ipaddress
from datetime import date, timedelta

from ca_core import algorithms, oids
from ca_core.lints import Common, Lint, LintSubject, Severity, common_rule, rule
from ca_core.names import IdentifierType, common_names
from ca_core.problems import BadAlgorithm

_SOURCE = "cabf"
_ONE_SECOND = timedelta(seconds=1)

# BR section 6.3.2 (ballot SC-081): the longest validity by the day it begins, latest first. Both ends count,
# so 200 days are 200 * 86400 seconds from notBefore to notAfter inclusive.
_LONGEST_VALIDITY = (
    (date(2029, 3, 15), 47),
    (date(2027, 3, 15), 100),
    (date(2026, 3, 15), 200),
    (date.min, 398),
)
_POLICIES = frozenset(
    {
        oids.CABF_DOMAIN_VALIDATED,
        oids.CABF_ORGANIZATION_VALIDATED,
        oids.CABF_INDIVIDUAL_VALIDATED,
        oids.CABF_EXTENDED_VALIDATION,
    }
)


@rule(_SOURCE, "BR section 6.3.2")
def validity(subject: LintSubject) -> str | None:
    """A server certificate is valid no longer than the day it begins allows: 200 days since 2026-03-15."""
    if subject.is_ca:
        return None
    begins = subject.not_before.date()
    days = next(days for since, days in _LONGEST_VALIDITY if begins >= since)
    if subject.not_after - subject.not_before + _ONE_SECOND > timedelta(days=days):
        return f"the validity is longer than {days} days, counting both ends"
    return None


@rule(_SOURCE, "BR section 7.1.2.7.12")
def names_present(subject: LintSubject) -> str | None:
    """A server certificate has subject alternative names, and only domain names and IP addresses."""
    if subject.is_ca:
        return None
    if not subject.names:
        return "there is no subject alternative name"
    other = [name for name in subject.names if name.type not in (IdentifierType.DNS, IdentifierType.IP)]
    if other or subject.unknown_names:
        kinds = sorted({*(name.type for name in other), *subject.unknown_names})
        return f"there are names that are neither domain names nor IP addresses: {', '.join(kinds)}"
    return None


@rule(_SOURCE, "BR section 7.1.4.3")
def common_name_is_alternative_name(subject: LintSubject) -> str | None:
    """A common name is one of the subject alternative names, and there is no second."""
    if subject.is_ca:
        return None
    found = common_names(subject.subject)
    if len(found) > 1:
        return "there is more than one common name"
    if found and found[0] not in {name.value for name in subject.names}:
        return "the common name is not a subject alternative name"
    return None


@rule(_SOURCE, "BR section 7.1.2.7.12")
def reserved_name(subject: LintSubject) -> str | None:
    """Domain names have a dot and are not for reverse lookups; addresses are not reserved ones (RFC 6890)."""
    for name in subject.names:
        if name.type is IdentifierType.DNS and ("." not in name.base or name.value.endswith(".arpa")):
            return f'"{name.value}" is an internal name or one for reverse lookups'
        if name.type is IdentifierType.IP and not ipaddress.ip_address(name.value).is_global:
            return f'"{name.value}" is a reserved address'
    return None


@common_rule(_SOURCE, "BR section 7.1.2.7.10")
def server_authentication(common: Common) -> str | None:
    """The extended key usage has serverAuth, and besides it at most clientAuth."""
    if common.is_ca:
        return None
    purposes = set(common.purposes or ())
    if oids.EKU_SERVER_AUTH not in purposes:
        return "the extended key usage does not have serverAuth"
    if purposes - {oids.EKU_SERVER_AUTH, oids.EKU_CLIENT_AUTH}:
        return "the extended key usage has more than serverAuth and clientAuth"
    return None


@common_rule(
    _SOURCE,
    "Chrome Root Program Policy 1.7",
    severity=Severity.NOTICE,
    effective=date(2026, 6, 15),
)
def client_authentication(common: Common) -> str | None:
    """Server certificates no longer have clientAuth, say the browsers."""
    return "the extended key usage has clientAuth" if oids.EKU_CLIENT_AUTH in (common.purposes or ()) else None


@common_rule(_SOURCE, "BR section 6.1.5")
def key_size(common: Common) -> str | None:
    """The key is RSA of at least 2048 bits in multiples of 8, or on P-256, P-384 or P-521."""
    kind, _, size = common.key_type.partition("-")
    if kind == "ec":
        return None
    if kind == "rsa" and int(size) >= 2048 and int(size) % 8 == 0:
        return None
    return f"a key of type {common.key_type} is not allowed"


@common_rule(_SOURCE, "BR section 7.1.3.2")
def signature_algorithm(common: Common) -> str | None:
    """The signature is RSA or ECDSA, with SHA-256, SHA-384 or SHA-512."""
    try:
        algorithm = algorithms.read_signature_algorithm(common.signature_algorithm_der)
    except BadAlgorithm as problem:
        return problem.detail
    return None if algorithm.hash_name is not None else f"the signature algorithm {algorithm.name} is not allowed"


@rule(_SOURCE, "BR section 7.1")
def serial_number(subject: LintSubject) -> str | None:
    """The serial number has room for 64 bits from a random number generator."""
    return None if subject.serial_number.bit_length() >= 64 else "the serial number has less than 64 bits"


@common_rule(_SOURCE, "BR section 7.1.2.7.9")
def policy(common: Common) -> str | None:
    """A server certificate names exactly one of the policies of the CA/Browser Forum."""
    if common.is_ca:
        return None
    found = _POLICIES.intersection(common.policies or ())
    return None if len(found) == 1 else f"there are {len(found)} policies of the CA/Browser Forum, not one"


@rule(_SOURCE, "BR section 7.1.2.7.2")
def domain_validated_subject(subject: LintSubject) -> str | None:
    """A domain validated certificate says nothing of its subject but country and common name."""
    if oids.CABF_DOMAIN_VALIDATED not in (subject.common.policies or ()):
        return None
    surplus = {name for name, _ in subject.subject} - {"CN", "C"}
    return f"the subject has what was not validated: {', '.join(sorted(surplus))}" if surplus else None


@common_rule(_SOURCE, "BR section 7.1.2.7.11")
def key_usage(common: Common) -> str | None:
    """The key usage of a server certificate is critical and has digitalSignature."""
    if common.is_ca or common.key_usage is None:
        return None
    if not common.extensions[oids.KEY_USAGE].critical:
        return "the key usage is not critical"
    return None if "digitalSignature" in common.key_usage else "the key usage does not have digitalSignature"


@common_rule(_SOURCE, "BR section 7.1.2.7.6")
def authority_key_identifier(common: Common) -> str | None:
    """A server certificate has an authority key identifier."""
    if common.is_ca or common.authority_key_id is not None:
        return None
    return "there is no authority key identifier"


@rule(_SOURCE, "BR section 7.1.2.11.2")
def status_source(subject: LintSubject) -> str | None:
    """Unless it lives a week at most, a server certificate says where its status is found."""
    short = subject.not_after - subject.not_before + _ONE_SECOND <= timedelta(days=7)
    if subject.is_ca or short or subject.common.crl_uris:
        return None
    if any(access.method == oids.ACCESS_OCSP for access in subject.common.access or ()):
        return None
    return "there is neither a CRL distribution point nor an OCSP responder"


LINTS: tuple[Lint, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Lint))
"""Every lint of this module, in the order of the file."""
