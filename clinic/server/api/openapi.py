"""The OpenAPI file of the API, made of the same routes that the server answers by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import msgspec

from orthoedge.clinic.server.api.answers import ErrorShown
from orthoedge.clinic.server.api.calls import JSON, Route
from orthoedge.clinic.server.api.errors import ERRORS
from orthoedge.clinic.words import catalogue

__all__ = ["openapi"]

_REFERENCE = "#/components/schemas/{name}"
_PLACE = re.compile(r"{(\w+)}")
_TYPES = {"number": {"type": "integer", "minimum": 1}}


def openapi(routes: Sequence[Route]) -> bytes:
    """The file, as JSON (OpenAPI 3.1)."""
    kinds = [ErrorShown, *(kind for route in routes for kind in _structs(route))]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "orthoedge clinic",
            "version": metadata.version("orthoedge"),
            "description": "Findings on bone radiographs. A research and engineering tool, not a "
            "cleared medical device.",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "orthoedge_session"},
                "token": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
            },
        },
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _structs(route: Route) -> list[type[msgspec.Struct]]:
    kinds = (route.answer, route.body, route.query)
    return [kind for kind in kinds if isinstance(kind, type)]


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {
            str(route.status): _answered(route),
            **{
                str(status): {
                    "description": " ".join(
                        catalogue("en").text(error)
                        for error, other in ERRORS.items()
                        if other == status
                    ),
                    "content": _content(ErrorShown),
                }
                for status in sorted(set(ERRORS.values()))
            },
        },
    }
    parameters = [_path_parameter(name) for name in _PLACE.findall(route.path)]
    if route.query is not None:
        parameters += _query_parameters(route.query, schemas)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    if route.roles:
        changing: dict[str, list[str]] = {} if route.method == "GET" else {"token": []}
        operation["security"] = [{"session": [], **changing}, {}]
        operation["description"] = f"For {', '.join(route.roles)}."
    return operation


def _answered(route: Route) -> dict[str, Any]:
    return {"description": route.summary, "content": _content(route.answer)}


def _content(kind: type[msgspec.Struct] | str) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind.partition(";")[0]: {"schema": {} if kind == JSON else {"type": "string"}}}
    return {JSON: {"schema": {"$ref": _REFERENCE.format(name=kind.__name__)}}}


def _path_parameter(name: str) -> dict[str, Any]:
    schema = _TYPES.get(name, {"type": "string"})
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(query: type[msgspec.Struct], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    properties = schemas[query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": properties[name]} for name in properties]
