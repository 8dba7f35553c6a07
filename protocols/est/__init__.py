"""EST: Enrollment over Secure Transport (RFC 7030), with the clarifications of RFC 8951."""

from __future__ import annotations

from protocols.endpoint import ProtocolDescription
from protocols.est.endpoint import ESTEndpoint
from protocols.est.kits import KITS
from protocols.est.problems import STATUS
from protocols.est.settings import CREDENTIAL_FORM, ESTSettings, read_options

PROTOCOL = ProtocolDescription(
    name="est",
    documents=(
        "RFC 7030",
        "RFC 8951",
        "RFC 9908",
        "RFC 7616",
        "RFC 7617",
        "RFC 5929",
        "RFC 9266",
        "RFC 7894",
        "RFC 6402",
    ),
    settings=ESTSettings,
    factory=ESTEndpoint,
    problems=STATUS,
    credential_form=CREDENTIAL_FORM,
    kits=KITS,
    check_mount=read_options,
)
