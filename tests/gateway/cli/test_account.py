"""certgate account, domain, cert renew-now, ca chain."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from ca_core.ceremony import certify_issuing, create_root
from ca_core.clock import FixedClock
from ca_core.issuer import Issuer
from ca_core.keystores.software import SoftwareKeyStore
from gateway.commands.plain import pem
from policy.order import NewOrder
from tests.conftest import START, dns
from tests.gateway.cli.conftest import Line, Served
from tests.policy.making import acme, request


def registered(served: Served, name: str = "www.certgate.test") -> tuple[str, str]:
    """An account with a certificate: its id and the serial."""

    async def work() -> tuple[str, str]:
        principal = await acme(served.house)
        order = await served.house.core.ra.place(principal, NewOrder(identifiers=(dns(name),)))
        done = await served.house.core.ra.finalize(principal, order.id, request(name))
        return principal.owner, done.serial or ""

    return served.run(work())


def test_accounts(served: Served, online: Line) -> None:
    """Listed, looked at, stopped, let go on, ended."""
    id, serial = registered(served)
    assert [one["id"] for one in json.loads(online("account", "list", "--json").out)] == [id]
    assert id in online("account", "list", "--mount", "acme/open", "--credential", "open").out
    assert "nothing found" in online("account", "list", "--status", "suspended").out
    said = online("account", "show", id)
    for wanted in (serial, "www.certgate.test", "ra:account:registered", "valid"):
        assert wanted in said.out
    assert json.loads(online("account", "show", id, "--json").out)["orders"][0]["serial"] == serial
    assert "is suspended now" in online("account", "suspend", id, "--why", "odd").out
    assert "is valid now" in online("account", "resume", id).out
    assert json.loads(online("account", "deactivate", id, "--json").out)["status"] == "revoked"
    assert online("account", "resume", id).status == 1
    assert online("account", "show", "nothing").status == 1
    assert "not paused" in online("account", "unpause", id).err


def test_more_accounts_than_are_shown(served: Served, online: Line) -> None:
    for number in range(3):
        registered(served, f"h{number}.certgate.test")
    assert "2 shown" in online("account", "list", "--limit", "2").out


def test_domains(online: Line) -> None:
    """Times are taken as everywhere; the table says whether it counts."""
    said = online("domain", "add", "example.org", "--group", "ops", "--until", "2027-06-30", "--scope", "subdomains")
    assert "need not prove example.org (subdomains)" in said.out, said.err
    (one,) = json.loads(online("domain", "list", "--json").out)
    assert (one["name"], one["active"]) == ("example.org", True)
    assert "example.org" in online("domain", "list", "--group", "ops").out
    assert online("domain", "add", "example.org", "--group", "nobody", "--until", "2027-06-30").status == 1
    assert "again" in online("domain", "remove", "example.org", "--group", "ops").out
    assert online("domain", "remove", "example.org", "--group", "ops").status == 1


def test_renew_now(served: Served, online: Line) -> None:
    """Demanded, listed, withdrawn."""
    _, serial = registered(served)
    assert "nothing found" in online("cert", "renew-now").out
    page = "https://ca.certgate.test/incident"
    said = online("cert", "renew-now", serial, "--why", "wrong extension", "--explanation-url", page)
    assert f"certificate:{serial}" in said.out, said.err
    assert page in online("cert", "renew-now").out
    assert json.loads(online("cert", "renew-now", "--product", "tls", "--json").out)[0]["object"] == "product:tls"
    assert "product:tls" in online("cert", "renew-now", serial, "--withdraw").out
    assert online("cert", "renew-now", "00").status == 1


def test_another_chain(served: Served, online: Line, tmp_path: Path) -> None:
    """Of a root that cross-certified the CA; in use after the next start."""

    async def crossed() -> bytes:
        keystore, clock = SoftwareKeyStore(tmp_path / "other", b"a passphrase"), FixedClock(START)
        root = await create_root(keystore, "other", (("CN", "Other"),), "ec-p256", timedelta(days=4000), clock)
        der = root.certificate_der
        above = Issuer("other", der, root.signer, status_url="http://other.test", root_der=der)
        signer, subject = served.house.core.ca.issuer("issuing").signer, (("CN", "Test Issuing"),)
        return (await certify_issuing(signer, subject, timedelta(days=900), clock, above)).certificate_der

    file = tmp_path / "chain.pem"
    file.write_text(pem(served.run(crossed())))
    said = online("ca", "chain", "issuing", "--file", str(file))
    assert "2 chains" in said.out, said.err
    assert "Restart the server" in said.out
    assert json.loads(online("ca", "show", "issuing", "--json").out)["chains"] == 2
    assert online("ca", "chain", "issuing", "--file", str(file)).status == 1
    file.write_text("nothing")
    assert "PEM" in online("ca", "chain", "issuing", "-f", str(file)).err
    assert online("ca", "chain", "issuing", "-f", str(tmp_path / "none")).status == 2


def test_a_root_certifies_another(online: Line) -> None:
    """The two steps of a key update that need both keys; neither --file nor --by, or both, is a mistake."""
    assert online("ca", "create", "root-2", "--subject", "CN=Test Root").status == 0
    said = online("ca", "chain", "root", "--by", "root-2")
    assert "2 chains" in said.out, said.err
    assert "Restart the server" in said.out
    assert online("ca", "chain", "root", "--by", "root").status == 1
    for words in ((), ("--by", "root-2", "--file", "x.pem")):
        assert online("ca", "chain", "root", *words).status == 2
