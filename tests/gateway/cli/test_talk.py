"""gateway.cli.talk and gateway.cli.output: where commands go, how they end, what they print."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.admin_client import AdminRefused, NotRunning, call_sync, socket_path
from gateway.cli import output
from gateway.cli.output import Progress, print_array, print_facts, print_table, shown
from gateway.store.opening import FileLock
from tests.architecture.modules import ROOT
from tests.gateway.cli.conftest import Line, Said, Served

# What a short command must not pay for, when a server does the work.
HEAVY = ("cryptography", "aiohttp", "apsw", "asyncio", "structlog", "msgspec", "sqlite3", "dns", "subprocess")


def test_a_short_command_imports_little(served: Served) -> None:
    """`cert show` against a running server: no event loop, no cryptography, no database."""
    serial = served.issue()
    script = (
        "import sys; from gateway.cli import main; status = main(sys.argv[1:])\n"
        "print(','.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", script, "cert", "show", serial, "--json", "--state", str(served.state)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["serial"] == serial
    loaded = set(done.stderr.strip().split(","))
    assert not loaded & set(HEAVY)


def test_the_parser_imports_little() -> None:
    """Help, completion and wrong usage need no part of the product but the command line."""
    script = "import sys; from gateway.cli import parser; parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = done.stdout.split()
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)
    ours = {name for name in loaded if name.startswith(("policy", "ca_core", "protocols"))}
    assert ours <= {"ca_core", "ca_core.status"}


def test_nothing_is_set_up(line: Callable[..., Said]) -> None:
    """3, with what to do; and no folder was made."""
    said = line("order", "list")
    assert said.status == 3
    assert "quickstart" in said.err
    said = line("cert", "show", "00")
    assert said.status == 3


def test_a_store_that_another_process_has(offline: Line) -> None:
    """A server that is starting, say: 3, and who has it."""
    lock = FileLock(str(offline.state / "certgate.db"))
    said = offline("order", "list")
    lock.release()
    assert said.status == 3
    assert "another process" in said.err


def test_a_server_that_fails_inside(served: Served) -> None:
    """Its own sentence, without its insides."""
    with pytest.raises(AdminRefused) as refused:
        call_sync(socket_path(served.state), "broken", {"actor": "me"})
    assert refused.value.kind == "internal"


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        call_sync(socket_path(tmp_path), "order.page")


def test_what_the_core_logs_stays_off_standard_output(offline: Line) -> None:
    """Scripts read it."""
    said = offline("order", "list", "--json")
    assert json.loads(said.out) == []


def test_a_pipe_that_is_closed_is_no_fault(served: Served) -> None:
    """`certgate cert export | head`: silence and 0."""
    for number in range(3):
        served.issue(f"h{number}.certgate.test")
    command = [sys.executable, "-m", "gateway", "cert", "export", "--state", str(served.state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 0
    assert said == b""


def test_usage(line: Callable[..., Said]) -> None:
    """2, as other commands do it."""
    for words in ((), ("nonsense",), ("cert",), ("cert", "nonsense"), ("cert", "show")):
        said = line(*words)
        assert said.status == 2
        assert "usage" in said.err


# --------------------------------------------------------------------------- output


class Terminal(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """That changes, and is gone before results are printed."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(output, "TERMINAL_SECONDS", 0)
    progress = Progress()
    progress.say("1 of 2")
    progress.say({"done": 2})
    progress.clear()
    progress.clear()
    assert terminal.getvalue() == '\r\x1b[K1 of 2\r\x1b[K{"done": 2}\r\x1b[K'


def test_progress_in_a_pipe_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then; quick work says nothing."""
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    Progress().say("1 of 2")
    assert pipe.getvalue() == ""
    monkeypatch.setattr(output, "PIPE_SECONDS", 0)
    progress = Progress()
    progress.say("1 of 2")
    progress.clear()
    assert pipe.getvalue() == "1 of 2\n"


def test_tables_and_facts(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as what is in them; what is empty is left out of facts."""
    print_table([["a", 1], ["long", None]], ["name", "n"])
    print_facts({"name": "x", "nothing": None, "none": [], "two": ["a", "b"]})
    assert capsys.readouterr().out == "name  n\na     1\nlong  -\nname  x\ntwo   a, b\n"


@pytest.mark.parametrize("values", [[], [1], [{"a": "ä"}, None, [1, 2]]])
def test_arrays_are_json(values: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    print_array(iter(values))
    assert json.loads(capsys.readouterr().out) == values


def test_a_terminal_is_not_told_what_to_do() -> None:
    """Names and labels come from clients; an escape sequence in them is shown, not obeyed."""
    assert shown("\x1b[2Jwww\r\n") == "?[2Jwww??"
    assert shown(True) == "yes"
