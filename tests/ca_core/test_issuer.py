"""Issuers: what they refuse to be made of, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from ca_core.ceremony import create_issuing, create_root, issue_service_certificate
from ca_core.clock import FixedClock
from ca_core.issuer import Issuer, SignatureMismatch
from ca_core.keystores.software import SoftwareKey
from ca_core.names import read_identifier
from ca_core.profile import CertificateProfile
from tests.replacing import replace


def _issuer(world: Any, **changes: Any) -> Issuer:
    values: dict[str, Any] = {
        "certificate_der": world.issuer.certificate_der,
        "signer": world.issuer.signer,
        "status_url": "http://status.certgate.test",
        "root_der": world.root.certificate_der,
    }
    values.update(changes)
    return Issuer("issuing", **values)


def test_addresses_hang_on_the_key(world: Any) -> None:
    """CRL and CA certificate are found by the key identifier, OCSP is one address for all."""
    issuer = world.issuer
    key_id = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert issuer.id == key_id.hex()
    assert issuer.crl_url(3) == f"http://status.certgate.test/crl/{issuer.id}/3.crl"
    assert issuer.ca_url == f"http://status.certgate.test/ca/{issuer.id}.cer"
    assert issuer.ocsp_url == "http://status.certgate.test/ocsp"


def test_chain_leaves_the_root_out(world: Any) -> None:
    """What is sent to clients ends before the root, which they have or must not take from us."""
    assert world.issuer.chain_der == (world.issuer.certificate_der,)
    assert [item.subject for item in world.issuer.chain] == [world.issuer.certificate.subject]
    assert world.root.chain_der == ()
    assert _issuer(world, root_der=None).chain_der == (world.issuer.certificate_der,)


def test_shard_is_a_function_of_the_serial_number(world: Any) -> None:
    """The random end of the serial number spreads certificates over all shards."""
    issuer = _issuer(world, shards=8)
    assert {issuer.shard_of((0x40 << 152) + step * 7919) for step in range(200)} == set(range(8))


@pytest.mark.parametrize(
    "url",
    [
        "https://status.example",
        "http://",
        "status.example",
        "http://status.example/",
        "http://status.example?x",
        "http://stätus.example",
    ],
)
def test_status_url_has_to_be_plain_http(world: Any, url: str) -> None:
    """RFC 5280 section 8: fetching a CRL must not need the certificate that it is about."""
    with pytest.raises(ValueError, match=r"plain http URL|beyond ASCII"):
        _issuer(world, status_url=url)


def test_status_url_may_have_a_path(world: Any) -> None:
    """A status service below a path of another server."""
    issuer = _issuer(world, status_url="http://pki.example/status")
    assert issuer.crl_url(0).startswith("http://pki.example/status/crl/")


@pytest.mark.parametrize("shards", [0, -1, 1 << 17])
def test_count_of_shards_has_limits(world: Any, shards: int) -> None:
    """A count that was mistyped is found at start."""
    with pytest.raises(ValueError, match="CRL shards"):
        _issuer(world, shards=shards)


def test_key_has_to_belong_to_the_certificate(world: Any) -> None:
    """The wrong key would sign certificates that nobody can verify."""
    with pytest.raises(ValueError, match="does not belong"):
        _issuer(world, signer=world.root.signer)


async def test_certificate_has_to_be_that_of_a_ca(
    world: Any, clock: FixedClock, tmp_path: Any, make_world: Callable[..., Any]
) -> None:
    """An end-entity certificate is no issuer, even with its own key."""
    signer = await world.keystore.create("leaf", "ec-p256")
    profile = CertificateProfile("tls")
    names = (read_identifier("dns", "a.example"),)
    leaf = await issue_service_certificate(world.issuer, profile, signer.spki, "ec-p256", (), names, clock)
    with pytest.raises(ValueError, match="not one of a CA"):
        _issuer(world, certificate_der=leaf.der, signer=signer)


def test_chain_has_to_fit(world: Any, make_world: Callable[..., Any]) -> None:
    """A chain that does not lead to the root is found at start."""
    other = make_world("rsa-2048")
    with pytest.raises(ValueError, match="was not issued by"):
        _issuer(world, root_der=other.root.certificate_der)
    with pytest.raises(ValueError, match="was not issued by"):
        _issuer(world, intermediates_der=(other.issuer.certificate_der,), root_der=None)


async def test_chain_of_three(world: Any, clock: FixedClock, tmp_path: Any) -> None:
    """An intermediate between issuer and root belongs to the chain, the root does not."""
    outer = await create_root(world.keystore, "outer", (("CN", "Outer Root"),), "ec-p256", timedelta(days=3650), clock)
    outer_issuer = Issuer(
        "outer",
        outer.certificate_der,
        outer.signer,
        status_url="http://s.example",
        root_der=outer.certificate_der,
    )
    subject = (("CN", "Inner Issuing CA"),)
    inner = await create_issuing(world.keystore, "inner", subject, "ec-p256", timedelta(days=365), clock, outer_issuer)
    issuer = Issuer(
        "inner",
        inner.certificate_der,
        inner.signer,
        status_url="http://s.example",
        intermediates_der=(outer.certificate_der,),
    )
    assert issuer.chain_der == (inner.certificate_der, outer.certificate_der)


def test_compiled_profile_is_kept_until_it_changes(world: Any) -> None:
    """A profile is compiled once; another one under the same name and version is not mixed up with it."""
    issuer = _issuer(world)
    profile = CertificateProfile("tls", validity_seconds=1000)
    first = issuer.compiled(profile)
    assert issuer.compiled(profile) is first
    assert issuer.compiled(replace(profile)) is first
    changed = replace(profile, must_staple=True)
    assert issuer.compiled(changed).profile is changed


def test_compiled_profiles_are_bounded(world: Any) -> None:
    """Versions come and go; the cache does not grow with them."""
    issuer = _issuer(world)
    profile = CertificateProfile("tls", key_types=("ec-p256",))
    for version in range(300):
        issuer.compiled(replace(profile, version=version))
    assert len(issuer._compiled) == 256


async def test_wrong_signature_is_noticed(world: Any) -> None:
    """A fault in the key must not leave as a certificate."""
    signature = await world.issuer.signer.sign(b"data")
    world.issuer.verify(signature, b"data")
    with pytest.raises(SignatureMismatch):
        world.issuer.verify(signature, b"other data")
    assert isinstance(world.issuer.signer, SoftwareKey)
