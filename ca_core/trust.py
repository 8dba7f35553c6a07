"""Trust anchors and path validation of client and signer certificates (RFC 5280 section 6).

Certificates of devices and of other people's CAs rarely follow the profile of the web, so the path is built
and checked here, by the rules of RFC 5280 and no others: signature, time, name chaining, basicConstraints,
keyUsage, name constraints, critical extensions. Certificate policies are not evaluated; revocation is left to
the caller.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ca_core import algorithms, oids
from ca_core.problems import BadPublicKey

MAX_CHAIN = 16
"""Certificates that a client may send besides its own. Real chains have at most four."""
_MAX_DEPTH = 8
_MAX_SIGNATURES = 64  # all that one validation verifies: cross-certified mazes must not cost seconds
_MIN_RSA_BITS = 2048
_TIME = "%Y-%m-%d %H:%M:%SZ"

# Critical extensions that are evaluated below or that cannot change the outcome when no policy is required
# (RFC 5280 sections 4.2 and 6.1.1). policyConstraints is left out: it could require one.
_KNOWN_CRITICAL = frozenset(
    {
        oids.BASIC_CONSTRAINTS,
        oids.KEY_USAGE,
        oids.EXTENDED_KEY_USAGE,
        oids.NAME_CONSTRAINTS,
        oids.SUBJECT_ALT_NAME,
        oids.ISSUER_ALT_NAME,
        oids.CERTIFICATE_POLICIES,
        oids.INHIBIT_ANY_POLICY,
        oids.CRL_DISTRIBUTION_POINTS,
    }
)


class PathError(ValueError):
    """No valid path leads from the certificate to a trust anchor; the message is safe to show."""


class TrustAnchors:
    """Certificates that are trusted as such: roots, or intermediates of which not more is wanted."""

    def __init__(self, anchors: Iterable[x509.Certificate]) -> None:
        """Raises PathError for an anchor that could never end a path: not readable, or a weak key."""
        self._anchors = tuple(anchors)
        self._by_subject: dict[bytes, list[_Certificate]] = {}
        for anchor in self._anchors:
            facts = _Certificate(anchor)
            self._by_subject.setdefault(facts.subject, []).append(facts)

    def __len__(self) -> int:
        return len(self._anchors)

    def __iter__(self) -> Iterator[x509.Certificate]:
        return iter(self._anchors)

    def validate(
        self, leaf_der: bytes, chain: tuple[bytes, ...], at: datetime, *, eku: str | None = None
    ) -> tuple[x509.Certificate, ...]:
        """Validate a certificate at a time and return its path, the leaf first and the anchor last.

        `chain` is what the client sent along: in any order, with surplus, trusted in nothing. With `eku` the
        leaf must name this extended key usage, and CA certificates that are limited to some must allow it. A
        leaf that is an anchor itself is its own path. Raises PathError.
        """
        if len(chain) > MAX_CHAIN:
            raise PathError(f"the chain has {len(chain)} certificates; the limit is {MAX_CHAIN}")
        leaf = _Certificate(_load(leaf_der))
        leaf.check_time(at)
        leaf.check_critical()
        leaf.check_leaf_usage(eku)
        search = _Search(self._by_subject, [_Certificate(_load(der)) for der in chain], at, eku)
        if any(anchor.der == leaf.der for anchor in self._by_subject.get(leaf.subject, ())):
            return (leaf.certificate,)
        path = search.extend([leaf])
        if path is None:
            raise PathError(search.reason or "no trust anchor is the issuer of the certificate or its chain")
        return tuple(facts.certificate for facts in path)


def same_certificate(a: x509.Certificate, b: x509.Certificate) -> bool:
    """Whether two certificates are the same bytes: same issuer and serial number prove nothing (RFC 5280)."""
    return a.public_bytes(serialization.Encoding.DER) == b.public_bytes(serialization.Encoding.DER)


def _load(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion, UserWarning) as exc:  # deprecations, where warnings are errors
        raise PathError("a certificate cannot be read") from exc
    if certificate.serial_number <= 0:
        raise PathError("a certificate has a serial number that is not positive (RFC 5280 section 4.1.2.2)")
    return certificate


class _Certificate:
    """A certificate and what validation asks of it. Raises PathError when it cannot be understood."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self.certificate = certificate
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        try:
            self.subject = certificate.subject.public_bytes()
            self.issuer = certificate.issuer.public_bytes()
            self.extensions = {item.oid.dotted_string: item for item in certificate.extensions}
            self.not_before = certificate.not_valid_before_utc
            self.not_after = certificate.not_valid_after_utc
            self.public_key = certificate.public_key()
            self.shown = certificate.subject.rfc4514_string()[:200]
            self._check_key()
        except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as exc:
            raise PathError("a certificate has a content that cannot be read") from exc
        except (UnsupportedAlgorithm, BadPublicKey) as exc:
            raise PathError("a certificate has a public key of a kind that is not accepted") from exc

    @property
    def self_issued(self) -> bool:
        return self.subject == self.issuer

    def value(self, oid: str) -> x509.ExtensionType | None:
        found = self.extensions.get(oid)
        return None if found is None else found.value

    def _check_key(self) -> None:
        algorithms.key_type(self.public_key)
        if isinstance(self.public_key, rsa.RSAPublicKey) and self.public_key.key_size < _MIN_RSA_BITS:
            raise BadPublicKey(f"an RSA key has less than {_MIN_RSA_BITS} bits")

    def check_time(self, at: datetime) -> None:
        if at < self.not_before:
            raise PathError(f'the certificate of "{self.shown}" is not valid before {self.not_before:{_TIME}}')
        if at > self.not_after:
            raise PathError(f'the certificate of "{self.shown}" expired at {self.not_after:{_TIME}}')

    def check_critical(self) -> None:
        for oid, extension in self.extensions.items():
            if extension.critical and oid not in _KNOWN_CRITICAL:
                raise PathError(f'the certificate of "{self.shown}" has the unknown critical extension {oid}')

    def check_leaf_usage(self, eku: str | None) -> None:
        usage = self.value(oids.KEY_USAGE)
        if isinstance(usage, x509.KeyUsage) and not (usage.digital_signature or usage.content_commitment):
            raise PathError(f'the key usage of "{self.shown}" does not allow signatures')
        if eku is not None and eku not in self._purposes():
            raise PathError(f'the certificate of "{self.shown}" does not have the extended key usage {eku}')

    def _purposes(self) -> frozenset[str]:
        usage = self.value(oids.EXTENDED_KEY_USAGE)
        if not isinstance(usage, x509.ExtendedKeyUsage):
            return frozenset()
        return frozenset(oid.dotted_string for oid in usage)

    def check_authority(self, below: int, eku: str | None) -> None:
        """May this certificate issue, with so many intermediates below it (RFC 5280 section 6.1.4 k to n)?"""
        constraints = self.value(oids.BASIC_CONSTRAINTS)
        if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
            raise PathError(f'"{self.shown}" is not a CA certificate')
        if constraints.path_length is not None and below > constraints.path_length:
            raise PathError(f'the path below "{self.shown}" is longer than its path length constraint allows')
        usage = self.value(oids.KEY_USAGE)
        if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
            raise PathError(f'the key usage of "{self.shown}" does not allow to sign certificates')
        purposes = self._purposes()
        if eku is not None and purposes and not purposes & {eku, oids.EKU_ANY}:
            raise PathError(f'the extended key usage of "{self.shown}" does not allow {eku}')

    def check_issued(self, child: _Certificate) -> None:
        """Is the signature of that certificate ours? With SHA-1 or MD5 it could be anybody's."""
        try:
            if not isinstance(child.certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
                child.certificate.verify_directly_issued_by(self.certificate)
                return
        except InvalidSignature as exc:
            raise PathError(f'the certificate of "{child.shown}" is not signed by "{self.shown}"') from exc
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise PathError(f'the signature of "{child.shown}" cannot be verified') from exc
        raise PathError(f'the certificate of "{child.shown}" is signed with a broken hash function')

    def could_have_issued(self, child: _Certificate) -> bool:
        """Key identifiers are hints that save signature checks (RFC 5280 section 4.2.1.1); no proof."""
        mine, wanted = self.value(oids.SUBJECT_KEY_IDENTIFIER), child.value(oids.AUTHORITY_KEY_IDENTIFIER)
        if isinstance(mine, x509.SubjectKeyIdentifier) and isinstance(wanted, x509.AuthorityKeyIdentifier):
            return wanted.key_identifier is None or wanted.key_identifier == mine.digest
        return True


class _Search:
    """Depth first from leaf to anchor. Remembers the first reason why a promising path failed."""

    def __init__(
        self,
        anchors: dict[bytes, list[_Certificate]],
        chain: list[_Certificate],
        at: datetime,
        eku: str | None,
    ) -> None:
        self._anchors, self._chain, self._at, self._eku = anchors, chain, at, eku
        self._signatures = 0
        self.reason: str | None = None

    def extend(self, path: list[_Certificate]) -> list[_Certificate] | None:
        """Complete a path that was checked so far; nothing when no issuer leads to an anchor."""
        child = path[-1]
        for issuer in self._anchors.get(child.issuer, ()):
            if self._accepts(issuer, path):
                return [*path, issuer]
        if len(path) >= _MAX_DEPTH:
            return None
        for issuer in self._chain:
            fresh = issuer.subject == child.issuer and all(issuer.der != seen.der for seen in path)
            if fresh and self._accepts(issuer, path):
                found = self.extend([*path, issuer])
                if found is not None:
                    return found
        return None

    def _accepts(self, issuer: _Certificate, path: list[_Certificate]) -> bool:
        if not issuer.could_have_issued(path[-1]):
            return False
        try:
            issuer.check_time(self._at)
            issuer.check_critical()
            issuer.check_authority(sum(not ca.self_issued for ca in path[1:]), self._eku)
            _check_name_constraints(issuer.value(oids.NAME_CONSTRAINTS), path)
            self._signatures += 1
            if self._signatures > _MAX_SIGNATURES:
                raise PathError("the chain offers too many paths")
            issuer.check_issued(path[-1])
        except PathError as exc:
            self.reason = self.reason or str(exc)
            return False
        return True


# --- name constraints (RFC 5280 section 4.2.1.10) ---------------------------------------------------------


def _check_name_constraints(constraints: x509.ExtensionType | None, path: list[_Certificate]) -> None:
    """Are all names below a CA within what it may name? Self-issued CAs are exempt (section 6.1.3 b)."""
    if not isinstance(constraints, x509.NameConstraints):
        return
    for depth, certificate in enumerate(path):
        if depth and certificate.self_issued:
            continue
        for name in _names(certificate):
            _check_name(name, constraints)


def _names(certificate: _Certificate) -> list[x509.GeneralName]:
    alternative = certificate.value(oids.SUBJECT_ALT_NAME)
    names = list(alternative) if isinstance(alternative, x509.SubjectAlternativeName) else []
    subject = certificate.certificate.subject
    if list(subject):
        names.append(x509.DirectoryName(subject))
    mailboxes = subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS)
    try:
        return names + [x509.RFC822Name(str(mailbox.value)) for mailbox in mailboxes]
    except ValueError as exc:
        raise PathError(f'the subject of "{certificate.shown}" has an e-mail address beyond ASCII') from exc


