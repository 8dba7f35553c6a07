"""Secrets that the server makes up: what clients can take."""

from __future__ import annotations

import secrets

import pytest

from policy.credentialing import _new_secret


def test_a_secret_is_no_option_of_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """certbot 2.1 takes `--eab-hmac-key -x…` for two options: one in 64 base64url texts begins with a hyphen."""
    drawn = iter((b"\xf8" + bytes(31), b"\xfb" + bytes(31), bytes(32)))
    monkeypatch.setattr(secrets, "token_bytes", lambda _: next(drawn))
    assert _new_secret() == "A" * 43
