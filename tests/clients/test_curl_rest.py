"""curl orders over REST from a served quickstart state: nothing but the command line, the key and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.gate import Gate, run, verify
from tests.clients.test_curl_est import Answer

pytestmark = [pytest.mark.client, pytest.mark.door]


class Curl:
    """curl with the quickstart's access key, which trusts the gate's root and nothing else."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        self.url = gate.told["rest"]["url"]
        (folder / "key").write_text(f"Authorization: Bearer {gate.told['rest']['access_key']}")

    def __call__(self, path: str, *words: object) -> Answer:
        said = run(
            *("curl", "--silent", "--show-error", "--cacert", self.gate.root, "--header", "@key"),
            *("--dump-header", "head", "--output", "body", "--write-out", "%{http_code}", *words, self.url + path),
            folder=self.folder,
        )
        assert said.status == 0, said.text
        return Answer(int(said.out), (self.folder / "head").read_text().lower(), (self.folder / "body").read_bytes())

    def post(self, path: str, body: Any, *words: object) -> Answer:
        """Post JSON."""
        (self.folder / "sent.json").write_text(json.dumps(body))
        return self(path, "--header", "Content-Type: application/json", "--data", "@sent.json", *words)

    def request(self, name: str) -> str:
        """PEM of a certification request by openssl, with a key of its own."""
        said = run(
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}"),
            folder=self.folder,
        )
        assert said.status == 0, said.text
        return (self.folder / f"{name}.csr").read_text()


@pytest.fixture
def curl(gate: Gate, tmp_path: Path, need: Callable[..., None]) -> Curl:
    need("curl", "openssl")
    return Curl(gate, tmp_path)


def test_curl_orders_and_downloads(curl: Curl, gate: Gate) -> None:
    """An order with its request is a certificate; it is found again, and downloaded with its chain."""
    made = curl.post("/orders", {"csr": curl.request("curl-1.certgate.test")})
    assert made.status == 201, made.body
    order = json.loads(made.body)
    assert order["status"] == "valid"
    assert json.loads(curl(f"/orders/{order['id']}").body) == order
    serial = order["certificate"]["serial"]
    pem = curl(f"/certificates/{serial}", "--header", "Accept: application/pem-certificate-chain")
    (curl.folder / "chain.pem").write_bytes(pem.body)
    verify(gate, curl.folder / "chain.pem", curl.folder / "chain.pem", curl.folder)
    assert gate.show(serial)["status"] == "valid"


def test_curl_sends_the_same_twice(curl: Curl, gate: Gate) -> None:
    """With an Idempotency-Key the second request has the first one's answer, also after a restart of the client."""
    body = {"csr": curl.request("curl-2.certgate.test")}
    first = curl.post("/orders", body, "--header", "Idempotency-Key: curl-2")
    second = curl.post("/orders", body, "--header", "Idempotency-Key: curl-2")
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body and "idempotency-replayed: true" in second.head


def test_curl_learns_what_was_wrong(curl: Curl) -> None:
    """A mistake is named by pointer, rule and sentence."""
    answer = curl.post("/orders", {"csr": curl.request("curl-3.certgate.test"), "product": "tls-sever"})
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"]) == (422, "unknown-product")
    assert problem["errors"][0]["pointer"] == "/product" and "tls-server" in problem["detail"]


def test_a_revoked_key_is_refused_by_the_next_request(curl: Curl, gate: Gate) -> None:
    """Revoking through the command line stops the key in the running server at once."""
    words = ("--type", "rest", "--user", "alice", "--group", "operations", "--product", "tls-server", "--json")
    made = json.loads(gate.certgate("credential", "create", *words).out)
    (curl.folder / "key").write_text(f"Authorization: Bearer {made['secret']}")
    assert curl("/me").status == 200
    assert gate.certgate("credential", "revoke", made["identifier"]).status == 0
    assert curl("/me").status == 403
