"""Issuer: a CA certificate, the key that belongs to it, and the addresses that its certificates name.

An issuer is a key: its identifier, its CRL shards and its addresses all hang on the key. A CA that rolls
its key has two issuers for a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_core.algorithms import verify
from ca_core.compiled import CompiledProfile, IssuerFacts, compile_profile
from ca_core.crl import crl_to_sign, finish_crl
from ca_core.keys import Signer
from ca_core.ledger import PublishedCRL, RevokedEntry
from ca_core.profile import CertificateProfile

# Profiles in force at one time are few; old versions linger while orders that pin them are open.
_MAX_COMPILED: Final = 256
_MAX_SHARDS: Final = 1 << 16


class SignatureMismatch(RuntimeError):
    """What was signed does not verify under the CA certificate: a broken key, or the wrong one."""


class Issuer:
    """A CA certificate with its Signer.

    `chain` (and `chain_der`) begins with the CA certificate itself and leaves the root out; `root_der` is
    the root, which may be the CA certificate itself, or nothing when it is not known here. `id` is the
    subject key identifier in hex. `shards` is fixed for the life of the key, as certificates carry their
    shard's URL.
    """

    def __init__(
        self,
        name: str,
        certificate_der: bytes,
        signer: Signer,
        *,
        status_url: str,
        intermediates_der: tuple[bytes, ...] = (),
        root_der: bytes | None = None,
        shards: int = 1,
        alternates_der: tuple[tuple[bytes, ...], ...] = (),
    ) -> None:
        """`intermediates_der` are the certificates between this one and the root. Raises ValueError.

        `alternates_der` are further chains, without their roots: each begins with a certificate of this very name
        and key, this one or one that another CA made (cross-certified).

        `status_url` is where CRL, OCSP and CA certificates are served, http and without a slash at its end.
        """
        self.name = name
        self.certificate_der = certificate_der
        self.certificate = x509.load_der_x509_certificate(certificate_der)
        self.root_der = root_der
        self.signer = signer
        self.status_url = status_url
        self.shards = shards
        own_root = root_der == certificate_der
        self.chain_der = intermediates_der if own_root else (certificate_der, *intermediates_der)
        self.chain = tuple(x509.load_der_x509_certificate(der) for der in self.chain_der)
        self._check_values()
        self._check_certificate()
        self._check_chain()
        self.alternates_der = alternates_der
        for chain in alternates_der:
            self._check_alternate(tuple(x509.load_der_x509_certificate(der) for der in chain))
        key_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        self.id = key_id.hex()
        self.not_before = self.certificate.not_valid_before_utc
        self.not_after = self.certificate.not_valid_after_utc
        self.facts = self._facts(key_id)
        self._public_key = self.certificate.public_key()
        self._compiled: dict[tuple[str, int], CompiledProfile] = {}

    def __repr__(self) -> str:
        return f"<issuer {self.name} {self.id}>"

    @property
    def ocsp_url(self) -> str:
        """Where OCSP requests for certificates of this issuer go; all issuers share it."""
        return f"{self.status_url}/ocsp"

    @property
    def ca_url(self) -> str:
        """Where this CA certificate can be fetched (id-ad-caIssuers)."""
        return f"{self.status_url}/ca/{self.id}.cer"

    def crl_url(self, shard: int) -> str:
        """Where the CRL of a shard is published, byte for byte as certificates and CRL say it."""
        return f"{self.status_url}/crl/{self.id}/{shard}.crl"

    def shard_of(self, serial: int) -> int:
        """The shard of a new certificate: its last random octets decide, so that shards fill evenly."""
        return (serial & 0xFFFFFFFF) % self.shards

    def compiled(self, profile: CertificateProfile) -> CompiledProfile:
        """The profile compiled for this issuer, kept for the next certificate. Raises ValueError."""
        key = (profile.name, profile.version)
        known = self._compiled.get(key)
        # The first comparison is what nearly always answers; the second notices a changed profile whose
        # version was not counted up, which must not be served from here.
        if known is not None and (known.profile is profile or known.profile == profile):
            return known
        made = compile_profile(profile, self.facts)
        if len(self._compiled) >= _MAX_COMPILED:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[key] = made
        return made

    def verify(self, signature: bytes, data: bytes) -> None:
        """Verify a signature of this issuer. Raises SignatureMismatch."""
        try:
            # RSA, EC, Ed and ML-DSA keys sign; _check_certificate has refused every other kind.
            verify(self._public_key, self.signer.algorithm, signature, data)
        except InvalidSignature as exc:
            raise SignatureMismatch(f"a signature of issuer {self.name} does not verify") from exc

    async def sign_crl(
        self,
        shard: int,
        number: int,
        this_update: datetime,
        next_update: datetime,
        entries: tuple[RevokedEntry | bytes, ...],
        *,
        ca_certificates: bool = False,
    ) -> PublishedCRL:
        """Build, sign and verify the CRL of a shard. Raises ValueError for an impossible shard or number."""
        if not 0 <= shard < self.shards:
            raise ValueError(f"issuer {self.name} has shards 0 to {self.shards - 1}, not {shard}")
        # In a thread: a hundred thousand entries that are not encoded yet take a quarter of a second.
        tbs = await asyncio.to_thread(
            crl_to_sign,
            self,
            shard,
            number,
            this_update,
            next_update,
            entries,
            ca_certificates=ca_certificates,
        )
        signature = await self.signer.sign(tbs)
        self.verify(signature, tbs)
        crl_der = finish_crl(tbs, self.signer.algorithm, signature)
        return PublishedCRL(self.id, shard, number, crl_der, this_update, next_update)

    def _facts(self, key_id: bytes) -> IssuerFacts:
        return IssuerFacts(
            name_der=self.certificate.subject.public_bytes(),
            key_id=key_id,
            algorithm=self.signer.algorithm,
            not_before=self.not_before,
            not_after=self.not_after,
            crl_url=self.crl_url,
            ocsp_url=self.ocsp_url,
            ca_url=self.ca_url,
        )

    def _check_values(self) -> None:
        url = urlsplit(self.status_url)
        # Not https: whoever checks the certificate of that very server would go round in circles
        # (RFC 5280 section 8).
        if url.scheme != "http" or not url.netloc or self.status_url.endswith("/") or url.query or url.fragment:
            raise ValueError(
                f'"{self.status_url}" is not a plain http URL without query and without a slash at its end'
            )
        if not self.status_url.isascii():
            raise ValueError(f'"{self.status_url}" has characters beyond ASCII')
        if not 1 <= self.shards <= _MAX_SHARDS:
            raise ValueError(f"a count of {self.shards} CRL shards is not between 1 and {_MAX_SHARDS}")

    def _check_certificate(self) -> None:
        extensions = self.certificate.extensions
        try:
            ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            usage = extensions.get_extension_for_class(x509.KeyUsage).value
            extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound as exc:
            raise ValueError(
                f"the certificate of issuer {self.name} lacks basicConstraints, keyUsage or a key identifier"
            ) from exc
        if not (ca and usage.key_cert_sign and usage.crl_sign):
            raise ValueError(f"the certificate of issuer {self.name} is not one of a CA that signs CRLs")
        if _spki(self.certificate) != self.signer.spki:
            raise ValueError(f"the key of issuer {self.name} does not belong to its certificate")

    def _check_alternate(self, chain: tuple[x509.Certificate, ...]) -> None:
        """What ends in this issuer under another root is its own name and key, else nobody could verify with it."""
        own = self.certificate
        if not chain or chain[0].subject != own.subject or _spki(chain[0]) != _spki(own):
            raise ValueError(f"a chain of issuer {self.name} does not begin with a certificate of its name and key")
        self._check_links(chain)

    def _check_chain(self) -> None:
        certificates = [self.certificate, *self.chain[1:]]
        if self.root_der is not None and self.root_der != self.certificate_der:
            certificates.append(x509.load_der_x509_certificate(self.root_der))
        self._check_links(certificates)

    def _check_links(self, certificates: Sequence[x509.Certificate]) -> None:
        for child, parent in pairwise(certificates):
            try:
                child.verify_directly_issued_by(parent)
            except (ValueError, TypeError, InvalidSignature) as exc:
                raise ValueError(
                    f"in the chain of issuer {self.name}, {child.subject.rfc4514_string()} "
                    f"was not issued by {parent.subject.rfc4514_string()}"
                ) from exc


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
