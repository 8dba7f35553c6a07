"""Linking identity and proof of possession: channel binding in the request (RFC 7030 section 3.5, RFC 7894).

The signature of the request proves that somebody holds the key; the channel binding in it proves that it is
who opened this very connection. A value that is present is compared or the request is refused: it is never
passed over.
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64

from ca_core import oids
from ca_core.csr import CertificationRequest, read_attribute, read_text
from policy.problems import BadCSR, BadProofOfPossession
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


def read_linking(csr: CertificationRequest, options: MountOptions) -> tuple[str, ...]:
    """The channel bindings that a request carries: in the challengePassword, in estIdentityLinking, in both.

    Raises BadCSR for attributes of RFC 7894 that cannot be honoured, which must not be passed over either.
    """
    if not csr.attributes:
        return ()
    if oids.REVOCATION_CHALLENGE in csr.attributes:
        raise BadCSR("a revocationChallenge (RFC 7894 section 3.2) is not kept here: leave it out")
    if oids.OTP_CHALLENGE in csr.attributes and options.challenge_password is not ChallengePassword.SECRET:
        raise BadCSR("an otpChallenge (RFC 7894 section 3.1) is not looked at here: leave it out")
    found: list[str] = []
    if csr.challenge_password is not None and options.challenge_password is ChallengePassword.POP:
        found.append(csr.challenge_password)
    linking = read_attribute(csr, oids.EST_IDENTITY_LINKING)
    if linking is not None:
        found.append(read_text(linking))
    return tuple(found)


def read_shared_secret(csr: CertificationRequest) -> str | None:
    """The secret in a request, where the challengePassword is one; otpChallenge is its other place (RFC 7894)."""
    one_time = read_attribute(csr, oids.OTP_CHALLENGE)
    return csr.challenge_password if one_time is None else read_text(one_time)


def check_linking(csr: CertificationRequest, request: HTTPRequest, options: MountOptions) -> None:
    """Check that the request was signed for this TLS connection, as far as the mount's options say.

    Raises BadProofOfPossession when a binding is required and absent, differs from the connection's, or cannot
    be compared because this server has none of the connection, or may not because the mount says "off".
    """
    shown = read_linking(csr, options)
    if not shown:
        if options.pop is Linking.REQUIRE:
            raise BadProofOfPossession(
                f"this server needs {_wanted(options)} that links the request to the TLS connection "
                "(RFC 7030 section 3.5); there is none in the request"
            )
        return
    if options.pop is Linking.OFF:
        raise BadProofOfPossession(
            "requests are not linked to the TLS connection here, so a challengePassword or estIdentityLinking "
            "cannot be checked: leave it out"
        )
    kind = _BINDINGS.get(request.tls_version or "")
    value = request.channel_binding(kind) if kind is not None else None
    if not value:
        raise BadProofOfPossession(
            "the challengePassword cannot be compared with this TLS connection: "
            + (
                "the server has no exporter value for TLS 1.3, use TLS 1.2"
                if kind is ChannelBinding.EXPORTER
                else "the server has no tls-unique value of it (a proxy or a resumed session), make a full handshake"
            )
            + ", or leave the challengePassword out",
            tls_version=request.tls_version,
        )
    expected = b2a_base64(value, newline=False)
    if not all(hmac.compare_digest(expected, one.encode("utf-8", "replace")) for one in shown):
        raise BadProofOfPossession(
            "the challengePassword is not the channel binding of this TLS connection (RFC 7030 section 3.5)"
        )


def _wanted(options: MountOptions) -> str:
    if options.challenge_password is ChallengePassword.SECRET:
        return "an estIdentityLinking attribute (RFC 7894 section 3.3)"
    return "a challengePassword"


def linking_attribute(options: MountOptions) -> str | None:
    """The attribute that the mount demands of every request, for its CSR attributes (RFC 7030 section 3.5)."""
    if options.pop is not Linking.REQUIRE:
        return None
    secret = options.challenge_password is ChallengePassword.SECRET
    return oids.EST_IDENTITY_LINKING if secret else oids.CHALLENGE_PASSWORD
