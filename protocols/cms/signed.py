"""SignedData (RFC 5652 section 5), spliced from certificates that are DER already."""

from __future__ import annotations

from collections.abc import Sequence

# version 1, digestAlgorithms {}, encapContentInfo { id-data }: all that stands before the certificates when
# nothing is signed. Version 1 follows from id-data and plain X.509 certificates (RFC 5652 section 5.1).
_BEFORE = bytes.fromhex("020101 3100 300b 06092a864886f70d010701")
_AFTER = bytes.fromhex("3100")  # signerInfos {}
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # id-signedData


def certs_only(certificates: Sequence[bytes]) -> bytes:
    """A degenerate SignedData with certificates and no signature (RFC 5652 section 5.1): "certs-only".

    DER: the certificates stand in the order of their encodings (X.690 section 11.6), whatever the order
    given. They are not looked into. Raises ValueError for no certificate at all: no protocol has a use for
    that.
    """
    if not certificates:
        raise ValueError("a certs-only message without a certificate says nothing")
    bag = b"".join(sorted(certificates) if len(certificates) > 1 else certificates)
    certificate_set = _header(0xA0, len(bag))
    size = len(_BEFORE) + len(certificate_set) + len(bag) + len(_AFTER)
    signed_data = _header(0x30, size)
    size += len(signed_data)
    content = _header(0xA0, size)
    outer = _header(0x30, len(_SIGNED_DATA) + len(content) + size)
    return b"".join((outer, _SIGNED_DATA, content, signed_data, _BEFORE, certificate_set, bag, _AFTER))


def _header(tag: int, size: int) -> bytes:
    """Tag and definite length; the common case, some hundred to some thousand bytes, comes first."""
    if 0x100 <= size < 0x10000:
        return bytes((tag, 0x82, size >> 8, size & 0xFF))
    if size < 0x80:
        return bytes((tag, size))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets
