"""Make a CA: root and issuing keys and their certificates, and the certificates of the service itself.

Each step gives a transcript for the record. Private keys stay in the key store that made them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509

from ca_core import der
from ca_core.algorithms import KEY_TYPES, SignatureAlgorithm
from ca_core.authority import check_lints, new_serial
from ca_core.clock import Clock
from ca_core.compiled import IssuerFacts, compile_profile
from ca_core.issuance import IssuanceRequest, IssuedCertificate
from ca_core.issuer import Issuer
from ca_core.keys import KeyStore, Signer, key_identifier
from ca_core.ledger import serial_hex
from ca_core.names import Identifier, Subject, read_subject, subject_text, write_subject
from ca_core.profile import DAY_SECONDS, CertificateProfile
from ca_core.template import settle, to_be_signed

Transcript = dict[str, str]
"""What was done, in words and hashes: action, subject, serial, validity, SHA-256 of key and certificate."""

ROOT_PROFILE: Final = CertificateProfile(
    name="root",
    subject_attributes=(),
    common_name="keep",
    name_types=(),
    key_types=tuple(KEY_TYPES),
    key_usage=("keyCertSign", "cRLSign"),
    extended_key_usage=(),
    ca=True,
    backdate_seconds=0,
    crl_distribution=False,
    ocsp=False,
    ca_issuers=False,
)
"""A trust anchor: nothing about revocation, as there is nobody above it who could revoke it."""

ISSUING_PROFILE: Final = replace(ROOT_PROFILE, name="issuing", path_length=0, ca_issuers=True)
"""A CA for end entities only: no CA below it (RFC 5280 section 4.2.1.9)."""

OCSP_RESPONDER_PROFILE: Final = CertificateProfile(
    name="ocsp-responder",
    common_name="keep",
    name_types=(),
    key_types=ROOT_PROFILE.key_types,
    extended_key_usage=("OCSPSigning",),
    validity_seconds=30 * DAY_SECONDS,
    max_validity_seconds=90 * DAY_SECONDS,
    ocsp_nocheck=True,
    crl_distribution=False,
    ocsp=False,
)
"""A delegated responder (RFC 6960 section 4.2.2.2). Nobody looks up its revocation, so its life is short."""

SERVICE_TLS_PROFILE: Final = CertificateProfile(
    name="service-tls",
    name_types=("dns", "ip"),
    key_types=ROOT_PROFILE.key_types,
    key_usage=("digitalSignature", "keyEncipherment"),
    extended_key_usage=("serverAuth", "cmcRA"),
)
"""The TLS certificate of the service itself. By id-kp-cmcRA EST clients know the server that speaks for its CA
(RFC 7030 section 3.6.1); as a client certificate it belongs to no credential and proves nothing."""

CMC_SIGNER_PROFILE: Final = CertificateProfile(
    name="cmc-signer",
    common_name="keep",
    name_types=(),
    key_types=ROOT_PROFILE.key_types,
    extended_key_usage=("cmcCA", "cmKGA"),
)
"""Signs CMC answers for the CA (RFC 6402 section 2.10) and the keys that were made for clients, so that the CA's own
key signs certificates and nothing else."""

CMP_SIGNER_PROFILE: Final = replace(
    CMC_SIGNER_PROFILE, name="cmp-signer", extended_key_usage=("cmcCA", "cmcRA", "cmKGA")
)
"""Speaks for the CA in CMP, so that its own key signs certificates and nothing else (RFC 9810 section 8.6)."""
SCEP_RA_PROFILE: Final = CertificateProfile(
    name="scep-ra",
    common_name="keep",
    name_types=(),
    key_types=("rsa-2048", "rsa-3072", "rsa-4096"),
    key_usage=("digitalSignature", "keyEncipherment"),
    extended_key_usage=(),
    validity_seconds=365 * DAY_SECONDS,
    max_validity_seconds=365 * DAY_SECONDS,
)
"""Decrypts and answers SCEP messages for a CA (RFC 8894 section 2.1.2), so that the CA's own key does neither."""


@dataclass(frozen=True, slots=True)
class CreatedCA:
    """A CA certificate, its key, and the record of how they were made."""

    certificate_der: bytes
    signer: Signer
    transcript: Transcript


