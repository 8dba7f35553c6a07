"""Traps of enrolment at the real services: what requests smuggle (T21, T22, T24), which certificates count (E11)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from policy.credential import AuthenticationMethod
from policy.mount import Mount
from protocols.http import HTTPResponse, PeerIdentity
from tests.conftest import ACTOR
from tests.protocols.est.gate import NAME, Gate, names_of
from tests.protocols.est.small import certificates_in, get, make_csr, name_of, post, text_of
from tests.replacing import replace


def request_with(key: Any = None, common_name: str = NAME, *extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(common_name))
    for extension in (x509.SubjectAlternativeName([x509.DNSName(NAME)]), *extensions):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)


async def count(gate: Gate) -> int:
    return len([one async for one in gate.house.core.inventory.certificates()])


# --- what requests smuggle


def usages(**set_: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # type: ignore[assignment]
    return x509.KeyUsage(**{name: set_.get(name, False) for name in names})


async def test_a_request_for_a_ca_is_refused(gate: Gate) -> None:
    """T21: basicConstraints with cA, at simpleenroll and at serverkeygen."""
    shown = await gate.credential()
    csr = request_with(None, NAME, x509.BasicConstraints(True, 0))
    assert (await gate.enrol(shown, csr)).status == 400
    assert (await gate(post("serverkeygen", b64encode(csr), gate.basic(shown)))).status == 400
    assert await count(gate) == 0


async def test_usages_are_the_products_whatever_is_asked_for(gate: Gate) -> None:
    """T21: neither keyCertSign nor an extended key usage comes out of a request."""
    wanted = (
        usages(key_cert_sign=True, crl_sign=True),
        x509.ExtendedKeyUsage([x509.OID_CODE_SIGNING, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")]),
    )
    answer = await gate.enrol(await gate.credential(), request_with(None, NAME, *wanted))
    assert answer.status == 200, text_of(answer)
    extensions = certificates_in(answer)[0].extensions
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [x509.OID_CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "key",
    [
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: rsa.generate_private_key(3, 2048),
        lambda: ec.generate_private_key(ec.SECP192R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["rsa-1024", "rsa-exponent-3", "p-192", "secp256k1"],
)
async def test_weak_keys_are_refused(gate: Gate, key: Any) -> None:
    """T22: 400, with what is wrong with the key."""
    answer = await gate.enrol(await gate.credential(), request_with(key()))
    assert answer.status == 400
    assert "key" in text_of(answer)
    assert await count(gate) == 0


@pytest.mark.parametrize("common_name", [f"{NAME}\x00.example.org", f"{NAME}\n", "\x1b[2J", "*"])
async def test_characters_that_mean_something_else_are_refused(gate: Gate, common_name: str) -> None:
    """T24: a common name with NUL or control characters is two names to two programs."""
    answer = await gate.enrol(await gate.credential(), request_with(None, common_name))
    assert 400 <= answer.status < 500, text_of(answer)
    assert await count(gate) == 0


# --- which client certificates count


@dataclass
class Maker:
    """The CA of a device maker: root, one below it, and a device's certificate."""

    root: bytes
    below: bytes
    device: bytes

    @classmethod
    def make(cls, now: datetime, days: int = 10) -> Maker:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
        names = ("Maker Root", "Maker Devices", "serial-4711")
        made = []
        for place in range(3):
            above = max(place - 1, 0)
            builder = x509.CertificateBuilder().subject_name(name_of(names[place])).issuer_name(name_of(names[above]))
            builder = builder.public_key(keys[place].public_key()).serial_number(place + 1)
            builder = builder.not_valid_before(now - timedelta(days=20)).not_valid_after(now + timedelta(days=days))
            builder = builder.add_extension(x509.BasicConstraints(place < 2, None), critical=True)
            if place < 2:
                builder = builder.add_extension(usages(key_cert_sign=True), critical=True)
            made.append(builder.sign(keys[above], SHA256()).public_bytes(Encoding.DER))
        return cls(*made)


async def trust(gate: Gate, anchor: bytes, label: str = "default") -> None:
    """Have a mount trust a maker, and a credential stand for its devices."""
    mount = Mount("est", label, ("device",), "issuing", anchors=(anchor,))
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    identifier = f"anchor:{sha256(anchor).hexdigest()}"
    await gate.credential(method=AuthenticationMethod.CERTIFICATE, identifier=identifier)


