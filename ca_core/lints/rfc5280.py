"""Lints from RFC 5280 and its updates (RFC 8813 and RFC 9295 on keyUsage, RFC 9881 on ML-DSA)."""

from __future__ import annotations

from ca_core import algorithms, oids
from ca_core.der import GENERALIZED_TIME, UTC_TIME
from ca_core.lints import Common, Lint, LintSubject, Severity, common_rule, rule
from ca_core.names import write_general_names, write_subject
from ca_core.problems import BadAlgorithm, BadCSR

_SOURCE = "rfc5280"
_UTC_TIME_UNTIL = 2049  # section 4.1.2.5


@common_rule(_SOURCE, "RFC 5280 section 4.1.2.1")
def version(common: Common) -> str | None:
    """A certificate with extensions has version 3."""
    return None if common.version == 3 else f"the version is {common.version}"


@rule(_SOURCE, "RFC 5280 section 4.1.2.2")
def serial_number(subject: LintSubject) -> str | None:
    """The serial number has at most 20 octets; one that is not positive is not parsed at all."""
    # The first bit of the encoding is the sign: 20 octets are 159 bits.
    return "the serial number has more than 20 octets" if subject.serial_number >> 159 else None


@rule(
    _SOURCE,
    "RFC 5280 section 4.1.2.2, CA/Browser Forum Baseline Requirements section 7.1",
    severity=Severity.WARNING,
)
def serial_number_long(subject: LintSubject) -> str | None:
    """The serial number is long enough to hold 64 random bits."""
    bits = subject.serial_number.bit_length()
    return None if bits >= 64 else f"the serial number has only {bits} bits"


@common_rule(_SOURCE, "RFC 5280 section 4.1.1.2")
def signature_algorithm(common: Common) -> str | None:
    """The signature algorithm is one that is accepted, and goes with the issuer's key."""
    try:
        algorithm = algorithms.read_signature_algorithm(common.signature_algorithm_der)
    except BadAlgorithm as problem:
        return problem.detail
    family = algorithm.family.removesuffix("-pss")
    if common.issuer is not None and family != common.issuer.key_family:
        return f"the signature algorithm {algorithm.name} does not go with the issuer's key"
    return None


@rule(_SOURCE, "RFC 5280 section 4.1.2.4")
def issuer_name(subject: LintSubject) -> str | None:
    """The issuer is the subject of the issuer's certificate, byte for byte; a root's is its own subject."""
    wanted = subject.subject_der if subject.issuer is None else subject.issuer.subject_der
    if subject.issuer_der != wanted:
        return "the issuer is not the name in the issuer's certificate"
    return "the issuer is an empty name" if len(subject.issuer_der) == 2 else None


@rule(_SOURCE, "RFC 5280 section 4.1.2.5")
def validity_order(subject: LintSubject) -> str | None:
    """The validity does not end before it begins."""
    return "notAfter is before notBefore" if subject.not_after < subject.not_before else None


@rule(_SOURCE, "RFC 5280 section 4.1.2.5")
def validity_encoding(subject: LintSubject) -> str | None:
    """Times until 2049 are UTCTime, later ones GeneralizedTime."""
    for time, at in zip(subject.times, (subject.not_before, subject.not_after), strict=True):
        if time[0] != (UTC_TIME if at.year <= _UTC_TIME_UNTIL else GENERALIZED_TIME):
            return f"the time {at:%Y-%m-%d} has the wrong type"
    return None


@rule(_SOURCE, "RFC 5280 section 6.1.3")
def validity_within_issuer(subject: LintSubject) -> str | None:
    """The certificate is not valid when its issuer's certificate is not."""
    if subject.issuer is None:
        return None
    if subject.not_after > subject.issuer.not_after:
        return f"notAfter is after that of the issuer, {subject.issuer.not_after:%Y-%m-%d %H:%M:%SZ}"
    if subject.not_before < subject.issuer.not_before:
        return f"notBefore is before that of the issuer, {subject.issuer.not_before:%Y-%m-%d %H:%M:%SZ}"
    return None


@rule(_SOURCE, "RFC 5280 section 4.1.2.6 and appendix A.1")
def subject_name(subject: LintSubject) -> str | None:
    """The attributes of the subject are readable, not empty, of the right type and within their bounds."""
    if subject.subject_problem is not None:
        return subject.subject_problem
    try:
        written = write_subject(subject.subject)
    except BadCSR as problem:
        return problem.detail
    return None if written == subject.subject_der else "the subject is not in the form that this CA writes"


@rule(_SOURCE, "RFC 5280 section 4.1.2.6")
def subject_empty(subject: LintSubject) -> str | None:
    """An empty subject needs a critical subjectAltName, and is nothing for a CA."""
    if subject.subject_der != b"\x30\x00":
        return None
    if subject.is_ca:
        return "the subject of a CA certificate is empty"
    alternative = subject.alternative
    if alternative is None:
        return "the subject is empty and there is no subjectAltName"
    return None if alternative.critical else "the subject is empty and the subjectAltName is not critical"


