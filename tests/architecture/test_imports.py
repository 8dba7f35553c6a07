"""Who imports whom: the contracts of pyproject.toml, and what contracts cannot see."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.architecture.modules import ROOT, modules

# Pure by design: bytes and values in, values and bytes out. Only endpoints and the parts that own I/O wait.
PURE_NAMES = {
    *("codec", "message", "messages", "jws", "jwk", "soap", "xcep", "wstep", "schema", "openapi", "csrattrs"),
    *("translate", "problems", "settings", "cmc", "crmf", "der", "signed", "enveloped", "ber"),
}
PURE_PACKAGES = ("policy.rules", "ca_core.lints", "ca_core.names", "protocols.cms")
PURE_MODULES = {
    *("ca_core.csr", "ca_core.profile", "ca_core.template", "ca_core.keycheck", "ca_core.algorithms"),
    *(
        "policy.order",
        "policy.product",
        "policy.credential",
        "policy.account",
        "policy.mount",
        "policy.audit",
    ),
    *("policy.validation.challenges", "policy.validation.caa"),
}


def is_pure(name: str) -> bool:
    """Whether this module may neither wait nor know that somebody does."""
    last = name.rpartition(".")[2]
    if name.startswith("gateway"):
        return False
    return last in PURE_NAMES or name in PURE_MODULES or name.startswith(PURE_PACKAGES)


def test_import_contracts_are_kept() -> None:
    """gateway -> protocols -> policy -> ca_core, and the order inside; see [tool.importlinter]."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout[said.stdout.find("Contracts") :]


def test_every_protocol_is_in_the_contract_of_independence() -> None:
    """A new folder has to be listed; what protocols share is not a protocol."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (one for one in settings["contracts"] if one["type"] == "independence")
    folders = {
        f"protocols.{path.parent.name}"
        for path in (ROOT / "protocols").glob("*/__init__.py")
        if "PROTOCOL" in path.read_text()
    }
    assert set(contract["modules"]) == folders


# Runs in a process of its own. What others made is loaded once; each module of ours is then imported in a
# child that has none of ours loaded, so that a module which only works after another one is found.
IMPORT_EACH = """
import gc, importlib, os, sys, traceback
for name in sys.argv[1].split():
    importlib.import_module(name)
gc.freeze()
running, failed = 0, False
for name in sys.argv[2:]:
    if running == os.cpu_count():
        failed, running = os.wait()[1] != 0 or failed, running - 1
    if os.fork() == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            sys.stderr.write(f"{name} cannot be imported alone\\n{traceback.format_exc()}\\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    running += 1
while running:
    failed, running = os.wait()[1] != 0 or failed, running - 1
sys.exit(failed)
"""
OTHERS = """
    aiohttp.web apsw argon2 asn1crypto.cms asyncio cryptography.x509 cryptography.x509.ocsp
    cryptography.hazmat.asn1 cryptography.hazmat.primitives.serialization.pkcs7 dns.asyncresolver idna msgspec
    prometheus_client structlog
"""


def test_each_module_can_be_imported_alone() -> None:
    """No module needs another one to be imported before it."""
    names = [module.name for module in modules() if module.name != "gateway.__main__"]
    said = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", IMPORT_EACH, OTHERS, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr


def test_pure_modules_do_not_wait() -> None:
    """No asyncio and no `async` in codecs, messages, translations, rules, lints, names and values."""
    wrong = [
        module.where(line)
        for module in modules()
        if is_pure(module.name)
        for name, line in module.imports()
        if name.split(".")[0] in {"asyncio", "threading", "concurrent"}
    ]
    wrong += [
        module.where(number)
        for module in modules()
        if is_pure(module.name)
        for number, line in enumerate(module.source.splitlines(), 1)
        if line.lstrip().startswith(("async def", "async with", "async for"))
    ]
    assert not wrong, f"waits in a pure module: {', '.join(wrong)}"


def test_environment_is_read_in_gateway_alone() -> None:
    """Configuration comes in as values; only the outermost ring looks at the process's surroundings."""
    wrong = [
        module.where(line)
        for module in modules()
        if not module.name.startswith("gateway")
        for name, line in [*module.attributes(), *module.imports()]
        if name in {"os.environ", "os.environb", "os.getenv", "sys.argv"}
    ]
    assert not wrong, f"reads its surroundings: {', '.join(wrong)}"


def test_time_and_chance_come_as_arguments() -> None:
    """Nothing below gateway asks the wall clock: `Clock` is handed in, so that tests can set it."""
    asked = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
    wrong = [
        module.where(line)
        for module in modules()
        # policy.ids puts the time in front of identifiers to keep indexes local; nothing is decided by it.
        if not module.name.startswith("gateway") and module.name not in {"ca_core.clock", "policy.ids"}
        for name, line in module.attributes()
        if name in asked
    ]
    assert not wrong, f"asks the wall clock: {', '.join(wrong)}"


def test_only_gateway_http_knows_both_worlds() -> None:
    """aiohttp's requests and responses end in gateway; doors see values."""
    wrong = [
        module.where(line)
        for module in modules()
        if not module.name.startswith("gateway")
        for name, line in module.imports()
        if name.split(".")[0] in {"aiohttp", "yarl", "multidict"}
    ]
    assert not wrong, f"knows the web framework: {', '.join(wrong)}"


def test_init_files_of_core_and_policy_import_nothing() -> None:
    """They say what the package is; a name is found where it is defined."""
    for package in ("ca_core", "policy"):
        (init,) = (module for module in modules() if module.name == package)
        assert not list(init.imports())
