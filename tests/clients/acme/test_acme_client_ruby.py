"""ruby-acme-client (Debian), the library of GitLab and of puppet modules. It knows no external account binding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from tests.clients.acme.inventory import located
from tests.clients.acme.journal import Journal
from tests.clients.acme.responders import dns_hook, web_root
from tests.clients.gate import Gate, Names, certificates_of, names_of, run, serial_of

pytestmark = [pytest.mark.client, pytest.mark.usefixtures("names")]

SCRIPT = """
require 'acme-client'
require 'json'
require 'timeout'
TOLD = JSON.parse(ENV.fetch('TOLD'))

def order(client, file, names, key)
  order = client.new_order(identifiers: names)
  order.authorizations.each do |authorization|
    next if authorization.status == 'valid'
    record = "_acme-challenge.#{authorization.domain}"
    if (wildcard = names.any? { |name| name.start_with?('*') })
      challenge = authorization.dns
      system(TOLD['dns'], 'present', record, challenge.record_content, exception: true)
    else
      challenge = authorization.http
      File.write("#{TOLD['root']}/#{challenge.token}", challenge.file_content)
    end
    challenge.request_validation
    Timeout.timeout(30) { (sleep 0.1; challenge.reload) while %w[pending processing].include?(challenge.status) }
    system(TOLD['dns'], 'clean', record, '-', exception: true) if wildcard
    raise challenge.error.to_s unless challenge.status == 'valid'
  end
  csr = Acme::Client::CertificateRequest.new(private_key: key, names: names).csr
  order.finalize(csr: csr)
  Timeout.timeout(30) { (sleep 0.1; order.reload) while order.status == 'processing' }
  File.write(file, order.certificate)
end

client = Acme::Client.new(private_key: OpenSSL::PKey::RSA.new(2048), directory: TOLD['directory'])
client.new_account(contact: 'mailto:admin@example.org', terms_of_service_agreed: true)
order(client, 'rsa.pem', ['www.ruby.example', 'ruby.example'], OpenSSL::PKey::RSA.new(2048))
order(client, 'ec.pem', ['*.wild.ruby.example'], OpenSSL::PKey::EC.generate('prime256v1'))
# Another key for the account, which then revokes what the first one ordered.
client.account_key_change(new_private_key: OpenSSL::PKey::EC.generate('secp384r1'))
client.revoke(certificate: File.read('rsa.pem'), reason: 4)
client.account_update(contact: 'mailto:new@example.org')
client.account_deactivate
begin
  client.new_order(identifiers: ['late.ruby.example'])
rescue Acme::Client::Error => refused
  puts JSON.generate(refused: refused.class.name)
end
"""


def test_life_of_an_account(gate: Gate, names: Names, journal: Journal, tmp_path: Path) -> None:
    """http-01 with RSA, wildcard by dns-01 with EC, key rollover, revocation, update, deactivation."""
    program = located("ruby-acme-client")
    script = tmp_path / "life.rb"
    script.write_text(SCRIPT)
    with web_root(gate, tmp_path / "www") as challenges:
        told = {
            "directory": gate.told["acme_open"]["directory"],
            "root": str(challenges),
            "dns": str(dns_hook(names, tmp_path)),
        }
        said = run(
            *(program, script),
            folder=tmp_path,
            environment={"TOLD": json.dumps(told), "SSL_CERT_FILE": gate.root},
            timeout=120,
        )
    assert said.status == 0, said.text
    first, second = (_leaf(tmp_path / name) for name in ("rsa.pem", "ec.pem"))
    assert names_of(first) == {"www.ruby.example", "ruby.example"}
    assert names_of(second) == {"*.wild.ruby.example"}
    assert [gate.show(serial_of(one))["status"] for one in (first, second)] == ["revoked", "valid"]
    assert journal.saw("key-change"), str(journal)
    assert "Unauthorized" in said.out, said.text


def _leaf(path: Path) -> x509.Certificate:
    return certificates_of(path)[0]
