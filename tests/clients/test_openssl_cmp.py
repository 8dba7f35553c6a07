"""`openssl cmp` against the CMP door: every command that Debian's OpenSSL 3.0 knows, under a secret and signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Said, certificates_of, names_of, run, serial_of, verify, wait_until

pytestmark = [pytest.mark.client, pytest.mark.door]

NAME = "machine-1.certgate.test"


class CMP:
    """openssl cmp in a folder of its own."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        told = gate.told["cmp"]
        self.gate = gate
        self.folder = folder
        self.url = told["url"]
        self.secret = ("-ref", told["reference"], "-secret", f"pass:{told['secret']}", "-recipient", "/CN=CMP")

    def key(self, name: str) -> Path:
        """A new key in a file."""
        path = self.folder / f"{name}.key"
        made = run(
            *("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path),
            folder=self.folder,
        )
        assert made.status == 0, made.text
        return path

    def signed(self, name: str) -> tuple[object, ...]:
        """Protection by a certificate that was enrolled here."""
        return ("-cert", f"{name}.pem", "-key", f"{name}.key", "-trusted", self.gate.root)

    def __call__(self, command: str, *words: object, url: str = "") -> Said:
        return run(
            *("openssl", "cmp", "-config", "", "-cmd", command, "-server", url or self.url, *words),
            folder=self.folder,
        )

    def enrol(self, name: str, *words: object, common_name: str = NAME) -> Path:
        """A certificate by ir under the secret."""
        more = ("-newkey", self.key(name), "-subject", f"/CN={common_name}", "-sans", common_name)
        said = self("ir", *self.secret, *more, "-certout", f"{name}.pem", *words)
        assert said.status == 0, said.text
        return self.folder / f"{name}.pem"

    def refused(self, fail: str, command: str, *words: object) -> None:
        """The server says this bit of failInfo, and nothing is written."""
        said = self(command, *words)
        assert said.status != 0
        assert f"PKIFailureInfo: {fail}" in said.text, said.text


@pytest.fixture
def cmp(gate: Gate, tmp_path: Path, need: Callable[..., None]) -> CMP:
    need("openssl", "curl")
    return CMP(gate, tmp_path)


def state(gate: Gate, path: Path) -> str:
    status: str = gate.show(serial_of(certificates_of(path)[0]))["status"]
    return status


def test_ir_with_confirmation(cmp: CMP, gate: Gate) -> None:
    """ip, certConf, pkiconf under the default MAC (500 iterations, HMAC-SHA1); the root in caPubs verifies it."""
    path = cmp.enrol("one", "-cacertsout", "ca.pem", "-extracertsout", "extra.pem")
    (certificate,) = certificates_of(path)
    assert names_of(certificate) == {NAME}
    assert certificates_of(cmp.folder / "ca.pem") == certificates_of(Path(gate.root))
    verify(gate, path, cmp.folder / "extra.pem", cmp.folder)
    assert state(gate, path) == "valid"


@pytest.mark.parametrize(
    "words",
    [
        ("-implicit_confirm",),
        ("-disable_confirm",),
        ("-mac", "hmacWithSHA256", "-digest", "sha512"),
        ("-keep_alive", "0"),
    ],
    ids=lambda one: one[0],
)
def test_ir_in_other_ways(cmp: CMP, gate: Gate, words: tuple[str, ...]) -> None:
    """Confirmed implicitly or not at all (which waits for the sweeper); with stronger hashes; on fresh connections."""
    path = cmp.enrol("one", *words)
    if "-disable_confirm" in words:
        assert state(gate, path) == "unconfirmed"
    else:
        assert state(gate, path) == "valid"


def test_commands_under_a_secret(cmp: CMP, gate: Gate) -> None:
    """cr and p10cr, both with certConf."""
    said = cmp("cr", *cmp.secret, "-newkey", cmp.key("cr"), "-subject", f"/CN={NAME}", "-certout", "cr.pem")
    assert said.status == 0, said.text
    request = ("-new", "-key", cmp.key("p10"), "-subj", f"/CN={NAME}", "-out", "p10.csr")
    assert run("openssl", "req", *request, folder=cmp.folder).status == 0
    said = cmp("p10cr", *cmp.secret, "-csr", "p10.csr", "-certout", "p10.pem")
    assert said.status == 0, said.text
    assert {state(gate, cmp.folder / one) for one in ("cr.pem", "p10.pem")} == {"valid"}


def test_commands_signed(cmp: CMP, gate: Gate) -> None:
    """cr, p10cr, kur and rr by the certificate that was enrolled first."""
    old = cmp.enrol("old")
    signed = cmp.signed("old")
    more = ("-subject", f"/CN={NAME}", "-sans", NAME)
    said = cmp("cr", *signed, "-newkey", cmp.key("cr"), *more, "-certout", "cr.pem")
    assert said.status == 0, said.text
    request = ("-new", "-key", cmp.key("p10"), "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}")
    assert run("openssl", "req", *request, "-out", "p10.csr", folder=cmp.folder).status == 0
    said = cmp("p10cr", *signed, "-csr", "p10.csr", "-certout", "p10.pem", "-implicit_confirm")
    assert said.status == 0, said.text
    said = cmp("kur", *signed, "-oldcert", "old.pem", "-newkey", cmp.key("new"), "-certout", "new.pem")
    assert said.status == 0, said.text
    new = cmp.folder / "new.pem"
    assert names_of(certificates_of(new)[0]) == {NAME}
    cmp.refused("certRevoked", "kur", *signed, "-oldcert", "old.pem", "-newkey", cmp.key("again"), "-certout", "x.pem")
    for reason, status in ((6, "on_hold"), (8, "valid"), (1, "revoked")):
        said = cmp("rr", *cmp.signed("new"), "-oldcert", "new.pem", "-revreason", reason)
        assert said.status == 0, said.text
        assert state(gate, new) == status
    cmp.refused("certRevoked", "rr", *cmp.signed("new"), "-oldcert", "new.pem", "-revreason", 1)
    assert state(gate, old) == "valid"


def test_what_a_secret_may_not(cmp: CMP, gate: Gate) -> None:
    """kur and rr need a signature; raVerified a registration authority; a request a proof of possession."""
    path = cmp.enrol("one")
    cmp.refused(
        "wrongIntegrity", "kur", *cmp.secret, "-oldcert", "one.pem", "-newkey", cmp.key("x"), "-certout", "x.pem"
    )
    cmp.refused("wrongIntegrity", "rr", *cmp.secret, "-oldcert", "one.pem", "-revreason", 1)
    request = ("-newkey", cmp.key("y"), "-subject", f"/CN={NAME}", "-certout", "y.pem")
    cmp.refused("notAuthorized", "ir", *cmp.secret, *request, "-popo", "0")
    cmp.refused("badPOP", "ir", *cmp.secret, *request, "-popo", "-1")
    assert state(gate, path) == "valid"


def test_replayed_messages_are_refused(cmp: CMP) -> None:
    """The same bytes again (-reqin): the first message is known, and no certificate comes of it."""
    cmp.enrol("one", "-reqout", "ir.der,conf.der")
    request = ("-newkey", "one.key", "-subject", f"/CN={NAME}", "-certout", "x.pem")
    cmp.refused("transactionIdInUse", "ir", *cmp.secret, *request, "-reqin", "ir.der,conf.der")
    assert not (cmp.folder / "x.pem").exists()


def test_wrong_secrets_and_unknown_references_are_told_alike(cmp: CMP) -> None:
    """badMessageCheck, which openssl shows with -unprotected_errors: it verifies no signature when it has a secret."""
    request = ("-newkey", cmp.key("one"), "-subject", f"/CN={NAME}", "-certout", "x.pem")
    reference, secret = cmp.secret[1], cmp.secret[3]
    told = [
        cmp("ir", "-ref", one, "-secret", two, "-recipient", "/CN=CMP", "-unprotected_errors", *request)
        for one, two in ((reference, "pass:wrong"), ("nobody", secret))
    ]
    said = [[line for line in one.text.splitlines() if "PKIFailureInfo" in line] for one in told]
    assert said[0] == said[1]
    assert "badMessageCheck" in said[0][0]


def test_a_held_order_is_polled(cmp: CMP, gate: Gate) -> None:
    """ip with status waiting, pollReq, and the certificate once somebody has approved."""
    folder = cmp.folder
    (folder / "held.toml").write_text(
        'name = "held-device"\ntitle = "Held"\nissuer = "issuing"\nprofile = "device"\nprotocols = ["cmp"]\n'
        'approval = true\n[names]\nallowed = ["dns:*.certgate.test"]\nrequired = false\n'
        '[validation]\ntrusted = ["dns:*.certgate.test"]\n'
    )
    (folder / "mount.toml").write_text(
        'protocol = "cmp"\nlabel = "held"\nproducts = ["held-device"]\nissuer = "issuing"\n'
    )
    for command, path in (("product", "held.toml"), ("mount", "mount.toml")):
        said = gate.certgate(command, "apply", "--file", str(folder / path))
        assert said.status == 0, said.text
    more = ("--type", "cmp", "--user", "alice", "--group", "operations", "--product", "held-device", "--json")
    said = gate.certgate("credential", "create", *more)
    assert said.status == 0, said.text
    made = json.loads(said.out)
    secret = ("-ref", made["identifier"], "-secret", f"pass:{made['secret']}", "-recipient", "/CN=CMP")
    request = ("-newkey", cmp.key("one"), "-subject", f"/CN={NAME}", "-sans", NAME, "-certout", "one.pem")
    url = f"{cmp.url}/p/held"

    def served() -> bool:
        return "404" not in run("curl", "-s", "-o", "x", "-w", "%{http_code}", "-d", "x", url, folder=folder).out

    def held() -> list[str]:
        return [one["id"] for one in gate.orders("held") if one["mount"] == "cmp/held"]

    assert wait_until(served, 10)
    # openssl waits no longer than until five seconds before its end, whatever checkAfter says.
    with ThreadPoolExecutor(1) as beside:
        client = beside.submit(cmp, "ir", *secret, *request, "-total_timeout", "12", url=url)
        assert wait_until(lambda: bool(held()), 10)
        assert gate.certgate("order", "approve", *held()).status == 0
        said = client.result()
    assert said.status == 0, said.text
    assert state(gate, folder / "one.pem") == "valid"


def test_http_10_with_keep_alive(cmp: CMP, gate: Gate) -> None:
    """openssl speaks HTTP/1.0 and keeps the connection for its certConf; the operation labels of RFC 9483 work."""
    said = cmp(
        *("ir", *cmp.secret, "-newkey", cmp.key("one"), "-subject", f"/CN={NAME}", "-certout", "one.pem"),
        *("-keep_alive", "2"),
        url=f"{cmp.url}/p/default/initialization",
    )
    assert said.status == 0, said.text
