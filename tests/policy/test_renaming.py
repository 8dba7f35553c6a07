"""ChangeSubjectName (RFC 6402 section 2.8): which names a renewal asks for (E18)."""

from __future__ import annotations

import pytest
from cryptography import x509

from ca_core import der
from ca_core.csr import read_csr
from policy.problems import BadCSR
from policy.renaming import asks_for_other_names, renamed
from tests.protocols.est.small import CHANGE_SUBJECT_NAME, change_subject_name, make_csr, name_of

NEW = "new.certgate.test"
NAMES = x509.SubjectAlternativeName([x509.DNSName(NEW)]).public_bytes()


def changed(value: bytes) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    request = read_csr(make_csr("old.certgate.test", der_attributes=[(CHANGE_SUBJECT_NAME, value)]))
    assert asks_for_other_names(request)
    found = renamed(request)
    return found.subject, [name.value for name in found.names]


@pytest.mark.parametrize("tagged", [False, True])
def test_subject_and_names(tagged: bool) -> None:
    """Both forms of subjectAlt that modules print."""
    assert changed(change_subject_name(NEW, tagged=tagged)) == ((("CN", NEW),), [NEW])


def test_what_is_left_out_stays() -> None:
    """Each of the two parts is optional."""
    assert changed(der.sequence(name_of(NEW).public_bytes())) == ((("CN", NEW),), ["old.certgate.test"])
    assert changed(der.sequence(NAMES)) == ((("CN", "old.certgate.test"),), [NEW])


def test_a_request_without_the_attribute_is_as_it_was() -> None:
    """Nothing to change."""
    request = read_csr(make_csr())
    assert not asks_for_other_names(request)
    assert renamed(request) is request


@pytest.mark.parametrize(
    "value", [b"\x30\x00", b"\x02\x01\x00", der.sequence(NAMES, NAMES, NAMES), b"\x30\x02\x30\x01"]
)
def test_other_contents_are_bad(value: bytes) -> None:
    """A request that cannot be read is refused."""
    with pytest.raises(BadCSR):
        changed(value)
