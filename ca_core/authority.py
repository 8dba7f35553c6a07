"""CertificateAuthority: prepare, reserve, sign and record certificates; revoke them.

The order of events is the safety of a CA: what is signed was linted, what was linted was judged, and the
intent was on disk before the key was used. Each step takes what only the step before it can have made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256

from cryptography import x509

from ca_core import der
from ca_core.clock import Clock
from ca_core.issuance import (
    Decision,
    IssuanceRequest,
    IssuanceToken,
    IssuedCertificate,
    Prepared,
    Receipt,
    TokenMisused,
)
from ca_core.issuer import Issuer
from ca_core.ledger import CertificateEvent, Issuance, IssuanceStage, Ledger, serial_hex
from ca_core.lints import Finding, Lint, LintSubject, Severity, run
from ca_core.lints.standard import CABF, RFC5280
from ca_core.problems import BadRevocationReason, Internal, Unavailable
from ca_core.profile import CertificateProfile
from ca_core.status import CertificateState, RevocationReason
from ca_core.template import settle, to_be_signed, validity

LINT_SETS: Mapping[str, tuple[Lint, ...]] = {"rfc5280": RFC5280, "cabf": CABF}
"""What a profile may name in `lint_sets`."""

_LIVE = (CertificateState.VALID, CertificateState.ON_HOLD)
# A certificate that was replaced, or that its CMP client has not confirmed, can still be stolen.
_REVOCABLE = (*_LIVE, CertificateState.UNCONFIRMED, CertificateState.SUPERSEDED)


def new_serial(not_after: datetime, now_ms: int, random: Callable[[int], bytes] = os.urandom) -> int:
    """A serial number of 20 octets: 0x40, month of notAfter (2), milliseconds (5), random (12).

    The first octet keeps it positive and the length constant (RFC 5280 section 4.1.2.2). The month names the
    partition of the store, the time keeps indexes local, and 96 random bits are more than the 64 that the
    Baseline Requirements ask for (section 7.1).
    """
    month = (not_after.year - 1970) * 12 + not_after.month - 1
    head = b"\x40" + month.to_bytes(2, "big") + (now_ms & 0xFFFFFFFFFF).to_bytes(5, "big")
    return int.from_bytes(head + random(12), "big")


@cache
def _lints(sets: tuple[str, ...]) -> tuple[Lint, ...]:
    """The lints of these sets in one tuple, so that a certificate is parsed once. Raises ValueError."""
    for name in sets:
        if name not in LINT_SETS:
            raise ValueError(f'"{name}" is not a set of lints; known are {", ".join(LINT_SETS)}')
    return tuple(item for name in sets for item in LINT_SETS[name])


def check_lints(tbs: bytes, issuer: Issuer | None, sets: tuple[str, ...]) -> tuple[LintSubject, tuple[Finding, ...]]:
    """Parse the to-be-signed bytes once and lint them; the parsed form and what was found.

    Raises Internal for an error: a template of ours made what must not be signed.
    """
    try:
        content = LintSubject(tbs, issuer.certificate if issuer is not None else None)
    except ValueError as fault:
        raise Internal("the to-be-signed certificate cannot be parsed") from fault
    findings = run(content, _lints(sets))
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise Internal(
            "the certificate would break a rule of its profile",
            findings=tuple(f"{finding.lint}: {finding.detail}" for finding in errors),
        )
    return content, findings


def _check_recorded(issuance: Issuance, issuer: Issuer) -> None:
    """Check to-be-signed bytes from a store. Raises Internal when they are not what this issuer may finish.

    Whoever can write into the store must not be able to have a CA certificate, or one in the name of another
    issuer, signed by a restart.
    """
    algorithm = issuer.signer.algorithm.identifier_der
    try:
        draft = x509.load_der_x509_certificate(der.sequence(issuance.tbs, algorithm, der.bit_string(b"")))
        extensions = draft.extensions
        authority_key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as exc:
        raise Internal(f"issuance {issuance.id} cannot be read back") from exc
    rules = (
        serial_hex(draft.serial_number) == issuance.id,
        draft.issuer.public_bytes() == issuer.facts.name_der,
        authority_key.key_identifier == issuer.facts.key_id,
        not constraints.ca,
    )
    if not all(rules):
        raise Internal(f"issuance {issuance.id} is not an end-entity certificate of {issuer.name}")


class CertificateAuthority:
    """The issuers of one installation, and the only place where a certificate gets its signature."""

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        clock: Clock,
        *,
        random: Callable[[int], bytes] = os.urandom,
        verify_signatures: bool = True,
    ) -> None:
        """`verify_signatures` checks each signature before it leaves: a faulty one can give the key away."""
        self.issuers = dict(issuers)
        self._by_id = {issuer.id: issuer for issuer in self.issuers.values()}
        if len(self._by_id) != len(self.issuers):
            raise ValueError("two issuers have the same key")
        self._clock = clock
        self._random = random
        self._verify_signatures = verify_signatures
        self._seal = object()

    def issuer(self, name: str) -> Issuer:
        """The issuer of this name. Raises Unavailable when it is not loaded (made after the server started)."""
        issuer = self.issuers.get(name)
        if issuer is None:
            raise Unavailable(f'the CA "{name}" is not in service', retry_after=300)
        return issuer

    def issuer_by_id(self, id: str) -> Issuer | None:
        """The issuer with this key identifier (hex), if it is one of ours."""
        return self._by_id.get(id)

    def check_profile(self, name: str, profile: CertificateProfile) -> None:
        """Find out at start what would fail at the first certificate. Raises ValueError, KeyError."""
        self.issuer(name).compiled(profile)
        _lints(profile.lint_sets)

    def check_validity(self, request: IssuanceRequest) -> None:
        """That the validity asked for can be granted exactly (RFC 8555 section 7.4). Raises BadCSR, Unavailable."""
        validity(request, self.issuer(request.issuer).facts, self._clock())

    # --- issuing ------------------------------------------------------------------------------------------

    def prepare(self, request: IssuanceRequest) -> Prepared:
        """Write the to-be-signed certificate and lint it.

        Raises BadCSR, BadPublicKey, RejectedIdentifier for what the client can mend, Internal when a lint
        stops it. Does not ask whether it may be issued.
        """
        issuer = self.issuer(request.issuer)
        profile = request.profile
        now = self._clock()
        compiled = issuer.compiled(profile)
        settled = settle(request, issuer.facts, now)
        serial = new_serial(settled.not_after, int(now.timestamp() * 1000), self._random)
        shard = issuer.shard_of(serial)
        tbs = to_be_signed(compiled, settled, spki=request.spki, key_type=request.key_type, serial=serial, shard=shard)
        read, findings = check_lints(tbs, issuer, profile.lint_sets)
        return Prepared(
            issuer_id=issuer.id,
            issuer=issuer.name,
            serial=serial,
            tbs=tbs,
            not_before=settled.not_before,
            not_after=settled.not_after,
            shard=shard,
            profile_name=profile.name,
            profile_version=profile.version,
            spki=request.spki,
            subject=settled.subject,
            names=settled.names,
            findings=findings,
            content=read,
        )

    def reserve(self, prepared: Prepared, decision: Decision, ledger: Ledger) -> IssuanceToken:
        """Append the intent to the ledger and give the right to sign it, once it is on disk.

        Raises TokenMisused when the decision is about other bytes than these.
        """
        if decision.tbs_digest != prepared.digest:
            raise TokenMisused(f"the decision for order {decision.order} is about another certificate")
        id = serial_hex(prepared.serial)
        ledger.reserve(
            Issuance(
                id=id,
                issuer_id=prepared.issuer_id,
                order=decision.order,
                stage=IssuanceStage.RESERVED,
                tbs=prepared.tbs,
                issuer=prepared.issuer,
                shard=prepared.shard,
                profile_name=prepared.profile_name,
                profile_version=prepared.profile_version,
                reserved=self._clock(),
            )
        )
        return IssuanceToken(id, prepared, decision, self._seal)

    async def sign(self, token: IssuanceToken, receipt: Receipt) -> IssuedCertificate:
        """Redeem a token: sign what was prepared, if the receipt proves that the intent is on disk.

        Raises TokenMisused, Unavailable (the key is too busy), SignatureMismatch.
        """
        prepared = token.redeem(self._seal, receipt)
        # Linted, judged and signed are the same bytes: `reserve` has compared them with the decision, and
        # nothing that came between may have changed that.
        if sha256(prepared.tbs).digest() != token.decision.tbs_digest:
            raise TokenMisused(f"issuance {token.id} changed after it was decided")
        issuer = self._by_id[prepared.issuer_id]
        certificate_der = await self._sign(issuer, prepared.tbs)
        return IssuedCertificate(
            order=token.decision.order,
            issuer_id=prepared.issuer_id,
            issuer=prepared.issuer,
            serial=prepared.serial,
            der=certificate_der,
            not_before=prepared.not_before,
            not_after=prepared.not_after,
            shard=prepared.shard,
            profile_name=prepared.profile_name,
            profile_version=prepared.profile_version,
            spki=prepared.spki,
            subject=prepared.subject,
            names=prepared.names,
        )

    async def resume(self, issuance: Issuance) -> IssuedCertificate:
        """Finish an issuance that a crash interrupted, from what the ledger kept.

        Signs the recorded bytes again; RSA, ECDSA and Ed signatures are deterministic, so the certificate
        is the identical one. The bytes come from a store and not from `prepare`: they are linted again, and
        refused (Internal) unless they are an end-entity certificate of this issuer with this serial number.
        """
        if issuance.stage is not IssuanceStage.RESERVED:
            raise Internal(f"issuance {issuance.id} is {issuance.stage} and cannot be resumed")
        issuer = self._by_id.get(issuance.issuer_id)
        if issuer is None:
            raise Internal(f"issuance {issuance.id} is of an issuer that is not here", issuer=issuance.issuer)
        _check_recorded(issuance, issuer)
        content, _ = check_lints(issuance.tbs, issuer, ("rfc5280",))
        return IssuedCertificate(
            order=issuance.order,
            issuer_id=issuance.issuer_id,
            issuer=issuance.issuer,
            serial=content.serial_number,
            der=await self._sign(issuer, issuance.tbs),
            not_before=content.not_before,
            not_after=content.not_after,
            shard=issuance.shard,
            profile_name=issuance.profile_name,
            profile_version=issuance.profile_version,
            spki=content.spki,
            subject=content.subject,
            names=content.names,
        )

    async def _sign(self, issuer: Issuer, tbs: bytes) -> bytes:
        signature = await issuer.signer.sign(tbs)
        if self._verify_signatures:
            issuer.verify(signature, tbs)
        return der.sequence(tbs, issuer.signer.algorithm.identifier_der, der.bit_string(signature))

    # --- what became of it --------------------------------------------------------------------------------

    def record(
        self,
        issued: IssuedCertificate,
        ledger: Ledger,
        *,
        state: CertificateState = CertificateState.VALID,
    ) -> None:
        """Append the certificate and its first state: valid, or unconfirmed while a CMP client decides."""
        ledger.record(issued)
        event = CertificateEvent(issued.issuer_id, issued.serial, state, None, self._clock())
        ledger.change(event, allowed=())

    def confirm(self, issuer_id: str, serial: int, at: datetime, ledger: Ledger) -> None:
        """A CMP client accepted its certificate (RFC 9810 section 5.3.18): it becomes valid."""
        event = CertificateEvent(issuer_id, serial, CertificateState.VALID, None, at)
        ledger.change(event, allowed=(CertificateState.UNCONFIRMED,))

    def discard(self, issuer_id: str, serial: int, at: datetime, ledger: Ledger) -> None:
        """A CMP client rejected its certificate, or did not confirm it in time: revoked, if it is unconfirmed still."""
        reason = RevocationReason.CESSATION_OF_OPERATION
        event = CertificateEvent(issuer_id, serial, CertificateState.REVOKED, reason, at)
        ledger.change(event, allowed=(CertificateState.UNCONFIRMED,))

    def revoke(
        self,
        issuer_id: str,
        serial: int,
        reason: RevocationReason,
        at: datetime,
        ledger: Ledger,
        invalidity_date: datetime | None = None,
    ) -> None:
        """Append a revocation, which is final. Raises BadRevocationReason for what is no reason to revoke."""
        if reason in (RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL):
            raise BadRevocationReason(f'"{reason}" does not revoke a certificate: hold and release do that')
        event = CertificateEvent(issuer_id, serial, CertificateState.REVOKED, reason, at, invalidity_date)
        ledger.change(event, allowed=_REVOCABLE)

    def hold(self, issuer_id: str, serial: int, at: datetime, ledger: Ledger) -> None:
        """Append a suspension (RFC 5280 section 5.3.1, certificateHold), which `release` ends."""
        reason = RevocationReason.CERTIFICATE_HOLD
        event = CertificateEvent(issuer_id, serial, CertificateState.ON_HOLD, reason, at)
        ledger.change(event, allowed=(CertificateState.VALID,))

    def release(self, issuer_id: str, serial: int, at: datetime, ledger: Ledger) -> None:
        """Append the end of a suspension: the next full CRL does not list the certificate any more."""
        event = CertificateEvent(issuer_id, serial, CertificateState.VALID, None, at)
        ledger.change(event, allowed=(CertificateState.ON_HOLD,))
