"""Settings and mount options: defaults, mistakes, contradictions."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import fields
from typing import Any

import msgspec
import pytest

from policy.mount import Mount
from protocols.est import csrattrs
from protocols.est.settings import ESTSettings, Linking, MountOptions, Reenroll, read_options


def mount(**options: Any) -> Mount:
    return Mount("est", "default", ("device",), "issuing", options=options)


def test_every_setting_has_a_default_and_a_sentence() -> None:
    """What the configuration shows to operators."""
    assert ESTSettings() == ESTSettings(realm="EST")
    assert all(one.metadata["help"].endswith(".") for one in fields(ESTSettings))


@pytest.mark.parametrize(
    "table", [{"realm": 'a"b'}, {"realm": "a\r\nX: y"}, {"realm": "ü"}, {"held_retry_after_seconds": 0}]
)
def test_settings_that_cannot_work_are_refused(table: dict[str, Any]) -> None:
    """The realm goes into a header field as it is; a Retry-After of 0 makes clients spin."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, ESTSettings)


def test_no_options_are_the_defaults() -> None:
    """A mount without options is a strict and usable one."""
    options = read_options(mount())
    assert options == MountOptions()
    assert (options.pop, options.reenroll) == (Linking.VERIFY_IF_PRESENT, Reenroll.CERTIFICATE)


def test_all_mistakes_are_reported_together() -> None:
    """One look at the message is enough to repair a mount."""
    with pytest.raises(ValueError, match='mount "est/default"') as caught:
        read_options(mount(pop="never", base64_wrap=72, content_transfer_encoding="yes", csrattrs="!", colour=1))
    for word in ("pop", "base64_wrap", "content_transfer_encoding", "csrattrs", "colour"):
        assert word in str(caught.value)


@pytest.mark.parametrize("value", [True, "64", 64.5, None])
def test_a_width_is_a_number(value: Any) -> None:
    """TOML and JSON know more types than we want here."""
    with pytest.raises(ValueError, match="base64_wrap"):
        read_options(mount(base64_wrap=value))


@pytest.mark.parametrize("value", [7, None, "AAAA", ["x"]])
def test_csrattrs_have_to_be_csr_attributes(value: Any) -> None:
    """What is served as it is has to be right when the mount is made."""
    with pytest.raises(ValueError, match="csrattrs"):
        read_options(mount(csrattrs=value))


def test_options_that_contradict_each_other() -> None:
    """RFC 7030 section 3.5: the linking needs the challengePassword, and csrattrs has to name it."""
    bare = b64encode(csrattrs.write_csrattrs(("1.2.840.10045.4.3.2",))).decode()
    with pytest.raises(ValueError, match="challengePassword"):
        read_options(mount(pop="require", csrattrs=bare))
    assert read_options(mount(csrattrs=bare)).csrattrs
    named = b64encode(csrattrs.write_csrattrs(("1.2.840.113549.1.9.7",))).decode()
    assert read_options(mount(pop="require", csrattrs=named)).csrattrs
    # RFC 7894 section 3.3: with a secret in the challengePassword, the binding has an attribute of its own.
    with pytest.raises(ValueError, match="estIdentityLinking"):
        read_options(mount(pop="require", challenge_password="secret", csrattrs=named))
