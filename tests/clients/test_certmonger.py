"""certmonger against the SCEP door: its daemon on a bus of its own enrols and renews a host's certificate."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, certificates_of, names_of, run, serial_of

pytestmark = pytest.mark.client

NAME = "host-1.certgate.test"
# The daemon ends with the bus, which ends with the script.
SCRIPT = """
/usr/lib/certmonger/certmonger-session -n -S -d 1 > daemon.log 2>&1 &
wait_for() {{ for _ in $(seq 60); do sleep 0.5; "$@" && return 0; done; getcert list --session; return 1; }}
known() {{ getcert list-cas --session 2>/dev/null | grep -q "gate" ; }}
monitored() {{ getcert list --session -i one | grep -q "status: MONITORING" && [ -s host.pem ]; }}
renewed() {{ monitored && ! cmp -s host.pem first.pem; }}
wait_for getcert add-scep-ca --session -c gate -u {url}
wait_for known
getcert request --session -c gate -I one -f "$PWD/host.pem" -k "$PWD/host.key" -N CN={name} -D {name} -G rsa -g 2048 \
    -L {challenge} || exit 1
wait_for monitored || exit 1
cp host.pem first.pem
getcert resubmit --session -i one || exit 1
wait_for renewed
"""


def test_enrols_and_renews(gate: Gate, need: Callable[..., None], tmp_path: Path) -> None:
    """PKCSReq by GET with AES-256, then the renewal that the daemon would make by itself when it is time."""
    need("getcert", "dbus-run-session")
    told = gate.told["scep"]
    words = {"url": told["url"], "name": NAME, "challenge": told["challenge"]}
    (tmp_path / "go.sh").write_text(SCRIPT.format(**{key: shlex.quote(value) for key, value in words.items()}))
    folders = {"CERTMONGER_REQUESTS_DIR": "requests", "CERTMONGER_CAS_DIR": "cas", "CERTMONGER_CONFIG_DIR": "config"}
    for folder in (*folders.values(), "home", "tmp"):
        (tmp_path / folder).mkdir()
    environment = {name: str(tmp_path / folder) for name, folder in folders.items()}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "tmp")}
    said = run("dbus-run-session", "--", "sh", "go.sh", folder=tmp_path, environment=environment, timeout=100)
    assert said.status == 0, said.text + (tmp_path / "daemon.log").read_text()[-3000:]
    (first,), (second,) = certificates_of(tmp_path / "first.pem"), certificates_of(tmp_path / "host.pem")
    assert names_of(first) == names_of(second) == {NAME}
    assert first.serial_number != second.serial_number
    shown = gate.show(serial_of(second))
    assert shown["status"] == "valid"
