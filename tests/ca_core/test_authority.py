"""The authority: what it prepares, the order it insists on, and what it does after a crash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ca_core import authority as authority_module
from ca_core.algorithms import SignatureAlgorithm
from ca_core.authority import CertificateAuthority, new_serial
from ca_core.clock import FixedClock
from ca_core.issuance import Decision, IssuanceRequest, IssuedCertificate, Prepared, TokenMisused
from ca_core.issuer import Issuer, SignatureMismatch
from ca_core.ledger import IssuanceStage, serial_hex
from ca_core.lints import Finding, Severity
from ca_core.names import read_identifier
from ca_core.problems import BadPublicKey, BadRevocationReason, Internal, Unavailable
from ca_core.profile import CertificateProfile
from ca_core.status import CertificateState, RevocationReason
from tests.replacing import replace

MakeRequest = Callable[..., IssuanceRequest]


def decide(prepared: Prepared, order: str = "order") -> Decision:
    return Decision(order, prepared.digest, b"trace")


async def issue(authority: CertificateAuthority, request: IssuanceRequest, ledger: Any) -> IssuedCertificate:
    prepared = authority.prepare(request)
    token = authority.reserve(prepared, decide(prepared), ledger)
    return await authority.sign(token, ledger)


# --- serial numbers ---------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1970, 1, 1), datetime(7000, 1, 1), timezones=st.just(UTC)), st.integers(0, 1 << 50))
def test_serial_number_has_its_twenty_octets_in_order(not_after: datetime, now_ms: int) -> None:
    """RFC 5280 section 4.1.2.2: positive, at most 20 octets; month and time lead, 96 random bits follow. Rows: T-29."""
    octets = new_serial(not_after, now_ms, lambda size: b"\xab" * size).to_bytes(20, "big")
    assert octets[0] == 0x40
    assert int.from_bytes(octets[1:3], "big") == (not_after.year - 1970) * 12 + not_after.month - 1
    assert int.from_bytes(octets[3:8], "big") == now_ms % (1 << 40)
    assert octets[8:] == b"\xab" * 12


def test_serial_numbers_of_one_moment_differ() -> None:
    """The random part keeps apart what was issued in the same millisecond."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert len({new_serial(now, 1) for _ in range(1000)}) == 1000


# --- issuing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer_key_type", ["ec-p256", "rsa-2048", "ed25519"])
@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
async def test_certificate_satisfies_pkilint_and_openssl(
    issuer_key_type: str,
    key_type: str,
    make_world: Callable[..., Any],
    clock: FixedClock,
    ledger: Any,
    make_request: MakeRequest,
    pkilint: Callable[..., list[str]],
    openssl: Callable[..., str],
    tmp_path: Path,
) -> None:
    """A TLS certificate for each kind of key, from each kind of CA, is what two other programs accept. Rows: T-29."""
    world = make_world(issuer_key_type)
    profile = CertificateProfile(
        "tls-server",
        key_usage=("digitalSignature", "keyEncipherment"),
        policies=("2.23.140.1.2.1",),
        must_staple=True,
    )
    issued = await issue(world.authority(clock), make_request(key_type, profile=profile), ledger)
    assert pkilint("certificate", issued.der) == []
    chain = {"leaf": issued.der, "issuing": world.issuer.certificate_der, "root": world.root.certificate_der}
    for name, certificate_der in chain.items():
        encoded = _write(tmp_path, name, certificate_der)
        openssl("x509", "-inform", "DER", "-in", encoded, "-out", tmp_path / name)
    verified = openssl(
        *("verify", "-x509_strict", "-attime", str(int(clock().timestamp())), "-purpose", "sslserver"),
        *("-verify_hostname", "www.example.com"),
        *("-CAfile", tmp_path / "root", "-untrusted", tmp_path / "issuing", tmp_path / "leaf"),
    )
    assert verified.strip().endswith("leaf: OK")


