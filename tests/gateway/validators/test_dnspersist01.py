"""The dns-persist-01 and dns-account-01 validators against a real name server."""

from __future__ import annotations

import hashlib
from base64 import b32encode

import dns.rcode
import pytest

from ca_core.names import Identifier, IdentifierType
from gateway.validators.dns import Resolver
from gateway.validators.dns01 import DNSAccount01Validator
from gateway.validators.dnspersist01 import DNSPersist01Validator
from policy.problems import ValidationDNS, ValidationIncorrectResponse
from policy.validation import Attempt
from policy.validation.challenges import dns_01_value, dns_account_label
from tests.gateway.validators.servers import NameServer
from tests.replacing import replace

ACCOUNT = "https://ca.example/acme/default/account/1"
ATTEMPT = Attempt(Identifier(IdentifierType.DNS, "a.example"), False, "dns-persist-01", "", ".thumb", ACCOUNT)
NAME = "_validation-persist.a.example"


def validator(resolver: Resolver) -> DNSPersist01Validator:
    return DNSPersist01Validator(resolver, ("CA.example",))


async def test_b_a_standing_permission_is_found(names: NameServer, resolver: Resolver) -> None:
    """Among records of others; also in several strings and behind an alias."""
    names.records[NAME, "CNAME"] = ["persist.test."]
    names.records["persist.test", "TXT"] = ['"v=other"', f'"ca.example; accounturi=" "{ACCOUNT}"']
    evidence = await validator(resolver).validate(ATTEMPT)
    assert (evidence.method, evidence.target) == ("dns-persist-01", NAME)
    with pytest.raises(ValidationIncorrectResponse, match="wildcard"):
        await validator(resolver).validate(replace(ATTEMPT, wildcard=True))


async def test_b_no_permission_no_proof(names: NameServer, resolver: Resolver) -> None:
    """Nothing there, somebody else's, or no answer."""
    with pytest.raises(ValidationIncorrectResponse, match=NAME):
        await validator(resolver).validate(ATTEMPT)
    names.records[NAME, "TXT"] = [f'"ca.example; accounturi={ACCOUNT}2"']
    with pytest.raises(ValidationIncorrectResponse, match="another account"):
        await validator(resolver).validate(ATTEMPT)
    names.codes[NAME] = dns.rcode.SERVFAIL
    with pytest.raises(ValidationDNS):
        await validator(resolver).validate(ATTEMPT)


async def test_b_a_server_without_a_name_in_dns_permits_nobody(names: NameServer, resolver: Resolver) -> None:
    """Without caa_identities no record can name this CA."""
    names.records[NAME, "TXT"] = [f'"; accounturi={ACCOUNT}"', f'"ca.example; accounturi={ACCOUNT}"']
    with pytest.raises(ValidationIncorrectResponse):
        await DNSPersist01Validator(resolver, ()).validate(ATTEMPT)


def test_b_the_label_of_an_account() -> None:
    """ "_" and sixteen lower-case characters of base32; the example of draft-ietf-acme-dns-account-label."""
    example = "https://example.com/acme/acct/ExampleAccount"
    assert dns_account_label(example) == "_ujmmovf2vn55tgye._acme-challenge"
    digest = hashlib.sha256(ACCOUNT.encode()).digest()[:10]
    assert dns_account_label(ACCOUNT) == f"_{b32encode(digest).decode().lower()}._acme-challenge"


async def test_b_dns_account_is_under_the_accounts_own_label(names: NameServer, resolver: Resolver) -> None:
    """The common label proves nothing here, nor does another account's."""
    attempt = Attempt(Identifier(IdentifierType.DNS, "a.example"), True, "dns-account-01", "t", "t.thumb", ACCOUNT)
    value = dns_01_value("t.thumb")
    names.records["_acme-challenge.a.example", "TXT"] = [f'"{value}"']
    names.records[f"{dns_account_label(ACCOUNT + '2')}.a.example", "TXT"] = [f'"{value}"']
    with pytest.raises(ValidationIncorrectResponse, match="no TXT record"):
        await DNSAccount01Validator(resolver).validate(attempt)
    name = f"{dns_account_label(ACCOUNT)}.a.example"
    names.records[name, "TXT"] = [f'"{value}"']
    evidence = await DNSAccount01Validator(resolver).validate(attempt)
    assert (evidence.method, evidence.target) == ("dns-account-01", name)
