"""Cryptographic Message Syntax (RFC 5652), values in and out: what EST, SCEP, CMC and CMP share.

`signed` reads and writes SignedData, `enveloped` EnvelopedData, `ber` rewrites what clients send as BER, `algorithms`
says which algorithms there are. Nothing here waits, holds a private key or knows a protocol: what has to be decrypted
or signed is a value, which an endpoint takes to the key.
"""

from __future__ import annotations
