"""Three perspectives as real processes on loopback, asked over mutual TLS by a coordinator in the test."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ca_core.names import Identifier, IdentifierType
from gateway.config.perspectives import PerspectiveAddress
from gateway.dial import AddressGuard, Dialer
from gateway.perspectives.keys import make_keys
from gateway.perspectives.remote import Connections, MutualTLS, RemotePerspective, remotes
from gateway.validators.dns import Resolver
from gateway.validators.http01 import HTTP01Validator
from gateway.validators.mpic import MPICCAAChecker, MPICValidator, Panel
from policy.problems import ValidationCAA, ValidationFailed, ValidationIncorrectResponse
from policy.validation import Attempt
from policy.validation.caa import CAAQuery
from policy.validation.perspectives import PerspectiveRequest, Quorum
from tests.gateway.perspectives.servers import Installation, Web, installation
from tests.gateway.validators.servers import NameServer, name_server
from tests.replacing import replace

TOKEN = "x" * 43
AUTHORIZATION = f"{TOKEN}.{'t' * 43}"
ATTEMPT = Attempt(
    Identifier(IdentifierType.DNS, "a.example"), False, "http-01", TOKEN, AUTHORIZATION, "https://ca.example/acct/1"
)
CAA = CAAQuery("a.example", ("ca.example",), False, "http-01", None)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("perspectives")) as made:
        yield made


@pytest.fixture
async def names(here: Installation) -> AsyncIterator[dict[str, NameServer]]:
    """A name server for each perspective and one for the primary; all say that a.example is 127.0.0.1."""
    async with contextlib.AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(name_server(one.dns_port)) for name, one in here.perspectives.items()
        }
        servers["primary"] = await stack.enter_async_context(name_server())
        for server in servers.values():
            server.records["a.example", "A"] = ["127.0.0.1"]
        yield servers


@pytest.fixture
async def connections(here: Installation) -> AsyncIterator[Connections]:
    made = Connections(here.tls().client_context)
    yield made
    await made.close()


@pytest.fixture
def panel(here: Installation, connections: Connections) -> Panel:
    return Panel(remotes(here.addresses, connections), Quorum.standard(3, 2), 5.0)


@pytest.fixture
def validator(here: Installation, names: dict[str, NameServer], panel: Panel) -> MPICValidator:
    resolver = Resolver(("127.0.0.1", names["primary"].port))
    guard = AddressGuard((ipaddress.ip_network("127.0.0.0/24"),))
    return MPICValidator(HTTP01Validator(Dialer(resolver, guard), port=here.http_port), panel)


def results(record: dict[str, object]) -> dict[str, str]:
    found = record["perspectives"]
    assert isinstance(found, list)
    return {one["perspective"]: one["result"] for one in found}


async def test_all_see_the_same(here: Installation, validator: MPICValidator) -> None:
    """The evidence names every perspective with its result, and the quorum as the audit wants it."""
    async with Web(AUTHORIZATION).at("127.0.0.1", here.http_port) as web:
        evidence = await validator.validate(ATTEMPT)
    record = dict(evidence.corroboration)
    assert record["quorum"] == "3/3"
    assert results(record) == dict.fromkeys(("primary", "eu-1", "us-1", "ap-1"), "pass")
    assert all(f"127.0.0.1:{here.http_port}" in one["evidence"] for one in record["perspectives"])
    assert web.requests == 4


async def test_a_hijack_that_only_the_primary_falls_for(
    here: Installation, validator: MPICValidator, names: dict[str, NameServer]
) -> None:
    """The attack that all this is for: near the CA the name leads to the attacker, elsewhere to its owner."""
    names["primary"].records["a.example", "A"] = ["127.0.0.2"]
    async with (
        Web(AUTHORIZATION).at("127.0.0.2", here.http_port),
        Web("something else").at("127.0.0.1", here.http_port),
    ):
        with pytest.raises(ValidationIncorrectResponse, match="0 of 3 other perspectives agree") as caught:
            await validator.validate(ATTEMPT)
    record = caught.value.context["corroboration"]
    assert record["quorum"] == "0/3"
    assert results(record) == {"primary": "pass", "eu-1": "fail", "us-1": "fail", "ap-1": "fail"}
    assert "eu-1" not in caught.value.detail


async def test_one_may_disagree_and_two_may_not(
    here: Installation, validator: MPICValidator, names: dict[str, NameServer]
) -> None:
    async with Web(AUTHORIZATION).at("127.0.0.1", here.http_port), Web("no").at("127.0.0.3", here.http_port):
        names["eu-1"].records["a.example", "A"] = ["127.0.0.3"]
        evidence = await validator.validate(ATTEMPT)
        assert evidence.corroboration["quorum"] == "2/3"
        names["us-1"].records["a.example", "A"] = ["127.0.0.3"]
        with pytest.raises(ValidationIncorrectResponse, match="1 of 3"):
            await validator.validate(ATTEMPT)


async def test_the_primary_alone_can_refuse(here: Installation, validator: MPICValidator) -> None:
    async with Web("no").at("127.0.0.1", here.http_port):
        with pytest.raises(ValidationIncorrectResponse, match="key authorization") as caught:
            await validator.validate(ATTEMPT)
    assert caught.value.context["corroboration"]["quorum"] == "0/3"


async def test_addresses_are_guarded_there_too(
    here: Installation, validator: MPICValidator, names: dict[str, NameServer]
) -> None:
    """T-2: a name that leads into the network of a perspective is not called from there."""
    names["eu-1"].records["a.example", "A"] = ["127.0.5.5"]
    names["us-1"].records["a.example", "A"] = ["169.254.169.254"]
    inside = Web(AUTHORIZATION)
    async with Web(AUTHORIZATION).at("127.0.0.1", here.http_port), inside.at("127.0.5.5", here.http_port):
        with pytest.raises(ValidationFailed) as caught:
            await validator.validate(ATTEMPT)
    assert inside.requests == 0
    told = {one["perspective"]: one for one in caught.value.context["corroboration"]["perspectives"]}
    assert told["eu-1"]["problem"] == told["us-1"]["problem"] == "validation-connection"
    assert "not one that this server calls" in told["eu-1"]["detail"]


async def test_caa_is_judged_from_everywhere(names: dict[str, NameServer], panel: Panel) -> None:
    """Baseline Requirements section 3.2.2.9 wants the permission corroborated as well as the control."""
    resolver = Resolver(("127.0.0.1", names["primary"].port))
    checker = MPICCAAChecker(resolver, panel)
    record = await checker.check(CAA)
    assert record["quorum"] == "3/3"
    names["eu-1"].records["a.example", "CAA"] = ['0 issue "other.example"']
    assert (await checker.check(CAA))["quorum"] == "2/3"
    names["ap-1"].records["a.example", "CAA"] = ['0 issue ";"']
    with pytest.raises(ValidationCAA, match=r"permits nobody|names another CA") as caught:
        await checker.check(CAA)
    assert results(caught.value.context["caa"]) == {"primary": "pass", "eu-1": "fail", "us-1": "pass", "ap-1": "fail"}


async def test_a_perspective_that_hangs_ends_with_the_deadline(
    here: Installation, validator: MPICValidator, panel: Panel
) -> None:
    """One that hangs is outvoted after the grace; two that hang are waited for until the deadline, and fail."""
    validator._panel = replace(panel, deadline_seconds=1.0, grace_seconds=0.2)
    async with Web(AUTHORIZATION).at("127.0.0.1", here.http_port):
        with here.perspectives["eu-1"].hung():
            before = time.monotonic()
            evidence = await validator.validate(ATTEMPT)
            assert time.monotonic() - before < 0.9
            assert evidence.corroboration["quorum"] == "2/3"
            with here.perspectives["us-1"].hung():
                before = time.monotonic()
                with pytest.raises(ValidationFailed, match="1 of 3") as caught:
                    await validator.validate(ATTEMPT)
                assert time.monotonic() - before < 2.5
    told = {one["perspective"]: one for one in caught.value.context["corroboration"]["perspectives"]}
    assert told["us-1"]["problem"] == "unavailable"
    assert "within 1 seconds" in told["us-1"]["detail"]


# --------------------------------------------------------------------------- who may ask


async def asked(address: PerspectiveAddress, tls: MutualTLS) -> str:
    connections = Connections(tls.client_context)
    try:
        result = await RemotePerspective(address, connections).ask(PerspectiveRequest(3.0, caa=CAA))
    finally:
        await connections.close()
    assert not result.answered or result.evidence
    return result.evidence or result.detail


async def test_only_the_coordinators_certificate_is_let_in(
    here: Installation, names: dict[str, NameServer], tmp_path: Path
) -> None:
    address = here.addresses[0]
    assert await asked(address, here.tls()) == "no CAA records permit issuance"
    # A certificate of the same CA, made for a perspective: the wrong purpose.
    assert "cannot be asked" in await asked(address, here.tls("us-1"))
    # A coordinator of somebody else's CA.
    make_keys(tmp_path, {"eu-1": "127.0.0.1"}, datetime.now(UTC))
    assert "cannot be asked" in await asked(address, here.tls(folder=tmp_path))
    assert names["eu-1"].asked.count(("a.example", "CAA", "udp")) == 1  # the first question alone got through


async def test_the_same_ca_and_another_name_is_not_enough(
    here: Installation, names: dict[str, NameServer], tmp_path: Path
) -> None:
    """A CA that has further uses: its certificates are good for TLS, and still not the coordinator's."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    from gateway.perspectives.keys import _make

    issuer = x509.load_pem_x509_certificate((here.folder / "perspective-ca.pem").read_bytes())
    key = load_pem_private_key((here.folder / "perspective-ca.key").read_bytes(), None)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    _make(tmp_path, "other", "other.example", usage, issuer, key, datetime.now(UTC))  # type: ignore[arg-type]
    said = await asked(here.addresses[0], here.tls("other", folder=tmp_path))
    assert "HTTP status 403" in said
    assert names["eu-1"].asked == []