@common_rule(_SOURCE, "RFC 5280 section 4.1.2.8")
def unique_ids(common: Common) -> str | None:
    """There are no unique identifiers."""
    return "there is an issuerUniqueID or subjectUniqueID" if common.has_unique_ids else None


@common_rule(_SOURCE, "RFC 5280 section 4.2")
def extensions_unique(common: Common) -> str | None:
    """Each extension appears once."""
    if len(common.extensions) == len(common.extension_oids):
        return None
    return "an extension appears twice"


# Sections 4.2.1.1, 4.2.1.2, 4.2.1.8, 4.2.1.15, 4.2.2.1 and 4.2.2.2; then 4.2.1.10, 4.2.1.11 and 4.2.1.14.
_NEVER_CRITICAL = (
    oids.AUTHORITY_KEY_IDENTIFIER,
    oids.SUBJECT_KEY_IDENTIFIER,
    oids.SUBJECT_DIRECTORY_ATTRIBUTES,
    oids.FRESHEST_CRL,
    oids.AUTHORITY_INFO_ACCESS,
    oids.SUBJECT_INFO_ACCESS,
)
_ALWAYS_CRITICAL = (oids.NAME_CONSTRAINTS, oids.POLICY_CONSTRAINTS, oids.INHIBIT_ANY_POLICY)


@common_rule(_SOURCE, "RFC 5280 section 4.2")
def extensions_criticality(common: Common) -> str | None:
    """Extensions that must or must not be critical are as they must be."""
    for oid, extension in common.extensions.items():
        if extension.critical and oid in _NEVER_CRITICAL:
            return f"the extension {oid} is critical"
        if not extension.critical and oid in _ALWAYS_CRITICAL:
            return f"the extension {oid} is not critical"
    return None


@rule(_SOURCE, "RFC 5280 section 4.2.1.1")
def authority_key_identifier(subject: LintSubject) -> str | None:
    """The authority key identifier is there, and is the subject key identifier of the issuer."""
    if subject.common.authority_key_id is None:
        return None if subject.self_signed else "there is no authority key identifier"
    wanted = subject.subject_key_id if subject.issuer is None else subject.issuer.key_id
    if wanted is not None and subject.common.authority_key_id != wanted:
        return "the authority key identifier is not that of the issuer"
    return None


@rule(_SOURCE, "RFC 5280 section 4.2.1.2")
def subject_key_identifier(subject: LintSubject) -> str | None:
    """A CA certificate has a subject key identifier, and none is empty."""
    if subject.subject_key_id is None:
        return "a CA certificate has no subject key identifier" if subject.is_ca else None
    return None if subject.subject_key_id else "the subject key identifier is empty"


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.2", severity=Severity.NOTICE)
def subject_key_identifier_of_leaf(common: Common) -> str | None:
    """A certificate that is not a CA's should have a subject key identifier as well."""
    if common.is_ca or oids.SUBJECT_KEY_IDENTIFIER in common.extensions:
        return None
    return "there is no subject key identifier"


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.3")
def key_usage(common: Common) -> str | None:
    """Key usage names at least one usage; signing certificates goes with being a CA."""
    if common.key_usage is None:
        return "a CA certificate has no key usage" if common.is_ca else None
    if not common.key_usage:
        return "the key usage is empty"
    if ("keyCertSign" in common.key_usage) != common.is_ca:
        return "keyCertSign and the cA of basicConstraints do not agree"
    if common.key_usage & {"encipherOnly", "decipherOnly"} and "keyAgreement" not in common.key_usage:
        return "encipherOnly and decipherOnly mean nothing without keyAgreement"
    return None


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.3", severity=Severity.WARNING)
def key_usage_critical(common: Common) -> str | None:
    """Key usage should be critical."""
    usage = common.extensions.get(oids.KEY_USAGE)
    return None if usage is None or usage.critical else "the key usage is not critical"


_SIGNING = frozenset({"digitalSignature", "nonRepudiation", "keyCertSign", "cRLSign"})
_AGREEING = frozenset({"keyAgreement", "encipherOnly", "decipherOnly"})
_USAGES_OF_FAMILY = {
    "rsa": _SIGNING | {"keyEncipherment", "dataEncipherment"},  # RFC 3279 section 2.3.1
    "ec": _SIGNING | _AGREEING,  # RFC 8813 section 3
    "ed25519": _SIGNING,  # RFC 9295 section 3
    "ed448": _SIGNING,  # RFC 9295 section 3
    "ml": _SIGNING,  # RFC 9881 section 5
}


