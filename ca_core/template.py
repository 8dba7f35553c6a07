"""Profile, request and issuer make the to-be-signed certificate (RFC 5280 section 4.1.2).

Two steps, both pure: `settle` decides subject, names and validity, or says what is wrong with the request;
`to_be_signed` splices them between the DER that the compiled profile holds ready.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ca_core import der
from ca_core.compiled import CompiledProfile, IssuerFacts
from ca_core.issuance import IssuanceRequest
from ca_core.keys import key_identifier
from ca_core.names import (
    Identifier,
    IdentifierType,
    Subject,
    common_name,
    write_general_names,
    write_subject,
)
from ca_core.oids import SUBJECT_ALT_NAME, SUBJECT_KEY_IDENTIFIER
from ca_core.problems import BadCSR, RejectedIdentifier, Unavailable
from ca_core.profile import CertificateProfile

# Baseline Requirements section 7.1.2.7: notBefore lies within 48 hours of the signing. An order may wait
# for its approval that long and still get the notBefore that it was placed with.
_MAX_PAST: Final = timedelta(hours=48)
_SECOND: Final = timedelta(seconds=1)
_MAX_COMMON_NAME: Final = 64  # ub-common-name, RFC 5280 appendix A.1
_SERIAL_OCTETS: Final = 20  # RFC 5280 section 4.1.2.2

_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_KEY_ID_HEAD = der.extension(SUBJECT_KEY_IDENTIFIER, der.octet_string(bytes(20)))[:-20]
_ALT_NAME_HEAD = {
    critical: der.object_identifier(SUBJECT_ALT_NAME) + (der.BOOLEAN_TRUE if critical else b"")
    for critical in (False, True)
}


class Settled(msgspec.Struct, frozen=True):
    """What of a certificate differs from its siblings, apart from serial number and key."""

    subject: Subject
    names: tuple[Identifier, ...]
    not_before: datetime
    not_after: datetime


def settle(request: IssuanceRequest, facts: IssuerFacts, now: datetime) -> Settled:
    """Decide subject, names and validity of a certificate.

    Raises RejectedIdentifier for a type of name that the profile does not take, BadCSR for everything else
    that the client can mend, Unavailable when the issuer is at the end of its own validity.
    """
    profile = request.profile
    names = request.names if len(request.names) == 1 else tuple(dict.fromkeys(request.names))
    _check_types(profile, names)
    subject = _subject(profile, request.subject, names)
    if not subject and not names:
        raise BadCSR(f"a {profile.name} certificate needs a subject or a name, and the request leaves none")
    not_before, not_after = validity(request, facts, now)
    return Settled(subject, names, not_before, not_after)


def _check_types(profile: CertificateProfile, names: tuple[Identifier, ...]) -> None:
    if all(name.type in profile.name_types for name in names):
        return
    wrong = tuple(
        RejectedIdentifier(
            f'{name.type} identifier "{name.value}" is of a type that {profile.name} certificates lack',
            identifier=name,
        )
        for name in names
        if name.type not in profile.name_types
    )
    if len(wrong) == 1:
        raise wrong[0]
    accepted = ", ".join(profile.name_types) or "none"
    raise RejectedIdentifier(
        f"{len(wrong)} identifiers are of a type that {profile.name} certificates do not carry; "
        f"types that they carry: {accepted}",
        subproblems=wrong,
    )


def _subject(profile: CertificateProfile, asked: Subject, names: tuple[Identifier, ...]) -> Subject:
    """The fixed attributes, then those of the request that the profile keeps, then the common name."""
    fixed = {attribute for attribute, _ in profile.fixed_subject}
    kept = [
        (attribute, value)
        for attribute, value in asked
        if attribute in profile.subject_attributes and attribute not in fixed and attribute != "CN"
    ]
    if "CN" in fixed:
        return (*profile.fixed_subject, *kept)
    own_name = _common_name(profile, asked, names)
    # The common name comes last: the most specific attribute of a name that is written from the country down.
    return (*profile.fixed_subject, *kept, *((("CN", own_name),) if own_name else ()))


def _common_name(profile: CertificateProfile, asked: Subject, names: tuple[Identifier, ...]) -> str | None:
    if profile.common_name == "drop" or "CN" not in profile.subject_attributes:
        return None
    value = common_name(asked)
    if value is not None and _is_address(value):
        value = None
    if profile.common_name == "from-request-or-first-dns":
        # A common name that repeats no subjectAltName, character for character, is a name that nobody has validated
        # (Baseline Requirements section 7.1.4.3), unless the certificate is for something that has no domain name.
        hosts = [name.value for name in names if name.type is IdentifierType.DNS]
        if hosts and value is not None:
            value = value.lower()
        if hosts and value not in hosts:
            value = next((host for host in hosts if len(host) <= _MAX_COMMON_NAME), None)
    return value


def _is_address(value: str) -> bool:
    # Nearly every common name ends in a letter that no address ends in: a cheap look spares the exception.
    if value[-1:] not in "0123456789abcdefABCDEF]":
        return False
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        return False
    return True


def validity(request: IssuanceRequest, facts: IssuerFacts, now: datetime) -> tuple[datetime, datetime]:
    """First and last second, both inclusive: a certificate of one second has notBefore equal to notAfter."""
    profile = request.profile
    if request.not_before is None:
        not_before = now - timedelta(seconds=profile.backdate_seconds)
    else:
        not_before = request.not_before.replace(microsecond=0)
        if not_before < now - _MAX_PAST:
            raise BadCSR(f"notBefore {_moment(not_before)} is too far in the past")
    not_before = max(not_before, facts.not_before)
    if request.not_after is None:
        not_after = min(not_before + timedelta(seconds=profile.validity_seconds - 1), facts.not_after)
    else:
        not_after = request.not_after.replace(microsecond=0)
        if request.not_before is None:
            # Who asks for an end alone means "from now on": the backdating must not make that too long.
            longest = timedelta(seconds=profile.longest_validity_seconds - 1)
            not_before = min(max(not_before, not_after - longest), now)
        _check_length(profile, not_before, not_after, now)
        if not_after > facts.not_after:
            raise BadCSR(f"notAfter {_moment(not_after)} is asked for; the issuing CA ends {_moment(facts.not_after)}")
    if not_after < max(not_before, now):
        raise Unavailable("the issuing CA is at the end of its validity", issuer=request.issuer)
    return not_before, not_after


def _check_length(profile: CertificateProfile, not_before: datetime, not_after: datetime, now: datetime) -> None:
    if not_after < max(not_before, now):
        raise BadCSR(f"notAfter {_moment(not_after)} lies before notBefore or in the past")
    seconds = int((not_after - not_before + _SECOND).total_seconds())
    if seconds > profile.longest_validity_seconds:
        raise BadCSR(
            f"a validity of {seconds} seconds is asked for; "
            f"{profile.name} certificates have at most {profile.longest_validity_seconds}"
        )


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def to_be_signed(
    compiled: CompiledProfile, settled: Settled, *, spki: bytes, key_type: str, serial: int, shard: int
) -> bytes:
    """Write the TBSCertificate. Raises BadPublicKey for a key type that the profile does not take, BadCSR.

    The caller has read `spki` from a request whose key it has checked; only its outer structure is checked
    here.
    """
    facts = compiled.facts
    try:
        key_id = key_identifier(spki)
    except ValueError as exc:
        raise BadCSR("the public key is not a SubjectPublicKeyInfo") from exc
    extensions = compiled.extensions(key_type) + _KEY_ID_HEAD + key_id + compiled.crl_distribution(shard)
    if settled.names:
        extensions += _alt_name(settled.names, critical=not settled.subject)
    return der.tlv(
        der.SEQUENCE,
        b"".join(
            (
                _VERSION_3,
                b"\x02\x14",
                serial.to_bytes(_SERIAL_OCTETS, "big"),
                facts.algorithm.identifier_der,
                facts.name_der,
                der.tlv(der.SEQUENCE, der.time(settled.not_before) + der.time(settled.not_after)),
                write_subject(settled.subject),
                spki,
                der.tlv(0xA3, der.tlv(der.SEQUENCE, extensions)),
            )
        ),
    )


def _alt_name(names: tuple[Identifier, ...], *, critical: bool) -> bytes:
    value = der.tlv(der.OCTET_STRING, write_general_names(names))
    return der.tlv(der.SEQUENCE, _ALT_NAME_HEAD[critical] + value)