@pytest.mark.parametrize(("certificate", "newest"), [(False, "TLSv1_3"), (True, "TLSv1_2")])
async def test_without_a_certificate_or_with_old_tls_there_is_no_connection(
    here: Installation, certificate: bool, newest: str
) -> None:
    context = ssl.create_default_context(cafile=str(here.folder / "perspective-ca.pem"))
    context.maximum_version = ssl.TLSVersion[newest]
    if certificate:
        context.load_cert_chain(here.folder / "coordinator.pem", here.folder / "coordinator.key")
    port = int(here.addresses[0].url.rpartition(":")[2])
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(b"POST /mpic/v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            await reader.readexactly(1)
        finally:
            writer.transport.abort()


async def test_a_perspective_of_another_ca_is_not_believed(here: Installation, tmp_path: Path) -> None:
    make_keys(tmp_path, {}, datetime.now(UTC))
    said = await asked(here.addresses[0], here.tls(ca=tmp_path / "perspective-ca.pem"))
    assert "cannot be asked" in said


async def test_two_names_that_lead_to_one_process_are_found_out(
    here: Installation, names: dict[str, NameServer], connections: Connections
) -> None:
    wrong = replace(here.addresses[0], name="us-1")
    result = await RemotePerspective(wrong, connections).ask(PerspectiveRequest(3.0, caa=CAA))
    assert not result.success
    assert 'calls itself "eu-1"' in result.detail
