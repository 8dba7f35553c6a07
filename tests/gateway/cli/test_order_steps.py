"""certgate order step by step, cert renew and reissue, bulk, block."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from gateway.commands import order_steps
from policy.product import DocumentRule
from tests.conftest import ACTOR, House
from tests.gateway.cli.conftest import Line, Served
from tests.policy.making import change_product, request

NAME, OTHER = "a.certgate.test", "b.certgate.test"


def credential(served: Served) -> str:
    """The identifier of a credential that may order."""
    return str(served.run(served.house.credential("est")).credential.identifier)


def asked(online: Line, *words: str) -> Any:
    """The JSON that a command prints."""
    said = online(*words, "--json")
    assert said.status == 0, said.err
    return json.loads(said.out)


def csr(folder: Path, *names: str) -> str:
    """A file with the DER of a request."""
    path = folder / "request.der"
    path.write_bytes(request(*names).der)
    return str(path)


def test_a_draft_becomes_a_certificate(served: Served, online: Line, tmp_path: Path) -> None:
    """Placed, changed, handed in; the request comes last; the whole is explained."""
    name = credential(served)
    draft = asked(online, "order", "place", "--credential", name, "--name", OTHER, "--draft", "--tag", "web")
    assert (draft["status"], draft["tags"]) == ("draft", ["web"])
    changed = asked(online, "order", "change", draft["id"], "--name", NAME)
    assert changed["identifiers"] == [f"dns:{NAME}"]
    ready = asked(online, "order", "submit", draft["id"])
    assert [one["kind"] for one in ready["requirements"]] == ["request"]
    assert "owed: hand in the certification request" in online("order", "explain", draft["id"]).out
    done = asked(online, "order", "csr", draft["id"], csr(tmp_path, NAME))
    assert done["status"] == "valid"
    assert asked(online, "order", "validations", draft["id"]) == []
    assert online("order", "retry", draft["id"]).status == 1


def test_papers_are_handed_in_and_reviewed(served: Served, online: Line, tmp_path: Path) -> None:
    """A document is accepted by who did not hand it in; it is never written over a file."""
    rule = DocumentRule("letter", "Letter", ("application/pdf",))
    served.run(change_product(served.house, documents=(rule,), terms="terms/1"))
    order = asked(online, "order", "place", "--credential", credential(served), "--csr", csr(tmp_path, NAME))
    paper = tmp_path / "letter.pdf"
    paper.write_bytes(b"%PDF")
    told = asked(online, "order", "add-document", order["id"], str(paper), "--type", "letter")
    (document,) = told["documents"]
    out = tmp_path / "out.pdf"
    assert online("order", "get-document", order["id"], document["id"], "--out", str(out)).status == 0
    assert out.read_bytes() == b"%PDF"
    assert online("order", "get-document", order["id"], document["id"], "--out", str(out)).status == 2
    assert online("order", "reject-document", order["id"], document["id"]).status == 1
    asked(online, "order", "agree", order["id"], "--signer", "Alice")
    own = online("order", "accept-document", order["id"], document["id"])
    assert own.status == 1 and "nobody decides about their own order" in own.err


def test_papers_of_somebody_else_are_accepted(served: Served, online: Line, tmp_path: Path) -> None:
    """Who had no hand in the order decides about its documents."""
    rule = DocumentRule("letter", "Letter", ("application/pdf",))
    served.run(change_product(served.house, documents=(rule,)))
    core, name = served.house.core, credential(served)
    wanted = base64.b64encode(Path(csr(tmp_path, NAME)).read_bytes()).decode()
    order = served.run(order_steps.place(core, credential=name, csr=wanted, actor=ACTOR))
    content = base64.b64encode(b"%PDF").decode()
    words = {"type": "letter", "name": "letter.pdf", "media_type": "application/pdf", "content": content}
    told = served.run(order_steps.add_document(core, id=order["id"], actor=ACTOR, **words))
    (document,) = told["documents"]
    assert asked(online, "order", "accept-document", order["id"], document["id"])["status"] == "valid"


def test_a_proof_of_an_order_that_owes_none(served: Served, online: Line) -> None:
    order = asked(online, "order", "place", "--credential", credential(served), "--name", NAME)
    said = online("order", "verify", order["id"], "nothing", "--method", "dns-01")
    assert said.status == 1 and "no such validation" in said.err


def test_certificates_are_renewed_reissued_and_tagged(served: Served, online: Line, tmp_path: Path) -> None:
    """By the kept request; with other names; nothing to change is wrong usage."""
    order = asked(online, "order", "place", "--credential", credential(served), "--csr", csr(tmp_path, NAME))
    renewed = asked(online, "cert", "renew", order["serial"])
    assert (renewed["status"], renewed["kind"], renewed["replaces"]) == ("valid", "renew", order["serial"])
    assert online("cert", "reissue", renewed["serial"]).status == 2
    words = ("--name", NAME, "--name", OTHER, "--csr", csr(tmp_path, NAME, OTHER), "--revoke-previous", "superseded")
    other = asked(online, "cert", "reissue", renewed["serial"], *words)
    assert (other["status"], other["kind"]) == ("valid", "change-names")
    assert asked(online, "cert", "tag", other["serial"], "web", "web")["tags"] == ["web"]


def test_a_revocation_blocks_and_the_block_is_lifted(served: Served, online: Line, tmp_path: Path) -> None:
    """What is blocked is listed, and is not ordered again until then."""
    name = credential(served)
    order = asked(online, "order", "place", "--credential", name, "--csr", csr(tmp_path, NAME))
    assert online("cert", "revoke", order["serial"], "--block", "identity").status == 0
    again = online("order", "place", "--credential", name, "--csr", csr(tmp_path, NAME))
    assert again.status == 1 and "blocked" in again.err
    (block,) = asked(online, "block", "list", "--status", "active")
    assert asked(online, "block", "lift", block["id"])["status"] == "lifted"
    made = asked(online, "block", "add", "domain", "certgate.test", "--why", "audit", "--until", "2099-01-01")
    assert made["subject"] == "domain:certgate.test"
    assert "domain:certgate.test" in online("block", "list", "--text", "domain").out


def test_many_certificates_are_changed(served: Served, online: Line, tmp_path: Path) -> None:
    """Seen first; begun only when it is as many; done by the server's worker."""
    name = credential(served)
    for one in (NAME, OTHER):
        asked(online, "order", "place", "--credential", name, "--csr", csr(tmp_path, one))
    found = ("hold", "--name", ".certgate.test", "--group", "ops")
    assert asked(online, "bulk", "preview", *found)["changed"] == 2
    assert "2 would be changed" in online("bulk", "preview", *found).out
    assert online("bulk", "begin", *found, "--expected", "1").status == 1
    begun = asked(online, "bulk", "begin", *found, "--expected", "2")
    served.run(_finish(served.house, begun["id"]))
    assert asked(online, "bulk", "show", begun["id"])["done"] == 2
    assert [one["id"] for one in asked(online, "bulk", "list")] == [begun["id"]]
    assert "2 of 2 done" in online("bulk", "show", begun["id"]).out


async def _finish(house: House, bulk: str) -> None:
    while await house.core.lifecycle.bulks.go_on(bulk) is not None:
        pass
