"""The dns-01 validator against a real name server."""

from __future__ import annotations

import dns.rcode
import pytest

from ca_core.names import Identifier, IdentifierType
from gateway.validators.dns import Resolver
from gateway.validators.dns01 import DNS01Validator
from policy.problems import ValidationDNS, ValidationIncorrectResponse
from policy.validation import Attempt
from policy.validation.challenges import dns_01_value
from tests.gateway.validators.servers import NameServer

AUTHORIZATION = "token.thumb"
RIGHT = dns_01_value(AUTHORIZATION)
ATTEMPT = Attempt(Identifier(IdentifierType.DNS, "a.example"), True, "dns-01", "token", AUTHORIZATION, "")
NAME = "_acme-challenge.a.example"


async def test_any_of_several_records_will_do(names: NameServer, resolver: Resolver) -> None:
    """RFC 8555 section 8.4: the set contains the value; a base name and its wildcard need two at one time. Rows: A7."""
    names.records[NAME, "TXT"] = ['"other"', f'"{RIGHT}"', f'"{"x" * 43}"']
    evidence = await DNS01Validator(resolver).validate(ATTEMPT)
    assert (evidence.method, evidence.target) == ("dns-01", NAME)


async def test_value_in_two_strings_and_behind_an_alias(names: NameServer, resolver: Resolver) -> None:
    """Delegated validation: the label is a CNAME into a zone that may be changed. Rows: A7."""
    names.records[NAME, "CNAME"] = ["a.example.auth.test."]
    names.records["a.example.auth.test", "TXT"] = [f'"{RIGHT[:20]}" "{RIGHT[20:]}"']
    await DNS01Validator(resolver).validate(ATTEMPT)


@pytest.mark.parametrize("text", [RIGHT + "=", RIGHT.lower(), " " + RIGHT, RIGHT + RIGHT, AUTHORIZATION, ""])
async def test_other_values_prove_nothing(names: NameServer, resolver: Resolver, text: str) -> None:
    names.records[NAME, "TXT"] = [f'"{text}"']
    with pytest.raises(ValidationIncorrectResponse, match=RIGHT):
        await DNS01Validator(resolver).validate(ATTEMPT)


async def test_what_was_found_is_shown_cut_and_plain(names: NameServer, resolver: Resolver) -> None:
    names.records[NAME, "TXT"] = [f'"<b>\\027{number}{"y" * 200}"' for number in range(9)]
    with pytest.raises(ValidationIncorrectResponse, match="and 6 more") as caught:
        await DNS01Validator(resolver).validate(ATTEMPT)
    assert len(caught.value.detail) < 500
    assert not set("<>\x1b") & set(caught.value.detail)


async def test_absence_and_failure_are_told_apart(names: NameServer, resolver: Resolver) -> None:
    with pytest.raises(ValidationIncorrectResponse, match="no TXT record"):
        await DNS01Validator(resolver).validate(ATTEMPT)
    names.codes[NAME] = dns.rcode.NXDOMAIN
    with pytest.raises(ValidationDNS, match="NXDOMAIN"):
        await DNS01Validator(resolver).validate(ATTEMPT)
    names.codes[NAME] = dns.rcode.SERVFAIL
    with pytest.raises(ValidationDNS, match="SERVFAIL"):
        await DNS01Validator(resolver).validate(ATTEMPT)
