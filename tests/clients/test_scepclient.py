"""micromdm's scepclient against the SCEP door: single DES and SHA-1, refused unless the mount takes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gate import Gate, Said, certificates_of, run

pytestmark = pytest.mark.client

# scepclient panics at the certificate of an EC CA, so there is an RSA one; its subject has C, O and OU.
PRODUCT = """
name = "rsa-device"
title = "Device of an RSA CA"
issuer = "rsa"
protocols = ["scep"]
[profile]
name = "rsa-device"
subject_attributes = ["CN", "O", "OU", "C"]
common_name = "keep"
name_types = ["dns"]
key_types = ["rsa-2048"]
key_usage = ["digitalSignature", "keyEncipherment"]
extended_key_usage = ["clientAuth"]
validity_seconds = 864000
max_validity_seconds = 864000
[names]
allowed = ["dns:*.certgate.test"]
required = false
common_name = "[A-Za-z0-9.-]{1,64}"
[validation]
trusted = ["dns:*.certgate.test"]
"""
MOUNT = (
    'protocol = "scep"\nlabel = "{label}"\nproducts = ["rsa-device"]\nissuer = "rsa"\n[options]\nlegacy = {legacy}\n'
)


@pytest.fixture(scope="module")
def rsa_gate(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A state with an RSA CA and two mounts, not served yet: issuers are loaded at the start."""
    need("scepclient")
    gate = Gate(tmp_path_factory.mktemp("scepclient"))
    made = gate.quickstart()
    assert made.status == 0, made.text
    (gate.folder / "product.toml").write_text(PRODUCT)
    for label, legacy in (("modern", []), ("old", ["sha1", "single-des"])):
        (gate.folder / f"{label}.toml").write_text(MOUNT.format(label=label, legacy=json.dumps(legacy)))
    for words in (
        ("ca", "create", "rsa-root", "--subject", "CN=RSA root", "--key-type", "rsa-2048"),
        ("ca", "create", "rsa", "--under", "rsa-root", "--subject", "CN=RSA issuing", "--key-type", "rsa-2048"),
        ("product", "apply", "-f", str(gate.folder / "product.toml")),
        ("mount", "apply", "-f", str(gate.folder / "modern.toml")),
        ("mount", "apply", "-f", str(gate.folder / "old.toml")),
    ):
        said = gate.certgate(*words)
        assert said.status == 0, said.text
    return gate


def test_refused_by_default_and_served_behind_its_switch(rsa_gate: Gate, tmp_path: Path) -> None:
    """badAlg, then a certificate; sent again with the certificate it is a RenewalReq with the challenge as well."""
    gate = rsa_gate
    made = gate.certgate(
        *("credential", "create", "--type", "scep", "--user", "alice", "--group", "operations"),
        *("--product", "rsa-device", "--identifier", "micro", "--json"),
    )
    challenge = f"micro:{json.loads(made.out)['secret']}"

    def client(label: str) -> Said:
        return run(
            *("scepclient", "-server-url", f"{gate.told['http_url']}/scep/{label}", "-challenge", challenge),
            *("-cn", "mdm-1.certgate.test", "-private-key", "mdm.key", "-certificate", "mdm.pem"),
            folder=tmp_path,
            timeout=30,
        )

    try:
        gate.start()
        refused = client("modern")
        assert "badAlg" in refused.text
        assert not (tmp_path / "mdm.pem").exists()
        served = client("old")
        assert "SUCCESS" in served.text, served.text
        (first,) = certificates_of(tmp_path / "mdm.pem")
        assert "mdm-1.certgate.test" in first.subject.rfc4514_string()
        renewed = client("old")
        assert "SUCCESS" in renewed.text, renewed.text
        assert gate.stop() == 0
    finally:
        gate.kill()
    assert not gate.tracebacks()