@common_rule(_SOURCE, "RFC 3279 section 2.3.1, RFC 8813 section 3, RFC 9295 section 3, RFC 9881 section 5")
def key_usage_of_key(common: Common) -> str | None:
    """Key usage names only what a key of this kind can do."""
    if common.key_usage is None:
        return None
    kind = common.key_type
    surplus = common.key_usage - _USAGES_OF_FAMILY.get(kind.partition("-")[0], _SIGNING)
    return f"a key of type {kind} cannot be used for {', '.join(sorted(surplus))}" if surplus else None


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.4")
def certificate_policies(common: Common) -> str | None:
    """Certificate policies, where there are any, do not repeat."""
    if common.policies is None:
        return None
    if not common.policies:
        return "there are certificate policies, but none is named"
    return None if len(set(common.policies)) == len(common.policies) else "a certificate policy appears twice"


@rule(_SOURCE, "RFC 5280 section 4.2.1.6")
def subject_alt_name(subject: LintSubject) -> str | None:
    """The subject alternative names are well-formed, in normal form, and at least one."""
    if subject.names_problem is not None:
        return subject.names_problem
    alternative = subject.alternative
    if alternative is None:
        return None
    if not subject.names and not subject.unknown_names:
        return "the subjectAltName is empty"
    if subject.unknown_names:
        return f"the subjectAltName has unsupported names: {', '.join(subject.unknown_names)}"
    if write_general_names(subject.names) != alternative.value:
        return "a subject alternative name is not in normal form"
    return None


@rule(_SOURCE, "RFC 5280 section 4.2.1.6")
def subject_alt_name_unique(subject: LintSubject) -> str | None:
    """No subject alternative name appears twice."""
    return None if len(set(subject.names)) == len(subject.names) else "a subject alternative name appears twice"


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.9")
def basic_constraints(common: Common) -> str | None:
    """A CA's basic constraints are critical; a path length goes with a CA only and is not negative."""
    constraints = common.basic_constraints
    if constraints is None:
        return None
    if constraints.ca and not common.extensions[oids.BASIC_CONSTRAINTS].critical:
        return "the basicConstraints of a CA certificate are not critical"
    if constraints.path_length is not None and not constraints.ca:
        return "there is a path length, but the certificate is not a CA's"
    if constraints.path_length is not None and constraints.path_length < 0:
        return "the path length is negative"
    return None


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.10")
def name_constraints(common: Common) -> str | None:
    """Name constraints are for CA certificates."""
    if oids.NAME_CONSTRAINTS in common.extensions and not common.is_ca:
        return "there are name constraints, but the certificate is not a CA's"
    return None


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.12")
def extended_key_usage(common: Common) -> str | None:
    """Extended key usages name purposes, each once; "any" is none."""
    if common.purposes is None:
        return None
    if not common.purposes:
        return "the extended key usage is empty"
    if oids.EKU_ANY in common.purposes and not common.is_ca:
        return "the extended key usage has anyExtendedKeyUsage"
    if len(set(common.purposes)) != len(common.purposes):
        return "an extended key usage appears twice"
    return None


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.13")
def crl_distribution_points(common: Common) -> str | None:
    """CRL distribution points are plain http URIs, which can be fetched without checking a certificate."""
    if common.crl_uris is None:
        return None
    if not common.crl_uris:
        return "there are no points in the CRL distribution points"
    for uri in common.crl_uris:
        if uri is None or not uri.startswith("http://"):
            return f'the CRL distribution point "{uri or "without URI"}" is not an http URI'
    return None


@common_rule(_SOURCE, "RFC 5280 section 4.2.1.13", severity=Severity.WARNING)
def crl_distribution_points_not_critical(common: Common) -> str | None:
    """CRL distribution points should not be critical."""
    points = common.extensions.get(oids.CRL_DISTRIBUTION_POINTS)
    return "the CRL distribution points are critical" if points is not None and points.critical else None


@common_rule(_SOURCE, "RFC 5280 section 4.2.2.1")
def authority_info_access(common: Common) -> str | None:
    """Where to ask for the status and for the issuer's certificate is said with plain http URIs."""
    if common.access is None:
        return None
    if not common.access:
        return "the authority information access is empty"
    for access in common.access:
        if access.uri is None or not access.uri.startswith("http://"):
            return f'the access location "{access.uri or "without URI"}" is not an http URI'
    return None


@common_rule(_SOURCE, "RFC 6960 section 4.2.2.2.1")
def ocsp_nocheck(common: Common) -> str | None:
    """Only an OCSP responder's certificate says that it need not be checked."""
    if oids.OCSP_NOCHECK in common.extensions and oids.EKU_OCSP_SIGNING not in (common.purposes or ()):
        return "there is id-pkix-ocsp-nocheck, but the certificate is not an OCSP responder's"
    return None


LINTS: tuple[Lint, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Lint))
"""Every lint of this module, in the order of the file."""
