"""Secrets that the server makes up: what clients can take."""

from __future__ import annotations

import secrets

import pytest

from policy.credential_secret import SECRET_BYTES
from tests.conftest import House


async def test_a_secret_is_no_option_of_a_command_line(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """certbot 2.1 takes `--eab-hmac-key -x…` for two options: one in 64 base64url texts begins with a hyphen."""
    drawn = [b"\xf8" + bytes(31), b"\xfb" + bytes(31), bytes(32)]
    real = secrets.token_bytes

    def token_bytes(size: int) -> bytes:
        return drawn.pop(0) if size == SECRET_BYTES and drawn else real(size)

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    made = await house.credential("acme")
    assert made.secret == "A" * 43
