"""certgate product versions, schema, lint, try, replay."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gateway.cli.conftest import Line, Served
from tests.policy.making import request


def test_what_a_product_is_and_would_be(served: Served, online: Line, tmp_path: Path) -> None:
    """A draft that trusts every server name is found, breaks nobody, and is applied only when that is accepted."""
    served.issue("www.certgate.test")
    assert json.loads(online("product", "versions", "tls", "--json").out)[0]["state"] == "active"
    assert json.loads(online("product", "schema", "tls").out)["suspension"] is True
    draft = tmp_path / "tls.toml"
    text = online("product", "show", "tls").out
    assert "dns:*.certgate.test" in text
    draft.write_text(text.replace("dns:*.certgate.test", "dns:**"))
    said = online("product", "lint", "tls", "--file", str(draft))
    assert said.status == 1 and "error esc17 at /validation/trusted" in said.out
    assert online("product", "lint", "tls").status == 0
    assert online("product", "apply", "--file", str(draft)).status == 1
    assert "1 orders looked at, 0 would be refused" in online("product", "replay", "tls", "--file", str(draft)).out
    csr = tmp_path / "a.der"
    csr.write_bytes(request("a.example.org").der)
    credential = served.run(served.house.credential("est")).credential.identifier
    tried = ("product", "try", "tls", "--csr", str(csr), "--credential", credential)
    assert online(*tried, "--file", str(draft), "--json").status == 0
    assert "It would be issued." in online(*tried, "--file", str(draft)).out
    assert online("product", "apply", "--file", str(draft), "--accept", "esc17").status == 0