async def create_root(
    keystore: KeyStore,
    label: str,
    subject: Subject,
    key_type: str,
    validity: timedelta,
    clock: Clock,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> CreatedCA:
    """Make a root key and its self-signed certificate. Raises KeyExists, BadCSR for the subject."""
    signer = await keystore.create(label, key_type)
    now = clock()
    not_after = now + validity - timedelta(seconds=1)
    profile = replace(ROOT_PROFILE, fixed_subject=subject, validity_seconds=int(validity.total_seconds()))
    facts = _own_facts(signer, subject, now, not_after)
    request = IssuanceRequest(label, profile, signer.spki, key_type, (), ())
    issued = await _certify(request, facts, signer, None, now, random)
    return CreatedCA(issued.der, signer, _transcript("create root", issued, facts.name_der, signer.algorithm))


async def create_issuing(
    keystore: KeyStore,
    label: str,
    subject: Subject,
    key_type: str,
    validity: timedelta,
    clock: Clock,
    root: Issuer,
    *,
    crl: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> CreatedCA:
    """Make an issuing key and have the root certify it, with path length 0. Raises KeyExists, BadCSR.

    `crl` names the root's CRL in the certificate, for installations that publish one. The validity ends with
    that of the root.
    """
    signer = await keystore.create(label, key_type)
    return await certify_issuing(signer, subject, validity, clock, root, crl=crl, random=random)


async def certify_issuing(
    signer: Signer,
    subject: Subject,
    validity: timedelta,
    clock: Clock,
    root: Issuer,
    *,
    crl: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> CreatedCA:
    """Have a root certify an issuing key that exists: to renew its certificate, or to cross-sign it."""
    profile = replace(
        ISSUING_PROFILE,
        fixed_subject=subject,
        validity_seconds=int(validity.total_seconds()),
        crl_distribution=crl,
    )
    request = IssuanceRequest(root.name, profile, signer.spki, signer.key_type, (), ())
    issued = await _certify(request, root.facts, root.signer, root, clock(), random)
    transcript = _transcript("certify issuing CA", issued, root.facts.name_der, root.signer.algorithm)
    return CreatedCA(issued.der, signer, transcript)


async def cross_certify(
    issuer: Issuer,
    clock: Clock,
    root: Issuer,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> CreatedCA:
    """Have another root certify name and key of a CA, for as long as both last and with the CA's path length.

    Of a root and its successor these are OldWithNew and NewWithOld (RFC 4210 section 4.4).
    """
    remaining = min(issuer.not_after, root.not_after) - clock() + timedelta(seconds=1)
    constraints = issuer.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    profile = replace(
        ISSUING_PROFILE,
        name="cross",
        path_length=constraints.path_length,
        fixed_subject=read_subject(issuer.certificate.subject),
        validity_seconds=int(remaining.total_seconds()),
        crl_distribution=True,
    )
    request = IssuanceRequest(root.name, profile, issuer.signer.spki, issuer.signer.key_type, (), ())
    issued = await _certify(request, root.facts, root.signer, root, clock(), random)
    transcript = _transcript("cross-certify CA", issued, root.facts.name_der, root.signer.algorithm)
    return CreatedCA(issued.der, issuer.signer, transcript)


async def issue_service_certificate(
    issuer: Issuer,
    profile: CertificateProfile,
    signer_spki: bytes,
    key_type: str,
    subject: Subject,
    names: tuple[Identifier, ...],
    clock: Clock,
    validity: timedelta | None = None,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> IssuedCertificate:
    """Issue a certificate to the service itself, outside the order model: no product, no decision, order "".

    The caller records it with `CertificateAuthority.record`, so that it shows in inventory and can be
    revoked.
    """
    now = clock()
    not_after = None
    if validity is not None:
        start = max(now - timedelta(seconds=profile.backdate_seconds), issuer.not_before)
        not_after = start + validity - timedelta(seconds=1)
    request = IssuanceRequest(issuer.name, profile, signer_spki, key_type, subject, names, not_after=not_after)
    return await _certify(request, issuer.facts, issuer.signer, issuer, now, random)


async def create_responder(
    issuer: Issuer,
    signer: Signer,
    clock: Clock,
    validity: timedelta = timedelta(days=30),
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> IssuedCertificate:
    """Issue the certificate of an OCSP responder key, for 90 days at most (else BadCSR)."""
    subject = (("CN", f"OCSP responder {key_identifier(signer.spki).hex()[:8]}"),)
    return await issue_service_certificate(
        issuer,
        OCSP_RESPONDER_PROFILE,
        signer.spki,
        signer.key_type,
        subject,
        (),
        clock,
        validity,
        random=random,
    )


def _own_facts(signer: Signer, subject: Subject, not_before: datetime, not_after: datetime) -> IssuerFacts:
    """What a root says of its issuer, which is itself. Its profile uses no address."""
    return IssuerFacts(
        name_der=write_subject(subject),
        key_id=key_identifier(signer.spki),
        algorithm=signer.algorithm,
        not_before=not_before,
        not_after=not_after,
        crl_url=lambda shard: "",
        ocsp_url="",
        ca_url="",
    )


async def _certify(
    request: IssuanceRequest,
    facts: IssuerFacts,
    signer: Signer,
    issuer: Issuer | None,
    now: datetime,
    random: Callable[[int], bytes],
) -> IssuedCertificate:
    """Template, lint, signature, as ever, but without a ledger. `issuer` is None for a root."""
    settled = settle(request, facts, now)
    serial = new_serial(settled.not_after, int(now.timestamp() * 1000), random)
    shard = issuer.shard_of(serial) if issuer is not None else 0
    tbs = to_be_signed(
        compile_profile(request.profile, facts),
        settled,
        spki=request.spki,
        key_type=request.key_type,
        serial=serial,
        shard=shard,
    )
    check_lints(tbs, issuer, request.profile.lint_sets)
    signature = await signer.sign(tbs)
    if issuer is not None:
        issuer.verify(signature, tbs)
    return IssuedCertificate(
        order="",
        issuer_id=facts.key_id.hex(),
        issuer=request.issuer,
        serial=serial,
        der=der.sequence(tbs, signer.algorithm.identifier_der, der.bit_string(signature)),
        not_before=settled.not_before,
        not_after=settled.not_after,
        shard=shard,
        profile_name=request.profile.name,
        profile_version=request.profile.version,
        spki=request.spki,
        subject=settled.subject,
        names=settled.names,
    )


def _transcript(
    action: str, issued: IssuedCertificate, issuer_name_der: bytes, algorithm: SignatureAlgorithm
) -> Transcript:
    return {
        "action": action,
        "subject": subject_text(issued.subject),
        "serial": serial_hex(issued.serial),
        "not_before": issued.not_before.isoformat(),
        "not_after": issued.not_after.isoformat(),
        "signature_algorithm": algorithm.name,
        "issuer_name_sha256": sha256(issuer_name_der).hexdigest(),
        "issuer_key_id": issued.issuer_id,
        "spki_sha256": sha256(issued.spki).hexdigest(),
        "certificate_sha256": sha256(issued.der).hexdigest(),
    }
