"""The OpenAPI 3.1 document, from the operations and the schemas of their bodies and answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from protocols.rest.operation import JSON, ROOT, Operation
from protocols.rest.paging import CSV, NDJSON
from protocols.rest.problems import STATUS
from protocols.rest.problems import TYPE as PROBLEM

VERSION = "1"
_PARAMETER = re.compile(r"\{(\w+)\}")
_COMMON = {
    400: "The request cannot be understood.",
    401: "The caller did not prove who it is.",
    403: "The caller may not do this.",
    429: "Too many requests: come back after Retry-After.",
    500: "A fault of the server.",
    503: "Not now: come back after Retry-After.",
}

_encode = msgspec.json.Encoder().encode


class ProblemField(msgspec.Struct, kw_only=True):
    """One mistake in a request."""

    rule: str
    detail: str
    pointer: str | None = None
    nearest: Any = None


class ProblemDetails(msgspec.Struct, kw_only=True):
    """What is wrong (RFC 9457). `code` is stable; `errors` says which fields are wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[ProblemField] | None = None


def document(operations: Sequence[Operation], base_url: str) -> bytes:
    """The document as JSON. Raises ValueError when two operations have the same name."""
    names = [one.name for one in operations]
    if len(set(names)) != len(names):
        raise ValueError(f"operations of the same name: {sorted(name for name in names if names.count(name) > 1)}")
    kinds: list[Any] = [ProblemDetails]
    for one in operations:
        kinds += [kind for kind in (one.body, one.query, one.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    known = dict(zip(map(id, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, known, components)
    queries = {
        schema["$ref"].rpartition("/")[2] for one in operations if one.query and (schema := known[id(one.query)])
    }
    said = {
        "openapi": "3.1.0",
        "info": {
            "title": "certgate",
            "version": VERSION,
            "description": "Orders, certificates and everything that is administered. Codes of problems: "
            + ", ".join(sorted(STATUS))
            + ".",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"{base_url}{ROOT}"}],
        "security": [{"bearer": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "An access key."}},
        },
    }
    return _encode(said)


def _operation(one: Operation, known: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [one.tag],
        "parameters": _parameters(one, known, components),
        "responses": _responses(one, known),
    }
    if one.permission is not None:
        said["description"] = f"Needs the permission `{one.permission}`."
    if one.body is not None:
        content: dict[str, Any] = {"schema": known[id(one.body)]}
        if one.example is not None:
            content["example"] = dict(one.example)
        said["requestBody"] = {"required": True, "content": {JSON: content}}
    return said


def _parameters(one: Operation, known: dict[int, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(one.path)
    ]
    if one.query is not None:
        schema = components[known[id(one.query)]["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        for name, kind in schema["properties"].items():
            found.append({"name": name, "in": "query", "required": name in required, "schema": kind})
    if one.method == "POST":
        key = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!#-~]+$"}
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": key})
    if one.method in ("PATCH", "PUT", "DELETE"):
        found.append({"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}})
    return found


def _responses(one: Operation, known: dict[int, Any]) -> dict[str, Any]:
    problem = {PROBLEM: {"schema": known[id(ProblemDetails)]}} if id(ProblemDetails) in known else {}
    answer = known.get(id(one.answer))
    content: dict[str, Any] = {}
    if one.page:
        page = {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "items": answer},
                "next": {"type": ["string", "null"], "description": "The cursor of the next page."},
            },
        }
        content = {JSON: {"schema": page}, NDJSON: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}}
    elif answer is not None:
        content = {JSON: {"schema": answer}}
        content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in one.media}
    success: dict[str, Any] = {"description": one.summary, **({"content": content} if content else {})}
    said: dict[str, Any] = {str(one.status): success}
    for status, sentence in one.statuses.items():
        said[str(status)] = {"description": sentence, **({"content": content} if status < 300 and content else {})}
    refused = dict(_COMMON)
    if "{" in one.path:
        refused[404] = "There is no such object, or it is not the caller's."
    if one.body is not None:
        refused |= {413: "The body is too large.", 415: "The body is not JSON."}
    refused |= {
        409: "The object is not in a state for this.",
        412: "It was changed meanwhile.",
        422: "A field is wrong.",
    }
    if one.page or one.media:
        refused[406] = "None of the media types can be given."
    for status, sentence in sorted(refused.items()):
        said.setdefault(str(status), {"description": sentence, "content": problem})
    return said
