"""Shape of the code: sizes, names that others must not bring, doors that say every problem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib.metadata import packages_distributions

import policy.problems
import protocols
from ca_core.problems import Problem
from tests.architecture.modules import PACKAGES, modules

MAX_LINES = 400


def kinds(problem: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Every kind of problem below the root."""
    for kind in problem.__subclasses__():
        if kind.__module__ in {"ca_core.problems", "policy.problems"}:
            yield kind
            yield from kinds(kind)


def test_no_module_is_longer_than_400_lines() -> None:
    """A module near 400 lines wants to be two."""
    sizes = {module.name: len(module.source.splitlines()) for module in modules()}
    long = {name: lines for name, lines in sizes.items() if lines > MAX_LINES}
    assert not long, f"split these: {long}"


def test_no_other_distribution_brings_a_package_of_our_names() -> None:
    """The four packages have short common names; this is an application, and nothing may shadow them."""
    brought = packages_distributions()
    others = {
        name: brought[name]
        for name in (*PACKAGES, "conf")
        if any(distribution != "certgate" for distribution in brought.get(name, ()))
    }
    assert not others


def test_every_problem_has_a_form_in_every_door() -> None:
    """A door's table is complete: no kind of problem reaches a client as something made up on the spot."""
    known = {kind.kind for kind in kinds()} | {"internal"}
    assert len(known) > 20
    for protocol in protocols.available():
        missing = known - set(protocol.problems)
        assert not missing, f"{protocol.name} cannot say {sorted(missing)}"
        unknown = set(protocol.problems) - known
        assert not unknown, f"{protocol.name} says {sorted(unknown)}, which nobody raises"


def test_kinds_of_problems_are_unique_and_have_sentences() -> None:
    """One slug, one class; each with a title of its own and a docstring."""
    found = list(kinds())
    assert len({kind.kind for kind in found}) == len(found)
    assert all(kind.title and kind.__doc__ for kind in found)


def test_policy_problems_exports_every_kind() -> None:
    """A door imports one module."""
    exported = set(policy.problems.__all__)
    assert {kind.__name__ for kind in kinds()} <= exported


def test_doors_describe_themselves() -> None:
    """Name, documents, settings with a sentence for every field, and a form for the credential."""
    for protocol in protocols.available():
        assert protocol.documents, protocol.name
        for field in fields(protocol.settings):
            assert field.default is not MISSING or field.default_factory is not MISSING, field.name
            assert field.metadata.get("help"), f"{protocol.name}: {field.name} has no sentence"
        for field_ in protocol.credential_form:
            assert field_.help, f"{protocol.name}: {field_.name} has no sentence"