def _write(directory: Path, name: str, content: bytes) -> Path:
    path = directory / f"{name}.der"
    path.write_bytes(content)
    return path


async def test_issued_certificate_is_what_was_asked_for(
    world: Any, clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """Each field of the value is that of the certificate."""
    authority = world.authority(clock)
    request = make_request(subject=(("CN", "www.example.com"),))
    issued = await issue(authority, request, ledger)
    certificate = x509.load_der_x509_certificate(issued.der)
    assert certificate.serial_number == issued.serial
    assert certificate.not_valid_before_utc == issued.not_before
    assert certificate.not_valid_after_utc == issued.not_after
    assert (issued.order, issued.issuer, issued.issuer_id) == ("order", "issuing", world.issuer.id)
    assert (issued.names, issued.spki) == (request.names, request.spki)
    assert issued.subject == (("CN", "www.example.com"),)
    (reserved,) = ledger.reserved
    assert reserved.tbs == certificate.tbs_certificate_bytes
    assert (reserved.id, reserved.stage) == (serial_hex(issued.serial), IssuanceStage.RESERVED)
    assert (reserved.order, reserved.reserved) == ("order", clock())


def test_prepared_content_is_read_from_the_bytes(world: Any, clock: FixedClock, make_request: MakeRequest) -> None:
    """Policy judges what will be signed, not what was asked for."""
    request = make_request(subject=(("CN", "www.example.com"), ("L", "Berlin")))
    prepared = world.authority(clock).prepare(request)
    assert prepared.content.subject == prepared.subject == (("CN", "www.example.com"),)
    assert (prepared.content.names, prepared.content.spki) == (request.names, request.spki)
    assert (prepared.content.not_before, prepared.content.not_after) == (
        prepared.not_before,
        prepared.not_after,
    )
    assert not prepared.content.is_ca


async def test_certificate_names_the_crl_of_its_shard(
    make_world: Callable[..., Any], clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """The shard is fixed with the serial number, and is the one in the URL."""
    world = make_world("ec-p256", shards=16)
    authority = world.authority(clock)
    shards = set()
    for _ in range(40):
        prepared = authority.prepare(make_request())
        assert prepared.shard == world.issuer.shard_of(prepared.serial)
        assert world.issuer.crl_url(prepared.shard).encode() in prepared.tbs
        shards.add(prepared.shard)
    assert len(shards) > 4


def test_prepare_tells_the_client_what_it_can_mend(world: Any, clock: FixedClock, make_request: MakeRequest) -> None:
    """A key type that the profile does not take."""
    with pytest.raises(BadPublicKey, match="accepted are"):
        world.authority(clock).prepare(make_request("ed25519"))


def test_prepare_stops_at_a_lint_of_severity_error(
    world: Any, clock: FixedClock, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error stops it, with the lint in the context only; a warning goes with the certificate."""
    findings = [Finding("odd", Severity.WARNING, "is odd", "RFC 5280")]
    monkeypatch.setattr(authority_module, "run", lambda *_: tuple(findings))
    authority = world.authority(clock)
    assert authority.prepare(make_request()).findings == tuple(findings)
    findings.append(Finding("wrong", Severity.ERROR, "is wrong", "RFC 5280"))
    with pytest.raises(Internal) as caught:
        authority.prepare(make_request())
    assert "is wrong" not in caught.value.detail
    assert caught.value.context["findings"] == ("wrong: is wrong",)


async def test_reserve_refuses_a_decision_about_other_bytes(
    world: Any, clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """What policy judged is what is signed."""
    authority = world.authority(clock)
    judged, other = authority.prepare(make_request()), authority.prepare(make_request())
    with pytest.raises(TokenMisused, match="another certificate"):
        authority.reserve(other, decide(judged), ledger)
    assert ledger.reserved == []


async def test_sign_refuses_what_was_not_reserved_here(
    world: Any, clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """No receipt, a token used before, and a token of another authority."""
    authority, stranger = world.authority(clock), world.authority(clock)
    prepared = authority.prepare(make_request())
    token = authority.reserve(prepared, decide(prepared), ledger)
    with pytest.raises(TokenMisused, match="another authority"):
        await stranger.sign(token, ledger)
    with pytest.raises(TokenMisused, match="not in the commit"):
        await authority.sign(token, type(ledger)())
    await authority.sign(token, ledger)
    with pytest.raises(TokenMisused, match="signed already"):
        await authority.sign(token, ledger)


class BrokenSigner:
    """A key with a fault: one bit of its signatures is wrong."""

    def __init__(self, inner: Any) -> None:
        self.key_type: str = inner.key_type
        self.spki: bytes = inner.spki
        self.algorithm: SignatureAlgorithm = inner.algorithm
        self._inner = inner

    async def sign(self, data: bytes) -> bytes:
        signature = await self._inner.sign(data + b"!")
        assert isinstance(signature, bytes)
        return signature


async def test_faulty_signature_does_not_leave(
    world: Any, clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """Verification is on by default; switched off it is the operator's risk."""
    issuer = Issuer(
        "issuing",
        world.issuer.certificate_der,
        BrokenSigner(world.issuer.signer),
        status_url="http://s.example",
    )
    with pytest.raises(SignatureMismatch):
        await issue(CertificateAuthority({"issuing": issuer}, clock), make_request(), ledger)
    careless = CertificateAuthority({"issuing": issuer}, clock, verify_signatures=False)
    assert (await issue(careless, make_request(), ledger)).der


def test_profile_is_checked_at_start(world: Any, clock: FixedClock) -> None:
    """A set of lints that is not there, and a profile that no key serves, are found before any request."""
    authority = world.authority(clock)
    authority.check_profile("issuing", CertificateProfile("tls", lint_sets=("rfc5280", "cabf")))
    with pytest.raises(ValueError, match="not a set of lints; known are rfc5280, cabf"):
        authority.check_profile("issuing", CertificateProfile("tls", lint_sets=("rfc",)))
    with pytest.raises(ValueError, match="can serve no usage"):
        authority.check_profile("issuing", CertificateProfile("tls", key_usage=("keyEncipherment",)))


def test_issuers_are_found_by_name_and_by_key(world: Any, clock: FixedClock) -> None:
    """Two names for one key would give two certificates one serial number space."""
    authority = world.authority(clock)
    assert authority.issuer("issuing") is authority.issuer_by_id(world.issuer.id) is world.issuer
    assert authority.issuer_by_id("00") is None
    with pytest.raises(Unavailable):
        authority.issuer("other")
    with pytest.raises(ValueError, match="same key"):
        CertificateAuthority({"one": world.issuer, "two": world.issuer}, clock)


# --- after a crash ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer_key_type", ["ec-p256", "rsa-2048", "ed25519"])
@pytest.mark.parametrize("names", [True, False], ids=["names", "subject only"])
async def test_resume_gives_the_identical_certificate(
    issuer_key_type: str,
    names: bool,
    make_world: Callable[..., Any],
    clock: FixedClock,
    ledger: Any,
    make_request: MakeRequest,
) -> None:
    """A crash between intent and result changes nothing: same bytes, same value, also hours later."""
    world = make_world(issuer_key_type)
    identifiers = (
        (
            read_identifier("dns", "*.example.com"),
            read_identifier("ip", "2001:db8::1"),
            read_identifier("upn", "a@realm.example"),
        )
        if names
        else ()
    )
    request = make_request(
        profile=CertificateProfile("mixed", name_types=("dns", "ip", "upn"), common_name="keep"),
        subject=(("CN", "device 1"),),
        names=identifiers,
    )
    issued = await issue(world.authority(clock), request, ledger)
    clock.advance(hours=5)
    assert await world.authority(clock).resume(ledger.reserved[0]) == issued


async def test_resume_refuses_what_prepare_would_not_have_made(
    make_world: Callable[..., Any], clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """Write access to the store must not be a way to have anything signed."""
    world, other = make_world("ec-p256"), make_world("rsa-2048")
    authority = world.authority(clock)
    await issue(authority, make_request(), ledger)
    good = ledger.reserved[0]
    root_tbs = world.issuer.certificate.tbs_certificate_bytes
    wrong = {
        "other serial": replace(good, id=serial_hex(5)),
        "rubbish": replace(good, tbs=b"rubbish"),
        "empty": replace(good, tbs=b""),
        "a CA": replace(good, tbs=root_tbs, id=serial_hex(world.issuer.certificate.serial_number)),
        "foreign issuer": replace(good, issuer_id=other.issuer.id),
        "signed": replace(good, stage=IssuanceStage.SIGNED),
        "void": replace(good, stage=IssuanceStage.VOID),
        "upstream": replace(good, stage=IssuanceStage.SUBMITTED),
    }
    for issuance in wrong.values():
        with pytest.raises(Internal):
            await authority.resume(issuance)


async def test_resume_lints_again(
    world: Any,
    clock: FixedClock,
    ledger: Any,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The recorded bytes are judged like new ones."""
    authority = world.authority(clock)
    await issue(authority, make_request(), ledger)
    finding = Finding("wrong", Severity.ERROR, "is wrong", "RFC 5280")
    monkeypatch.setattr(authority_module, "run", lambda *_: (finding,))
    with pytest.raises(Internal):
        await authority.resume(ledger.reserved[0])


# --- what became of it ------------------------------------------------------------------------------------


async def test_record_writes_certificate_and_first_state(
    world: Any, clock: FixedClock, ledger: Any, make_request: MakeRequest
) -> None:
    """A first event has no state before it; CMP begins with unconfirmed and confirms."""
    authority = world.authority(clock)
    issued = await issue(authority, make_request(), ledger)
    authority.record(issued, ledger)
    authority.record(issued, ledger, state=CertificateState.UNCONFIRMED)
    authority.confirm(issued.issuer_id, issued.serial, clock(), ledger)
    assert ledger.recorded == [issued, issued]
    assert [(event.state, allowed) for event, allowed in ledger.changes] == [
        (CertificateState.VALID, ()),
        (CertificateState.UNCONFIRMED, ()),
        (CertificateState.VALID, (CertificateState.UNCONFIRMED,)),
    ]


def test_revocation_is_final_and_hold_is_not(world: Any, clock: FixedClock, ledger: Any) -> None:
    """Each change says from which states it may come; none of them is "revoked"."""
    authority = world.authority(clock)
    key = (world.issuer.id, 5)
    leaked = clock() - timedelta(days=1)
    authority.hold(*key, clock(), ledger)
    authority.release(*key, clock(), ledger)
    authority.revoke(*key, RevocationReason.KEY_COMPROMISE, clock(), ledger, leaked)
    assert [(event.state, event.reason) for event, _ in ledger.changes] == [
        (CertificateState.ON_HOLD, RevocationReason.CERTIFICATE_HOLD),
        (CertificateState.VALID, None),
        (CertificateState.REVOKED, RevocationReason.KEY_COMPROMISE),
    ]
    assert all(CertificateState.REVOKED not in allowed for _, allowed in ledger.changes)
    assert ledger.changes[-1][0].invalidity_date == leaked
    assert CertificateState.ON_HOLD in ledger.changes[-1][1]


@pytest.mark.parametrize("reason", [RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL])
def test_revoke_refuses_reasons_that_do_not_revoke(
    reason: RevocationReason, world: Any, clock: FixedClock, ledger: Any
) -> None:
    """RFC 5280 section 5.3.1: these two are about suspension."""
    with pytest.raises(BadRevocationReason, match="hold and release"):
        world.authority(clock).revoke(world.issuer.id, 5, reason, clock(), ledger)
    assert ledger.changes == []