def _check_name(name: x509.GeneralName, constraints: x509.NameConstraints) -> None:
    permitted = [base for base in constraints.permitted_subtrees or () if type(base) is type(name)]
    excluded = [base for base in constraints.excluded_subtrees or () if type(base) is type(name)]
    if not permitted and not excluded:
        return
    within = _WITHIN.get(type(name))
    if within is None:
        raise PathError("a CA certificate constrains names of a kind that is not supported")
    if (permitted and not any(within(name.value, base.value) for base in permitted)) or any(
        within(name.value, base.value) or _covers(name, base.value) for base in excluded
    ):
        raise PathError("a name in the chain is outside the name constraints of a CA certificate above it")


def _covers(name: x509.GeneralName, base: object) -> bool:
    """Whether a wildcard stands for the excluded name as well."""
    if not isinstance(name, x509.DNSName) or not isinstance(base, str) or not name.value.startswith("*."):
        return False
    return base.lower().endswith(name.value[1:].lower())


def _host_within(host: str, base: str) -> bool:
    host, base = host.lower(), base.lower()
    return not base or host == base or host.endswith(base if base.startswith(".") else f".{base}")


def _exact_host_within(host: str, base: str) -> bool:
    """As URIs and mailboxes have it: a host, or with a leading dot all hosts below it."""
    host, base = host.lower(), base.lower()
    return host.endswith(base) if base.startswith(".") else host == base


