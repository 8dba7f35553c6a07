"""A to-be-signed certificate as the lints see it: parsed once, facts instead of structures."""

from __future__ import annotations

from cryptography import x509

from ca_core import oids
from ca_core.der import elements, integer, object_identifier, sequence, tlv
from ca_core.lints.common import Common, Extension, content, key_type_of, read_common
from ca_core.names import Identifier, Subject, read_general_names, read_subject
from ca_core.problems import BadCSR, RejectedIdentifier

_VERSION, _UNIQUE_IDS, _EXTENSIONS = 0xA0, (0x81, 0x82), 0xA3  # context tags in TBSCertificate
# Any BIT STRING makes a certificate that can be parsed (RFC 5280 section 4.1.1.3); this one never verifies.
_NO_SIGNATURE = tlv(0x03, b"\x00certgate lint: not a signature")
_OWN = {object_identifier(oid): oid for oid in (oids.SUBJECT_ALT_NAME, oids.SUBJECT_KEY_IDENTIFIER)}
"""The extensions that differ from certificate to certificate, by the DER of their OIDs, which are of one length."""
_OID_OCTETS = len(next(iter(_OWN)))


class LintSubject:
    """The facts of a to-be-signed certificate. Raises ValueError when it cannot be parsed.

    What it shares with the others of its profile is in `common`; what is here differs from one to the next.
    """

    def __init__(self, tbs: bytes, issuer: x509.Certificate | None = None) -> None:
        """`issuer` is the certificate of the CA that will sign; none for a root."""
        fields = elements(tbs)
        # `cryptography` judges the form; what is cut out below is known to be DER of the right shape.
        self.certificate = _wrapped(tbs, fields)
        self.serial_number = self.certificate.serial_number
        self.not_before = self.certificate.not_valid_before_utc
        self.not_after = self.certificate.not_valid_after_utc
        if fields[0][0] != _VERSION:
            fields = (b"", *fields)
        _, _, algorithm, self.issuer_der, validity, self.subject_der, self.spki = fields[:7]
        self.times = elements(validity)
        own: dict[str, Extension] = {}
        self.common: Common = read_common(
            self.certificate.version.value + 1,
            algorithm,
            self.issuer_der,
            issuer,
            key_type_of(self.spki),
            _extensions(fields[-1], own),
            any(field[0] in _UNIQUE_IDS for field in fields[7:]),
        )
        self.issuer = self.common.issuer
        self.is_ca = self.common.is_ca
        self.alternative = own.get(oids.SUBJECT_ALT_NAME)
        key_id = own.get(oids.SUBJECT_KEY_IDENTIFIER)
        self.subject_key_id = None if key_id is None else content(key_id.value)
        self.subject: Subject = ()
        self.subject_problem: str | None = None
        self.names: tuple[Identifier, ...] = ()
        self.unknown_names: tuple[str, ...] = ()
        self.names_problem: str | None = None
        self._read_names()

    def _read_names(self) -> None:
        try:
            self.subject = read_subject(self.subject_der)
        except BadCSR as problem:
            self.subject_problem = problem.detail
        if self.alternative is None:
            return
        try:
            self.names, self.unknown_names = read_general_names(self.alternative.value)
        except RejectedIdentifier as problem:
            self.names_problem = problem.detail

    @property
    def self_signed(self) -> bool:
        """Whether this is to be a root: no issuer was given and subject and issuer are the same name."""
        return self.issuer is None and self.subject_der == self.issuer_der


def _extensions(field: bytes, own: dict[str, Extension]) -> tuple[bytes | Extension, ...]:
    """The extensions: as they are where all certificates of a profile have the same; else read into `own`."""
    if field[0] != _EXTENSIONS:
        return ()
    found: list[bytes | Extension] = []
    for item in elements(elements(field, None)[0]):
        start = 2 if item[1] < 0x80 else 2 + (item[1] & 0x7F)
        oid = _OWN.get(item[start : start + _OID_OCTETS])
        if oid is None:
            found.append(item)
            continue
        parts = elements(item)
        own[oid] = Extension(oid, len(parts) == 3, content(parts[-1]))
        found.append(Extension(oid, len(parts) == 3, b""))
    return tuple(found)


def _wrapped(tbs: bytes, fields: tuple[bytes, ...]) -> x509.Certificate:
    """The to-be-signed bytes as a certificate under a static dummy signature. Raises ValueError."""
    try:
        serial_number, algorithm = fields[1:3] if fields[0][0] == _VERSION else fields[:2]
        # `cryptography` warns of these and will refuse them one day.
        if serial_number == integer(0) or serial_number[2] >= 0x80:
            raise ValueError("the serial number is not positive")
        return x509.load_der_x509_certificate(sequence(tbs, algorithm, _NO_SIGNATURE))
    except x509.InvalidVersion as exc:
        raise ValueError("the version is unknown") from exc
    except IndexError as exc:
        raise ValueError("fields are missing") from exc
    except UserWarning as exc:  # a deprecation of `cryptography`, where warnings are errors
        raise ValueError("the form is one that others refuse") from exc
