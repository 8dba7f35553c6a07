"""The to-be-signed certificate: what goes in comes out again, read by cryptography."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ca_core import der
from ca_core.clock import FixedClock
from ca_core.compiled import compile_profile
from ca_core.issuance import IssuanceRequest
from ca_core.keys import key_identifier
from ca_core.names import (
    Identifier,
    IdentifierType,
    Subject,
    read_general_names,
    read_identifier,
    read_subject,
)
from ca_core.problems import BadCSR, BadPublicKey, RejectedIdentifier, Unavailable
from ca_core.profile import DAY_SECONDS, CertificateProfile
from ca_core.template import Settled, settle, to_be_signed
from tests.replacing import replace

PROFILE = CertificateProfile("tls-server")
SECOND = timedelta(seconds=1)
SERIAL = (0x40 << 152) + 5


def _parse(tbs: bytes, world: Any) -> x509.Certificate:
    algorithm = world.issuer.facts.algorithm.identifier_der
    return x509.load_der_x509_certificate(der.sequence(tbs, algorithm, der.bit_string(b"")))


def _dns(*names: str) -> tuple[Identifier, ...]:
    return tuple(read_identifier("dns", name) for name in names)


# --- settle: subject --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "asked", "names", "common_name"),
    [
        ("from-request-or-first-dns", None, ("b.example", "a.example"), "b.example"),
        ("from-request-or-first-dns", "A.example", ("b.example", "a.example"), "a.example"),
        ("from-request-or-first-dns", "other.example", ("b.example",), "b.example"),
        ("from-request-or-first-dns", "192.0.2.1", ("b.example",), "b.example"),
        ("from-request-or-first-dns", "device 7", (), "device 7"),
        ("from-request-or-first-dns", None, (".".join(["a" * 60] * 2), "b.example"), "b.example"),
        ("from-request-or-first-dns", None, (".".join(["a" * 60] * 2),), None),
        ("keep", "anything", ("b.example",), "anything"),
        ("keep", None, ("b.example",), None),
        ("keep", "2001:db8::1", ("b.example",), None),
        ("keep", "[2001:db8::1]", ("b.example",), None),
        ("keep", "version 1.2.3.4", ("b.example",), "version 1.2.3.4"),
        ("drop", "b.example", ("b.example",), None),
    ],
)
def test_common_name_follows_the_rule_of_the_profile(
    rule: str,
    asked: str | None,
    names: tuple[str, ...],
    common_name: str | None,
    world: Any,
    clock: FixedClock,
    make_request: Callable[..., IssuanceRequest],
) -> None:
    """A common name is one that was validated, fits 64 characters and is no address. Rows: C7, T-29."""
    request = make_request(
        profile=replace(PROFILE, common_name=rule),
        subject=(("CN", asked),) if asked else (),
        names=_dns(*names),
    )
    subject = settle(request, world.issuer.facts, clock()).subject
    assert dict(subject).get("CN") == common_name


def test_subject_has_fixed_attributes_first_and_keeps_what_the_profile_lists(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """A request cannot overrule a fixed attribute, nor bring one that the profile does not list."""
    profile = replace(
        PROFILE,
        subject_attributes=("O", "OU", "CN"),
        fixed_subject=(("C", "DE"), ("O", "Example")),
        common_name="keep",
    )
    asked = (("CN", "a"), ("O", "Evil"), ("OU", "one"), ("OU", "two"), ("L", "Berlin"))
    subject = settle(make_request(profile=profile, subject=asked), world.issuer.facts, clock()).subject
    assert subject == (("C", "DE"), ("O", "Example"), ("OU", "one"), ("OU", "two"), ("CN", "a"))


def test_fixed_common_name_stands_alone(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """A profile that fixes the common name takes none from the request."""
    profile = replace(PROFILE, fixed_subject=(("CN", "fixed"),))
    request = make_request(profile=profile, subject=(("CN", "asked"),))
    assert settle(request, world.issuer.facts, clock()).subject == (("CN", "fixed"),)


def test_certificate_for_nothing_is_refused(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """RFC 5280 section 4.1.2.6: an empty subject needs a subjectAltName."""
    with pytest.raises(BadCSR, match="needs a subject or a name"):
        settle(make_request(names=()), world.issuer.facts, clock())


def test_names_of_a_type_that_the_profile_lacks_are_refused_together(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """Each wrong identifier is named in a subproblem of its own; a single one is the problem itself."""
    address, mail = read_identifier("ip", "192.0.2.1"), read_identifier("email", "a@b.example")
    with pytest.raises(RejectedIdentifier) as one:
        settle(make_request(names=(address,)), world.issuer.facts, clock())
    assert one.value.context["identifier"] == address
    with pytest.raises(RejectedIdentifier, match="types that they carry: dns") as two:
        settle(make_request(names=(address, mail, *_dns("a.example"))), world.issuer.facts, clock())
    assert [problem.context["identifier"] for problem in two.value.subproblems] == [address, mail]


# --- settle: validity -------------------------------------------------------------------------------------


def test_validity_counts_its_last_second(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """RFC 5280 section 4.1.2.5: notAfter is inclusive, so 90 days end one second before the ninetieth."""
    settled = settle(make_request(), world.issuer.facts, clock())
    assert settled.not_before == clock() - timedelta(seconds=60)
    assert settled.not_after - settled.not_before == timedelta(days=90) - SECOND


def test_validity_of_the_request_is_taken_up_to_the_limit(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """One second more than the limit is refused, with both numbers."""
    profile = replace(PROFILE, max_validity_seconds=100 * DAY_SECONDS)
    last = clock() + timedelta(days=100) - SECOND
    request = make_request(profile=profile, not_before=clock(), not_after=last)
    settled = settle(request, world.issuer.facts, clock())
    assert (settled.not_before, settled.not_after) == (clock(), last)
    with pytest.raises(BadCSR, match=r"8640001 seconds is asked for.*at most 8640000"):
        settle(replace(request, not_after=last + SECOND), world.issuer.facts, clock())


@pytest.mark.parametrize(
    ("not_before", "not_after", "sentence"),
    [
        (timedelta(hours=-49), None, "too far in the past"),
        (timedelta(hours=-2), timedelta(hours=-1), "in the past"),
        (timedelta(hours=2), timedelta(hours=1), "before notBefore"),
    ],
)
def test_impossible_validity_is_refused(
    not_before: timedelta,
    not_after: timedelta | None,
    sentence: str,
    world: Any,
    clock: FixedClock,
    make_request: Callable[..., IssuanceRequest],
) -> None:
    """What the client asked for cannot be had."""
    request = make_request(
        not_before=clock() + not_before, not_after=None if not_after is None else clock() + not_after
    )
    with pytest.raises(BadCSR, match=sentence):
        settle(request, world.issuer.facts, clock())


def test_validity_stays_within_that_of_the_issuer(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """A certificate that outlives its issuer cannot be verified in the end."""
    facts = world.issuer.facts
    late = facts.not_after - timedelta(days=1)
    assert settle(make_request(), facts, late).not_after == facts.not_after
    assert settle(make_request(), facts, facts.not_before).not_before == facts.not_before
    with pytest.raises(Unavailable, match="end of its validity"):
        settle(make_request(), facts, facts.not_after + SECOND)


def test_fractions_of_a_second_are_cut(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """RFC 5280 section 4.1.2.5: no fractional seconds."""
    first = clock() + timedelta(microseconds=5)
    settled = settle(make_request(not_before=first, not_after=first + timedelta(days=1)), world.issuer.facts, clock())
    assert (settled.not_before.microsecond, settled.not_after.microsecond) == (0, 0)


# --- to_be_signed -----------------------------------------------------------------------------------------

_LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).map(lambda text: f"x{text}")
_NAMES = st.lists(
    st.one_of(
        st.builds(lambda a, b: read_identifier("dns", f"{a}.{b}.example"), _LABELS, _LABELS),
        st.builds(lambda a: read_identifier("dns", f"*.{a}.example"), _LABELS),
        st.ip_addresses(v=4).map(lambda ip: read_identifier("ip", str(ip))),
        st.builds(lambda a: read_identifier("email", f"{a}@mail.example"), _LABELS),
        st.builds(lambda a: read_identifier("uri", f"https://{a}.example/{a}"), _LABELS),
        st.builds(lambda a: read_identifier("upn", f"{a}@realm.example"), _LABELS),
    ),
    max_size=40,
)
_SUBJECTS = st.lists(
    st.tuples(
        st.sampled_from(["CN", "O", "OU", "L", "serialNumber"]),
        st.text("abc XYZ019", min_size=1, max_size=64),
    ),
    max_size=5,
)
_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2120, 1, 1))


@given(
    names=_NAMES,
    subject=_SUBJECTS,
    not_before=_MOMENTS,
    not_after=_MOMENTS,
    serial=st.integers(0, (1 << 152) - 1),
    shard=st.integers(0, 500),
)
def test_what_goes_in_comes_out(
    names: list[Identifier],
    subject: list[tuple[str, str]],
    not_before: datetime,
    not_after: datetime,
    serial: int,
    shard: int,
    world: Any,
    spki_of: Callable[[str], bytes],
) -> None:
    """RFC 5280 section 4.1: any settled reads back as it was, each part in its own place."""
    facts = world.issuer.facts
    settled = Settled(tuple(subject), tuple(names), not_before.replace(microsecond=0), not_after.replace(microsecond=0))
    spki = spki_of("ec-p256")
    tbs = to_be_signed(
        compile_profile(PROFILE, facts),
        settled,
        spki=spki,
        key_type="ec-p256",
        serial=(0x40 << 152) + serial,
        shard=shard,
    )
    found = _parse(tbs, world)
    extensions = found.extensions
    assert found.version is x509.Version.v3
    assert found.serial_number == (0x40 << 152) + serial
    assert found.issuer == world.issuer.certificate.subject
    assert read_subject(found.subject) == settled.subject
    assert found.not_valid_before_utc.replace(tzinfo=None) == settled.not_before
    assert found.not_valid_after_utc.replace(tzinfo=None) == settled.not_after
    assert der.elements(tbs)[6] == spki
    key_id = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert key_id.digest == key_identifier(spki)
    (point,) = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier(world.issuer.crl_url(shard))]
    if names:
        alt_name = extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert read_general_names(alt_name.value) == (settled.names, ())
        assert alt_name.critical is (not subject)
    else:
        assert x509.SubjectAlternativeName not in [type(extension.value) for extension in extensions]


@pytest.mark.parametrize("issuer_key_type", ["ec-p256", "rsa-2048", "ed25519"])
def test_template_is_what_the_library_would_build(
    issuer_key_type: str,
    make_world: Callable[..., Any],
    clock: FixedClock,
    make_request: Callable[..., IssuanceRequest],
    spki_of: Callable[[str], bytes],
) -> None:
    """Extension for extension the bytes are those of cryptography's own encoder."""
    world = make_world(issuer_key_type)
    request = make_request("rsa-2048", subject=(("CN", "www.example.com"),))
    settled = settle(request, world.issuer.facts, clock())
    tbs = to_be_signed(
        compile_profile(request.profile, world.issuer.facts),
        settled,
        spki=request.spki,
        key_type="rsa-2048",
        serial=SERIAL,
        shard=0,
    )
    found = _parse(tbs, world)
    raw = der.elements(der.elements(der.elements(tbs)[-1], 0xA3)[0])
    encoded = [
        der.extension(item.oid.dotted_string, item.value.public_bytes(), critical=item.critical)
        for item in found.extensions
    ]
    assert list(raw) == encoded
    assert found.signature_algorithm_oid.dotted_string == world.issuer.signer.algorithm.oid


