"""Orders over the API: in one call or step by step, with proofs, papers and approvals; others see nothing of them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from policy.product import DocumentRule
from tests.conftest import ACTOR, House
from tests.policy.making import change_product
from tests.protocols.rest.world import API, access_key, make_csr, stranger_key

NAME, OUTSIDE = "a.certgate.test", "shop.example.org"
PDF = b"%PDF-1.7 paper"


async def requester(house: House, api: API, **more: Any) -> API:
    """A client that may order, and nothing else."""
    return api.with_key(await access_key(house, products=("tls", "held"), **more))


async def order(client: API, **body: Any) -> Any:
    answer = await client("POST", "/orders", body)
    assert answer.status in (201, 202), answer.body
    return answer.json


# --------------------------------------------------------------------------- one call, or step by step


async def test_an_order_without_a_request_says_that_one_is_owed(house: House, api: API) -> None:
    """Names first, the request later: 202, then the certificate."""
    client = await requester(house, api)
    made = await client("POST", "/orders", {"names": [NAME]})
    assert (made.status, made.json["status"]) == (202, "ready")
    assert [one["kind"] for one in made.json["requirements"]] == ["request"]
    done = await client("PUT", f"/orders/{made.json['id']}/csr", {"csr": make_csr(NAME)})
    assert (done.status, done.json["status"], done.json["requirements"]) == (200, "valid", [])
    assert done.json["certificate"]["names"] == [{"type": "dns", "value": NAME}]


async def test_a_draft_is_changed_and_submitted(house: House, api: API) -> None:
    """A draft is 201; If-Match guards its change; it is judged when it is handed in."""
    client = await requester(house, api)
    made = await client("POST", "/orders", {"names": ["x.denied.test"], "draft": True})
    assert (made.status, made.json["status"]) == (201, "draft")
    path = f"/orders/{made.json['id']}"
    refused = await client("POST", f"{path}/submit")
    assert (refused.status, refused.code, refused.pointers) == (422, "rejected-identifier", ["/names/0"])
    stale = await client("PATCH", path, {"names": [NAME]}, {"If-Match": '"7"'})
    assert stale.code == "precondition-failed"
    changed = await client(
        "PATCH", path, {"names": [NAME], "csr": make_csr(NAME), "tags": ["web"]}, {"If-Match": made.headers["ETag"]}
    )
    assert changed.status == 200 and changed.json["tags"] == ["web"]
    done = await client("POST", f"{path}/submit")
    assert (done.status, done.json["status"]) == (200, "valid")
    status = await client("GET", f"/certificates/{done.json['certificate']['serial']}/status")
    assert (status.json["status"], status.json["tags"]) == ("valid", ["web"])


async def test_control_of_a_name_is_proven_over_the_api(house: House, api: API) -> None:
    """What has to be where is told; a failed look is listed with what was found, the next one issues."""
    client = await requester(house, api)
    made = await order(client, csr=make_csr(OUTSIDE))
    assert [one["kind"] for one in made["requirements"]] == ["validation"]
    (one,) = (await client("GET", f"/orders/{made['id']}/validations")).json["items"]
    ways = {way["method"]: way for way in one["ways"]}
    assert ways["dns-01"]["place"] == f"_acme-challenge.{OUTSIDE}"
    assert ways["http-01"]["place"].startswith(f"http://{OUTSIDE}/.well-known/acme-challenge/")
    file = ways["http-01"]["value"].encode()
    digest = b64encode(hashlib.sha256(file).digest(), altchars=b"-_").rstrip(b"=").decode()
    assert ways["dns-01"]["value"] != digest, "each way has a token of its own"
    path = f"/orders/{made['id']}/validations/{one['id']}/verify"
    wrong = await client("POST", path, {"method": "dns-1"})
    assert (wrong.code, wrong.json["errors"][0]["nearest"]) == ("invalid", "dns-01")
    proven = await client("POST", path, {"method": "dns-01"})
    assert (proven.json["status"], [each["outcome"] for each in proven.json["attempts"]]) == ("valid", ["valid"])
    assert house.validators["dns-01"].attempts[0].key_authorization.encode() == _answer(ways["dns-01"], house)
    done = await client("GET", f"/orders/{made['id']}")
    assert done.json["status"] == "valid"


def _answer(way: dict[str, str], house: House) -> bytes:
    """The key authorization whose digest the TXT record has."""
    (attempt,) = house.validators["dns-01"].attempts
    digest = hashlib.sha256(attempt.key_authorization.encode()).digest()
    assert b64encode(digest, altchars=b"-_").rstrip(b"=").decode() == way["value"]
    return attempt.key_authorization.encode()


async def test_documents_and_agreement(house: House, api: API) -> None:
    """Handed in by the client, accepted by another person; downloads are never shown by a browser."""
    rule = DocumentRule("letter", "Letter", ("application/pdf",), max_bytes=100)
    await change_product(house, documents=(rule,), terms="https://ca.example/terms")
    client = await requester(house, api)
    made = await order(client, csr=make_csr(NAME), agreement={"signer": "Alice"})
    assert [one["kind"] for one in made["requirements"]] == ["document"]
    path = f"/orders/{made['id']}/documents"
    paper = {"type": "letter", "name": "l.pdf", "media_type": "application/pdf", "content": b64encode(PDF).decode()}
    large = await client("POST", path, paper | {"content": b64encode(b"x" * 101).decode()})
    assert (large.status, large.code, large.pointers) == (413, "too-large", ["/content"])
    other = await client("POST", path, paper | {"media_type": "text/html"})
    assert (other.status, other.pointers) == (415, ["/media_type"])
    unknown = await client("POST", path, paper | {"type": "passport"})
    assert unknown.pointers == ["/type"]
    document = (await client("POST", path, paper)).json
    assert document["sha256"] == hashlib.sha256(PDF).hexdigest()
    content = await client("GET", f"{path}/{document['id']}")
    assert content.body == PDF and content.headers["Content-Disposition"].startswith("attachment")
    assert (await client("POST", f"{path}/{document['id']}/accept", {})).code == "forbidden"
    done = await api("POST", f"{path}/{document['id']}/accept", {"why": "good"})
    assert done.json["status"] == "valid"
    (listed,) = (await client("GET", path)).json["items"]
    assert listed["status"] == "accepted" and listed["reviewer"].startswith("user:root@")


async def test_a_held_order_is_approved_by_somebody_else(house: House, api: API) -> None:
    """The requester may not even ask; an administrator approves, and rejects with a reason."""
    client = await requester(house, api)
    held = await client("POST", "/orders", {"csr": make_csr(NAME), "product": "held"})
    assert (held.status, held.json["status"], held.headers["Retry-After"]) == (202, "held", "60")
    path = f"/orders/{held.json['id']}"
    assert (await client("POST", f"{path}/approve")).code == "forbidden"
    assert (await api("POST", f"{path}/approve")).json["status"] == "valid"
    second = await order(client, csr=make_csr(NAME), product="held")
    rejected = await api("POST", f"/orders/{second['id']}/reject", {"why": "not yours"})
    assert (rejected.json["status"], "not yours" in rejected.json["problem"]["detail"]) == ("invalid", True)
    again = await client("POST", f"/orders/{second['id']}/retry")
    assert (again.status, again.json["status"]) == (202, "held")
    assert again.json["id"] != second["id"]


async def test_an_order_is_explained_and_followed(house: House, api: API) -> None:
    """The decision line by line; events as a stream that ends with the order, and goes on after a number."""
    client = await requester(house, api)
    made = await order(client, csr=make_csr(NAME))
    explained = (await client("GET", f"/orders/{made['id']}/explain")).json
    assert ("proof", "trusted") in [(one["rule"], one["outcome"]) for one in explained["decision"]]
    assert explained["events"][0]["event"] == "ra:order:placed"
    stream = await client("GET", f"/orders/{made['id']}/events")
    assert stream.headers["Content-Type"] == "text/event-stream"
    parts = stream.body.decode().strip().split("\n\n")
    assert parts[0].splitlines()[1] == "event: ra:order:placed"
    assert parts[-1].startswith("event: end\n")
    last = parts[-2].splitlines()[0].removeprefix("id: ")
    rest = await client("GET", f"/orders/{made['id']}/events", headers={"Last-Event-ID": last})
    assert rest.body.decode().count("event: ") == 1


async def test_an_order_is_cancelled(house: House, api: API) -> None:
    """And stays so."""
    client = await requester(house, api)
    made = await order(client, names=[NAME])
    assert (await client("POST", f"/orders/{made['id']}/cancel", {"why": "x"})).json["status"] == "cancelled"
    assert (await client("PUT", f"/orders/{made['id']}/csr", {"csr": make_csr(NAME)})).code == "not-ready"


# --------------------------------------------------------------------------- what is wrong is named


@pytest.mark.parametrize(
    ("body", "pointer", "nearest"),
    [
        pytest.param({"names": ["ok.certgate.test", "a_b"]}, "/names/1", None, id="a name that is none"),
        pytest.param({"names": ["x.denied.test"]}, "/names/0", None, id="a name that is not granted"),
        pytest.param({"names": [NAME], "product": "tsl"}, "/product", "tls", id="a product that is misspelt"),
        pytest.param({"names": [NAME], "tags": ["no blanks"]}, "/tags", None, id="a tag that is none"),
        pytest.param({"names": [NAME], "not_after": "2099-01-01T00:00:00Z"}, "/not_after", None, id="a long life"),
        pytest.param({"names": [NAME], "drafted": True}, "/drafted", "draft", id="a member that is misspelt"),
        pytest.param({}, "/csr", None, id="nothing"),
        pytest.param({"csr": "nonsense"}, "/csr", None, id="a request that is none"),
    ],
)
async def test_wrong_input_names_field_rule_and_nearest_value(
    house: House, api: API, body: dict[str, Any], pointer: str, nearest: str | None
) -> None:
    """By JSON pointer; nothing is placed."""
    client = await requester(house, api)
    answer = await client("POST", "/orders", body)
    assert answer.status in (400, 422), answer.body
    (error,) = answer.json["errors"]
    assert error["pointer"] == pointer and error["rule"] and error["detail"]
    if nearest is not None:
        assert error["nearest"] == nearest
    assert (await client("GET", "/orders")).json["items"] == []


# --------------------------------------------------------------------------- lists, and what others have


async def test_orders_are_listed_by_filters_that_combine(house: House, api: API) -> None:
    """Newest first, over pages that do not shift when something new comes (W5)."""
    client = await requester(house, api)
    ids = [(await order(client, names=[f"n{place}.certgate.test"]))["id"] for place in range(5)]
    first = (await client("GET", "/orders?limit=2&status=ready&product=tls")).json
    await order(client, names=["later.certgate.test"])
    second = (await client("GET", f"/orders?limit=2&status=ready&product=tls&cursor={first['next']}")).json
    assert [one["id"] for one in first["items"] + second["items"]] == ids[:0:-1]
    assert [one["id"] for one in (await client("GET", "/orders?text=n3.")).json["items"]] == [ids[3]]
    assert (await client("GET", "/orders?status=redy")).json["errors"][0]["nearest"] == "ready"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {}),
        ("POST", "/submit", None),
        ("PUT", "/csr", {"csr": "x"}),
        ("POST", "/cancel", {}),
        ("POST", "/retry", None),
        ("GET", "/explain", None),
        ("GET", "/events", None),
        ("GET", "/validations", None),
        ("POST", "/validations/v/verify", {"method": "dns-01"}),
        ("GET", "/documents", None),
        ("POST", "/agreement", {"signer": "eve"}),
    ],
)
async def test_the_orders_of_another_group_are_not_there(
    house: House, api: API, method: str, path: str, body: Any
) -> None:
    """In the very words of an order that does not exist, whatever is asked of it."""
    made = await order(await requester(house, api), names=[NAME])
    stranger = api.with_key(await stranger_key(house))
    theirs = await stranger(method, f"/orders/{made['id']}{path}", body)
    nobodys = await stranger(method, f"/orders/{'0' * 38}{path}", body)
    assert theirs.status == 404
    assert theirs.body == nobodys.body
    assert (await stranger("GET", "/orders")).json["items"] == []


async def test_nothing_is_issued_after_the_credential_was_revoked(house: House, api: API) -> None:
    """Neither by its holder nor by a colleague who goes on with its order."""
    key = await access_key(house)
    client = api.with_key(key)
    made = await order(client, names=[NAME])
    credential = (await client("GET", "/me")).json["credential"]
    await house.core.administration.revoke_credential(credential, "stolen", ACTOR)
    assert (await client("POST", "/orders", {"csr": make_csr(NAME)})).status == 403
    colleague = await requester(house, api)
    late = await colleague("PUT", f"/orders/{made['id']}/csr", {"csr": make_csr(NAME)})
    assert late.status in (403, 409)
    assert (await colleague("GET", "/certificates")).json["items"] == []
