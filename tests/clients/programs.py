"""The programs that are not ours: where each comes from, whether it is here, and what to do when it is not.

Run as a program it needs only the standard library, so that it works before anything is installed:

    python3 tests/clients/programs.py install     install the missing Debian packages where that is allowed
    python3 tests/clients/programs.py report      say which client tests will be skipped, and why
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """One program: the Debian packages that bring it, and the test modules that cannot run without it."""

    name: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    file: str = ""
    """What is looked for where it is no program on the path: a Java library."""
    service: bool = False
    """Whether its package starts a server of the whole machine, which nobody wants of a `make test`."""


PROGRAMS = (
    Program("certbot", ("certbot",), ("test_certbot.py", "../architecture/test_readme.py")),
    Program("lego", ("lego",), ("test_lego.py", "test_perspectives.py")),
    # The package pebble brings it: a name server and its management API, no certificate authority.
    Program("pebble-challtestsrv", ("pebble",), ("test_certbot.py", "test_lego.py")),
    # The package strongswan-pki alone has no plugin for keys and none for HTTP.
    Program(
        "pki",
        ("strongswan-pki", "libstrongswan-standard-plugins", "libstrongswan-extra-plugins"),
        ("test_strongswan.py", "test_strongswan_scep.py"),
    ),
    Program(
        "bouncycastle",
        ("libbcpkix-java", "default-jdk-headless"),
        ("test_bouncycastle_cmp.py",),
        "/usr/share/java/bcpkix.jar",
    ),
    Program("getcert", ("certmonger",), ("test_certmonger.py",), service=True),
    Program("dbus-run-session", ("dbus-daemon",), ("test_certmonger.py",)),
    Program("scepclient", ("scep",), ("test_scepclient.py",)),
    Program("unbound", ("unbound",), ("test_unbound.py",), service=True),
    Program("curl", ("curl",), ("test_curl_est.py", "../architecture/test_readme.py")),
    Program(
        "openssl", ("openssl",), ("test_openssl_cmp.py", "test_openssl_status.py", "../architecture/test_readme.py")
    ),
    Program("jq", ("jq",), ("test_rest_pipeline.py",)),
)


def strict() -> bool:
    """Whether a missing program is a failure: on a build server it would otherwise go unnoticed."""
    return os.environ.get("CI", "").lower() == "true"


def missing() -> list[Program]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if not _there(program)]


def _there(program: Program) -> bool:
    return os.path.exists(program.file) if program.file else shutil.which(program.name) is not None


def why_missing(name: str) -> str | None:
    """Nothing when the program is installed, else the sentence that says what to install."""
    program = next((one for one in PROGRAMS if one.name == name), Program(name, (name,), ()))
    if _there(program):
        return None
    packages = program.packages
    return f"{name} is not installed (Debian: apt-get install {' '.join(packages)})"


def _root() -> list[str] | None:
    """The words before a command that needs root; None when there is no way to be root without a question."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def _may_install(program: Program) -> bool:
    """A server is installed where nothing starts it (a container) and on a build server; elsewhere by its owner."""
    return not program.service or strict() or not os.path.isdir("/run/systemd/system")


def install() -> None:
    """Install what is missing; one by one when all at once fails: a release may not know one of them."""
    wanted = [package for program in missing() if _may_install(program) for package in program.packages]
    if not wanted:
        return
    root = _root()
    if root is None or shutil.which("apt-get") is None:
        print("Real clients are missing, and this user may not install Debian packages. As root:")
        print(f"    apt-get install --no-install-recommends {' '.join(wanted)}")
        return
    apt = [
        *root,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-q",
        "-y",
        "-o",
        "DPkg::Lock::Timeout=120",
    ]
    print(f"Installing Debian packages: {' '.join(wanted)}", flush=True)
    subprocess.run([*apt, "update"], stdout=subprocess.DEVNULL)
    command = [*apt, "install", "--no-install-recommends"]
    if subprocess.run([*command, *wanted], stdout=subprocess.DEVNULL).returncode:
        for package in wanted:
            subprocess.run([*command, package], stdout=subprocess.DEVNULL)


def report() -> int:
    """Name every program that is missing with the tests it costs. 1 when that is a failure here."""
    absent = missing()
    for program in absent:
        said = "FAILURE" if strict() else "skipped"
        print(f"{said}: {', '.join(program.modules)}: {why_missing(program.name)}")
    if not absent:
        print(f"Real clients: {', '.join(program.name for program in PROGRAMS)} are installed.")
    return 1 if absent and strict() else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["install"]:
        install()
    elif sys.argv[1:] == ["report"]:
        sys.exit(report())
    else:
        sys.exit(__doc__)
