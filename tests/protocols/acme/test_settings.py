"""Settings, mount options, and the form of a credential."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from policy.mount import Mount
from protocols.acme import PROTOCOL
from protocols.acme.settings import MountOptions, read_options


def mount(**options: Any) -> Mount:
    return Mount("acme", "default", ("standard",), "issuing", options=options)


def test_every_setting_has_a_default_and_a_sentence() -> None:
    """The configuration file is made of them."""
    PROTOCOL.settings()
    assert all(field.metadata["help"].endswith(".") for field in fields(PROTOCOL.settings))


def test_options_are_read() -> None:
    """Nothing is needed; what is given counts."""
    assert read_options(mount()) == MountOptions()
    read = read_options(mount(terms_of_service="https://a.test/terms", require_current_terms=True))
    assert read.terms_of_service == "https://a.test/terms"
    assert read.require_current_terms


@pytest.mark.parametrize(
    "options",
    [
        {"tos": "https://a.test"},
        {"terms_of_service": 1},
        {"terms_of_service": "ftp://a.test"},
        {"terms_of_service": "https://a.test/ x"},
        {"terms_of_service": 'https://a.test/>;rel="next'},
        {"website": "javascript:alert(1)"},
        {"require_current_terms": True},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """The message names the mount; a URL cannot break out of its Link field."""
    with pytest.raises(ValueError, match="acme/default"):
        read_options(mount(**options))


def test_the_credential_form_has_sentences() -> None:
    """REST, command line and console show them."""
    assert {field.name for field in PROTOCOL.credential_form} >= {"identifier", "method", "use_limit", "products"}
    assert all(field.help for field in PROTOCOL.credential_form)
