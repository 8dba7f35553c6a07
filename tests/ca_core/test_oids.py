from __future__ import annotations

from cryptography import x509
from cryptography.x509 import oid as known

from ca_core import oids

OURS = {name: value for name, value in vars(oids).items() if name.isupper()}
# Names that `cryptography` has for some of them, as an independent list.
THEIRS = {
    name: value.dotted_string
    for group in vars(known).values()
    if isinstance(group, type)
    for name, value in vars(group).items()
    if isinstance(value, x509.ObjectIdentifier)
}


def test_every_identifier_is_well_formed_and_stands_once() -> None:
    """One name, one identifier."""
    for value in OURS.values():
        x509.ObjectIdentifier(value)
    assert len(set(OURS.values())) == len(OURS)


def test_identifiers_agree_with_those_of_cryptography() -> None:
    """Where `cryptography` has a constant of the same name, it has the same value."""
    shared = OURS.keys() & THEIRS.keys()
    assert len(shared) >= 15
    assert {name: OURS[name] for name in shared} == {name: THEIRS[name] for name in shared}


def test_mistakable_identifiers() -> None:
    """Those that no library names are compared with the registry's text."""
    assert oids.EKU_CMC_RA == "1.3.6.1.5.5.7.3.28"
    assert oids.UPN == "1.3.6.1.4.1.311.20.2.3"
    assert oids.EXTENSION_REQUEST == "1.2.840.113549.1.9.14"
