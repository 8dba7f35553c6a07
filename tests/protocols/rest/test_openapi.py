"""The document describes the routes: all of them, and nothing that is not served."""

from __future__ import annotations

from protocols.rest.resources import OPERATIONS
from tests.protocols.rest.world import API


async def test_the_document_has_every_operation(api: API) -> None:
    """Generated from the code: W15, documents that are not the service."""
    answer = await api.with_key("")("GET", "/openapi.json")
    document = answer.json
    assert document["openapi"].startswith("3.1")
    said = {(method, path) for path, one in document["paths"].items() for method in one}
    assert said == {(one.method.lower(), one.path) for one in OPERATIONS}


async def test_every_reference_leads_somewhere(api: API) -> None:
    document = (await api("GET", "/openapi.json")).json
    known = document["components"]["schemas"]

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                assert value["$ref"].rpartition("/")[2] in known
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(document)


def test_operations_have_names_of_their_own_and_sentences() -> None:
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    assert all(one.summary and one.path.startswith("/") for one in OPERATIONS)
