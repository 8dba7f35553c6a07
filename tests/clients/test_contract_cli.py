"""The command line as scripts lean on it: exit statuses, shapes of --json, files and their modes."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.clients.gate import Gate, certificates_of, serial_of, wait_until

SERIAL = re.compile(r"[0-9a-f]{40}")


@pytest.fixture
def issued(gate: Gate, tmp_path: Path) -> str:
    """The serial of a fresh certificate."""
    return serial_of(certificates_of(gate.enroll("contract.certgate.test", tmp_path))[0])


def test_quickstart_writes_what_clients_need(gate: Gate) -> None:
    """One entry per door that is there, and the files that it names."""
    told = gate.told
    assert {"base_url", "http_url", "mtls_url", "management_url", "root_ca", "issuing_ca"} <= told.keys()
    assert {"directory", "kid", "hmac_key"} <= told["acme"].keys()
    assert {"directory"} <= told["acme_open"].keys()
    assert {"url", "label", "username", "password"} <= told["est"].keys()
    assert told["est"]["url"].endswith("/.well-known/est")
    for name in ("root_ca", "issuing_ca"):
        assert Path(told[name]).is_absolute()
        assert certificates_of(Path(told[name]))


def test_quickstart_json_is_private(gate: Gate) -> None:
    """It holds secrets: nobody else may read it, nor the keys beside it."""
    assert stat.S_IMODE((gate.state / "quickstart.json").stat().st_mode) == 0o600
    secret = [gate.state / "master.key", gate.state / "certgate.db", *(gate.state / "keys").iterdir()]
    assert len(secret) > 3
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_quickstart_again_changes_nothing(gate: Gate) -> None:
    """Idempotent, also while the server runs: same file, byte by byte, and no further certificate."""
    before, certificates = (gate.state / "quickstart.json").read_bytes(), len(gate.export())
    said = gate.quickstart()
    assert said.status == 0, said.text
    assert (gate.state / "quickstart.json").read_bytes() == before
    assert len(gate.export()) == certificates


def test_quickstart_prints_commands_to_paste(gate: Gate) -> None:
    """What a newcomer sees: a command per door, with the addresses of this very server."""
    said = gate.quickstart()
    told = gate.told
    assert "certbot" in said.out
    assert told["acme"]["directory"] in said.out
    assert told["est"]["url"].partition("/.well-known")[0] in said.out


def test_second_server_on_the_same_state_is_refused(gate: Gate) -> None:
    """Two servers on one SQLite store: the second one ends with a sentence, and the first goes on."""
    said = gate.certgate("serve", "--https-port", "0", "--mtls-port", "0", "--http-port", "0", timeout=30)
    assert said.status != 0
    assert "Traceback" not in said.text
    assert gate.certgate("order", "list", "--status", "processing", "--json").status == 0


def test_cert_show_json(gate: Gate, issued: str) -> None:
    """serial, status, pem, order and more, as one object."""
    shown = gate.show(issued)
    assert {"serial", "status", "pem", "order"} <= shown.keys()
    assert shown["serial"] == issued
    assert shown["status"] == "valid"
    assert shown["pem"].startswith("-----BEGIN CERTIFICATE-----")


def test_cert_show_takes_a_serial_as_people_write_it(gate: Gate, issued: str) -> None:
    """Upper case and colons, as openssl and browsers show serials."""
    colons = ":".join(issued[n : n + 2] for n in range(0, 40, 2)).upper()
    assert gate.show(colons)["serial"] == issued


@pytest.mark.parametrize("serial", ["00" * 20, "40" + "ff" * 19, "nonsense", ""])
def test_cert_show_of_an_unknown_serial_fails(gate: Gate, serial: str) -> None:
    """Not 0, a sentence on standard error, nothing on standard output."""
    said = gate.certgate("cert", "show", serial, "--json")
    assert said.status != 0
    assert said.out == ""
    assert said.err
    assert "Traceback" not in said.err


def test_cert_export_is_one_object_per_line(gate: Gate, issued: str) -> None:
    """Every certificate once, each line a whole JSON object."""
    exported = gate.export()
    serials = [one["serial"] for one in exported]
    assert issued in serials
    assert len(serials) == len(set(serials))
    assert all(SERIAL.fullmatch(serial) for serial in serials)


def test_revoke_hold_release(gate: Gate, issued: str) -> None:
    """hold and release go to and fro; revoked is the end, and a second time is refused."""

    def status() -> Any:
        return gate.show(issued)["status"]

    assert gate.certgate("cert", "hold", issued).status == 0
    assert status() == "on_hold"
    assert gate.certgate("cert", "release", issued).status == 0
    assert status() == "valid"
    assert gate.certgate("cert", "revoke", issued, "--reason", "superseded").status == 0
    assert status() in ("revoked", "superseded")
    for words in (("revoke", issued), ("hold", issued), ("release", issued)):
        said = gate.certgate("cert", *words)
        assert said.status != 0, words
        assert "Traceback" not in said.text


def test_unknown_reason_is_refused_and_names_the_known_ones(gate: Gate, issued: str) -> None:
    """A typing mistake revokes nothing."""
    said = gate.certgate("cert", "revoke", issued, "--reason", "becauseISaySo")
    assert said.status != 0
    assert "keyCompromise" in said.err
    assert gate.show(issued)["status"] == "valid"


@pytest.mark.parametrize("status", ["pending", "held", "processing", "valid", "invalid", "cancelled"])
def test_order_list_is_an_array(gate: Gate, status: str) -> None:
    """Also when there are none: an empty array, status 0."""
    for order in gate.orders(status):
        assert order["status"] == status


def test_order_of_a_certificate_is_listed(gate: Gate, issued: str) -> None:
    """cert show names the order, and order show finds it."""
    order = gate.show(issued)["order"]
    said = gate.certgate("order", "show", order, "--json")
    assert said.status == 0, said.text
    assert json.loads(said.out)["status"] == "valid"


def new_credential(gate: Gate, *words: str) -> dict[str, Any]:
    """Another EST credential for whom and what quickstart's is."""
    said = gate.certgate("credential", "list", "--json")
    assert said.status == 0, said.text
    known = next(one for one in json.loads(said.out) if one["identifier"] == gate.told["est"]["username"])
    whose = ("--user", known["user"], "--group", known["group"], "--product", known["products"][0])
    said = gate.certgate("credential", "create", "--type", "est", *whose, *words, "--json")
    assert said.status == 0, said.text
    made: dict[str, Any] = json.loads(said.out)
    return made


