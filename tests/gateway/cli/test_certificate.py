"""certgate cert, against a server and without one."""

from __future__ import annotations

import json

import pytest
from cryptography import x509

from tests.gateway.cli.conftest import Line, Served


def test_show_for_scripts(served: Served, online: Line) -> None:
    """One JSON object, whose PEM another program reads."""
    serial = served.issue("www.certgate.test")
    said = online("cert", "show", serial, "--json")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    assert {"serial", "status", "pem", "order"} <= shown.keys()
    assert f"{x509.load_pem_x509_certificate(shown['pem'].encode()).serial_number:040x}" == serial


def test_show_for_people(served: Served, online: Line) -> None:
    serial = served.issue("www.certgate.test")
    said = online("cert", "show", serial)
    assert said.status == 0
    assert "dns:www.certgate.test" in said.out
    assert "ca:certificate:issued" in said.out
    assert "UTC" in said.out


def test_show_pem(served: Served, online: Line) -> None:
    """Certificate and chain, as servers want them in one file."""
    said = online("cert", "show", served.issue(), "--pem")
    assert len(x509.load_pem_x509_certificates(said.out.encode())) == 2


@pytest.mark.parametrize("serial", ["00", "nonsense", ""])
def test_show_of_an_unknown_serial(online: Line, serial: str) -> None:
    """1, a sentence on standard error, nothing on standard output."""
    said = online("cert", "show", serial, "--json")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("certgate: there is no certificate")


def test_list_and_export(served: Served, online: Line) -> None:
    """A short table for people; one object a line for scripts, with every certificate."""
    serials = [served.issue(f"h{n}.certgate.test") for n in range(3)]
    said = online("cert", "list", "--limit", "2")
    assert serials[2] in said.out
    assert serials[0] not in said.out
    assert "2 shown" in said.out
    assert [json.loads(one)["serial"] for one in online("cert", "list", "--json").out.splitlines()] == serials[::-1]
    said = online("cert", "export", "--json")
    assert [json.loads(one)["serial"] for one in said.out.splitlines()] == serials[::-1]
    assert said.err == ""
    said = online("cert", "export", "--text", "h1.")
    assert [json.loads(one)["serial"] for one in said.out.splitlines()] == [serials[1]]
    assert "nothing found" in online("cert", "list", "--text", "elsewhere").out


def test_export_goes_by_pages(served: Served, online: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of a page is: everything, once."""
    monkeypatch.setattr("gateway.cli.talk.PAGE", 2)
    serials = {served.issue(f"h{n}.certgate.test") for n in range(5)}
    found = [json.loads(one)["serial"] for one in online("cert", "export").out.splitlines()]
    assert len(found) == 5
    assert set(found) == serials
    assert len(online("cert", "list", "--json", "--limit", "3").out.splitlines()) == 3


def test_hold_release_revoke(served: Served, online: Line) -> None:
    serial = served.issue()

    def status() -> str:
        return str(json.loads(online("cert", "show", serial, "--json").out)["status"])

    assert online("cert", "hold", serial, "--reason", "certificateHold").status == 0
    assert status() == "on_hold"
    assert online("cert", "release", serial).status == 0
    assert status() == "valid"
    said = online("cert", "revoke", serial, "--reason", "superseded")
    assert said.status == 0
    assert "OCSP" in said.out
    assert status() == "revoked"
    for word in ("revoke", "hold", "release"):
        said = online("cert", word, serial)
        assert said.status == 1
        assert said.err.startswith("certgate: ")


@pytest.mark.parametrize("reason", ["becauseISaySo", "certificateHold", "keycompromise"])
def test_a_reason_that_is_none_is_wrong_usage(served: Served, online: Line, reason: str) -> None:
    """2, with the reasons that there are; nothing is asked of the server."""
    serial = served.issue()
    said = online("cert", "revoke", serial, "--reason", reason)
    assert said.status == 2
    assert "keyCompromise" in said.err
    assert json.loads(online("cert", "show", serial, "--json").out)["status"] == "valid"


def test_json_of_a_change_is_the_certificate(served: Served, online: Line) -> None:
    said = online("cert", "revoke", served.issue(), "--json")
    assert json.loads(said.out)["status"] == "revoked"


def test_without_a_server(offline: Line) -> None:
    """The same functions on the store itself; who revokes is told when it shows."""
    # The server's TLS certificate and the SCEP RA's: quickstart has made nothing else.
    one, _ = [json.loads(text) for text in offline("cert", "export", "--json").out.splitlines()]
    said = offline("cert", "revoke", one["serial"], "--reason", "cessationOfOperation")
    assert said.status == 0, said.err
    assert "No server runs" in said.out
    assert json.loads(offline("cert", "show", one["serial"], "--json").out)["reason"] == "cessationOfOperation"
