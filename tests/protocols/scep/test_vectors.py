"""Requests as clients send them: read, and their signatures verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.cms.enveloped import read_enveloped
from protocols.scep.message import MessageType, read_message, verify

VECTORS = Path(__file__).parents[2] / "vectors" / "scep"
NAMES = sorted(path.name for path in VECTORS.glob("pkcsreq*"))


def test_every_vector_is_explained() -> None:
    """The page of the folder has a line for each file."""
    page = (VECTORS / "README.md").read_text()
    assert len(NAMES) == 5
    assert all(f"`{name}`" in page for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_request_is_read_and_verified(name: str) -> None:
    """S9, S10, S11: BER, pieces, several recipients, attributes in any order."""
    message = read_message((VECTORS / name).read_bytes())
    verify(message, sha1=False)
    assert (message.transaction_id, message.message_type) == ("vector", MessageType.PKCS_REQ)
    assert message.self_signed
    envelope = read_enveloped(message.signed.content or b"")
    assert len(envelope.recipients) == (2 if "recipients" in name else 1)
    assert envelope.cipher().name == "aes128-CBC"
    assert len(envelope.ciphertext) % 16 == 0
