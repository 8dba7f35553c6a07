"""Cryptographic Message Syntax (RFC 5652), values in and out: what EST, SCEP, CMC and CMP share.

`signed` writes SignedData. Nothing here waits, holds a key or knows a protocol.
"""

from __future__ import annotations
