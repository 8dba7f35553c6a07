"""A profile compiled for an issuer: the DER of every extension that all its certificates share.

What differs from certificate to certificate is spliced in by the template. The extensions are encoded by
`cryptography`, once, and read back before they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca_core import der, oids
from ca_core.algorithms import SignatureAlgorithm
from ca_core.problems import BadPublicKey
from ca_core.profile import EXTENDED_KEY_USAGES, KEY_USAGES, CertificateProfile, usable_key_usage


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What the certificates of an issuer have in common: name, key identifier, algorithm, addresses."""

    name_der: bytes
    """The issuer's subject, byte for byte as in its certificate (RFC 5280 section 4.1.2.4)."""
    key_id: bytes
    algorithm: SignatureAlgorithm
    not_before: datetime
    not_after: datetime
    crl_url: Callable[[int], str]
    ocsp_url: str
    ca_url: str


class CompiledProfile:
    """A profile for one issuer, with the DER of every extension that all its certificates share.

    Built by `compile_profile`, which has compared it with what `cryptography` reads back.
    """

    def __init__(self, profile: CertificateProfile, facts: IssuerFacts) -> None:
        self.profile = profile
        self.facts = facts
        # For every key type that the profile accepts, now, so that nothing is left to fail later.
        self._shared = {
            key_type: _encode(shared_extensions(profile, facts, key_type)) for key_type in profile.key_types
        }
        self._distribution: dict[int, bytes] = {}

    def extensions(self, key_type: str) -> bytes:
        """The shared extensions, encoded, of a certificate for such a key. Raises BadPublicKey."""
        shared = self._shared.get(key_type)
        if shared is None:
            accepted = ", ".join(self.profile.key_types)
            raise BadPublicKey(
                f"a key of type {key_type} is not accepted for {self.profile.name} certificates; "
                f"accepted are {accepted}",
                key_types=self.profile.key_types,
            )
        return shared

    def crl_distribution(self, shard: int) -> bytes:
        """The cRLDistributionPoints extension for a shard, encoded; nothing when the profile has none."""
        encoded = self._distribution.get(shard)
        if encoded is None:
            points = _distribution_points(self.facts.crl_url(shard))
            encoded = _encode(((points, False),)) if self.profile.crl_distribution else b""
            self._distribution[shard] = encoded
        return encoded


_Extensions = tuple[tuple[x509.ExtensionType, bool], ...]


def _encode(extensions: _Extensions) -> bytes:
    return b"".join(
        der.extension(value.oid.dotted_string, value.public_bytes(), critical=critical)
        for value, critical in extensions
    )


def _distribution_points(url: str) -> x509.CRLDistributionPoints:
    name = x509.UniformResourceIdentifier(url)
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])


def _key_usage(usages: tuple[str, ...]) -> x509.KeyUsage:
    bits = [usage in usages for usage in KEY_USAGES]
    return x509.KeyUsage(*bits)


def shared_extensions(profile: CertificateProfile, facts: IssuerFacts, key_type: str) -> _Extensions:
    """The extensions that do not depend on the request, as `cryptography` values with their criticality.

    Raises ValueError when the profile has key usages and a key of this type can serve none of them.
    """
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.AuthorityKeyIdentifier(facts.key_id, None, None), False)]
    if profile.key_usage:
        usages = usable_key_usage(profile.key_usage, key_type)
        if not usages:
            raise ValueError(f"profile {profile.name}: a key of type {key_type} can serve no usage of the profile")
        extensions.append((_key_usage(usages), True))
    if profile.extended_key_usage:
        dotted = (EXTENDED_KEY_USAGES.get(usage, usage) for usage in profile.extended_key_usage)
        extensions.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in dotted]), False))
    # Critical in every certificate: RFC 5280 section 4.2.1.9 demands it for a CA and allows it for the
    # others.
    extensions.append((x509.BasicConstraints(profile.ca, profile.path_length), True))
    if profile.policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in profile.policies]
        extensions.append((x509.CertificatePolicies(policies), False))
    extensions += _access(profile, facts)
    if profile.must_staple:
        extensions.append((x509.TLSFeature([x509.TLSFeatureType.status_request]), False))
    if profile.ocsp_nocheck:
        extensions.append((x509.OCSPNoCheck(), False))
    return tuple(extensions)


def _access(profile: CertificateProfile, facts: IssuerFacts) -> list[tuple[x509.ExtensionType, bool]]:
    wanted = (
        (profile.ocsp, oids.ACCESS_OCSP, facts.ocsp_url),
        (profile.ca_issuers, oids.ACCESS_CA_ISSUERS, facts.ca_url),
    )
    descriptions = [
        x509.AccessDescription(x509.ObjectIdentifier(method), x509.UniformResourceIdentifier(url))
        for on, method, url in wanted
        if on
    ]
    return [(x509.AuthorityInformationAccess(descriptions), False)] if descriptions else []


def compile_profile(profile: CertificateProfile, issuer_facts: IssuerFacts) -> CompiledProfile:
    """Compile a profile for an issuer, and check the outcome on a sample certificate of each key type.

    Raises ValueError when the profile cannot work for this issuer, such as a usage that no accepted key
    serves.
    """
    compiled = CompiledProfile(profile, issuer_facts)
    for key_type in profile.key_types:
        sample = _sample(compiled.extensions(key_type) + compiled.crl_distribution(0), issuer_facts)
        expected = list(shared_extensions(profile, issuer_facts, key_type))
        if profile.crl_distribution:
            expected.append((_distribution_points(issuer_facts.crl_url(0)), False))
        found = [(extension.value, extension.critical) for extension in sample.extensions]
        if found != expected or sample.issuer.public_bytes() != issuer_facts.name_der:
            raise ValueError(f"profile {profile.name}: the compiled extensions do not read back as they were meant")
    return compiled


# Any well-formed key does: a sample is parsed, never verified.
_SAMPLE_SPKI = bytes.fromhex("302a300506032b6570032100") + bytes(32)


def _sample(extensions: bytes, facts: IssuerFacts) -> x509.Certificate:
    algorithm = facts.algorithm.identifier_der
    tbs = der.sequence(
        b"\xa0\x03\x02\x01\x02",
        der.integer(1),
        algorithm,
        facts.name_der,
        der.sequence(der.time(facts.not_before), der.time(facts.not_after)),
        der.sequence(),
        _SAMPLE_SPKI,
        der.tlv(0xA3, der.sequence(extensions)),
    )
    return x509.load_der_x509_certificate(der.sequence(tbs, algorithm, der.bit_string(bytes(64))))
