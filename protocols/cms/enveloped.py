"""EnvelopedData (RFC 5652 section 6): messages encrypted to one of our keys in, messages for others out.

    enveloped = read_enveloped(content)
    recipient = enveloped.find(certificate)          # the part that is for the holder of this certificate
    key = await decrypter.decrypt(recipient.encrypted_key, recipient.scheme)
    plaintext = enveloped.decrypt(key, spare=secrets.token_bytes(32))

    message = envelop(plaintext, [KeyTransport.to(certificate, public_key)], AES_128_CBC)

What comes in is for an RSA key (key transport): no client of ours encrypts to the server in another way. What goes out
is for whom `protocols.cms.recipients` knows: an RSA key, an EC key, a shared key or a password.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core import oids
from ca_core.der import integer, object_identifier, sequence, tlv
from ca_core.keys import DecryptionScheme
from policy.problems import BadAlgorithm, Malformed
from protocols.cms import algorithms
from protocols.cms.algorithms import AES_CIPHERS, ContentCipher
from protocols.cms.content import SET, content_info, decode, names, whole
from protocols.cms.recipients import RecipientInfo

MAX_RECIPIENTS = 16
"""Recipients of a message that is read; micromdm encrypts to every certificate of GetCACert."""

_KEY_TRANSPORT = b"\x30"  # a RecipientInfo without a tag of its own (RFC 5652 section 6.2)


@asn1.sequence
class _KeyTransport:
    version: int
    identifier: asn1.TLV
    algorithm: asn1.TLV
    encrypted_key: bytes


@asn1.sequence
class _EncryptedContent:
    type: x509.ObjectIdentifier
    algorithm: asn1.TLV
    content: Annotated[bytes | None, asn1.Implicit(0)]


@asn1.sequence
class _EnvelopedData:
    version: int
    originator: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    recipients: asn1.TLV
    encrypted: _EncryptedContent
    unprotected: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class _ContentInfo:
    type: x509.ObjectIdentifier
    content: Annotated[_EnvelopedData, asn1.Explicit(0)]


@asn1.sequence
class _Items:
    items: list[asn1.TLV]


# --- in
# -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recipient:
    """A KeyTransRecipientInfo: for whom, and the encrypted content key."""

    identifier: bytes
    """RecipientIdentifier in DER: an IssuerAndSerialNumber, or [0] with a key identifier."""
    algorithm: bytes
    encrypted_key: bytes

    @property
    def scheme(self) -> DecryptionScheme:
        """How the content key was encrypted. Raises BadAlgorithm."""
        return algorithms.read_transport(self.algorithm)


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    """An encrypted message, as it was received."""

    content_type: str
    recipients: tuple[Recipient, ...]
    """Those with key transport; others are left out, since nobody here could be meant."""
    algorithm: bytes
    ciphertext: bytes

    def find(self, certificate: bytes) -> Recipient | None:
        """The part for the holder of this certificate, if there is one."""
        return next((one for one in self.recipients if names(one.identifier, certificate)), None)

    def cipher(self, accepted: Sequence[ContentCipher] = AES_CIPHERS) -> ContentCipher:
        """The content cipher. Raises BadAlgorithm for one that is not accepted, Malformed for none at all."""
        return self._cipher(accepted)[0]

    def decrypt(self, key: bytes, *, spare: bytes, accepted: Sequence[ContentCipher] = AES_CIPHERS) -> bytes:
        """The content, with the content key that came out of a recipient's part.

        `spare` is 32 random bytes, fresh for each message: they take the place of a key that has not the size of the
        cipher's, so that a wrong one is no faster and looks no different (RFC 3218 section 2.3.2). Raises Malformed
        with the same words for every fault behind the key, whether of size, padding or key, and what `cipher` raises.
        """
        cipher, vector = self._cipher(accepted)
        if len(key) != cipher.key_bytes:
            key = spare[: cipher.key_bytes]
        try:
            return cipher.decrypt(key, vector, self.ciphertext)
        except ValueError:
            # Without the cause, which says whether it was the padding.
            raise Malformed("the encrypted content cannot be read") from None

    def _cipher(self, accepted: Sequence[ContentCipher]) -> tuple[ContentCipher, bytes]:
        try:
            cipher, vector = algorithms.read_cipher(self.algorithm)
        except ValueError as exc:
            raise Malformed("the content encryption algorithm of the message cannot be read") from exc
        if cipher not in accepted:
            raise BadAlgorithm(
                f"the content is encrypted with {cipher.name}, which is not accepted here; accepted are "
                + ", ".join(one.name for one in accepted)
            )
        return cipher, vector


def read_enveloped(data: bytes) -> EnvelopedData:
    """Read a ContentInfo with an EnvelopedData; DER, or BER within the limits of `ber`.

    Raises TooLarge, Malformed. Decrypts nothing; algorithms are looked at when they are asked for.
    """
    info = decode(_ContentInfo, data, "an EnvelopedData")
    message = info.content
    if info.type.dotted_string != oids.CMS_ENVELOPED_DATA:
        raise Malformed("the content of the message is not an EnvelopedData (RFC 5652 section 6)")
    if message.encrypted.content is None:
        raise Malformed("the message has no encrypted content")
    try:
        # A SET OF that need not be sorted.
        items = asn1.decode_der(_Items, sequence(sequence(bytes(message.recipients.data)))).items
        found = [one.parse(_KeyTransport) for one in items if one.tag_bytes == _KEY_TRANSPORT]
    except ValueError as exc:
        raise Malformed("the recipients of the message cannot be read (RFC 5652 section 6.2)") from exc
    if len(items) > MAX_RECIPIENTS:
        raise Malformed(f"the message has {len(items)} recipients; the limit is {MAX_RECIPIENTS}")
    recipients = (Recipient(whole(one.identifier), whole(one.algorithm), one.encrypted_key) for one in found)
    return EnvelopedData(
        message.encrypted.type.dotted_string,
        tuple(recipients),
        whole(message.encrypted.algorithm),
        message.encrypted.content,
    )


# --- out
# ------------------------------------------------------------------------------------------------------


def envelop(
    content: bytes,
    recipients: Sequence[RecipientInfo],
    cipher: ContentCipher = algorithms.AES_256_CBC,
    *,
    content_type: str = oids.CMS_DATA,
    key: bytes | None = None,
) -> bytes:
    """A ContentInfo with the content encrypted under a fresh key, which each of the recipients can find.

    `key` is one that was made, and wrapped for its recipient, before there was the content.
    """
    key = key or secrets.token_bytes(cipher.key_bytes)
    vector = secrets.token_bytes(cipher.block_bytes)
    encrypted = sequence(
        object_identifier(content_type),
        cipher.identifier(vector),
        tlv(0x80, cipher.encrypt(key, vector, content)),
    )
    wrapped = b"".join(sorted(one.wrap(key) for one in recipients))
    body = sequence(integer(max(one.message_version for one in recipients)), tlv(SET, wrapped), encrypted)
    return content_info(oids.CMS_ENVELOPED_DATA, body)
