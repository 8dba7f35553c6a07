"""acme-tiny (Debian): RSA account key, a request made by openssl, http-01 from a folder, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.acme.inventory import located
from tests.clients.acme.responders import web_root
from tests.clients.gate import Gate, certificates_of, names_of, run

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]


@pytest.mark.parametrize("kind", ["rsa:2048", "ec"])
def test_http01(gate: Gate, tmp_path: Path, kind: str) -> None:
    """Account without contact, http-01, the chain on standard output; again with the same account."""
    program = located("acme-tiny")
    wanted = {"tiny.example", "www.tiny.example"}
    names = ",".join(f"DNS:{name}" for name in sorted(wanted))
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if kind == "ec" else ()
    for words in (
        ("openssl", "genrsa", "-out", "account.key", "2048"),
        (
            *("openssl", "req", "-new", "-newkey", kind, *curve, "-nodes", "-keyout", "tiny.key", "-out", "tiny.csr"),
            *("-subj", "/CN=tiny.example", "-addext", f"subjectAltName={names}"),
        ),
    ):
        said = run(*words, folder=tmp_path)
        assert said.status == 0, said.text
    serials = set()
    with web_root(gate, tmp_path / "www") as challenges:
        for _ in range(2):
            said = run(
                *(program, "--account-key", "account.key", "--csr", "tiny.csr", "--acme-dir", challenges),
                # Its own look asks the system's name server, which does not know these names.
                *("--directory-url", gate.told["acme_open"]["directory"], "--disable-check"),
                folder=tmp_path,
                environment={"SSL_CERT_FILE": gate.root},
                timeout=120,
            )
            assert said.status == 0, said.text
            (tmp_path / "chain.pem").write_text(said.out)
            leaf, *chain = certificates_of(tmp_path / "chain.pem")
            assert names_of(leaf) == wanted
            assert len(chain) == 1
            serials.add(leaf.serial_number)
    assert len(serials) == 2
