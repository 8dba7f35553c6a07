"""Profiles: what is read from a table, and what is refused with which words."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_core.profile import DAY_SECONDS, KEY_USAGES, CertificateProfile, read_profile, usable_key_usage

WHOLE: dict[str, object] = {
    "name": "device",
    "version": 3,
    "description": "Certificates of devices",
    "subject_attributes": ["CN", "serialNumber"],
    "fixed_subject": {"O": "Example", "C": "DE"},
    "common_name": "keep",
    "name_types": ["dns", "ip"],
    "key_types": ["ec-p256"],
    "key_usage": ["digitalSignature", "keyAgreement"],
    "extended_key_usage": ["clientAuth", "1.3.6.1.5.5.7.3.17"],
    "policies": ["2.23.140.1.2.1"],
    "validity_seconds": 30 * DAY_SECONDS,
    "max_validity_seconds": 90 * DAY_SECONDS,
    "backdate_seconds": 0,
    "must_staple": True,
    "ca_issuers": False,
    "lint_sets": ["rfc5280"],
}


def test_read_profile_reads_every_kind_of_key() -> None:
    """Lists become tuples, a table of attributes keeps its order."""
    profile = read_profile(WHOLE)
    assert profile.fixed_subject == (("O", "Example"), ("C", "DE"))
    assert profile.extended_key_usage == ("clientAuth", "1.3.6.1.5.5.7.3.17")
    assert (profile.version, profile.must_staple, profile.ca_issuers) == (3, True, False)
    assert profile.longest_validity_seconds == 90 * DAY_SECONDS


def test_read_profile_reads_back_what_a_profile_is_written_as() -> None:
    """A stored version of a profile gives the same profile."""
    profile = read_profile(WHOLE)
    assert read_profile(asdict(profile)) == profile
    assert read_profile({"name": "minimal"}) == CertificateProfile("minimal")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key_usages": []}, '"key_usages" is not a key of a profile; did you mean "key_usage"?'),
        ({"zzz": 1}, '"zzz" is not a key of a profile'),
        ({"key_usage": ["digitalSignatur"]}, 'did you mean "digitalSignature"?'),
        ({"extended_key_usage": ["ServerAuth"]}, 'did you mean "serverAuth"?'),
        ({"name_types": ["dsn"]}, 'unknown value "dsn"; did you mean "dns"?'),
        ({"key_types": ["rsa-1024"]}, 'unknown value "rsa-1024"'),
        ({"key_types": []}, '"key_types" is empty'),
        ({"policies": ["high"]}, "no name or object identifier"),
        ({"common_name": "first"}, 'unknown value "first"'),
        ({"validity_seconds": "90d"}, '"validity_seconds" has to be a whole number'),
        ({"validity_seconds": True}, '"validity_seconds" has to be a whole number'),
        ({"validity_seconds": 0}, "at least 1"),
        ({"max_validity_seconds": 5}, '"max_validity_seconds" is less than "validity_seconds"'),
        ({"backdate_seconds": -1}, "not negative"),
        ({"backdate_seconds": 31 * DAY_SECONDS}, "leaves nothing"),
        ({"ocsp": False}, '"must_staple" needs "ocsp"'),
        ({"must_staple": "yes"}, '"must_staple" has to be true or false'),
        ({"name": 5}, '"name" has to be a text'),
        ({"fixed_subject": ["O"]}, "has to be a"),
        ({"fixed_subject": 5}, "has to be a table"),
        ({"fixed_subject": [["O", "a", "b"]]}, "list of pairs"),
        ({"subject_attributes": "CN"}, "has to be a list"),
        ({"ca": True}, '"ca" and the key usage keyCertSign go together'),
        ({"path_length": 0}, '"path_length" is for CA certificates only'),
    ],
)
def test_read_profile_says_what_is_wrong(change: dict[str, object], sentence: str) -> None:
    """The key, what is wrong with it, and the nearest known word. Rows: T-29."""
    with pytest.raises(ValueError) as caught:
        read_profile(WHOLE | change)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("profile ")


def test_read_profile_reports_all_mistakes_together() -> None:
    """One start of the server finds every mistake of a file."""
    with pytest.raises(ValueError) as caught:
        read_profile({"validity": 1, "ca": "no"})
    text = str(caught.value)
    assert '"validity" is not a key' in text
    assert '"ca" has to be true or false' in text
    assert '"name" is missing' in text


_TEXTS = st.text("aO19-. ", max_size=6)
_VALUES = st.none() | st.integers() | st.booleans() | _TEXTS | st.lists(_TEXTS)


@given(st.dictionaries(st.sampled_from(sorted(WHOLE)), _VALUES))
def test_read_profile_refuses_with_value_error_only(table: dict[str, object]) -> None:
    """Whatever a file says, the answer is a profile or a ValueError."""
    try:
        read_profile(table)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("key_type", "usable"),
    [
        (
            "rsa-2048",
            "digitalSignature nonRepudiation keyEncipherment dataEncipherment keyCertSign cRLSign",
        ),
        (
            "ec-p384",
            "digitalSignature nonRepudiation keyAgreement keyCertSign cRLSign encipherOnly decipherOnly",
        ),
        ("ed25519", "digitalSignature nonRepudiation keyCertSign cRLSign"),
        ("ml-dsa-65", "digitalSignature nonRepudiation keyCertSign cRLSign"),
    ],
)
def test_key_usage_is_what_the_key_can_do(key_type: str, usable: str) -> None:
    """RFC 3279 section 2.3.1, RFC 5480 section 3, RFC 8410 section 5, RFC 9881 section 5."""
    assert usable_key_usage(KEY_USAGES, key_type) == tuple(usable.split())


def test_encipher_only_means_nothing_without_key_agreement() -> None:
    """RFC 5280 section 4.2.1.3."""
    assert usable_key_usage(("digitalSignature", "encipherOnly"), "ec-p256") == ("digitalSignature",)
