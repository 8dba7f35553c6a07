"""CertificateProfile: which fields, extensions, key usages and validity a certificate of one kind has.

A profile is data: it is read from a table and checked here, and compiled for an issuer in `ca_core.compiled`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Final

from ca_core import der, oids
from ca_core.algorithms import KEY_TYPES
from ca_core.names import IdentifierType, Subject

DAY_SECONDS: Final = 86_400

KEY_USAGES: Final = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
"""The names of the KeyUsage bits in the order of the bits (RFC 5280 section 4.2.1.3)."""

EXTENDED_KEY_USAGES: Final[Mapping[str, str]] = {
    "anyExtendedKeyUsage": oids.EKU_ANY,
    "serverAuth": oids.EKU_SERVER_AUTH,
    "clientAuth": oids.EKU_CLIENT_AUTH,
    "codeSigning": oids.EKU_CODE_SIGNING,
    "emailProtection": oids.EKU_EMAIL_PROTECTION,
    "timeStamping": oids.EKU_TIME_STAMPING,
    "OCSPSigning": oids.EKU_OCSP_SIGNING,
    "cmcCA": oids.EKU_CMC_CA,
    "cmcRA": oids.EKU_CMC_RA,
    "cmKGA": oids.EKU_CM_KGA,
    "smartcardLogon": oids.EKU_SMARTCARD_LOGON,
}
"""Extended key usages by the name of their standard; a profile may also give a dotted identifier."""

COMMON_NAME_RULES: Final = ("from-request-or-first-dns", "keep", "drop")

_SIGNATURE_USAGES = frozenset({"digitalSignature", "nonRepudiation", "keyCertSign", "cRLSign"})
# RSA: RFC 3279 section 2.3.1. EC: RFC 5480 section 3 (no encipherment; encipherOnly and decipherOnly only
# qualify keyAgreement). Everything else that is known here only signs: RFC 8410 section 5, RFC 9881 section
# 5.
_USAGES_BY_KIND = {
    "rsa": _SIGNATURE_USAGES | {"keyEncipherment", "dataEncipherment"},
    "ec": _SIGNATURE_USAGES | {"keyAgreement", "encipherOnly", "decipherOnly"},
}


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """What a certificate of this kind is like. Durations are in seconds and count both ends.

    `subject_attributes` are kept from a request, `fixed_subject` comes first and wins over them.
    `key_usage` may name more than a key can do: what its type cannot do is left out, so keyEncipherment is
    for RSA keys only. The subjectAltName is critical exactly when the subject is empty (RFC 5280 section
    4.2.1.6).
    """

    name: str
    version: int = 1
    description: str = ""
    subject_attributes: tuple[str, ...] = ("CN",)
    fixed_subject: Subject = ()
    common_name: str = "from-request-or-first-dns"
    """One of COMMON_NAME_RULES. An IP address never becomes a common name."""
    name_types: tuple[str, ...] = ("dns",)
    """Types of identifiers that may stand in the subjectAltName."""
    key_types: tuple[str, ...] = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096")
    key_usage: tuple[str, ...] = ("digitalSignature",)
    extended_key_usage: tuple[str, ...] = ("serverAuth",)
    ca: bool = False
    path_length: int | None = None
    policies: tuple[str, ...] = ()
    validity_seconds: int = 90 * DAY_SECONDS
    max_validity_seconds: int = 0
    """The longest validity that a request may ask for; 0 is `validity_seconds`."""
    backdate_seconds: int = 60
    """How far notBefore lies in the past, for clients whose clocks are late."""
    must_staple: bool = False
    ocsp_nocheck: bool = False
    """For OCSP responders: their own revocation is not looked up (RFC 6960 section 4.2.2.2.1)."""
    crl_distribution: bool = True
    ocsp: bool = True
    ca_issuers: bool = True
    lint_sets: tuple[str, ...] = ("rfc5280",)

    @property
    def longest_validity_seconds(self) -> int:
        """The limit for a validity that a request asks for."""
        return self.max_validity_seconds or self.validity_seconds


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("has to be a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("has to be true or false")
    return value


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("has to be a whole number that is not negative")
    return value


def _optional_number(value: object) -> int | None:
    return None if value is None else _number(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("has to be a list of texts")
    return tuple(_text(item) for item in value)


def _choices(known: tuple[str, ...]) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        return tuple(_choice(known)(item) for item in _texts(value))

    return read


def _choice(known: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _text(value)
        if text not in known:
            raise ValueError(f'has the unknown value "{text}"{_nearest(text, known)}')
        return text

    return read


def _extended_usages(value: object) -> tuple[str, ...]:
    for text in (texts := _texts(value)):
        if text not in EXTENDED_KEY_USAGES:
            _dotted(text, tuple(EXTENDED_KEY_USAGES))
    return texts


def _policies(value: object) -> tuple[str, ...]:
    for text in (texts := _texts(value)):
        _dotted(text, ())
    return texts


def _dotted(text: str, known: tuple[str, ...]) -> None:
    try:
        der.object_identifier(text)
    except ValueError:
        raise ValueError(
            f'has the value "{text}", which is no name or object identifier{_nearest(text, known)}'
        ) from None


def _subject(value: object) -> Subject:
    """A table {"O": "Example"} or, where an attribute comes twice, a list of pairs."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list | tuple):
        raise ValueError("has to be a table, or a list of pairs")
    subject: list[tuple[str, str]] = []
    for pair in pairs:
        texts = _texts(pair)
        if len(texts) != 2:
            raise ValueError("has to be a table, or a list of pairs")
        subject.append((texts[0], texts[1]))
    return tuple(subject)


