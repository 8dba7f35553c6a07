"""Linking identity and proof of possession: challengePassword and channel binding (RFC 7030 section 3.5).

The signature of the request proves that somebody holds the key; the channel binding in it proves that it is
who opened this very connection. A value that is present is compared or the request is refused: it is never
passed over.
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64

from ca_core.csr import CertificationRequest
from policy.problems import BadProofOfPossession
from protocols.est.settings import ChallengePassword, Linking, MountOptions
from protocols.http import ChannelBinding, HTTPRequest

# Which binding belongs to which protocol version. tls-unique is not defined for TLS 1.3; RFC 9266 section 3
# put the exporter in its place there.
_BINDINGS = {
    "TLSv1": ChannelBinding.TLS_UNIQUE,
    "TLSv1.1": ChannelBinding.TLS_UNIQUE,
    "TLSv1.2": ChannelBinding.TLS_UNIQUE,
    "TLSv1.3": ChannelBinding.EXPORTER,
}


def check_linking(csr: CertificationRequest, request: HTTPRequest, options: MountOptions) -> None:
    """Check that the request was signed for this TLS connection, as far as the mount's options say.

    Raises BadProofOfPossession when a challengePassword is required and absent, differs from the channel
    binding, or cannot be compared because this server has no such binding of the connection.
    """
    if options.challenge_password is ChallengePassword.SECRET:
        return
    if csr.challenge_password is None:
        if options.pop is Linking.REQUIRE:
            raise BadProofOfPossession(
                "this server needs a challengePassword that links the request to the TLS connection "
                "(RFC 7030 section 3.5); there is none in the request"
            )
        return
    kind = _BINDINGS.get(request.tls_version or "")
    value = request.channel_binding(kind) if kind is not None else None
    if not value:
        raise BadProofOfPossession(
            "the challengePassword cannot be compared with this TLS connection: "
            + (
                "the server has no exporter value for TLS 1.3, use TLS 1.2"
                if kind is ChannelBinding.EXPORTER
                else "the server does not know its tls-unique value"
            )
            + ", or leave the challengePassword out",
            tls_version=request.tls_version,
        )
    expected = b2a_base64(value, newline=False)
    if not hmac.compare_digest(expected, csr.challenge_password.encode("utf-8", "replace")):
        raise BadProofOfPossession(
            "the challengePassword is not the channel binding of this TLS connection (RFC 7030 section 3.5)"
        )
