"""Compiled profiles: extensions encoded once, and checked before they are used."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from ca_core import compiled, der
from ca_core.compiled import compile_profile
from ca_core.problems import BadPublicKey
from ca_core.profile import CertificateProfile
from tests.replacing import replace

PROFILE = CertificateProfile(
    "all",
    key_types=("rsa-2048", "ec-p256", "ed25519"),
    key_usage=("digitalSignature", "keyEncipherment"),
    extended_key_usage=("serverAuth", "1.3.6.1.5.5.7.3.17"),
    policies=("2.23.140.1.2.1",),
    must_staple=True,
)


def _extensions(encoded: bytes) -> list[tuple[str, bool]]:
    """Identifier and criticality of each extension."""
    parts = [der.elements(extension) for extension in der.elements(der.sequence(encoded))]
    return [(part[0].hex(), len(part) == 3) for part in parts]


def test_key_encipherment_is_for_rsa_keys_only(world: Any) -> None:
    """RFC 5480 section 3, RFC 8410 section 5: an EC or Ed25519 key enciphers no key."""
    made = compile_profile(PROFILE, world.issuer.facts)
    assert made.extensions("ec-p256") == made.extensions("ed25519")
    assert made.extensions("ec-p256") != made.extensions("rsa-2048")
    assert len(made.extensions("ec-p256")) == len(made.extensions("rsa-2048"))


def test_only_key_usage_and_basic_constraints_are_critical(world: Any) -> None:
    """RFC 5280 section 4.2: what an old client must not overlook."""
    made = compile_profile(PROFILE, world.issuer.facts)
    found = _extensions(made.extensions("rsa-2048") + made.crl_distribution(0))
    critical = {"0603551d0f", "0603551d13"}
    assert {oid for oid, mark in found if mark} == critical
    assert len(found) == len({oid for oid, _ in found}) == 8


def test_switched_off_extensions_are_absent(world: Any) -> None:
    """A profile without OCSP, CA issuers and CRL has neither AIA nor CDP."""
    bare = replace(
        PROFILE,
        ocsp=False,
        ca_issuers=False,
        crl_distribution=False,
        must_staple=False,
        policies=(),
        key_usage=(),
        extended_key_usage=(),
    )
    made = compile_profile(bare, world.issuer.facts)
    assert made.crl_distribution(0) == b""
    assert [oid for oid, _ in _extensions(made.extensions("ec-p256"))] == ["0603551d23", "0603551d13"]


def test_each_shard_has_its_own_url(world: Any) -> None:
    """The URL is the one under which the shard's CRL is published."""
    made = compile_profile(PROFILE, world.issuer.facts)
    for shard in (0, 7):
        assert world.issuer.crl_url(shard).encode() in made.crl_distribution(shard)


def test_key_type_that_the_profile_lacks_is_refused(world: Any) -> None:
    """The sentence says what would be accepted."""
    made = compile_profile(PROFILE, world.issuer.facts)
    with pytest.raises(BadPublicKey, match="accepted are rsa-2048, ec-p256, ed25519"):
        made.extensions("ec-p384")


def test_profile_that_a_key_type_cannot_serve_is_refused_when_compiled(world: Any) -> None:
    """What cannot work is refused at start, not at the first certificate."""
    profile = replace(PROFILE, key_usage=("keyEncipherment",))
    with pytest.raises(ValueError, match="a key of type ec-p256 can serve no usage"):
        compile_profile(profile, world.issuer.facts)


def test_self_check_notices_a_wrong_encoding(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the splicing is found when the profile is compiled."""
    encode = compiled._encode
    monkeypatch.setattr(
        compiled, "_encode", lambda extensions: encode(tuple((value, False) for value, _ in extensions))
    )
    with pytest.raises(ValueError, match="do not read back"):
        compile_profile(PROFILE, world.issuer.facts)


def test_shared_extensions_are_those_of_the_library(world: Any) -> None:
    """The values compared with are cryptography's own."""
    values = [value for value, _ in compiled.shared_extensions(PROFILE, world.issuer.facts, "rsa-2048")]
    usage = next(value for value in values if isinstance(value, x509.KeyUsage))
    assert usage.digital_signature
    assert usage.key_encipherment
    assert not usage.key_cert_sign