async def show(gate: Gate, certificate: bytes, *chain: bytes, label: str = "") -> HTTPResponse:
    request = post("simpleenroll", b64encode(make_csr(NAME)), label=label)
    return await gate(replace(request, peer=PeerIdentity("192.0.2.1", certificate, chain)))


async def test_an_anchor_may_be_a_root_or_the_ca_below_it(gate: Gate) -> None:
    """E11: a mount's anchors list the maker's root, or only the one CA below it that makes these devices."""
    maker = Maker.make(gate.house.clock())
    await trust(gate, maker.root)
    assert (await show(gate, maker.device)).status == 401  # without the CA between, no path
    answer = await show(gate, maker.device, maker.below)
    assert answer.status == 200, text_of(answer)
    assert names_of(certificates_in(answer)[0]) == [NAME]
    other = Maker.make(gate.house.clock())
    await trust(gate, other.below)
    assert (await show(gate, other.device)).status == 200


async def test_an_anchor_counts_at_its_own_mount_alone(gate: Gate) -> None:
    """E11: the listener takes what any mount trusts; each mount judges by its own list."""
    maker = Maker.make(gate.house.clock())
    await trust(gate, maker.root, "factory")
    gate.labels = ("est/factory",)
    assert (await show(gate, maker.device, maker.below, label="factory")).status == 200
    assert (await show(gate, maker.device, maker.below)).status == 401


async def test_expired_certificates_prove_nothing(gate: Gate) -> None:
    """E11: neither a maker's nor one of ours."""
    maker = Maker.make(gate.house.clock(), days=1)
    await trust(gate, maker.root)
    (ours,) = certificates_in(await gate.enrol(await gate.credential()))
    gate.house.clock.advance(days=2)
    assert (await show(gate, maker.device, maker.below)).status == 401
    gate.house.clock.advance(days=400)
    assert (await gate.reenrol(ours, make_csr(NAME))).status == 403


async def test_a_certificate_on_hold_proves_nothing_until_it_is_released(gate: Gate) -> None:
    """E11: suspended counts like revoked, for as long as it lasts."""
    (ours,) = certificates_in(await gate.enrol(await gate.credential()))
    revocation = gate.house.core.revocation
    stored = await revocation.by_serial(f"{ours.serial_number:040x}")
    await revocation.hold(stored, ACTOR.name)
    assert (await gate.reenrol(ours, make_csr(NAME))).status == 403
    await revocation.release(stored, ACTOR.name)
    assert (await gate.reenrol(ours, make_csr(NAME))).status == 200


async def test_a_certificate_with_a_serial_of_ours_is_not_ours(gate: Gate) -> None:
    """E11: every byte counts; a forger may choose serial number and names."""
    (ours,) = certificates_in(await gate.enrol(await gate.credential()))
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(ours.subject).issuer_name(ours.issuer)
    builder = builder.public_key(key.public_key()).serial_number(ours.serial_number)
    builder = builder.not_valid_before(ours.not_valid_before_utc).not_valid_after(ours.not_valid_after_utc)
    forged = builder.sign(key, SHA256())
    assert (await gate.reenrol(forged, make_csr(NAME))).status == 401
    assert (await show(gate, b"no certificate at all")).status == 401


async def test_no_operation_redirects(gate: Gate) -> None:
    """E9: nothing here answers 3xx."""
    shown = await gate.credential()
    answers = [await gate(get(operation)) for operation in ("cacerts", "csrattrs", "crls")]
    answers += [await gate.enrol(shown), await gate.enrol(shown, make_csr("www.example.org"))]
    assert all(not 300 <= answer.status < 400 for answer in answers)
    assert all("Location" not in dict(answer.headers) for answer in answers)


async def test_a_proxys_word_for_a_certificate_is_no_channel_binding(gate: Gate) -> None:
    """T25: behind a proxy that ends TLS there is nothing to compare a binding with; only the front reads its fields."""
    shown = await gate.credential()
    headers = {**gate.basic(shown), "client-cert": ":AAAA:", "x-ssl-client-cert": "AAAA", "x-forwarded-proto": "https"}
    linked = b64encode(make_csr(NAME, password=b64encode(b"the client's connection")))
    answer = await gate(replace(post("simpleenroll", linked, headers), tls_version=None))
    assert (answer.status, "cannot be compared" in text_of(answer)) == (400, True)
    answer = await gate(post("simplereenroll", b64encode(make_csr(NAME)), headers))
    assert answer.status == 403  # the door itself sees no certificate in a field
