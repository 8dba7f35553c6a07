"""CMP: the Certificate Management Protocol (RFC 9810), its lightweight profile (RFC 9483), over HTTP (RFC 9811)."""

from __future__ import annotations

from protocols.cmp.endpoint import CMPEndpoint
from protocols.cmp.problems import FAIL_INFO
from protocols.cmp.settings import CREDENTIAL_FORM, CMPSettings, read_options
from protocols.endpoint import ProtocolDescription

PROTOCOL = ProtocolDescription(
    name="cmp",
    documents=("RFC 9810", "RFC 9483", "RFC 9481", "RFC 9811", "RFC 4211"),
    settings=CMPSettings,
    factory=CMPEndpoint,
    problems=FAIL_INFO,
    credential_form=CREDENTIAL_FORM,
    check_mount=read_options,
)
