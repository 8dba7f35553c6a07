"""Pages and code say the same: the order's diagram, audit tags, dependencies, protocols, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import protocols
from policy.audit import AuditTag
from policy.order import TERMINAL, TRANSITIONS
from tests.architecture.modules import ROOT, modules, pages

ARROW = re.compile(r"^\s*(\w+|\[\*\]) --> (\w+|\[\*\])(?: : ([\w, ]+))?$", re.MULTILINE)


def test_state_diagram_is_the_table_of_transitions() -> None:
    """docs/issuance.md draws policy.order.TRANSITIONS, all of it and nothing else."""
    page = (ROOT / "docs" / "issuance.md").read_text()
    (diagram,) = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", page, re.DOTALL)
    drawn, ends = set(), set()
    for source, target, events in ARROW.findall(diagram):
        if target == "[*]":
            ends.add(source)
        elif source != "[*]":
            drawn |= {(source, event.strip(), target) for event in events.split(",")}
    table = {(str(status), str(event), str(target)) for (status, event), target in TRANSITIONS.items()}
    assert drawn == table
    assert ends == {str(status) for status in TERMINAL}


def test_every_audit_tag_is_explained() -> None:
    """docs/operations/audit.md has one row for each tag, and no row for a tag that is gone."""
    page = (ROOT / "docs" / "operations" / "audit.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+:[a-z-]+:[a-z-]+)` \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == len({tag for tag, _ in rows})
    assert {tag for tag, _ in rows} == {str(tag) for tag in AuditTag}
    assert all(sentence.strip() for _, sentence in rows)


def test_every_dependency_has_its_reason() -> None:
    """docs/decisions/0002-dependencies.md has one row for each dependency of pyproject.toml, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["build-system"]["requires"], project["project"]["dependencies"]]
    groups += project["project"]["optional-dependencies"].values()
    groups += project["dependency-groups"].values()
    wanted = {re.split(r"[<>=\[ ]", line)[0] for group in groups for line in group}
    page = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text()
    assert set(re.findall(r"^\| ([\w-]+) \|", page, re.MULTILINE)) - {"package"} == wanted


def test_every_protocol_has_its_page_and_its_row() -> None:
    """docs/protocols/<name>.md, and a row in the README's table."""
    readme = (ROOT / "README.md").read_text()
    for protocol in protocols.available():
        page = f"docs/protocols/{protocol.name}.md"
        assert (ROOT / page).exists(), page
        assert page in readme


def test_every_cross_reference_leads_somewhere() -> None:
    """Relative links between pages, and "docs/…" named in the code."""
    broken = []
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    for module in modules():
        for target in re.findall(r"\bdocs/[\w/-]+\.md\b", module.source):
            if not (ROOT / target).exists():
                broken.append(f"{module.name} -> {target}")
    assert not broken


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"])
def test_top_level_pages_are_there(name: str) -> None:
    """As every project of this field has them."""
    assert (ROOT / name).stat().st_size > 500


def test_top_level_stays_as_it_is() -> None:
    """Four packages, tests, conf, docs, examples and the usual files: a newcomer sees the whole at one glance."""
    wanted = {
        "gateway",
        "protocols",
        "policy",
        "ca_core",
        "tests",
        "conf",
        "docs",
        "examples",
        "pyproject.toml",
        "Makefile",
    }
    wanted |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"}
    ours = {"state", "build", "dist"}  # what running, building and packaging make
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} - ours
    assert {name for name in found if not name.endswith(".egg-info") and name != "__pycache__"} == wanted


def test_decisions_are_numbered_without_gaps() -> None:
    """docs/decisions/NNNN-title.md, each with its four parts."""
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in found] == list(range(1, len(found) + 1))
    for path in found:
        text = path.read_text()
        for part in ("Status", "Context", "Decision", "Consequences"):
            assert part in text, f"{path.name} has no {part}"


def test_no_absolute_paths_of_one_machine() -> None:
    """Nothing in the repository knows the machine on which it was written."""
    here = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
    kinds = {".py", ".md", ".toml", ".sql", ".txt", ".yml", ".cfg", ""}
    wrong = [
        str(path.relative_to(ROOT))
        for folder in ("gateway", "protocols", "policy", "ca_core", "conf", "docs", "tests", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts and path != Path(__file__)
        if here.search(path.read_text(errors="replace"))
    ]
    assert not wrong
