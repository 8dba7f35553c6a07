"""EST request <-> order."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ca_core.csr import CertificationRequest, read_csr
from policy.credential import Principal, Requester
from policy.order import OrderKind
from policy.problems import BadCSR
from protocols.est import translate
from tests.protocols.est.small import CHANGE_SUBJECT_NAME, change_subject_name, make_credential, make_csr
from tests.replacing import replace

PRINCIPAL = Principal(make_credential("device"), Requester("credential", "device"), "est/default", "192.0.2.1")
KEY = ec.generate_private_key(ec.SECP256R1())
REQUEST = read_csr(make_csr(key=KEY))

words = st.text(max_size=8)
Said = tuple[str, str, str, str]


def reference(principal: Principal = PRINCIPAL, label: str = "default", csr: CertificationRequest = REQUEST) -> str:
    return translate.reference(principal, label, csr, "enroll")


def test_an_enrolment_names_neither_product_nor_identifiers() -> None:
    """The server selects the product; the names are those of the request."""
    order = translate.to_order(PRINCIPAL, "default", REQUEST)
    assert (order.kind, order.product, order.identifiers, order.request) == (
        OrderKind.ENROLL,
        None,
        (),
        REQUEST,
    )


def test_the_reference_is_of_the_key_and_not_of_the_bytes() -> None:
    """RFC 7030 section 4.2.3: the request may be signed again, over another channel binding."""
    again = read_csr(make_csr(key=KEY, password=b"another connection"))
    assert again.der != REQUEST.der
    assert reference(csr=again) == reference()


def test_the_order_of_names_does_not_matter() -> None:
    """subjectAltName is a set."""
    names = read_csr(make_csr("a.certgate.test")).names + REQUEST.names
    one, other = (replace(REQUEST, names=order) for order in (names, names[::-1]))
    assert reference(csr=one) == reference(csr=other) != reference()


def test_enrolling_and_renewing_are_different_transactions() -> None:
    """A renewal right after the enrolment, with the same key and names, is no repetition."""
    own = replace(PRINCIPAL, certificate="0a" * 20)
    references = {
        translate.to_order(own, "default", REQUEST).reference,
        translate.to_renewal(own, "default", REQUEST).reference,
        translate.to_renewal(replace(own, certificate="0b" * 20), "default", REQUEST).reference,
    }
    assert len(references) == 3


def _reference(said: Said) -> str:
    credential, requester, label, name = said
    principal = replace(
        PRINCIPAL, credential=make_credential(credential), requester=Requester("certificate", requester)
    )
    return reference(principal, label, replace(REQUEST, subject=(("CN", name),)))


@given(st.tuples(words, words, words, words), st.tuples(words, words, words, words))
def test_whatever_differs_gives_another_reference(one: Said, other: Said) -> None:
    """No two clients, labels or subjects run together, whatever characters they have."""
    assert (_reference(one) == _reference(other)) is (one == other)


def test_other_names_are_no_first_enrolment() -> None:
    """E18, RFC 6402 section 2.8: ChangeSubjectName changes a certificate; it is never passed over."""
    asking = read_csr(make_csr(der_attributes=[(CHANGE_SUBJECT_NAME, change_subject_name("other"))]))
    with pytest.raises(BadCSR, match="simplereenroll"):
        translate.to_order(PRINCIPAL, "default", asking)


def test_other_wanted_names_are_another_request() -> None:
    """E8: what a renewal asks for is part of the name under which it is known."""
    asked = [
        read_csr(make_csr(key=KEY, der_attributes=[(CHANGE_SUBJECT_NAME, change_subject_name(name))]))
        for name in ("one", "two", "one")
    ]
    first, other, again = (reference(csr=csr) for csr in asked)
    assert first == again != other