def _nearest(text: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "name": _text,
    "version": _number,
    "description": _text,
    "subject_attributes": _texts,
    "fixed_subject": _subject,
    "common_name": _choice(COMMON_NAME_RULES),
    "name_types": _choices(tuple(kind.value for kind in IdentifierType)),
    "key_types": _choices(tuple(KEY_TYPES)),
    "key_usage": _choices(KEY_USAGES),
    "extended_key_usage": _extended_usages,
    "ca": _flag,
    "path_length": _optional_number,
    "policies": _policies,
    "validity_seconds": _number,
    "max_validity_seconds": _number,
    "backdate_seconds": _number,
    "must_staple": _flag,
    "ocsp_nocheck": _flag,
    "crl_distribution": _flag,
    "ocsp": _flag,
    "ca_issuers": _flag,
    "lint_sets": _texts,
}


def read_profile(table: Mapping[str, object]) -> CertificateProfile:
    """Read a profile from decoded TOML or JSON.

    Raises ValueError with every mistake: the key, what is wrong, and the nearest known word.
    """
    known = tuple(_READERS)
    mistakes: list[str] = []
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in _READERS:
            mistakes.append(f'"{key}" is not a key of a profile{_nearest(key, known)}')
            continue
        try:
            values[key] = _READERS[key](value)
        except ValueError as exc:
            mistakes.append(f'"{key}" {exc}')
    required = [field.name for field in fields(CertificateProfile) if field.default is MISSING]
    mistakes += [f'"{key}" is missing' for key in required if key not in table]
    if not mistakes:
        # The readers are the type check: each returns what the field of its name holds.
        profile = CertificateProfile(**values)  # type: ignore[arg-type]
        mistakes += _contradictions(profile)
        if not mistakes:
            return profile
    raise ValueError(f"profile {table.get('name', 'without a name')}: " + "; ".join(mistakes))


def _contradictions(profile: CertificateProfile) -> list[str]:
    """What no single key shows to be wrong."""
    signs_certificates = "keyCertSign" in profile.key_usage
    rules = (
        (profile.validity_seconds < 1, '"validity_seconds" has to be at least 1'),
        (
            profile.longest_validity_seconds < profile.validity_seconds,
            '"max_validity_seconds" is less than "validity_seconds"',
        ),
        (
            profile.backdate_seconds >= profile.validity_seconds,
            '"backdate_seconds" leaves nothing of "validity_seconds"',
        ),
        # RFC 5280 sections 4.2.1.3 and 4.2.1.9.
        (profile.ca != signs_certificates, '"ca" and the key usage keyCertSign go together'),
        (profile.path_length is not None and not profile.ca, '"path_length" is for CA certificates only'),
        (not profile.key_types, '"key_types" is empty'),
        # RFC 7633: the server has to staple an answer, and without an address there is nobody to get it from.
        (profile.must_staple and not profile.ocsp, '"must_staple" needs "ocsp"'),
    )
    return [sentence for wrong, sentence in rules if wrong]


def usable_key_usage(key_usage: tuple[str, ...], key_type: str) -> tuple[str, ...]:
    """The usages among these that a key of this type is able to serve."""
    possible = _USAGES_BY_KIND.get(key_type.split("-")[0], _SIGNATURE_USAGES)
    usable = tuple(usage for usage in key_usage if usage in possible)
    # encipherOnly and decipherOnly mean nothing without keyAgreement (RFC 5280 section 4.2.1.3).
    if "keyAgreement" not in usable:
        usable = tuple(usage for usage in usable if usage not in ("encipherOnly", "decipherOnly"))
    return usable
