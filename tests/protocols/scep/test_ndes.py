"""The page of NDES where programs fetch one-time challenge passwords."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from gateway.app import services_for
from policy.credential import AuthenticationMethod
from policy.credentialing import CreatedCredential
from protocols.http import Transport
from protocols.scep.endpoint import SCEPEndpoint
from protocols.scep.ndes import PATHS
from protocols.scep.settings import SCEPSettings
from tests.conftest import ACTOR
from tests.protocols.scep.client import Client, rsa_key
from tests.protocols.scep.gate import Gate, http

# What Fleet looks for.
WANTED = re.compile(r"(?i)The enrollment challenge password is: <B> (?P<password>\S*)")


@dataclass
class Shown:
    status: int
    text: str
    headers: dict[str, str]


async def page(gate: Gate, user: str, password: str, *, path: str = PATHS[0], field: str | None = None) -> Shown:
    basic = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    request = http("GET", path, "")
    fields = {"authorization": basic if field is None else field}
    answer = await gate(replace(request, headers=fields))
    assert isinstance(answer.body, bytes)
    assert answer.content_type == "text/html; charset=utf-16le"
    return Shown(answer.status, answer.body.decode("utf-16-le"), dict(answer.headers))


@pytest.fixture
async def maker(gate: Gate) -> CreatedCredential:
    """A credential that makes one-time challenge passwords."""
    return await gate.credential(method=AuthenticationMethod.ONE_TIME, identifier="mdm")


async def test_the_password_of_the_page_enrols_once(gate: Gate, maker: CreatedCredential) -> None:
    """S25: the sentences that programs look for; each time another password, never kept by a cache."""
    found = []
    for path in PATHS:
        shown = await page(gate, "mdm", maker.secret or "", path=path)
        assert shown.status == 200
        assert "This password can be used only once and will expire within 60 minutes." in shown.text
        assert re.search(r"The thumbprint \(hash value\) for the CA certificate is: <B> [0-9A-F]{64} </B>", shown.text)
        assert shown.headers["Cache-Control"] == "no-store"
        match = WANTED.search(shown.text)
        assert match is not None
        found.append(match["password"])
    assert len(set(found)) == 2
    assert (await gate.enrol(Client(), found[0])).status == "0"
    assert (await gate.enrol(Client(rsa_key("other")), found[0])).status == "2"


async def test_the_makers_secret_is_no_challenge(gate: Gate, maker: CreatedCredential) -> None:
    """It makes codes, and enrols nothing itself."""
    for challenge in (maker.secret, f"mdm:{maker.secret}"):
        assert (await gate.enrol(Client(), challenge)).status == "2"
    assert await gate.certificates() == 0


@pytest.mark.parametrize("field", [None, "", "NTLM TlRMTVNTUAAB", "Negotiate x", "Basic !", "Basic bm8="])
async def test_nobody_gets_one_without_the_secret(gate: Gate, maker: CreatedCredential, field: str | None) -> None:
    """T13: Basic alone, no NTLM; the sentence that programs look for."""
    shown = await page(gate, "mdm", "wrong", field=field)
    assert shown.status == 401
    assert shown.headers["WWW-Authenticate"].startswith("Basic ")
    assert "You do not have sufficient permission to enroll with SCEP." in shown.text


async def test_other_credentials_make_none(gate: Gate, shown: CreatedCredential, maker: CreatedCredential) -> None:
    """One with a password for all has no one-time passwords; a suspended one makes none."""
    answer = await page(gate, "fleet", shown.secret or "")
    assert (answer.status, WANTED.search(answer.text)) == (403, None)
    await gate.house.core.administration.suspend_credential("mdm", ACTOR)
    assert (await page(gate, "mdm", maker.secret or "")).status == 403


async def test_the_cache_is_full_one_day(gate: Gate, maker: CreatedCredential) -> None:
    """S25: as NDES says it."""
    gate.settings = SCEPSettings(one_time_open=1)
    assert WANTED.search((await page(gate, "mdm", maker.secret or "")).text)
    assert "The password cache is full." in (await page(gate, "mdm", maker.secret or "")).text


async def test_the_page_is_served_over_tls_only(gate: Gate) -> None:
    """T13."""
    endpoint = SCEPEndpoint(services_for(gate.house.core, "scep"))
    routes = endpoint.routes((await gate.house.core.ra.mount("scep/default"),))
    assert {one.transport for one in routes if one.path in PATHS} == {Transport.TLS}
