"""SCEP: Simple Certificate Enrolment Protocol (RFC 8894)."""

from __future__ import annotations

from protocols.endpoint import ProtocolDescription
from protocols.scep.endpoint import SCEPEndpoint
from protocols.scep.problems import FAIL_INFO
from protocols.scep.settings import CREDENTIAL_FORM, SCEPSettings, read_options

PROTOCOL = ProtocolDescription(
    name="scep",
    documents=("RFC 8894", "RFC 5652", "RFC 2986"),
    settings=SCEPSettings,
    factory=SCEPEndpoint,
    problems=FAIL_INFO,
    credential_form=CREDENTIAL_FORM,
    check_mount=read_options,
)
