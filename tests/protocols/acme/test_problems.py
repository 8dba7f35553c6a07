"""Problem documents: every kind has its words, and nothing but the client's part is shown."""

from __future__ import annotations

import json

import pytest

import policy.problems as kinds
from ca_core.names import Identifier, IdentifierType
from policy.order import StoredProblem
from policy.problems import (
    BadAlgorithm,
    Forbidden,
    Malformed,
    Problem,
    RejectedIdentifier,
    UnsupportedIdentifier,
)
from protocols.acme import PROTOCOL
from protocols.acme.problems import (
    NAMESPACE,
    WIRE,
    CompoundProblem,
    InvalidContact,
    UnsupportedContact,
    document,
    encode,
    stored_document,
    wire_of,
)

# IANA "ACME Error Types", as far as they can occur here: RFC 8555, RFC 9773; invalidProfile is the profiles
# draft's.
REGISTERED = {
    "accountDoesNotExist",
    "alreadyReplaced",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
}

EVERY = [getattr(kinds, name) for name in kinds.__all__ if isinstance(getattr(kinds, name), type)]
EVERY = [kind for kind in EVERY if issubclass(kind, Problem) and kind is not Problem]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.kind)
def test_every_kind_has_its_words(kind: type[Problem]) -> None:
    """Only registered types are said in ACME's namespace (RFC 8555 section 6.7)."""
    assert kind.kind in PROTOCOL.problems
    found = json.loads(encode(document(kind("what happened", secret="s3cret"))))
    assert found["type"].removeprefix(NAMESPACE) in REGISTERED
    assert 400 <= found["status"] <= 599
    assert found["detail"] == "what happened"
    assert "s3cret" not in json.dumps(found)


def test_the_table_has_no_words_for_what_nobody_raises() -> None:
    """Nothing left over."""
    assert set(WIRE) == {kind.kind for kind in EVERY}


def test_own_kinds_say_more_than_their_ancestor() -> None:
    """They stay "malformed" for audit and metrics."""
    for kind, said in (
        (InvalidContact, "invalidContact"),
        (UnsupportedContact, "unsupportedContact"),
        (CompoundProblem, "compound"),
    ):
        assert kind.kind == "malformed"
        assert wire_of(kind("x")).type == said


def test_a_foreign_kind_is_said_as_its_nearest_known_ancestor() -> None:
    """A plug-in may raise kinds of its own."""

    class Strange(Forbidden):
        kind = "strange"

    class Alien(Problem):
        kind = "alien"

    assert wire_of(Strange("x")) == WIRE["forbidden"]
    assert wire_of(Alien("x")) == WIRE["internal"]


def test_bad_algorithm_lists_what_would_be_accepted() -> None:
    """RFC 8555 section 6.2."""
    assert document(BadAlgorithm("no", algorithms=("ES256",)))["algorithms"] == ["ES256"]
    assert document(BadAlgorithm("no"))["algorithms"] == []


def test_subproblems_name_their_identifiers_and_have_no_status() -> None:
    """RFC 8555 section 6.7.1. Rows: A1."""
    inner = (
        RejectedIdentifier("first", identifier=Identifier(IdentifierType.DNS, "a.test")),
        UnsupportedIdentifier("second", identifier="x:y:z"),
        Malformed("third"),
    )
    found = document(CompoundProblem("several", subproblems=inner))
    assert found["subproblems"] == [
        {"type": NAMESPACE + "rejectedIdentifier", "detail": "first", "identifier": {"type": "dns", "value": "a.test"}},
        {"type": NAMESPACE + "unsupportedIdentifier", "detail": "second", "identifier": {"type": "x", "value": "y:z"}},
        {"type": NAMESPACE + "malformed", "detail": "third"},
    ]


def test_an_identifier_stands_in_subproblems_only() -> None:
    """RFC 8555 section 6.7.1: never at the top, so a problem about one name has one subproblem."""
    found = document(RejectedIdentifier("no", identifier=Identifier(IdentifierType.DNS, "a.test")))
    assert "identifier" not in found
    assert [one["identifier"]["value"] for one in found["subproblems"]] == ["a.test"]


def test_stored_problems_are_said_alike() -> None:
    """What is kept with an order reads as if it had just happened."""
    name = Identifier(IdentifierType.DNS, "a.test")
    for problem in (
        RejectedIdentifier("no", subproblems=(Malformed("inner"),), identifier=name),
        RejectedIdentifier("no", identifier=name),
        RejectedIdentifier("no"),
    ):
        assert stored_document(StoredProblem.of(problem)) == document(problem)
    assert stored_document(StoredProblem("gone-kind", "x"))["type"] == NAMESPACE + "serverInternal"


def test_text_that_is_not_unicode_is_mended() -> None:
    """A document can always be written."""
    assert json.loads(encode(document(Malformed("a\ud800b"))))["detail"] == "a?b"