def test_key_type_and_key_are_checked(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """A key type that the profile lacks, and octets that are no key, are the client's mistakes."""
    request = make_request()
    settled = settle(request, world.issuer.facts, clock())
    compiled = compile_profile(PROFILE, world.issuer.facts)
    with pytest.raises(BadPublicKey):
        to_be_signed(compiled, settled, spki=request.spki, key_type="ed25519", serial=SERIAL, shard=0)
    with pytest.raises(BadCSR, match="not a SubjectPublicKeyInfo"):
        to_be_signed(compiled, settled, spki=b"\x30\x00", key_type="ec-p256", serial=SERIAL, shard=0)


def test_subject_that_cannot_be_encoded_is_the_clients_mistake(
    world: Any, clock: FixedClock, make_request: Callable[..., IssuanceRequest]
) -> None:
    """RFC 5280 appendix A.1: ub-common-name is 64."""
    subject: Subject = (("CN", "a" * 65),)
    request = make_request(profile=replace(PROFILE, common_name="keep"), subject=subject)
    settled = settle(request, world.issuer.facts, clock())
    compiled = compile_profile(request.profile, world.issuer.facts)
    with pytest.raises(BadCSR, match="longer than 64"):
        to_be_signed(compiled, settled, spki=request.spki, key_type="ec-p256", serial=SERIAL, shard=0)


def test_identifier_types_of_names_are_known_to_profiles() -> None:
    """A profile names the types as identifiers have them."""
    assert IdentifierType.DNS in PROFILE.name_types
