"""Domains over the API: begun, looked at, proven, listed, stopped."""

from __future__ import annotations

from tests.conftest import House
from tests.protocols.rest.world import API

NAME = "shop.example.org"
ONE = f"/domains/ops/{NAME}"


async def test_a_domain_is_proven_by_its_record(api: API, house: House) -> None:
    """The challenge says which record with which value; a failed look says what was found, the next one proves it."""
    made = await api("POST", "/domains", {"name": NAME, "group": "ops", "scope": "subdomains"})
    assert (made.status, made.json["status"], made.json["verification"]) == (201, "pending", "none")
    wanted = made.json["challenge"]
    assert (wanted["record_name"], len(wanted["record_value"])) == (f"_acme-challenge.{NAME}", 43)
    house.validators["dns-01"].fail()
    assert (await api("POST", f"{ONE}/verify")).json["status"] == "pending"
    house.validators["dns-01"].problem = None
    proven = (await api("POST", f"{ONE}/verify")).json
    assert (proven["status"], proven["verification"]) == ("validated", "independent")
    assert (proven["valid_till"], proven["challenge"]) == ("2027-06-11T12:00:00Z", None)
    attempts = (await api("GET", f"{ONE}/attempts")).json["items"]
    assert [one["outcome"] for one in attempts] == ["validated", "validation-incorrect-response"]
    assert [one["name"] for one in (await api("GET", "/domains?status=validated")).json["items"]] == [NAME]
    below = await api("POST", "/domains", {"name": f"deep.{NAME}", "group": "ops"})
    assert (below.json["status"], below.json["inherited_from"]) == ("validated", NAME)
    await api("PATCH", ONE, {"exclusions": [f"deep.{NAME}"]})
    assert (await api("GET", f"/domains/ops/deep.{NAME}")).json["status"] == "pending"
    assert (await api("POST", f"{ONE}/deactivate")).json["status"] == "inactive"


async def test_somebody_vouches(api: API) -> None:
    body = {"name": NAME, "group": "ops", "valid_till": "2027-01-01T00:00:00Z", "evidence": "by letter"}
    made = (await api("POST", "/domains", body)).json
    assert (made["status"], made["method"], made["evidence"]) == ("validated", "vouched", "by letter")
    late = await api("POST", "/domains", body | {"valid_till": "2040-01-01T00:00:00Z"})
    assert (late.status, late.pointers) == (400, ["/valid_till"])


async def test_a_file_is_for_the_domain_itself(api: API) -> None:
    body = {"name": NAME, "group": "ops", "method": "http-file"}
    wide = await api("POST", "/domains", body | {"scope": "subdomains"})
    assert (wide.status, wide.pointers) == (400, ["/method"])
    wanted = (await api("POST", "/domains", body)).json["challenge"]
    assert wanted["file_url"].startswith(f"http://{NAME}/.well-known/acme-challenge/")
    assert wanted["file_content"].startswith(wanted["file_url"].rpartition("/")[2] + ".")
    again = await api("POST", "/domains", body)
    assert (again.status, again.code) == (409, "conflict")
