"""Status: CRLs, OCSP and CA certificates, for everybody and over plain HTTP (RFC 5280, RFC 6960)."""

from __future__ import annotations

from protocols.endpoint import ProtocolDescription
from protocols.status.endpoint import StatusEndpoint
from protocols.status.problems import STATUS
from protocols.status.settings import StatusSettings

PROTOCOL = ProtocolDescription(
    name="status",
    documents=("RFC 5280", "RFC 6960", "RFC 5019", "RFC 9654", "RFC 2585"),
    settings=StatusSettings,
    factory=StatusEndpoint,
    problems=STATUS,
)