def _mailbox_within(mailbox: str, base: str) -> bool:
    local, _, host = mailbox.rpartition("@")
    wanted_local, at, wanted_host = base.rpartition("@")
    return _exact_host_within(host, wanted_host) and (not at or local == wanted_local)


def _uri_within(uri: str, base: str) -> bool:
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    if host is None:
        raise PathError("a URI without a host cannot be compared with the name constraints of a CA certificate")
    return _exact_host_within(host, base)


def _address_within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    base: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    return address in base


def _relative_names(name: x509.Name) -> list[frozenset[tuple[str, str]]]:
    """The RDNs for comparison: case and surplus white space do not count (RFC 5280 section 7.1)."""
    return [
        frozenset((item.oid.dotted_string, " ".join(str(item.value).casefold().split())) for item in rdn)
        for rdn in name.rdns
    ]


def _directory_within(name: x509.Name, base: x509.Name) -> bool:
    wanted = _relative_names(base)
    return _relative_names(name)[: len(wanted)] == wanted


_WITHIN: dict[type[x509.GeneralName], Callable[[Any, Any], bool]] = {
    x509.DNSName: _host_within,
    x509.RFC822Name: _mailbox_within,
    x509.UniformResourceIdentifier: _uri_within,
    x509.IPAddress: _address_within,
    x509.DirectoryName: _directory_within,
}
