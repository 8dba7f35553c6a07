"""Make the requests in this folder, as clients send them: BER, several recipients, attributes in no order.

    python -m tests.vectors.scep.make_vectors

Built by the tests' own client on asn1crypto (tests/protocols/scep/client.py) and rewritten here by hand. Keys are made
anew each time and not kept: nothing is decrypted of them again.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from ca_core.der import elements, read_tlv, sequence, tlv
from tests.protocols.scep.client import Client, encrypt, make_csr, rsa_key, self_signed

HERE = Path(__file__).parent


def indefinite(der: bytes, depth: int = 0) -> bytes:
    """The same with indefinite lengths, and octet strings of some size in two pieces, as BouncyCastle writes them.

    What is signed or certified (signed attributes, certificates) stays as it is.
    """
    tag = der[0]
    element = read_tlv(der, 0)
    content = der[element.start : element.end]
    if tag == 0x04 and len(content) > 100:
        pieces = tlv(0x04, content[:64]) + tlv(0x04, content[64:])
        return b"\x24\x80" + pieces + b"\x00\x00"
    if depth > 4 or not tag & 0x20 or (depth == 3 and tag == 0xA0):
        return der
    return bytes((tag, 0x80)) + b"".join(indefinite(one, depth + 1) for one in elements(der, tag)) + b"\x00\x00"


def in_pieces(enveloped: bytes) -> bytes:
    """An EnvelopedData whose encryptedContent [0] is constructed, as micromdm 2.1.0 writes it."""
    oid, body = elements(enveloped)
    (content,) = elements(body, 0xA0)
    *before, encrypted = elements(content)
    kind, algorithm, text = elements(encrypted)
    octets = text[read_tlv(text, 0).start :]
    whole = sequence(kind, algorithm, tlv(0xA0, tlv(0x04, octets[:100]) + tlv(0x04, octets[100:])))
    return sequence(oid, tlv(0xA0, sequence(*before, whole)))


def unsorted(message: bytes) -> bytes:
    """The message with its signed attributes in reverse order, signed so."""
    oid, body = elements(message)
    (signed,) = elements(body, 0xA0)
    *before, infos = elements(signed)
    (info,) = elements(infos, 0x31)
    parts = list(elements(info))
    attributes = b"".join(reversed(elements(parts[3], 0xA0)))
    parts[3] = tlv(0xA0, attributes)
    parts[5] = tlv(0x04, rsa_key().sign(tlv(0x31, attributes), padding.PKCS1v15(), SHA256()))
    return sequence(oid, tlv(0xA0, sequence(*before, tlv(0x31, sequence(*parts)))))


def main() -> None:
    """Write every file."""
    client, csr = Client(transaction="vector"), make_csr(challenge="fleet:secret")
    recipients = [self_signed(rsa_key("ra"), "RA"), self_signed(rsa_key("ca"), "CA")]
    plain = client.message(csr, recipients[:1])
    files = {
        "pkcsreq.der": plain,
        "pkcsreq-indefinite.ber": indefinite(plain),
        "pkcsreq-pieces.ber": client.sign(in_pieces(encrypt(csr, recipients[:1]))),
        "pkcsreq-recipients.der": client.message(csr, recipients),
        "pkcsreq-unsorted.der": unsorted(plain),
    }
    for name, data in files.items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
