"""The link between request and TLS connection, with the bindings of a real handshake in memory."""

from __future__ import annotations

import ssl
from base64 import b64encode

import pytest
import trustme

from ca_core.csr import read_csr
from policy.problems import BadProofOfPossession
from protocols.est.possession import check_linking
from protocols.est.settings import ChallengePassword, Linking, MountOptions
from protocols.http import ChannelBinding
from tests.protocols.est.small import make_csr, post
from tests.replacing import replace

PLAIN = read_csr(make_csr())


def handshake(version: ssl.TLSVersion) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Client and server of one finished handshake."""
    authority = trustme.CA()
    here, there = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(here)
    authority.issue_cert("ca.certgate.test").configure_cert(there)
    here.maximum_version = version
    first, second = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = here.wrap_bio(first, second, server_hostname="ca.certgate.test")
    server = there.wrap_bio(second, first, server_side=True)
    waiting = [client, server] * 4
    for side in waiting:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client, server


def test_tls_unique_of_both_sides_is_the_same() -> None:
    """E16: RFC 7030 section 3.5: the client writes base64 of its tls-unique; the server compares with its own."""
    client, server = handshake(ssl.TLSVersion.TLSv1_2)
    mine, theirs = client.get_channel_binding("tls-unique"), server.get_channel_binding("tls-unique")
    assert mine is not None
    csr = read_csr(make_csr(password=b64encode(mine)))
    request = post("simpleenroll", b"", tls_version=str(server.version()))
    linked = replace(request, channel_binding={ChannelBinding.TLS_UNIQUE: theirs}.get)
    check_linking(csr, linked, MountOptions(pop=Linking.REQUIRE))


def test_another_connection_has_another_tls_unique() -> None:
    """E16, T16: A request that was caught elsewhere is worth nothing here."""
    caught = handshake(ssl.TLSVersion.TLSv1_2)[0].get_channel_binding("tls-unique")
    mine = handshake(ssl.TLSVersion.TLSv1_2)[1].get_channel_binding("tls-unique")
    assert caught is not None
    csr = read_csr(make_csr(password=b64encode(caught)))
    request = replace(
        post("simpleenroll", b"", tls_version="TLSv1.2"),
        channel_binding={ChannelBinding.TLS_UNIQUE: mine}.get,
    )
    with pytest.raises(BadProofOfPossession):
        check_linking(csr, request, MountOptions())


def test_on_tls_1_3_only_the_exporter_counts() -> None:
    """E16: RFC 9266 section 3: tls-unique is not defined there, even if something calls itself so."""
    csr = read_csr(make_csr(password=b64encode(b"finished")))
    request = post("simpleenroll", b"", bindings={ChannelBinding.TLS_UNIQUE: b"finished"})
    with pytest.raises(BadProofOfPossession, match=r"TLS 1\.3"):
        check_linking(csr, request, MountOptions())


def test_what_is_not_asked_for_may_be_absent() -> None:
    """Without a challengePassword there is nothing to compare, unless the mount requires one."""
    request = post("simpleenroll", b"")
    check_linking(PLAIN, request, MountOptions())
    with pytest.raises(BadProofOfPossession):
        check_linking(PLAIN, request, MountOptions(pop=Linking.REQUIRE))


def test_a_secret_is_judged_elsewhere() -> None:
    """Where the challengePassword is a secret of the credential it is a claim, and no binding."""
    csr = read_csr(make_csr(password=b"shared"))
    options = MountOptions(challenge_password=ChallengePassword.SECRET)
    check_linking(csr, post("simpleenroll", b""), options)
