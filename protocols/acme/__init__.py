"""ACME: automatic certificate management (RFC 8555), its identifiers, challenges, renewal information,
profiles."""

from __future__ import annotations

from protocols.acme.endpoint import ACMEEndpoint
from protocols.acme.kits import KITS
from protocols.acme.problems import WIRE
from protocols.acme.settings import CREDENTIAL_FORM, ACMESettings, read_options
from protocols.endpoint import ProtocolDescription

PROTOCOL = ProtocolDescription(
    name="acme",
    documents=("RFC 8555", "RFC 8737", "RFC 8738", "RFC 9773", "draft-ietf-acme-profiles"),
    settings=ACMESettings,
    factory=ACMEEndpoint,
    problems=WIRE,
    credential_form=CREDENTIAL_FORM,
    kits=KITS,
    check_mount=read_options,
)