def refused(gate: Gate, folder: Path, user: str) -> bool:
    """Whether the EST door refuses this user, as 401 or 403."""
    try:
        gate.enroll("refused.certgate.test", folder, user)
    except urllib.error.HTTPError as answer:
        with answer:
            assert answer.code in (401, 403)
            return True
    return False


def test_credential_is_made_and_its_secret_shown_once(gate: Gate, tmp_path: Path) -> None:
    """The secret works at once; lists and shows never have it. --use-limit counts issuances."""
    made = new_credential(gate, "--use-limit", "1")
    user = f"{made['identifier']}:{made['secret']}"
    gate.enroll("limited.certgate.test", tmp_path, user)
    assert refused(gate, tmp_path, user)
    for words in (("list",), ("show", made["id"])):
        said = gate.certgate("credential", *words, "--json")
        assert said.status == 0, said.text
        assert made["secret"] not in said.out
    assert made["secret"] not in gate.log.read_text()


def test_credential_is_refused_as_soon_as_it_is_revoked(gate: Gate, tmp_path: Path) -> None:
    """The command ends after it took effect; nothing of this credential is issued afterwards."""
    made = new_credential(gate)
    user = f"{made['identifier']}:{made['secret']}"
    gate.enroll("before.certgate.test", tmp_path, user)
    said = gate.certgate("credential", "revoke", made["id"])
    assert said.status == 0, said.text
    assert refused(gate, tmp_path, user)


def test_audit_log_is_whole(gate: Gate, issued: str) -> None:
    """verify looks at every leaf, every checkpoint, and that each certificate has its event."""
    said = gate.certgate("audit", "verify")
    assert said.status == 0, said.text


def test_config_show_and_check(gate: Gate) -> None:
    """What is in force and where it came from; a mistake is named with its key and its neighbour."""
    said = gate.certgate("config", "show")
    assert said.status == 0, said.text
    assert "validation.http01_port" in said.out
    said = gate.certgate("config", "check", "--set", "validation.http01_prot=1")
    assert said.status != 0
    assert "http01_prot" in said.err
    assert "http01_port" in said.err


@pytest.mark.parametrize("words", [(), ("nonsense",), ("cert",), ("cert", "nonsense"), ("serve", "--nonsense")])
def test_wrong_command_is_2_with_usage(gate: Gate, words: tuple[str, ...]) -> None:
    """As other commands do it."""
    said = gate.certgate(*words)
    assert said.status == 2
    assert "usage" in said.text.lower()


def test_management_says_live_ready_and_metrics(gate: Gate) -> None:
    """What a supervisor and Prometheus ask, on the management listener."""
    base = gate.told["management_url"].rstrip("/")
    for path in ("/health/live", "/health/ready", "/metrics"):
        with urllib.request.urlopen(base + path, timeout=5) as answer:
            assert answer.status == 200
            assert answer.read()


def test_hangup_reloads_and_goes_on(gate: Gate) -> None:
    """SIGHUP: the configuration is read again, and no connection is lost."""
    os.kill(gate.pid, signal.SIGHUP)
    assert wait_until(lambda: gate.certgate("order", "list", "--status", "valid", "--json").status == 0, 5)
