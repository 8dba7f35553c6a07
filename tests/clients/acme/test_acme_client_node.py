"""acme-client of npm, the library of Node programs: a script that walks through the whole life of an account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.acme.inventory import PATH, located
from tests.clients.acme.journal import Journal
from tests.clients.acme.responders import dns_hook, web_root
from tests.clients.gate import Gate, Names, certificates_of, names_of, run, serial_of

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

SCRIPT = """
const acme = require(process.env.ACME_CLIENT);
const { execFileSync } = require('child_process');
const fs = require('fs');
const told = JSON.parse(process.env.TOLD);
const dns = (...words) => execFileSync(told.dns, words);
const record = (authz) => '_acme-challenge.' + authz.identifier.value;

async function order(client, name, wanted, key) {
    const [, csr] = await acme.crypto.createCsr({ commonName: wanted[0], altNames: wanted }, key);
    const pem = await client.auto({
        csr, email: 'admin@example.org', termsOfServiceAgreed: true,
        challengePriority: wanted.some((one) => one.startsWith('*')) ? ['dns-01'] : ['http-01'],
        // Its own look asks the system's name server, which does not know these names.
        skipChallengeVerification: true,
        challengeCreateFn: async (authz, challenge, value) => {
            if (challenge.type === 'http-01') fs.writeFileSync(told.root + '/' + challenge.token, value);
            else dns('present', record(authz), value);
        },
        challengeRemoveFn: async (authz, challenge) => {
            if (challenge.type === 'http-01') fs.unlinkSync(told.root + '/' + challenge.token);
            else dns('clean', record(authz), '-');
        },
    });
    fs.writeFileSync(name, pem);
    return pem;
}

(async () => {
    const client = new acme.Client({
        directoryUrl: told.directory,
        accountKey: await acme.crypto.createPrivateEcdsaKey(),
        externalAccountBinding: { kid: told.kid, hmacKey: told.hmac },
    });
    await order(client, 'rsa.pem', ['rsa.node.example'], await acme.crypto.createPrivateRsaKey(2048));
    const ec = await acme.crypto.createPrivateEcdsaKey('P-384');
    await order(client, 'ec.pem', ['*.node.example', 'node.example'], ec);
    // Another key for the account, which then revokes what the first one ordered.
    await client.updateAccountKey(await acme.crypto.createPrivateRsaKey(2048));
    await client.revokeCertificate(fs.readFileSync('rsa.pem'), { reason: 4 });
    await client.updateAccount({ contact: ['mailto:new@example.org'] });
    await client.updateAccount({ status: 'deactivated' });
    try {
        await order(client, 'late.pem', ['late.certgate.test'], ec);
    } catch (refused) {
        console.log(JSON.stringify({ refused: refused.message }));
    }
})().catch((wrong) => { console.error(wrong); process.exit(1); });
"""


def test_life_of_an_account(gate: Gate, names: Names, journal: Journal, tmp_path: Path) -> None:
    """EAB, http-01 with RSA, wildcard by dns-01 with P-384, key rollover, revocation, update, deactivation."""
    library = located("acme-client of npm")
    acme = gate.told["acme"]
    script = tmp_path / "life.js"
    script.write_text(SCRIPT)
    with web_root(gate, tmp_path / "www") as challenges:
        told: dict[str, Any] = {
            "directory": acme["directory"],
            "kid": acme["kid"],
            "hmac": acme["hmac_key"],
            "root": str(challenges),
            "dns": str(dns_hook(names, tmp_path)),
        }
        said = run(
            *("node", script),
            folder=tmp_path,
            environment={
                "ACME_CLIENT": library,
                "NODE_EXTRA_CA_CERTS": gate.root,
                "TOLD": json.dumps(told),
                "PATH": PATH,
            },
            timeout=120,
        )
    assert said.status == 0, said.text
    first, second = (certificates_of(tmp_path / name)[0] for name in ("rsa.pem", "ec.pem"))
    assert names_of(first) == {"rsa.node.example"}
    assert names_of(second) == {"*.node.example", "node.example"}
    assert [gate.show(serial_of(one))["status"] for one in (first, second)] == ["revoked", "valid"]
    assert journal.saw("key-change", "revoke-cert"), str(journal)
    assert "refused" in said.out, said.text
    assert not (tmp_path / "late.pem").exists()
