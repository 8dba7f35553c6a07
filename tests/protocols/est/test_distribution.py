"""What everybody may read, on the real services: key updates in cacerts (E6), CRLs (E27), renewal-info (E30)."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core.authority import CertificateAuthority
from ca_core.status import RevocationReason
from policy.problems import Malformed, OrderConflict
from protocols.renewalinfo import write_certid
from tests.conftest import ACTOR, House
from tests.protocols.est.gate import NAME, Gate
from tests.protocols.est.small import certificates_in, get, make_csr, text_of


async def update_the_root(house: House) -> None:
    """A second root of the same name, each certified by the other; loaded as a restart does it."""
    core = house.core
    await core.authorities.make_root("root-2", (("CN", "Test Root"),), "ec-p384", timedelta(days=9000), ACTOR)
    await core.authorities.cross_certify("root", "root-2", ACTOR)
    await core.authorities.cross_certify("root-2", "root", ACTOR)
    await restart(house)


async def restart(house: House) -> None:
    authority = CertificateAuthority(await house.core.authorities.load(), house.clock)
    house.core.publication._ca = authority
    house.core.ra._parts.ca.issuers = authority.issuers


def key_of(certificate: x509.Certificate) -> str:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


async def test_cacerts_has_old_and_new_while_the_root_is_updated(gate: Gate, tmp_path: Path) -> None:
    """E6, RFC 7030 section 4.1.3: who trusts either root finds the other; openssl builds both ways."""
    before = certificates_in(await gate(get("cacerts")))
    await update_the_root(gate.house)
    after = certificates_in(await gate(get("cacerts")))
    roots = [one for one in after if one.subject == one.issuer]
    assert len(before) == 2
    assert len(after) == 5
    assert len({(one.subject, one.issuer) for one in roots}) == 1  # four self-issued: two keys, each signed by each
    pairs = {
        (key_of(one), one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier)
        for one in roots
    }
    assert len(pairs) == 4
    old, new = gate.house.core.publication._ca.issuer("root"), gate.house.core.publication._ca.issuer("root-2")
    (issuing,) = [one for one in after if one.subject != one.issuer]
    (leaf,) = certificates_in(await gate.enrol(await gate.credential()))
    (old_with_new,) = [
        one
        for one in roots
        if key_of(one) == old.id
        and one.not_valid_after_utc <= old.not_after
        and one.public_bytes(Encoding.DER) != old.certificate_der
    ]
    for name, certificates in (
        ("new", [new.certificate]),
        ("between", [issuing, old_with_new]),
        ("leaf", [leaf]),
    ):
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    moment = str(int(gate.house.clock().timestamp()) + 1)
    words = ("verify", "-attime", moment, "-CAfile", "new.pem", "-untrusted", "between.pem", "leaf.pem")
    run = subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True)
    assert run.returncode == 0, run.stderr


async def test_the_entity_tag_changes_with_the_certificates(gate: Gate) -> None:
    """E6: a cache that asks again gets the new ones, and 304 while nothing is new."""
    tag = dict((await gate(get("cacerts"))).headers)["ETag"]
    assert (await gate(get("cacerts", {"if-none-match": tag}))).status == 304
    await update_the_root(gate.house)
    assert (await gate(get("cacerts", {"if-none-match": tag}))).status == 200


async def test_a_link_that_has_expired_is_left_out(gate: Gate) -> None:
    """E6: an old root's certificate for the new one is of no use after the old one's end."""
    await update_the_root(gate.house)
    gate.house.clock.advance(days=3651)
    after = certificates_in(await gate(get("cacerts")))
    # What the mount is configured with stays; of the update only the new root is left.
    assert len(after) == 3


async def test_roots_certify_each_other_once(gate: Gate) -> None:
    """Nothing is made for a CA that is not there, nor by one that is no root."""
    authorities = gate.house.core.authorities
    for name, root in (("nothing", "root"), ("root", "nothing"), ("root", "issuing"), ("root", "root")):
        with pytest.raises(Malformed):
            await authorities.cross_certify(name, root, ACTOR)
    await authorities.make_root("root-2", (("CN", "Other"),), "ec-p256", timedelta(days=900), ACTOR)
    made = await authorities.cross_certify("issuing", "root-2", ACTOR)
    (chain,) = made.alternates
    crossed = x509.load_der_x509_certificate(chain[0])
    assert crossed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    with pytest.raises(OrderConflict):
        await authorities.add_chain("issuing", chain, ACTOR)


async def test_crls_of_the_whole_chain(gate: Gate) -> None:
    """E27, RFC 8295: degenerate CMS with the CRLs of the issuing CA and of the root, and no certificate."""
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    core = gate.house.core
    stored = await core.revocation.by_serial(f"{first.serial_number:040x}")
    await core.revocation.revoke(stored, RevocationReason.KEY_COMPROMISE, ACTOR.name)
    await core.publication.publish(stored.issuer_id, stored.shard)
    answer = await gate(get("crls"))
    assert answer.content_type == "application/pkcs7-mime; smime-type=crls-only"
    content = cms.ContentInfo.load(b64decode(text_of(answer), validate=True))["content"]
    assert not content["certificates"]
    assert not content["signer_infos"]
    crls = [x509.load_der_x509_crl(one.chosen.dump()) for one in content["crls"]]
    assert sorted(str(one.issuer.rfc4514_string()) for one in crls) == ["CN=Test Issuing", "CN=Test Root"]
    assert [entry.serial_number for one in crls for entry in one] == [first.serial_number]


async def test_renewal_info_is_that_of_acme(gate: Gate) -> None:
    """E30: the window of RFC 9773 for anybody who knows the certificate; in the past once it is revoked."""
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    core = gate.house.core
    stored = await core.revocation.by_serial(f"{first.serial_number:040x}")
    path = f"renewal-info/{write_certid(stored.issuer_id, stored.serial)}"
    answer = await gate(get(path))
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert int(dict(answer.headers)["Retry-After"]) > 0
    window = {name: datetime.fromisoformat(at) for name, at in json.loads(text_of(answer))["suggestedWindow"].items()}
    assert first.not_valid_before_utc < window["start"] < window["end"] < first.not_valid_after_utc
    await core.revocation.revoke(stored, RevocationReason.SUPERSEDED, ACTOR.name)
    window = json.loads(text_of(await gate(get(path))))["suggestedWindow"]
    assert datetime.fromisoformat(window["end"]) < gate.house.clock()
    assert (await gate(get("renewal-info/nothing"))).status == 400
    assert (await gate(get(f"renewal-info/{write_certid(stored.issuer_id, '01')}"))).status == 404


async def test_csrattrs_are_those_of_the_clients_own_product(gate: Gate) -> None:
    """E25: to nobody in particular those of the mount's first product; a wrong password is told."""
    shown = await gate.credential("tls")
    everybody = await gate(get("csrattrs"))
    own = await gate(get("csrattrs", gate.basic(shown)))
    assert everybody.status == own.status == 200
    assert everybody.body != own.body
    assert (await gate(get("csrattrs", {"authorization": "Basic bm8tb25lOm5v"}))).status == 401
    stranger = await gate.enrol(await gate.credential(), make_csr(NAME))
    assert stranger.status == 200
